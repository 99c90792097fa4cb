/* What goes up to the supervisor and what comes down from it. */
#include "supervise/child_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

struct child_waiter {
    link_on_reload *on_reload;
    void *arg;
    uint32_t files_only;
};

/* The supervisor reads at once; while it writes a log line it may take a
 * moment. */
void
child_tell(struct child_process *child, const struct channel_message *message)
{
    struct pollfd room = {.fd = CHANNEL_FD, .events = POLLOUT};
    struct err err;

    if (channel_send(CHANNEL_FD, message, NULL, 0, &err))
        return;
    if (err.code == EAGAIN && poll(&room, 1, 5000) == 1 &&
        channel_send(CHANNEL_FD, message, NULL, 0, &err))
        return;
    if (getppid() == child->parent)
        log_event(NULL, LOG_ERROR, "service.channel_failed",
                  LOG_STR("reason", err.text));
}

enum alert_news { ALERT_SAME, ALERT_NEW_TEXT, ALERT_CHANGED };

/* child->alerts has the text of each that stands. */
static enum alert_news
note_alert(struct child_process *child, struct sv key, bool raised,
           const char *text)
{
    enum alert_news news = ALERT_SAME;
    char *was;

    pthread_mutex_lock(&child->lock);
    was = raised ? map_put(&child->alerts, key, mem_strdup(text))
                 : map_remove(&child->alerts, key);
    pthread_mutex_unlock(&child->lock);
    if (raised != (was != NULL))
        news = ALERT_CHANGED;
    else if (raised && strcmp(was, text) != 0)
        news = ALERT_NEW_TEXT;
    mem_free(was);
    return news;
}

static void
on_alert(struct service_host *host, const char *key, bool raised,
         const char *text)
{
    struct child_process *child =
        CONTAINER_OF(host, struct child_process, host);
    struct channel_message message = {.type = CHANNEL_ALERT, .flag = raised};
    enum alert_news news = note_alert(child, sv_of(key), raised, text);

    if (news == ALERT_SAME)
        return;
    if (news == ALERT_CHANGED)
        log_event(NULL, raised ? LOG_ERROR : LOG_INFO,
                  raised ? "alert.raise" : "alert.clear", LOG_STR("key", key),
                  LOG_STR("text", text));
    CHANNEL_TEXT(message.name, key);
    CHANNEL_TEXT(message.text, text);
    child_tell(child, &message);
}

static void
add_waiter(struct child_process *child, struct child_waiter waiter)
{
    child->waiters = mem_resize(child->waiters, (child->waiter_count + 1) *
                                                    sizeof *child->waiters);
    child->waiters[child->waiter_count++] = waiter;
}

static void
ask(struct supervisor_link *link, struct child_waiter waiter)
{
    struct child_process *child =
        CONTAINER_OF(link, struct child_process, link);
    const struct channel_message message = {.type = CHANNEL_RELOAD,
                                            .flag = waiter.files_only};

    add_waiter(child, waiter);
    child_tell(child, &message);
}

static void
ask_reload(struct supervisor_link *link, link_on_reload *on_reload, void *arg)
{
    ask(link, (struct child_waiter){.on_reload = on_reload, .arg = arg});
}

static void
ask_reload_files(struct supervisor_link *link, link_on_reload *on_reload,
                 void *arg)
{
    ask(link, (struct child_waiter){
                  .on_reload = on_reload, .arg = arg, .files_only = true});
}

/* Who waits for a reload of the other kind goes on waiting. */
void
child_on_reloaded(struct child_process *child,
                  const struct channel_message *message)
{
    struct child_waiter *waiters = child->waiters;
    size_t count = child->waiter_count;

    child->waiters = NULL;
    child->waiter_count = 0;
    for (size_t i = 0; i < count; i++)
        waiters[i].on_reload(waiters[i].arg, message->flag != 0,
                             message->number, message->text);
    mem_free(waiters);
}

void
child_on_process(struct child_process *child,
                 const struct channel_message *message)
{
    struct supervisor_link *link = &child->link;
    struct link_process *row;

    assert(message->number < LINK_PROCESSES_MAX);
    row = &link->processes[message->number];
    if (message->number >= link->process_count)
        link->process_count = (size_t)message->number + 1;
    CHANNEL_TEXT(row->name, message->name);
    row->state = (enum link_state)message->values[0];
    row->pid = (uint32_t)message->values[1];
    row->restarts = (uint32_t)message->values[2];
    row->since = message->values[3];
}

static size_t
find_alert(const struct supervisor_link *link,
           const struct channel_message *message)
{
    size_t i = 0;

    while (i < link->alert_count &&
           (strcmp(link->alerts[i].source, message->source) != 0 ||
            strcmp(link->alerts[i].key, message->name) != 0))
        i++;
    return i;
}

void
child_on_alert(struct child_process *child,
               const struct channel_message *message)
{
    struct supervisor_link *link = &child->link;
    size_t at = find_alert(link, message);
    struct link_alert *row = &link->alerts[at];

    if (message->flag == 0) {
        if (at == link->alert_count)
            return;
        memmove(row, row + 1, (link->alert_count - at - 1) * sizeof *row);
        link->alert_count--;
        return;
    }
    if (at == LINK_ALERTS_MAX)
        return;
    if (at == link->alert_count)
        link->alert_count++;
    CHANNEL_TEXT(row->source, message->source);
    CHANNEL_TEXT(row->key, message->name);
    CHANNEL_TEXT(row->text, message->text);
    row->since = message->values[0];
}

void
child_link_init(struct child_process *child)
{
    pthread_mutex_init(&child->lock, NULL);
    child->host.alert = on_alert;
    child->host.supervisor = &child->link;
    child->link.reload = ask_reload;
    child->link.reload_files = ask_reload_files;
}

void
child_link_fini(struct child_process *child)
{
    size_t cursor = 0;
    struct sv key;
    void *text;

    mem_free(child->waiters);
    while (map_next(&child->alerts, &cursor, &key, &text))
        mem_free(text);
    map_fini(&child->alerts);
    pthread_mutex_destroy(&child->lock);
}
