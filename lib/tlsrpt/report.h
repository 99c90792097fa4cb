/* tlsrpt/report.h - the report of RFC 8460 section 4 as JSON, its file name and
 * its compressed form.  Pure: counts in, text out. */
#ifndef TLSRPT_REPORT_H
#define TLSRPT_REPORT_H
#include "base/buf.h"

/* Sessions that failed in one way; empty texts are left out. */
struct tlsrpt_failure {
    struct sv result; /* section 4.3 */
    struct sv sending_ip, receiving_host, receiving_helo, receiving_ip;
    struct sv reason; /* failure-reason-code: in our words */
    uint64_t sessions;
};

struct tlsrpt_policy {
    struct sv type;   /* "tlsa", "sts", "no-policy-found" */
    struct sv text;   /* of the policy, a line each; may be empty */
    struct sv domain; /* policy domain, A-labels */
    uint64_t succeeded, failed;
    struct tlsrpt_failure *failures;
    size_t failure_count;
};

struct tlsrpt_report {
    struct sv organization;
    struct sv contact;
    struct sv id;      /* "left@right", the same in every try */
    struct sv domain;  /* that it is about */
    int64_t starts_at; /* seconds since 1970: 00:00 UTC; it covers that day */
    struct tlsrpt_policy *policies;
    size_t policy_count;
};

/* Appends the JSON (I-JSON: UTF-8, no duplicates), compact unless indented.
 * Bytes that are not UTF-8 become '?'. */
struct tlsrpt_json_options {
    bool indented;
};
void tlsrpt_report_json(const struct tlsrpt_report *report,
                        const struct tlsrpt_json_options *options,
                        struct buf *out);
/* Appends the file name of section 5.1, "submitter!domain!begin!end!unique"
 * and ".json.gz". submitter is a domain; unique has letters and digits. */
void tlsrpt_file_name(const struct tlsrpt_report *report, struct sv submitter,
                      struct sv unique, struct buf *out);
/* Appends the bytes in gzip's format (section 5.2). */
void tlsrpt_gzip(struct sv bytes, struct buf *out);
#endif
