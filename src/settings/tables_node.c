/* Log, DNS and spool of this machine. */
#include "settings/tables.h"

static const struct conf_name levels[] = {{"debug", LOG_DEBUG},
                                          {"info", LOG_INFO},
                                          {"warning", LOG_WARNING},
                                          {"error", LOG_ERROR},
                                          {0}};
static const struct conf_name formats[] = {
    {"key-value", LOG_KEY_VALUE}, {"json", LOG_JSON}, {0}};

#define STRUCT __typeof__(((struct settings *)0)->log)
static const struct conf_field log_rows[] = {
    {PATH(path), .dflt = "-", .min = 1, .word = "-",
     .doc = "File to append to; `-` is the standard output, which systemd "
            "passes to the journal."},
    {ENUM(level, levels), .dflt = "info",
     .doc = "Events of this level and above are logged. What a peer does wrong "
            "is `info`, what is wrong with the gateway is `error`."},
    {ENUM(format, formats), .dflt = "key-value",
     .doc = "Every event is one line: `time level event key=value ...`, or one "
            "JSON object."},
    {PATH(asyncos), .dflt = "", .dflt_doc = "none",
     .doc = "A second file, to which receiver and sender append lines in the "
            "shape of AsyncOS mail_logs (ICID, MID, DCID, RID), for parsers "
            "that know those. It is rotated as the log is."},
};
const struct conf_table log_table = {CONF_ROWS(log_rows),
                                     .size = sizeof(STRUCT)};
#undef STRUCT

#define STRUCT struct dns_settings
static const struct conf_field dns_rows[] = {
    {STRINGS(resolvers, resolver_count), .canonical = names_resolver, .max = 16,
     .dflt = "[]", .dflt_doc = "resolve from the root",
     .doc = "Recursive servers to ask, as `192.0.2.53` or `127.0.0.1@5353`."},
    {STRINGS(trust_anchors, trust_anchor_count), .canonical = names_anchor,
     .max = 64, .dflt = "[]",
     .dflt_doc = "that of the root, where `resolvers` is empty",
     .doc = "Further DNSSEC trust anchors: files, or DS and DNSKEY records."},
    {.name = "stub_zones",
     .type = CONF_PAIRS,
     .offset = AT(stub_zones, char **),
     .count_offset = AT(stub_zone_count, size_t),
     .canonical = names_stub,
     .max = 256,
     .dflt = "{}",
     .doc = "Zones that are asked for at a server of their own, as "
            "`{internal.example.org: 192.0.2.53}`."},
    {DURATION(timeout), .dflt = "30s", .min = 100, .max = 300000,
     .doc = "Limit of one look-up with all its retries."},
    {BOOL(allow_loopback_mx), .dflt = "off",
     .doc = "Deliver to MX hosts that have a loopback address. For tests; "
            "elsewhere such a record is a mistake or an attack."},
    {STRING(test_signed), .dflt = ".", .canonical = names_probe,
     .doc = "A name whose SOA record is signed. It is looked up at the start "
            "and daily; when the signature cannot be validated, DANE is out "
            "of work, an alert says so, and what demands DANE waits. `\"\"`: "
            "no test."},
    {STRING(test_bogus), .dflt = "dnssec-failed.org", .canonical = names_probe,
     .doc = "A name whose signature is wrong. When it resolves, answers are "
            "not validated, and the same follows. `\"\"`: no test."},
};
const struct conf_table dns_table = {CONF_ROWS(dns_rows),
                                     .size = sizeof(STRUCT)};
#undef STRUCT

#define STRUCT struct spool_settings
static const struct conf_field spool_rows[] = {
    {SIZE(segment_size), .dflt = "64M", .min = 1 << 20, .max = 1 << 30,
     .effect = CONF_AT_RESTART,
     .doc = "Size of one file of a journal. It is written in full before it is "
            "used, which makes every later sync faster."},
    {SIZE(inline_limit), .dflt = "1M", .min = 4096, .max = 16 << 20,
     .effect = CONF_AT_RESTART,
     .doc = "Larger messages go to files of their own while they arrive. At "
            "most a quarter of `segment_size`."},
    {SIZE(memory_limit), .dflt = "256M", .min = 1 << 20,
     .max = (uint64_t)1 << 40, .effect = CONF_NEW_SESSION,
     .doc = "Memory for messages being received, of all sessions together; at "
            "the limit they go to files. At least `inline_limit`."},
    {U32(spare_segments), .unit = "segments", .dflt = "2", .min = 1, .max = 64,
     .effect = CONF_AT_RESTART, .doc = "Segments prepared ahead of use."},
    {SIZE(min_free), .dflt = "256M", .max = (uint64_t)1 << 50,
     .doc = "With less space on the disk no mail is accepted: senders get 452 "
            "and come again."},
    {U64(max_messages), .unit = "messages", .dflt = "unlimited", .min = 1,
     .max = 1000000000, .word = "unlimited",
     .doc = "Messages in the queue; at the limit senders get 452."},
    {SIZE(max_bytes), .dflt = "unlimited", .min = 1 << 20,
     .max = (uint64_t)1 << 50, .word = "unlimited",
     .doc = "Size of all messages in the queue; at the limit senders get 452."},
};
const struct conf_table spool_table = {CONF_ROWS(spool_rows),
                                       .size = sizeof(STRUCT)};
#undef STRUCT
