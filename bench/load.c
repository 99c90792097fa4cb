/* bench/load.c - SMTP load generator: sessions that send messages as fast as
 * the server takes them, or hold idle connections.  Loopback only, bounded in
 * number and time; prints one JSON object.
 *
 * A session walks through steps[]: it writes what the step says and expects the
 * codes that the step lists.  MAIL, RCPT and DATA go out in one write where the
 * server pipelines.  Every message carries an X-Bench-Id of its own, and the
 * ids that were answered 250 can be written to a file, so that a sink's list
 * tells what was lost or doubled. */
#include "base/buf.h"
#include "base/clock.h"
#include "mail/reply.h"
#include "net/conn.h"
#include "tls/context.h"
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SESSIONS_MAX = 60000, MESSAGES_MAX = 10000000, STALL_MS = 60000 };

struct options {
    struct net_address server;
    bool tls, implicit_tls, hold, retry;
    uint64_t messages, sessions, per_connection, size, hold_s, time_limit_s;
    uint64_t first_id;
    const char *from, *to, *ids_file;
};

enum step {
    GREETING,
    EHLO,
    STARTTLS,
    EHLO_AGAIN,
    MAIL,
    RCPT,
    DATA,
    CONTENT,
    HELD,
    QUIT,
};

struct load;
struct session {
    struct load *load;
    struct conn *conn; /* NULL between connections */
    enum step step;
    bool starttls, has_message;
    uint64_t sent_here, id, started_us;
    struct mail_reply reply;
    struct timer pause;
};

struct load {
    struct options options;
    struct loop *loop;
    struct tls_context *tls;
    struct session *sessions;
    struct buf message; /* everything behind the X-Bench-Id field */
    uint64_t next_id, accepted, refused, errors, connections, handshakes;
    uint64_t open, held, finished;
    uint8_t *accepted_ids;
    float *latencies_ms;
    uint64_t started_us, last_us;
    char first_error[256];
    struct timer limit, held_end;
};

static void session_connect(struct session *s);

static void
note_error(struct load *load, const char *what, struct sv detail)
{
    load->errors++;
    if (load->first_error[0] == '\0')
        snprintf(load->first_error, sizeof load->first_error, "%s: %.*s", what,
                 SV_ARG(sv_slice(detail, 0, 180)));
}

static bool
work_left(const struct load *load)
{
    return load->next_id < load->options.messages;
}

static void
session_finished(struct session *s)
{
    if (++s->load->finished == s->load->options.sessions)
        loop_stop(s->load->loop);
}

/* Drops the connection; goes on with a new one where there is work. */
static void
session_end(struct session *s)
{
    conn_close(s->conn, s->step == QUIT ? 1000 : 0);
    s->conn = NULL;
    s->load->open--;
    if (s->has_message || work_left(s->load))
        timer_arm(&s->pause, s->step == QUIT ? 0 : 20);
    else
        session_finished(s);
}

static void
session_failed(struct session *s, const char *what, struct sv detail)
{
    note_error(s->load, what, detail);
    if (!s->load->options.retry && s->has_message) {
        s->load->refused++;
        s->has_message = false;
    }
    session_end(s);
}

static void
write_line(struct session *s, const char *line)
{
    conn_write(s->conn, sv_of(line));
    conn_write(s->conn, SV("\r\n"));
}

static void
next_message(struct session *s)
{
    struct options *o = &s->load->options;
    char line[600];

    if (!s->has_message) {
        if (!work_left(s->load) || s->sent_here == o->per_connection) {
            s->step = QUIT;
            write_line(s, "QUIT");
            return;
        }
        s->id = s->load->next_id++;
        s->has_message = true;
    }
    s->started_us = clock_mono_us();
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA",
             o->from, o->to);
    write_line(s, line);
    s->step = MAIL;
}

static void
write_content(struct session *s)
{
    char line[64];

    snprintf(line, sizeof line, "X-Bench-Id: %llu\r\n",
             (unsigned long long)(s->id + s->load->options.first_id));
    conn_write(s->conn, sv_of(line));
    conn_write(s->conn, buf_view(&s->load->message));
    s->step = CONTENT;
}

