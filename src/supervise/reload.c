/* A reload: one transaction over all processes.
 *
 *   wanted ──nobody is starting──▶ active ──all READY──▶ committing ──▶ done
 *                                    │                  all COMMITTED
 *                                    └─ REFUSED, death, time ─▶ abandoned
 *
 * A process that is down takes no part: it starts with what is in force then,
 * so a configuration that mends it can be loaded. */
#include "supervise/supervisor_internal.h"

#include "base/clock.h"
#include "base/log.h"

void
reload_request(struct supervisor *s, enum reload_by by)
{
    s->reload.wanted |= by;
}

static void
tell_result(struct supervisor *s, bool ok, uint64_t number, const char *text)
{
    struct channel_message message = {
        .type = CHANNEL_RELOADED, .flag = ok, .number = number};
    struct child *controller = children_controller(s);

    if (ok)
        log_event(NULL, LOG_INFO, "supervisor.reload",
                  LOG_U64("revision", number),
                  LOG_STR("config", s->config_path));
    else
        log_event(NULL, LOG_ERROR, "supervisor.reload_refused",
                  LOG_U64("revision", number), LOG_STR("reason", text),
                  LOG_U64("in_force", s->revision.number));
    notify_ready(s);
    if (!(s->reload.by & (RELOAD_BY_CONTROLLER | RELOAD_OF_FILES)) ||
        controller->channel == -1)
        return;
    /* Whoever asked while this one ran meant the file as it is now: both get
     * the answer of the reload that comes next. */
    if (s->reload.wanted & RELOAD_BY_CONTROLLER)
        return;
    message.values[0] = s->reload.by == RELOAD_OF_FILES;
    CHANNEL_TEXT(message.text, text);
    child_send(s, controller, &message, NULL, 0);
}

static void
reload_end(struct supervisor *s, bool ok, uint64_t number, const char *text)
{
    s->reload.active = s->reload.committing = false;
    for (size_t i = 0; i < CHILDREN; i++)
        s->children[i].asked = false;
    tell_result(s, ok, number, text);
    s->reload.by = 0;
}

static bool
answers_missing(const struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].asked)
            return true;
    return false;
}

static void
send_all_ready(struct supervisor *s, enum channel_type type, uint64_t number)
{
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].state == LINK_READY)
            child_send_type(s, &s->children[i], type, number);
}

static void
reload_abandon(struct supervisor *s, const char *text)
{
    uint64_t number = s->reload.candidate.number;

    send_all_ready(s, CHANNEL_ABANDON, number);
    revision_abandon(s, &s->reload.candidate);
    reload_end(s, false, number, text);
}

/* Processes that are down wait no longer: the cause may be gone. */
static void
start_soon(struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++) {
        struct child *child = &s->children[i];

        if (child->state == LINK_DOWN && child->start_at != NEVER)
            child->start_at = clock_mono_ms();
    }
}

/* The candidate's settings and sockets become ours. */
static void
take_candidate(struct supervisor *s)
{
    struct revision *candidate = &s->reload.candidate;
    struct revision old = s->revision;

    listen_set_replace(&old.listeners, &candidate->listeners);
    s->revision = *candidate;
    s->revision.of_files = false; /* who starts now reads all anew */
    s->revision.listeners = old.listeners;
    old.listeners = (struct listen_set){0};
    *candidate = (struct revision){.text_fd = -1};
    revision_close(&old);
}

static void
use_settings(struct supervisor *s)
{
    const struct settings *settings = s->revision.settings;
    struct err err;

    if (!revision_open_log(settings, &err))
        log_event(NULL, LOG_ERROR, "supervisor.log_failed",
                  LOG_STR("reason", err.text));
    if (settings->loops != 0 && settings->loops != s->loops)
        log_event(NULL, LOG_WARNING, "supervisor.needs_restart",
                  LOG_STR("setting", "loops"), LOG_U64("in_use", s->loops),
                  LOG_U64("configured", settings->loops));
}

static void
end_if_committed(struct supervisor *s)
{
    if (!answers_missing(s))
        reload_end(s, true, s->revision.number, "");
}

