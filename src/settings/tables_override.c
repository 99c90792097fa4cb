/* What is different on a node, and for sending: changes to the TLS profile
 * "default".  And the names that administrators of MailMarshal know for
 * them. */
#include "settings/tables.h"

static const struct conf_name switches[] = {{"profile", VERSION_AS_PROFILE},
                                            {"off", VERSION_OFF},
                                            {"on", VERSION_ON},
                                            {0}};
static const struct conf_name strengths[] = {{"profile", STRENGTH_AS_PROFILE},
                                             {"high", STRENGTH_HIGH},
                                             {"medium", STRENGTH_MEDIUM},
                                             {"low", STRENGTH_LOW},
                                             {0}};

#define STRUCT struct version_switches
#define SWITCH(version, member)                                                \
    {                                                                          \
        .name = version, .type = CONF_ENUM, .offset = AT(member, unsigned),    \
        .names = switches, .dflt = "profile", .effect = CONF_NEW_SESSION,      \
        .doc = "`profile`: as the TLS profile `default` has it."               \
    }
static const struct conf_field version_rows[] = {
    SWITCH("SSLv2", ssl2),    SWITCH("SSLv3", ssl3),
    SWITCH("TLSv1.0", tls10), SWITCH("TLSv1.1", tls11),
    SWITCH("TLSv1.2", tls12), SWITCH("TLSv1.3", tls13),
};
static const struct conf_table version_table = {CONF_ROWS(version_rows),
                                                .size = sizeof(STRUCT)};
#undef STRUCT

/* The same rows for a struct with the override at `where`. */
#define OVERRIDE_ROWS(where)                                                   \
    {.name = "tls_versions",                                                   \
     .type = CONF_STRUCT,                                                      \
     .offset = AT(where versions, struct version_switches),                    \
     .table = &version_table,                                                  \
     .doc = "Versions that are switched on or off, whatever the profile "      \
            "`default` says."},                                                \
        {.name = "tls_strength",                                               \
         .type = CONF_ENUM,                                                    \
         .offset = AT(where strength, unsigned),                               \
         .names = strengths,                                                   \
         .dflt = "profile",                                                    \
         .effect = CONF_NEW_SESSION,                                           \
         .doc = "The weakest ciphers that are accepted, as `strength` of a "   \
                "profile; a list of ciphers goes before it."},                 \
    {                                                                          \
        .name = "tls_ciphers", .type = CONF_STRING,                            \
        .offset = AT(where ciphers, char *), .dflt_doc = "as the profile",     \
        .effect = CONF_NEW_SESSION,                                            \
        .doc = "OpenSSL cipher list, as `ciphers` of a profile."               \
    }

#define STRUCT struct server_settings
static const struct conf_field server_rows[] = {OVERRIDE_ROWS(inbound.)};
const struct conf_table server_table = {
    CONF_ROWS(server_rows),
    .doc = "The node on which mail is received takes its own entry. Listeners "
           "with the TLS profile `default` follow; those with another one, "
           "also one that inherits from `default`, do not.",
    .size = sizeof(STRUCT),
    .entry = "NODE",
    .named = true,
    .name_offset = AT(name, char *),
    .name_canonical = advanced_node,
    .inherit = CONF_INHERIT_DEFAULT,
};
#undef STRUCT

#define STRUCT struct tls_override_settings
static const struct conf_field sender_rows[] = {OVERRIDE_ROWS()};
const struct conf_table sender_table = {
    CONF_ROWS(sender_rows),
    .doc = "Destinations with the TLS profile `default` follow; those with "
           "another one do not.",
    .size = sizeof(STRUCT),
};
#undef STRUCT

#define STRUCT struct advanced_settings
static const struct conf_field advanced_rows[] = {
    {STRING(value), .effect = CONF_NEW_SESSION,
     .doc = "Integer (0 or 1) or String, as the name wants it."},
};
const struct conf_table advanced_table = {
    CONF_ROWS(advanced_rows),
    .size = sizeof(STRUCT),
    .entry = "SETTING",
    .named = true,
    .name_offset = AT(name, char *),
    .name_canonical = advanced_name,
    .bare = true,
};
#undef STRUCT
