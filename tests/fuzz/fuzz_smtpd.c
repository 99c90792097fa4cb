/* A session: a prelude brings it into one of its states, then anything may
 * come.  Whole, byte by byte and cut at random the transcript, the messages and
 * the end must be the same; replies, log lines and messages must be well
 * formed.  Byte 0 picks the prelude, byte 1 the listener. */
#include "accept/smtpd.h"

#include "../dialogue/fake_spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EHLO "EHLO client.test\r\n"
#define MAIL "MAIL FROM:<a@client.test> SMTPUTF8\r\n"
#define RCPT "RCPT TO:<b@example.org>\r\n"

/* Before and after the handshake. */
static const char *const preludes[][2] = {
    {"", NULL},
    {EHLO, NULL},
    {EHLO MAIL, NULL},
    {EHLO MAIL RCPT, NULL},
    {EHLO MAIL RCPT "DATA\r\n", NULL},
    {EHLO MAIL RCPT "DATA\r\nSubject: x\r\n\r\nx\r\n", NULL},
    {EHLO MAIL RCPT "BDAT 20\r\nabc", NULL},
    {EHLO MAIL RCPT "BDAT 3\r\nab\r", NULL},
    {EHLO "BDAT 30\r\n", NULL},
    {"HELO client.test\r\n", NULL},
    {EHLO "STARTTLS\r\n", NULL},
    {EHLO "STARTTLS\r\n", ""},
    {EHLO "STARTTLS\r\n", EHLO MAIL RCPT},
};

/* No limits that count over several sessions: one input is one transcript. */
static const char yaml[] =
    "hostname: gw.test\nstate_dir: /nonexistent\n"
    "mail_flow_policies:\n"
    "  default: {max_handshakes_per_second: unlimited}\n"
    "certificates: {mx: {chain: /nonexistent, key: /nonexistent}}\n"
    "listeners:\n"
    "  A: {type: public, address: '192.0.2.25:25', certificates: [mx],\n"
    "      domains: [example.org], max_message_size: 4K}\n"
    "  B: {type: public, address: '192.0.2.25:26', certificates: [mx],\n"
    "      domains: [example.org], bare_newline: normalize}\n"
    "  C: {type: public, address: '192.0.2.25:27', certificates: [mx],\n"
    "      domains: [example.org], tls: required, max_bad_commands: 2}\n"
    "  D: {type: public, address: '192.0.2.25:28', certificates: [mx],\n"
    "      domains: [example.org], proxy_protocol: [192.0.2.0/24]}\n";

enum { LISTENERS = 4 };
static struct listener_revision *revisions[LISTENERS];

/* A line of the log is one line, whatever stands in it. */
static void
check_log_line(void *arg, struct sv line)
{
    (void)arg;
    for (size_t i = 0; i < line.n; i++)
        assert((unsigned char)line.p[i] >= ' ' ||
               (line.p[i] == '\n' && i == line.n - 1));
}

static void
prepare(void)
{
    static char tls; /* a fake connection never looks into its context */
    struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct err err;

    if (revisions[0] != NULL)
        return;
    log_capture(check_log_line, NULL);
    settings = settings_load(sv_of(yaml), "fuzz", &options, &err);
    assert(settings != NULL);
    for (size_t i = 0; i < LISTENERS; i++) {
        struct listener_revision *revision = mem_alloc(sizeof *revision);

        revision->options = &settings->listeners[i];
        revision->listener = listener_new(revision->options->name);
        revision->settings = settings;
        revision->contexts = mem_alloc_array(revision->options->policy_count,
                                             sizeof *revision->contexts);
        for (size_t j = 0; j < revision->options->policy_count; j++)
            revision->contexts[j] = (struct tls_context *)(void *)&tls;
        revision->references = 1; /* for ever */
        revisions[i] = revision;
    }
}

struct run {
    struct spool spool;
    struct smtpd_home home;
    struct loop *loop;
    struct conn *conn;
    struct buf output;
    bool closed;
};

static void
on_empty(void *arg)
{
    (void)arg;
}

