/* Mail flow policies: what a sender group gets. */
#include "settings/tables.h"

static const struct conf_name behaviors[] = {
    {"accept", BEHAVIOR_ACCEPT},     {"relay", BEHAVIOR_RELAY},
    {"reject", BEHAVIOR_REJECT},     {"tcprefuse", BEHAVIOR_TCPREFUSE},
    {"continue", BEHAVIOR_CONTINUE}, {0}};
const struct conf_name settings_tls_levels[] = {
    {"no", RECEIVE_TLS_NO},
    {"preferred", RECEIVE_TLS_PREFERRED},
    {"required", RECEIVE_TLS_REQUIRED},
    {0}};
const struct conf_name settings_newlines[] = {
    {"reject", NEWLINE_REJECT}, {"normalize", NEWLINE_NORMALIZE}, {0}};

static const struct conf_name message_levels[] = {
    {"as-destination", MESSAGE_TLS_ANY},
    {"required", MESSAGE_TLS_REQUIRED},
    {"verified", MESSAGE_TLS_VERIFIED},
    {0}};

#define LISTENERS "that of the listener, else "

#define STRUCT struct mail_flow_policy
static const struct conf_field rows[] = {
    {ENUM(behavior, behaviors), .dflt = "accept", .effect = CONF_NEW_SESSION,
     .doc = "`accept`: mail for the recipients of the listener's `rat` and "
            "`domains`. `relay`: mail for anybody. `reject`: the greeting is a "
            "refusal, and every command but QUIT is refused. `tcprefuse`: the "
            "connection is closed without a word. `continue`: the row only "
            "notes in the log that it matched; the next one that matches "
            "decides."},
    {ENUM(tls, settings_tls_levels), .dflt = "preferred",
     .dflt_doc = LISTENERS "`preferred` where it has a certificate, `no` where "
                           "not",
     .effect = CONF_NEW_SESSION,
     .doc = "`no`: STARTTLS is not offered. `preferred`: offered. `required`: "
            "before TLS every command but NOOP, EHLO, HELO, QUIT and STARTTLS "
            "gets 530. A listener with `tls://` always has TLS."},
    {BOOL(verify_client), .dflt = "off", .effect = CONF_NEW_SESSION,
     .doc = "Ask for the client's certificate and check it. With `tls: "
            "preferred` one that is not valid is refused and none is fine; "
            "with `required` a valid one is needed. The refusal is the reply "
            "550 to MAIL, with the reason."},
    {BOOL(accept_server_eku), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "A client may show a certificate that was made for servers; "
            "public authorities no longer issue others."},
    {STRINGS(client_authorities, client_authority_count), .dflt = "[]",
     .max = 100, .canonical = names_file, .effect = CONF_NEW_SESSION,
     .doc = "Files (PEM) with authorities, or certificates, that are believed "
            "of clients."},
    {BOOL(client_system_authorities), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Authorities that this machine trusts are believed of clients "
            "too."},
    {STRINGS(client_revocation_lists, client_revocation_list_count),
     .dflt = "[]", .max = 100, .canonical = names_file,
     .effect = CONF_NEW_SESSION,
     .doc = "Files (PEM or DER) with revocation lists. Authorities for which "
            "none is given are not checked."},
    {STRINGS(tls_required_for, tls_required_for_count), .dflt = "[]",
     .max = 10000, .canonical = names_sender, .effect = CONF_NEW_SESSION,
     .doc = "With `tls: preferred`: these envelope senders must use TLS. "
            "`example.org` is all of that domain, `.example.org` those below "
            "it, `ann@example.org` one address."},
    {.name = "tls_profile",
     .type = CONF_REF,
     .offset = AT(tls_profile, struct tls_profile_settings *),
     .target = "tls_profiles",
     .word = "listener",
     .dflt = "listener",
     .dflt_doc = "that of the listener",
     .effect = CONF_NEW_SESSION,
     .doc = "TLS versions and ciphers of this group alone; `listener`: those "
            "of the listener."},
    {U32(max_messages_per_connection), .unit = "messages", .dflt = "1000",
     .dflt_doc = LISTENERS "`1000`", .min = 1, .max = 1000000,
     .effect = CONF_NEW_SESSION,
     .doc = "After that many the peer has to connect again."},
    {U32(max_recipients_per_message), .unit = "recipients", .dflt = "1000",
     .dflt_doc = LISTENERS "`1000`", .min = 1, .max = 100000,
     .effect = CONF_NEW_SESSION,
     .doc = "More get 452. Fewer than 100 are less than RFC 5321 section "
            "4.5.3.1.8 asks for."},
    {SIZE(max_message_size), .dflt = "100M", .dflt_doc = LISTENERS "`100M`",
     .min = 1 << 10, .max = (uint64_t)1 << 40, .effect = CONF_NEW_SESSION,
     .doc = "Largest message; announced as SIZE in EHLO."},
    {U32(max_connections_per_ip), .unit = "connections", .dflt = "1000",
     .dflt_doc = LISTENERS "`1000`", .min = 1, .max = 1000000,
     .effect = CONF_NEW_SESSION,
     .doc = "Connections of one client at a time; a client of IPv6 is its "
            "/64."},
    {U32(max_recipients_per_hour), .unit = "recipients", .dflt = "unlimited",
     .min = 1, .max = 100000000, .word = "unlimited",
     .word_value = RECIPIENTS_UNLIMITED, .effect = CONF_NEW_SESSION,
     .doc = "Recipients that one client may name within an hour, over all its "
            "connections to the listener."},
    {U32(max_recipients_per_hour_code), .dflt = "452", .min = 400, .max = 599,
     .effect = CONF_NEW_SESSION, .doc = "Code of the reply to those beyond."},
    {STRING(max_recipients_per_hour_text), .min = 1, .max = 200,
     .dflt = "Too many recipients received this hour", .canonical = names_reply,
     .effect = CONF_NEW_SESSION, .doc = "Its text."},
    {U32(max_invalid_recipients_per_hour), .unit = "recipients",
     .dflt = "unlimited", .min = 1, .max = 100000000, .word = "unlimited",
     .word_value = RECIPIENTS_UNLIMITED, .effect = CONF_NEW_SESSION,
     .doc = "Recipients refused by the recipient table that one client may "
            "name within an hour, over all its connections to the listener. "
            "After that every recipient is refused, existing or not, so that "
            "who tries addresses learns no more."},
    {U32(max_invalid_recipients_code), .dflt = "550", .min = 400, .max = 599,
     .effect = CONF_NEW_SESSION, .doc = "Code of the reply then."},
    {STRING(max_invalid_recipients_text), .min = 1, .max = 200,
     .dflt = "Too many invalid recipients", .canonical = names_reply,
     .effect = CONF_NEW_SESSION, .doc = "Its text."},
    {BOOL(max_invalid_recipients_drop), .dflt = "off",
     .effect = CONF_NEW_SESSION,
     .doc = "The connection ends then, with 421 and this text."},
    {U32(max_handshakes_per_second), .unit = "TLS handshakes", .dflt = "20",
     .min = 1, .max = 1000000, .word = "unlimited", .word_value = UINT32_MAX,
     .effect = CONF_NEW_SESSION,
     .doc = "TLS handshakes that one client may begin; beyond, the connection "
            "is closed before any work is done for it."},
    {U32(banner_code), .dflt = "220", .min = 200, .max = 299,
     .effect = CONF_NEW_SESSION, .doc = "Code of the greeting."},
    {STRING(banner_text), .dflt = "ESMTP", .min = 1, .max = 200,
     .canonical = names_reply, .effect = CONF_NEW_SESSION,
     .doc = "What follows the host name in the greeting."},
    {U32(reject_code), .dflt = "554", .min = 400, .max = 599,
     .effect = CONF_NEW_SESSION,
     .doc = "Code of the greeting with `behavior: reject`."},
    {STRING(reject_text), .dflt = "Access denied", .min = 1, .max = 200,
     .canonical = names_reply, .effect = CONF_NEW_SESSION,
     .doc = "What follows the host name then."},
    {STRING(hostname), .dflt_doc = "that of the gateway",
     .canonical = names_host, .effect = CONF_NEW_SESSION,
     .doc = "Domain name by which the gateway introduces itself to this "
            "group."},
    {ENUM(bare_newline, settings_newlines), .dflt = "reject",
     .dflt_doc = LISTENERS "`reject`", .effect = CONF_NEW_SESSION,
     .doc = "Lines that do not end in CR LF: see the listener's setting."},
    {ENUM(delivery_tls, message_levels), .dflt = "as-destination",
     .effect = CONF_NEW_SESSION,
     .doc = "What mail of this group demands where it goes on to, whatever the "
            "destination's settings: `required`: it goes by TLS or not at all. "
            "`verified`: the server's certificate must be valid for its "
            "name too."},
    {BOOL(ignore_dane), .dflt = "off", .effect = CONF_NEW_SESSION,
     .doc = "TLSA records of the destination do not decide on mail of this "
            "group."},
};
_Static_assert(COUNT_OF(rows) <= POLICY_FIELDS_MAX, "origins have no room");
const struct conf_table mail_flow_policy_table = {
    CONF_ROWS(rows),
    .size = sizeof(STRUCT),
    .entry = "NAME",
    .named = true,
    .name_offset = AT(name, char *),
    .inherit = CONF_INHERIT_DEFAULT,
};
#undef STRUCT

