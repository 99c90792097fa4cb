/* bench/sink.c - see sink.h.
 *
 * One loop, one struct session per connection.  Speaks enough ESMTP for any
 * client that keeps to RFC 5321: PIPELINING, SIZE, 8BITMIME, SMTPUTF8,
 * CHUNKING, DSN, STARTTLS.  Messages are told apart by an X-Bench-Id field
 * where there is one, so that losses and duplicates can be counted. */
#include "sink.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/address.h"
#include "mail/content.h"
#include "mail/param.h"
#include "net/conn.h"
#include "tls/context.h"
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_OCTETS = 2048, IDS_MAX = 10000000, HEADER_KEPT = 4096 };

struct options {
    struct net_address listen;
    bool implicit_tls, chunking, quiet;
    const char *certificate, *key, *save, *ids_file;
    uint64_t expect, time_limit_s, linger_ms;
};

struct counters {
    uint64_t connections, tls_connections, tls_resumed, tls_failed;
    uint64_t messages, messages_tls, recipients, bytes;
    uint64_t distinct, duplicates, without_id;
    double first_s, last_s;
};

struct sink {
    struct options options;
    struct loop *loop;
    struct tls_context *tls; /* NULL: no STARTTLS */
    struct acceptor *acceptor;
    struct counters count;
    uint8_t *seen; /* one bit for each id */
    struct timer end;
};

enum session_state { COMMAND, DATA, BDAT };

struct session {
    struct sink *sink;
    struct conn *conn;
    enum session_state state;
    bool last_chunk, starting_tls;
    uint64_t chunk_left;
    struct content_decoder decoder;
    struct buf sender, recipients, header, content;
    uint64_t size;
    unsigned recipient_count;
};

static void
say(struct session *s, const char *line)
{
    conn_write(s->conn, sv_of(line));
    conn_write(s->conn, SV("\r\n"));
}

static void
reset(struct session *s)
{
    s->state = COMMAND;
    s->size = 0;
    s->recipient_count = 0;
    buf_reset(&s->sender);
    buf_reset(&s->recipients);
    buf_reset(&s->header);
    buf_reset(&s->content);
}

static void
session_end(struct session *s)
{
    conn_close(s->conn, 1000);
    buf_fini(&s->sender);
    buf_fini(&s->recipients);
    buf_fini(&s->header);
    buf_fini(&s->content);
    mem_free(s);
}

/* The number in the message's X-Bench-Id field; false without one. */
static bool
bench_id(struct session *s, uint64_t *id)
{
    struct sv header = buf_view(&s->header);

    while (header.n > 0) {
        struct sv line = sv_take_until(&header, '\n');

        if (sv_take_prefix_nocase(&line, SV("X-Bench-Id:")))
            return sv_to_u64(sv_trim(sv_take_until(&line, '\r')), id) &&
                   *id < IDS_MAX;
        if (line.n <= 1)
            return false;
    }
    return false;
}

static void
count_id(struct session *s)
{
    struct sink *sink = s->sink;
    uint64_t id;

    if (!bench_id(s, &id)) {
        sink->count.without_id++;
    } else if (sink->seen[id / 8] & BIT(id % 8)) {
        sink->count.duplicates++;
    } else {
        sink->seen[id / 8] = (uint8_t)(sink->seen[id / 8] | BIT(id % 8));
        sink->count.distinct++;
    }
}

static void
save(struct session *s)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/%08llu.eml", s->sink->options.save,
             (unsigned long long)s->sink->count.messages);
    file = fopen(path, "we");
    if (file == NULL) {
        perror(path);
        return;
    }
    fprintf(file, "X-Sink-From: <%.*s>\r\nX-Sink-To:%.*s\r\nX-Sink-TLS: %s\r\n",
            SV_ARG(buf_view(&s->sender)), SV_ARG(buf_view(&s->recipients)),
            conn_is_tls(s->conn) ? conn_tls(s->conn)->version : "none");
    fwrite(buf_view(&s->content).p, 1, buf_length(&s->content), file);
    fclose(file);
}

