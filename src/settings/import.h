/* settings/import.h - settings of other products, from what they export.
 *
 * Understood are
 *   - registry files of Windows (.reg, UTF-16LE or UTF-8) with the keys of
 *     MailMarshal, in both spellings of the names;
 *   - lists of its advanced settings, `Name,Type,Value` or `Name = Value`;
 *   - methods and ciphers as the command sslconfig of AsyncOS prints them.
 * Every line gets one verdict.  One refusal spoils the whole: then there is a
 * report and no configuration.  The input is not trusted: its size is
 * bounded, and what it holds is printed only as plain ASCII. */
#ifndef SETTINGS_IMPORT_H
#define SETTINGS_IMPORT_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sv.h"

enum {
    IMPORT_TEXT_MAX = 4 << 20, /* bytes of a file */
    IMPORT_LINES_MAX = 20000,  /* with something in them */
    IMPORT_SETTINGS_MAX = 1000,
};

enum import_verdict { IMPORT_TAKEN, IMPORT_IGNORED, IMPORT_REFUSED };

struct import_line {
    unsigned number; /* in the file, from 1 */
    enum import_verdict verdict;
    char *name;   /* of the setting, as it stands there; printable */
    char *reason; /* " as sender.tls_versions.TLSv1.0: off",
                   * " because …", ": what is wrong" */
};

/* One that was taken, under its name of today. */
struct import_setting {
    char *name;
    char *value;
    char *path; /* in the tree: what is the same is found by it */
    char *meaning;
    unsigned line;
};

struct import {
    struct arena arena;
    struct import_line *lines; /* owned */
    size_t count;
    struct import_setting *settings; /* owned */
    size_t setting_count;
    size_t refused;
};

/* False when the file as a whole cannot be read; err says why. */
MUST_USE bool import_read(struct sv bytes, struct import *import,
                          struct err *err);
void import_fini(struct import *import);

/* A section `advanced:` to be put into a configuration. */
struct buf;
void import_fragment(const struct import *import, struct buf *out);
/* The configuration `yaml` with the settings added, everything else as it is.
 * Checked: what comes out loads.  name is for messages. */
MUST_USE bool import_candidate(const struct import *import, struct sv yaml,
                               const char *name, struct buf *out,
                               struct err *err);
/* One line for each, and one that counts them. */
void import_report(const struct import *import, struct buf *out);
#endif
