/* sts/sts.h - MTA-STS as text: the TXT record and the policy file (RFC 8461).
 * Bytes in, values out; nothing is looked up or fetched here. */
#ifndef STS_STS_H
#define STS_STS_H
#include "base/buf.h"
#include "base/sv.h"

enum {
    STS_ID_MAX = 32,             /* RFC 8461 section 3.1 */
    STS_POLICY_BYTES = 64 << 10, /* of a policy file; more is refused */
    STS_PATTERNS_MAX = 1000,
    STS_MAX_AGE = 31557600, /* seconds; more counts as this */
};

/* --- The TXT record (section 3.1) --------------------------------------- */

enum sts_record_verdict {
    STS_RECORD_NONE,    /* no record is one of MTA-STS, or several are */
    STS_RECORD_OK,      /* *id is filled in */
    STS_RECORD_INVALID, /* one is, and breaks the grammar */
};
struct sts_record {
    char id[STS_ID_MAX + 1];
    char reason[160]; /* what is wrong, or odd but accepted; "" */
};
/* texts: the TXT records of _mta-sts.DOMAIN, each with its strings joined. */
enum sts_record_verdict sts_record_parse(const struct sv *texts, size_t count,
                                         struct sts_record *record);
const char *sts_record_verdict_name(enum sts_record_verdict verdict);

/* --- The policy (section 3.2) ------------------------------------------- */

enum sts_mode { STS_MODE_NONE, STS_MODE_TESTING, STS_MODE_ENFORCE };
const char *sts_mode_name(enum sts_mode mode); /* "enforce" */

/* Immutable, counted, one allocation. */
struct sts_policy {
    enum sts_mode mode;
    uint32_t max_age; /* seconds */
    size_t pattern_count;
    const char *const *patterns; /* canonical; "*.example.org" */
};

/* NULL: not a policy; reason (of at least 160 bytes) says why with the number
 * of the line.  Otherwise reason is "" or says what was ignored. */
MUST_USE struct sts_policy *sts_policy_parse(struct sv text, char *reason);
struct sts_policy *sts_policy_ref(struct sts_policy *policy); /* any thread */
void sts_policy_unref(struct sts_policy *policy);             /* NULL is fine */

/* The lines of the policy as RFC 8460 section 4.4 wants them in policy-string:
 * "version: STSv1", "mode: …", "mx: …", "max_age: …", joined by LF. */
void sts_policy_print(const struct sts_policy *policy, struct buf *out);

/* Section 4.1: "*" stands for exactly one leftmost label.  Both canonical. */
bool sts_pattern_matches(const char *pattern, const char *host);
bool sts_policy_lists(const struct sts_policy *policy, const char *host);
#endif