static void
tell(struct session *s)
{
    const struct tls_facts *tls =
        conn_is_tls(s->conn) ? conn_tls(s->conn) : NULL;

    printf("message %llu: from <%.*s> to%.*s, %llu bytes, %s%s%s\n",
           (unsigned long long)s->sink->count.messages,
           SV_ARG(buf_view(&s->sender)), SV_ARG(buf_view(&s->recipients)),
           (unsigned long long)s->size, tls != NULL ? tls->version : "clear",
           tls != NULL ? " " : " text", tls != NULL ? tls->cipher : "");
    fflush(stdout);
}

static void
message_done(struct session *s)
{
    struct counters *count = &s->sink->count;

    count->last_s = (double)clock_mono_us() / 1e6;
    if (count->messages++ == 0)
        count->first_s = count->last_s;
    count->messages_tls += conn_is_tls(s->conn);
    count->recipients += s->recipient_count;
    count->bytes += s->size;
    count_id(s);
    if (s->sink->options.save != NULL)
        save(s);
    if (!s->sink->options.quiet)
        tell(s);
    if (s->sink->options.expect != 0 &&
        count->distinct + count->without_id >= s->sink->options.expect)
        timer_arm(&s->sink->end, s->sink->options.linger_ms);
    say(s, "250 2.0.0 ok");
    reset(s);
}

static void
on_content(void *arg, struct sv run)
{
    struct session *s = arg;

    s->size += run.n;
    if (buf_length(&s->header) < HEADER_KEPT)
        buf_add(&s->header,
                sv_slice(run, 0, HEADER_KEPT - buf_length(&s->header)));
    if (s->sink->options.save != NULL)
        buf_add(&s->content, run);
}

static size_t
take_content(struct session *s, struct sv input)
{
    struct sv rest = input;

    if (s->state == BDAT && rest.n > s->chunk_left)
        rest.n = (size_t)s->chunk_left;
    size_t offered = rest.n;
    content_decode(&s->decoder, &rest, on_content, s);
    size_t used = offered - rest.n;

    if (s->state == DATA && s->decoder.ended) {
        message_done(s);
    } else if (s->state == BDAT) {
        s->chunk_left -= used;
        if (s->chunk_left == 0 && s->last_chunk) {
            content_decode_end(&s->decoder, on_content, s);
            message_done(s);
        } else if (s->chunk_left == 0) {
            s->state = COMMAND;
            say(s, "250 2.0.0 chunk ok");
        }
    }
    return used;
}

static void
cmd_ehlo(struct session *s)
{
    say(s, "250-sink");
    say(s, "250-PIPELINING");
    say(s, "250-SIZE 1073741824");
    say(s, "250-8BITMIME");
    say(s, "250-SMTPUTF8");
    say(s, "250-DSN");
    if (s->sink->options.chunking)
        say(s, "250-CHUNKING");
    if (s->sink->tls != NULL && !conn_is_tls(s->conn))
        say(s, "250-STARTTLS");
    say(s, "250 ENHANCEDSTATUSCODES");
    reset(s);
}

static void
cmd_mail(struct session *s, struct sv args)
{
    struct mail_path path;

    if (!sv_take_prefix_nocase(&args, SV("FROM:")) ||
        !mail_path_take(&args, MAIL_REVERSE_PATH, &path)) {
        say(s, "501 5.1.7 bad reverse-path");
        return;
    }
    reset(s);
    buf_add(&s->sender, path.mailbox);
    say(s, "250 2.1.0 ok");
}

static void
cmd_rcpt(struct session *s, struct sv args)
{
    struct mail_path path;

    if (!sv_take_prefix_nocase(&args, SV("TO:")) ||
        !mail_path_take(&args, MAIL_FORWARD_PATH, &path)) {
        say(s, "501 5.1.3 bad forward-path");
        return;
    }
    s->recipient_count++;
    buf_printf(&s->recipients, " <%.*s>", SV_ARG(path.mailbox));
    say(s, "250 2.1.5 ok");
}

static void
cmd_data(struct session *s)
{
    if (s->recipient_count == 0) {
        say(s, "503 5.5.1 RCPT first");
        return;
    }
    s->state = DATA;
    content_decoder_init(&s->decoder, true, CONTENT_REJECT);
    say(s, "354 go ahead");
}

