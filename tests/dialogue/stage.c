#include "stage.h"
#include "tls/context.h"
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WALL 1795305600 /* 2026-11-22T00:00:00Z */

static char root[256]; /* temporary folder of the process */

/* Certificate ------------------------------------------------------------- */

static FILE *
open_private(const char *name)
{
    char path[512];
    int fd;

    snprintf(path, sizeof path, "%s/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert(fd >= 0);
    return fdopen(fd, "w");
}

static void
make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    X509_NAME *name = X509_get_subject_name(x509);
    FILE *file;

    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    X509_set_pubkey(x509, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               (const unsigned char *)"gw.test", -1, -1, 0);
    X509_set_issuer_name(x509, name);
    X509_sign(x509, key, EVP_sha256());
    file = open_private("cert.pem");
    PEM_write_X509(file, x509);
    fclose(file);
    file = open_private("key.pem");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static int
remove_one(const char *path, const struct stat *status, int type,
           struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void
remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
remove_root(void)
{
    remove_tree(root);
}

void
stage_prepare(void)
{
    struct err err;

    if (!tls_init(&err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    /* The spool is made hundreds of times; what a disk does to it is the matter
     * of other tests. */
    snprintf(root, sizeof root, "%s/dialogue.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(root) == NULL) {
        perror(root);
        exit(2);
    }
    atexit(remove_root);
    make_certificate();
}

/* Settings ---------------------------------------------------------------- */

static const char *const listener_lines[] = {
    "type: public",
    "address: \"192.0.2.25:25\"",
    "certificates: [mx]",
    "domains: [example.org, .sub.example.org]",
    "relay_for: [198.51.100.0/24]",
};
static const char *const spool_lines[] = {
    "segment_size: 1M",
    "inline_limit: 256K",
    "spare_segments: 1",
    "min_free: 1M",
};

static struct sv
key_of(struct sv line)
{
    return sv_take_until(&line, ':');
}

static bool
is_overridden(const struct script *script, enum script_verb verb, struct sv key)
{
    for (size_t i = 0; i < script->count; i++)
        if (script->lines[i].verb == verb &&
            sv_eq(key_of(script->lines[i].text), key))
            return true;
    return false;
}

static void
add_section(struct buf *yaml, const struct script *script,
            enum script_verb verb, const char *const *lines, size_t count)
{
    const char *indent = verb == VERB_CONF ? "    " : "  ";

    for (size_t i = 0; i < count; i++)
        if (!is_overridden(script, verb, key_of(sv_of(lines[i]))))
            buf_printf(yaml, "%s%s\n", indent, lines[i]);
    for (size_t i = 0; i < script->count; i++)
        if (script->lines[i].verb == verb)
            buf_printf(yaml, "%s%.*s\n", indent, SV_ARG(script->lines[i].text));
}

static struct settings *
make_settings(const struct stage *stage, const struct script *script,
              struct err *err)
{
    struct settings_options options = {.check_files = true, .revision = 1};
    struct settings *settings;
    struct buf yaml = {0};

    buf_printf(&yaml,
               "hostname: gw.test\nstate_dir: %s\ncertificates:\n"
               "  mx: {chain: %s/cert.pem, key: %s/key.pem}\n"
               "mail_flow_policies:\n  default: {}\n",
               stage->folder, root, root);
    for (size_t i = 0; i < script->count; i++)
        if (script->lines[i].verb == VERB_POLICY)
            buf_printf(&yaml, "  %.*s\n", SV_ARG(script->lines[i].text));
    buf_add_str(&yaml, "listeners:\n  Test:\n");
    add_section(&yaml, script, VERB_CONF, listener_lines,
                COUNT_OF(listener_lines));
    buf_add_str(&yaml, "spool:\n");
    add_section(&yaml, script, VERB_SPOOL_CONF, spool_lines,
                COUNT_OF(spool_lines));
    settings = settings_load(buf_view(&yaml), script->name, &options, err);
    buf_fini(&yaml);
    return settings;
}

/* Stage ------------------------------------------------------------------- */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static void
on_log_line(void *arg, struct sv line)
{
    struct stage *stage = arg;

    pthread_mutex_lock(&log_lock);
    buf_add(&stage->log, line);
    if (line.n > 0 && line.p[line.n - 1] != '\n')
        buf_add_char(&stage->log, '\n');
    pthread_mutex_unlock(&log_lock);
}

static void
on_empty(void *arg)
{
    struct stage *stage = arg;

    stage->emptied = true;
}

bool
stage_open(struct stage *stage, const struct script *script, struct err *err)
{
    static unsigned number;

    *stage = (struct stage){0};
    snprintf(stage->folder, sizeof stage->folder, "%.200s/%u", root, number++);
    mkdir(stage->folder, 0700);
    log_capture(on_log_line, stage);
    stage->settings = make_settings(stage, script, err);
    if (stage->settings == NULL)
        return false;
    stage->loop = loop_new_manual(1000000, WALL);
    stage->listener = listener_new("Test");
    stage->revision =
        listener_revision_new(stage->listener, stage->settings,
                              &stage->settings->listeners[0], NULL, err);
    if (stage->revision == NULL)
        return false;
    stage->home = (struct smtpd_home){
        .loop = stage->loop, .on_empty = on_empty, .arg = stage};
    list_init(&stage->home.sessions);
    stage->home.spool =
        spool_open_intake(stage->folder, &stage->settings->spool, err);
    return stage->home.spool != NULL;
}

void
stage_connect(struct stage *stage, struct sv peer_text)
{
    struct listener_revision *revision = stage->revision;
    struct smtpd_admission admission = {0};
    struct net_address peer, local = stage->settings->listeners[0].address;
    struct smtpd *s;
    const char *why;
    bool ok = net_address_parse_port(peer_text, &peer);

    assert(ok);
    ok = listener_admit(revision, &why);
    assert(ok);
    admission.proxied = listener_wants_proxy(revision, &peer);
    s = smtpd_new(&stage->home, listener_revision_ref(revision));
    stage->conn = conn_fake(stage->loop, &peer, smtpd_on_event, s);
    conn_set_addresses(stage->conn, &peer, &local);
    smtpd_start(s, stage->conn, &admission);
    loop_advance(stage->loop, 0);
}

void
stage_close(struct stage *stage)
{
    if (stage->home.spool != NULL) {
        smtpd_home_drop(&stage->home);
        loop_advance(stage->loop, 0);
        spool_close(stage->home.spool);
        loop_advance(stage->loop, 0);
    }
    conn_fake_free(stage->conn);
    listener_revision_unref(stage->revision);
    if (stage->listener != NULL)
        assert(stage->listener->counts.open == 0);
    listener_unref(stage->listener);
    settings_unref(stage->settings);
    log_capture(NULL, NULL);
    buf_fini(&stage->home.scratch);
    buf_fini(&stage->output);
    buf_fini(&stage->log);
    loop_free(stage->loop);
    remove_tree(stage->folder);
}

bool
stage_wait(struct stage *stage, bool (*done)(struct stage *stage))
{
    const struct timespec nap = {.tv_nsec = 200000};

    for (int i = 0; i < 25000; i++) {
        loop_advance(stage->loop, 0);
        if (done(stage))
            return true;
        nanosleep(&nap, NULL);
    }
    return false;
}

static bool
has_line(struct stage *stage)
{
    conn_fake_take(stage->conn, &stage->output);
    return sv_has(buf_view(&stage->output), '\n') ||
           conn_fake_closed(stage->conn);
}

bool
stage_take_line(struct stage *stage, struct sv *line)
{
    struct sv view;
    size_t lf;

    if (!stage_wait(stage, has_line))
        return false;
    conn_fake_take(stage->conn, &stage->output);
    view = buf_view(&stage->output);
    lf = sv_index(view, '\n');
    if (lf == SV_NONE || lf == 0 || view.p[lf - 1] != '\r')
        return false;
    *line = sv_slice(view, 0, lf - 1);
    buf_consume(&stage->output, lf + 1);
    return true;
}

void
stage_tls_ready(struct stage *stage)
{
    static const struct tls_facts facts = {
        .version = "TLSv1.3",
        .cipher = "TLS_AES_256_GCM_SHA384",
        .bits = 256,
        .group = "X25519",
        .server_name = "gw.test",
    };

    conn_fake_tls_ready(stage->conn, &facts);
}

/* What is on disk --------------------------------------------------------- */

static void
print_recipient(const struct envelope_recipient *r, struct buf *out)
{
    buf_printf(out, "to %.*s domain=%.*s", SV_ARG(r->address),
               SV_ARG(r->domain));
    if (r->notify != 0)
        buf_printf(out, " notify=%u", r->notify);
    if (r->orcpt.n > 0)
        buf_printf(out, " orcpt=%.*s", SV_ARG(r->orcpt));
    buf_add_char(out, '\n');
}

static void
print_envelope(const struct envelope *e, struct buf *out)
{
    static const char *const ret[] = {"unset", "full", "hdrs"};
    char demands[ENVELOPE_TLS_TEXT];

    buf_printf(out, "from %.*s\nret %s\nenvid %.*s\n", SV_ARG(e->sender),
               ret[e->ret], SV_ARG(e->envid));
    buf_printf(out, "body %s\nsmtputf8 %d\neight_bit %d\nheader_utf8 %d\n",
               e->body == BODY_8BITMIME ? "8BITMIME" : "7BIT", e->smtputf8,
               e->eight_bit, e->header_utf8);
    buf_printf(out, "client %.*s %.*s\nlistener %.*s\n",
               SV_ARG(e->client_address), SV_ARG(e->client_name),
               SV_ARG(e->listener));
    buf_printf(out, "tls %.*s %.*s\nrecipients %zu\n", SV_ARG(e->tls_version),
               SV_ARG(e->tls_cipher), e->recipient_count);
    buf_printf(out, "demands %s\n", envelope_tls_text(e->tls_demands, demands));
    for (size_t i = 0; i < e->recipient_count; i++)
        print_recipient(&e->recipients[i], out);
}

static ssize_t fetched;
static bool is_fetched;

static void
on_read(void *arg, ssize_t got, const struct err *err)
{
    (void)arg;
    (void)err;
    fetched = got;
    is_fetched = true;
}

static bool
has_fetched(struct stage *stage)
{
    (void)stage;
    return is_fetched;
}

/* The next bytes at the end of out; a file system that cannot tell whether a
 * read would block is asked on a thread. */
static ssize_t
read_some(struct stage *stage, struct spool_content *content, struct buf *out)
{
    enum { SOME = 65536 };
    char *dst = buf_reserve(out, SOME);
    uint64_t offset = buf_length(out);
    struct err err;
    ssize_t n = spool_content_read(content, offset, dst, SOME, &err);

    if (n == SPOOL_BLOCKED) {
        is_fetched = false;
        spool_content_fetch(content, stage->loop, offset, dst, SOME, on_read,
                            NULL);
        if (!stage_wait(stage, has_fetched))
            return -1;
        n = fetched;
    }
    return n;
}

static void
read_content(struct stage *stage, struct spool_place place, struct buf *out)
{
    struct err err;
    struct spool_content *content =
        spool_content_open(stage->home.spool, place, &err);
    ssize_t n;

    assert(content != NULL);
    buf_reset(out);
    while ((n = read_some(stage, content, out)) > 0)
        buf_grew(out, (size_t)n);
    assert(n == 0);
    spool_content_close(content);
}

static void
take_record(struct stage *stage, const struct spool_record *record,
            struct stored *stored)
{
    struct envelope envelope;
    struct arena arena;
    struct err err;
    bool ok;

    arena_init(&arena, 1024);
    ok = envelope_decode(record->head, &arena, &envelope, &err);
    assert(ok);
    stored->count++;
    buf_reset(&stored->envelope);
    print_envelope(&envelope, &stored->envelope);
    read_content(stage, record->place, &stored->mail);
    if (mail_header_length(buf_view(&stored->mail)) != envelope.header_bytes)
        buf_add_str(&stored->envelope, "header_bytes are wrong\n");
    arena_fini(&arena);
}

void
stage_stored(struct stage *stage, struct stored *stored)
{
    struct spool_record record;
    struct spool_reader *reader;
    struct err err;

    *stored = (struct stored){0};
    reader = spool_reader_new(stage->home.spool, SPOOL_INTAKE, 0, &err);
    assert(reader != NULL);
    while (spool_reader_next(reader, &record, &err) == SPOOL_RECORD)
        if (record.type == SPOOL_MESSAGE)
            take_record(stage, &record, stored);
    spool_reader_free(reader);
}
