/* Advanced settings: what they set, what is refused, and where the values of
 * the effective configuration are said to come from. */
#include "base/buf.h"
#include "settings/advanced.h"
#include "settings/settings.h"
#include "unit.h"

#define HEAD                                                                   \
    "node: gw1\n"                                                              \
    "listeners: {In: {type: private, address: \"127.0.0.1:25\", "              \
    "relay_for: 127.0.0.0/8}}\n"
#define OLD (TLS_BIT_TLS10 | TLS_BIT_TLS11)
#define NEW (TLS_BIT_TLS12 | TLS_BIT_TLS13)

static const struct settings_options options = {.check_files = false};

struct effect_row {
    const char *name;
    const char *yaml;           /* after HEAD */
    unsigned inbound, outbound; /* versions */
    enum tls_strength strength; /* inbound */
    const char *ciphers;        /* outbound */
};

static const struct effect_row effects[] = {
    {"nothing", "", OLD | NEW, OLD | NEW, TLS_MEDIUM, ""},
    {"all nodes", "advanced: {SSLMethodTLSv1_0: 0}\n", TLS_BIT_TLS11 | NEW,
     OLD | NEW, TLS_MEDIUM, ""},
    {"this node", "advanced: {Servers.gw1.SSLMethodTLSv1_0: 0}\n",
     TLS_BIT_TLS11 | NEW, OLD | NEW, TLS_MEDIUM, ""},
    {"this node in capitals", "advanced: {Servers.GW1.SSLMethodTLSv1_0: 0}\n",
     TLS_BIT_TLS11 | NEW, OLD | NEW, TLS_MEDIUM, ""},
    {"another node", "advanced: {Servers.gw2.SSLMethodTLSv1_0: 0}\n", OLD | NEW,
     OLD | NEW, TLS_MEDIUM, ""},
    {"node before all nodes",
     "advanced: {SSLMethodTLSv1_0: 0, Servers.gw1.SSLMethodTLSv1_0: 1}\n",
     OLD | NEW, OLD | NEW, TLS_MEDIUM, ""},
    {"both together",
     "advanced: {SSLMethodTLSv1_0: 0, Servers.gw1.SSLMethodTLSv1_1: 0}\n", NEW,
     OLD | NEW, TLS_MEDIUM, ""},
    {"a hole", "advanced: {SSLMethodTLSv1_1: 0, SSLMethodTLSv1_3: 0}\n",
     TLS_BIT_TLS10 | TLS_BIT_TLS12, OLD | NEW, TLS_MEDIUM, ""},
    {"sender",
     "advanced: {Sender.SSLMethodTLSv1_1: 0, Sender.TLSCipherList: "
     "\"HIGH:!aNULL\"}\n",
     OLD | NEW, TLS_BIT_TLS10 | NEW, TLS_MEDIUM, "HIGH:!aNULL"},
    {"strength", "advanced: {TLSCipherStrength: High}\n", OLD | NEW, OLD | NEW,
     TLS_HIGH, ""},
    {"insecure compatibility",
     "advanced: {TLSCipherStrength: Insecure Compatibility}\n", OLD | NEW,
     OLD | NEW, TLS_LOW, ""},
    {"the tree's own form",
     "servers: {GW1: {tls_versions: {TLSv1.0: off}, tls_strength: low}}\n"
     "sender: {tls_versions: {TLSv1.1: off}, tls_ciphers: HIGH}\n",
     TLS_BIT_TLS11 | NEW, TLS_BIT_TLS10 | NEW, TLS_LOW, "HIGH"},
    {"a profile that is changed",
     "tls_profiles: {default: {versions: [TLSv1.2]}}\n"
     "advanced: {SSLMethodTLSv1_3: 1}\n",
     NEW, TLS_BIT_TLS12, TLS_MEDIUM, ""},
    {"said twice alike",
     "sender: {tls_versions: {TLSv1.1: off}}\n"
     "advanced: {Sender.SSLMethodTLSv1_1: 0}\n",
     OLD | NEW, TLS_BIT_TLS10 | NEW, TLS_MEDIUM, ""},
};

