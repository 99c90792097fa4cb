/* One configuration: its text, what it means, and its sockets. */
#include "supervise/supervisor_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "supervise/privilege.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_MAX = 1 << 20 }; /* bytes of a file; lib/conf reads no more */

static bool
read_text(const char *path, struct buf *text, struct err *err)
{
    ssize_t got = -1;
    int fd;

    privilege_raise(); /* it may be root's alone */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    privilege_lower();
    if (fd != -1)
        do {
            char *dst = buf_reserve(text, 65536);

            got = read(fd, dst, 65536);
            if (got > 0)
                buf_grew(text, (size_t)got);
        } while (got > 0 && buf_length(text) <= CONFIG_MAX);
    if (got == -1)
        err_sys(err, "%s", path);
    if (fd != -1)
        close(fd);
    return got != -1;
}

/* The services get the very bytes that were checked here, whatever happens to
 * the file meanwhile. */
static int
seal_text(struct sv text, struct err *err)
{
    int fd =
        memfd_create("waxgate-configuration", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd != -1 && write(fd, text.p, text.n) == (ssize_t)text.n &&
        fcntl(fd, F_ADD_SEALS,
              F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return fd;
    err_sys(err, "keep the configuration");
    if (fd != -1)
        close(fd);
    return -1;
}

/* What the running processes cannot change. */
static bool
check_fixed(const struct supervisor *s, const struct settings *candidate,
            struct err *err)
{
    const struct settings *now = s->revision.settings;

    if (now == NULL)
        return true;
    if (strcmp(now->state_dir, candidate->state_dir) != 0)
        err_set(err, "state_dir cannot change from %s to %s by a reload",
                now->state_dir, candidate->state_dir);
    else if (strcmp(now->user, candidate->user) != 0)
        err_set(err, "user cannot change from \"%s\" to \"%s\" by a reload",
                now->user, candidate->user);
    else
        return true;
    err_wrap(err, "%s: restart waxgate for this", s->config_path);
    return false;
}

static bool
read_again(int text_fd, struct buf *text, struct err *err)
{
    off_t place = 0;
    ssize_t got;

    do {
        got = pread(text_fd, buf_reserve(text, 65536), 65536, place);
        if (got > 0) {
            buf_grew(text, (size_t)got);
            place += got;
        }
    } while (got > 0);
    if (got == -1)
        err_sys(err, "configuration in force");
    return got != -1;
}

static bool
load(struct supervisor *s, struct sv text, struct revision *revision,
     struct err *err)
{
    const struct settings_options options = {.check_files = true,
                                             .keep_pairs = revision->of_files,
                                             .in_force = revision->of_files,
                                             .revision = revision->number};

    revision->settings = settings_load(text, s->config_path, &options, err);
    if (revision->settings == NULL || !check_fixed(s, revision->settings, err))
        return false;
    revision->text_fd = seal_text(text, err);
    return revision->text_fd != -1;
}

bool
revision_load(struct supervisor *s, struct revision *revision, struct err *err)
{
    struct buf text = {0};
    bool ok;

    *revision = (struct revision){.number = ++s->last_number, .text_fd = -1};
    ok = read_text(s->config_path, &text, err) &&
         load(s, buf_view(&text), revision, err);
    if (!ok)
        revision_close(revision);
    buf_fini(&text);
    return ok;
}

bool
revision_load_again(struct supervisor *s, struct revision *revision,
                    struct err *err)
{
    struct buf text = {0};
    bool ok;

    *revision = (struct revision){
        .number = ++s->last_number, .text_fd = -1, .of_files = true};
    ok = read_again(s->revision.text_fd, &text, err) &&
         load(s, buf_view(&text), revision, err);
    if (!ok)
        revision_close(revision);
    buf_fini(&text);
    return ok;
}

void
revision_close(struct revision *revision)
{
    listen_set_close(&revision->listeners);
    settings_unref(revision->settings);
    if (revision->text_fd != -1)
        close(revision->text_fd);
    *revision = (struct revision){.text_fd = -1};
}

void
revision_abandon(struct supervisor *s, struct revision *candidate)
{
    listen_set_abandon(&s->revision.listeners, &candidate->listeners);
    revision_close(candidate);
}

bool
revision_open_log(const struct settings *settings, struct err *err)
{
    const struct log_options options = {
        .process = "supervisor",
        .path = settings->log.path,
        .level = settings->log.level,
        .format = settings->log.format,
    };

    return log_open(&options, err);
}
