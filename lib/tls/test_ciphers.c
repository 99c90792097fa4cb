/* Cipher lists: order, warnings, what is refused; expiry of certificates. */
#include "tls/ciphers.h"
#include "tls/expiry.h"
#include "unit.h"

#define ALL_VERSIONS                                                           \
    (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13)

static struct tls_cipher_list
list_of(const struct tls_profile *profile)
{
    struct tls_cipher_list list;
    struct err err;

    if (!tls_ciphers_list(profile, &list, &err))
        fail_msg("%s", err.text);
    return list;
}

/* Strongest first: TLS 1.3, then forward secrecy, then authenticated modes,
 * then bits. */
static int
rank(const struct tls_cipher *cipher)
{
    bool aead = strcmp(cipher->mac, "AEAD") == 0 &&
                strstr(cipher->encryption, "CCM") == NULL;

    if (strcmp(cipher->since, "TLSv1.3") == 0)
        return 5000 + cipher->bits;
    return (cipher->flaws & CIPHER_STATIC ? 0 : 2000) + (aead ? 1000 : 0) +
           (strcmp(cipher->key_exchange, "DHE") == 0 ? 0 : 500) + cipher->bits;
}

static void
check_order(void **state)
{
    static const enum tls_strength strengths[] = {TLS_HIGH, TLS_MEDIUM};
    size_t before = 0;

    (void)state;
    for (size_t s = 0; s < COUNT_OF(strengths); s++) {
        struct tls_cipher_list list = list_of(&(struct tls_profile){
            .versions = ALL_VERSIONS, .strength = strengths[s]});
        bool aead_over = false;

        assert_true(list.count > before); /* a minimum: weaker is longer */
        before = list.count;
        for (size_t i = 0; i < list.count; i++) {
            bool aead = strcmp(list.items[i].mac, "AEAD") == 0;

            assert_int_equal(list.items[i].flaws & CIPHER_NEVER, 0);
            assert_false(list.items[i].flaws & (CIPHER_SHORT | CIPHER_RC4));
            if (s == 0)
                assert_false(list.items[i].flaws & CIPHER_STATIC);
            if (i > 0 && aead && !aead_over && rank(&list.items[i]) >= 1000)
                assert_true(rank(&list.items[i]) <= rank(&list.items[i - 1]));
            aead_over |= !aead;
        }
        tls_cipher_list_fini(&list);
    }
}

static const struct list_row {
    const char *name;
    struct tls_profile profile;
    const char *first, *last; /* suites */
    const char *error;        /* then the others are NULL */
} lists[] = {
    {.name = "1.3 only",
     .profile = {.versions = TLS_BIT_TLS13, .strength = TLS_MEDIUM},
     .first = "TLS_AES_256_GCM_SHA384",
     .last = "TLS_AES_128_GCM_SHA256"},
    {.name = "suites of 1.3 in an order",
     .profile = {.versions = TLS_BIT_TLS13,
                 .suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"},
     .first = "TLS_AES_128_GCM_SHA256",
     .last = "TLS_AES_256_GCM_SHA384"},
    {.name = "1.0 only has CBC",
     .profile = {.versions = TLS_BIT_TLS10, .strength = TLS_HIGH},
     .first = "ECDHE-ECDSA-AES256-SHA",
     .last = "DHE-RSA-AES256-SHA"},
    {.name = "a hole hides no version",
     .profile = {.versions = TLS_BIT_TLS10 | TLS_BIT_TLS12,
                 .strength = TLS_HIGH},
     .first = "ECDHE-ECDSA-AES256-GCM-SHA384",
     .last = "DHE-RSA-AES256-SHA"},
    {.name = "one suite",
     .profile = {.versions = TLS_BIT_TLS12,
                 .ciphers = "ECDHE-RSA-AES256-GCM-SHA384"},
     .first = "ECDHE-RSA-AES256-GCM-SHA384",
     .last = "ECDHE-RSA-AES256-GCM-SHA384"},
    {.name = "as an old gateway had it",
     .profile = {.versions = TLS_BIT_TLS12,
                 .ciphers = "MEDIUM:HIGH:-SSLv2:-aNULL:!RC4:@STRENGTH:-EXPORT"},
     .first = "ECDHE-ECDSA-AES256-GCM-SHA384",
     .last = "CAMELLIA128-SHA"},
    {.name = "collective words lose what is forbidden",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "ALL"},
     .first = "ECDHE-ECDSA-AES256-GCM-SHA384",
     .last = "CAMELLIA128-SHA"},
    {.name = "anonymous and taken out again",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "aNULL:HIGH:!aNULL"},
     .first = "ECDHE-ECDSA-AES256-GCM-SHA384",
     .last = "CAMELLIA128-SHA"},
    {.name = "a level does not lower the floor",
     .profile = {.versions = TLS_BIT_TLS12,
                 .strength = TLS_HIGH,
                 .ciphers = "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"},
     .first = "ECDHE-RSA-AES128-SHA",
     .last = "ECDHE-RSA-AES128-SHA"},
    {.name = "no encryption",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "HIGH:eNULL"},
     .error = "\"eNULL\" asks for suites without"},
    {.name = "one suite without encryption",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "NULL-SHA256:HIGH"},
     .error = "never used: NULL-SHA256; remove it"},
    {.name = "anonymous",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "HIGH:ADH"},
     .error = "\"ADH\" asks for suites without"},
    {.name = "export",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "HIGH:EXP-RC4-MD5"},
     .error = "\"EXP-RC4-MD5\" matches no cipher"},
    {.name = "unknown",
     .profile = {.versions = TLS_BIT_TLS12, .ciphers = "HIGH:nonsense"},
     .error = "\"nonsense\" matches no cipher"},
    {.name = "unknown suite of 1.3",
     .profile = {.versions = TLS_BIT_TLS13, .suites = "TLS_NONSENSE"},
     .error = "\"TLS_NONSENSE\" matches no cipher"},
};

