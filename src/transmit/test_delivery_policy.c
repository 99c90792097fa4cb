/* Sessions under MTA-STS, DANE and the demands of messages, to servers on
 * loopback with real TLS.  What the DNS and the policy hosts say is given here:
 * the look-ups of src/evidence are played by this file. */
#include "base/buf.h"
#include "evidence/dane_count.h"
#include "tls/test_pki.h"
#include "transmit/delivery_internal.h"
#include "transmit/test_server.h"
#include "transmit/test_transmit.h"
#include "unit.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- Evidence --------------------------------------------------------------
 */

static struct sts_policy *enforce_a, *enforce_b, *enforce_all, *testing_all,
    *testing_b;

struct answer {
    enum sts_state state;
    struct sts_policy **policy;
    const char *id;
};

static const struct scene *scene; /* of the row that runs */
static struct answer cached;      /* by now; without an id: nothing */
static bool stop_at_lookup;
static unsigned sts_asked, sts_asked_fresh, dane_asked;
static uint8_t good_digest[32];
static const uint8_t wrong_digest[32];

struct sts_query {
    struct timer timer;
    bool fresh;
    void (*on_evidence)(void *arg, const struct sts_evidence *evidence);
    void *arg;
};

static void on_sts_timer(struct timer *timer);

struct sts_query *
sts_lookup(struct sts_cache *cache, struct loop *loop, const char *domain,
           bool fresh,
           void (*on_evidence)(void *arg, const struct sts_evidence *evidence),
           void *arg)
{
    struct sts_query *query = mem_alloc(sizeof *query);

    (void)cache;
    assert_string_equal(domain, "y.test");
    if (fresh)
        sts_asked_fresh++;
    else
        sts_asked++;
    query->fresh = fresh;
    query->on_evidence = on_evidence;
    query->arg = arg;
    timer_init(&query->timer, loop, on_sts_timer);
    if (stop_at_lookup)
        loop_stop(loop);
    else
        timer_arm(&query->timer, 0);
    return query;
}

void
sts_cancel(struct sts_query *query)
{
    timer_fini(&query->timer);
    mem_free(query);
}

bool
sts_peek(struct sts_cache *cache, const char *domain,
         struct sts_evidence *evidence)
{
    (void)cache;
    assert_string_equal(domain, "y.test");
    *evidence = (struct sts_evidence){.state = cached.state};
    if (cached.id == NULL)
        return false;
    if (cached.policy != NULL)
        evidence->policy = sts_policy_ref(*cached.policy);
    snprintf(evidence->id, sizeof evidence->id, "%s", cached.id);
    return true;
}

const char *
sts_state_name(enum sts_state state)
{
    static const char *const names[] = {"absent", "policy", "unknown",
                                        "unfetched", "off"};

    return names[state];
}

struct dane_query {
    struct timer timer;
    struct dane_evidence *evidence;
    void (*on_evidence)(void *arg, struct dane_evidence *evidence);
    void *arg;
};

static void
on_dane_timer(struct timer *timer)
{
    struct dane_query *query = CONTAINER_OF(timer, struct dane_query, timer);
    struct dane_query kept = *query;

    dane_cancel(query);
    kept.on_evidence(kept.arg, kept.evidence);
}

enum tlsa { TLSA_NONE, TLSA_MATCHES, TLSA_DIFFERS, TLSA_FAILED, TLSA_UNUSABLE };

static struct dane_evidence dane_evidence[5];
static struct tls_tlsa tlsa_good = {3, 1, 1, 32, good_digest},
                       tlsa_wrong = {3, 1, 1, 32, wrong_digest},
                       tlsa_old = {1, 1, 1, 32, good_digest};

static void
make_dane(void)
{
    dane_evidence[TLSA_NONE].state = DANE_ABSENT;
    dane_evidence[TLSA_MATCHES].state = DANE_USABLE;
    dane_evidence[TLSA_MATCHES].tlsa = &tlsa_good;
    dane_evidence[TLSA_DIFFERS].state = DANE_USABLE;
    dane_evidence[TLSA_DIFFERS].tlsa = &tlsa_wrong;
    dane_evidence[TLSA_FAILED].state = DANE_FAILED;
    dane_evidence[TLSA_UNUSABLE].state = DANE_UNUSABLE;
    dane_evidence[TLSA_UNUSABLE].tlsa = &tlsa_old;
    for (size_t i = 0; i < COUNT_OF(dane_evidence); i++) {
        struct dane_evidence *evidence = &dane_evidence[i];

        evidence->tlsa_count = evidence->tlsa != NULL;
        snprintf(evidence->base, sizeof evidence->base, "a.test");
        snprintf(evidence->reason, sizeof evidence->reason, "said so");
    }
}

