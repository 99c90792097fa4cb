/* settings/settings.h - the whole configuration as one immutable value.
 *
 * Field tables (tables.c) describe every setting once: name, type, unit,
 * default, bounds, documentation. From them come the YAML parser, the checks
 * with line and column, `waxgate config show` and the reference manual. What
 * is not in a table does not exist.
 *
 * A struct settings is made by settings_load(), never changed, and counted: a
 * session keeps the revision with which it began, a reload makes a new one.
 * All strings are NUL-terminated, never NULL ("" where nothing was said) and
 * live as long as the settings. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H
#include "base/err.h"
#include "base/log.h"
#include "net/address.h"
#include "tls/context.h"

struct hat;
struct rat;

enum listener_type { LISTENER_PUBLIC, LISTENER_PRIVATE };
enum receive_tls {
    RECEIVE_TLS_NO,
    RECEIVE_TLS_PREFERRED,
    RECEIVE_TLS_REQUIRED
};
enum deliver_tls {
    DELIVER_TLS_NO,
    DELIVER_TLS_PREFERRED,
    DELIVER_TLS_REQUIRED,
    DELIVER_TLS_PREFERRED_VERIFY,
    DELIVER_TLS_REQUIRED_VERIFY,
    DELIVER_TLS_REQUIRED_VERIFY_HOSTED,
};
/* When clear text is allowed after a TLS failure under "preferred". */
enum tls_fallback {
    FALLBACK_NEVER,
    FALLBACK_BEFORE_220,
    FALLBACK_NEXT_ATTEMPT
};
/* What DANE means for a destination (RFC 7672). */
enum deliver_dane {
    DANE_NO,            /* TLSA records are not asked for */
    DANE_OPPORTUNISTIC, /* they decide where there are any */
    DANE_MANDATORY,     /* nothing goes to a host without usable ones */
};
/* What a message demands of every hop, beside its destination. */
enum message_tls {
    MESSAGE_TLS_ANY, /* nothing */
    MESSAGE_TLS_REQUIRED,
    MESSAGE_TLS_VERIFIED, /* … with a certificate that proves a name */
};
enum ip_preference { PREFER_V6, PREFER_V4, REQUIRE_V6, REQUIRE_V4 };
enum bare_newline { NEWLINE_REJECT, NEWLINE_NORMALIZE };
enum policy_behavior {
    BEHAVIOR_ACCEPT, /* for the recipients of the RAT */
    BEHAVIOR_RELAY,  /* for anybody */
    BEHAVIOR_REJECT,
    BEHAVIOR_TCPREFUSE,
    BEHAVIOR_CONTINUE, /* the next row that matches decides */
};
/* Where a value of a mail flow policy came from, nearest last. */
enum policy_origin {
    ORIGIN_BUILT_IN,
    ORIGIN_DEFAULT,  /* mail_flow_policies.default */
    ORIGIN_LISTENER, /* what the listener says for all of its policies */
    ORIGIN_POLICY,
    ORIGIN_ADDRESS, /* tls://, or no certificate */
    ORIGIN_SHORT,   /* relay_for */
};

/* What a sender group gets. */
#define POLICY_FIELDS_MAX 32
#define RECIPIENTS_UNLIMITED UINT32_MAX
struct mail_flow_policy {
    char *name;
    enum policy_behavior behavior;
    enum receive_tls tls;
    bool verify_client;
    bool accept_server_eku;
    char **client_authorities; /* files */
    size_t client_authority_count;
    bool client_system_authorities;
    char **client_revocation_lists; /* files */
    size_t client_revocation_list_count;
    char **tls_required_for; /* lower case: domains, ".domains", addresses */
    size_t tls_required_for_count;
    struct tls_profile_settings *tls_profile; /* NULL in the file's own: the
                                               * listener's */
    uint32_t max_messages_per_connection;
    uint32_t max_recipients_per_message;
    uint64_t max_message_size; /* bytes */
    uint32_t max_connections_per_ip;
    uint32_t max_recipients_per_hour; /* RECIPIENTS_UNLIMITED */
    uint32_t max_recipients_per_hour_code;
    char *max_recipients_per_hour_text;
    uint32_t max_invalid_recipients_per_hour; /* RECIPIENTS_UNLIMITED */
    uint32_t max_invalid_recipients_code;
    char *max_invalid_recipients_text;
    bool max_invalid_recipients_drop;   /* … and the connection ends */
    uint32_t max_handshakes_per_second; /* of one address; UINT32_MAX */
    uint32_t banner_code;
    char *banner_text;
    uint32_t reject_code;
    char *reject_text;
    char *hostname; /* "": that of the gateway */
    enum bare_newline bare_newline;
    enum message_tls delivery_tls; /* demanded where its mail goes on to */
    bool ignore_dane;              /* … and TLSA records do not decide */
    /* enum policy_origin of each value, in the order of the rows of the table;
     * only in listener_settings.policies. */
    uint8_t origins[POLICY_FIELDS_MAX];
};

