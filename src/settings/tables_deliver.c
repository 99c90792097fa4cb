/* Routes, destinations, bounce profiles and the time limits of delivery. */
#include "settings/tables.h"

enum { MINUTE = 60000, DAY = 86400000 };

#define STRUCT struct route_hop
static const struct conf_field hop_rows[] = {
    {STRING(host), .required = true, .min = 1, .canonical = names_hop,
     .effect = CONF_NEW_SESSION, .doc = "Domain name or IP address."},
    {U16(port), .dflt = "25", .min = 1, .max = 65535,
     .effect = CONF_NEW_SESSION, .doc = "TCP port."},
    {U32(weight), .dflt = "10", .min = 1, .max = 65535,
     .effect = CONF_NEW_SESSION,
     .doc = "Share of the connections among hops of the same priority."},
    {U32(priority), .dflt = "10", .max = 65535, .effect = CONF_NEW_SESSION,
     .doc = "The lowest is used; the next when all of it fail."},
    {BOOL(mx), .dflt = "off", .effect = CONF_NEW_SESSION,
     .doc = "Look up the MX records of `host` instead of its addresses."},
};
static const struct conf_table hop_table = {
    CONF_ROWS(hop_rows),
    .size = sizeof(STRUCT),
    .from_text = names_hop_from_text,
    .short_doc = "`host`, `host:port` or `\"[2001:db8::1]:port\"`.",
};
#undef STRUCT

#define STRUCT struct route_settings
static const struct conf_field route_rows[] = {
    {.name = "hops",
     .type = CONF_STRUCT_LIST,
     .offset = AT(hops, struct route_hop *),
     .count_offset = AT(hop_count, size_t),
     .table = &hop_table,
     .word = "mx",
     .min = 0,
     .max = 64,
     .effect = CONF_NEW_SESSION,
     .doc = "`mx` goes by the domain's MX records. A single hop may stand "
            "without the list."},
};
const struct conf_table route_table = {
    CONF_ROWS(route_rows),
    .size = sizeof(STRUCT),
    .entry = "DOMAIN",
    .named = true,
    .name_offset = AT(domain, char *),
    .name_canonical = names_entry,
    .bare = true,
};
#undef STRUCT

static const struct conf_name tls_levels[] = {
    {"no", DELIVER_TLS_NO},
    {"preferred", DELIVER_TLS_PREFERRED},
    {"required", DELIVER_TLS_REQUIRED},
    {"preferred-verify", DELIVER_TLS_PREFERRED_VERIFY},
    {"required-verify", DELIVER_TLS_REQUIRED_VERIFY},
    {"required-verify-hosted", DELIVER_TLS_REQUIRED_VERIFY_HOSTED},
    {0}};
static const struct conf_name dane_levels[] = {
    {"no", DANE_NO},
    {"opportunistic", DANE_OPPORTUNISTIC},
    {"mandatory", DANE_MANDATORY},
    {0}};
static const struct conf_name preferences[] = {{"prefer-v6", PREFER_V6},
                                               {"prefer-v4", PREFER_V4},
                                               {"require-v6", REQUIRE_V6},
                                               {"require-v4", REQUIRE_V4},
                                               {0}};
static const struct conf_name fallbacks[] = {
    {"never", FALLBACK_NEVER},
    {"before-220", FALLBACK_BEFORE_220},
    {"next-attempt", FALLBACK_NEXT_ATTEMPT},
    {0}};