struct dane_evidence *
dane_evidence_ref(struct dane_evidence *evidence)
{
    return evidence;
}

void
dane_evidence_unref(struct dane_evidence *evidence)
{
    (void)evidence;
}

const char *
dane_state_name(enum dane_state state)
{
    static const char *const names[] = {"off",      "insecure", "absent",
                                        "unusable", "usable",   "failed"};

    return names[state];
}

void
dane_count_match(const struct tls_dane_facts *facts)
{
    (void)facts;
}

/* --- Rows ------------------------------------------------------------------
 */

#define ALL "PIPELINING\nCHUNKING\n8BITMIME"
#define TLS .ehlo = ALL, .starttls = "220 go"
#define DONE(outcome, stage, host, tls, verify)                                \
    "done " outcome " | " stage " | " host " | tls=" tls " verify=" verify "\n"
#define SENT(host, tls, verify)                                                \
    DONE("delivered 250 2.0.0", "none", host, tls, verify) "ended worked\n"
#define RELAYED(host, tls, verify)                                             \
    DONE("relayed 250 2.0.0", "none", host, tls, verify) "ended worked\n"

struct scene {
    const char *name;
    struct behaviour a, b;
    const char *control;
    unsigned demands;
    uint32_t failures;
    struct answer sts, fresh;
    enum tlsa tlsa_a;
    unsigned connections_a, connections_b, requiretls_b;
    const char *events;
    const char *sessions; /* what is written for the reports */
} scenes[] = {
    {"enforced, all in order",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &enforce_a, "1"},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 ok a.test [version: STSv1 mode: enforce mx: a.test "
                 "max_age: 86400]\n"},
    {"enforced, a certificate of another name",
     {TLS, .certificate = "other"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &enforce_a, "1"},
     .connections_a = 1,
     .events = "failed 451 4.7.5 sts-certificate a.test\nended idle\n",
     .sessions = "sts/1 certificate-host-mismatch enforced a.test [version: "
                 "STSv1 mode: enforce mx: a.test max_age: 86400]\n"
                 "sts/1 validation-failure enforced b.test []\n"},
    {"enforced, a self-signed certificate, then the next server",
     {TLS, .certificate = "self"},
     {TLS, .certificate = "good-b"},
     "{}",
     .sts = {STS_POLICY, &enforce_all, "1"},
     .connections_a = 1,
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 certificate-not-trusted enforced a.test [version: "
                 "STSv1 mode: enforce mx: *.test max_age: 86400]\n"
                 "sts/1 ok b.test []\n"},
    {"enforced, no STARTTLS",
     {.ehlo = ALL},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &enforce_a, "1"},
     .connections_a = 1,
     .events = "failed 451 4.7.4 starttls-not-offered a.test\nended idle\n",
     .sessions = "sts/1 starttls-not-supported enforced a.test [version: STSv1 "
                 "mode: enforce mx: a.test max_age: 86400]\n"
                 "sts/1 validation-failure enforced b.test []\n"},
    {"enforced, the first server is not on the list",
     {TLS, .certificate = "good"},
     {TLS, .certificate = "good-b"},
     "{}",
     .sts = {STS_POLICY, &enforce_b, "1"},
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 validation-failure enforced a.test [version: STSv1 "
                 "mode: enforce mx: b.test max_age: 86400]\n"
                 "sts/1 ok b.test []\n"},
    {"not on the list, but on that of today",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &enforce_b, "1"},
     .fresh = {STS_POLICY, &enforce_a, "2"},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "sts/2 ok a.test [version: STSv1 mode: enforce mx: a.test "
                 "max_age: 86400]\n"},
    {"failed, and the policy is gone meanwhile",
     {TLS, .certificate = "other"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &enforce_a, "1"},
     .fresh = {STS_ABSENT, NULL, ""},
     .connections_a = 2,
     .events = RELAYED("a.test", "TLSv1.3", "failed"),
     .sessions = "none ok a.test []\n"},
    {"tested, a certificate of another name: it goes",
     {TLS, .certificate = "other"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &testing_all, "1"},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "failed"),
     .sessions = "sts/1 certificate-host-mismatch a.test [version: STSv1 mode: "
                 "testing mx: *.test max_age: 86400]\n"},
    {"tested, not on the list: it goes",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &testing_b, "1"},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 validation-failure a.test [version: STSv1 mode: "
                 "testing mx: b.test max_age: 86400]\n"},
    {"tested, no STARTTLS: it goes in clear",
     {.ehlo = ALL},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &testing_all, "1"},
     .connections_a = 1,
     .events = RELAYED("a.test", "", "none"),
     .sessions = "sts/1 starttls-not-supported a.test [version: STSv1 mode: "
                 "testing mx: *.test max_age: 86400]\n"},
    {"tested, all in order",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_POLICY, &testing_all, "1"},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 ok a.test [version: STSv1 mode: testing mx: *.test "
                 "max_age: 86400]\n"},
    {"the record is hidden: no server is asked",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_UNKNOWN, NULL, ""},
     .events = "failed 451 4.4.3 dns a.test\nended idle\n",
     .sessions = ""},
    {"the record is hidden, after failures of another kind",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .failures = 3,
     .sts = {STS_UNKNOWN, NULL, ""},
     .events = "failed 451 4.4.3 dns a.test\nended idle\n",
     .sessions = ""},
    {"announced and not to be had: it goes, and is told",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_UNFETCHED, NULL, ""},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "sts sts-policy-fetch-error a.test []\n"},
    {"no policy and no STARTTLS",
     {.ehlo = ALL},
     {.down = true},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .connections_a = 1,
     .events = RELAYED("a.test", "", "none"),
     .sessions = "none starttls-not-supported a.test []\n"},
    {"DANE matches, whatever the name and the authority",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_MATCHES,
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = "tlsa ok a.test [3 1 1 …]\n"},
    {"DANE does not match: the next server",
     {TLS, .certificate = "good"},
     {TLS, .certificate = "good-b"},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_DIFFERS,
     .connections_a = 1,
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "tlsa validation-failure enforced a.test [3 1 1 …]\n"
                 "none ok b.test []\n"},
    {"DANE does not match, and nobody else is there",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_DIFFERS,
     .connections_a = 1,
     .events = "failed 451 4.7.5 dane a.test\nended idle\n",
     .sessions = "tlsa validation-failure enforced a.test [3 1 1 …]\n"},
    {"TLSA records cannot be looked up: not this server",
     {TLS, .certificate = "good"},
     {TLS, .certificate = "good-b"},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_FAILED,
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "tlsa dnssec-invalid enforced a.test []\n"
                 "none ok b.test []\n"},
    {"TLSA records of which none is usable: TLS without a check",
     {TLS, .certificate = "other"},
     {.down = true},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_UNUSABLE,
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "failed"),
     .sessions = "tlsa ok a.test [1 1 1 …]\n"},
    {"TLSA records of which none is usable: no clear text",
     {.ehlo = ALL},
     {.down = true},
     "{}",
     .sts = {STS_ABSENT, NULL, ""},
     .tlsa_a = TLSA_UNUSABLE,
     .connections_a = 1,
     .events = "failed 451 4.7.4 starttls-not-offered a.test\nended idle\n",
     .sessions = "tlsa starttls-not-supported enforced a.test [1 1 1 …]\n"},
    {"the message does not mind: nothing is asked, nothing told",
     {.ehlo = ALL},
     {.down = true},
     "{}",
     .demands = ENVELOPE_TLS_OPTIONAL,
     .sts = {STS_POLICY, &enforce_b, "1"},
     .tlsa_a = TLSA_FAILED,
     .connections_a = 1,
     .events = RELAYED("a.test", "", "none"),
     .sessions = ""},
    {"a report of our own is not reported",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .demands = ENVELOPE_TLS_REPORT,
     .sts = {STS_ABSENT, NULL, ""},
     .connections_a = 1,
     .events = RELAYED("a.test", "TLSv1.3", "ok"),
     .sessions = ""},
    {"a rule demands TLS",
     {.ehlo = ALL},
     {TLS, .certificate = "other"},
     "{tls: no}",
     .demands = ENVELOPE_TLS_REQUIRED,
     .sts = {STS_ABSENT, NULL, ""},
     .connections_a = 1,
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "failed"),
     .sessions = "none starttls-not-supported enforced a.test []\n"
                 "none ok b.test []\n"},
    {"a rule demands a verified server",
     {TLS, .certificate = "self"},
     {TLS, .certificate = "good-b"},
     "{}",
     .demands = ENVELOPE_TLS_VERIFIED,
     .sts = {STS_ABSENT, NULL, ""},
     .connections_a = 1,
     .connections_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "none certificate-not-trusted enforced a.test []\n"
                 "none ok b.test []\n"},
    {"REQUIRETLS: the second server has it",
     {TLS, .certificate = "good"},
     {.ehlo = ALL "\nREQUIRETLS",
      .starttls = "220 go",
      .certificate = "good-b"},
     "{}",
     .demands = ENVELOPE_REQUIRETLS,
     .sts = {STS_POLICY, &enforce_all, "1"},
     .connections_a = 1,
     .connections_b = 1,
     .requiretls_b = 1,
     .events = RELAYED("b.test", "TLSv1.3", "ok"),
     .sessions = "sts/1 ok a.test [version: STSv1 mode: enforce mx: *.test "
                 "max_age: 86400]\nsts/1 ok b.test []\n"},
    {"REQUIRETLS: none has it",
     {TLS, .certificate = "good"},
     {TLS, .certificate = "good-b"},
     "{}",
     .demands = ENVELOPE_REQUIRETLS,
     .sts = {STS_POLICY, &enforce_all, "1"},
     .connections_a = 1,
     .connections_b = 1,
     .events =
         DONE("failed 0 5.7.30", "none", "b.test", "", "") "ended worked\n",
     .sessions = "sts/1 ok a.test [version: STSv1 mode: enforce mx: *.test "
                 "max_age: 86400]\nsts/1 ok b.test []\n"},
    {"REQUIRETLS: one lacks it, one is down: the mail waits",
     {TLS, .certificate = "good"},
     {.down = true},
     "{}",
     .demands = ENVELOPE_REQUIRETLS,
     .sts = {STS_POLICY, &enforce_all, "1"},
     .connections_a = 1,
     .events = DONE("undecided", "connect", "b.test", "", "") "ended worked\n",
     .sessions = "sts/1 ok a.test [version: STSv1 mode: enforce mx: *.test "
                 "max_age: 86400]\n"},
    {"REQUIRETLS and nothing that proves the servers",
     {TLS, .certificate = "good"},
     {TLS, .certificate = "good-b"},
     "{}",
     .demands = ENVELOPE_REQUIRETLS,
     .sts = {STS_ABSENT, NULL, ""},
     .events = "failed 451 4.7.5 sts-mx a.test\nended idle\n",
     .sessions = "none validation-failure enforced a.test []\n"
                 "none validation-failure enforced b.test []\n"},
    {"older than TLS 1.2 under a policy",
     {TLS, .certificate = "good", .old_tls = true},
     {.down = true},
     "{tls_profile: old}",
     .sts = {STS_POLICY, &enforce_a, "1"},
     .connections_a = 1,
     .events = "failed 451 4.7.5 version a.test\nended idle\n",
     .sessions = "sts/1 validation-failure enforced a.test [version: STSv1 "
                 "mode: enforce mx: a.test max_age: 86400]\n"
                 "sts/1 validation-failure enforced b.test []\n"},
};

