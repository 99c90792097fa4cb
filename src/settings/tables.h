/* settings/tables.h - the field tables, one for each struct of settings.h.
 * Private to src/settings.  A new part of the configuration is a new table and
 * a row in settings_table (tables.c). */
#ifndef SETTINGS_TABLES_H
#define SETTINGS_TABLES_H
#include "conf/conf.h"
#include "settings/settings.h"

extern const struct conf_table settings_table;

/* tables_node.c */
extern const struct conf_table log_table;
extern const struct conf_table dns_table;
extern const struct conf_table spool_table;

/* tables_tls.c */
extern const struct conf_table certificate_table;
extern const struct conf_table tls_profile_table;

/* tables_policy.c */
extern const struct conf_table mail_flow_policy_table;
extern const struct conf_table hat_entry_table;
extern const struct conf_table rat_entry_table;
extern const struct conf_name settings_tls_levels[];
extern const struct conf_name settings_newlines[];

/* tables_listener.c */
extern const struct conf_table listener_table;

/* tables_deliver.c */
extern const struct conf_table route_table;
extern const struct conf_table destination_table;
extern const struct conf_table bounce_profile_table;
extern const struct conf_table delivery_table;

/* tables_evidence.c */
extern const struct conf_table sts_table;
extern const struct conf_table dkim_table;
extern const struct conf_table tls_report_table;

/* tables_override.c */
extern const struct conf_table server_table;
extern const struct conf_table sender_table;
extern const struct conf_table advanced_table;

/* names.c: canonical forms of names in the file. */
conf_canonical names_host;     /* hostname of this machine: a domain name */
conf_canonical names_domain;   /* "example.org", ".example.org" */
conf_canonical names_entry;    /* the same or "default" */
conf_canonical names_hop;      /* name or address, without brackets */
conf_canonical names_probe;    /* a domain name, "." or nothing */
conf_canonical names_resolver; /* "192.0.2.53", "127.0.0.1@5353" */
conf_canonical names_anchor;   /* a file or a DNS record */
conf_canonical names_stub;     /* "zone=address[@port]" */
/* names_access.c: of the host and recipient tables. */
conf_canonical names_group;     /* of senders */
conf_canonical names_client;    /* a sender of the host access table */
conf_canonical names_zone;      /* a DNS list */
conf_canonical names_recipient; /* a row of the recipient access table */
conf_canonical names_sender;    /* domain, .domain or address, lower case */
conf_canonical names_mapping;   /* "domain=domain" */
conf_canonical names_reply;     /* text of an SMTP reply */
conf_canonical names_file;
/* "accept", "reject" into a struct rat_entry_settings. */
bool names_rat_from_text(const struct conf_scope *scope, struct sv text,
                         void *object, struct err *err);

/* "host", "host:port", "[2001:db8::1]:25" into a struct route_hop. */
bool names_hop_from_text(const struct conf_scope *scope, struct sv text,
                         void *object, struct err *err);

/* advanced.c: the name of a node, lower case. */
conf_canonical advanced_node;
/* Any text: advanced_resolve() has looked at it before. */
conf_canonical advanced_name;
conf_alias_resolve advanced_resolve;

/* override.c: makes the profiles of this node, and points listeners and
 * destinations to them.  After settings_check(), which finds out the node. */
MUST_USE bool settings_override(struct settings *settings, struct conf_doc *doc,
                                struct arena *arena, bool check_files,
                                struct err *err);

/* check.c: what no single row can see.  Fills in defaults that are computed
 * (their strings in arena); false with err set as conf_refuse() does. */
MUST_USE bool settings_check(struct settings *settings,
                             const struct conf_doc *doc, struct arena *arena,
                             const struct settings_options *options,
                             struct err *err);
/* flow.c: completes the policies of a listener and makes its two tables, which
 * settings_flow_free() frees. */
MUST_USE bool settings_flow_make(const struct settings *settings,
                                 struct listener_settings *listener,
                                 const struct conf_doc *doc,
                                 struct arena *arena, struct err *err);
void settings_flow_free(struct listener_settings *listener);
/* check_flow.c: what contradicts what there. */
MUST_USE bool settings_check_flow(const struct listener_settings *listener,
                                  const struct conf_doc *doc, struct err *err);
/* check_destination.c: completes the destinations. */
MUST_USE bool settings_check_destinations(struct settings *settings,
                                          const struct conf_doc *doc,
                                          struct arena *arena, bool with_files,
                                          struct err *err);
/* check_evidence.c: the keys that sign reports, and who sends them. */
MUST_USE bool settings_check_evidence(struct settings *settings,
                                      const struct conf_doc *doc,
                                      struct arena *arena, bool check_files,
                                      struct err *err);
/* check_tls.c: versions, ciphers and groups against the TLS library. */
MUST_USE bool settings_check_profiles(const struct settings *settings,
                                      const struct conf_doc *doc,
                                      struct err *err);
/* One profile that other rows of the file describe. */
struct profile_rows {
    const struct conf_table *table;
    const void *object;
    const char *versions, *ciphers, *suites, *groups; /* rows, NULL: none */
};
MUST_USE bool settings_check_profile(const struct tls_profile *profile,
                                     const struct profile_rows *rows,
                                     const struct conf_doc *doc,
                                     struct err *err);

/* For the row macros: the offset of a member of STRUCT, whose type the
 * compiler checks; an enum is an unsigned int here. */
#define AT(member, type) CONF_OFFSET(STRUCT, member, type)
#define BOOL(member)                                                           \
    .name = #member, .type = CONF_BOOL, .offset = AT(member, bool)
#define U16(member)                                                            \
    .name = #member, .type = CONF_U16, .offset = AT(member, uint16_t)
#define U32(member)                                                            \
    .name = #member, .type = CONF_U32, .offset = AT(member, uint32_t)
#define U64(member)                                                            \
    .name = #member, .type = CONF_U64, .offset = AT(member, uint64_t)
#define SIZE(member)                                                           \
    .name = #member, .type = CONF_SIZE, .offset = AT(member, uint64_t)
#define DURATION(member)                                                       \
    .name = #member, .type = CONF_DURATION, .offset = AT(member, uint64_t)
#define STRING(member)                                                         \
    .name = #member, .type = CONF_STRING, .offset = AT(member, char *)
#define PATH(member)                                                           \
    .name = #member, .type = CONF_PATH, .offset = AT(member, char *)
#define ENUM(member, list)                                                     \
    .name = #member, .type = CONF_ENUM, .offset = AT(member, unsigned),        \
    .names = (list)
#define STRINGS(member, counter)                                               \
    .name = #member, .type = CONF_STRINGS, .offset = AT(member, char **),      \
    .count_offset = AT(counter, size_t)
#define PREFIXES(member, counter)                                              \
    .name = #member, .type = CONF_PREFIXES,                                    \
    .offset = AT(member, struct net_prefix *),                                 \
    .count_offset = AT(counter, size_t)
#define ENTRIES(member, counter, entry)                                        \
    .name = #member, .type = CONF_STRUCT_MAP,                                  \
    .offset = AT(member, struct entry *), .count_offset = AT(counter, size_t)
#endif
