/* What is raised now, kept here so that a controller that was restarted learns
 * of it; a service's alerts end with its process, which raises them anew. */
#include "supervise/supervisor_internal.h"

#include "base/clock.h"
#include "base/log.h"

static void
tell_controller(struct supervisor *s, const struct link_alert *alert,
                bool raised)
{
    struct child *controller = children_controller(s);
    struct channel_message message = {.type = CHANNEL_ALERT, .flag = raised};

    if (controller->state != LINK_READY)
        return; /* alerts_replay() comes */
    CHANNEL_TEXT(message.source, alert->source);
    CHANNEL_TEXT(message.name, alert->key);
    CHANNEL_TEXT(message.text, alert->text);
    message.values[0] = alert->since;
    child_send(s, controller, &message, NULL, 0);
}

static struct link_alert *
alert_find(struct supervisor *s, const char *source, const char *key)
{
    for (size_t i = 0; i < s->alert_count; i++)
        if (strcmp(s->alerts[i].source, source) == 0 &&
            strcmp(s->alerts[i].key, key) == 0)
            return &s->alerts[i];
    return NULL;
}

static void
alert_remove(struct supervisor *s, struct link_alert *alert)
{
    size_t behind = (size_t)(&s->alerts[s->alert_count] - (alert + 1));

    tell_controller(s, alert, false);
    memmove(alert, alert + 1, behind * sizeof *alert);
    s->alert_count--;
}

void
alert_set(struct supervisor *s, const char *source, const char *key,
          bool raised, const char *text)
{
    struct link_alert *alert = alert_find(s, source, key);

    if (!raised) {
        if (alert != NULL)
            alert_remove(s, alert);
        return;
    }
    if (alert == NULL) {
        if (s->alert_count == LINK_ALERTS_MAX)
            return; /* it is in the log */
        alert = &s->alerts[s->alert_count++];
        *alert = (struct link_alert){.since = clock_wall_s()};
        CHANNEL_TEXT(alert->source, source);
        CHANNEL_TEXT(alert->key, key);
    }
    CHANNEL_TEXT(alert->text, text);
    tell_controller(s, alert, true);
}

void
alert_own(struct supervisor *s, const char *key, bool raised, const char *text)
{
    if (!raised && alert_find(s, "supervisor", key) == NULL)
        return;
    log_event(NULL, raised ? LOG_ERROR : LOG_INFO,
              raised ? "alert.raise" : "alert.clear", LOG_STR("key", key),
              LOG_STR("text", text));
    alert_set(s, "supervisor", key, raised, text);
}

void
alerts_forget(struct supervisor *s, const char *source)
{
    for (size_t i = s->alert_count; i > 0; i--)
        if (strcmp(s->alerts[i - 1].source, source) == 0)
            alert_remove(s, &s->alerts[i - 1]);
}

void
alerts_replay(struct supervisor *s)
{
    for (size_t i = 0; i < s->alert_count; i++)
        tell_controller(s, &s->alerts[i], true);
}