static void
message_accepted(struct session *s)
{
    struct load *load = s->load;

    load->last_us = clock_mono_us();
    load->latencies_ms[load->accepted++] =
        (float)(load->last_us - s->started_us) / 1000.0F;
    load->accepted_ids[s->id / 8] =
        (uint8_t)(load->accepted_ids[s->id / 8] | BIT(s->id % 8));
    s->has_message = false;
    s->sent_here++;
    next_message(s);
}

static void
after_ehlo(struct session *s)
{
    struct load *load = s->load;

    if (load->options.tls && !conn_is_tls(s->conn)) {
        if (!s->starttls) {
            session_failed(s, "EHLO", SV("no STARTTLS offered"));
            return;
        }
        s->step = STARTTLS;
        write_line(s, "STARTTLS");
    } else if (load->options.hold) {
        s->step = HELD;
        load->held++;
        conn_set_timeout(s->conn, 0);
        if (load->held == load->options.sessions) {
            puts("held");
            fflush(stdout);
            timer_arm(&load->held_end, load->options.hold_s * 1000);
        }
    } else {
        next_message(s);
    }
}

static void
on_ehlo_line(void *arg, unsigned index, struct sv text)
{
    (void)index;
    if (sv_is_nocase(text, "STARTTLS"))
        ((struct session *)arg)->starttls = true;
}

static bool
expected(const struct session *s)
{
    if (s->step == DATA)
        return s->reply.code == 354;
    return s->reply.code / 100 == 2;
}

/* One reply has come; returns false when the session has ended. */
static bool
on_reply(struct session *s)
{
    if (!expected(s)) {
        session_failed(s, "reply", (struct sv){s->reply.text, s->reply.length});
        return false;
    }
    switch (s->step) {
    case GREETING:
        s->step = EHLO;
        write_line(s, "EHLO load.test");
        break;
    case EHLO:
    case EHLO_AGAIN:
        after_ehlo(s);
        return s->conn != NULL;
    case STARTTLS:
        conn_start_tls_client(s->conn, s->load->tls, (struct sv){0}, NULL);
        return false;
    case MAIL:
        s->step = RCPT;
        break;
    case RCPT:
        s->step = DATA;
        break;
    case DATA:
        write_content(s);
        break;
    case CONTENT:
        message_accepted(s);
        break;
    case HELD:
        break;
    case QUIT:
        session_end(s);
        return false;
    }
    return true;
}

static void
on_data(struct session *s)
{
    for (;;) {
        struct sv input = conn_input(s->conn);
        size_t before = input.n;
        enum mail_reply_result result =
            mail_reply_take(&input, &s->reply, on_ehlo_line, s);

        conn_consume(s->conn, before - input.n);
        if (result == MAIL_REPLY_MORE)
            return;
        if (result == MAIL_REPLY_BAD) {
            session_failed(s, "reply", SV("malformed"));
            return;
        }
        if (s->step != HELD)
            conn_set_timeout(s->conn, STALL_MS);
        if (!on_reply(s))
            return;
        mail_reply_init(&s->reply);
    }
}

static void
on_event(void *owner, struct conn *conn, enum conn_event event)
{
    struct session *s = owner;

    (void)conn;
    switch (event) {
    case CONN_DATA:
        on_data(s);
        break;
    case CONN_CONNECTED:
        s->load->connections++;
        if (s->load->options.implicit_tls)
            conn_start_tls_client(s->conn, s->load->tls, (struct sv){0}, NULL);
        break;
    case CONN_TLS_READY:
        s->load->handshakes++;
        mail_reply_init(&s->reply);
        if (s->load->options.implicit_tls)
            break;
        s->step = EHLO_AGAIN;
        write_line(s, "EHLO load.test");
        break;
    case CONN_ERROR:
        session_failed(s, tls_stage_name(conn_failure(s->conn)->stage),
                       sv_of(conn_failure(s->conn)->reason));
        break;
    case CONN_EOF:
        session_failed(s, "connection", SV("closed by the server"));
        break;
    case CONN_TIMEOUT:
        session_failed(s, "connection", SV("timed out"));
        break;
    case CONN_OUTPUT_LOW:
        break;
    }
}

static void
session_connect(struct session *s)
{
    s->step = GREETING;
    s->starttls = false;
    s->sent_here = 0;
    mail_reply_init(&s->reply);
    s->conn = conn_connect(s->load->loop, &s->load->options.server, NULL,
                           on_event, s);
    conn_set_timeout(s->conn, STALL_MS);
    s->load->open++;
}

