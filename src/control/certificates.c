#include "control/certificates.h"

#include "base/buf.h"
#include "base/log.h"
#include "control/certificate_set.h"
#include "control/ocsp.h"
#include "service/link.h"
#include "tls/expiry.h"

enum {
    EXPIRY_PERIOD = 60000, /* ms between two looks at the clock */
    RETRY_AFTER = 60000,   /* ms after a reload that was refused */
    KEY_SIZE = 96,         /* of an alert */
};
#define RELOAD_KEY "certificate.reload"

struct certificates {
    struct service_host *host;
    struct loop *loop;
    struct certificate_set *set;       /* in force */
    struct certificate_set *candidate; /* between prepare and commit */
    struct ocsp *ocsp;                 /* owned */
    struct timer look, expiry;
    bool looked;       /* at least once */
    uint64_t retry_at; /* loop time before which no reload is asked for */
    /* The call that waits for the supervisor; it may come after our end. */
    struct reload_wait *wait;
};

struct reload_wait {
    struct certificates *certificates; /* NULL: gone */
};

static int64_t
now_s(const struct certificates *c)
{
    return loop_wall_us(c->loop) / 1000000;
}

static const char *
key_of(const struct certificate_row *row, const char *suffix, char *key)
{
    snprintf(key, KEY_SIZE, "certificate.%s%s", row->name, suffix);
    return key;
}

/* Refusals ---------------------------------------------------------------- */

static void
refuse(struct certificates *c, struct certificate_row *row, const char *why)
{
    char key[KEY_SIZE];

    if (row->refusal != NULL && strcmp(row->refusal, why) == 0)
        return;
    log_event(NULL, LOG_ERROR, "certificate.refused",
              LOG_STR("name", row->name), LOG_STR("reason", why));
    key_of(row, "", key);
    if (row->refusal != NULL)
        c->host->alert(c->host, key, false, "refused for another reason");
    mem_free(row->refusal);
    row->refusal = mem_strdup(why);
    c->host->alert(c->host, key, true, why);
}

static void
mend(struct certificates *c, struct certificate_row *row)
{
    char key[KEY_SIZE];

    if (row->refusal == NULL)
        return;
    mem_free(row->refusal);
    row->refusal = NULL;
    c->host->alert(c->host, key_of(row, "", key), false, "mended");
}

/* Changes ----------------------------------------------------------------- */

/* A controller that was started again does not know which versions the others
 * have read, so it has all read anew. */
static bool
is_restarted(const struct certificates *c)
{
    const struct supervisor_link *link = c->host->supervisor;

    for (size_t i = 0; i < link->process_count; i++)
        if (strcmp(link->processes[i].name, "controller") == 0)
            return link->processes[i].restarts > 0;
    return false;
}

static bool
row_is_news(struct certificates *c, struct certificate_row *row, bool all)
{
    enum file_news news = file_watch_look(&row->files);
    struct err err;

    if (news == FILES_SAME && !all) {
        mend(c, row);
        return false;
    }
    if (news == FILES_MOVING)
        return false;
    if (certificate_set_check(c->set, row, &err)) {
        mend(c, row);
        return true;
    }
    refuse(c, row, err.text);
    return false;
}

static void
on_reloaded(void *arg, bool ok, uint64_t revision, const char *text)
{
    struct reload_wait *wait = arg;
    struct certificates *c = wait->certificates;

    mem_free(wait);
    if (c == NULL)
        return;
    c->wait = NULL;
    if (ok) {
        c->retry_at = 0;
        c->host->alert(c->host, RELOAD_KEY, false, "loaded");
        return;
    }
    c->retry_at = loop_now(c->loop) + RETRY_AFTER;
    log_event(NULL, LOG_ERROR, "certificate.refused",
              LOG_U64("revision", revision), LOG_STR("reason", text));
    c->host->alert(c->host, RELOAD_KEY, true, text);
}

static void
ask_reload(struct certificates *c)
{
    struct supervisor_link *link = c->host->supervisor;

    if (c->wait != NULL || c->candidate != NULL ||
        loop_now(c->loop) < c->retry_at)
        return;
    c->wait = mem_alloc(sizeof *c->wait);
    c->wait->certificates = c;
    link->reload_files(link, on_reloaded, c->wait);
}

static void
arm_look(struct certificates *c)
{
    uint64_t period = c->set->settings->certificate_check;

    if (period == 0)
        timer_disarm(&c->look);
    else
        timer_arm(&c->look, period);
}