#define STRUCT struct destination_settings
static const struct conf_field destination_rows[] = {
    {ENUM(tls, tls_levels), .dflt = "preferred", .effect = CONF_NEW_SESSION,
     .doc = "`no`: never. `preferred`: where the server offers it. `required`: "
            "nothing is sent without. `-verify`: the certificate must also be "
            "valid for the server's name, with `-hosted` for that of the "
            "recipient's domain."},
    {ENUM(dane, dane_levels), .dflt = "opportunistic",
     .effect = CONF_NEW_SESSION,
     .doc = "`no`: TLSA records are not asked for. `opportunistic`: where a "
            "server has TLSA records with a valid DNSSEC signature, its "
            "certificate must match them (RFC 7672). `mandatory`: nothing is "
            "sent to a server that has none. Mail that goes by `routes` asks "
            "for them only where a hop has `mx`."},
    {BOOL(dane_insecure_mx), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Use TLSA records also of a server whose name came from an MX "
            "record without signature. It never counts as `mandatory`."},
    {BOOL(mta_sts), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Look up and follow the MTA-STS policy of the domain (RFC 8461) "
            "when mail goes by its MX records."},
    {.name = "tls_profile",
     .type = CONF_REF,
     .offset = AT(tls_profile, struct tls_profile_settings *),
     .target = "tls_profiles",
     .dflt = "default",
     .effect = CONF_NEW_SESSION,
     .doc = "TLS versions and ciphers towards this destination."},
    {BOOL(tls13), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "`off`: TLS 1.3 is not offered to this destination even if its "
            "profile has it, for a server that stumbles over it."},
    {STRING(groups), .dflt_doc = "those of the profile",
     .effect = CONF_NEW_SESSION,
     .doc = "Groups of the key exchange instead of those of the profile, in "
            "order, as `X25519:P-256`."},
    {BOOL(retry_classic), .dflt = "off", .effect = CONF_NEW_SESSION,
     .doc = "When a handshake breaks off, try the server once more at once "
            "and offer only the groups X25519, P-256, P-384 and P-521: some "
            "firewalls drop the larger first message that newer groups need. "
            "Both attempts are logged."},
    {BOOL(session_tickets), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "`off`: no session tickets are asked for or used, for a server "
            "that stumbles over them."},
    {.name = "client_certificate",
     .type = CONF_STRING,
     .offset = AT(client_certificate_name, char *),
     .dflt_doc = "`\"\"`",
     .effect = CONF_NEW_SESSION,
     .doc = "Name of the certificate that is shown to a server that asks for "
            "one. `\"\"`: the node's own, which is the first of "
            "`certificates`. `none`: none is shown."},
    {STRINGS(authorities, authority_count), .dflt = "[]", .max = 100,
     .canonical = names_file, .effect = CONF_NEW_SESSION,
     .doc = "Files (PEM) with authorities, or certificates, that are believed "
            "of this destination."},
    {BOOL(system_authorities), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Authorities that this machine trusts are believed too. `off`: "
            "those of `authorities` alone."},
    {STRINGS(revocation_lists, revocation_list_count), .dflt = "[]", .max = 100,
     .canonical = names_file, .effect = CONF_NEW_SESSION,
     .doc = "Files (PEM or DER) with revocation lists. Authorities for which "
            "none is given are not checked."},
    {BOOL(alert), .dflt = "on",
     .doc = "Raise an alert when mail cannot be sent because TLS that is "
            "required fails: one for the destination, whatever the number of "
            "messages, and a notice when delivery works again."},
    {ENUM(ip_preference, preferences), .dflt = "prefer-v6",
     .effect = CONF_NEW_SESSION,
     .doc = "Which addresses of a host are tried first, or at all."},
    {U32(max_connections), .unit = "connections", .dflt = "500", .min = 1,
     .max = 10000, .effect = CONF_NEW_SESSION, .doc = "Connections at a time."},
    {U32(max_messages_per_connection), .unit = "messages", .dflt = "50",
     .min = 1, .max = 100000, .effect = CONF_NEW_SESSION,
     .doc = "After that many a new connection is made."},
    {U32(max_recipients_per_message), .unit = "recipients", .dflt = "100",
     .min = 1, .max = 100000, .effect = CONF_NEW_SESSION,
     .doc = "A message to more is sent several times."},
    {U32(recipient_limit), .unit = "recipients", .dflt = "unlimited", .min = 1,
     .max = 100000000, .word = "unlimited", .word_value = 0,
     .effect = CONF_NEW_SESSION,
     .doc = "Recipients that are sent to within `recipient_minutes`. The rest "
            "waits for the next such period; no attempt is counted."},
    {U32(recipient_minutes), .unit = "minutes", .dflt = "60", .min = 1,
     .max = 60, .effect = CONF_NEW_SESSION,
     .doc = "Length of the period of `recipient_limit`."},
    {ENUM(fallback, fallbacks), .dflt = "before-220",
     .effect = CONF_NEW_SESSION,
     .doc = "With `tls: preferred`, when a message goes in clear text after "
            "TLS has failed: `never`; `before-220`, if the server refused "
            "STARTTLS, on the same connection; `next-attempt`, also after a "
            "failed handshake, when it is tried again."},
    {.name = "bounce_profile",
     .type = CONF_REF,
     .offset = AT(bounce_profile, struct bounce_profile_settings *),
     .target = "bounce_profiles",
     .dflt = "default",
     .doc = "How long delivery is tried."},
};
const struct conf_table destination_table = {
    CONF_ROWS(destination_rows),
    .size = sizeof(STRUCT),
    .entry = "DOMAIN",
    .named = true,
    .name_offset = AT(domain, char *),
    .name_canonical = names_entry,
    .inherit = CONF_INHERIT_DEFAULT,
};
#undef STRUCT