static void
on_pause(struct timer *timer)
{
    session_connect(CONTAINER_OF(timer, struct session, pause));
}

static void
on_limit(struct timer *timer)
{
    loop_stop(timer->loop);
}

static int
compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static double
quantile(const struct load *load, double q)
{
    if (load->accepted == 0)
        return 0;
    return (double)
        load->latencies_ms[(size_t)(q * (double)(load->accepted - 1))];
}

static void
report(struct load *load)
{
    double seconds = (double)(load->last_us - load->started_us) / 1e6;
    struct rusage usage;
    json_t *json;

    qsort(load->latencies_ms, load->accepted, sizeof *load->latencies_ms,
          compare_floats);
    getrusage(RUSAGE_SELF, &usage);
    json = json_pack(
        "{sI sI sI sI sI sI sf sf sf sf sf sf ss}", "messages",
        (json_int_t)load->options.messages, "accepted",
        (json_int_t)load->accepted, "refused", (json_int_t)load->refused,
        "errors", (json_int_t)load->errors, "connections",
        (json_int_t)load->connections, "handshakes",
        (json_int_t)load->handshakes, "started_s",
        (double)load->started_us / 1e6, "seconds", seconds,
        "messages_per_second",
        seconds > 0 ? (double)load->accepted / seconds : 0, "latency_ms_p50",
        quantile(load, 0.5), "latency_ms_p99", quantile(load, 0.99), "cpu_s",
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
        "first_error", load->first_error);
    json_dumpf(json, stdout, JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(json);
}

static void
write_ids(const struct load *load)
{
    FILE *file = fopen(load->options.ids_file, "we");

    if (file == NULL) {
        perror(load->options.ids_file);
        return;
    }
    for (uint64_t id = 0; id < load->options.messages; id++)
        if (load->accepted_ids[id / 8] & BIT(id % 8))
            fprintf(file, "%llu\n",
                    (unsigned long long)(id + load->options.first_id));
    fclose(file);
}

static void
make_message(struct load *load)
{
    struct buf *m = &load->message;

    buf_printf(m, "From: <%s>\r\nTo: <%s>\r\nSubject: load\r\n\r\n",
               load->options.from, load->options.to);
    while (buf_length(m) + 80 < load->options.size)
        buf_add(m, SV("The wax is still warm when the courier rides through "
                      "the gate, and is cold.\r\n"));
    buf_add(m, SV(".\r\n"));
}

static const char usage[] =
    "usage: load [options]\n"
    "  --server IP:PORT       loopback address (default 127.0.0.1:2525)\n"
    "  --messages N           in all (default 1000)\n"
    "  --sessions N           at once (default 20)\n"
    "  --per-connection N     messages (default 10)\n"
    "  --size BYTES           of a message (default 4096)\n"
    "  --tls                  STARTTLS, a full handshake each time\n"
    "  --implicit-tls         TLS from the first byte\n"
    "  --hold SECONDS         open the sessions, send nothing, hold them\n"
    "  --from ADDR --to ADDR  envelope\n"
    "  --retry                send again what was refused or broke off\n"
    "  --ids FILE             list the ids that were accepted\n"
    "  --first-id N           number of the first message\n"
    "  --time-limit SECONDS   stop then (default 300)\n";

enum option_id {
    OPT_SERVER = 1,
    OPT_MESSAGES,
    OPT_SESSIONS,
    OPT_PER,
    OPT_SIZE,
    OPT_TLS,
    OPT_IMPLICIT,
    OPT_HOLD,
    OPT_FROM,
    OPT_TO,
    OPT_RETRY,
    OPT_IDS,
    OPT_FIRST,
    OPT_LIMIT,
};
static const struct option long_options[] = {
    {"server", required_argument, NULL, OPT_SERVER},
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"sessions", required_argument, NULL, OPT_SESSIONS},
    {"per-connection", required_argument, NULL, OPT_PER},
    {"size", required_argument, NULL, OPT_SIZE},
    {"tls", no_argument, NULL, OPT_TLS},
    {"implicit-tls", no_argument, NULL, OPT_IMPLICIT},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"from", required_argument, NULL, OPT_FROM},
    {"to", required_argument, NULL, OPT_TO},
    {"retry", no_argument, NULL, OPT_RETRY},
    {"ids", required_argument, NULL, OPT_IDS},
    {"first-id", required_argument, NULL, OPT_FIRST},
    {"time-limit", required_argument, NULL, OPT_LIMIT},
    {NULL, 0, NULL, 0},
};

