/* record/world.h - what one revision of the settings gives to the record: its
 * resolver, its HTTPS client, the keys that sign. */
#ifndef RECORD_WORLD_H
#define RECORD_WORLD_H
#include "base/buf.h"
#include "dns/dns.h"
#include "https/https.h"
#include "settings/settings.h"

struct record_world {
    struct settings *settings; /* referenced */
    struct dns_resolver *resolver;
    struct https_client *https;
    struct dkim_key **keys; /* owned; as tls_reports.dkim; NULL: unusable */
    size_t key_count;
    char trouble[512]; /* files that cannot be used; "": none */
};

/* A key or a file of authorities that cannot be used is left out and told of in
 * `trouble`: mail does not wait for reports. */
MUST_USE struct record_world *
world_new(struct loop *loop, struct settings *settings, struct err *err);
void world_free(struct record_world *world); /* NULL is fine */

/* The domain that reports: of tls_reports.from. */
const char *world_submitter(const struct record_world *world);
/* Appends the message with a signature of each key in front.  False where there
 * are keys, but none can be used: unsigned it would be ignored. */
MUST_USE bool world_sign(const struct record_world *world, struct sv message,
                         int64_t wall_s, struct buf *out, struct err *err);
#endif
