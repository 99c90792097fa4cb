/* dane verify: the check of a chain against TLSA records by itself, without a
 * gateway and without a connection. */
#include "cli.h"

#include "base/buf.h"
#include "base/clock.h"
#include "tls/dane.h"
#include <errno.h>
#include <time.h>

enum { FILE_MAX = 1 << 20, RECORD_MAX = 8192, TEXT_MAX = 200 };

struct check {
    struct tls_tlsa tlsa[TLS_TLSA_MAX];
    uint8_t *data[TLS_TLSA_MAX]; /* owned */
    size_t usable;
    struct tls_dane dane;
    int64_t time;
    struct buf chain;
};

/* --- Options ---------------------------------------------------------- */

/* Takes every "OPTION VALUE" out; cli_value() knows the last one only. */
static size_t
take_values(struct cli *cli, const char *option, const char **values,
            size_t max)
{
    size_t n = 0;

    for (int i = 0; i + 1 < cli->argc && n < max;) {
        if (strcmp(cli->argv[i], option) != 0) {
            i++;
            continue;
        }
        values[n++] = cli->argv[i + 1];
        cli->argc -= 2;
        memmove(&cli->argv[i], &cli->argv[i + 2],
                (size_t)(cli->argc - i) * sizeof *cli->argv);
    }
    return n;
}

static bool
take_records(struct cli *cli, struct check *check)
{
    const char *texts[TLS_TLSA_MAX];
    size_t n = take_values(cli, "--tlsa", texts, COUNT_OF(texts));

    for (size_t i = 0; i < n; i++) {
        check->data[i] = mem_alloc_raw(RECORD_MAX);
        if (!tls_tlsa_from_text(sv_of(texts[i]), &check->tlsa[i],
                                check->data[i], RECORD_MAX)) {
            cli_misuse(cli, "not a TLSA record, such as \"3 1 1 0123...\": %s",
                       texts[i]);
            return false;
        }
        check->dane.tlsa_count++;
        check->usable += tls_tlsa_problem(&check->tlsa[i]) == NULL;
    }
    check->dane.tlsa = check->tlsa;
    return true;
}

static void
take_names(struct cli *cli, struct check *check)
{
    const char *names[1 + TLS_DANE_NAMES_MAX];
    size_t n = take_values(cli, "--name", names, COUNT_OF(names));

    check->dane.base = n > 0 ? names[0] : "";
    for (size_t i = 1; i < n; i++)
        check->dane.names[check->dane.name_count++] = names[i];
}

/* Seconds since 1970, or 2026-11-22T05:00:00Z. */
static bool
take_time(struct cli *cli, struct check *check)
{
    const char *text = cli_value(cli, "--time"), *end;
    struct tm parts = {0};
    uint64_t seconds;

    check->time = clock_wall_s();
    if (text == NULL)
        return true;
    if (sv_to_u64(sv_of(text), &seconds)) {
        check->time = (int64_t)seconds;
        return true;
    }
    end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    check->time = timegm(&parts);
    if (end != NULL && *end == '\0')
        return true;
    cli_misuse(cli, "not a time, such as 2026-01-31T12:00:00Z: %s", text);
    return false;
}

static bool
read_chain(const char *path, struct buf *chain)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *text;
    size_t n;

    if (file == NULL) {
        fprintf(stderr, "waxgate: %s: %s\n", path, strerror(errno));
        return false;
    }
    text = mem_alloc_raw(FILE_MAX);
    n = fread(text, 1, FILE_MAX, file);
    buf_add(chain, (struct sv){text, n});
    mem_free(text);
    if (file != stdin)
        fclose(file);
    return true;
}

/* --- Verdict ---------------------------------------------------------- */

/* Records of which none is usable demand TLS and authenticate nobody (RFC 7672
 * section 3.1.3): that is no mismatch. */
static const char *
verdict_of(const struct check *check, const struct tls_dane_facts *facts)
{
    if (facts->matched)
        return "match";
    return check->usable > 0 ? "no-match" : "unusable";
}

static json_t *
records_json(const struct check *check)
{
    json_t *list = json_array();

    for (size_t i = 0; i < check->dane.tlsa_count; i++) {
        const char *problem = tls_tlsa_problem(&check->tlsa[i]);
        char text[TEXT_MAX];

        tls_tlsa_print(&check->tlsa[i], text, sizeof text);
        json_array_append_new(list, json_pack("{s:s, s:b, s:s*}", "text", text,
                                              "usable", problem == NULL,
                                              "problem", problem));
    }
    return list;
}

static void
print_json(const struct check *check, const struct tls_dane_facts *facts)
{
    json_t *object =
        json_pack("{s:s, s:s, s:o}", "verdict", verdict_of(check, facts),
                  "reason", facts->reason, "records", records_json(check));

    if (facts->matched)
        json_object_set_new(object, "match",
                            json_pack("{s:i, s:i, s:i, s:i, s:s}", "usage",
                                      facts->usage, "selector", facts->selector,
                                      "matching", facts->matching, "depth",
                                      facts->depth, "name", facts->name));
    cli_print_json(object);
    json_decref(object);
}

static void
print_text(const struct check *check, const struct tls_dane_facts *facts)
{
    if (facts->matched)
        printf("match: TLSA %u %u %u, certificate %d of the chain%s%s\n",
               facts->usage, facts->selector, facts->matching, facts->depth,
               facts->name[0] != '\0' ? ", name " : "", facts->name);
    else
        printf("%s: %s\n", verdict_of(check, facts), facts->reason);
    for (size_t i = 0; i < check->dane.tlsa_count; i++) {
        const char *problem = tls_tlsa_problem(&check->tlsa[i]);
        char text[TEXT_MAX];

        tls_tlsa_print(&check->tlsa[i], text, sizeof text);
        if (problem != NULL)
            printf("unusable: %s: %s\n", text, problem);
    }
}

static void
check_fini(struct check *check)
{
    for (size_t i = 0; i < COUNT_OF(check->data); i++)
        mem_free(check->data[i]);
    buf_fini(&check->chain);
}

static int
run_check(struct cli *cli, struct check *check)
{
    bool json = cli_flag(cli, "--json"), records, when;
    const char *chain = cli_value(cli, "--chain");
    struct tls_dane_facts facts;

    take_names(cli, check);
    records = take_records(cli, check);
    when = records && take_time(cli, check);
    if (!records || !when || !cli_operands(cli, 0, 0))
        return CLI_USAGE;
    if (chain == NULL || check->dane.tlsa_count == 0 ||
        check->dane.base[0] == '\0')
        return cli_misuse(cli, "--chain, --tlsa and --name must be there");
    if (!read_chain(chain, &check->chain))
        return CLI_FAILED;
    (void)!tls_dane_verify(buf_view(&check->chain), &check->dane, check->time,
                           &facts);
    if (json)
        print_json(check, &facts);
    else
        print_text(check, &facts);
    return facts.matched ? CLI_OK : CLI_FAILED;
}

int
run_dane_verify(struct cli *cli)
{
    struct check check = {0};
    int status = run_check(cli, &check);

    check_fini(&check);
    return status;
}