/* Where a numeric option goes; NULL for the others. */
static uint64_t *
number_of(struct options *o, int id)
{
    switch (id) {
    case OPT_MESSAGES:
        return &o->messages;
    case OPT_SESSIONS:
        return &o->sessions;
    case OPT_PER:
        return &o->per_connection;
    case OPT_SIZE:
        return &o->size;
    case OPT_HOLD:
        return &o->hold_s;
    case OPT_FIRST:
        return &o->first_id;
    case OPT_LIMIT:
        return &o->time_limit_s;
    default:
        return NULL;
    }
}

static bool
set_option(struct options *o, int id)
{
    uint64_t *number = number_of(o, id);

    if (number != NULL && !sv_to_u64(sv_of(optarg), number))
        return false;
    switch (id) {
    case OPT_SERVER:
        return net_address_parse_port(sv_of(optarg), &o->server) &&
               net_address_is_loopback(&o->server);
    case OPT_TLS:
        return o->tls = true;
    case OPT_IMPLICIT:
        return o->tls = o->implicit_tls = true;
    case OPT_HOLD:
        return o->hold = true;
    case OPT_RETRY:
        return o->retry = true;
    case OPT_FROM:
        o->from = optarg;
        return true;
    case OPT_TO:
        o->to = optarg;
        return true;
    case OPT_IDS:
        o->ids_file = optarg;
        return true;
    default:
        return number != NULL;
    }
}

static bool
parse_options(struct options *o, int argc, char **argv)
{
    int id;

    *o = (struct options){.messages = 1000,
                          .sessions = 20,
                          .per_connection = 10,
                          .size = 4096,
                          .hold_s = 5,
                          .time_limit_s = 300,
                          .from = "load@sender.test",
                          .to = "user@example.org"};
    if (!net_address_parse_port(SV("127.0.0.1:2525"), &o->server))
        return false;
    optind = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (!set_option(o, id))
            return false;
    return o->sessions > 0 && o->sessions <= SESSIONS_MAX &&
           o->messages <= MESSAGES_MAX && o->per_connection > 0;
}

static bool
load_start(struct load *load, struct err *err)
{
    const struct tls_profile profile = {
        .versions = TLS_BIT_TLS12 | TLS_BIT_TLS13,
        .strength = TLS_HIGH,
        .ciphers = "",
        .groups = "",
    };

    if (!tls_init(err))
        return false;
    tls_session_cache_limit(0);
    load->tls = tls_context_new_client(&profile, NULL, NULL, err);
    load->loop = loop_new(err);
    if (load->tls == NULL || load->loop == NULL)
        return false;
    timer_init(&load->limit, load->loop, on_limit);
    timer_arm(&load->limit, load->options.time_limit_s * 1000);
    timer_init(&load->held_end, load->loop, on_limit);
    return true;
}

int
main(int argc, char **argv)
{
    static struct load load;
    struct rlimit files;
    struct err err;

    if (!parse_options(&load.options, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    if (!load_start(&load, &err)) {
        fprintf(stderr, "load: %s\n", err.text);
        return 1;
    }
    make_message(&load);
    load.accepted_ids = mem_alloc(load.options.messages / 8 + 1);
    load.latencies_ms =
        mem_alloc_array(load.options.messages + 1, sizeof *load.latencies_ms);
    load.sessions =
        mem_alloc_array(load.options.sessions, sizeof *load.sessions);
    load.started_us = load.last_us = clock_mono_us();
    for (uint64_t i = 0; i < load.options.sessions; i++) {
        struct session *s = &load.sessions[i];

        s->load = &load;
        timer_init(&s->pause, load.loop, on_pause);
        timer_arm(&s->pause, load.options.hold ? i / 4 : 0);
    }
    loop_run(load.loop);
    report(&load);
    if (load.options.ids_file != NULL)
        write_ids(&load);
    return load.options.hold ? load.held != load.options.sessions
                             : load.accepted != load.options.messages;
}