struct hat_entry_settings {
    char *group;
    char **senders;
    size_t sender_count;
    char **dns_lists;
    size_t dns_list_count;
    struct mail_flow_policy *policy;
};

enum rat_action { RAT_REJECT, RAT_ACCEPT };
/* Options of a match: not counted per hour; refused in words of its own. */
enum { RAT_BYPASS_RATE = 1, RAT_OWN_REPLY = 2 };
struct rat_entry_settings {
    char *pattern;
    enum rat_action action;
    bool bypass_rate_limit;
    uint32_t reject_code;
    char *reject_text; /* "": the usual words */
};

struct certificate_settings {
    char *name;
    char *chain;     /* file */
    char *key;       /* file */
    char *ocsp;      /* file; "": none; "fetch": the authority is asked */
    char *ocsp_file; /* file of the response; "": none */
    bool ocsp_fetch;
    bool keep; /* a pair that cannot be used is the one before */
};

struct tls_profile_settings {
    char *name;
    struct tls_profile profile;
};

/* What `servers` and `sender` change in the profile "default". */
enum version_switch { VERSION_AS_PROFILE, VERSION_OFF, VERSION_ON };
enum strength_override {
    STRENGTH_AS_PROFILE,
    STRENGTH_HIGH,
    STRENGTH_MEDIUM,
    STRENGTH_LOW,
};
struct version_switches {
    enum version_switch ssl2, ssl3, tls10, tls11, tls12, tls13;
};
struct tls_override_settings {
    struct version_switches versions;
    enum strength_override strength;
    char *ciphers; /* "": as the profile */
};

struct server_settings {
    char *name; /* of a node, lower case; "default": nodes without an entry */
    struct tls_override_settings inbound;
};

/* An alias as it stands in the file; what it means is in the tree already. */
struct advanced_settings {
    char *name;
    char *value;
};

/* Time limits of a receiving session, in milliseconds (RFC 5321 section
 * 4.5.3.2.7 asks for 5 minutes between commands). */
struct receive_timeouts {
    uint64_t handshake;  /* STARTTLS and implicit TLS */
    uint64_t command;    /* between commands */
    uint64_t data_block; /* between pieces of DATA or BDAT */
    uint64_t write;      /* the peer takes no output */
    uint64_t session;    /* the whole connection */
    uint64_t proxy;      /* the PROXY header */
    uint64_t lookup;     /* the client's name and DNS lists */
};

struct listener_settings {
    char *name;
    enum listener_type type;
    struct net_address address;
    bool implicit_tls;                          /* "tls://…" */
    struct certificate_settings **certificates; /* [0] without SNI */
    size_t certificate_count;
    struct tls_profile_settings *tls_profile;
    enum receive_tls tls;
    uint32_t max_connections;
    uint32_t backlog;                  /* the TCP queue */
    struct net_prefix *proxy_protocol; /* who may send a PROXY header: then it
                                        * must; none: off */
    size_t proxy_protocol_count;
    struct net_prefix *relay_for; /* clients that may send to any domain */
    size_t relay_for_count;
    char **domains; /* canonical; ".example.org": subdomains; accepted here */
    size_t domain_count;
    enum bare_newline bare_newline;
    uint64_t max_message_size; /* bytes */
    uint32_t max_recipients_per_message;
    uint32_t max_messages_per_connection;
    uint32_t max_connections_per_ip;
    uint32_t max_bad_commands; /* then 421 */
    bool received_tls;         /* the TLS clause in Received */
    bool received_product;
    bool requiretls;                    /* offered once TLS is on (RFC 8689) */
    uint32_t max_handshakes_per_second; /* of all clients; UINT32_MAX */
    struct receive_timeouts timeouts;
    char *default_domain; /* "": recipients need a domain */
    char **domain_map;    /* "from=to", canonical, sorted */
    size_t domain_map_count;
    struct hat_entry_settings *hat; /* as in the file */
    size_t hat_count;
    struct rat_entry_settings *rat; /* as in the file */
    size_t rat_count;
    struct mail_flow_policy *default_policy; /* as in the file */

