/* How a service process takes a configuration: the first one starts the
 * service, later ones are candidates until COMMIT or ABANDON. */
#include "supervise/child_internal.h"

#include "base/log.h"
#include "service/asyncos_log.h"
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void
sockets_close(struct child_revision *revision)
{
    for (size_t i = 0; i < revision->socket_count; i++) {
        struct service_socket *row = &revision->sockets[i];
        char *name; /* ours, though those who read the row may not change it */

        memcpy(&name, &row->listener, sizeof name);
        for (size_t j = 0; j < row->count; j++)
            close(row->fds[j]);
        mem_free(name);
        mem_free(row->fds);
    }
    mem_free(revision->sockets);
    revision->sockets = NULL;
    revision->socket_count = 0;
}

static void
revision_fini(struct child_revision *revision)
{
    sockets_close(revision);
    settings_unref(revision->settings);
    if (revision->text_fd != -1)
        close(revision->text_fd);
    *revision = (struct child_revision){.text_fd = -1};
}

void
child_on_revision(struct child_process *child,
                  const struct channel_message *message, int text_fd)
{
    struct child_revision *candidate = &child->candidate;
    struct err err;

    revision_fini(candidate);
    candidate->number = message->number;
    candidate->of_files = message->flag != 0;
    candidate->text_fd = text_fd;
    CHANNEL_TEXT(candidate->path, message->text);
    if (child->self != NULL)
        return;
    child->link.started = message->values[1];
    if (child->service->loops_per_core > 0 &&
        !child_loops_open(child, (size_t)message->values[0], &err)) {
        log_event(NULL, LOG_ERROR, "service.failed",
                  LOG_STR("reason", err.text));
        child_finish(child, 1);
    }
}

/* A listener with more sockets than fit one message comes in several. */
void
child_on_sockets(struct child_process *child, const char *listener,
                 const int *fds, size_t count)
{
    struct child_revision *candidate = &child->candidate;
    struct service_socket *row = NULL;

    if (listener[0] == '\0') {
        assert(count == 1);
        child->calls_fd = fds[0];
        return;
    }
    if (candidate->socket_count > 0)
        row = &candidate->sockets[candidate->socket_count - 1];
    if (row == NULL || strcmp(row->listener, listener) != 0) {
        candidate->sockets =
            mem_resize(candidate->sockets, (candidate->socket_count + 1) *
                                               sizeof *candidate->sockets);
        row = &candidate->sockets[candidate->socket_count++];
        *row = (struct service_socket){.listener = mem_strdup(listener)};
    }
    row->fds = mem_resize(row->fds, (row->count + count) * sizeof *row->fds);
    memcpy(row->fds + row->count, fds, count * sizeof *fds);
    row->count += count;
}

static bool
load_candidate(struct child_revision *candidate, struct err *err)
{
    const struct settings_options options = {.check_files = true,
                                             .keep_pairs = candidate->of_files,
                                             .in_force = true,
                                             .revision = candidate->number};
    struct stat status;
    void *text;

    if (fstat(candidate->text_fd, &status) == -1) {
        err_sys(err, "configuration");
        return false;
    }
    if (status.st_size == 0) {
        candidate->settings =
            settings_load(SV(""), candidate->path, &options, err);
        return candidate->settings != NULL;
    }
    text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE,
                candidate->text_fd, 0);
    if (text == MAP_FAILED) {
        err_sys(err, "configuration");
        return false;
    }
    candidate->settings =
        settings_load((struct sv){text, (size_t)status.st_size},
                      candidate->path, &options, err);
    munmap(text, (size_t)status.st_size);
    return candidate->settings != NULL;
}

static bool
use_log(struct child_process *child, const struct settings *settings,
        struct err *err)
{
    const struct log_options options = {
        .process = child->service->name,
        .path = settings->log.path,
        .level = settings->log.level,
        .format = settings->log.format,
    };

    return log_open(&options, err) &&
           asyncos_log_open(settings->log.asyncos, err);
}

static bool
start(struct child_process *child, struct err *err)
{
    struct child_revision *candidate = &child->candidate;

    if (!use_log(child, candidate->settings, err))
        return false;
    child->self =
        child->service->start(&child->host, candidate->settings,
                              candidate->sockets, candidate->socket_count, err);
    if (child->self == NULL)
        return false;
    child->current = *candidate;
    *candidate = (struct child_revision){.text_fd = -1};
    child_serve(child);
    return true;
}

static bool
prepare(struct child_process *child, struct err *err)
{
    struct child_revision *candidate = &child->candidate;

    if (!log_try(candidate->settings->log.path, err) ||
        !asyncos_log_try(candidate->settings->log.asyncos, err))
        return false;
    child->prepared = child->service->prepare(child->self, candidate->settings,
                                              candidate->sockets,
                                              candidate->socket_count, err);
    return child->prepared;
}

void
child_on_prepare(struct child_process *child)
{
    struct channel_message answer = {.type = CHANNEL_READY,
                                     .number = child->candidate.number};
    bool first = child->self == NULL;
    struct err err = {0};
    bool ok = !child->draining && load_candidate(&child->candidate, &err) &&
              (first ? start(child, &err) : prepare(child, &err));

    if (!ok) {
        answer.type = CHANNEL_REFUSED;
        CHANNEL_TEXT(answer.text, err.text);
        revision_fini(&child->candidate);
    }
    child_tell(child, &answer);
    if (!ok && first)
        child_finish(child, 1);
}

void
child_on_commit(struct child_process *child)
{
    struct child_revision old = child->current;
    struct channel_message answer = {.type = CHANNEL_COMMITTED};
    struct err err;

    if (!child->prepared)
        return; /* it is draining */
    child->prepared = false;
    child->service->commit(child->self);
    child->current = child->candidate;
    child->candidate = (struct child_revision){.text_fd = -1};
    revision_fini(&old);
    if (!use_log(child, child->current.settings, &err))
        log_event(NULL, LOG_ERROR, "service.log_failed",
                  LOG_STR("reason", err.text));
    answer.number = child->current.number;
    child_tell(child, &answer);
}

void
child_on_abandon(struct child_process *child)
{
    if (child->prepared)
        child->service->abandon(child->self);
    child->prepared = false;
    revision_fini(&child->candidate);
}

void
child_sockets_shutdown(struct child_process *child)
{
    for (size_t i = 0; i < child->current.socket_count; i++)
        for (size_t j = 0; j < child->current.sockets[i].count; j++)
            shutdown(child->current.sockets[i].fds[j], SHUT_RDWR);
}
