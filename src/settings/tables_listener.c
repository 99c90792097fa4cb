/* Listeners: where and from whom mail is received. */
#include "settings/tables.h"

enum { HOUR = 3600000, DAY = 24 * HOUR };

#define STRUCT struct receive_timeouts
static const struct conf_field timeout_rows[] = {
    {DURATION(handshake), .dflt = "1m", .min = 1000, .max = HOUR,
     .effect = CONF_NEW_SESSION,
     .doc = "The TLS handshake, after STARTTLS or at once."},
    {DURATION(command), .dflt = "5m", .min = 1000, .max = HOUR,
     .effect = CONF_NEW_SESSION,
     .doc = "Waiting for the next command (RFC 5321 section 4.5.3.2.7 asks "
            "for 5 minutes)."},
    {DURATION(data_block), .dflt = "5m", .min = 1000, .max = HOUR,
     .effect = CONF_NEW_SESSION,
     .doc = "Waiting for the next piece of a message."},
    {DURATION(write), .dflt = "2m", .min = 1000, .max = HOUR,
     .effect = CONF_NEW_SESSION,
     .doc = "Waiting for the peer to take what it was sent."},
    {DURATION(session), .dflt = "2h", .min = 1000, .max = DAY,
     .effect = CONF_NEW_SESSION,
     .doc = "The whole connection, so that a peer that sends a byte now and "
            "then does not stay for ever."},
    {DURATION(proxy), .dflt = "10s", .min = 100, .max = HOUR,
     .effect = CONF_NEW_SESSION,
     .doc = "Waiting for the header of the PROXY protocol."},
    {DURATION(lookup), .dflt = "5s", .min = 100, .max = 60000,
     .effect = CONF_NEW_SESSION,
     .doc = "Waiting for the client's name and for DNS lists, where `hat` asks "
            "for them. What has not come by then counts as none."},
};
static const struct conf_table timeout_table = {CONF_ROWS(timeout_rows),
                                                .size = sizeof(STRUCT)};
#undef STRUCT

static const struct conf_name types[] = {
    {"public", LISTENER_PUBLIC}, {"private", LISTENER_PRIVATE}, {0}};