    /* Computed from the above (flow.c).  relay_for stands in the first row of
     * the table, whoever is left over in the last; domains stand in the other
     * table.  Every policy is complete: nothing of it is looked for elsewhere.
     */
    struct mail_flow_policy *policies; /* by hat_policy() */
    size_t policy_count;
    struct hat *hat_table;
    struct rat *rat_table;
};

struct route_hop {
    char *host; /* name or address literal without brackets */
    uint16_t port;
    uint32_t weight;   /* shares among the hops of the same priority */
    uint32_t priority; /* lower first; the next is tried when all fail */
    bool mx;           /* look up the MX of host instead of its addresses */
};

struct route_settings {
    char *domain;           /* canonical, ".example.org", or "default" */
    struct route_hop *hops; /* none: by MX */
    size_t hop_count;
};

struct bounce_profile_settings {
    char *name;
    uint64_t max_time_in_queue; /* ms */
    uint32_t max_retries;
    uint64_t first_retry;   /* ms */
    uint64_t max_retry;     /* ms */
    uint64_t delay_warning; /* ms after arrival; 0: off */
    uint64_t max_copy;      /* bytes: whole original in the DSN up to here */
};

/* Time limits of a delivery, in milliseconds (RFC 5321 section 4.5.3.2). */
struct deliver_timeouts {
    uint64_t connect;  /* TCP */
    uint64_t greeting; /* 220: 5 m */
    uint64_t ehlo;
    uint64_t handshake;  /* STARTTLS reply and TLS */
    uint64_t mail;       /* 5 m */
    uint64_t rcpt;       /* 5 m */
    uint64_t data_init;  /* 354: 2 m */
    uint64_t data_block; /* 3 m */
    uint64_t data_done;  /* 250 after the dot: 10 m */
    uint64_t quit;
    uint64_t session; /* the whole connection */
};

struct destination_settings {
    char *domain; /* canonical, ".example.org", or "default" */
    enum deliver_tls tls;
    enum deliver_dane dane;
    bool dane_insecure_mx; /* also for hosts of an unsigned MX record */
    bool mta_sts;
    struct tls_profile_settings *tls_profile;
    char *client_certificate_name; /* as in the file: "": the node's, "none" */
    char **authorities;            /* files */
    size_t authority_count;
    bool system_authorities;
    char **revocation_lists; /* files */
    size_t revocation_list_count;
    bool session_tickets;
    bool tls13;   /* off: not with this destination, whatever the profile */
    char *groups; /* "": those of the profile */
    bool retry_classic;
    uint32_t recipient_limit; /* within recipient_minutes; 0: unlimited */
    uint32_t recipient_minutes;
    bool alert; /* when TLS that is required fails */
    enum ip_preference ip_preference;
    uint32_t max_connections;
    uint32_t max_messages_per_connection;
    uint32_t max_recipients_per_message;
    enum tls_fallback fallback;
    struct bounce_profile_settings *bounce_profile;

    /* Computed from the above (check_destination.c). */
    struct certificate_settings *client_certificate; /* NULL: none */
    const char *tls_profile_origin; /* "destinations.partner.example",
                                     * "destinations.default", "default" */
};

struct spool_settings {
    uint64_t segment_size;   /* bytes */
    uint64_t inline_limit;   /* larger bodies go to files of their own */
    uint64_t memory_limit;   /* bodies being received, all sessions together */
    uint32_t spare_segments; /* prepared ahead */
    uint64_t min_free;       /* bytes left on the disk: below, 452 */
    uint64_t max_messages;   /* in the queue: above, 452; 0: no limit */
    uint64_t max_bytes;      /* … of content */
};

