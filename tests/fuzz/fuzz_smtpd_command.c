/* One command line in each state: it gets exactly one reply, or the session
 * ends, or it announces octets (BDAT).  What is accepted as an address or a
 * parameter must come out of the spool's envelope as it went in. */
#include "accept/smtpd.h"

#include "../dialogue/fake_spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const preludes[] = {
    "",
    "EHLO c\r\n",
    "EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n",
    "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\n",
    "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT 1\r\na",
};

static const char yaml[] =
    "hostname: gw.test\nstate_dir: /nonexistent\n"
    "listeners:\n"
    "  A: {type: public, address: '192.0.2.25:25', tls: 'no',\n"
    "      domains: [example.org], relay_for: [192.0.2.0/24]}\n";

static struct listener_revision *revision;

static void
ignore_log(void *arg, struct sv line)
{
    (void)arg;
    (void)line;
}

static void
prepare(void)
{
    struct settings_options options = {.check_files = false};
    struct settings *settings;
    struct err err;

    if (revision != NULL)
        return;
    log_capture(ignore_log, NULL);
    settings = settings_load(sv_of(yaml), "fuzz", &options, &err);
    assert(settings != NULL);
    revision = listener_revision_new(listener_new("A"), settings,
                                     &settings->listeners[0], NULL, &err);
    assert(revision != NULL);
}

static void
on_empty(void *arg)
{
    (void)arg;
}

static size_t
count_replies(struct sv output)
{
    size_t count = 0;

    while (output.n > 0)
        count += sv_take_until(&output, '\n').p[3] == ' ';
    return count;
}

static bool
may_wait(struct sv line)
{
    return sv_starts_nocase(line, SV("BDAT"));
}

static void
play(const char *prelude, struct sv line)
{
    struct spool spool = {0};
    struct loop *loop = loop_new_manual(1000, 1795305600);
    struct smtpd_home home = {
        .loop = loop, .spool = &spool, .on_empty = on_empty};
    struct smtpd_admission admission = {0};
    struct buf output = {0};
    struct net_address peer;
    struct conn *conn;
    struct smtpd *s;
    const char *why;
    bool ok = net_address_parse_port(SV("192.0.2.1:4000"), &peer) &&
              listener_admit(revision, &why);

    assert(ok);
    (void)ok;
    list_init(&home.sessions);
    s = smtpd_new(&home, listener_revision_ref(revision));
    conn = conn_fake(loop, &peer, smtpd_on_event, s);
    smtpd_start(s, conn, &admission);
    conn_fake_receive(conn, sv_of(prelude));
    conn_fake_take(conn, &output);
    buf_reset(&output);
    conn_fake_receive(conn, line);
    conn_fake_receive(conn, SV("\r\n"));
    loop_advance(loop, 0);
    conn_fake_take(conn, &output);
    if (!conn_fake_closed(conn) && !may_wait(line))
        assert(count_replies(buf_view(&output)) == 1);
    assert(count_replies(buf_view(&output)) <= 1);
    smtpd_home_drop(&home);
    loop_advance(loop, 0);
    assert(spool.drafts == 0);
    buf_fini(&output);
    buf_fini(&home.scratch);
    buf_fini(&spool.content);
    conn_fake_free(conn);
    loop_free(loop);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv line = {(const char *)data, size};

    if (size > 2048 || sv_has(line, '\n'))
        return 0;
    prepare();
    for (size_t i = 0; i < COUNT_OF(preludes); i++)
        play(preludes[i], line);
    return 0;
}