/* The trust stores are part of every context: while they are refused nothing
 * can be loaded.  A pair that is refused hinders no other. */
static bool
is_hindered(const struct certificates *c)
{
    for (size_t i = 0; i < c->set->count; i++)
        if (c->set->rows[i].pair == NULL && c->set->rows[i].refusal != NULL)
            return true;
    return false;
}

static void
on_look(struct timer *timer)
{
    struct certificates *c = CONTAINER_OF(timer, struct certificates, look);
    bool all = !c->looked && is_restarted(c);
    bool news = false;

    c->looked = true;
    for (size_t i = 0; i < c->set->count; i++)
        news |= row_is_news(c, &c->set->rows[i], all);
    arm_look(c);
    if (!news)
        c->host->alert(c->host, RELOAD_KEY, false, "nothing waits");
    else if (is_hindered(c))
        c->host->alert(c->host, RELOAD_KEY, true,
                       "new files wait until those of trust are mended");
    else
        ask_reload(c);
}

/* Ends -------------------------------------------------------------------- */

static void
print_end(const struct certificate_row *row, int64_t now, struct buf *text)
{
    int64_t days = tls_days_left(row->facts->not_after, now);
    char date[CERTIFICATE_DATE_SIZE];

    certificate_date(row->facts->not_after, date);
    if (row->facts->not_after <= now)
        buf_printf(text, "certificate %s ended on %s, %lld days ago", row->name,
                   date, (long long)-days - 1);
    else
        buf_printf(text, "certificate %s ends on %s, in %lld days", row->name,
                   date, (long long)days);
    if (row->used_by[0] != '\0')
        buf_printf(text, " (%s)", row->used_by);
    else
        buf_add_str(text, " (not used)");
}

static void
clear_end(struct certificates *c, struct certificate_row *row, const char *why)
{
    char key[KEY_SIZE];

    if (row->told != 0)
        c->host->alert(c->host, key_of(row, ".expiry", key), false, why);
    row->told = 0;
}

static void
tell_end(struct certificates *c, struct certificate_row *row,
         enum tls_expiry expiry, int64_t now)
{
    struct buf text = {0};
    char key[KEY_SIZE], date[CERTIFICATE_DATE_SIZE];

    log_event(
        NULL, expiry == EXPIRY_OVER ? LOG_ERROR : LOG_WARNING,
        "certificate.expiry", LOG_STR("name", row->name),
        LOG_STR("state", tls_expiry_name(expiry)),
        LOG_STR("not_after", certificate_date(row->facts->not_after, date)),
        LOG_I64("days_left", tls_days_left(row->facts->not_after, now)),
        LOG_STR("used_by", row->used_by),
        LOG_STR("subject", row->facts->subject));
    print_end(row, now, &text);
    /* An alert that stands would swallow the new number of days. */
    clear_end(c, row, "told again with the days that are left");
    c->host->alert(c->host, key_of(row, ".expiry", key), true, buf_cstr(&text));
    row->told = now;
    buf_fini(&text);
}

static void
on_expiry(struct timer *timer)
{
    struct certificates *c = CONTAINER_OF(timer, struct certificates, expiry);
    int64_t now = now_s(c);

    for (size_t i = 0; i < c->set->count; i++) {
        struct certificate_row *row = &c->set->rows[i];
        enum tls_expiry expiry;

        if (row->facts == NULL)
            continue;
        expiry = tls_expiry_alert(row->facts->not_after, row->told, now);
        if (expiry != EXPIRY_FAR)
            tell_end(c, row, expiry, now);
    }
    timer_arm(&c->expiry, EXPIRY_PERIOD);
}

/* A reload ---------------------------------------------------------------- */

static void
log_taken(const struct certificate_row *row, uint64_t revision)
{
    const struct tls_certificate_facts *facts = row->facts;
    struct tls_certificate_files files;
    char date[CERTIFICATE_DATE_SIZE];
    struct err err;

    log_event(
        NULL, LOG_INFO, "certificate.reload", LOG_STR("name", row->name),
        LOG_U64("revision", revision),
        LOG_IF(facts != NULL, LOG_STR("sha256", facts->sha256)),
        LOG_IF(facts != NULL,
               LOG_STR("not_after", certificate_date(facts->not_after, date))));
    if (row->pair == NULL || row->pair->ocsp[0] == '\0' ||
        row->pair->ocsp_fetch)
        return;
    files = settings_certificate_files(row->pair);
    if (!tls_staple_check(&files, &err))
        log_event(NULL, LOG_WARNING, "certificate.ocsp",
                  LOG_STR("name", row->name), LOG_STR("reason", err.text));
}

