/* dane.show: the TLSA records of every server of a domain, and whether what the
 * server shows now matches them.  It connects, says STARTTLS and leaves; what
 * the settings of the destination say of DANE does not count here. */
#include "transmit/explain_internal.h"
#include <openssl/rand.h>

enum { PROBES_AT_ONCE = 8, STAGE_LIMIT_MS = 15000, RECORD_TEXT = 200 };

/* One address of a server. */
struct dane_probe {
    struct dane_show *show;
    const struct question_host *host;
    const struct route_target *target;
    struct client *client; /* NULL: not running */
    bool ended, seen;      /* seen: the handshake was done */
    struct tls_failure failure;
    struct tls_dane_facts facts;
    bool matches[TLS_TLSA_MAX]; /* each record by itself */
    char subject[200];
};

struct dane_show {
    struct question *question;
    struct dane_probe *probes; /* owned */
    size_t count, next, running;
    struct timer finish; /* the last one may end inside its own callback */
};

/* --- What was found --------------------------------------------------- */

static json_t *
matches_json(const struct dane_probe *probe)
{
    json_t *list = json_array();

    for (size_t i = 0; i < probe->host->dane->tlsa_count; i++)
        if (probe->matches[i])
            json_array_append_new(list, json_integer((json_int_t)i));
    return list;
}

static json_t *
probe_json(const struct dane_probe *probe)
{
    char ip[NET_ADDRESS_TEXT];
    json_t *json =
        json_pack("{s:s, s:i, s:b, s:b}", "ip",
                  net_address_ip_text(&probe->target->address, ip), "port",
                  net_address_port(&probe->target->address), "tls", probe->seen,
                  "matched", probe->facts.matched);

    if (!probe->seen) {
        json_object_set_new(json, "failure",
                            json_pack("{s:s, s:s}", "stage",
                                      tls_stage_name(probe->failure.stage),
                                      "reason", probe->failure.reason));
        return json;
    }
    json_object_set_new(json, "subject", json_string(probe->subject));
    json_object_set_new(json, "matches", matches_json(probe));
    if (!probe->facts.matched)
        json_object_set_new(json, "reason", json_string(probe->facts.reason));
    else
        json_object_set_new(
            json, "match",
            json_pack("{s:i, s:i, s:i, s:i, s:s}", "usage", probe->facts.usage,
                      "selector", probe->facts.selector, "matching",
                      probe->facts.matching, "depth", probe->facts.depth,
                      "name", probe->facts.name));
    return json;
}

static json_t *
servers_json(const struct dane_show *show, const struct question_host *host)
{
    json_t *list = json_array();

    for (size_t i = 0; i < show->count; i++)
        if (show->probes[i].host == host && show->probes[i].ended)
            json_array_append_new(list, probe_json(&show->probes[i]));
    return list;
}

/* A server is protected when DANE decides and every address that was reached
 * matches. */
static bool
is_protected(const struct dane_show *show, const struct question_host *host)
{
    size_t matched = 0;

    if (host->dane == NULL || host->dane->state != DANE_USABLE)
        return false;
    for (size_t i = 0; i < show->count; i++) {
        const struct dane_probe *probe = &show->probes[i];

        if (probe->host == host && probe->seen && !probe->facts.matched)
            return false;
        matched += probe->host == host && probe->facts.matched;
    }
    return matched > 0;
}

static json_t *
host_json(const struct dane_show *show, const struct question_host *host)
{
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:b, s:o, s:o}", "host", host->target->host,
        "preference", host->target->preference, "mx_state",
        dns_state_name(host->target->mx_state), "address_state",
        dns_state_name(host->target->address_state), "protected",
        is_protected(show, host), "dane", explain_dane_json(host->dane),
        "servers", servers_json(show, host));
}

static void
answer(struct dane_show *show)
{
    struct question *q = show->question;
    json_t *json = explain_route_json(q), *hosts = json_array();
    size_t good = 0;

    for (size_t i = 0; i < q->host_count; i++) {
        json_array_append_new(hosts, host_json(show, &q->hosts[i]));
        good += is_protected(show, &q->hosts[i]);
    }
    json_object_set_new(json, "dane_hosts", hosts);
    json_object_set_new(json, "protected",
                        json_boolean(good > 0 && good == q->host_count));
    rpc_result(q->call, json);
    question_end(q);
}

static void
on_finish(struct timer *timer)
{
    answer(CONTAINER_OF(timer, struct dane_show, finish));
}

/* --- One connection --------------------------------------------------- */

static void start_more(struct dane_show *show);

static void
end_probe(struct dane_probe *probe)
{
    probe->ended = true;
    probe->show->running--;
    start_more(probe->show);
}

static void
set_demand(const struct dane_probe *probe, struct tls_dane *dane)
{
    const struct dane_evidence *evidence = probe->host->dane;

    *dane = (struct tls_dane){.tlsa = evidence->tlsa,
                              .tlsa_count = evidence->tlsa_count,
                              .base = evidence->base};
    /* RFC 7672 section 3.2.2 */
    if (evidence->mx_secure)
        dane->names[dane->name_count++] = probe->show->question->domain;
}