static void
reload_commit(struct supervisor *s)
{
    send_all_ready(s, CHANNEL_COMMIT, s->reload.candidate.number);
    take_candidate(s);
    use_settings(s);
    start_soon(s);
    s->reload.committing = true;
    s->reload.deadline = clock_mono_ms() + COMMIT_TIMEOUT;
    for (size_t i = 0; i < CHILDREN; i++)
        s->children[i].asked = s->children[i].state == LINK_READY;
    end_if_committed(s);
}

/* A reload of the files waits until one that reads the text too has ended: that
 * one may be refused for what the text says. */
static void
take_wish(struct reload *reload)
{
    unsigned whole = reload->wanted & ~(unsigned)RELOAD_OF_FILES;

    reload->by = whole != 0 ? whole : reload->wanted;
    reload->wanted &= ~reload->by;
}

static void
reload_begin(struct supervisor *s, uint64_t now)
{
    struct revision *candidate = &s->reload.candidate;
    struct err err;
    bool loaded;

    take_wish(&s->reload);
    notify_reloading();
    loaded = s->reload.by == RELOAD_OF_FILES
                 ? revision_load_again(s, candidate, &err)
                 : revision_load(s, candidate, &err);
    if (!loaded) {
        reload_end(s, false, s->last_number, err.text);
        return;
    }
    if (!listen_set_open(&candidate->listeners, candidate->settings,
                         &s->revision.listeners, s->loops, &err)) {
        revision_close(candidate);
        reload_end(s, false, s->last_number, err.text);
        return;
    }
    s->reload.active = true;
    s->reload.deadline = now + PREPARE_TIMEOUT;
    for (size_t i = 0; i < CHILDREN; i++) {
        if (s->children[i].state != LINK_READY)
            continue;
        s->children[i].asked = true;
        child_send_revision(s, &s->children[i], candidate);
    }
    if (!answers_missing(s))
        reload_commit(s);
}

static bool
somebody_starts(const struct supervisor *s)
{
    for (size_t i = 0; i < CHILDREN; i++)
        if (s->children[i].state == LINK_STARTING)
            return true;
    return false;
}

uint64_t
reload_tick(struct supervisor *s, uint64_t now)
{
    struct reload *reload = &s->reload;

    if (reload->active && reload->deadline <= now) {
        if (reload->committing)
            reload_end(s, true, s->revision.number, "");
        else
            reload_abandon(s, "not all processes answered in time");
    }
    while (!reload->active && reload->wanted != 0 && !s->drain.active &&
           !somebody_starts(s))
        reload_begin(s, now);
    return reload->active ? reload->deadline : NEVER;
}

void
reload_answer(struct supervisor *s, struct child *child, uint64_t number,
              const char *refusal)
{
    char text[CHANNEL_REFUSAL_MAX];

    if (!s->reload.active || s->reload.committing || !child->asked ||
        number != s->reload.candidate.number)
        return; /* an answer that came too late */
    child->asked = false;
    if (refusal != NULL) {
        snprintf(text, sizeof text, "%s: %s", child->name, refusal);
        reload_abandon(s, text);
    } else if (!answers_missing(s)) {
        reload_commit(s);
    }
}

void
reload_committed(struct supervisor *s, struct child *child, uint64_t number)
{
    if (!s->reload.committing || number != s->revision.number)
        return;
    child->asked = false;
    end_if_committed(s);
}

void
reload_child_died(struct supervisor *s, struct child *child)
{
    char text[CHANNEL_REFUSAL_MAX];

    if (!s->reload.active)
        return;
    child->asked = false;
    if (s->reload.committing) { /* it starts with the new one */
        end_if_committed(s);
        return;
    }
    /* Also one that has answered: it is not started again before the reload has
     * ended, and another that hangs would keep it down for all that time. */
    snprintf(text, sizeof text,
             "the %s died while it prepared the new "
             "configuration",
             child->name);
    reload_abandon(s, text);
}

void
reload_cancel(struct supervisor *s)
{
    s->reload.wanted = 0;
    if (s->reload.committing)
        reload_end(s, true, s->revision.number, "");
    else if (s->reload.active)
        reload_abandon(s, "waxgate is being stopped");
}
