#include "record/notices.h"

#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "mail/address.h"
#include "record/notice_text.h"
#include "record/outbox.h"
#include <inttypes.h>

enum {
    TICK = 30000,     /* ms between two looks without a kick */
    AT_ONCE = 8,      /* mails on their way into the queue */
    AGAIN_AFTER = 60, /* s after the queue did not take one */
    AN_HOUR = 3600,   /* s */
    HOURLY_MAX = 50,  /* mails: when everything fails the fault is ours, and a
                       * thousand of them would bury that */
};

struct notices {
    struct loop *loop;
    struct store *store;
    struct record_world *world; /* borrowed */
    struct timer timer;
    struct list mails; /* on their way */
    int64_t hour;      /* seconds since 1970: when counting began */
    size_t in_hour;    /* mails since then */
};

struct notice_mail {
    struct notices *notices; /* NULL: gone */
    struct link link;
    struct arena arena;
    struct timer again; /* after it was refused */
    bool asked;         /* the answer comes */
    const char *domain;
    char name[64];
    struct trouble troubles[TROUBLES_MAX];
    size_t trouble_count;
};

static const struct tls_report_settings *
settings_of(const struct notices *n)
{
    return &n->world->settings->tls_reports;
}

static int64_t
now_s(const struct notices *n)
{
    return loop_wall_us(n->loop) / 1000000;
}

static void
mail_free(struct notice_mail *mail)
{
    if (mail->notices != NULL)
        list_remove(&mail->notices->mails, &mail->link);
    timer_fini(&mail->again);
    arena_fini(&mail->arena);
    mem_free(mail);
}

static void
log_database(const struct err *err)
{
    log_event(NULL, LOG_ERROR, "record.database", LOG_STR("reason", err->text));
}

/* It is in the queue: what it tells is not told again. */
static void
note_sent(struct notices *n, const struct notice_mail *mail,
          const char *queue_id)
{
    struct err err = {0};

    log_event(NULL, LOG_INFO, "tlsrpt.notice", LOG_STR("domain", mail->domain),
              LOG_STR("queue", queue_id));
    if (troubles_clear(n->store, mail->domain, mail->troubles,
                       mail->trouble_count, &err))
        outbox_remove(n->world->settings->state_dir, mail->name);
    else
        log_database(&err);
}

/* Perhaps the queue has it and only the answer was lost: the same mail is
 * offered again, under its name.  For a restart until then it is as if the last
 * one were so long ago that the next is due in a minute. */
static void
note_refused(struct notices *n, struct notice_mail *mail, const char *reason)
{
    int64_t told = now_s(n) + AGAIN_AFTER -
                   (int64_t)(settings_of(n)->failure_interval / 1000);
    struct err err = {0};

    log_event(NULL, LOG_ERROR, "tlsrpt.notice_failed",
              LOG_STR("domain", mail->domain), LOG_STR("reason", reason));
    if (!troubles_told(n->store, mail->domain, told, &err))
        log_database(&err);
    timer_arm(&mail->again, AGAIN_AFTER * 1000);
}

static void
on_submitted(void *arg, const char *queue_id, const char *reason)
{
    struct notice_mail *mail = arg;
    struct notices *n = mail->notices;

    mail->asked = false;
    if (n != NULL && queue_id == NULL) {
        note_refused(n, mail, reason);
        return;
    }
    if (n != NULL)
        note_sent(n, mail, queue_id);
    mail_free(mail);
    if (n != NULL)
        notices_kick(n);
}

/* --- One mail ------------------------------------------------------------- */

/* A notice to the very domain that fails would wait for it. */
static bool
goes_to(const struct notices *n, const char *domain)
{
    const struct tls_report_settings *settings = settings_of(n);
    struct mail_path path;

    for (size_t i = 0; i < settings->failure_recipient_count; i++)
        if (mail_mailbox_parse(sv_of(settings->failure_recipients[i]), &path) &&
            sv_eq_nocase(path.domain, sv_of(domain)))
            return true;
    return false;
}

/* One that cannot be signed goes as it is: it is worth more than that. */
static void
compose(struct notices *n, const struct notice_mail *mail, struct buf *out)
{
    const struct tls_report_settings *settings = settings_of(n);
    const struct notice notice = {
        .from = settings->from,
        .recipients = settings->failure_recipients,
        .recipient_count = settings->failure_recipient_count,
        .hostname = n->world->settings->hostname,
        .domain = mail->domain,
        .unique = mail->name,
        .troubles = mail->troubles,
        .trouble_count = mail->trouble_count,
        .interval_s = settings->failure_interval / 1000,
        .wall_s = now_s(n),
    };
    struct buf text = {0};
    struct err err;

    notice_write(&notice, &text);
    if (!world_sign(n->world, buf_view(&text), now_s(n), out, &err)) {
        buf_reset(out);
        buf_add(out, buf_view(&text));
    }
    buf_fini(&text);
}

