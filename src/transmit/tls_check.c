/* Connects to each server of a question as delivery would, and says what came
 * of it.  Some at a time; each gives one item when it is done. */
#include "transmit/tls_check_internal.h"
#include "transmit/tls_trial.h"
#include <openssl/rand.h>

enum {
    PROBES_AT_ONCE = 8,
    STAGE_LIMIT_MS = 30000, /* for each answer, unless the settings say less */
    CHECK_ID = 24,          /* of a connection in the log */
};

struct tls_check {
    struct question *question;
    struct probe *probes; /* owned */
    size_t count, next, running;
    size_t results[PROBE_RESULT_COUNT];
    size_t unwanted; /* of those in clear text, where TLS is not wanted */
    bool stopped;
    struct timer finish; /* the last probe may end inside its own callback */
};

static void start_more(struct tls_check *check);

static uint64_t
now(const struct probe *probe)
{
    return loop_now(probe->check->question->explainer->loop);
}

/* --- The end -------------------------------------------------------------- */

/* 0: all is well; 1: mail gets through, but something is wrong; 2: it does not;
 * 3: that could not be found out. */
static int
status_of(const struct tls_check *check)
{
    const struct route *route = check->question->route;
    const size_t *n = check->results;
    size_t through = n[PROBE_VERIFIED] + n[PROBE_ENCRYPTED] + n[PROBE_CLEAR];

    if (route->result == ROUTE_TEMPORARY)
        return 3;
    if (route->result != ROUTE_OK)
        return 2;
    if (through > 0)
        return through == check->count && n[PROBE_CLEAR] == check->unwanted &&
                       !route->incomplete
                   ? 0
                   : 1;
    return n[PROBE_NOT_HERE] > 0 ? 2 : 3;
}

static json_t *
counts_json(const struct tls_check *check)
{
    json_t *counts = json_object();

    for (size_t i = PROBE_WAITING + 1; i < PROBE_RESULT_COUNT; i++)
        json_object_set_new(counts, probe_result_name((enum probe_result)i),
                            json_integer((json_int_t)check->results[i]));
    return counts;
}

static void
on_finish(struct timer *timer)
{
    struct tls_check *check = CONTAINER_OF(timer, struct tls_check, finish);
    struct question *q = check->question;
    json_t *json = explain_route_json(q);

    json_object_set_new(json, "demands", explain_demands_json(q->demands));
    json_object_set_new(json, "mta_sts", explain_sts_json(q));
    json_object_set_new(json, "counts", counts_json(check));
    json_object_set_new(json, "status", json_integer(status_of(check)));
    rpc_result(q->call, json);
    question_end(q);
}

static void
finish_if_done(struct tls_check *check)
{
    if (check->running == 0 && check->next == check->count)
        timer_arm(&check->finish, 1);
}

static void
finish_probe(struct probe *probe, enum probe_result result)
{
    struct tls_check *check = probe->check;

    probe->result = result;
    check->results[result]++;
    if (result == PROBE_CLEAR && probe->host->decision.floor == FLOOR_CLEAR)
        check->unwanted++;
    check->running--;
    rpc_item(check->question->call, probe_json(probe));
    start_more(check);
}

/* --- Watching the client --------------------------------------------------
 */

static void
end_step(struct probe *probe)
{
    if (probe->state == NULL)
        return;
    json_array_append_new(
        probe->steps, json_pack("{s:s,s:I}", "step", probe->state, "ms",
                                (json_int_t)(now(probe) - probe->state_begun)));
    probe->state = NULL;
}

static void
on_state(void *owner, const char *state)
{
    struct probe *probe = owner;

    end_step(probe);
    if (strcmp(state, "ready") == 0)
        return;
    probe->state = state;
    probe->state_begun = now(probe);
}

static void
on_ehlo(void *owner, unsigned index, struct sv line)
{
    struct probe *probe = owner;
    char text[513];

    if (index == 0)
        json_array_clear(probe->ehlo); /* what came before TLS is void */
    if (json_array_size(probe->ehlo) >= 64)
        return;
    line = sv_slice(line, 0, sizeof text - 1);
    for (size_t i = 0; i < line.n; i++)
        text[i] = char_is_print(line.p[i]) ? line.p[i] : '?';
    text[line.n] = '\0';
    json_array_append_new(probe->ehlo, json_string(text));
    if (index > 0 && sv_is_nocase(line, "REQUIRETLS"))
        probe->offers_requiretls = probe->tls != NULL;
}