static void
on_sts_timer(struct timer *timer)
{
    struct sts_query *query = CONTAINER_OF(timer, struct sts_query, timer);
    struct sts_query kept = *query;
    const struct answer *answer =
        query->fresh && scene->fresh.id != NULL ? &scene->fresh : &scene->sts;
    struct sts_evidence evidence = {
        .state = answer->state,
        .policy = answer->policy != NULL ? *answer->policy : NULL};

    snprintf(evidence.id, sizeof evidence.id, "%s", answer->id);
    if (answer->state == STS_UNFETCHED)
        snprintf(evidence.reason, sizeof evidence.reason, "404");
    sts_cancel(query);
    kept.on_evidence(kept.arg, &evidence);
}

struct dane_query *
dane_lookup(struct dns_resolver *resolver, struct loop *loop, const char *host,
            uint16_t port, enum dns_state mx_state,
            void (*on_evidence)(void *arg, struct dane_evidence *evidence),
            void *arg)
{
    struct dane_query *query = mem_alloc(sizeof *query);
    enum tlsa tlsa = strcmp(host, "a.test") == 0 ? scene->tlsa_a : TLSA_NONE;

    (void)resolver;
    (void)port;
    (void)mx_state;
    dane_asked++;
    query->evidence = &dane_evidence[tlsa];
    query->on_evidence = on_evidence;
    query->arg = arg;
    timer_init(&query->timer, loop, on_dane_timer);
    timer_arm(&query->timer, 0);
    return query;
}