/* The moment is written down before the mail goes: after a crash between the
 * two the counts come with the next notice. */
static bool
submit(struct notices *n, struct notice_mail *mail, struct err *err)
{
    const struct tls_report_settings *settings = settings_of(n);
    struct buf message = {0};
    bool ok = troubles_told(n->store, mail->domain, now_s(n), err);

    compose(n, mail, &message);
    mail->asked = ok;
    if (ok)
        outbox_send(n->loop, n->world->settings->state_dir,
                    &(struct outbox_mail){
                        .name = mail->name,
                        .message = buf_view(&message),
                        .recipients = settings->failure_recipients,
                        .recipient_count = settings->failure_recipient_count,
                        .tls_optional = goes_to(n, mail->domain),
                    },
                    on_submitted, mail);
    buf_fini(&message);
    return ok;
}

static void
on_again(struct timer *timer)
{
    struct notice_mail *mail = CONTAINER_OF(timer, struct notice_mail, again);
    struct notices *n = mail->notices;
    struct err err = {0};

    if (settings_of(n)->failure_recipient_count == 0) {
        outbox_remove(n->world->settings->state_dir, mail->name);
        mail_free(mail);
    } else if (!submit(n, mail, &err)) {
        log_database(&err);
        timer_arm(timer, AGAIN_AFTER * 1000);
    }
}

static bool
is_on_its_way(const struct notices *n, const char *domain)
{
    LIST_FOREACH (link, &n->mails)
        if (strcmp(CONTAINER_OF(link, struct notice_mail, link)->domain,
                   domain) == 0)
            return true;
    return false;
}

static void
tell(struct notices *n, const char *domain)
{
    struct notice_mail *mail = mem_alloc(sizeof *mail);
    struct err err = {0};

    mail->notices = n;
    arena_init(&mail->arena, 4096);
    timer_init(&mail->again, n->loop, on_again);
    mail->domain = arena_cstr(&mail->arena, sv_of(domain));
    snprintf(mail->name, sizeof mail->name, "notice-%016" PRIx64, random_u64());
    mail->trouble_count = troubles_load(n->store, domain, &mail->arena,
                                        mail->troubles, TROUBLES_MAX);
    list_push_back(&n->mails, &mail->link);
    if (mail->trouble_count > 0 && submit(n, mail, &err))
        return;
    if (err.text[0] != '\0')
        log_database(&err);
    mail_free(mail);
}

/* --- The clock ------------------------------------------------------------ */

/* How many mails may go now; those that may not keep their counts. */
static size_t
room(struct notices *n)
{
    size_t hourly, free = AT_ONCE - n->mails.length;

    if (now_s(n) - n->hour >= AN_HOUR || now_s(n) < n->hour) {
        n->hour = now_s(n);
        n->in_hour = 0;
    }
    hourly = HOURLY_MAX - n->in_hour;
    return hourly < free ? hourly : free;
}

static void
on_tick(struct timer *timer)
{
    struct notices *n = CONTAINER_OF(timer, struct notices, timer);
    int64_t interval = (int64_t)(settings_of(n)->failure_interval / 1000);
    const char *domains[AT_ONCE];
    struct arena arena;
    size_t count, free = room(n);

    timer_arm(timer, TICK);
    if (settings_of(n)->failure_recipient_count == 0 || free == 0)
        return;
    arena_init(&arena, 4096);
    count = troubles_domains(n->store, now_s(n) - interval, &arena, domains,
                             free + n->mails.length);
    for (size_t i = 0; i < count && free > 0; i++)
        if (!is_on_its_way(n, domains[i])) {
            tell(n, domains[i]);
            n->in_hour++;
            free--;
        }
    arena_fini(&arena);
}

struct notices *
notices_new(struct loop *loop, struct store *store, struct record_world *world)
{
    struct notices *n = mem_alloc(sizeof *n);

    n->loop = loop;
    n->store = store;
    n->world = world;
    list_init(&n->mails);
    timer_init(&n->timer, loop, on_tick);
    timer_arm(&n->timer, 0);
    return n;
}

void
notices_free(struct notices *n)
{
    if (n == NULL)
        return;
    LIST_FOREACH_SAFE (link, next, &n->mails) {
        struct notice_mail *mail = CONTAINER_OF(link, struct notice_mail, link);

        if (!mail->asked) {
            mail_free(mail);
            continue;
        }
        list_remove(&n->mails, link);
        mail->notices = NULL; /* the answer frees it */
    }
    timer_fini(&n->timer);
    mem_free(n);
}

void
notices_set_world(struct notices *n, struct record_world *world)
{
    n->world = world;
    notices_kick(n);
}

void
notices_kick(struct notices *n)
{
    timer_arm(&n->timer, 0);
}