static bool
ends_alike(const struct certificate_row *a, const struct certificate_row *b)
{
    return a->facts != NULL && b->facts != NULL &&
           a->facts->not_after == b->facts->not_after &&
           strcmp(a->used_by, b->used_by) == 0;
}

static bool
same_pair(const struct certificate_row *a, const struct certificate_row *b)
{
    return a->pair != NULL && b->pair != NULL &&
           strcmp(a->pair->chain, b->pair->chain) == 0 &&
           strcmp(a->pair->key, b->pair->key) == 0;
}

/* The others were loaded anew, this one was not: what is in use, what is wrong
 * with the files, and which versions of them that was said of, stay. */
static void
keep_refused(struct certificate_row *old, struct certificate_row *new)
{
    struct certificate_row made = *new;

    new->files = old->files;
    new->facts = old->facts;
    new->refusal = old->refusal;
    new->told = old->told;
    old->files = made.files;
    old->facts = made.facts;
    old->refusal = NULL;
}

/* Alerts of the old revision go on where nothing has changed. */
static void
hand_over(struct certificates *c, struct certificate_row *old,
          struct certificate_row *new)
{
    struct err err;

    if (old->refusal != NULL && new != NULL && same_pair(old, new) &&
        !certificate_set_check(c->candidate, new, &err)) {
        keep_refused(old, new);
        return;
    }
    if (new == NULL || !ends_alike(old, new))
        clear_end(c, old, "replaced");
    else
        new->told = old->told;
    mend(c, old);
    if (new != NULL && !file_watch_same(&old->files, &new->files))
        log_taken(new, c->candidate->settings->revision);
}

void
certificates_prepare(struct certificates *c, struct settings *candidate)
{
    certificate_set_free(c->candidate);
    c->candidate = certificate_set_new(candidate);
}

void
certificates_commit(struct certificates *c)
{
    for (size_t i = 0; i < c->set->count; i++)
        hand_over(c, &c->set->rows[i],
                  certificate_set_find(c->candidate, &c->set->rows[i]));
    certificate_set_free(c->set);
    c->set = c->candidate;
    c->candidate = NULL;
    ocsp_use(c->ocsp, c->set->settings);
    arm_look(c);
    timer_arm(&c->expiry, 0);
}

void
certificates_abandon(struct certificates *c)
{
    certificate_set_free(c->candidate);
    c->candidate = NULL;
}

struct certificates *
certificates_new(struct service_host *host, struct settings *settings)
{
    struct certificates *c = mem_alloc(sizeof *c);

    c->host = host;
    c->loop = host->loops[0];
    c->set = certificate_set_new(settings);
    c->ocsp = ocsp_new(host, settings);
    timer_init(&c->look, c->loop, on_look);
    timer_init(&c->expiry, c->loop, on_expiry);
    arm_look(c);
    timer_arm(&c->expiry, 0);
    return c;
}

void
certificates_free(struct certificates *c)
{
    if (c->wait != NULL)
        c->wait->certificates = NULL;
    ocsp_free(c->ocsp);
    timer_fini(&c->look);
    timer_fini(&c->expiry);
    certificate_set_free(c->set);
    certificate_set_free(c->candidate);
    mem_free(c);
}

/* What status shows ------------------------------------------------------- */

static json_t *
describe_row(const struct certificate_row *row, int64_t now)
{
    const struct tls_certificate_facts *facts = row->facts;
    json_t *object = json_pack("{s:s, s:s, s:s*}", "name", row->name, "used_by",
                               row->used_by, "error", row->refusal);
    char date[CERTIFICATE_DATE_SIZE];
    enum tls_expiry expiry;

    if (facts == NULL)
        return object;
    expiry = tls_expiry_of(facts->not_after, now);
    json_object_set_new(object, "not_after",
                        json_string(certificate_date(facts->not_after, date)));
    json_object_set_new(object, "days_left",
                        json_integer(tls_days_left(facts->not_after, now)));
    json_object_set_new(
        object, "state",
        json_string(expiry == EXPIRY_FAR ? "ok" : tls_expiry_name(expiry)));
    json_object_set_new(object, "sha256", json_string(facts->sha256));
    return object;
}

json_t *
certificates_describe(const struct certificates *c)
{
    json_t *array = json_array();

    for (size_t i = 0; i < c->set->count; i++)
        if (c->set->rows[i].pair != NULL)
            json_array_append_new(array,
                                  describe_row(&c->set->rows[i], now_s(c)));
    return array;
}
