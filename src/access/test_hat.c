/* Tables for the texts and for the meaning of whole tables, then random tables
 * against a walk over their rows that shares nothing with the matcher. */
#include "access/hat.h"
#include "unit.h"

static struct net_address
address_of(const char *text)
{
    struct net_address address = {0};

    if (text[0] != '\0')
        assert_true(net_address_parse(sv_of(text), 0, &address));
    return address;
}

/* A table of one row with one sender. */
static struct hat *
hat_of_sender(const char *text, struct err *err)
{
    struct sv sender = sv_of(text);
    struct hat_row row = {SV("G"), &sender, 1, NULL, 0, 7, false};

    return hat_new(&row, 1, err);
}

static const struct sender_row {
    const char *name, *sender, *address, *host;
    bool matches;
} sender_rows[] = {
    {"address", "192.0.2.1", "192.0.2.1", "", true},
    {"address, another", "192.0.2.1", "192.0.2.2", "", false},
    {"address, other family", "0.0.0.1", "::1", "", false},
    {"IPv6 address", "2001:DB8::1", "2001:db8:0::1", "", true},
    {"mapped sender", "::ffff:192.0.2.1", "192.0.2.1", "", true},
    {"mapped client", "192.0.2.1", "::ffff:192.0.2.1", "", true},
    {"network, first", "192.0.2.0/24", "192.0.2.0", "", true},
    {"network, last", "192.0.2.0/24", "192.0.2.255", "", true},
    {"network, before", "192.0.2.0/24", "192.0.1.255", "", false},
    {"network, behind", "192.0.2.0/24", "192.0.3.0", "", false},
    {"whole of IPv4", "0.0.0.0/0", "255.255.255.255", "", true},
    {"whole of IPv4 is not IPv6", "0.0.0.0/0", "::1", "", false},
    {"whole of IPv6 is not IPv4", "::/0", "1.2.3.4", "", false},
    {"whole of IPv6", "::/0", "ffff::ffff", "", true},
    {"IPv6 /32, last", "2001:db8::/32",
     "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "", true},
    {"IPv6 /32, behind", "2001:db8::/32", "2001:db9::", "", false},
    {"IPv6 /64", "2001:db8:0:1::/64", "2001:db8:0:1:ffff::", "", true},
    {"IPv6 /65, behind", "2001:db8::/65", "2001:db8::8000:0:0:0", "", false},
    {"IPv6 /127", "2001:db8::2/127", "2001:db8::3", "", true},
    {"IPv6 /128", "2001:db8::/128", "2001:db8::", "", true},
    {"short range, first", "198.51.100.7-12", "198.51.100.7", "", true},
    {"short range, last", "198.51.100.7-12", "198.51.100.12", "", true},
    {"short range, before", "198.51.100.7-12", "198.51.100.6", "", false},
    {"short range, behind", "198.51.100.7-12", "198.51.100.13", "", false},
    {"range", "192.0.2.250-192.0.3.9", "192.0.3.0", "", true},
    {"range of one", "192.0.2.1-1", "192.0.2.1", "", true},
    {"range to the end", "255.255.255.0-255", "255.255.255.255", "", true},
    {"IPv6 range", "2001:db8::1-2001:db8::1:0", "2001:db8::ffff", "", true},
    {"IPv6 short range", "2001:db8::1-ff", "2001:db8::ff", "", true},
    {"IPv6 short range, behind", "2001:db8::1-ff", "2001:db8::100", "", false},
    {"IPv6 over the halves",
     "2001:db8::-2001:db8:0:1::", "2001:db8:0:0:f::", "", true},
    {"IPv6 to the very end", "ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", true},
    {"partial of three", "203.0.113.", "203.0.113.77", "", true},
    {"partial is no prefix of text", "203.0.11.", "203.0.113.77", "", false},
    {"partial of one", "10.", "10.255.0.1", "", true},
    {"partial of one, behind", "10.", "11.0.0.0", "", false},
    {"partial IPv6", "2001:db8:", "2001:db8:1::1", "", true},
    {"partial IPv6 is whole groups", "2001:d:", "2001:db8::1", "", false},
    {"partial IPv6 of seven", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7:8", "", true},
    {"host", "mail.partner.example", "1.2.3.4", "mail.partner.example", true},
    {"host, case", "Mail.Partner.Example", "::1", "mAIL.partner.example", true},
    {"host, dot at its end", "mail.partner.example.", "::1",
     "mail.partner.example.", true},
    {"host is not what is below", "partner.example", "::1",
     "mail.partner.example", false},
    {"host, no name known", "mail.partner.example", "1.2.3.4", "", false},
    {"host with an underscore", "mx_1.Partner.example", "::1",
     "mx_1.partner.example", true},
    {"host of digits", "7-12.pool.example", "::1", "7-12.pool.example", true},
    {"localhost", "localhost", "127.0.0.1", "localhost", true},
    {"domain", ".partner.example", "::1", "mail.partner.example", true},
    {"domain, deep", ".partner.example", "::1", "a.b.c.partner.example", true},
    {"domain is not itself", ".partner.example", "::1", "partner.example",
     false},
    {"domain, not by letters", ".partner.example", "::1",
     "mail.evilpartner.example", false},
    {"domain, not as a host", ".partner.example", "::1", ".partner.example",
     false},
    {"top domain", ".example", "::1", "partner.example", true},
    {"name in UTF-8",
     ".b\xc3\xbc"
     "cher.example",
     "::1", "mail.xn--bcher-kva.example", true},
    {"ALL", "ALL", "1.2.3.4", "", true},
    {"ALL, IPv6", "all", "2001:db8::1", "x.example", true},
    {"ALL, no address", "ALL", "", "", true},
    {"network, no address", "0.0.0.0/0", "", "", false},
};

static void
check_sender(void **state)
{
    const struct sender_row *r = *state;
    struct net_address address = address_of(r->address);
    struct hat_client client = {&address, sv_of(r->host), 0};
    struct hat_match match;
    struct err err = {0};
    struct hat *hat = hat_of_sender(r->sender, &err);

    assert_string_equal(err.text, "");
    assert_non_null(hat);
    hat_match(hat, &client, &match);
    assert_true(match.row == (r->matches ? 0 : HAT_NONE));
    assert_int_equal(match.policy, r->matches ? 7 : 0);
    assert_sv(hat_why(hat, 0, &client), r->matches ? r->sender : "");
    hat_unref(hat);
}

static const struct refused_row {
    const char *name, *sender, *says;
} refused_rows[] = {
    {"empty", "", "is empty"},
    {"blank inside", "192.0.2.1 192.0.2.2", "blank"},
    {"blank around", " 192.0.2.1", "byte 1"},
    {"newline", "192.0.2.1\n", "control"},
    {"number too large", "192.0.2.256", "no IPv4 address"},
    {"leading zero", "192.0.02.1", "leading zeros"},
    {"three numbers", "192.0.2", "ends with a dot"},
    {"five numbers", "192.0.2.1.5", "four numbers"},
    {"a number alone", "3232235777", "four numbers"},
    {"partial of four", "192.0.2.1.", "no partial address"},
    {"partial, two dots", "192..", "no partial address"},
    {"partial, too large", "300.", "no partial address"},
    {"partial, leading zero", "010.", "no partial address"},
    {"bits behind the length", "192.0.2.1/24", "\"192.0.2.0/24\""},
    {"length too large", "192.0.2.0/33", "0 to 32"},
    {"netmask", "192.0.2.0/255.255.255.0", "0 to 32"},
    {"no length", "192.0.2.0/", "length"},
    {"network of a partial", "192.0.2./24", "no network"},
    {"range backwards", "192.0.2.9-192.0.2.1", "ends before it begins"},
    {"short range backwards", "192.0.2.9-1", "ends before it begins"},
    {"range of families", "192.0.2.1-2001:db8::1", "address family"},
    {"range, no end", "192.0.2.1-", "does not end"},
    {"range, no start", "-192.0.2.1", "none of"},
    {"range, end too large", "192.0.2.1-256", "does not end"},
    {"range of three", "192.0.2.1-2-3", "does not end"},
    {"range inside", "192.0.1-2.1", "does not begin"},
    {"range of networks", "192.0.2.0/24-192.0.3.0/24", "length"},
    {"IPv6, end is no hexadecimal", "2001:db8::1-zz", "does not end"},
    {"IPv6 group too long", "2001:db8::12345", "no IPv6 address"},
    {"IPv6 zone", "fe80::1%eth0", "no IPv6 address"},
    {"IPv6 partial without its colon", "2001:db8", "ends with a colon"},
    {"IPv6 network or address", "2001:db8::", "2001:db8::/128"},
    {"IPv6 partial with a gap", "2001::1:", "no partial address"},
    {"IPv6 partial of eight", "1:2:3:4:5:6:7:8:", "no partial address"},
    {"a colon", ":", "no partial address"},
    {"brackets", "[2001:db8::1]", "brackets"},
    {"brackets, IPv4", "[192.0.2.1]", "none of"},
    {"a port", "192.0.2.1:25", "no IPv6 address"},
    {"a dot", ".", "none of"},
    {"two dots", "mail..example", "none of"},
    {"a star", "*.example.org", "has a star"},
    {"a mail address", "boss@example.org", "mail address"},
    {"a group", "PARTNERS", "without a domain"},
    {"a top label of digits", "mail.1x", "no address"},
    {"hexadecimal", "0x7f.0.0.1", "no address"},
    {"DNS list", "dnslist[zen.dnsbl.example]", "dns_lists"},
    {"reputation", "SBRS[-10.0:-3.0]", "reputation"},
    {"network owner", "SBO:1234", "reputation"},
    {"negation", "!192.0.2.1", "none of"},
    {"label too long",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
     "org",
     "none of"},
    {"only a hyphen", "-.example", "none of"},
};

static void
check_refused(void **state)
{
    const struct refused_row *r = *state;
    struct err err = {0}, whole = {0};

    assert_false(hat_sender_check(sv_of(r->sender), &err));
    if (strstr(err.text, r->says) == NULL)
        fail_msg("said: %s", err.text);
    assert_null(hat_of_sender(r->sender, &whole));
    assert_non_null(strstr(whole.text, "host access table row 1 (G): "));
    assert_non_null(strstr(whole.text, err.text));
}

/* A table as text: rows "GROUP sender sender !zone", "+GROUP" continues. */
#define ROWS_MAX 8
#define TEXTS_MAX 8

struct written {
    struct hat_row rows[ROWS_MAX];
    struct sv senders[ROWS_MAX][TEXTS_MAX], zones[ROWS_MAX][TEXTS_MAX];
    size_t count;
};

static void
write_row(struct written *written, struct sv line)
{
    struct hat_row *row = &written->rows[written->count];
    struct sv *senders = written->senders[written->count];
    struct sv *zones = written->zones[written->count];

    *row = (struct hat_row){.senders = senders, .dns_lists = zones};
    row->goes_on = sv_take_char(&line, '+');
    row->group = sv_take_until(&line, ' ');
    row->policy = (uint32_t)(100 + written->count);
    while (line.n > 0) {
        struct sv text = sv_take_until(&line, ' ');

        if (sv_take_char(&text, '!'))
            zones[row->dns_list_count++] = text;
        else
            senders[row->sender_count++] = text;
    }
    written->count++;
}

static struct hat *
hat_of(const char *text)
{
    struct written written = {0};
    struct sv rest = sv_of(text);
    struct err err = {0};
    struct hat *hat;

    while (rest.n > 0)
        write_row(&written, sv_trim(sv_take_until(&rest, ';')));
    hat = hat_new(written.rows, written.count, &err);
    assert_string_equal(err.text, "");
    assert_non_null(hat);
    return hat;
}

#define TYPICAL                                                                \
    "TRUSTED 192.0.2.1; BLOCKED 192.0.2.0/24 .bad.example !a.example; "        \
    "+WATCH 192.0.0.0/16 !b.example; PARTNERS .partner.example; "              \
    "LISTED !c.example !a.example; ALL"

static const struct match_row {
    const char *name, *table, *address, *host;
    uint64_t listed;
    size_t row;
    const char *passed; /* rows */
    bool need_name;
    uint64_t need_zones;
} match_rows[] = {
    {"first row, no look-up", TYPICAL, "192.0.2.1", "", 0, 0, "", false, 0},
    {"the network behind it", TYPICAL, "192.0.2.2", "", 0, 1, "", false, 0},
    {"a name is needed for the last row", TYPICAL, "1.2.3.4", "", 0, 5, "",
     true, 7},
    {"the name settles, list a comes before", TYPICAL, "1.2.3.4",
     "mx.partner.example", 0, 3, "", false, 3},
    {"the name settles sooner", TYPICAL, "1.2.3.4", "mx.bad.example", 0, 1, "",
     false, 0},
    {"a list settles, a name comes before", TYPICAL, "1.2.3.4", "", 4, 4, "",
     true, 3},
    {"the lowest of two lists", TYPICAL, "1.2.3.4", "x.example", 5, 1, "",
     false, 0},
    {"passed by address", TYPICAL, "192.0.9.9", "mx.partner.example", 0, 3, "2",
     false, 3},
    {"passed by list", TYPICAL, "1.2.3.4", "", 2, 5, "2", true, 5},
    {"not noted when settled before", TYPICAL, "192.0.9.9", "", 1, 1, "", false,
     0},
    {"a name that does not matter", TYPICAL, "192.0.2.1", "mx.partner.example",
     7, 0, "", false, 0},
    {"empty table", "", "1.2.3.4", "", 0, HAT_NONE, "", false, 0},
    {"no row matches", "G 192.0.2.1", "1.2.3.4", "", 0, HAT_NONE, "", false, 0},
    {"a row without senders", "G; ALL", "1.2.3.4", "", 0, 1, "", false, 0},
    {"ALL as a sender in the middle", "A 1.1.1.1; B ALL; C 1.2.3.4", "1.2.3.4",
     "", 0, 1, "", false, 0},
    {"ALL that goes on", "+ALL; G 1.2.3.4", "1.2.3.4", "", 0, 1, "0", false, 0},
    {"only rows that go on", "+A 1.2.3.4; +B 1.2.3.0/24", "1.2.3.4", "", 0,
     HAT_NONE, "01", false, 0},
    {"a row that goes on asks for what it has", "+A .x.example; ALL", "1.2.3.4",
     "", 0, 1, "", true, 0},
    {"group ALL with senders is not everybody", "ALL 1.1.1.1", "1.2.3.4", "", 0,
     HAT_NONE, "", false, 0},
    {"host and domain, the lower row", "A .x.example; B a.x.example", "::1",
     "a.x.example", 0, 0, "", false, 0},
    {"the deeper domain in the lower row",
     "A .b.x.example; B .x.example; C .example", "::1", "a.b.x.example", 0, 0,
     "", false, 0},
    {"the wider domain in the lower row", "A .x.example; B .b.x.example", "::1",
     "a.b.x.example", 0, 0, "", false, 0},
    {"same sender twice, the lower row", "A 1.2.3.4; B 1.2.3.4", "1.2.3.4", "",
     0, 0, "", false, 0},
    {"no address, ALL", "A 0.0.0.0/0; ALL", "", "", 0, 1, "", false, 0},
};

static void
check_match(void **state)
{
    const struct match_row *r = *state;
    struct net_address address = address_of(r->address);
    struct hat_client client = {&address, sv_of(r->host), r->listed};
    struct hat *hat = hat_of(r->table);
    struct hat_need need = hat_need(hat, &client);
    struct hat_match match;
    char passed[ROWS_MAX + 1] = "";
    size_t row, n = 0;

    hat_match(hat, &client, &match);
    assert_true(match.row == r->row);
    assert_int_equal(match.policy, r->row == HAT_NONE ? 0 : 100 + r->row);
    while (hat_next_passed(hat, &match.passed, &row))
        passed[n++] = (char)('0' + row);
    assert_string_equal(passed, r->passed);
    assert_int_equal(need.name, r->need_name);
    assert_int_equal(need.zones, r->need_zones);
    hat_unref(hat);
}

static const struct lint_row {
    const char *name, *table, *found; /* "kind row sender by;" */
} lint_rows[] = {
    {"a list that an earlier row has", TYPICAL, "sender 4 a.example by 1;"},
    {"nothing", "A 1.2.3.4 .x.example !l.example; ALL", ""},
    {"no ALL", "A 1.2.3.4", "total;"},
    {"both families whole are total", "A 0.0.0.0/0 ::/0", ""},
    {"empty row", "A; ALL", "empty 0;"},
    {"behind ALL", "ALL; A 1.2.3.4", "dead 1 by 0;"},
    {"same address", "A 1.2.3.4; B 1.2.3.4; ALL", "dead 1 by 0;"},
    {"inside a network", "A 1.2.3.0/24; B 1.2.3.7-9; ALL", "dead 1 by 0;"},
    {"inside two", "A 1.2.3.0/25; B 1.2.3.128-255; C 1.2.3.; ALL",
     "dead 2 by 0;"},
    {"half of it lives", "A 1.2.3.0/25; B 1.2.3.; ALL", ""},
    {"one sender is dead", "A 1.2.3.0/24; B 1.2.3.4 1.2.4.4; ALL",
     "sender 1 1.2.3.4 by 0;"},
    {"behind a row that goes on", "+A 1.2.3.0/24; B 1.2.3.4; ALL", ""},
    {"goes on, but too late", "A 1.2.3.0/24; +B 1.2.3.4; ALL", "dead 1 by 0;"},
    {"host below a domain", "A .x.example; B a.x.example; ALL", "dead 1 by 0;"},
    {"domain below a domain", "A .example; B .x.example; ALL", "dead 1 by 0;"},
    {"domain that is not the host", "A .x.example; B x.example; ALL", ""},
    {"same host", "A x.example; B x.example; ALL", "dead 1 by 0;"},
    {"name behind ALL", "A ALL; B x.example; C !l.example",
     "dead 1 by 0;dead 2 by 0;"},
    {"name behind both families", "A 0.0.0.0/0; B ::/0; C x.example; ALL",
     "dead 2 by 1;dead 3 by 0;"},
    {"name while IPv6 is left", "A 0.0.0.0/0; C x.example; ALL", ""},
    {"same list", "A !l.example; B !l.example !m.example; ALL",
     "sender 1 l.example by 0;"},
    {"twice in one row", "A 1.2.3.4 1.2.3.4; ALL", ""},
};

static void
add_finding(const struct hat_finding *finding, void *arg)
{
    char *found = arg;
    size_t n = strlen(found), room = 256 - n;

    switch (finding->kind) {
    case HAT_LINT_EMPTY_ROW:
        snprintf(found + n, room, "empty %zu;", finding->row);
        break;
    case HAT_LINT_DEAD_ROW:
        snprintf(found + n, room, "dead %zu by %zu;", finding->row,
                 finding->by);
        break;
    case HAT_LINT_DEAD_SENDER:
        snprintf(found + n, room, "sender %zu %.*s by %zu;", finding->row,
                 SV_ARG(finding->sender), finding->by);
        break;
    case HAT_LINT_NOT_TOTAL:
        snprintf(found + n, room, "total;");
        break;
    }
}

static void
check_lint(void **state)
{
    const struct lint_row *r = *state;
    struct hat *hat = hat_of(r->table);
    char found[256] = "";

    hat_lint(hat, add_finding, found);
    assert_string_equal(found, r->found);
    hat_unref(hat);
}

static const struct query_row {
    const char *name, *address, *zone, *query;
} query_rows[] = {
    {"IPv4", "198.51.100.7", "zen.example", "7.100.51.198.zen.example"},
    {"mapped", "::ffff:198.51.100.7", "z.example", "7.100.51.198.z.example"},
    {"IPv6", "2001:db8::1:0:2", "z.example",
     "2.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2."
     "z.example"},
    {"no address", "", "z.example", NULL},
};

static void
check_query(void **state)
{
    const struct query_row *r = *state;
    struct net_address address = address_of(r->address);
    char out[HAT_QUERY_MAX] = "";
    bool made = hat_dns_list_query(&address, sv_of(r->zone), out);

    assert_int_equal(made, r->query != NULL);
    if (r->query != NULL)
        assert_string_equal(out, r->query);
}

static const struct listed_row {
    const char *name, *answer;
    bool listed;
} listed_rows[] = {
    {"listed", "127.0.0.2", true},
    {"another code", "127.0.1.255", true},
    {"a web server", "203.0.113.80", false},
    {"the resolver is refused", "127.255.255.254", false},
    {"not an A record", "::1", false},
};

static void
check_listed(void **state)
{
    const struct listed_row *r = *state;
    struct net_address address = address_of(r->answer);

    assert_int_equal(hat_dns_list_listed(&address), r->listed);
}

static void
test_zone_bounds(void **state UNUSED)
{
    struct net_address address = address_of("2001:db8::1");
    char zone[256], out[HAT_QUERY_MAX];
    struct err err;

    memset(zone, 'a', sizeof zone);
    for (size_t i = 0; i < sizeof zone; i += 40)
        zone[i] = i == 0 ? 'a' : '.';
    assert_true(hat_zone_check((struct sv){zone, 189}, &err));
    assert_true(hat_dns_list_query(&address, (struct sv){zone, 189}, out));
    assert_int_equal(strlen(out), 253);
    assert_false(hat_zone_check((struct sv){zone, 190}, &err));
    assert_false(hat_zone_check(SV("zen"), &err));
    assert_false(hat_zone_check(SV("zen."), &err));
    assert_false(hat_zone_check(SV(""), &err));
    assert_true(hat_zone_check(SV("Zen.Example."), &err));
}

static void
test_counts_are_bounded(void **state UNUSED)
{
    struct hat_row rows[HAT_CONTINUE_MAX + 1];
    struct sv all = SV("ALL"), zones[HAT_ZONES_MAX + 1];
    char texts[HAT_ZONES_MAX + 1][16];
    struct err err;
    struct hat *hat;

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        rows[i] = (struct hat_row){SV("G"), &all, 1, NULL, 0, 0, true};
    hat = hat_new(rows, HAT_CONTINUE_MAX, &err);
    assert_non_null(hat);
    hat_unref(hat);
    assert_null(hat_new(rows, HAT_CONTINUE_MAX + 1, &err));
    assert_non_null(strstr(err.text, "more than 64 rows"));
    for (size_t i = 0; i < COUNT_OF(zones); i++) {
        snprintf(texts[i], sizeof texts[i], "z%zu.example", i);
        zones[i] = sv_of(texts[i]);
    }
    rows[0] =
        (struct hat_row){SV("G"), NULL, 0, zones, HAT_ZONES_MAX, 0, false};
    hat = hat_new(rows, 1, &err);
    assert_non_null(hat);
    assert_int_equal(hat_zone_count(hat), HAT_ZONES_MAX);
    assert_sv(hat_zone(hat, 63), "z63.example");
    hat_unref(hat);
    rows[0].dns_list_count++;
    assert_null(hat_new(rows, 1, &err));
    assert_non_null(strstr(err.text, "one too many"));
}

static void
test_rows_are_kept(void **state UNUSED)
{
    struct hat *hat = hat_of("A 1.2.3.4; +B !Z.example.");

    assert_int_equal(hat_row_count(hat), 2);
    assert_sv(hat_group(hat, 1), "B");
    assert_int_equal(hat_policy(hat, 1), 101);
    assert_sv(hat_zone(hat, 0), "z.example");
    assert_ptr_equal(hat_ref(hat), hat);
    hat_unref(hat);
    assert_int_equal(hat_row_count(hat), 2);
    hat_unref(hat);
    hat_unref(NULL);
}

static void
test_hostile_names(void **state UNUSED)
{
    struct hat *hat = hat_of("A .partner.example");
    struct net_address address = address_of("::1");
    struct hat_match match;
    struct hat_client client = {.address = &address};
    char name[512];
    struct sv tail = SV(".partner.example");

    for (size_t n = tail.n; n <= sizeof name; n++) {
        memset(name, 'a', n);
        memcpy(name + n - tail.n, tail.p, tail.n);
        client.name = (struct sv){name, n};
        hat_match(hat, &client, &match);
        assert_true(match.row == (n > tail.n && n <= 255 ? 0 : HAT_NONE));
    }
    client.name = SV("mail.partner.example\0.evil.example");
    hat_match(hat, &client, &match);
    assert_true(match.row == HAT_NONE);
    client.name = SV("mail\0.partner.example"); /* below it all the same */
    hat_match(hat, &client, &match);
    assert_true(match.row == 0);
    hat_unref(hat);
}

/* The reference: what the texts of a random table mean, as numbers that were
 * never text. */
enum { RANDOM_SENDERS = 6, RANDOM_ROWS = 12, RANDOM_ZONES = 3 };

struct reference {
    enum { REF_V4, REF_V6, REF_HOST, REF_DOMAIN, REF_ALL } kind;
    uint32_t first, last; /* below 10.0.0.0 or 2001:db8:: */
    char text[64];
};

struct random_table {
    struct reference senders[RANDOM_ROWS][RANDOM_SENDERS];
    struct sv texts[RANDOM_ROWS][RANDOM_SENDERS];
    unsigned zones[RANDOM_ROWS];
    struct sv zone_texts[RANDOM_ROWS][RANDOM_ZONES];
    struct hat_row rows[RANDOM_ROWS];
    size_t count;
};

static uint64_t seed;

static uint32_t
draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static void
draw_v4(struct reference *ref)
{
    uint32_t at = draw(1024), bits = draw(11);

    ref->kind = REF_V4;
    ref->first = ref->last = at;
    switch (draw(5)) {
    case 0:
        snprintf(ref->text, 64, "10.0.%u.%u", at >> 8, at & 255);
        return;
    case 1:
        ref->first = at >> bits << bits;
        ref->last = ref->first + (1u << bits) - 1;
        snprintf(ref->text, 64, "10.0.%u.%u/%u", ref->first >> 8,
                 ref->first & 255, 32 - bits);
        return;
    case 2:
        ref->last = at + draw(256 - (at & 255));
        snprintf(ref->text, 64, "10.0.%u.%u-%u", at >> 8, at & 255,
                 ref->last & 255);
        return;
    case 3:
        ref->last = at + draw(1024 - at);
        snprintf(ref->text, 64, "10.0.%u.%u-10.0.%u.%u", at >> 8, at & 255,
                 ref->last >> 8, ref->last & 255);
        return;
    default:
        ref->first = at & ~255u;
        ref->last = at | 255;
        snprintf(ref->text, 64, "10.0.%u.", at >> 8);
        return;
    }
}

static void
draw_v6(struct reference *ref)
{
    uint32_t at = draw(1024), bits = draw(11);

    ref->kind = REF_V6;
    ref->first = ref->last = at;
    switch (draw(4)) {
    case 0:
        snprintf(ref->text, 64, "2001:db8::7:%x", at);
        return;
    case 1:
        ref->first = at >> bits << bits;
        ref->last = ref->first + (1u << bits) - 1;
        snprintf(ref->text, 64, "2001:db8::7:%x/%u", ref->first, 128 - bits);
        return;
    case 2:
        ref->last = at + draw(1024 - at);
        snprintf(ref->text, 64, "2001:db8::7:%x-%x", at, ref->last);
        return;
    default:
        ref->last = at + draw(1024 - at);
        snprintf(ref->text, 64, "2001:db8::7:%x-2001:db8:0:0::7:%x", at,
                 ref->last);
        return;
    }
}

/* Two to four labels of three letters each: parents meet often. */
static void
draw_name(char *text, size_t size)
{
    uint32_t labels = 1 + draw(3);
    int n = 0;

    for (uint32_t i = 0; i < labels; i++)
        n += snprintf(text + n, size - (size_t)n, "%c.", (char)('a' + draw(3)));
    snprintf(text + n, size - (size_t)n, "example");
}

static void
draw_sender(struct reference *ref)
{
    switch (draw(8)) {
    case 0:
    case 1:
    case 2:
        draw_v4(ref);
        return;
    case 3:
    case 4:
        draw_v6(ref);
        return;
    case 5:
        ref->kind = REF_HOST;
        draw_name(ref->text, sizeof ref->text);
        return;
    case 6:
        ref->kind = REF_DOMAIN;
        ref->text[0] = '.';
        draw_name(ref->text + 1, sizeof ref->text - 1);
        return;
    default:
        if (draw(20) > 0) {
            draw_v4(ref);
            return;
        }
        ref->kind = REF_ALL;
        snprintf(ref->text, sizeof ref->text, "ALL");
        return;
    }
}

static void
draw_row(struct random_table *table)
{
    static const struct sv zones[RANDOM_ZONES] = {
        SV_INIT("a.example"), SV_INIT("b.example"), SV_INIT("c.example")};
    size_t i = table->count++;
    struct hat_row *row = &table->rows[i];

    *row = (struct hat_row){
        .group = SV("G"),
        .senders = table->texts[i],
        .sender_count = draw(RANDOM_SENDERS),
        .dns_lists = table->zone_texts[i],
        .goes_on = draw(4) == 0,
    };
    for (size_t k = 0; k < row->sender_count; k++) {
        draw_sender(&table->senders[i][k]);
        table->texts[i][k] = sv_of(table->senders[i][k].text);
    }
    table->zones[i] = draw(3) == 0 ? draw(1u << RANDOM_ZONES) : 0;
    for (size_t k = 0; k < RANDOM_ZONES; k++) {
        if (table->zones[i] >> k & 1)
            table->zone_texts[i][row->dns_list_count++] = zones[k];
    }
}

struct random_client {
    bool v6;
    uint32_t at;
    char name[64]; /* "": none */
    unsigned zones;
};

static bool
reference_matches(const struct reference *ref, const struct random_client *c)
{
    size_t n = strlen(c->name), m = strlen(ref->text);

    switch (ref->kind) {
    case REF_V4:
    case REF_V6:
        return c->v6 == (ref->kind == REF_V6) && ref->first <= c->at &&
               c->at <= ref->last;
    case REF_HOST:
        return strcmp(c->name, ref->text) == 0;
    case REF_DOMAIN:
        return n > m && strcmp(c->name + n - m, ref->text) == 0;
    case REF_ALL:
        return true;
    }
    return false;
}

static bool
row_matches(const struct random_table *table, size_t row,
            const struct random_client *c)
{
    for (size_t i = 0; i < table->rows[row].sender_count; i++) {
        if (reference_matches(&table->senders[row][i], c))
            return true;
    }
    return (table->zones[row] & c->zones) != 0;
}

/* The bit that the table gave to each of our zones. */
static uint64_t
listed_bits(const struct hat *hat, unsigned zones)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < hat_zone_count(hat); i++)
        bits |= (uint64_t)(zones >> (hat_zone(hat, i).p[0] - 'a') & 1) << i;
    return bits;
}

