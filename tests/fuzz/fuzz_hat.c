/* fuzz_hat - the host access table.  The input is text: the first line is the
 * client ("address name lists"), each of the others a row ("group sender
 * !list", "+group" continues).  Texts that the checks refuse are left out, and
 * then the table must compile; the matcher must agree with a walk over the
 * rows, and with net/address.h on what a network holds. */
#include "access/hat.h"

enum { ROWS_MAX = 80, TEXTS_MAX = 16 };

struct table {
    struct hat_row rows[ROWS_MAX];
    struct sv senders[ROWS_MAX][TEXTS_MAX], zones[ROWS_MAX][TEXTS_MAX];
    size_t count, continues;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
add_text(struct table *table, struct hat_row *row, struct sv text)
{
    struct err err;

    if (sv_take_char(&text, '!')) {
        if (row->dns_list_count < TEXTS_MAX && hat_zone_check(text, &err))
            table->zones[table->count][row->dns_list_count++] = text;
        return;
    }
    if (hat_sender_check(text, &err)) {
        if (row->sender_count < TEXTS_MAX)
            table->senders[table->count][row->sender_count++] = text;
        return;
    }
    assert(err.text[0] != '\0');
}

static void
add_row(struct table *table, struct sv line)
{
    struct hat_row *row = &table->rows[table->count];

    *row = (struct hat_row){.senders = table->senders[table->count],
                            .dns_lists = table->zones[table->count]};
    if (sv_take_char(&line, '+') && table->continues < HAT_CONTINUE_MAX) {
        table->continues++;
        row->goes_on = true;
    }
    row->group = sv_take_until(&line, ' ');
    if (row->group.n == 0)
        row->group = SV("G");
    while (line.n > 0)
        add_text(table, row, sv_take_until(&line, ' '));
    table->count++;
}

static void
check_walk(const struct hat *hat, const struct table *table,
           const struct hat_client *client)
{
    struct hat_match match;
    size_t row, passed;

    hat_match(hat, client, &match);
    for (row = 0; row < table->count; row++) {
        if (hat_why(hat, row, client).n == 0)
            continue;
        if (!table->rows[row].goes_on)
            break;
        assert(hat_next_passed(hat, &match.passed, &passed) && passed == row);
    }
    assert(match.row == (row == table->count ? HAT_NONE : row));
    assert(match.passed == 0);
}

/* Looking up only what is needed comes to the same answer. */
static void
check_need(const struct hat *hat, const struct hat_client *client)
{
    struct hat_client some = {.address = client->address};
    struct hat_match wanted, found;

    if (hat_need(hat, &some).name)
        some.name = client->name;
    some.listed = client->listed & hat_need(hat, &some).zones;
    hat_match(hat, client, &wanted);
    hat_match(hat, &some, &found);
    assert(found.row == wanted.row && found.passed == wanted.passed);
}

/* What net/address.h takes for a network means the same here. */
static void
check_network(struct sv sender, const struct net_address *address)
{
    struct hat_row row = {
        .group = SV("G"), .senders = &sender, .sender_count = 1};
    struct hat_client client = {.address = address};
    struct net_prefix prefix;
    struct hat_match match;
    struct hat *hat;

    if (!net_prefix_parse(sender, &prefix, NULL))
        return;
    hat = hat_new(&row, 1, NULL);
    assert(hat != NULL);
    hat_match(hat, &client, &match);
    assert((match.row == 0) == net_prefix_contains(&prefix, address));
    hat_unref(hat);
}

static void
on_finding(const struct hat_finding *finding, void *arg)
{
    const struct hat_match *match = arg;

    if (finding->kind == HAT_LINT_DEAD_ROW ||
        finding->kind == HAT_LINT_EMPTY_ROW)
        assert(finding->row != match->row);
    if (finding->kind == HAT_LINT_DEAD_ROW ||
        finding->kind == HAT_LINT_DEAD_SENDER)
        assert(finding->by < finding->row);
}

static void
check_table(const struct table *table, const struct hat_client *client)
{
    struct err err = {0};
    struct hat *hat = hat_new(table->rows, table->count, &err);
    struct hat_match match;

    if (hat == NULL) { /* each text is fine: only the number can be wrong */
        assert(strstr(err.text, "one too many") != NULL);
        return;
    }
    check_walk(hat, table, client);
    check_need(hat, client);
    hat_match(hat, client, &match);
    if (client->address->sa.sa_family == AF_UNSPEC)
        match.row = HAT_NONE; /* lint speaks of clients with an address */
    hat_lint(hat, on_finding, &match);
    for (size_t i = 0; i < hat_zone_count(hat); i++) {
        char query[HAT_QUERY_MAX];
        bool made =
            hat_dns_list_query(client->address, hat_zone(hat, i), query);

        assert(made == (client->address->sa.sa_family != AF_UNSPEC));
    }
    hat_unref(hat);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct table table; /* too large for the stack */
    struct sv rest = {(const char *)data, size};
    struct sv line = sv_take_until(&rest, '\n');
    struct net_address address = {0};
    struct hat_client client = {.address = &address};

    (void)!net_address_parse(sv_take_until(&line, ' '), 0, &address);
    client.name = sv_take_until(&line, ' ');
    for (size_t i = 0; i < line.n; i++)
        client.listed |= UINT64_C(1) << (line.p[i] & 63);
    table.count = table.continues = 0;
    while (rest.n > 0 && table.count < ROWS_MAX)
        add_row(&table, sv_take_until(&rest, '\n'));
    check_table(&table, &client);
    for (size_t i = 0; i < table.count; i++) {
        for (size_t k = 0; k < table.rows[i].sender_count; k++)
            check_network(table.senders[i][k], &address);
    }
    return 0;
}