void
dane_cancel(struct dane_query *query)
{
    timer_fini(&query->timer);
    mem_free(query);
}

/* --- The stage -------------------------------------------------------------
 */

struct stage {
    struct loop *loop;
    struct server a, b;
    struct settings *settings;
    struct queue queue;
    struct delivery *delivery;
    struct destination destination;
    struct buf sessions;
    size_t wanted;
    unsigned numbers;
};

static struct stage *stage; /* that runs */

struct route_query {
    struct timer timer;
    void (*on_route)(void *arg, struct route *route);
    void *arg;
};

static void
set_target(struct route_target *target, const char *host, const char *ip,
           uint16_t port)
{
    snprintf(target->host, sizeof target->host, "%s", host);
    target->by_mx = true;
    target->mx_state = target->address_state = DNS_INSECURE;
    assert_true(net_address_parse(sv_of(ip), port, &target->address));
}

static void
on_route_timer(struct timer *timer)
{
    struct route_query *query = CONTAINER_OF(timer, struct route_query, timer);
    struct route_query kept = *query;
    struct route *route = mem_alloc(sizeof *route);

    route->result = ROUTE_OK;
    route->target_count = 2;
    route->targets = mem_alloc_array(2, sizeof *route->targets);
    set_target(&route->targets[0], "a.test", "127.0.0.2", stage->a.port);
    set_target(&route->targets[1], "b.test", "127.0.0.3", stage->b.port);
    route_cancel(query);
    kept.on_route(kept.arg, route);
}