static void
on_tls(void *owner)
{
    struct probe *probe = owner;
    const struct tls_facts *facts = client_tls(probe->client);

    probe->chain_count = client_chain(probe->client, probe->chain, CHAIN_MAX);
    probe->seen.peer = probe->chain_count > 0 ? probe->chain[0] : NULL;
    probe->seen.verdict = facts->verdict;
    if (facts->dane != NULL) {
        probe->seen.dane_asked = facts->dane->asked;
        probe->seen.dane_matched =
            facts->dane->matched && facts->verify == TLS_VERIFY_OK;
    }
    probe->tls =
        json_pack("{s:s,s:s,s:i,s:s,s:s,s:b}", "version", facts->version,
                  "cipher", facts->cipher, "bits", facts->bits, "group",
                  facts->group, "server_name", facts->server_name,
                  "certificate_requested", facts->certificate_requested);
}

/* --- The plan ------------------------------------------------------------- */

static void
cap(uint64_t *limit)
{
    if (*limit > STAGE_LIMIT_MS)
        *limit = STAGE_LIMIT_MS;
}

static struct deliver_timeouts
timeouts_of(const struct question *q)
{
    struct deliver_timeouts timeouts = q->revision->settings->deliver_timeouts;

    cap(&timeouts.connect);
    cap(&timeouts.greeting);
    cap(&timeouts.ehlo);
    cap(&timeouts.handshake);
    cap(&timeouts.mail);
    cap(&timeouts.quit);
    return timeouts;
}

/* As delivery would; the id is written into id. */
static void
make_plan(const struct probe *probe, char id[CHECK_ID],
          struct client_plan *plan)
{
    static const struct client_watch watch = {on_state, on_ehlo, on_tls};
    struct question *q = probe->check->question;
    const struct revision_context *contexts =
        revision_context(q->revision, &probe->host->decision);

    snprintf(id, CHECK_ID, "C%08llx%04x",
             (unsigned long long)(loop_wall_us(q->explainer->loop) / 1000000),
             q->explainer->next_id++ & 0xffff);
    *plan = (struct client_plan){
        .address = probe->target->address,
        .host = probe->target->host,
        .helo = q->revision->settings->hostname,
        .delivery = id,
        .destination = q->destination.key,
        .decision = probe->host->decision,
        .dane = probe->host->dane,
        .context = contexts != NULL ? contexts->context : NULL,
        .timeouts = timeouts_of(q),
        .watch = &watch,
    };
    /* Nothing is resumed: a full handshake shows the chain. */
    if (RAND_bytes(plan->session.digest, sizeof plan->session.digest) != 1)
        abort();
}

/* --- What came of it ------------------------------------------------------ */

static void
quit(struct probe *probe)
{
    client_quit(probe->client, &probe->check->question->explainer->closing);
    probe->client = NULL;
}

/* Mail would be sent now. */
static void
on_ready(void *owner)
{
    struct probe *probe = owner;
    const struct tls_decision *decision = &probe->host->decision;
    enum probe_result result = PROBE_CLEAR;

    end_step(probe);
    if (client_tls(probe->client) == NULL)
        tls_failure_set(&probe->seen.failure,
                        client_tls_failure(probe->client)->stage != STAGE_NONE
                            ? client_tls_failure(probe->client)->stage
                        : decision->floor == FLOOR_CLEAR ? STAGE_NONE
                                                         : STAGE_NOT_OFFERED,
                        "%s", client_tls_failure(probe->client)->reason);
    else
        result = client_verify(probe->client) == TLS_VERIFY_OK
                     ? PROBE_VERIFIED
                     : PROBE_ENCRYPTED;
    if (decision->requiretls && !probe->offers_requiretls) {
        tls_failure_set(
            &probe->seen.failure, STAGE_SMTP,
            "it does not offer REQUIRETLS, which the message demands");
        result = PROBE_NOT_HERE;
    }
    quit(probe);
    finish_probe(probe, result);
}

static bool
is_unreached(const struct client_loss *loss)
{
    return !loss->tls && (loss->code == 0 || loss->code / 100 == 4);
}

static enum probe_result
result_of(const struct client_loss *loss)
{
    if (loss->clear_next)
        return PROBE_CLEAR;
    return is_unreached(loss) ? PROBE_UNREACHED : PROBE_NOT_HERE;
}

