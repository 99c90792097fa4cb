/* settings/test_refuse.h - for the tests of refusals: a row is a configuration
 * and the one message that it gets. */
#ifndef SETTINGS_TEST_REFUSE_H
#define SETTINGS_TEST_REFUSE_H
#include "base/buf.h"
#include "settings/settings.h"
#include "unit.h"
#include <openssl/crypto.h>

struct row {
    const char *name;
    const char *yaml;
    const char *message; /* $OPENSSL is the library's name and version */
};

static inline void
expand(const char *message, struct buf *out)
{
    const char *mark = strstr(message, "$OPENSSL");

    if (mark == NULL) {
        buf_add_str(out, message);
        return;
    }
    buf_add(out, (struct sv){message, (size_t)(mark - message)});
    buf_add_str(out, OpenSSL_version(OPENSSL_VERSION));
    buf_add_str(out, mark + strlen("$OPENSSL"));
}

static inline void
check(void **state)
{
    const struct row *r = *state;
    const struct settings_options options = {.check_files = false};
    struct buf message = {0};
    struct err err;

    expand(r->message, &message);
    assert_null(settings_load(sv_of(r->yaml), "t.yaml", &options, &err));
    assert_string_equal(err.text, buf_cstr(&message));
    buf_fini(&message);
}

#endif
