/* Connects to each server of a question as delivery would, and says what came
 * of it.  Some at a time; each gives one item when it is done. */
#include "mail/date.h"
#include "transmit/explain_internal.h"
#include "transmit/tls_advice.h"
#include "transmit/tls_sentence.h"
#include "transmit/tls_trial.h"
#include <openssl/rand.h>

enum {
    PROBES_AT_ONCE = 8,
    STAGE_LIMIT_MS = 30000, /* for each answer, unless the settings say less */
    CHAIN_MAX = 10,
    CHECK_ID = 24, /* of a connection in the log */
};

/* What became of one server. */
enum probe_result {
    PROBE_WAITING,
    PROBE_VERIFIED,  /* TLS, and the server proved who it is */
    PROBE_ENCRYPTED, /* TLS, and nobody asked, or it did not matter */
    PROBE_CLEAR,     /* mail would go in clear text */
    PROBE_NOT_HERE,  /* mail would not go to this server */
    PROBE_UNREACHED, /* it could not be asked */
    PROBE_RESULT_COUNT,
};
static const char *const result_names[PROBE_RESULT_COUNT] = {
    [PROBE_WAITING] = "waiting",     [PROBE_VERIFIED] = "verified",
    [PROBE_ENCRYPTED] = "encrypted", [PROBE_CLEAR] = "clear",
    [PROBE_NOT_HERE] = "not-here",   [PROBE_UNREACHED] = "unreached",
};

struct probe {
    struct tls_check *check;
    const struct question_host *host;
    const struct route_target *target;
    struct client *client; /* NULL: not running */
    enum probe_result result;
    uint64_t begun;    /* ms on the loop's clock */
    const char *state; /* static; being waited for */
    uint64_t state_begun;
    json_t *steps, *ehlo, *tls; /* owned */
    bool offers_requiretls;
    struct tls_trial *trial; /* owned; NULL: none runs */
    json_t *helps;           /* owned; what the trial found; NULL: nothing */
    struct tls_certificate_facts *chain[CHAIN_MAX]; /* owned */
    size_t chain_count;
    struct tls_observation seen; /* peer points into chain */
};

struct tls_check {
    struct question *question;
    struct probe *probes; /* owned */
    size_t count, next, running;
    size_t results[PROBE_RESULT_COUNT];
    bool stopped;
    struct timer finish; /* the last probe may end inside its own callback */
};

static void start_more(struct tls_check *check);

static uint64_t
now(const struct probe *probe)
{
    return loop_now(probe->check->question->explainer->loop);
}

/* --- One item ------------------------------------------------------------- */

static json_t *
certificate_json(const struct tls_certificate_facts *facts)
{
    char from[MAIL_DATE_TEXT], until[MAIL_DATE_TEXT];
    json_t *names = json_array();

    for (size_t i = 0; i < facts->name_count; i++)
        json_array_append_new(names, json_string(facts->names[i]));
    return json_pack("{s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:i,s:s,s:s,s:s,s:b,s:b}",
                     "subject", facts->subject, "issuer", facts->issuer,
                     "serial", facts->serial, "names", names, "not_before",
                     mail_date_iso(facts->not_before, from), "not_after",
                     mail_date_iso(facts->not_after, until), "key_type",
                     facts->key_type, "key_bits", facts->key_bits, "signature",
                     facts->signature, "sha256", facts->sha256, "spki_sha256",
                     facts->spki_sha256, "ca", facts->is_ca, "self_signed",
                     facts->self_signed);
}

static json_t *
chain_json(const struct probe *probe)
{
    json_t *list = json_array();

    for (size_t i = 0; i < probe->chain_count; i++)
        json_array_append_new(list, certificate_json(probe->chain[i]));
    return list;
}

/* The name that was tried, and whether the certificate has it. */
static json_t *
names_json(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    json_t *list = json_array();

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            json_array_append_new(
                list,
                json_pack(
                    "{s:s,s:b}", "name", decision->names[i], "matches",
                    tls_names_include(probe->seen.peer, decision->names[i])));
    return list;
}

static const char *
sts_verdict(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    const char *host = probe->target->host;
    bool good = probe->seen.verdict == VERDICT_OK &&
                tls_names_include(probe->seen.peer, host);

    if (!decision->usable && decision->refusal.stage == STAGE_STS_MX)
        return "not listed";
    if (decision->sts_use == STS_USE_NONE)
        return "not used";
    if (decision->sts_unlisted)
        return "not listed (testing)";
    if (decision->sts_use == STS_USE_NOTED)
        return good ? "ok (testing)" : "failed (testing)";
    return good ? "ok" : "failed";
}

static const char *
dane_verdict(const struct probe *probe)
{
    if (probe->host->decision.method != METHOD_DANE)
        return "not used";
    return probe->seen.dane_matched ? "ok" : "failed";
}