struct route_query *
route_find(struct dns_resolver *resolver, struct loop *loop,
           struct settings *settings, const struct destination *destination,
           void (*on_route)(void *arg, struct route *route), void *arg)
{
    struct route_query *query = mem_alloc(sizeof *query);

    (void)resolver;
    (void)settings;
    assert_string_equal(destination->domain, "y.test");
    query->on_route = on_route;
    query->arg = arg;
    timer_init(&query->timer, loop, on_route_timer);
    timer_arm(&query->timer, 0);
    return query;
}

void
route_cancel(struct route_query *query)
{
    timer_fini(&query->timer);
    mem_free(query);
}

void
route_free(struct route *route)
{
    if (route != NULL)
        mem_free(route->targets);
    mem_free(route);
}

static struct settings *
make_settings(const char *control)
{
    static const struct settings_options options = {.revision = 1};
    struct buf yaml = {0};
    struct err err;
    struct settings *settings;

    buf_printf(&yaml,
               "hostname: gw.test\nstate_dir: state\n"
               "listeners:\n"
               "  In: {type: public, address: \"127.0.0.1:1\", "
               "domains: [gw.test]}\n"
               "tls_profiles: {old: {versions: [TLSv1.0, TLSv1.1], "
               "strength: low}}\n"
               "destinations:\n"
               "  y.test: %s\n",
               control);
    settings = settings_load(buf_view(&yaml), "", &options, &err);
    buf_fini(&yaml);
    if (settings == NULL)
        fail_msg("%s", err.text);
    return settings;
}

static void
on_change(void *arg)
{
    struct stage *t = arg;

    if (t->queue.ended >= t->wanted)
        loop_stop(t->loop);
}

/* "sts/ID result [enforced ]host [policy]"; digests are left out. */
static void
on_session(void *arg, const struct ledger_session *session)
{
    static const char *const policies[] = {"none", "tlsa", "sts"};
    struct stage *t = arg;
    struct buf *out = &t->sessions;
    struct sv id = {0};
    char text[512];

    assert_sv(session->domain, "y.test");
    assert_true((session->result == TLS_RESULT_OK) == (session->reason.n == 0));
    snprintf(text, sizeof text, "%.*s", SV_ARG(session->policy_text));
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n')
            *p = ' ';
    if (session->policy == LEDGER_POLICY_TLSA && text[0] != '\0')
        snprintf(text + strlen("3 1 1 "), 8, "…");
    /* Told or not, TLSA records have an id. */
    if (session->policy == LEDGER_POLICY_TLSA &&
        session->result != TLS_RESULT_DNSSEC_INVALID)
        assert_int_equal(session->policy_id.n, 16);
    if (session->policy == LEDGER_POLICY_STS)
        id = session->policy_id;
    buf_printf(out, "%s%s%.*s %s %s%.*s [%s]\n", policies[session->policy],
               id.n > 0 ? "/" : "", SV_ARG(id),
               ledger_tls_result_name(session->result),
               session->enforced ? "enforced " : "", SV_ARG(session->host),
               text);
}

