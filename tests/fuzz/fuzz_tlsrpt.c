/* The TXT record of TLS reporting, and what peers said on its way into a
 * report. */
#include "tlsrpt/record.h"
#include "tlsrpt/report.h"
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_target(const struct tlsrpt_target *target)
{
    size_t n = strlen(target->address);

    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        assert(char_is_print(target->address[i]));
    if (target->scheme == TLSRPT_MAIL)
        assert(strchr(target->address, '@') != NULL);
    else
        assert(sv_starts_nocase(sv_of(target->address), SV("https://")));
}

static void
check_record(struct sv text)
{
    struct tlsrpt_record record;
    struct arena arena;
    struct err err;

    arena_init(&arena, 1024);
    if (tlsrpt_record_parse(text, &arena, &record, &err)) {
        assert(tlsrpt_record_is(text));
        assert(record.target_count <= TLSRPT_TARGETS_MAX);
        for (size_t i = 0; i < record.target_count; i++)
            check_target(&record.targets[i]);
    } else {
        assert(err.text[0] != '\0');
    }
    arena_fini(&arena);
}

/* Whatever a peer says, the report is JSON. */
static void
check_report(struct sv text)
{
    const struct tlsrpt_json_options options = {0};
    struct tlsrpt_failure failure = {
        .result = text, .reason = text, .receiving_helo = text, .sessions = 1};
    struct tlsrpt_policy policy = {.type = SV("sts"),
                                   .text = text,
                                   .domain = SV("example.org"),
                                   .failures = &failure,
                                   .failure_count = 1};
    const struct tlsrpt_report report = {
        .organization = text, .policies = &policy, .policy_count = 1};
    struct buf out = {0};
    json_t *back;

    tlsrpt_report_json(&report, &options, &out);
    back = json_loads(buf_cstr(&out), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      NULL);
    assert(back != NULL);
    json_decref(back);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size};

    check_record(in);
    check_report(in);
    return 0;
}
