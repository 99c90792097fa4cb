/* control/certificate_set.h - the certificates of one revision: their files,
 * what they say, and who uses them.  Private to control/. */
#ifndef CONTROL_CERTIFICATE_SET_H
#define CONTROL_CERTIFICATE_SET_H
#include "control/file_watch.h"
#include "settings/settings.h"
#include "tls/describe.h"

/* A pair, or the files by which others' certificates are judged. */
struct certificate_row {
    const struct certificate_settings *pair; /* NULL: the trust stores */
    const char *name;                        /* "trust" for these */
    char *used_by; /* owned; "listener In, destination example.org" */
    struct file_watch files;
    struct tls_certificate_facts *facts; /* owned; NULL: not readable */
    char *refusal; /* owned; why the files that stand there
                    * now are not taken; NULL: they may be */
    int64_t told;  /* seconds since 1970: last alert of its end */
};

struct certificate_set {
    struct settings *settings; /* referenced */
    struct certificate_row *rows;
    size_t count;
    char **trust; /* owned; files of authorities, borrowed texts */
    char **crls;
    size_t trust_count, crl_count;
};

#define CERTIFICATE_DATE_SIZE 32
/* "2026-11-22 04:27:24Z" into room; returns room. */
const char *certificate_date(int64_t seconds, char *room);

struct certificate_set *certificate_set_new(struct settings *settings);
void certificate_set_free(struct certificate_set *set); /* NULL is fine */
/* By name and kind; NULL: it has none. */
struct certificate_row *certificate_set_find(struct certificate_set *set,
                                             const struct certificate_row *row);
/* Whether a reload would take what stands in the files now. */
MUST_USE bool certificate_set_check(const struct certificate_set *set,
                                    const struct certificate_row *row,
                                    struct err *err);
#endif
