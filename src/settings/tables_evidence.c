/* MTA-STS, DKIM keys and TLS reports. */
#include "settings/tables.h"

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000, DAY = 86400000 };

#define STRUCT struct sts_settings
static const struct conf_field sts_rows[] = {
    {U32(dns_failure_defers), .unit = "attempts", .dflt = "3", .max = 1000,
     .doc = "When the TXT record of a domain cannot be looked up and no policy "
            "is known, a message waits for so many attempts. Then it goes "
            "with what the destination demands, and the log says so."},
    {DURATION(refresh), .dflt = "24h", .min = HOUR, .max = (uint64_t)7 * DAY,
     .doc = "How often a policy that is in use is fetched anew, give or take "
            "a quarter."},
    {DURATION(fetch_timeout), .dflt = "1m", .min = SECOND, .max = 5 * MINUTE,
     .doc = "Limit of one fetch of a policy (RFC 8461 section 3.3 suggests a "
            "minute)."},
    {DURATION(failure_pause), .dflt = "5m", .min = SECOND, .max = DAY,
     .doc = "After a fetch that failed none is made again for that long, "
            "unless the record's id has changed."},
    {U32(max_policies), .unit = "policies", .dflt = "100000", .min = 100,
     .max = 10000000,
     .doc = "Policies that are kept; beyond, those go that were not used for "
            "the longest time."},
    {STRINGS(authorities, authority_count), .dflt = "[]", .max = 100,
     .canonical = names_file,
     .doc = "Files (PEM) with authorities that are believed of policy hosts, "
            "beside those that this machine trusts."},
    {BOOL(allow_private_addresses), .dflt = "off",
     .doc = "Fetch from policy hosts with a private or loopback address. For "
            "tests; elsewhere somebody else's DNS could make this machine "
            "knock at inner doors."},
};
const struct conf_table sts_table = {CONF_ROWS(sts_rows),
                                     .size = sizeof(STRUCT)};
#undef STRUCT

#define STRUCT struct dkim_key_settings
static const struct conf_field dkim_rows[] = {
    {STRING(domain), .required = true, .min = 1, .canonical = names_domain,
     .doc = "The domain that signs."},
    {STRING(selector), .max = 63, .dflt_doc = "the name of the entry",
     .doc = "Where its public key stands: `SELECTOR._domainkey.DOMAIN`. "
            "`waxgate dkim keygen` prints the record."},
    {PATH(key), .required = true, .min = 1,
     .doc = "File (PEM) of the private key, RSA or Ed25519. Nobody else may be "
            "able to read it."},
};
const struct conf_table dkim_table = {
    CONF_ROWS(dkim_rows), .size = sizeof(STRUCT),          .entry = "NAME",
    .named = true,        .name_offset = AT(name, char *),
};
#undef STRUCT

#define STRUCT struct tls_report_settings
static const struct conf_field report_rows[] = {
    {BOOL(enabled), .dflt = "on",
     .doc = "Count how TLS went with each domain, and send a daily report to "
            "those that ask for it by an `_smtp._tls` record (RFC 8460)."},
    {STRING(organization), .max = 255,
     .dflt_doc = "the domain of the host name", .doc = "Who reports."},
    {STRING(contact), .max = 255,
     .dflt_doc = "`postmaster` at the domain of the host name",
     .doc = "Address for questions about the reports."},
    {STRING(from), .max = 255,
     .dflt_doc = "`tlsrpt-noreply` at the domain of the host name",
     .doc = "Address that sends the reports and notices by mail. Its domain is "
            "the one that reports."},
    {.name = "dkim",
     .type = CONF_STRINGS,
     .offset = AT(dkim_names, char **),
     .count_offset = AT(dkim_name_count, size_t),
     .dflt = "[]",
     .max = 8,
     .doc = "Keys of `dkim` that sign the reports by mail, for the domain of "
            "`from`. Unsigned ones are ignored by most receivers (RFC 8460 "
            "section 3)."},
    {DURATION(spread), .dflt = "4h", .max = 12 * HOUR,
     .doc = "After midnight UTC the reports of the day before go at random "
            "moments within this time (RFC 8460 section 4.1)."},
    {DURATION(retry), .dflt = "24h", .min = MINUTE, .max = (uint64_t)3 * DAY,
     .doc = "How long sending a report is tried."},
    {DURATION(keep), .dflt = "30d", .min = (uint64_t)2 * DAY,
     .max = (uint64_t)400 * DAY,
     .doc = "How long counts and sent reports are kept."},
    {STRINGS(authorities, authority_count), .dflt = "[]", .max = 100,
     .canonical = names_file,
     .doc = "Files (PEM) with authorities that are believed of HTTPS "
            "endpoints, beside those that this machine trusts."},
    {BOOL(allow_private_addresses), .dflt = "off",
     .doc = "Upload to HTTPS endpoints with a private or loopback address. "
            "For tests."},
    {STRINGS(failure_recipients, failure_recipient_count), .dflt = "[]",
     .max = 100,
     .doc = "Addresses that get a mail as soon as a policy of a destination "
            "(MTA-STS, also in testing mode, or DANE) fails: at most one per "
            "domain and `failure_interval`, with the counts since the last."},
    {DURATION(failure_interval), .dflt = "24h", .min = MINUTE,
     .max = (uint64_t)30 * DAY,
     .doc = "Time between two such mails about one domain."},
};
const struct conf_table tls_report_table = {CONF_ROWS(report_rows),
                                            .size = sizeof(STRUCT)};
#undef STRUCT
