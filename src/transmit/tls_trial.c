#include "transmit/tls_trial.h"
#include "base/buf.h"
#include "transmit/delivery_internal.h"

#define CLASSIC_GROUPS "X25519:P-256:P-384:P-521"
#define OLD_VERSIONS (TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12)

/* Each makes a profile weaker than it is, and says how in the words of the
 * configuration; false where that would be no change. */
static bool
with_classic_groups(struct tls_profile *profile)
{
    profile->groups = CLASSIC_GROUPS;
    return true;
}

static bool
without_tls13(struct tls_profile *profile)
{
    bool fits = (profile->versions & TLS_BIT_TLS13) != 0 &&
                profile->versions != TLS_BIT_TLS13;

    profile->versions &= ~(unsigned)TLS_BIT_TLS13;
    return fits;
}

static bool
weaken(struct tls_profile *profile, enum tls_strength strength)
{
    bool fits = profile->strength < strength ||
                (profile->ciphers != NULL && profile->ciphers[0] != '\0');

    profile->strength = strength;
    profile->ciphers = "";
    profile->suites = "";
    return fits;
}

static bool
medium(struct tls_profile *profile)
{
    return weaken(profile, TLS_MEDIUM);
}

static bool
old_versions(struct tls_profile *profile)
{
    bool fits = (profile->versions & OLD_VERSIONS) != OLD_VERSIONS;

    profile->versions |= OLD_VERSIONS;
    return fits;
}

static bool
old_versions_medium(struct tls_profile *profile)
{
    bool fits = old_versions(profile);

    return medium(profile) && fits;
}

static bool
low(struct tls_profile *profile)
{
    old_versions(profile);
    return weaken(profile, TLS_LOW);
}

/* From the smallest loss to the largest.  "$" is the domain. */
static const struct step {
    bool (*apply)(struct tls_profile *profile);
    const char *change;
    const char *text;
} steps[] = {
    {with_classic_groups,
     "destinations: {\"$\": {groups: \"" CLASSIC_GROUPS "\"}}",
     "the handshake works with these groups, which make its first message "
     "shorter"},
    {without_tls13, "destinations: {\"$\": {tls13: off}}",
     "the handshake works without TLS 1.3"},
    {medium,
     "tls_profiles: {weaker: {strength: medium}}; "
     "destinations: {\"$\": {tls_profile: weaker}}",
     "the handshake works with ciphers and keys of medium strength"},
    {old_versions,
     "tls_profiles: {older: {versions: {TLSv1.0: on, TLSv1.1: on}}}; "
     "destinations: {\"$\": {tls_profile: older}}",
     "the handshake works with a TLS version that is no longer thought safe"},
    {old_versions_medium,
     "tls_profiles: {older: {versions: {TLSv1.0: on, TLSv1.1: on}, strength: "
     "medium}}; destinations: {\"$\": {tls_profile: older}}",
     "the handshake works with an old TLS version and ciphers of medium "
     "strength"},
    {low,
     "tls_profiles: {weakest: {versions: {TLSv1.0: on, TLSv1.1: on}, strength: "
     "low}}; destinations: {\"$\": {tls_profile: weakest}}",
     "the handshake works with ciphers or keys that give little protection"},
};

struct tls_trial {
    struct loop *loop;
    struct client_plan plan;   /* without a context */
    char id[24], delivery[24]; /* of the check, and of the trial */
    const char *domain;
    struct list *closing;
    void (*on_done)(void *arg, json_t *advice);
    void *arg;
    size_t next;           /* step */
    struct client *client; /* NULL: not running */
    struct timer go_on;    /* not from inside a callback of the client */
};

bool
tls_trial_may_help(const struct tls_failure *failure)
{
    return failure->stage == STAGE_HANDSHAKE ||
           failure->stage == STAGE_VERSION || failure->stage == STAGE_CIPHER;
}

static json_t *
advice_of(const struct tls_trial *trial)
{
    const struct step *step = &steps[trial->next - 1];
    struct sv rest = sv_of(step->change);
    struct sv before = sv_take_until(&rest, '$');
    struct buf change = {0};
    json_t *advice;

    buf_add(&change, before);
    buf_add_str(&change, trial->domain);
    buf_add(&change, rest);
    advice = json_pack("{s:s,s:s,s:s}", "where", "here", "change",
                       buf_cstr(&change), "text", step->text);
    buf_fini(&change);
    return advice;
}

static void
on_ready(void *owner)
{
    struct tls_trial *trial = owner;
    bool secured = client_tls(trial->client) != NULL;

    client_quit(trial->client, trial->closing);
    trial->client = NULL;
    if (secured)
        trial->on_done(trial->arg, advice_of(trial));
    else
        timer_arm(&trial->go_on, 1);
}

static void
on_lost(void *owner, const struct client_loss *loss)
{
    struct tls_trial *trial = owner;

    (void)loss;
    client_free(trial->client);
    trial->client = NULL;
    timer_arm(&trial->go_on, 1);
}

static void
on_sent(void *owner, struct parcel *parcel)
{
    (void)owner;
    assert(parcel == NULL); /* a trial sends nothing: never called */
}

/* NULL: the step is no change, or the library cannot do it. */
static struct tls_context *
context_for(const struct tls_trial *trial, const struct step *step)
{
    const struct destination_settings *control = trial->plan.decision.control;
    struct tls_profile profile;
    struct err err;

    settings_destination_profile(control, &profile);
    if (!step->apply(&profile))
        return NULL;
    return revision_new_context(control, &profile, &err);
}

static void
try_step(struct tls_trial *trial, struct tls_context *context)
{
    const struct client_calls calls = {on_ready, on_sent, on_lost};

    snprintf(trial->delivery, sizeof trial->delivery, "%.18s.%zu", trial->id,
             trial->next);
    trial->plan.delivery = trial->delivery;
    trial->plan.context = context;
    trial->client = client_new(trial->loop, &trial->plan, &calls, trial);
    trial->plan.context = NULL;
}

static void
on_go_on(struct timer *timer)
{
    struct tls_trial *trial = CONTAINER_OF(timer, struct tls_trial, go_on);
    struct tls_context *context = NULL;

    while (context == NULL && trial->next < COUNT_OF(steps))
        context = context_for(trial, &steps[trial->next++]);
    if (context == NULL) {
        trial->on_done(trial->arg, NULL);
        return;
    }
    try_step(trial, context);
    tls_context_unref(context);
}

struct tls_trial *
tls_trial_new(struct loop *loop, const struct client_plan *plan,
              const char *domain, struct list *closing,
              void (*on_done)(void *arg, json_t *advice), void *arg)
{
    static const struct client_watch nobody = {NULL, NULL, NULL};
    struct tls_trial *trial = mem_alloc(sizeof *trial);

    trial->loop = loop;
    trial->plan = *plan;
    snprintf(trial->id, sizeof trial->id, "%s", plan->delivery);
    trial->plan.watch = &nobody; /* what is found out counts nowhere */
    trial->domain = domain;
    trial->closing = closing;
    trial->on_done = on_done;
    trial->arg = arg;
    timer_init(&trial->go_on, loop, on_go_on);
    timer_arm(&trial->go_on, 1);
    return trial;
}

void
tls_trial_free(struct tls_trial *trial)
{
    if (trial == NULL)
        return;
    if (trial->client != NULL)
        client_free(trial->client);
    timer_fini(&trial->go_on);
    mem_free(trial);
}