static struct random_client
draw_client(struct net_address *address)
{
    struct random_client c = {.v6 = draw(2), .at = draw(1024)};
    char text[64];

    if (draw(2) == 0)
        draw_name(c.name, sizeof c.name);
    if (draw(2) == 0)
        c.zones = draw(1u << RANDOM_ZONES);
    if (c.v6)
        snprintf(text, sizeof text, "2001:db8::7:%x", c.at);
    else
        snprintf(text, sizeof text, "10.0.%u.%u", c.at >> 8, c.at & 255);
    *address = address_of(text);
    return c;
}

static void
compare_client(const struct random_table *table, const struct hat *hat)
{
    struct net_address address;
    struct random_client c = draw_client(&address);
    struct hat_client client = {&address, sv_of(c.name),
                                listed_bits(hat, c.zones)};
    struct hat_match match;
    uint64_t left;
    size_t row, passed;

    hat_match(hat, &client, &match);
    left = match.passed;
    for (row = 0; row < table->count; row++) {
        assert_int_equal(hat_why(hat, row, &client).n > 0,
                         row_matches(table, row, &c));
        if (!row_matches(table, row, &c))
            continue;
        if (!table->rows[row].goes_on)
            break;
        assert_true(hat_next_passed(hat, &left, &passed));
        assert_true(passed == row);
    }
    assert_true(match.row == (row == table->count ? HAT_NONE : row));
    assert_true(left == 0);
}