#define STRUCT struct bounce_profile_settings
static const struct conf_field bounce_rows[] = {
    {DURATION(max_time_in_queue), .dflt = "72h", .min = MINUTE,
     .max = (uint64_t)30 * DAY,
     .doc = "Then the message is returned to its sender (RFC 5321 section "
            "4.5.4.1 suggests 4 to 5 days)."},
    {U32(max_retries), .unit = "attempts", .dflt = "100", .min = 1,
     .max = 100000, .doc = "Likewise after that many attempts."},
    {DURATION(first_retry), .dflt = "60s", .min = 1000, .max = DAY,
     .doc = "Pause after the first attempt. It doubles with each, with a "
            "random part."},
    {DURATION(max_retry), .dflt = "3600s", .min = 1000, .max = DAY,
     .doc = "The longest pause. At least `first_retry`."},
    {DURATION(delay_warning), .dflt = "off", .min = MINUTE,
     .max = (uint64_t)30 * DAY, .word = "off",
     .doc = "After that time in the queue the sender is told once of the "
            "delay."},
    {SIZE(max_copy), .dflt = "10K", .max = 100 << 20,
     .doc = "A message up to this size is returned whole, of a larger one the "
            "header only."},
};
const struct conf_table bounce_profile_table = {
    CONF_ROWS(bounce_rows),
    .size = sizeof(STRUCT),
    .entry = "NAME",
    .named = true,
    .name_offset = AT(name, char *),
    .inherit = CONF_INHERIT_DEFAULT,
};
#undef STRUCT

#define STRUCT struct deliver_timeouts
#define LIMIT(member, value, text)                                             \
    {                                                                          \
        DURATION(member), .dflt = (value), .min = 1000, .max = DAY,            \
                          .effect = CONF_NEW_SESSION, .doc = (text)            \
    }
static const struct conf_field timeout_rows[] = {
    LIMIT(connect, "30s", "The TCP connection, for each address."),
    LIMIT(greeting, "5m",
          "The server's greeting (RFC 5321 section "
          "4.5.3.2.1)."),
    LIMIT(ehlo, "5m", "The answer to EHLO."),
    LIMIT(handshake, "1m", "The answer to STARTTLS and the TLS handshake."),
    LIMIT(mail, "5m", "The answer to MAIL (section 4.5.3.2.2)."),
    LIMIT(rcpt, "5m", "The answer to RCPT (section 4.5.3.2.3)."),
    LIMIT(data_init, "2m", "The answer to DATA (section 4.5.3.2.4)."),
    LIMIT(data_block, "3m",
          "The server takes no more of the message (section "
          "4.5.3.2.5)."),
    LIMIT(data_done, "10m",
          "The answer to the final dot (section 4.5.3.2.6). Shorter limits "
          "deliver messages twice."),
    LIMIT(quit, "10s", "The answer to QUIT."),
    LIMIT(session, "2h", "The whole connection."),
};
static const struct conf_table timeout_table = {CONF_ROWS(timeout_rows),
                                                .size = sizeof(STRUCT)};

/* The section exists for its name: what it holds is the struct itself. */
static const struct conf_field delivery_rows[] = {
    {.name = "timeouts",
     .type = CONF_STRUCT,
     .offset = 0,
     .table = &timeout_table,
     .doc = "Time limits. When one passes, the attempt has failed for now."},
};
const struct conf_table delivery_table = {CONF_ROWS(delivery_rows),
                                          .size = sizeof(STRUCT)};
#undef STRUCT