static void
check_effect(void **state)
{
    const struct effect_row *r = *state;
    const struct tls_profile *in, *out;
    struct settings *settings;
    struct buf yaml = {0};
    struct err err;

    buf_printf(&yaml, HEAD "%s", r->yaml);
    settings = settings_load(buf_view(&yaml), "t.yaml", &options, &err);
    if (settings == NULL)
        fail_msg("%s", err.text);
    in = &settings->listeners[0].tls_profile->profile;
    out =
        &settings_destination(settings, SV("a.example"))->tls_profile->profile;
    assert_int_equal(in->versions, r->inbound);
    assert_int_equal(out->versions, r->outbound);
    assert_int_equal(in->strength, r->strength);
    assert_string_equal(out->ciphers, r->ciphers);
    assert_ptr_equal(settings->inbound_profile,
                     settings->listeners[0].tls_profile);
    settings_unref(settings);
    buf_fini(&yaml);
}

/* A profile of one's own is left alone. */
static void
test_own_profile(void **state)
{
    static const char yaml[] =
        "node: gw1\n"
        "tls_profiles: {mine: {inherit: default}}\n"
        "listeners: {In: {type: private, address: \"127.0.0.1:25\", "
        "relay_for: 127.0.0.0/8, tls_profile: mine}}\n"
        "destinations: {a.example: {tls_profile: mine}}\n"
        "advanced: {SSLMethodTLSv1_0: 0, Sender.SSLMethodTLSv1_0: 0}\n";
    struct settings *settings;
    struct err err;

    (void)state;
    settings = settings_load(sv_of(yaml), "t.yaml", &options, &err);
    assert_non_null(settings);
    assert_int_equal(settings->listeners[0].tls_profile->profile.versions,
                     OLD | NEW);
    assert_int_equal(settings_destination(settings, SV("a.example"))
                         ->tls_profile->profile.versions,
                     OLD | NEW);
    assert_int_equal(settings_destination(settings, SV("b.example"))
                         ->tls_profile->profile.versions,
                     TLS_BIT_TLS11 | NEW);
    settings_unref(settings);
}

static const struct switch_row {
    const char *name;
    const char *yaml; /* after HEAD */
    enum deliver_dane dane;
    bool mta_sts, reports;
} switches[] = {
    {"defaults", "", DANE_OPPORTUNISTIC, true, true},
    {"all off",
     "advanced: {Sender.EnableMTASTS: false, Sender.EnableDANE: False, "
     "Controller.EnableTLSRPT: 0}\n",
     DANE_NO, false, false},
    {"all on",
     "advanced: {Sender.EnableMTASTS: true, Sender.EnableDANE: 1, "
     "Controller.EnableTLSRPT: TRUE}\n",
     DANE_OPPORTUNISTIC, true, true},
    {"off, but not for one",
     "destinations: {a.example: {dane: mandatory, mta_sts: on}}\n"
     "advanced: {Sender.EnableMTASTS: false, Sender.EnableDANE: false}\n",
     DANE_MANDATORY, true, true},
    {"said twice alike",
     "destinations: {default: {dane: no}}\n"
     "advanced: {Sender.EnableDANE: false}\n",
     DANE_NO, true, true},
};

/* What a.example gets. */
static void
check_switch(void **state)
{
    const struct switch_row *r = *state;
    const struct destination_settings *to;
    struct settings *settings;
    struct buf yaml = {0};
    struct err err;

    buf_printf(&yaml, HEAD "%s", r->yaml);
    settings = settings_load(buf_view(&yaml), "t.yaml", &options, &err);
    if (settings == NULL)
        fail_msg("%s", err.text);
    to = settings_destination(settings, SV("a.example"));
    assert_int_equal(to->dane, r->dane);
    assert_int_equal(to->mta_sts, r->mta_sts);
    assert_int_equal(settings->tls_reports.enabled, r->reports);
    settings_unref(settings);
    buf_fini(&yaml);
}

