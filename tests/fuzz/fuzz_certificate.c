/* fuzz_certificate - files that an administrator imports: no input crashes the
 * reader, and what it takes can be put in order and described in printable
 * text. */
#include "tls/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
give_password(void *arg, const char *file, char *dst, size_t size)
{
    (void)arg;
    (void)file;
    snprintf(dst, size, "geheim");
    return true;
}

static void
check_printable(const char *text)
{
    for (; *text != '\0'; text++)
        assert(char_is_print(*text));
}

static void
check_facts(const struct tls_certificate_facts *facts)
{
    check_printable(facts->subject);
    check_printable(facts->issuer);
    check_printable(facts->serial);
    check_printable(facts->key_type);
    check_printable(facts->signature);
    assert(facts->name_count <= TLS_NAMES_KEPT);
    for (size_t i = 0; i < facts->name_count; i++)
        check_printable(facts->names[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_bundle *bundle = tls_bundle_new();
    struct sv input = {(const char *)data, size};
    struct err err = {0};
    bool ok =
        tls_bundle_read(bundle, input, "input", give_password, NULL, &err);

    assert(ok || err.text[0] != '\0');
    if (ok && tls_bundle_settle(bundle, &err))
        assert(tls_bundle_count(bundle) > 0);
    for (size_t i = 0; i < tls_bundle_count(bundle); i++) {
        struct tls_certificate_facts *facts = tls_bundle_describe(bundle, i);

        check_facts(facts);
        tls_certificate_facts_free(facts);
    }
    tls_bundle_free(bundle);
    return 0;
}
