#include "tlsrpt/report.h"

#include "base/utf8.h"
#include <inttypes.h>
#include <jansson.h>
#include <time.h>
#include <zlib.h>

enum { DAY_SECONDS = 86400, DATE_TEXT = 32 };

/* --- JSON ----------------------------------------------------------------- */

/* A string of JSON takes nothing but UTF-8 (RFC 7493 section 2.1). */
static json_t *
text(struct sv bytes)
{
    json_t *string;
    char *copy;

    if (utf8_valid(bytes))
        return json_stringn(bytes.n == 0 ? "" : bytes.p, bytes.n);
    copy = mem_alloc_raw(bytes.n);
    for (size_t i = 0; i < bytes.n; i++)
        copy[i] = char_is_print(bytes.p[i]) ? bytes.p[i] : '?';
    string = json_stringn(copy, bytes.n);
    mem_free(copy);
    return string;
}

static void
set(json_t *object, const char *key, struct sv value)
{
    json_object_set_new(object, key, text(value));
}

static void
set_known(json_t *object, const char *key, struct sv value)
{
    if (value.n > 0)
        set(object, key, value);
}

static void
set_number(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

/* RFC 3339, in UTC. */
static json_t *
date(int64_t seconds)
{
    time_t t = (time_t)seconds;
    char out[DATE_TEXT];
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL ||
        strftime(out, sizeof out, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, sizeof out, "1970-01-01T00:00:00Z");
    return json_string(out);
}

static json_t *
date_range(const struct tlsrpt_report *report)
{
    json_t *range = json_object();

    json_object_set_new(range, "start-datetime", date(report->starts_at));
    json_object_set_new(range, "end-datetime",
                        date(report->starts_at + DAY_SECONDS - 1));
    return range;
}

/* The lines of the policy, and the patterns of MX names among them: for
 * MTA-STS policies only (section 4.4). */
static void
set_policy_lines(json_t *object, const struct tlsrpt_policy *policy)
{
    json_t *lines = json_array(), *patterns = json_array();
    struct sv rest = policy->text;

    while (rest.n > 0) {
        struct sv line = sv_take_until(&rest, '\n');

        if (line.n > 0)
            json_array_append_new(lines, text(line));
        if (sv_take_prefix(&line, SV("mx:")))
            json_array_append_new(patterns, text(sv_trim(line)));
    }
    if (json_array_size(lines) > 0)
        json_object_set(object, "policy-string", lines);
    set(object, "policy-domain", policy->domain);
    if (sv_is(policy->type, "sts") && json_array_size(patterns) > 0)
        json_object_set(object, "mx-host", patterns);
    json_decref(lines);
    json_decref(patterns);
}

static json_t *
failure_json(const struct tlsrpt_failure *failure)
{
    json_t *object = json_object();

    set(object, "result-type", failure->result);
    set_known(object, "sending-mta-ip", failure->sending_ip);
    set_known(object, "receiving-mx-hostname", failure->receiving_host);
    set_known(object, "receiving-mx-helo", failure->receiving_helo);
    set_known(object, "receiving-ip", failure->receiving_ip);
    set_number(object, "failed-session-count", failure->sessions);
    set_known(object, "failure-reason-code", failure->reason);
    return object;
}

static json_t *
policy_json(const struct tlsrpt_policy *policy)
{
    json_t *object = json_object(), *what = json_object();
    json_t *summary = json_object(), *failures;

    set(what, "policy-type", policy->type);
    set_policy_lines(what, policy);
    json_object_set_new(object, "policy", what);
    set_number(summary, "total-successful-session-count", policy->succeeded);
    set_number(summary, "total-failure-session-count", policy->failed);
    json_object_set_new(object, "summary", summary);
    if (policy->failure_count == 0)
        return object;
    failures = json_array();
    for (size_t i = 0; i < policy->failure_count; i++)
        json_array_append_new(failures, failure_json(&policy->failures[i]));
    json_object_set_new(object, "failure-details", failures);
    return object;
}

void
tlsrpt_report_json(const struct tlsrpt_report *report,
                   const struct tlsrpt_json_options *options, struct buf *out)
{
    json_t *object = json_object(), *policies = json_array();
    char *dumped;

    set(object, "organization-name", report->organization);
    json_object_set_new(object, "date-range", date_range(report));
    set(object, "contact-info", report->contact);
    set(object, "report-id", report->id);
    for (size_t i = 0; i < report->policy_count; i++)
        json_array_append_new(policies, policy_json(&report->policies[i]));
    json_object_set_new(object, "policies", policies);
    dumped =
        json_dumps(object, options->indented ? JSON_INDENT(2) : JSON_COMPACT);
    buf_add_str(out, dumped);
    free(dumped); /* jansson's */
    json_decref(object);
}

/* --- File ----------------------------------------------------------------- */

void
tlsrpt_file_name(const struct tlsrpt_report *report, struct sv submitter,
                 struct sv unique, struct buf *out)
{
    buf_add(out, submitter);
    buf_add_char(out, '!');
    buf_add(out, report->domain);
    buf_printf(out, "!%" PRId64 "!%" PRId64 "!", report->starts_at,
               report->starts_at + DAY_SECONDS - 1);
    buf_add(out, unique);
    buf_add_str(out, ".json.gz");
}

void
tlsrpt_gzip(struct sv bytes, struct buf *out)
{
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    z_stream stream = {0};
    uLong bound;
    int result = deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED,
                              GZIP_WINDOW, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);

    assert(result == Z_OK && bytes.n <= UINT32_MAX / 2);
    bound = deflateBound(&stream, (uLong)bytes.n);
    /* zlib only reads there, but its type says otherwise. */
    stream.next_in = (Bytef *)(uintptr_t)bytes.p;
    stream.avail_in = (uInt)bytes.n;
    stream.next_out = (Bytef *)buf_reserve(out, bound);
    stream.avail_out = (uInt)bound;
    result = deflate(&stream, Z_FINISH);
    assert(result == Z_STREAM_END);
    buf_grew(out, stream.total_out);
    deflateEnd(&stream);
}
