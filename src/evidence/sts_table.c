#include "evidence/sts_internal.h"

#include "base/clock.h"

enum { POLICYLESS_SHARE = 16 }; /* of all that are kept */

static void
entry_free(struct sts_entry *entry)
{
    sts_policy_unref(entry->policy);
    mem_free(entry->said_reason);
    buf_fini(&entry->history);
    mem_free(entry);
}

void
sts_table_init(struct sts_table *table)
{
    list_init(&table->kept);
    list_init(&table->policyless);
    list_init(&table->passing);
}

void
sts_table_fini(struct sts_table *table)
{
    for (size_t i = 0; i < table->end; i++)
        if (table->slots[i] != NULL)
            entry_free(table->slots[i]);
    mem_free(table->slots);
    mem_free(table->free_slots);
    map_fini(&table->by_domain);
}

struct sts_entry *
sts_table_find(const struct sts_table *table, const char *domain)
{
    return map_get(&table->by_domain, sv_of(domain));
}

static uint32_t
take_slot(struct sts_table *table)
{
    if (table->free_count > 0)
        return table->free_slots[--table->free_count];
    if (table->end == table->cap) {
        table->cap = table->cap * 2 + 256;
        table->slots =
            mem_resize(table->slots, table->cap * sizeof *table->slots);
    }
    return (uint32_t)table->end++;
}

static void
give_slot(struct sts_table *table, uint32_t slot)
{
    if (table->free_count == table->free_cap) {
        table->free_cap = table->free_cap * 2 + 256;
        table->free_slots = mem_resize(
            table->free_slots, table->free_cap * sizeof *table->free_slots);
    }
    table->slots[slot] = NULL;
    table->free_slots[table->free_count++] = slot;
}

struct sts_entry *
sts_table_add(struct sts_table *table, const char *domain)
{
    size_t size = strlen(domain) + 1;
    struct sts_entry *entry = mem_alloc(sizeof *entry + size);

    memcpy(entry->domain, domain, size);
    entry->slot = take_slot(table);
    table->slots[entry->slot] = entry;
    map_put(&table->by_domain, sv_of(domain), entry);
    entry->list = &table->passing;
    list_push_back(entry->list, &entry->used_link);
    return entry;
}

void
sts_table_remove(struct sts_table *table, struct sts_entry *entry)
{
    assert(entry->flight == NULL);
    list_remove(entry->list, &entry->used_link);
    map_remove(&table->by_domain, sv_of(entry->domain));
    give_slot(table, entry->slot);
    entry_free(entry);
}

void
sts_table_touch(struct sts_table *table, struct sts_entry *entry)
{
    (void)table;
    list_remove(entry->list, &entry->used_link);
    list_push_back(entry->list, &entry->used_link);
}

void
sts_table_keep(struct sts_table *table, struct sts_entry *entry)
{
    struct list *list =
        entry->policy != NULL ? &table->kept : &table->policyless;

    entry->kept = true;
    if (entry->list == list)
        return;
    list_remove(entry->list, &entry->used_link);
    entry->list = list;
    list_push_back(list, &entry->used_link);
}

size_t
sts_table_kept(const struct sts_table *table)
{
    return table->kept.length + table->policyless.length;
}

static int
compare_use(const void *a, const void *b)
{
    const struct sts_entry *const *x = a;
    const struct sts_entry *const *y = b;

    return ((*x)->used > (*y)->used) - ((*x)->used < (*y)->used);
}

static void
sort(struct list *list)
{
    size_t count = 0;
    struct sts_entry **all =
        mem_alloc_array(list->length + 1, sizeof(struct sts_entry *));
    struct link *link;

    while ((link = list_pop_front(list)) != NULL)
        all[count++] = CONTAINER_OF(link, struct sts_entry, used_link);
    qsort(all, count, sizeof(struct sts_entry *), compare_use);
    for (size_t i = 0; i < count; i++)
        list_push_back(list, &all[i]->used_link);
    mem_free(all);
}

/* After reading: records stand in the file in the order of their writing. */
void
sts_table_sort(struct sts_table *table)
{
    sort(&table->kept);
    sort(&table->policyless);
}