static void
on_tls(void *owner)
{
    struct dane_probe *probe = owner;
    const struct tls_facts *facts = client_tls(probe->client);
    struct tls_dane all, one;

    probe->seen = true;
    snprintf(probe->subject, sizeof probe->subject, "%s", facts->peer_subject);
    set_demand(probe, &all);
    (void)!client_dane_try(probe->client, &all, &probe->facts);
    one = all;
    one.tlsa_count = 1;
    for (size_t i = 0; i < all.tlsa_count && i < TLS_TLSA_MAX; i++) {
        struct tls_dane_facts unused;

        one.tlsa = &all.tlsa[i];
        probe->matches[i] = client_dane_try(probe->client, &one, &unused);
    }
}

static void
on_ready(void *owner)
{
    struct dane_probe *probe = owner;

    client_quit(probe->client, &probe->show->question->explainer->closing);
    probe->client = NULL;
    end_probe(probe);
}

static void
on_lost(void *owner, const struct client_loss *loss)
{
    struct dane_probe *probe = owner;

    probe->failure = loss->failure;
    client_free(probe->client);
    probe->client = NULL;
    end_probe(probe);
}

static void
on_sent(void *owner, struct parcel *parcel)
{
    (void)owner;
    (void)parcel;
    assert(false); /* nothing is sent */
}

/* TLS or nothing; what the server proves is looked at in on_tls(). */
static void
set_decision(const struct dane_probe *probe, struct tls_decision *decision)
{
    struct dane_evidence *evidence = probe->host->dane;

    decision->usable = true;
    decision->floor = FLOOR_ENCRYPTED;
    decision->authentication = AUTH_NONE;
    decision->method = METHOD_DANE;
    decision->fallback = FALLBACK_NEVER;
    decision->control = probe->show->question->control;
    decision->dane = evidence;
    decision->reason = "asked for by dane.show";
    snprintf(decision->server_name, sizeof decision->server_name, "%s",
             evidence->base);
    snprintf(decision->names[0], sizeof decision->names[0], "%s",
             evidence->base);
}

static void
cap(uint64_t *limit)
{
    if (*limit > STAGE_LIMIT_MS)
        *limit = STAGE_LIMIT_MS;
}

static void
set_timeouts(const struct question *q, struct deliver_timeouts *timeouts)
{
    *timeouts = q->revision->settings->deliver_timeouts;
    cap(&timeouts->connect);
    cap(&timeouts->greeting);
    cap(&timeouts->ehlo);
    cap(&timeouts->handshake);
    cap(&timeouts->mail);
    cap(&timeouts->quit);
}

static void
start_probe(struct dane_probe *probe)
{
    static const struct client_watch watch = {.on_tls = on_tls};
    const struct client_calls calls = {on_ready, on_sent, on_lost};
    struct question *q = probe->show->question;
    char id[24];
    struct client_plan plan = {
        .address = probe->target->address,
        .host = probe->target->host,
        .helo = q->revision->settings->hostname,
        .delivery = id,
        .destination = q->destination.key,
        .dane = probe->host->dane,
        .watch = &watch,
    };

    probe->show->running++;
    set_decision(probe, &plan.decision);
    set_timeouts(q, &plan.timeouts);
    plan.context = revision_context(q->revision, &plan.decision)->context;
    snprintf(id, sizeof id, "D%08llx%04x",
             (unsigned long long)(loop_wall_us(q->explainer->loop) / 1000000),
             q->explainer->next_id++ & 0xffff);
    /* Nothing is resumed: a full handshake shows the chain. */
    if (RAND_bytes(plan.session.digest, sizeof plan.session.digest) != 1)
        abort();
    probe->client = client_new(q->explainer->loop, &plan, &calls, probe);
}

static void
start_more(struct dane_show *show)
{
    while (show->running < PROBES_AT_ONCE && show->next < show->count)
        start_probe(&show->probes[show->next++]);
    if (show->running == 0 && show->next == show->count)
        timer_arm(&show->finish, 1);
}

/* --- All of them ------------------------------------------------------ */

static void
add_probes(struct dane_show *show, const struct question_host *host)
{
    if (host->dane == NULL || host->dane->state != DANE_USABLE)
        return; /* nothing that could match */
    for (size_t i = 0; i < host->target_count; i++) {
        struct dane_probe *probe = &show->probes[show->count++];

        probe->show = show;
        probe->host = host;
        probe->target = host->target + i;
    }
}

void
dane_show_start(struct question *q)
{
    struct dane_show *show = mem_alloc(sizeof *show);

    q->show = show;
    show->question = q;
    timer_init(&show->finish, q->explainer->loop, on_finish);
    show->probes = mem_alloc_array(ROUTE_ADDRESSES_MAX, sizeof *show->probes);
    for (size_t i = 0; i < q->host_count; i++)
        add_probes(show, &q->hosts[i]);
    start_more(show);
}

void
dane_show_stop(struct dane_show *show)
{
    show->next = show->count;
    for (size_t i = 0; i < show->count; i++) {
        struct dane_probe *probe = &show->probes[i];

        if (probe->client == NULL)
            continue;
        client_free(probe->client);
        probe->client = NULL;
        tls_failure_set(&probe->failure, STAGE_TIMEOUT,
                        "the check took too long");
        end_probe(probe);
    }
}

void
dane_show_free(struct dane_show *show)
{
    if (show == NULL)
        return;
    for (size_t i = 0; i < show->count; i++)
        if (show->probes[i].client != NULL)
            client_free(show->probes[i].client);
    timer_fini(&show->finish);
    mem_free(show->probes);
    mem_free(show);
}
