#include "control/ocsp.h"

#include "base/buf.h"
#include "base/log.h"
#include "control/certificate_set.h"
#include "dns/dns.h"
#include "https/https.h"
#include "tls/ocsp.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FETCH_MS = 30000,
    RETRY_MS = 60000, /* after the first failure; doubled up to … */
    RETRY_MAX_MS = 3600000,
    LOOK_MAX_MS = 3600000, /* clocks are set, files are removed */
    PAST_HALF_MS = 60000,  /* at least, while the answer has no newer one */
    ALERT_AFTER = 3,       /* failures */
    PATH_SIZE = 4096,
    KEY_SIZE = 260,
};

struct ocsp_row {
    struct ocsp *ocsp;
    const struct certificate_settings *pair; /* of ocsp->settings */
    struct timer timer;
    struct https_call *call; /* under way; NULL: none */
    char *url;               /* owned; asked last */
    unsigned failures;       /* since the last good answer */
    uint64_t not_before;     /* loop time: a good answer is asked for anew */
};

struct ocsp {
    struct service_host *host;
    struct loop *loop;
    struct settings *settings;     /* referenced */
    struct https_client *client;   /* owned; NULL: nothing is fetched */
    struct dns_resolver *resolver; /* owned */
    struct ocsp_row *rows;         /* owned */
    size_t count;
};

/* The pair with this answer. */
static struct tls_certificate_files
files_of(const struct ocsp_row *row, const char *answer)
{
    struct tls_certificate_files files = settings_certificate_files(row->pair);

    files.ocsp = answer;
    return files;
}

static void
alert(struct ocsp_row *row, bool raised, const char *text)
{
    struct service_host *host = row->ocsp->host;
    char key[KEY_SIZE];

    snprintf(key, sizeof key, "certificate.%s.ocsp", row->pair->name);
    host->alert(host, key, raised, text);
}

/* Failures ---------------------------------------------------------------- */

static bool
has_fresh(const struct ocsp_row *row)
{
    const struct tls_certificate_files files =
        files_of(row, row->pair->ocsp_file);
    struct err err;

    return tls_staple_check(&files, &err);
}

static uint64_t
delay_of(unsigned failures)
{
    uint64_t delay = RETRY_MS;

    while (--failures > 0 && delay < RETRY_MAX_MS)
        delay *= 2;
    return delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS;
}

static void
fail(struct ocsp_row *row, bool revoked, const char *why)
{
    row->failures++;
    log_event(NULL, revoked ? LOG_ERROR : LOG_WARNING, "certificate.ocsp",
              LOG_STR("name", row->pair->name),
              LOG_IF(row->url != NULL, LOG_STR("url", row->url)),
              LOG_U64("failures", row->failures), LOG_STR("reason", why));
    if (revoked || (row->failures >= ALERT_AFTER && !has_fresh(row)))
        alert(row, true, why);
    timer_arm(&row->timer, delay_of(row->failures));
}

/* An answer --------------------------------------------------------------- */

static bool
write_file(const char *path, struct sv bytes, struct err *err)
{
    int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd != -1 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n &&
              fsync(fd) == 0;

    if (!ok)
        err_sys(err, "write %s", path);
    if (fd != -1)
        close(fd);
    return ok;
}

static bool
make_folder(const struct ocsp *ocsp, struct err *err)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/ocsp", ocsp->settings->state_dir);
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    err_sys(err, "make directory %s", path);
    return false;
}

static bool
holds(const char *path, struct sv bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct buf now = {0};
    ssize_t got = 0;
    bool same;

    if (fd == -1)
        return false;
    while (buf_length(&now) <= bytes.n &&
           (got = read(fd, buf_reserve(&now, 4096), 4096)) > 0)
        buf_grew(&now, (size_t)got);
    close(fd);
    same = got == 0 && sv_eq(buf_view(&now), bytes);
    buf_fini(&now);
    return same;
}

/* Beside the one in use until it is known to be good. */
static bool
take(struct ocsp_row *row, struct sv answer, struct tls_staple_period *period,
     struct err *err)
{
    const char *path = row->pair->ocsp_file;
    char fresh[PATH_SIZE];
    struct tls_certificate_files files;
    bool ok;