static struct sts_entry *
oldest(const struct list *list)
{
    LIST_FOREACH (link, list) {
        struct sts_entry *entry =
            CONTAINER_OF(link, struct sts_entry, used_link);

        if (!entry->pinned && entry->flight == NULL)
            return entry;
    }
    return NULL;
}

/* Domains without a policy have but a share, so that somebody who makes up
 * domains does not push policies out.  They have one, so that what failed is
 * not fetched again with every message. */
static struct sts_entry *
oldest_kept(struct sts_table *table, size_t max)
{
    struct sts_entry *entry = NULL;

    if (table->policyless.length > max / POLICYLESS_SHARE)
        entry = oldest(&table->policyless);
    if (entry == NULL)
        entry = oldest(&table->kept);
    return entry;
}

struct sts_entry *
sts_table_surplus(struct sts_table *table, size_t max)
{
    struct sts_entry *entry = NULL;

    if (sts_table_kept(table) > max)
        entry = oldest_kept(table, max);
    if (entry == NULL && table->passing.length > STS_PASSING)
        entry = oldest(&table->passing);
    return entry;
}

/* --- One domain --------------------------------------------------------- */

int64_t
sts_entry_expires(const struct sts_entry *entry)
{
    return entry->fetched + entry->policy->max_age;
}

bool
sts_entry_is_paused(const struct sts_entry *entry)
{
    return clock_mono_ms() < entry->paused_until &&
           strcmp(entry->failed_id, entry->said_id) == 0;
}

bool
sts_entry_in_force(const struct sts_entry *entry, int64_t now)
{
    return entry->policy != NULL &&
           (entry->pinned || now < sts_entry_expires(entry));
}

void
sts_entry_drop_policy(struct sts_entry *entry)
{
    sts_policy_unref(entry->policy);
    entry->policy = NULL;
    entry->pinned = false;
    entry->id[0] = '\0';
}

static void
describe_failure(const struct sts_entry *entry, char *reason, size_t size)
{
    struct sts_fetch last;

    if (sts_history_last(&entry->history, &last) && !last.ok)
        snprintf(reason, size, "%.*s: %.*s", SV_ARG(last.stage),
                 SV_ARG(last.reason));
}

static void
describe_policy(const struct sts_entry *entry, struct sts_evidence *evidence)
{
    evidence->state = STS_POLICY;
    evidence->policy = entry->policy;
    evidence->fetched = entry->fetched;
    memcpy(evidence->id, entry->id, sizeof evidence->id);
    describe_failure(entry, evidence->reason, sizeof evidence->reason);
}

static enum sts_trouble
trouble_of(const struct sts_entry *entry)
{
    struct sts_fetch last;

    if (!sts_history_last(&entry->history, &last) || last.ok)
        return STS_TROUBLE_FETCH;
    if (sv_is(last.stage, https_stage_name(HTTPS_CERTIFICATE)))
        return STS_TROUBLE_WEBPKI;
    return sv_is(last.stage, "policy") ? STS_TROUBLE_INVALID
                                       : STS_TROUBLE_FETCH;
}

static void
describe_absence(const struct sts_entry *entry, struct sts_evidence *evidence)
{
    const char *said = entry->said_reason != NULL ? entry->said_reason : "";

    snprintf(evidence->reason, sizeof evidence->reason, "%s", said);
    if (entry->said == SAID_ERROR) {
        evidence->state = STS_UNKNOWN;
    } else if (entry->said == SAID_OK) {
        evidence->state = STS_UNFETCHED;
        evidence->trouble = trouble_of(entry);
        memcpy(evidence->id, entry->said_id, sizeof evidence->id);
        describe_failure(entry, evidence->reason, sizeof evidence->reason);
    }
}

void
sts_entry_describe(const struct sts_entry *entry, int64_t now,
                   struct sts_evidence *evidence)
{
    *evidence = (struct sts_evidence){.state = STS_ABSENT, .cached = true};
    if (!sts_entry_in_force(entry, now)) {
        describe_absence(entry, evidence);
    } else if (entry->policy->mode == STS_MODE_NONE) {
        snprintf(evidence->reason, sizeof evidence->reason,
                 "the policy is of mode none");
        evidence->fetched = entry->fetched;
        memcpy(evidence->id, entry->id, sizeof evidence->id);
    } else {
        describe_policy(entry, evidence);
    }
}