static void
run_open(struct run *run, struct listener_revision *revision)
{
    struct smtpd_admission admission = {0};
    struct net_address peer;
    const char *why;
    struct smtpd *s;
    bool ok = net_address_parse_port(SV("192.0.2.1:4000"), &peer) &&
              listener_admit(revision, &why);

    assert(ok);
    (void)ok;
    *run = (struct run){.loop = loop_new_manual(1000, 1795305600)};
    run->home = (struct smtpd_home){
        .loop = run->loop, .spool = &run->spool, .on_empty = on_empty};
    list_init(&run->home.sessions);
    admission.proxied = listener_wants_proxy(revision, &peer);
    s = smtpd_new(&run->home, listener_revision_ref(revision));
    run->conn = conn_fake(run->loop, &peer, smtpd_on_event, s);
    smtpd_start(s, run->conn, &admission);
}

static void
run_feed(struct run *run, struct sv bytes)
{
    conn_fake_receive(run->conn, bytes);
    loop_advance(run->loop, 0);
}

/* cut 0: whole; 1: byte by byte; else the seed of random cuts. */
static void
run_feed_cut(struct run *run, struct sv in, uint32_t cut)
{
    while (in.n > 0) {
        size_t n = cut == 0 ? in.n : 1;

        if (cut > 1) {
            cut = cut * 1664525 + 1013904223;
            n = (cut >> 20) % 64 + 1;
        }
        run_feed(run, sv_slice(in, 0, n));
        in = sv_from(in, n);
    }
}

static void
run_prelude(struct run *run, const char *const prelude[2])
{
    static const struct tls_facts facts = {.version = "TLSv1.3",
                                           .cipher = "TLS_AES_256_GCM_SHA384"};

    run_feed(run, sv_of(prelude[0]));
    if (prelude[1] == NULL || conn_fake_closed(run->conn))
        return;
    conn_fake_tls_ready(run->conn, &facts);
    run_feed(run, sv_of(prelude[1]));
}

static void
check_replies(struct sv output)
{
    while (output.n > 0) {
        struct sv line = sv_take_until(&output, '\n');

        assert(line.n >= 5 && line.n <= 511 && line.p[line.n - 1] == '\r');
        assert(line.p[0] >= '2' && line.p[0] <= '5' &&
               char_is_digit(line.p[1]) && char_is_digit(line.p[2]) &&
               (line.p[3] == ' ' || line.p[3] == '-'));
        for (size_t i = 0; i + 1 < line.n; i++)
            assert((unsigned char)line.p[i] >= ' ' && line.p[i] != 0x7f);
    }
}

/* What is stored has CRLF line ends only, so no next hop can be fooled. */
static void
check_content(struct sv content)
{
    for (size_t i = 0; i < content.n; i++) {
        assert(content.p[i] != '\0');
        if (content.p[i] == '\n')
            assert(i > 0 && content.p[i - 1] == '\r');
        if (content.p[i] == '\r')
            assert(i + 1 < content.n && content.p[i + 1] == '\n');
    }
    if (content.n > 0)
        assert(sv_starts_nocase(content, SV("Received: from ")));
}

static void
run_close(struct run *run)
{
    conn_fake_take(run->conn, &run->output);
    run->closed = conn_fake_closed(run->conn);
    check_replies(buf_view(&run->output));
    check_content(buf_view(&run->spool.content));
    conn_fake_eof(run->conn);
    smtpd_home_drop(&run->home);
    loop_advance(run->loop, 0);
    assert(run->spool.drafts == 0);
    buf_fini(&run->home.scratch);
    conn_fake_free(run->conn);
    loop_free(run->loop);
}

static void
run_fini(struct run *run)
{
    buf_fini(&run->output);
    buf_fini(&run->spool.content);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t cuts[] = {0, 1, 77, 1234567};
    struct run runs[COUNT_OF(cuts)];
    struct sv in = {(const char *)data + 2, size - 2};

    if (size < 2 || size > 8192)
        return 0;
    prepare();
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        run_open(&runs[i], revisions[data[1] % LISTENERS]);
        run_prelude(&runs[i], preludes[data[0] % COUNT_OF(preludes)]);
        run_feed_cut(&runs[i], in, cuts[i]);
        run_close(&runs[i]);
    }
    for (size_t i = 1; i < COUNT_OF(cuts); i++) {
        assert(sv_eq(buf_view(&runs[0].output), buf_view(&runs[i].output)));
        assert(sv_eq(buf_view(&runs[0].spool.content),
                     buf_view(&runs[i].spool.content)));
        assert(runs[0].closed == runs[i].closed);
    }
    for (size_t i = 0; i < COUNT_OF(cuts); i++)
        run_fini(&runs[i]);
    return 0;
}
