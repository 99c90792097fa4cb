/* Destinations: what contradicts what, and what is computed. */
#include "settings/settings.h"
#include "unit.h"

/* In the first line of each configuration. */
#define LISTENER                                                               \
    "listeners: {In: {type: private, address: \"127.0.0.1:25\", relay_for: "   \
    "127.0.0.0/8}}\n"
#define CERTIFICATES                                                           \
    "certificates: {mx: {chain: /c, key: /k}, out: {chain: /d, key: /l}}\n"

static const struct refusal {
    const char *name, *yaml, *message;
} refusals[] = {
    {"a client certificate that does not exist",
     "destinations: {partner.example: {client_certificate: nope}}\n",
     "t.yaml:2:54: destinations.\"partner.example\".client_certificate: "
     "\"nope\" "
     "does not exist in certificates"},
    {"no TLS 1.3 and nothing else in the profile",
     "tls_profiles: {new: {versions: [TLSv1.3]}}\n"
     "destinations: {a.example: {tls_profile: new, tls13: off}}\n",
     "t.yaml:3:53: destinations.\"a.example\".tls13: TLS profile new has no "
     "other "
     "version; take another profile, or set `tls: no` where no TLS is wanted"},
    {"verify and nobody to believe",
     "destinations: {a.example: {tls: required-verify, system_authorities: "
     "off}}\n",
     "t.yaml:2:70: destinations.\"a.example\".system_authorities: no "
     "certificate "
     "would be believed; name some in `authorities`"},
    {"a period longer than an hour",
     "destinations: {a.example: {recipient_minutes: 61}}\n",
     "t.yaml:2:47: destinations.\"a.example\".recipient_minutes: \"61\" is out "
     "of "
     "bounds (1..60)"},
};

static const struct row {
    const char *name, *yaml;
    const char *certificate; /* NULL: none */
    const char *origin;
    unsigned versions; /* of the effective profile, without 1.0 and 1.1 */
    const char *groups;
} rows[] = {
    {"nothing is set", CERTIFICATES, "mx", "default",
     TLS_BIT_TLS12 | TLS_BIT_TLS13, ""},
    {"no certificate is there", "", NULL, "default",
     TLS_BIT_TLS12 | TLS_BIT_TLS13, ""},
    {"none is wanted",
     CERTIFICATES "destinations: {a.example: {client_certificate: none}}\n",
     NULL, "default", TLS_BIT_TLS12 | TLS_BIT_TLS13, ""},
    {"another one",
     CERTIFICATES "destinations: {a.example: {client_certificate: out}}\n",
     "out", "default", TLS_BIT_TLS12 | TLS_BIT_TLS13, ""},
    {"the node's again",
     CERTIFICATES "destinations:\n  default: {client_certificate: out}\n"
                  "  a.example: {client_certificate: \"\"}\n",
     "mx", "default", TLS_BIT_TLS12 | TLS_BIT_TLS13, ""},
    {"switches", "destinations: {a.example: {tls13: off, groups: P-256}}\n",
     NULL, "default", TLS_BIT_TLS12, "P-256"},
    {"a profile of its own",
     "tls_profiles: {x: {versions: [TLSv1.2], groups: P-384}}\n"
     "destinations: {a.example: {tls_profile: x}}\n",
     NULL, "destinations.a.example", TLS_BIT_TLS12, "P-384"},
    {"a profile of all",
     "tls_profiles: {x: {versions: [TLSv1.2]}}\n"
     "destinations: {default: {tls_profile: x}, a.example: {tls: required}}\n",
     NULL, "destinations.default", TLS_BIT_TLS12, ""},
};

static struct settings *
load(const char *yaml, struct err *err)
{
    const struct settings_options options = {0};
    char text[2048];

    snprintf(text, sizeof text, LISTENER "%s", yaml);
    return settings_load(sv_of(text), "t.yaml", &options, err);
}

static void
check_refusal(void **state)
{
    const struct refusal *row = *state;
    struct err err;

    assert_null(load(row->yaml, &err));
    assert_string_equal(err.text, row->message);
}

static void
check(void **state)
{
    const struct row *row = *state;
    struct err err;
    struct settings *settings = load(row->yaml, &err);
    const struct destination_settings *control;
    struct tls_profile profile;

    if (settings == NULL)
        fail_msg("%s", err.text);
    control = settings_destination(settings, SV("a.example"));
    if (row->certificate == NULL)
        assert_null(control->client_certificate);
    else
        assert_string_equal(control->client_certificate->name,
                            row->certificate);
    assert_string_equal(control->tls_profile_origin, row->origin);
    settings_destination_profile(control, &profile);
    assert_int_equal(profile.versions & (TLS_BIT_TLS12 | TLS_BIT_TLS13),
                     row->versions);
    assert_string_equal(profile.groups, row->groups);
    settings_unref(settings);
}

int
main(void)
{
    return RUN_ROWS("destination_settings_refuse", check_refusal, refusals) +
           RUN_ROWS("destination_settings", check, rows);
}
