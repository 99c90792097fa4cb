/* evidence/test_sts_world.h - a cache of policies with a clock, DNS and policy
 * hosts of our own.  The fakes stand in for dns/, https/, the settings and the
 * calls of the command line; the file is a real one. */
#ifndef EVIDENCE_TEST_STS_WORLD_H
#define EVIDENCE_TEST_STS_WORLD_H
#include "evidence/sts_internal.h"

#include "base/clock.h"
#include "unit.h"

enum { T0 = 1800000000, MINUTE = 60, HOUR = 3600, DAY = 86400 };
#define WEEK_POLICY                                                            \
    "version: STSv1\nmode: enforce\nmx: mx.a.test\nmax_age: 604800\n"

struct world {
    char state_dir[64];
    struct settings settings;
    struct loop *loop, *other; /* the main one; one of deliveries */
    struct sts_cache *cache;

    /* what the DNS says of every domain */
    enum dns_state dns;
    const char *txt;
    uint32_t ttl;
    /* what every policy host says */
    enum https_stage stage;
    long status;
    const char *policy;
    bool untyped, hold; /* … when it is let */

    size_t lookups, fetches, open, most_open;
    struct list held; /* struct https_call */
    char alert[600];
    bool raised;
    size_t alerts;
};
extern struct world world;

struct rpc_call {
    const char *method;
    json_t *params, *result;
    size_t items;
    char error[300];
};

struct seen {
    size_t calls;
    enum sts_state state;
    enum sts_mode mode;
    char id[STS_ID_MAX + 1];
    char mx[64];
    char reason[200];
    bool cached;
};

int world_open(void **state);
int world_close(void **state);
void world_open_cache(void);
void world_restart(void);
void world_settle(void); /* what is due now */
void world_pass(int64_t seconds);
void world_release(void); /* answers of policy hosts that were held */

/* A look-up that is answered at once. */
struct seen look(const char *domain, bool fresh);
void on_evidence(void *arg, const struct sts_evidence *evidence);
/* A call of the command line; domain may be NULL. */
struct rpc_call request(const char *method, const char *domain);
const char *text(const struct rpc_call *call, const char *key);
#endif