static void
set_up(struct stage *t, const struct scene *row)
{
    static char key[] = "y.test", domain[] = "y.test";
    struct err err;

    scene = row;
    stage = t;
    sts_asked = sts_asked_fresh = dane_asked = 0;
    cached = (struct answer){0};
    *t = (struct stage){.loop = loop_new(&err)};
    server_start(&t->a, t->loop, "127.0.0.2", &row->a);
    server_start(&t->b, t->loop, "127.0.0.3", &row->b);
    t->settings = make_settings(row->control);
    fake_queue_init(&t->queue);
    t->queue.on_change = on_change;
    t->queue.arg = t;
    t->queue.failures = row->failures;
    t->delivery = delivery_new(&t->loop, 1, t->settings, &err);
    if (t->delivery == NULL)
        fail_msg("%s", err.text);
    delivery_set_queue(t->delivery, &t->queue);
    /* Never looked into: sts_lookup() is ours. */
    delivery_set_sts(t->delivery, (struct sts_cache *)(uintptr_t)1);
    delivery_set_on_session(t->delivery, on_session, t);
    t->destination = (struct destination){.key = key,
                                          .domain = domain,
                                          .policy_domain = SV("y.test"),
                                          .demands = row->demands};
}

static void
send_mail(struct stage *t)
{
    const struct fake_mail mail = {.sender = "a@x.test",
                                   .to = {"b@y.test"},
                                   .content = "Subject: x\r\n\r\nhi\r\n",
                                   .demands = scene->demands};

    fake_queue_add(&t->queue, fake_parcel_new(&mail, ++t->numbers));
    t->wanted++;
    delivery_session_wanted(t->delivery, &t->destination);
    loop_run(t->loop);
}

static void
on_idle(void *arg)
{
    loop_stop(((struct stage *)arg)->loop);
}

static void
tear_down(struct stage *t)
{
    delivery_drain(t->delivery, on_idle, t);
    loop_run(t->loop);
    delivery_free(t->delivery);
    server_stop(&t->a);
    server_stop(&t->b);
    settings_unref(t->settings);
    fake_queue_fini(&t->queue);
    buf_fini(&t->sessions);
    loop_stop(t->loop);
    loop_run(t->loop);
    loop_free(t->loop);
}

static void
check(void **state)
{
    const struct scene *row = *state;
    struct stage t;

    set_up(&t, row);
    send_mail(&t);
    assert_string_equal(buf_cstr(&t.queue.events), row->events);
    assert_string_equal(buf_cstr(&t.sessions), row->sessions);
    assert_int_equal(t.a.connections, row->connections_a);
    assert_int_equal(t.b.connections, row->connections_b);
    assert_int_equal(t.b.requiretls, row->requiretls_b);
    assert_true(sts_asked <= 1 && sts_asked_fresh <= 1 && dane_asked <= 2);
    tear_down(&t);
}

/* --- More ------------------------------------------------------------------
 */

/* A connection that is kept takes the next message without a look-up and
 * without a record of its own. */
static void
test_warm(void **state)
{
    struct stage t;

    (void)state;
    set_up(&t, &scenes[0]);
    send_mail(&t);
    send_mail(&t);
    assert_int_equal(t.a.connections, 1);
    assert_int_equal(t.a.messages, 2);
    assert_int_equal(sts_asked, 1);
    assert_int_equal(sts_asked_fresh, 0);
    assert_int_equal(dane_asked, 1);
    assert_string_equal(buf_cstr(&t.sessions), scenes[0].sessions);
    tear_down(&t);
}