struct refuse_row {
    const char *name;
    const char *yaml; /* after HEAD, so it begins in line 3 */
    const char *message;
};

static const struct refuse_row refusals[] = {
    {"unknown", "advanced: {SSLMethod: 1}\n",
     "t.yaml:3:12: advanced.SSLMethod: there is no advanced setting "
     "\"SSLMethod\""},
    {"old spelling", "advanced: {Servers.gw1.SSLMethodTLSv1.0: 1}\n",
     "t.yaml:3:12: advanced.\"Servers.gw1.SSLMethodTLSv1.0\": there is no "
     "advanced setting \"Servers.gw1.SSLMethodTLSv1.0\"; write "
     "Servers.gw1.SSLMethodTLSv1_0"},
    {"other case", "advanced: {sender.sslmethodtlsv1_0: 1}\n",
     "t.yaml:3:12: advanced.\"sender.sslmethodtlsv1_0\": there is no advanced "
     "setting \"sender.sslmethodtlsv1_0\"; write Sender.SSLMethodTLSv1_0"},
    {"a switch in another case", "advanced: {sender.enablemtasts: true}\n",
     "t.yaml:3:12: advanced.\"sender.enablemtasts\": there is no advanced "
     "setting \"sender.enablemtasts\"; write Sender.EnableMTASTS"},
    {"neither on nor off", "advanced: {Sender.EnableDANE: maybe}\n",
     "t.yaml:3:12: advanced.\"Sender.EnableDANE\": must be true or false, not "
     "\"maybe\""},
    {"integer", "advanced: {SSLMethodTLSv1_0: yes}\n",
     "t.yaml:3:12: advanced.SSLMethodTLSv1_0: must be 0 or 1, not \"yes\""},
    {"integer beyond", "advanced: {SSLMethodTLSv1_0: 2}\n",
     "t.yaml:3:12: advanced.SSLMethodTLSv1_0: must be 0 or 1, not \"2\""},
    {"strength", "advanced: {TLSCipherStrength: Best}\n",
     "t.yaml:3:12: advanced.TLSCipherStrength: \"Best\" is none of: High, "
     "Medium, Low"},
    {"no value", "advanced: {TLSCipherList: }\n",
     "t.yaml:3:27: advanced.TLSCipherList: has no value; give it one or "
     "remove it"},
    {"empty list", "advanced: {TLSCipherList: \"\"}\n",
     "t.yaml:3:12: advanced.TLSCipherList: is empty; leave it out instead"},
    {"a map", "advanced: {TLSCipherList: {}}\n",
     "t.yaml:3:27: advanced.TLSCipherList: must be a single value, not a map"},
    {"node without name", "advanced: {Servers..TLSCipherList: HIGH}\n",
     "t.yaml:3:12: advanced.\"Servers..TLSCipherList\": \"\" is not the name "
     "of a node (1 to 63 letters, digits, \"_\" and \"-\")"},
    {"against the tree",
     "sender: {tls_versions: {TLSv1.1: on}}\n"
     "advanced: {Sender.SSLMethodTLSv1_1: 0}\n",
     "t.yaml:4:12: advanced.\"Sender.SSLMethodTLSv1_1\": means \"off\", but "
     "sender.tls_versions.\"TLSv1.1\" in line 3 says \"on\"; keep one of the "
     "two"},
    {"against each other",
     "advanced:\n"
     "  Servers.gw1.SSLMethodTLSv1_0: 0\n"
     "  Servers.GW1.SSLMethodTLSv1_0: 1\n",
     "t.yaml:5:3: advanced.\"Servers.GW1.SSLMethodTLSv1_0\": means \"on\", but "
     "servers.gw1.tls_versions.\"TLSv1.0\" by Servers.gw1.SSLMethodTLSv1_0 in "
     "line 4 says \"off\"; keep one of the two"},
    {"no version is left",
     "advanced: {SSLMethodTLSv1_0: 0, SSLMethodTLSv1_1: 0, SSLMethodTLSv1_2: "
     "0, SSLMethodTLSv1_3: 0}\n",
     "t.yaml:3:12: servers.default.tls_versions: all versions are off; turn "
     "one on, or set `tls: no` where no TLS is wanted"},
    {"advanced is a list", "advanced: [SSLMethodTLSv1_0]\n",
     "t.yaml:3:11: advanced: must be a map, not a list"},
    {"sender is a word", "sender: x\nadvanced: {Sender.TLSCipherList: HIGH}\n",
     "t.yaml:3:9: sender: must be a map, not a single value"},
};