struct dns_settings {
    char *
        *resolvers; /* "192.0.2.53" or "127.0.0.1@5353"; none: from the root */
    size_t resolver_count;
    char **trust_anchors; /* files, or DS/DNSKEY records */
    size_t trust_anchor_count;
    char **stub_zones; /* "example.org=127.0.0.1@5353" */
    size_t stub_zone_count;
    uint64_t timeout;       /* ms for one look-up, all retries included */
    bool allow_loopback_mx; /* deliver to MX hosts on loopback (tests) */
    char *test_signed;      /* a name whose signature holds; "": no test */
    char *test_bogus;       /* … and one whose does not; "": no test */
};

/* MTA-STS of the domains that mail goes to (RFC 8461). */
struct sts_settings {
    uint32_t dns_failure_defers; /* attempts that wait for a TXT record which
                                  * cannot be looked up */
    uint64_t refresh;            /* ms between fetches of a policy in use */
    uint64_t fetch_timeout;      /* ms */
    uint64_t failure_pause;      /* ms without a fetch after a failed one */
    uint32_t max_policies;       /* in the cache */
    char **authorities;          /* files, beside the system's */
    size_t authority_count;
    bool allow_private_addresses; /* of policy hosts */
};

/* A key that signs mail of our own (RFC 6376). */
struct dkim_key_settings {
    char *name;
    char *domain;   /* canonical */
    char *selector; /* "" : the name */
    char *key;      /* file: PEM, RSA or Ed25519 */
};

/* TLS reports to other domains (RFC 8460), and what the administrator is told
 * by mail. */
struct tls_report_settings {
    bool enabled;
    char *organization; /* "": the host name's domain */
    char *contact;      /* address; "": postmaster at that domain */
    char *from;         /* address of reports by mail; "": tlsrpt-noreply there
                         */
    char **dkim_names;  /* in `dkim`; as in the file */
    size_t dkim_name_count;
    uint64_t spread;    /* ms after midnight UTC within which they go */
    uint64_t retry;     /* ms: the longest that sending is tried */
    uint64_t keep;      /* ms: of counts and sent reports */
    char **authorities; /* files, beside the system's, for HTTPS */
    size_t authority_count;
    bool allow_private_addresses; /* of HTTPS endpoints */
    char **failure_recipients;    /* addresses: told at once of a policy that
                                   * failed */
    size_t failure_recipient_count;
    uint64_t failure_interval; /* ms between two such mails of a domain */

    struct dkim_key_settings **dkim; /* computed from dkim_names */
};

struct settings {
    uint64_t revision; /* counts up with each load in this process tree */
    char *source;      /* file it came from; "": the embedded default */
    char *node;
    char *hostname;
    char *state_dir;
    char *user;     /* run as; "": stay who we are */
    uint32_t loops; /* event loops per process; 0 in the file: one a core */
    struct {
        char *path; /* "-": stdout */
        enum log_level level;
        enum log_format format;
        char *asyncos; /* file for lines in the shape of AsyncOS; "": none */
    } log;
    uint64_t drain_timeout; /* ms that SIGTERM waits for sessions */
    uint64_t watchdog;      /* ms that a loop may stand still; 0: for ever */
    struct certificate_settings *certificates;
    size_t certificate_count;
    uint64_t certificate_check; /* ms between looks at the files; 0: off */
    struct tls_profile_settings *tls_profiles;
    size_t tls_profile_count;
    struct mail_flow_policy *mail_flow_policies; /* as in the file; [0] is
                                                  * "default" */
    size_t mail_flow_policy_count;
    struct listener_settings *listeners;
    size_t listener_count;
    struct route_settings *routes; /* as in the file */
    size_t route_count;
    struct destination_settings *destinations; /* [0] is "default" */
    size_t destination_count;
    struct bounce_profile_settings *bounce_profiles;
    size_t bounce_profile_count;
    struct deliver_timeouts deliver_timeouts;
    struct sts_settings sts;
    struct dkim_key_settings *dkim;
    size_t dkim_count;
    struct tls_report_settings tls_reports;
    struct server_settings *servers; /* [0] is "default" */
    size_t server_count;
    struct tls_override_settings sender;
    struct advanced_settings *advanced;
    size_t advanced_count;
    /* The profile "default" as it is for receiving and for sending on this
     * node: listeners and destinations that use it point here. */
    struct tls_profile_settings *inbound_profile, *outbound_profile;
    struct spool_settings spool;
    struct dns_settings dns;
    /* private: arena, reference count, look-up maps */
    struct settings_private *private;
};