    *period = (struct tls_staple_period){0};
    snprintf(fresh, sizeof fresh, "%s.new", path);
    files = files_of(row, fresh);
    ok = make_folder(row->ocsp, err) && write_file(fresh, answer, err);
    if (ok && tls_staple_period_of(&files, period, err)) {
        /* Written again, the same would look like a change to who watches. */
        if (holds(path, answer)) {
            unlink(fresh);
            return true;
        }
        if (rename(fresh, path) == 0)
            return true;
        err_sys(err, "rename %s to %s", fresh, path);
    }
    unlink(fresh);
    return false;
}

static int64_t
half_of(const struct tls_staple_period *period)
{
    return period->from + (period->until - period->from) / 2;
}

/* Authorities sign ahead and answer from caches, so a new answer may be past
 * half of its period too: then half of what is left. */
static uint64_t
wait_of(const struct tls_staple_period *period, int64_t now)
{
    int64_t half = half_of(period);
    int64_t left = period->until > now ? period->until - now : 0;
    uint64_t ms = (uint64_t)(half > now ? half - now : left / 2) * 1000;

    if (half <= now && ms < PAST_HALF_MS)
        ms = PAST_HALF_MS;
    return ms < LOOK_MAX_MS ? ms : LOOK_MAX_MS;
}

static void
wait_for_half(struct ocsp_row *row, const struct tls_staple_period *period)
{
    int64_t now = loop_wall_us(row->ocsp->loop) / 1000000;

    timer_arm(&row->timer, wait_of(period, now));
}

static void
on_answer(void *arg, const struct https_answer *answer)
{
    struct ocsp_row *row = arg;
    struct tls_staple_period period;
    char until[CERTIFICATE_DATE_SIZE];
    struct err err;

    row->call = NULL;
    if (answer->stage != HTTPS_OK) {
        fail(row, false, answer->reason);
        return;
    }
    if (!take(row, answer->body, &period, &err)) {
        fail(row, period.revoked, err.text);
        return;
    }
    row->failures = 0;
    log_event(NULL, LOG_INFO, "certificate.ocsp_fetched",
              LOG_STR("name", row->pair->name), LOG_STR("url", row->url),
              LOG_STR("until", certificate_date(period.until, until)));
    alert(row, false, "fetched");
    row->not_before = loop_now(row->ocsp->loop) +
                      wait_of(&period, loop_wall_us(row->ocsp->loop) / 1000000);
    wait_for_half(row, &period);
}

/* Asking ------------------------------------------------------------------ */

static void
ask(struct ocsp_row *row, const struct tls_ocsp_question *question)
{
    const struct https_request request = {
        .url = question->url,
        .clear_text = true,
        .media_type = TLS_OCSP_ANSWER_TYPE,
        .content_type = TLS_OCSP_QUESTION_TYPE,
        .body = question->der,
        .max_body = TLS_OCSP_ANSWER_MAX,
        .timeout_ms = FETCH_MS,
    };

    mem_free(row->url);
    row->url = mem_strdup(question->url);
    row->call = https_send(row->ocsp->client, row->ocsp->resolver, &request,
                           on_answer, row);
}

static void
ask_whom_it_names(struct ocsp_row *row)
{
    const struct tls_certificate_files files = files_of(row, NULL);
    struct tls_ocsp_question question;
    struct err err;

    if (!tls_ocsp_question_make(&files, &question, &err)) {
        fail(row, false, err.text);
        return;
    }
    if (question.url[0] != '\0')
        ask(row, &question);
    else /* until other files are there */
        log_event(NULL, LOG_INFO, "certificate.ocsp",
                  LOG_STR("name", row->pair->name),
                  LOG_STR("reason", "the certificate names no responder"));
    tls_ocsp_question_fini(&question);
}

static void
on_look(struct timer *timer)
{
    struct ocsp_row *row = CONTAINER_OF(timer, struct ocsp_row, timer);
    const struct tls_certificate_files files =
        files_of(row, row->pair->ocsp_file);
    int64_t now = loop_wall_us(row->ocsp->loop) / 1000000;
    uint64_t moment = loop_now(row->ocsp->loop);
    struct tls_staple_period period;
    struct err err;

    if (!tls_staple_period_of(&files, &period, &err)) {
        ask_whom_it_names(row);
    } else if (now < half_of(&period)) {
        alert(row, false, "there is a fresh one");
        wait_for_half(row, &period);
    } else if (moment < row->not_before) {
        timer_arm(&row->timer, row->not_before - moment);
    } else {
        ask_whom_it_names(row);
    }
}