/* What a policy says is told once, and after a while again. */
static void
test_told(void **state)
{
#define TOLD(text) "tlsa validation-failure enforced a.test [" text "]\n"
    static const struct scene row = {
        "DANE does not match",
        {TLS, .certificate = "good"},
        {.down = true},
        "{}",
        .sts = {STS_ABSENT, NULL, ""},
        .tlsa_a = TLSA_DIFFERS,
    };
    struct stage t;

    (void)state;
    for (int round = 0; round < 2; round++) {
        set_up(&t, &row);
        if (round == 1)
            t.delivery->told_ms = 0;
        send_mail(&t);
        send_mail(&t);
        assert_string_equal(buf_cstr(&t.sessions),
                            round == 0 ? TOLD("3 1 1 …") TOLD("")
                                       : TOLD("3 1 1 …") TOLD("3 1 1 …"));
        tear_down(&t);
    }
}

/* A kept connection takes no more when there is another policy by now. */
static void
test_overtaken(void **state)
{
    static struct scene row = {
        "a policy comes while a connection is kept",
        {TLS, .certificate = "good"},
        {TLS, .certificate = "good-b"},
        "{}",
        .sts = {STS_ABSENT, NULL, ""},
    };
    struct stage t;

    (void)state;
    set_up(&t, &row);
    send_mail(&t);
    cached = row.sts;
    send_mail(&t);
    assert_int_equal(t.a.connections, 1);
    assert_int_equal(sts_asked, 1);
    cached = row.sts = (struct answer){STS_POLICY, &enforce_a, "2"};
    send_mail(&t);
    assert_int_equal(t.a.connections, 2);
    assert_int_equal(t.a.messages, 3);
    assert_int_equal(sts_asked, 2);
    tear_down(&t);
}

/* A policy is looked at afresh once, not for each server. */
static void
test_fresh_once(void **state)
{
    static const struct scene both = {
        "both servers show another's certificate",
        {TLS, .certificate = "other"},
        {TLS, .certificate = "other"},
        "{}",
        .sts = {STS_POLICY, &enforce_all, "1"},
    };
    struct stage t;

    (void)state;
    set_up(&t, &both);
    send_mail(&t);
    assert_int_equal(sts_asked_fresh, 1);
    assert_int_equal(t.a.connections, 1);
    assert_int_equal(t.b.connections, 1);
    tear_down(&t);
}

/* Mail waits for the answer three times in a row, then it goes; an answer in
 * between begins it anew. */
static void
test_hidden(void **state)
{
    static struct scene row = {
        "the record is hidden", {TLS, .certificate = "good"},
        {.down = true},         "{max_messages_per_connection: 1}",
        .failures = 9,
    };
    static const enum sts_state answers[] = {
        STS_UNKNOWN, STS_UNKNOWN, STS_ABSENT,  STS_UNKNOWN,
        STS_UNKNOWN, STS_UNKNOWN, STS_UNKNOWN,
    };
    static const unsigned messages[] = {0, 0, 3, 3, 3, 3, 7};
    struct stage t;

    (void)state;
    set_up(&t, &row);
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        row.sts = (struct answer){answers[i], NULL, ""};
        send_mail(&t);
        assert_int_equal(t.a.messages, messages[i]);
    }
    tear_down(&t);
}

/* A look at the policy that took long still leads to a second try, not to the
 * first server for ever. */
static void
test_slow_look(void **state)
{
    static const struct scene row = {
        "the policy is gone, and what was known is old",
        {TLS, .certificate = "other"},
        {.down = true},
        "{}",
        .sts = {STS_POLICY, &enforce_a, "1"},
        .fresh = {STS_ABSENT, NULL, ""},
    };
    struct stage t;

    (void)state;
    set_up(&t, &row);
    t.delivery->stale_ms = 0;
    send_mail(&t);
    assert_int_equal(t.a.connections, 2);
    assert_int_equal(sts_asked, 1);
    assert_string_equal(buf_cstr(&t.queue.events),
                        RELAYED("a.test", "TLSv1.3", "failed"));
    tear_down(&t);
}

static void
commit_at_second(void *arg, const struct ledger_session *session)
{
    struct stage *t = arg;
    struct settings *next;
    struct err err;

    if (!sv_eq(session->host, SV("b.test")))
        return;
    next = make_settings("{tls: no}");
    assert_true(delivery_prepare(t->delivery, next, &err));
    delivery_commit(t->delivery);
    settings_unref(next);
}

/* New settings come while the last server is tried: nothing counts as tried by
 * the old ones. */
