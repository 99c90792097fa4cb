/* Certificates and TLS profiles. */
#include "settings/tables.h"

#define STRUCT struct certificate_settings
static const struct conf_field certificate_rows[] = {
    {PATH(chain), .required = true, .min = 1, .effect = CONF_NEW_SESSION,
     .doc = "PEM file: the certificate, then those that lead to its issuer. A "
            "relative name starts at the folder of the configuration file."},
    {PATH(key), .required = true, .min = 1, .effect = CONF_NEW_SESSION,
     .doc = "PEM file of the private key. Refused when other users may read "
            "it."},
    {PATH(ocsp), .word = "fetch", .effect = CONF_NEW_SESSION,
     .dflt_doc = "none",
     .doc = "DER file of the authority's OCSP response for this certificate, "
            "or `fetch`: the gateway asks the responder that the certificate "
            "names. It is stapled to handshakes while it is fresh and good; "
            "no handshake fails for want of it."},
};
const struct conf_table certificate_table = {
    CONF_ROWS(certificate_rows),
    .size = sizeof(STRUCT),
    .entry = "NAME",
    .named = true,
    .name_offset = AT(name, char *),
};
#undef STRUCT

static const struct conf_name versions[] = {{"SSLv2", TLS_BIT_SSL2},
                                            {"SSLv3", TLS_BIT_SSL3},
                                            {"TLSv1.0", TLS_BIT_TLS10},
                                            {"TLSv1.1", TLS_BIT_TLS11},
                                            {"TLSv1.2", TLS_BIT_TLS12},
                                            {"TLSv1.3", TLS_BIT_TLS13},
                                            {0}};
static const struct conf_name strengths[] = {
    {"high", TLS_HIGH}, {"medium", TLS_MEDIUM}, {"low", TLS_LOW}, {0}};
static const struct conf_name preferences[] = {
    {"server", TLS_PREFER_SERVER}, {"client", TLS_PREFER_CLIENT}, {0}};

#define STRUCT struct tls_profile_settings
static const struct conf_field profile_rows[] = {
    {.name = "versions",
     .type = CONF_FLAGS,
     .offset = AT(profile.versions, unsigned),
     .names = versions,
     .dflt = "{SSLv2: off, SSLv3: off, TLSv1.0: on, TLSv1.1: on, TLSv1.2: on, "
             "TLSv1.3: on}",
     .effect = CONF_NEW_SESSION,
     .doc = "Protocol versions. A map changes those it names "
            "(`{TLSv1.0: off}`), a list names all (`[TLSv1.2, TLSv1.3]`). A "
            "version that the TLS library of this machine cannot do may only "
            "be off."},
    {.name = "strength",
     .type = CONF_ENUM,
     .offset = AT(profile.strength, unsigned),
     .names = strengths,
     .dflt = "medium",
     .effect = CONF_NEW_SESSION,
     .doc = "The weakest ciphers that are accepted: `high` is 128 bits and "
            "more with authenticated modes first, `medium` adds what the field "
            "still uses, `low` is for a peer that can do no better."},
    {.name = "ciphers",
     .type = CONF_STRING,
     .offset = AT(profile.ciphers, const char *),
     .dflt_doc = "by `strength`",
     .effect = CONF_NEW_SESSION,
     .doc = "OpenSSL cipher list, instead of `strength`. Every element must "
            "be one that the library knows."},
    {.name = "suites",
     .type = CONF_STRING,
     .offset = AT(profile.suites, const char *),
     .dflt_doc = "those that stand in `ciphers`, else those of the library",
     .effect = CONF_NEW_SESSION,
     .doc = "Cipher suites of TLS 1.3, in order, as "
            "`TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256`."},
    {.name = "groups",
     .type = CONF_STRING,
     .offset = AT(profile.groups, const char *),
     .dflt_doc = "those of the library",
     .effect = CONF_NEW_SESSION,
     .doc = "Groups of the key exchange, in order, as `X25519:P-256`."},
    {.name = "cipher_preference",
     .type = CONF_ENUM,
     .offset = AT(profile.preference, unsigned),
     .names = preferences,
     .dflt = "server",
     .effect = CONF_NEW_SESSION,
     .doc = "Whose order of ciphers decides. Ours is strongest first."},
};
const struct conf_table tls_profile_table = {
    CONF_ROWS(profile_rows),
    .size = sizeof(STRUCT),
    .entry = "NAME",
    .named = true,
    .name_offset = AT(name, char *),
    .inherit = CONF_INHERIT_NAMED,
};
#undef STRUCT