/* Looks up no more than is asked for, in either order, and must come to the
 * answer of one who knows everything. */
static void
compare_need(const struct hat *hat)
{
    struct net_address address;
    struct random_client c = draw_client(&address);
    struct hat_client all = {&address, sv_of(c.name),
                             listed_bits(hat, c.zones)};
    struct hat_client some = {.address = &address};
    struct hat_match wanted, found;
    struct hat_need need;

    if (draw(2) == 0) {
        some.listed = all.listed & hat_need(hat, &some).zones;
        if (hat_need(hat, &some).name)
            some.name = all.name;
    } else {
        if (hat_need(hat, &some).name)
            some.name = all.name;
        need = hat_need(hat, &some);
        some.listed = all.listed & need.zones;
    }
    hat_match(hat, &all, &wanted);
    hat_match(hat, &some, &found);
    assert_true(found.row == wanted.row);
    assert_true(found.passed == wanted.passed);
}

static void
test_random_tables(void **state UNUSED)
{
    for (seed = 1; seed < 400; seed++) {
        uint64_t former = seed;
        struct random_table table = {0};
        struct err err = {0};
        struct hat *hat;
        uint32_t rows = draw(RANDOM_ROWS + 1);

        while (table.count < rows)
            draw_row(&table);
        hat = hat_new(table.rows, table.count, &err);
        assert_string_equal(err.text, "");
        assert_non_null(hat);
        for (int i = 0; i < 100; i++) {
            compare_client(&table, hat);
            compare_need(hat);
        }
        hat_unref(hat);
        seed = former;
    }
}