/* Settings ---------------------------------------------------------------- */

static void
drop_rows(struct ocsp *ocsp)
{
    for (size_t i = 0; i < ocsp->count; i++) {
        struct ocsp_row *row = &ocsp->rows[i];

        timer_fini(&row->timer);
        if (row->call != NULL)
            https_cancel(row->call);
        mem_free(row->url);
    }
    mem_free(ocsp->rows);
    ocsp->rows = NULL;
    ocsp->count = 0;
    https_client_free(ocsp->client);
    ocsp->client = NULL;
    dns_resolver_unref(ocsp->resolver);
    ocsp->resolver = NULL;
}

static bool
make_client(struct ocsp *ocsp, struct err *err)
{
    const struct dns_settings *dns = &ocsp->settings->dns;
    const struct dns_options options = {
        .resolvers = dns->resolvers,
        .resolver_count = dns->resolver_count,
        .trust_anchors = dns->trust_anchors,
        .trust_anchor_count = dns->trust_anchor_count,
        .stub_zones = dns->stub_zones,
        .stub_zone_count = dns->stub_zone_count,
        .timeout_ms = dns->timeout,
    };
    /* Our own certificate says where to ask, and the authority may be one of
     * our own network. */
    const struct https_options wanted = {.allow_private = true};

    ocsp->resolver = dns_resolver_new(ocsp->loop, &options, err);
    if (ocsp->resolver == NULL)
        return false;
    ocsp->client = https_client_new(ocsp->loop, &wanted, err);
    return ocsp->client != NULL;
}

static void
add_row(struct ocsp *ocsp, const struct certificate_settings *pair)
{
    struct ocsp_row *row = &ocsp->rows[ocsp->count++];

    row->ocsp = ocsp;
    row->pair = pair;
    timer_init(&row->timer, ocsp->loop, on_look);
    timer_arm(&row->timer, 0);
}

static void
make_rows(struct ocsp *ocsp)
{
    const struct settings *settings = ocsp->settings;
    struct err err;

    ocsp->rows =
        mem_alloc_array(settings->certificate_count, sizeof *ocsp->rows);
    for (size_t i = 0; i < settings->certificate_count; i++)
        if (settings->certificates[i].ocsp_fetch)
            add_row(ocsp, &settings->certificates[i]);
    if (ocsp->count == 0 || make_client(ocsp, &err))
        return;
    log_event(NULL, LOG_ERROR, "certificate.ocsp", LOG_STR("reason", err.text));
    drop_rows(ocsp);
}

/* A new answer is a file that changed, which makes a reload: that must not ask
 * again. */
static void
carry_over(struct ocsp *ocsp, const struct ocsp *before)
{
    for (size_t i = 0; i < ocsp->count; i++)
        for (size_t j = 0; j < before->count; j++)
            if (strcmp(ocsp->rows[i].pair->name, before->rows[j].pair->name) ==
                0)
                ocsp->rows[i].not_before = before->rows[j].not_before;
}

void
ocsp_use(struct ocsp *ocsp, struct settings *settings)
{
    struct ocsp before = *ocsp;

    *ocsp = (struct ocsp){.host = before.host,
                          .loop = before.loop,
                          .settings = settings_ref(settings)};
    make_rows(ocsp);
    carry_over(ocsp, &before);
    drop_rows(&before);
    settings_unref(before.settings);
}

struct ocsp *
ocsp_new(struct service_host *host, struct settings *settings)
{
    struct ocsp *ocsp = mem_alloc(sizeof *ocsp);

    ocsp->host = host;
    ocsp->loop = host->loops[0];
    ocsp->settings = settings_ref(settings);
    make_rows(ocsp);
    return ocsp;
}

void
ocsp_free(struct ocsp *ocsp)
{
    drop_rows(ocsp);
    settings_unref(ocsp->settings);
    mem_free(ocsp);
}
