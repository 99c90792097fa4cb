/* settings/advanced.h - the advanced settings of MailMarshal: names that stand
 * for fields of the tree.
 *
 * A name is [Servers.<node>. | Sender. | Controller.]<setting>.  Without a
 * prefix it is about receiving on every node, with Servers.<node>. on that
 * node alone, with Sender. about sending.  Up to version 8 the products wrote
 * TLSv1.0 where they now write TLSv1_0; the old spelling is understood only
 * when asked for (`waxgate import`). */
#ifndef SETTINGS_ADVANCED_H
#define SETTINGS_ADVANCED_H
#include "base/arena.h"
#include "base/err.h"
#include "base/sv.h"

enum advanced_type { ADVANCED_INTEGER, ADVANCED_BOOLEAN, ADVANCED_STRING };

/* What a name and its value come to. */
struct advanced {
    char *name; /* as it is written today */
    enum advanced_type type;
    const char *path[4]; /* in the tree */
    size_t path_count;
    const char *value; /* as it stands at that path */
};

struct advanced_options {
    bool old_spelling; /* take TLSv1.0 for TLSv1_0, and any case */
};

/* Texts of *out live in arena or for ever.  False: err says what is wrong and
 * what would be right. */
MUST_USE bool advanced_find(struct arena *arena, struct sv name,
                            struct sv value,
                            const struct advanced_options *options,
                            struct advanced *out, struct err *err);

/* "Integer" */
const char *advanced_type_name(enum advanced_type type);
/* True when the name is one that the products have, in any case. */
bool advanced_is_known(struct sv name);

/* About the section, for the reference. */
#define ADVANCED_DOC                                                           \
    "Settings under the names that administrators of MailMarshal know. Each "  \
    "stands for a setting of this tree: `SSLMethodSSLv2`, `SSLMethodSSLv3`, "  \
    "`SSLMethodTLSv1_0`, `SSLMethodTLSv1_1`, `SSLMethodTLSv1_2` and "          \
    "`SSLMethodTLSv1_3` (Integer, 0 or 1) for `tls_versions`, "                \
    "`TLSCipherStrength` (String: High, Medium, Low) for `tls_strength`, "     \
    "`TLSCipherList` (String) for `tls_ciphers`. Without a prefix they mean "  \
    "`servers.default`, with `Servers.NODE.` that node, with `Sender.` "       \
    "the section `sender`. `Sender.EnableMTASTS` and `Sender.EnableDANE` "     \
    "(Boolean) stand for `mta_sts` and `dane` of `destinations.default`, "     \
    "`Controller.EnableTLSRPT` (Boolean) for `tls_reports.enabled`."
#endif