static void
cmd_bdat(struct session *s, struct sv args)
{
    struct sv number = sv_take_until(&args, ' ');
    bool first = s->size == 0;

    if (s->recipient_count == 0 || !sv_to_u64(number, &s->chunk_left)) {
        say(s, "503 5.5.1 bad BDAT");
        session_end(s);
        return;
    }
    s->last_chunk = sv_is_nocase(sv_trim(args), "LAST");
    s->state = BDAT;
    if (first)
        content_decoder_init(&s->decoder, false, CONTENT_REJECT);
    if (s->chunk_left == 0)
        take_content(s, (struct sv){0});
}

static void
cmd_starttls(struct session *s)
{
    if (s->sink->tls == NULL || conn_is_tls(s->conn)) {
        say(s, "503 5.5.1 no TLS here");
        return;
    }
    say(s, "220 2.0.0 ready for TLS");
    s->starting_tls = true;
}

/* Returns false when the session is gone. */
static bool
command(struct session *s, struct sv line)
{
    struct sv verb = sv_take_until(&line, ' ');

    if (sv_is_nocase(verb, "EHLO") || sv_is_nocase(verb, "HELO")) {
        cmd_ehlo(s);
    } else if (sv_is_nocase(verb, "MAIL")) {
        cmd_mail(s, line);
    } else if (sv_is_nocase(verb, "RCPT")) {
        cmd_rcpt(s, line);
    } else if (sv_is_nocase(verb, "DATA")) {
        cmd_data(s);
    } else if (sv_is_nocase(verb, "BDAT")) {
        bool had_recipients = s->recipient_count > 0;

        cmd_bdat(s, line);
        return had_recipients;
    } else if (sv_is_nocase(verb, "STARTTLS")) {
        cmd_starttls(s);
    } else if (sv_is_nocase(verb, "RSET")) {
        reset(s);
        say(s, "250 2.0.0 ok");
    } else if (sv_is_nocase(verb, "NOOP")) {
        say(s, "250 2.0.0 ok");
    } else if (sv_is_nocase(verb, "QUIT")) {
        say(s, "221 2.0.0 bye");
        session_end(s);
        return false;
    } else {
        say(s, "500 5.5.1 unknown command");
    }
    return true;
}

static void
on_data(struct session *s)
{
    for (;;) {
        struct sv input = conn_input(s->conn);
        size_t end;

        if (input.n == 0)
            return;
        if (s->state != COMMAND) {
            conn_consume(s->conn, take_content(s, input));
            continue;
        }
        end = sv_index(input, '\n');
        if (end == SV_NONE) {
            if (input.n > LINE_MAX_OCTETS)
                session_end(s);
            return;
        }
        struct sv line = sv_slice(input, 0, end);
        char copy[LINE_MAX_OCTETS];

        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (!sv_to_cstr(line, copy, sizeof copy)) {
            session_end(s);
            return;
        }
        conn_consume(s->conn, end + 1);
        if (!command(s, sv_of(copy)))
            return;
        if (s->starting_tls) {
            s->starting_tls = false;
            conn_start_tls_server(s->conn, s->sink->tls);
            return;
        }
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
    case CONN_TLS_READY:
        s->sink->count.tls_connections++;
        s->sink->count.tls_resumed += conn_tls(s->conn)->resumed;
        reset(s);
        if (s->sink->options.implicit_tls)
            say(s, "220 sink ESMTP");
        break;
    case CONN_ERROR:
        s->sink->count.tls_failed +=
            conn_failure(s->conn)->stage != STAGE_IO ? 1 : 0;
        session_end(s);
        break;
    case CONN_EOF:
    case CONN_TIMEOUT:
        session_end(s);
        break;
    case CONN_CONNECTED:
    case CONN_OUTPUT_LOW:
        break;
    }
}