/* Reads and checks text (YAML). path is used in messages and may be "" for
 * the embedded default.  On failure *err holds one message, file:line:column
 * and the path in the tree, and NULL is returned.  Files named in it
 * (certificates) are looked at too, unless check_files is false. */
struct settings_options {
    bool check_files;
    bool keep_pairs; /* the files changed, not the text: a certificate that
                      * cannot be used hinders no other */
    bool in_force;   /* the text was checked before: files that only reports and
                      * policies of others need (`dkim`, authorities of
                      * `mta_sts` and `tls_reports`) are not looked at, so that
                      * one that went bad since hinders neither a restart nor
                      * new certificates; who uses them tells of it */
    uint64_t revision;
};
MUST_USE struct settings *settings_load(struct sv text, const char *path,
                                        const struct settings_options *options,
                                        struct err *err);
/* Reads the file first. */
MUST_USE struct settings *
settings_load_file(const char *path, const struct settings_options *options,
                   struct err *err);

struct settings *settings_ref(struct settings *settings); /* thread-safe */
void settings_unref(struct settings *settings);           /* NULL is fine */

/* The route or destination of a canonical domain: exact, then the longest
 * ".suffix", then default (never NULL for destinations; NULL for routes that
 * go by MX). */
const struct route_settings *settings_route(const struct settings *settings,
                                            struct sv domain);
const struct destination_settings *
settings_destination(const struct settings *settings, struct sv domain);
/* The destination's TLS profile with its own switches applied; the texts are
 * borrowed. */
void settings_destination_profile(const struct destination_settings *control,
                                  struct tls_profile *profile);
/* For lib/tls; the texts are borrowed. */
struct tls_certificate_files
settings_certificate_files(const struct certificate_settings *pair);
/* One value of a destination as it stands in the file, by the name of its row,
 * and where it came from: "destinations.partner.example, line 12",
 * "destinations.default, line 8" or "built in".  Appended. */
struct buf;
void settings_destination_print(const struct settings *settings,
                                const struct destination_settings *control,
                                const char *name, struct buf *value,
                                struct buf *origin);
/* What the listener's domain map makes of this canonical domain: exact, then
 * the longest ".suffix", else the domain itself. */
struct sv settings_map_domain(const struct listener_settings *listener,
                              struct sv domain);
/* The policy asks this sender for TLS.  address is local@domain as written. */
bool settings_needs_tls(const struct mail_flow_policy *policy,
                        struct sv address);

/* Every value of a listener's policy, a line each: "name: value  # origin". */
void settings_policy_print(const struct settings *settings,
                           const struct mail_flow_policy *policy,
                           struct buf *out);
/* Where its TLS profile came from: "policy", "listener", "policy-default",
 * "default". */
const char *settings_profile_origin(const struct mail_flow_policy *policy);
const char *settings_behavior_name(enum policy_behavior behavior);
const char *settings_receive_tls_name(enum receive_tls tls);

/* The configuration that `waxgate` uses when no file is given, as YAML. */
extern const char settings_default_yaml[];

/* `waxgate config show`: the tree as YAML; effective adds every default with
 * a comment that names its origin.  `waxgate config manual`: Markdown. */
void settings_print(const struct settings *settings, bool effective,
                    struct buf *out);
void settings_manual(struct buf *out);
/* Where a field of a struct inside settings stands: its line, 0 for nowhere;
 * see conf_line(). */
struct conf_table;
unsigned settings_line(const struct settings *settings,
                       const struct conf_table *table, const void *object,
                       const char *name, const char **path);
#endif