#define STRUCT struct hat_entry_settings
static const struct conf_field hat_rows[] = {
    {STRING(group), .required = true, .min = 1, .max = 64,
     .canonical = names_group, .effect = CONF_NEW_SESSION,
     .doc = "Name of the sender group, for logs. `ALL` without senders is "
            "everybody."},
    {STRINGS(senders, sender_count), .dflt = "[]", .canonical = names_client,
     .effect = CONF_NEW_SESSION,
     .doc = "`192.0.2.1`, `192.0.2.0/24`, `192.0.2.7-12`, `192.0.2.` (a "
            "partial address), likewise IPv6; `mail.example.org` (that host), "
            "`.example.org` (hosts below it), `ALL`. Names count only where "
            "the name of the client leads back to its address."},
    {STRINGS(dns_lists, dns_list_count), .dflt = "[]", .canonical = names_zone,
     .max = 64, .effect = CONF_NEW_SESSION,
     .doc = "Zones of DNS lists (RFC 5782) that hold the client."},
    {.name = "policy",
     .type = CONF_REF,
     .offset = AT(policy, struct mail_flow_policy *),
     .target = "mail_flow_policies",
     .required = true,
     .effect = CONF_NEW_SESSION,
     .doc = "What the group gets."},
};
const struct conf_table hat_entry_table = {CONF_ROWS(hat_rows),
                                           .size = sizeof(STRUCT)};