static void
check_refusal(void **state)
{
    const struct refuse_row *r = *state;
    struct buf yaml = {0};
    struct err err;

    buf_printf(&yaml, HEAD "%s", r->yaml);
    assert_null(settings_load(buf_view(&yaml), "t.yaml", &options, &err));
    assert_string_equal(err.text, r->message);
    buf_fini(&yaml);
}

struct origin_row {
    const char *name;
    const char *line; /* of the effective form */
};

static const struct origin_row origins[] = {
    {"of the file", "node: gw1  # line 1\n"},
    {"default", "drain_timeout: 30s  # default\n"},
    {"profile", "    strength: high  # line 4\n"},
    {"inherited", "    ciphers: \"HIGH:!aNULL\"  # inherited from line 5\n"},
    {"advanced setting",
     "      TLSv1.0: off  # advanced setting Servers.gw1.SSLMethodTLSv1_0, "
     "line 8\n"},
    {"advanced setting of all nodes",
     "      TLSv1.1: off  # advanced setting SSLMethodTLSv1_1, line 9\n"},
    {"override of the node",
     "    tls_profile: default  # default; with the override of servers.gw1: "
     "TLSv1.0 off, TLSv1.1 off\n"},
    {"override of the sender",
     "    tls_profile: default  # default; with the override of sender: "
     "TLSv1.3 off\n"},
    {"sender", "    TLSv1.3: off  # line 7\n"},
};

static void
check_origin(void **state)
{
    static const char yaml[] =
        HEAD "tls_profiles:\n"
             "  a: {strength: high,\n"
             "      ciphers: \"HIGH:!aNULL\"}\n"
             "  b: {inherit: a}\n"
             "sender: {tls_versions: {TLSv1.3: off}}\n"
             "advanced: {Servers.gw1.SSLMethodTLSv1_0: 0,\n"
             "           SSLMethodTLSv1_1: 0}\n";
    const struct origin_row *r = *state;
    struct settings *settings, *again;
    struct buf text = {0}, second = {0};
    struct err err;

    settings = settings_load(sv_of(yaml), "t.yaml", &options, &err);
    assert_non_null(settings);
    settings_print(settings, true, &text);
    if (strstr(buf_cstr(&text), r->line) == NULL)
        fail_msg("not there: %sin:\n%s", r->line, buf_cstr(&text));
    again = settings_load(buf_view(&text), "effective.yaml", &options, &err);
    if (again == NULL)
        fail_msg("%s", err.text);
    assert_int_equal(again->inbound_profile->profile.versions,
                     settings->inbound_profile->profile.versions);
    settings_print(settings, false, &second);
    assert_null(strstr(buf_cstr(&second), "TLSv1.0: off"));
    settings_unref(again);
    settings_unref(settings);
    buf_fini(&text);
    buf_fini(&second);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_profile)};

    return RUN_ROWS("effects", check_effect, effects) +
           RUN_ROWS("switches", check_switch, switches) +
           RUN_ROWS("refusals", check_refusal, refusals) +
           RUN_ROWS("origins", check_origin, origins) +
           cmocka_run_group_tests_name("profiles", tests, NULL, NULL);
}