/* A row that lint calls dead changes no answer when it is taken away. */
static void
count_dead(const struct hat_finding *finding, void *arg)
{
    bool *dead = arg;

    if (finding->kind == HAT_LINT_DEAD_ROW)
        dead[finding->row] = true;
}

static void
test_random_lint(void **state UNUSED)
{
    size_t found = 0;

    for (uint64_t start = 1; start < 400; start++) {
        struct random_table table = {0};
        bool dead[RANDOM_ROWS] = {false};
        struct hat *hat;

        seed = start;
        while (table.count < RANDOM_ROWS)
            draw_row(&table);
        hat = hat_new(table.rows, table.count, NULL);
        assert_non_null(hat);
        hat_lint(hat, count_dead, dead);
        for (int i = 0; i < 200; i++) {
            struct net_address address;
            struct random_client c = draw_client(&address);
            struct hat_client client = {&address, sv_of(c.name),
                                        listed_bits(hat, c.zones)};
            struct hat_match match;
            size_t row;

            hat_match(hat, &client, &match);
            assert_false(match.row != HAT_NONE && dead[match.row]);
            while (hat_next_passed(hat, &match.passed, &row))
                assert_false(dead[row]);
        }
        for (size_t i = 0; i < RANDOM_ROWS; i++)
            found += dead[i];
        hat_unref(hat);
    }
    assert_true(found > 100); /* else the test tests nothing */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zone_bounds),
        cmocka_unit_test(test_counts_are_bounded),
        cmocka_unit_test(test_rows_are_kept),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_random_tables),
        cmocka_unit_test(test_random_lint),
    };

    return RUN_ROWS("hat_sender", check_sender, sender_rows) +
           RUN_ROWS("hat_refused", check_refused, refused_rows) +
           RUN_ROWS("hat_match", check_match, match_rows) +
           RUN_ROWS("hat_lint", check_lint, lint_rows) +
           RUN_ROWS("hat_query", check_query, query_rows) +
           RUN_ROWS("hat_listed", check_listed, listed_rows) +
           cmocka_run_group_tests_name("hat", tests, NULL, NULL);
}