static void
check_list(void **state)
{
    const struct list_row *r = *state;
    struct tls_cipher_list list;
    struct err err = {0};
    bool ok = tls_ciphers_list(&r->profile, &list, &err);

    if (r->error != NULL) {
        assert_false(ok);
        if (strstr(err.text, r->error) == NULL)
            fail_msg("\"%s\" is not in: %s", r->error, err.text);
        return;
    }
    if (!ok)
        fail_msg("%s", err.text);
    assert_true(list.count > 0);
    assert_string_equal(list.items[0].name, r->first);
    assert_string_equal(list.items[list.count - 1].name, r->last);
    for (size_t i = 0; i < list.count; i++)
        assert_int_equal(list.items[i].flaws & CIPHER_NEVER, 0);
    tls_cipher_list_fini(&list);
}

static const struct flaw_row {
    const char *name;
    unsigned flaws;
    int bits;
} flaw_rows[] = {
    {"ECDHE-RSA-AES256-GCM-SHA384", 0, 256},
    {"ECDHE-RSA-AES128-SHA256", 0, 128},
    {"AES128-SHA", CIPHER_STATIC | CIPHER_CBC_SHA1, 128},
    {"AES256-GCM-SHA384", CIPHER_STATIC, 256},
    {"DHE-RSA-AES256-CCM8", CIPHER_SHORT_TAG, 256},
};

static void
check_flaws(void **state)
{
    const struct flaw_row *r = *state;
    struct tls_cipher_list list = list_of(&(struct tls_profile){
        .versions = ALL_VERSIONS, .strength = TLS_LOW, .ciphers = r->name});

    for (size_t i = 0; i < list.count; i++) {
        if (strcmp(list.items[i].name, r->name) != 0)
            continue;
        assert_int_equal(list.items[i].flaws, r->flaws);
        assert_int_equal(list.items[i].bits, r->bits);
        tls_cipher_list_fini(&list);
        return;
    }
    fail_msg("%s is not in its list", r->name);
}

static void
check_removed(void **state)
{
    struct tls_cipher_list list;

    (void)state;
    tls_ciphers_removed(&(struct tls_profile){.ciphers = "ALL"}, &list);
    assert_true(list.count > 0);
    for (size_t i = 0; i < list.count; i++)
        assert_true(list.items[i].flaws & CIPHER_NEVER);
    tls_cipher_list_fini(&list);
    tls_ciphers_removed(&(struct tls_profile){.ciphers = "HIGH:!aNULL"}, &list);
    assert_int_equal(list.count, 0);
    tls_cipher_list_fini(&list);
}

/* Expiry ------------------------------------------------------------------ */

#define DAY 86400
#define END (1000 * DAY)

static const struct expiry_row {
    const char *name;
    int64_t last, now; /* seconds */
    enum tls_expiry due;
} expiry_rows[] = {
    {"a year before", 0, END - 365 * DAY, EXPIRY_FAR},
    {"31 days before", 0, END - 30 * DAY - 1, EXPIRY_FAR},
    {"30 days before", 0, END - 30 * DAY, EXPIRY_30_DAYS},
    {"30 days, told", END - 30 * DAY, END - 15 * DAY, EXPIRY_FAR},
    {"20 days, never told", 0, END - 20 * DAY, EXPIRY_30_DAYS},
    {"14 days", END - 30 * DAY, END - 14 * DAY, EXPIRY_14_DAYS},
    {"14 days, told", END - 14 * DAY, END - 14 * DAY + 3600, EXPIRY_FAR},
    {"13 days", END - 14 * DAY, END - 13 * DAY, EXPIRY_14_DAYS},
    {"13 days, just before", END - 14 * DAY, END - 13 * DAY - 1, EXPIRY_FAR},
    {"8 days, slept three", END - 11 * DAY, END - 8 * DAY, EXPIRY_14_DAYS},
    {"7 days", END - 8 * DAY, END - 7 * DAY, EXPIRY_7_DAYS},
    {"1 day", END - 2 * DAY, END - DAY, EXPIRY_1_DAY},
    {"an hour, told", END - DAY, END - 3600, EXPIRY_FAR},
    {"the end", END - DAY, END, EXPIRY_OVER},
    {"the end, told", END, END + 3600, EXPIRY_FAR},
    {"a day after", END, END + DAY, EXPIRY_OVER},
};

static void
check_expiry(void **state)
{
    const struct expiry_row *r = *state;

    assert_int_equal(tls_expiry_alert(END, r->last, r->now), r->due);
}

static void
check_days_left(void **state)
{
    (void)state;
    assert_int_equal(tls_days_left(END, END - DAY), 1);
    assert_int_equal(tls_days_left(END, END - DAY + 1), 0);
    assert_int_equal(tls_days_left(END, END), 0);
    assert_int_equal(tls_days_left(END, END + 1), -1);
    assert_int_equal(tls_days_left(END, END + DAY), -1);
    assert_int_equal(tls_days_left(END, END + DAY + 1), -2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_order),
        cmocka_unit_test(check_removed),
        cmocka_unit_test(check_days_left),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    failed += RUN_ROWS("cipher list", check_list, lists);
    failed += RUN_ROWS("cipher warnings", check_flaws, flaw_rows);
    failed += RUN_ROWS("expiry", check_expiry, expiry_rows);
    return failed;
}