#undef STRUCT

static const struct conf_name actions[] = {
    {"accept", RAT_ACCEPT}, {"reject", RAT_REJECT}, {0}};

#define STRUCT struct rat_entry_settings
static const struct conf_field rat_rows[] = {
    {ENUM(action, actions), .dflt = "accept", .effect = CONF_NEW_SESSION,
     .doc = "Whether mail for these recipients is accepted."},
    {BOOL(bypass_rate_limit), .dflt = "off", .effect = CONF_NEW_SESSION,
     .doc = "Not counted for `max_recipients_per_hour`."},
    {U32(reject_code), .dflt = "550", .min = 400, .max = 599,
     .effect = CONF_NEW_SESSION,
     .doc = "Code of the reply with `action: reject`; 4xx has the sender try "
            "again."},
    {STRING(reject_text), .max = 200, .canonical = names_reply,
     .dflt_doc = "relaying to <RECIPIENT> denied", .effect = CONF_NEW_SESSION,
     .doc = "Text of that reply."},
};
const struct conf_table rat_entry_table = {
    CONF_ROWS(rat_rows),
    .size = sizeof(STRUCT),
    .entry = "RECIPIENT",
    .named = true,
    .name_offset = AT(pattern, char *),
    .name_canonical = names_recipient,
    .from_text = names_rat_from_text,
    .short_doc = "`accept` or `reject`.",
};
#undef STRUCT