static void
on_accept(void *arg, int fd, const struct net_address *peer)
{
    struct sink *sink = arg;
    struct session *s = mem_alloc(sizeof *s);

    sink->count.connections++;
    s->sink = sink;
    s->conn = conn_accept(sink->loop, fd, peer, on_event, s);
    conn_set_timeout(s->conn, 600000);
    if (sink->options.implicit_tls)
        conn_start_tls_server(s->conn, sink->tls);
    else
        say(s, "220 sink ESMTP");
}

static void
on_end(struct timer *timer)
{
    loop_stop(timer->loop);
}

static void
on_signal(void *arg, int signum)
{
    (void)signum;
    loop_stop(((struct sink *)arg)->loop);
}

static void
report(const struct sink *sink)
{
    const struct counters *c = &sink->count;
    struct rusage usage;
    json_t *json;

    getrusage(RUSAGE_SELF, &usage);
    json = json_pack(
        "{sI sI sI sI sI sI sI sI sI sI sI sf sf sf}", "connections",
        (json_int_t)c->connections, "tls_connections",
        (json_int_t)c->tls_connections, "tls_resumed",
        (json_int_t)c->tls_resumed, "tls_failed", (json_int_t)c->tls_failed,
        "messages", (json_int_t)c->messages, "messages_tls",
        (json_int_t)c->messages_tls, "recipients", (json_int_t)c->recipients,
        "bytes", (json_int_t)c->bytes, "distinct", (json_int_t)c->distinct,
        "duplicates", (json_int_t)c->duplicates, "without_id",
        (json_int_t)c->without_id, "first_s", c->first_s, "last_s", c->last_s,
        "cpu_s",
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    json_dumpf(json, stdout, JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(json);
    if (sink->options.ids_file != NULL) {
        FILE *file = fopen(sink->options.ids_file, "we");

        if (file == NULL) {
            perror(sink->options.ids_file);
            return;
        }
        for (uint64_t id = 0; id < IDS_MAX; id++)
            if (sink->seen[id / 8] & BIT(id % 8))
                fprintf(file, "%llu\n", (unsigned long long)id);
        fclose(file);
    }
}

static const char usage[] =
    "usage: waxgate sink [options]\n"
    "  --listen IP:PORT    loopback address (default 127.0.0.1:2526)\n"
    "  --cert FILE --key FILE   offer STARTTLS with this certificate\n"
    "  --implicit-tls      TLS from the first byte\n"
    "  --no-chunking       do not offer CHUNKING\n"
    "  --save DIR          write each message to a file there\n"
    "  --ids FILE          at the end, list the X-Bench-Id numbers seen\n"
    "  --expect N          end after N different messages\n"
    "  --linger SECONDS    … and this long (default 1)\n"
    "  --time-limit SECONDS   end after this time\n"
    "  --quiet             no line for each message\n";

enum option_id {
    OPT_LISTEN = 1,
    OPT_CERT,
    OPT_KEY,
    OPT_IMPLICIT,
    OPT_NO_CHUNKING,
    OPT_SAVE,
    OPT_IDS,
    OPT_EXPECT,
    OPT_LINGER,
    OPT_TIME_LIMIT,
    OPT_QUIET,
    OPT_HELP,
};
static const struct option long_options[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"cert", required_argument, NULL, OPT_CERT},
    {"key", required_argument, NULL, OPT_KEY},
    {"implicit-tls", no_argument, NULL, OPT_IMPLICIT},
    {"no-chunking", no_argument, NULL, OPT_NO_CHUNKING},
    {"save", required_argument, NULL, OPT_SAVE},
    {"ids", required_argument, NULL, OPT_IDS},
    {"expect", required_argument, NULL, OPT_EXPECT},
    {"linger", required_argument, NULL, OPT_LINGER},
    {"time-limit", required_argument, NULL, OPT_TIME_LIMIT},
    {"quiet", no_argument, NULL, OPT_QUIET},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static bool
parse_number(const char *text, uint64_t *value)
{
    if (sv_to_u64(sv_of(text), value))
        return true;
    fprintf(stderr, "sink: \"%s\" is not a number\n", text);
    return false;
}

static bool
set_option(struct options *o, int id)
{
    switch ((enum option_id)id) {
    case OPT_LISTEN:
        if (net_address_parse_port(sv_of(optarg), &o->listen) &&
            net_address_is_loopback(&o->listen))
            return true;
        fprintf(stderr, "sink: %s is not a loopback address with port\n",
                optarg);
        return false;
    case OPT_CERT:
        o->certificate = optarg;
        return true;
    case OPT_KEY:
        o->key = optarg;
        return true;
    case OPT_IMPLICIT:
        return o->implicit_tls = true;
    case OPT_NO_CHUNKING:
        o->chunking = false;
        return true;
    case OPT_SAVE:
        o->save = optarg;
        return true;
    case OPT_IDS:
        o->ids_file = optarg;
        return true;
    case OPT_EXPECT:
        return parse_number(optarg, &o->expect);
    case OPT_LINGER:
        if (!parse_number(optarg, &o->linger_ms))
            return false;
        o->linger_ms *= 1000;
        return true;
    case OPT_TIME_LIMIT:
        return parse_number(optarg, &o->time_limit_s);
    case OPT_QUIET:
        return o->quiet = true;
    case OPT_HELP:
        break;
    }
    fputs(usage, stderr);
    return false;
}

static bool
parse_options(struct options *o, int argc, char **argv)
{
    int id;

    *o = (struct options){.chunking = true, .linger_ms = 1000};
    if (!net_address_parse_port(SV("127.0.0.1:2526"), &o->listen))
        return false;
    optind = 0;
    while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (!set_option(o, id == '?' ? OPT_HELP : id))
            return false;
    if (optind < argc) {
        fprintf(stderr, "sink: too many arguments: %s\n", argv[optind]);
        return false;
    }
    if (o->implicit_tls && o->certificate == NULL) {
        fputs("sink: --implicit-tls needs --cert and --key\n", stderr);
        return false;
    }
    return true;
}

static int
listen_on(const struct net_address *address, struct err *err)
{
    char text[NET_ADDRESS_TEXT];
    int one = 1;
    int fd = socket(address->sa.sa_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        err_sys(err, "socket");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, &address->sa, net_address_length(address)) == -1 ||
        listen(fd, 4096) == -1) {
        err_sys(err, "listen on %s", net_address_text(address, text));
        close(fd);
        return -1;
    }
    return fd;
}

static bool
sink_start(struct sink *sink, struct err *err)
{
    const struct tls_profile profile = {
        .versions =
            TLS_BIT_TLS10 | TLS_BIT_TLS11 | TLS_BIT_TLS12 | TLS_BIT_TLS13,
        .strength = TLS_MEDIUM,
        .ciphers = "",
        .groups = "",
    };
    const struct tls_certificate_files files = {
        .name = "sink",
        .chain = sink->options.certificate,
        .key = sink->options.key,
    };
    int fd;

    if (!tls_init(err))
        return false;
    if (sink->options.certificate != NULL) {
        sink->tls =
            tls_context_new_server(&profile, &files, 1, SV("sink"), err);
        if (sink->tls == NULL)
            return false;
    }
    sink->loop = loop_new(err);
    if (sink->loop == NULL)
        return false;
    fd = listen_on(&sink->options.listen, err);
    if (fd == -1)
        return false;
    sink->acceptor = acceptor_new(sink->loop, fd, on_accept, sink);
    timer_init(&sink->end, sink->loop, on_end);
    if (sink->options.time_limit_s != 0)
        timer_arm(&sink->end, sink->options.time_limit_s * 1000);
    return loop_on_signal(sink->loop, SIGINT, on_signal, sink, err) &&
           loop_on_signal(sink->loop, SIGTERM, on_signal, sink, err);
}

int
sink_main(int argc, char **argv)
{
    static struct sink sink;
    struct rlimit files;
    struct err err;

    if (!parse_options(&sink.options, argc, argv))
        return 2;
    sink.seen = mem_alloc(IDS_MAX / 8 + 1);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    if (!sink_start(&sink, &err)) {
        fprintf(stderr, "sink: %s\n", err.text);
        return 1;
    }
    loop_run(sink.loop);
    report(&sink);
    return 0;
}
