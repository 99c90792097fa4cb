/* The root of the tree.  References point upwards: what others name stands
 * above them. */
#include "settings/tables.h"
#include "settings/advanced.h"

#define STRUCT struct settings
static const struct conf_field rows[] = {
    {STRING(node), .dflt_doc = "the first label of the host name", .max = 63,
     .effect = CONF_AT_RESTART,
     .doc = "Name of this machine among several that share a configuration."},
    {STRING(hostname), .dflt_doc = "the machine's own, else `localhost`",
     .canonical = names_host, .effect = CONF_NEW_SESSION,
     .doc = "Domain name by which this gateway introduces itself: in the "
            "greeting, in EHLO, in Received fields and in delivery reports. It "
            "should resolve to the address that other servers see."},
    {PATH(state_dir), .dflt = "/var/lib/waxgate", .min = 1,
     .effect = CONF_AT_RESTART,
     .doc = "Folder of the spool and of everything else that must survive a "
            "restart. A relative name starts at the folder of the "
            "configuration file."},
    {STRING(user), .max = 32, .dflt_doc = "stay who we are",
     .effect = CONF_AT_RESTART,
     .doc = "User as whom mail is processed, when the gateway is started as "
            "root. It needs no rights but those on `state_dir`."},
    {U32(loops), .dflt = "auto", .min = 1, .max = 256, .word = "auto",
     .word_value = 0, .effect = CONF_AT_RESTART,
     .doc = "Event loops of each process; `auto` is one for each processor "
            "core."},
    {.name = "log",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, log),
     .table = &log_table,
     .doc = "Where events are logged, and which."},
    {DURATION(drain_timeout), .dflt = "30s", .max = 3600000,
     .doc = "After SIGTERM no new connection is taken; sessions may go on this "
            "long to finish the message in hand."},
    {DURATION(watchdog), .dflt = "60s", .min = 1000, .max = 3600000,
     .word = "off",
     .doc = "A process of which one loop does not answer for that long is "
            "ended and started again. With `off` nobody looks."},
    {.name = "dns",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, dns),
     .table = &dns_table,
     .doc = "How names are looked up."},
    {ENTRIES(certificates, certificate_count, certificate_settings),
     .table = &certificate_table,
     .doc = "Certificates with their keys, by a name of your choice."},
    {DURATION(certificate_check), .dflt = "10s", .min = 1000, .max = 3600000,
     .word = "off",
     .doc = "How often the files of certificates, trust stores and revocation "
            "lists are looked at. What changed is taken into use at the second "
            "look that finds it the same; a key that does not belong to its "
            "certificate is not taken, and raises an alert. With `off`, "
            "`waxgate reload` reads them."},
    {ENTRIES(tls_profiles, tls_profile_count, tls_profile_settings),
     .table = &tls_profile_table, .has_default = true, .max = 256,
     .doc = "Which TLS versions and ciphers are used. A listener or "
            "destination names a profile, so that one old peer weakens nobody "
            "else."},
    {ENTRIES(mail_flow_policies, mail_flow_policy_count, mail_flow_policy),
     .table = &mail_flow_policy_table, .has_default = true, .max = 1000,
     .doc = "What a group of senders gets: whether it may send, with which TLS "
            "and how much. A listener's `hat` names them. What an entry does "
            "not set, it takes from the listener, where it has a setting of "
            "the same name, then from the entry `default`."},
    {ENTRIES(listeners, listener_count, listener_settings),
     .table = &listener_table, .required = true, .min = 1, .max = 256,
     .doc = "Addresses at which mail is received, by a name of your choice."},
    {ENTRIES(routes, route_count, route_settings), .table = &route_table,
     .doc = "Next hops of domains that do not go by their MX records. The "
            "domain is written as `example.org`, or as `.example.org` for its "
            "subdomains; `default` is for all others. The nearest match "
            "counts."},
    {ENTRIES(bounce_profiles, bounce_profile_count, bounce_profile_settings),
     .table = &bounce_profile_table, .has_default = true, .max = 256,
     .doc = "How long delivery is tried, and what the sender is told."},
    {ENTRIES(destinations, destination_count, destination_settings),
     .table = &destination_table, .has_default = true,
     .doc = "How mail is delivered, by recipient domain: `example.org`, or "
            "`.example.org` for its subdomains. The nearest match counts."},
    {.name = "delivery",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, deliver_timeouts),
     .table = &delivery_table,
     .doc = "Delivery to all destinations."},
    {.name = "mta_sts",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, sts),
     .table = &sts_table,
     .doc = "How MTA-STS policies of other domains are fetched and kept. "
            "Whether they count stands in `destinations`."},
    {ENTRIES(dkim, dkim_count, dkim_key_settings), .table = &dkim_table,
     .max = 256,
     .doc = "Keys that sign mail which the gateway itself writes, by a name of "
            "your choice."},
    {.name = "tls_reports",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, tls_reports),
     .table = &tls_report_table,
     .doc = "Reports on TLS: to the domains that mail goes to, and to the "
            "administrator."},
    {ENTRIES(servers, server_count, server_settings), .table = &server_table,
     .has_default = true, .max = 256,
     .doc = "What is different on single nodes of several that share a "
            "configuration, by the name that `node` has there. `default` is "
            "for all of them."},
    {.name = "sender",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, sender),
     .table = &sender_table,
     .doc = "What is different from the profile `default` when mail is sent, "
            "on all nodes."},
    {ENTRIES(advanced, advanced_count, advanced_settings),
     .table = &advanced_table, .alias = advanced_resolve, .max = 1000,
     .doc = ADVANCED_DOC},
    {.name = "spool",
     .type = CONF_STRUCT,
     .offset = offsetof(STRUCT, spool),
     .table = &spool_table,
     .doc = "The journals that hold accepted mail until it is delivered."},
};
#undef STRUCT

const struct conf_table settings_table = {
    CONF_ROWS(rows),
    .size = sizeof(struct settings),
};
