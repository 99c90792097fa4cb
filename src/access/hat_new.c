/* From rows as they are written to the tables that hat.c looks into. */
#include "access/hat_internal.h"

static void
note_row(struct outcome *outcome, const struct hat *hat, uint32_t row)
{
    uint32_t continues = hat->rules[row].continues;

    if (continues != NO_ROW)
        outcome->passed |= UINT64_C(1) << continues;
    else if (row < outcome->row)
        outcome->row = row;
}

static void
note_name(struct hat *hat, struct map *map, const struct sender *sender)
{
    struct outcome *outcome = map_get(map, sv_of(sender->name));

    if (outcome == NULL) {
        outcome = mem_alloc(sizeof *outcome);
        *outcome = no_outcome;
        map_put(map, sv_of(sender->name), outcome);
    }
    note_row(outcome, hat, sender->row);
    if (sender->row < hat->first_name)
        hat->first_name = sender->row;
}

static size_t
count_labels(const char *name)
{
    size_t labels = 1;

    for (; *name != '\0'; name++)
        labels += *name == '.';
    return labels;
}

static void
note_sender(struct hat *hat, const struct sender *sender)
{
    size_t labels;

    switch (sender->kind) {
    case SENDER_SPAN:
        break; /* the spaces are built in one go */
    case SENDER_HOST:
        note_name(hat, &hat->hosts, sender);
        break;
    case SENDER_DOMAIN:
        labels = count_labels(sender->name);
        if (labels > hat->domain_labels)
            hat->domain_labels = labels;
        note_name(hat, &hat->domains, sender);
        break;
    case SENDER_ALL:
        note_row(&hat->everybody, hat, sender->row);
        break;
    }
}

static void
build_space(const struct hat *hat, sa_family_t family, struct space *space)
{
    struct span *spans = mem_alloc_array(hat->sender_count, sizeof *spans);
    struct ip highest = {0, UINT32_MAX};
    size_t n = 0;

    if (family == AF_INET6)
        highest = (struct ip){UINT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < hat->sender_count; i++) {
        const struct sender *sender = &hat->senders[i];
        struct span span = {sender->first, sender->last, sender->row,
                            hat->rules[sender->row].continues};

        if (sender->kind == SENDER_ALL)
            span.last = highest;
        else if (sender->kind != SENDER_SPAN || sender->family != family)
            continue;
        spans[n++] = span;
    }
    space_init(space, family, spans, n);
    mem_free(spans);
}

static void
build(struct hat *hat)
{
    for (size_t i = 0; i < hat->sender_count; i++)
        note_sender(hat, &hat->senders[i]);
    for (uint32_t row = 0; row < hat->rule_count; row++) {
        for (size_t i = 0; i < hat->zone_count; i++) {
            if (!(hat->rules[row].zones >> i & 1))
                continue;
            note_row(&hat->zone_outcomes[i], hat, row);
            if (row < hat->zone_first[i])
                hat->zone_first[i] = row;
        }
    }
    build_space(hat, AF_INET, &hat->ipv4);
    build_space(hat, AF_INET6, &hat->ipv6);
}

static bool
add_sender(struct hat *hat, uint32_t row, struct sv text, struct err *err)
{
    struct sender *sender = &hat->senders[hat->sender_count];

    if (!sender_parse(text, sender, err))
        return false;
    sender->row = row;
    sender->text = sv_dup(text);
    hat->sender_count++;
    hat->rules[row].sender_count++;
    return true;
}

static size_t
find_zone(const struct hat *hat, const char *name)
{
    size_t i = 0;

    while (i < hat->zone_count && !sv_is(sv_of(hat->zones[i]), name))
        i++;
    return i;
}

static bool
add_zone(struct hat *hat, uint32_t row, struct sv text, struct err *err)
{
    char name[MAIL_DOMAIN_MAX + 1];
    size_t i;

    if (!zone_parse(text, name, err))
        return false;
    i = find_zone(hat, name);
    if (i == HAT_ZONES_MAX) {
        err_set(err,
                "DNS list \"%s\" is one too many: at most %d different "
                "ones in a table",
                name, HAT_ZONES_MAX);
        return false;
    }
    if (i == hat->zone_count) {
        hat->zones[i] = mem_strdup(name);
        hat->zone_outcomes[i] = no_outcome;
        hat->zone_first[i] = NO_ROW;
        hat->zone_count++;
    }
    hat->rules[row].zones |= UINT64_C(1) << i;
    return true;
}

static bool
note_continue(struct hat *hat, uint32_t row, struct err *err)
{
    if (hat->continue_count == HAT_CONTINUE_MAX) {
        err_set(err, "behaviour \"continue\" stands in more than %d rows",
                HAT_CONTINUE_MAX);
        return false;
    }
    hat->rules[row].continues = (uint32_t)hat->continue_count;
    hat->continues[hat->continue_count++] = row;
    return true;
}

static bool
add_texts(struct hat *hat, const struct hat_row *row, uint32_t at,
          struct err *err)
{
    if (row->group.n == 0) {
        err_set(err, "the sender group has no name");
        return false;
    }
    if (row->goes_on && !note_continue(hat, at, err))
        return false;
    for (size_t i = 0; i < row->sender_count; i++) {
        if (!add_sender(hat, at, row->senders[i], err))
            return false;
    }
    for (size_t i = 0; i < row->dns_list_count; i++) {
        if (!add_zone(hat, at, row->dns_lists[i], err))
            return false;
    }
    if (row->sender_count == 0 && row->dns_list_count == 0 &&
        sv_is(row->group, "ALL"))
        return add_sender(hat, at, SV("ALL"), err);
    return true;
}

static bool
add_row(struct hat *hat, const struct hat_row *row, struct err *err)
{
    uint32_t at = (uint32_t)hat->rule_count++;

    hat->rules[at] = (struct rule){
        .group = sv_dup(row->group),
        .policy = row->policy,
        .continues = NO_ROW,
        .first_sender = hat->sender_count,
    };
    if (add_texts(hat, row, at, err))
        return true;
    err_wrap(err, "host access table row %zu (%.*s)", hat->rule_count,
             SV_ARG(sv_slice(row->group, 0, 100)));
    return false;
}

struct hat *
hat_new(const struct hat_row *rows, size_t count, struct err *err)
{
    struct hat *hat = mem_alloc(sizeof *hat);
    size_t senders = 0;

    for (size_t i = 0; i < count; i++)
        senders += rows[i].sender_count;
    *hat = (struct hat){.first_name = NO_ROW, .everybody = no_outcome};
    atomic_init(&hat->references, 1);
    assert(count < NO_ROW);
    hat->rules = mem_alloc_array(count, sizeof *hat->rules);
    /* A row of the group ALL may add a sender of its own. */
    hat->senders = mem_alloc_array(senders + count, sizeof *hat->senders);
    for (size_t i = 0; i < count; i++) {
        if (!add_row(hat, &rows[i], err)) {
            hat_unref(hat);
            return NULL;
        }
    }
    build(hat);
    return hat;
}