#define STRUCT struct listener_settings
static const struct conf_field rows[] = {
    {ENUM(type, types), .required = true, .effect = CONF_NEW_SESSION,
     .doc = "`public` faces the Internet and accepts mail for its `domains`; "
            "`private` faces your own servers and relays for them."},
    {.name = "address",
     .type = CONF_ADDRESS,
     .offset = AT(address, struct net_address),
     .required = true,
     .prefix = "tls://",
     .prefix_offset = AT(implicit_tls, bool),
     .doc = "Address and port to listen at: `192.0.2.1:25`, `0.0.0.0:25` for "
            "all of IPv4, `[::]:25` for all of IPv6. With `tls://` TLS begins "
            "at once, without STARTTLS (RFC 8314)."},
    {.name = "certificates",
     .type = CONF_REFS,
     .offset = AT(certificates, struct certificate_settings **),
     .count_offset = AT(certificate_count, size_t),
     .target = "certificates",
     .dflt = "[]",
     .max = 1000,
     .effect = CONF_NEW_SESSION,
     .doc = "The peer's SNI chooses; the first is used where nothing fits."},
    {.name = "tls_profile",
     .type = CONF_REF,
     .offset = AT(tls_profile, struct tls_profile_settings *),
     .target = "tls_profiles",
     .dflt = "default",
     .effect = CONF_NEW_SESSION,
     .doc = "TLS versions and ciphers of this listener."},
    {ENUM(tls, settings_tls_levels), .dflt = "preferred",
     .dflt_doc = "`preferred` where the listener has a certificate, else "
                 "`no`; `required` with `tls://`",
     .effect = CONF_NEW_SESSION,
     .doc = "`no`: STARTTLS is not offered. `preferred`: offered. `required`: "
            "no mail without it. On a public listener `required` turns away "
            "servers that cannot do TLS."},
    {U32(max_connections), .unit = "connections", .dflt = "1000", .min = 1,
     .max = 1000000, .effect = CONF_NEW_SESSION,
     .doc = "Connections at a time; more are told to come again."},
    {U32(backlog), .unit = "connections", .dflt = "50", .min = 1, .max = 65535,
     .doc = "The TCP queue of connections not yet taken. The kernel may cut it "
            "(net.core.somaxconn)."},
    {PREFIXES(proxy_protocol, proxy_protocol_count), .dflt = "off",
     .word = "off", .max = 1000, .effect = CONF_NEW_SESSION,
     .doc = "Networks of load balancers that put a header of the PROXY "
            "protocol (version 1 or 2) in front. From these addresses it must "
            "be there, from others it is a protocol error."},
    {PREFIXES(relay_for, relay_for_count), .dflt = "[]",
     .effect = CONF_NEW_SESSION,
     .doc = "Networks whose hosts may send to any domain: the short form of a "
            "first row of `hat` with the group RELAYLIST, whose policy relays "
            "(it is `mail_flow_policies.RELAYED` where there is one). A public "
            "listener refuses networks so wide that they would make an open "
            "relay."},
    {STRINGS(domains, domain_count), .dflt = "[]", .canonical = names_domain,
     .max = 50000, .effect = CONF_NEW_SESSION,
     .doc = "Domains for which mail is accepted: `example.org`, or "
            "`.example.org` for its subdomains; the short form of such rows of "
            "`rat`."},
    {.name = "hat",
     .type = CONF_STRUCT_LIST,
     .offset = AT(hat, struct hat_entry_settings *),
     .count_offset = AT(hat_count, size_t),
     .table = &hat_entry_table,
     .effect = CONF_NEW_SESSION,
     .doc = "The host access table: which policy a client gets. The first row "
            "that matches decides; the last is for ALL, or `default_policy` "
            "says what becomes of the rest."},
    {ENTRIES(rat, rat_count, rat_entry_settings), .table = &rat_entry_table,
     .max = 50000, .effect = CONF_NEW_SESSION,
     .doc = "The recipient access table: whose mail is accepted. "
            "`ann@example.org`, `postmaster@` (in any domain), `example.org`, "
            "`.example.org`, `ALL`; the most specific that fits decides. "
            "Without `ALL` everything else is rejected."},
    {.name = "default_policy",
     .type = CONF_REF,
     .offset = AT(default_policy, struct mail_flow_policy *),
     .target = "mail_flow_policies",
     .dflt_doc = "`default`",
     .word = "default",
     .effect = CONF_NEW_SESSION,
     .doc = "What clients get for whom no row of `hat` decides."},
    {STRING(default_domain), .canonical = names_host,
     .dflt_doc = "such recipients are refused", .effect = CONF_NEW_SESSION,
     .doc = "Added to recipients without a domain: `RCPT TO:<ann>`."},
    {.name = "domain_map",
     .type = CONF_PAIRS,
     .offset = AT(domain_map, char **),
     .count_offset = AT(domain_map_count, size_t),
     .canonical = names_mapping,
     .max = 10000,
     .dflt = "{}",
     .effect = CONF_NEW_SESSION,
     .doc = "Rewrites the domain of recipients before `rat` is asked: "
            "`{old.example: example.org, .old.example: example.org}`."},
    {ENUM(bare_newline, settings_newlines), .dflt = "reject",
     .effect = CONF_NEW_SESSION,
     .doc = "A line that does not end in CR LF is the way to smuggle a second "
            "message past a server. `reject` refuses the message; `normalize` "
            "mends it, for internal systems that cannot do better."},
    {SIZE(max_message_size), .dflt = "100M", .min = 1 << 10,
     .max = (uint64_t)1 << 40, .effect = CONF_NEW_SESSION,
     .doc = "Largest message; announced as SIZE in EHLO."},
    {U32(max_recipients_per_message), .unit = "recipients", .dflt = "1000",
     .min = 100, .max = 100000, .effect = CONF_NEW_SESSION,
     .doc = "More get 452 (RFC 5321 section 4.5.3.1.8 asks for 100 at "
            "least)."},
    {U32(max_messages_per_connection), .unit = "messages", .dflt = "1000",
     .min = 1, .max = 1000000, .effect = CONF_NEW_SESSION,
     .doc = "After that many the peer has to connect again."},
    {U32(max_connections_per_ip), .unit = "connections", .dflt = "1000",
     .min = 1, .max = 1000000, .effect = CONF_NEW_SESSION,
     .doc = "Connections of one client address."},
    {U32(max_handshakes_per_second), .unit = "TLS handshakes",
     .dflt = "unlimited", .min = 1, .max = 1000000, .word = "unlimited",
     .word_value = UINT32_MAX, .effect = CONF_NEW_SESSION,
     .doc = "Of all clients together; beyond, connections are closed before "
            "any work is done for them. That of one client is in the "
            "policy."},
    {U32(max_bad_commands), .unit = "commands", .dflt = "10", .min = 1,
     .max = 1000, .effect = CONF_NEW_SESSION,
     .doc = "After that many commands that are unknown or out of place the "
            "connection is closed with 421."},
    {BOOL(received_tls), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Tell TLS version and cipher in the Received field."},
    {BOOL(received_product), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Tell product and version in the Received field."},
    {BOOL(requiretls), .dflt = "on", .effect = CONF_NEW_SESSION,
     .doc = "Offer REQUIRETLS once TLS is on: a sender may then demand that "
            "its message goes on by verified TLS or not at all (RFC 8689)."},
    {.name = "timeouts",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, timeouts),
     .table = &timeout_table,
     .doc = "Time limits of a session. Each one that passes ends it, with "
            "421 where the peer can still be told."},
};
const struct conf_table listener_table = {
    CONF_ROWS(rows), .size = sizeof(STRUCT),          .entry = "NAME",
    .named = true,   .name_offset = AT(name, char *),
};
#undef STRUCT