static void
test_reload_at_last(void **state)
{
    static const struct scene row = {
        "the first lacks REQUIRETLS, the second fails",
        {TLS, .certificate = "good"},
        {TLS, .certificate = "self"},
        "{}",
        .demands = ENVELOPE_REQUIRETLS,
        .sts = {STS_POLICY, &enforce_all, "1"},
    };
    struct stage t;

    (void)state;
    set_up(&t, &row);
    delivery_set_on_session(t.delivery, commit_at_second, &t);
    send_mail(&t);
    assert_string_equal(buf_cstr(&t.queue.events), "ended idle\n");
    assert_int_equal(t.queue.ready.length, 1);
    tear_down(&t);
}

/* Ends while a look-up is under way: nothing comes back. */
static void
test_drop_at_lookup(void **state)
{
    struct stage t;

    (void)state;
    set_up(&t, &scenes[0]);
    delivery_session_wanted(t.delivery, &t.destination);
    t.wanted++;
    stop_at_lookup = true;
    loop_run(t.loop);
    stop_at_lookup = false;
    assert_int_equal(sts_asked, 1);
    tear_down(&t);
    assert_int_equal(t.queue.done, 0);
}

/* Without descriptors nothing is tried, nobody is blamed, and a little later it
 * goes on. */
static void
test_exhausted(void **state)
{
    struct rlimit before, tight;
    struct stage t;
    int next;

    (void)state;
    set_up(&t, &scenes[0]);
    t.delivery->pause_ms = 10;
    next = dup(STDIN_FILENO);
    assert_true(next >= 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    close(next);
    tight = (struct rlimit){(rlim_t)next, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    send_mail(&t);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_string_equal(buf_cstr(&t.queue.events), "ended idle\n");
    assert_int_equal(t.a.connections, 0);
    assert_int_equal(t.delivery->down.notes.count, 0);
    t.wanted++;
    delivery_session_wanted(t.delivery, &t.destination);
    loop_run(t.loop);
    assert_int_equal(t.a.messages, 1);
    tear_down(&t);
}

static void
quiet(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

static struct sts_policy *
make_policy(const char *mode, const char *pattern)
{
    struct buf text = {0};
    char reason[160];
    struct sts_policy *policy;

    buf_printf(&text, "version: STSv1\nmode: %s\nmx: %s\nmax_age: 86400\n",
               mode, pattern);
    policy = sts_policy_parse(buf_view(&text), reason);
    assert_non_null(policy);
    buf_fini(&text);
    return policy;
}

static void
hash_key(const char *file)
{
    FILE *pem = fopen(pki_path(file), "r");
    X509 *certificate;
    unsigned char *der = NULL;
    int n;

    assert_non_null(pem);
    certificate = PEM_read_X509(pem, NULL, NULL, NULL);
    fclose(pem);
    n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    assert_true(n > 0 && EVP_Digest(der, (size_t)n, good_digest, NULL,
                                    EVP_sha256(), NULL) == 1);
    OPENSSL_free(der);
    X509_free(certificate);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_fresh_once),
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_slow_look),
        cmocka_unit_test(test_reload_at_last),
        cmocka_unit_test(test_drop_at_lookup),
        cmocka_unit_test(test_exhausted),
    };
    int failed;
    struct err err;

    log_capture(quiet, NULL);
    if (!tls_init(&err))
        return 1;
    pki_make(&(struct pki_options){.name = "ca", .is_ca = true});
    pki_make(&(struct pki_options){
        .name = "good", .names = "DNS:a.test", .issuer = "ca"});
    pki_make(&(struct pki_options){
        .name = "good-b", .names = "DNS:b.test", .issuer = "ca"});
    pki_make(&(struct pki_options){
        .name = "other", .names = "DNS:y.test", .issuer = "ca"});
    pki_make(&(struct pki_options){.name = "self", .names = "DNS:a.test"});
    setenv("SSL_CERT_FILE", pki_path("ca.pem"), 1);
    hash_key("good.pem");
    make_dane();
    enforce_a = make_policy("enforce", "a.test");
    enforce_b = make_policy("enforce", "b.test");
    enforce_all = make_policy("enforce", "*.test");
    testing_all = make_policy("testing", "*.test");
    testing_b = make_policy("testing", "b.test");
    failed =
        RUN_ROWS("delivery_policy", check, scenes) +
        cmocka_run_group_tests_name("delivery_policy_more", tests, NULL, NULL);
    sts_policy_unref(enforce_a);
    sts_policy_unref(enforce_b);
    sts_policy_unref(enforce_all);
    sts_policy_unref(testing_all);
    sts_policy_unref(testing_b);
    return failed;
}