static void
on_trial(void *arg, json_t *advice)
{
    struct probe *probe = arg;

    tls_trial_free(probe->trial);
    probe->trial = NULL;
    probe->helps = advice;
    finish_probe(probe, probe->result);
}

/* A handshake that other parameters may heal. */
static void
start_trial(struct probe *probe)
{
    struct question *q = probe->check->question;
    struct client_plan plan;
    char id[CHECK_ID];

    make_plan(probe, id, &plan);
    probe->trial = tls_trial_new(q->explainer->loop, &plan, q->domain,
                                 &q->explainer->closing, on_trial, probe);
}

static void
on_lost(void *owner, const struct client_loss *loss)
{
    struct probe *probe = owner;

    end_step(probe);
    /* A certificate that was judged is not a broken connection. */
    if (probe->tls == NULL ||
        tls_observed_good(&probe->host->decision, &probe->seen))
        probe->seen.failure = loss->failure;
    client_free(probe->client);
    probe->client = NULL;
    probe->result = result_of(loss);
    if (loss->tls && tls_trial_may_help(&probe->seen.failure))
        start_trial(probe);
    else
        finish_probe(probe, probe->result);
}

static void
on_sent(void *owner, struct parcel *parcel)
{
    (void)owner;
    assert(parcel == NULL); /* a check sends nothing: never called */
}

/* --- Beginning ------------------------------------------------------------ */

static void
connect_probe(struct probe *probe)
{
    const struct client_calls calls = {on_ready, on_sent, on_lost};
    struct client_plan plan;
    char id[CHECK_ID];

    make_plan(probe, id, &plan);
    probe->client = client_new(probe->check->question->explainer->loop, &plan,
                               &calls, probe);
}

static void
start_probe(struct probe *probe)
{
    probe->check->running++;
    probe->begun = now(probe);
    if (probe->host->decision.usable)
        connect_probe(probe);
    else
        finish_probe(probe, PROBE_NOT_HERE);
}

static void
start_more(struct tls_check *check)
{
    while (check->running < PROBES_AT_ONCE && check->next < check->count &&
           !check->stopped)
        start_probe(&check->probes[check->next++]);
    if (check->stopped)
        check->next = check->count;
    finish_if_done(check);
}

static void
add_probes(struct tls_check *check)
{
    struct question *q = check->question;

    for (size_t i = 0; i < q->host_count; i++)
        for (size_t j = 0; j < q->hosts[i].target_count; j++) {
            struct probe *probe = &check->probes[check->count++];

            probe->check = check;
            probe->number = check->count;
            probe->host = &q->hosts[i];
            probe->target = q->hosts[i].target + j;
            probe->steps = json_array();
            probe->ehlo = json_array();
        }
}

void
tls_check_start(struct question *q)
{
    struct tls_check *check = mem_alloc(sizeof *check);

    q->check = check;
    check->question = q;
    timer_init(&check->finish, q->explainer->loop, on_finish);
    check->probes = mem_alloc_array(ROUTE_ADDRESSES_MAX, sizeof *check->probes);
    add_probes(check);
    start_more(check);
}

void
tls_check_stop(struct tls_check *check)
{
    check->stopped = true;
    check->next = check->count;
    for (size_t i = 0; i < check->count; i++) {
        struct probe *probe = &check->probes[i];

        if (probe->trial != NULL) {
            on_trial(probe, NULL);
            continue;
        }
        if (probe->client == NULL)
            continue;
        client_free(probe->client);
        probe->client = NULL;
        tls_failure_set(&probe->seen.failure, STAGE_TIMEOUT,
                        "the check took too long");
        finish_probe(probe, PROBE_UNREACHED);
    }
    finish_if_done(check);
}

void
tls_check_free(struct tls_check *check)
{
    if (check == NULL)
        return;
    for (size_t i = 0; i < check->count; i++) {
        struct probe *probe = &check->probes[i];

        if (probe->client != NULL)
            client_free(probe->client);
        tls_trial_free(probe->trial);
        json_decref(probe->helps);
        json_decref(probe->steps);
        json_decref(probe->ehlo);
        json_decref(probe->tls);
        for (size_t j = 0; j < probe->chain_count; j++)
            tls_certificate_facts_free(probe->chain[j]);
    }
    timer_fini(&check->finish);
    mem_free(check->probes);
    mem_free(check);
}