/* Each mechanism by itself, whether it counts here or not. */
static json_t *
verdicts_json(const struct probe *probe)
{
    return json_pack("{s:s,s:s,s:o,s:s,s:s}", "chain",
                     tls_verdict_name(probe->seen.verdict), "chain_text",
                     tls_verdict_sentence(probe->seen.verdict), "names",
                     names_json(probe), "mta_sts", sts_verdict(probe), "dane",
                     dane_verdict(probe));
}

/* Borrowed names of the decision. */
static size_t
wanted_names(const struct tls_decision *decision, const char **names)
{
    size_t count = 0;

    for (size_t i = 0; i < COUNT_OF(decision->names); i++)
        if (decision->names[i][0] != '\0')
            names[count++] = decision->names[i];
    return count;
}

static void
set_sentence(json_t *json, const struct probe *probe,
             const struct tls_failure *failure)
{
    const struct question_host *host = probe->host;
    const struct tls_decision *decision = &host->decision;
    const char *names[COUNT_OF(decision->names)];
    const struct tls_sentence facts = {
        .failure = failure,
        .host = probe->target->host,
        .domain = host->question->domain,
        .peer = probe->seen.peer,
        .verdict = probe->seen.verdict,
        .names = names,
        .name_count = wanted_names(decision, names),
        .dane = decision->method == METHOD_DANE ? host->dane : NULL,
        .sts = decision->sts_use != STS_USE_NONE ? host->evidence.sts : NULL,
        .demand = decision->reason,
        .now_s = host->evidence.now,
    };
    char text[TLS_SENTENCE_TEXT];

    json_object_set_new(
        json, "failure",
        json_pack("{s:s,s:s,s:s}", "stage", tls_stage_name(failure->stage),
                  "reason", failure->reason, "text",
                  tls_explain_sentence(&facts, text, sizeof text)));
}

/* What ended it, or what did not matter. */
static struct tls_failure
failure_of(const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    struct tls_failure failure = probe->seen.failure;
    enum tls_stage stage;

    if (failure.stage != STAGE_NONE || probe->tls == NULL)
        return failure;
    stage = tls_observed_stage(decision, &probe->seen);
    if (stage != STAGE_NONE && decision->authentication != AUTH_NONE)
        tls_failure_set(&failure, stage, "%s",
                        stage == STAGE_NAME
                            ? "none of its names is one that would do"
                            : tls_verdict_sentence(probe->seen.verdict));
    return failure;
}

static void
set_refusal(json_t *json, const struct tls_refusal *refusal)
{
    json_object_set_new(json, "failure",
                        json_pack("{s:s,s:s,s:s}", "stage",
                                  tls_stage_name(refusal->stage), "reason",
                                  tls_why_name(refusal->why), "text",
                                  refusal->sentence));
}

static json_t *
advice_json(const struct probe *probe)
{
    json_t *list = probe->result == PROBE_NOT_HERE
                       ? tls_advice(&probe->host->evidence,
                                    &probe->host->decision, &probe->seen)
                       : json_array();

    if (probe->helps != NULL)
        json_array_insert(list, 0, probe->helps);
    return list;
}

static void
set_outcome(json_t *json, const struct probe *probe)
{
    const struct tls_decision *decision = &probe->host->decision;
    struct tls_failure failure = failure_of(probe);

    json_object_set_new(json, "result",
                        json_string(result_names[probe->result]));
    json_object_set_new(json, "delivers",
                        json_boolean(probe->result == PROBE_VERIFIED ||
                                     probe->result == PROBE_ENCRYPTED ||
                                     probe->result == PROBE_CLEAR));
    if (!decision->usable)
        set_refusal(json, &decision->refusal);
    else if (failure.stage != STAGE_NONE)
        set_sentence(json, probe, &failure);
    json_object_set_new(json, "advice", advice_json(probe));
}

static json_t *
probe_json(const struct probe *probe)
{
    const struct route_target *target = probe->target;
    char ip[NET_ADDRESS_TEXT];
    json_t *json = json_pack(
        "{s:s,s:s,s:i,s:i,s:I,s:O,s:O,s:o}", "host", target->host, "ip",
        net_address_ip_text(&target->address, ip), "port",
        net_address_port(&target->address), "preference", target->preference,
        "ms", (json_int_t)(now(probe) - probe->begun), "steps", probe->steps,
        "ehlo", probe->ehlo, "decision", explain_decision_json(probe->host));

    if (probe->tls != NULL) {
        json_object_set(json, "tls", probe->tls);
        json_object_set_new(json, "chain", chain_json(probe));
        json_object_set_new(json, "verdicts", verdicts_json(probe));
    }
    set_outcome(json, probe);
    return json;
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
        return through == check->count && n[PROBE_CLEAR] == 0 &&
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
        json_object_set_new(counts, result_names[i],
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
    assert(parcel == NULL); /* a check sends nothing */
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
