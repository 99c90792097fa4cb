#include "tls/context.h"
#include "base/buf.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/evp.h>

#define SERVER_TICKETS 1 /* a mail client keeps one session per server */
#define SESSION_SECONDS 7200

static uint64_t serials; /* atomic */

static struct tls_context *
context_new(size_t count, bool server)
{
    struct tls_context *context = mem_alloc(sizeof *context);

    context->references = 1;
    context->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    context->server = server;
    context->ctx = mem_alloc_array(count, sizeof(SSL_CTX *));
    context->certificates = mem_alloc_array(count, sizeof(struct certificate));
    context->ctx_count = count;
    return context;
}

static void
watch_file(struct tls_context *context, const char *path)
{
    if (path == NULL || *path == '\0')
        return;
    context->stamps = mem_resize(context->stamps, (context->stamp_count + 1) *
                                                      sizeof *context->stamps);
    stamp_init(&context->stamps[context->stamp_count++], path);
}

static void
watch_certificate(struct tls_context *context,
                  const struct tls_certificate_files *files)
{
    watch_file(context, files->chain);
    watch_file(context, files->key);
    watch_file(context, files->ocsp);
}

/* The system's authorities are left out: their package is renewed now and then,
 * and the next reload takes that along. */
static void
watch_trust(struct tls_context *context, const struct tls_trust *trust)
{
    for (size_t i = 0; trust != NULL && i < trust->file_count; i++)
        watch_file(context, trust->files[i]);
    for (size_t i = 0; trust != NULL && i < trust->crl_count; i++)
        watch_file(context, trust->crls[i]);
}

bool
tls_context_files_changed(const struct tls_context *context)
{
    for (size_t i = 0; i < context->stamp_count; i++) {
        if (stamp_changed(&context->stamps[i]))
            return true;
    }
    return false;
}

struct tls_context *
tls_context_ref(struct tls_context *context)
{
    __atomic_add_fetch(&context->references, 1, __ATOMIC_RELAXED);
    return context;
}

void
tls_context_unref(struct tls_context *context)
{
    if (context == NULL ||
        __atomic_sub_fetch(&context->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < context->ctx_count; i++) {
        SSL_CTX_free(context->ctx[i]);
        certificate_fini(&context->certificates[i]);
    }
    for (size_t i = 0; i < context->stamp_count; i++)
        stamp_fini(&context->stamps[i]);
    mem_free(context->stamps);
    mem_free(context->ctx);
    mem_free(context->certificates);
    mem_free(context);
}

/* The certificate for a name: the first that has it, else the first with a
 * matching wildcard, else the default. */
static size_t
choose_certificate(const struct tls_context *context, struct sv name)
{
    size_t wildcard = 0;
    bool found = false;

    for (size_t i = 0; i < context->ctx_count; i++) {
        enum name_match match =
            certificate_match(&context->certificates[i], name);

        if (match == NAME_EXACT)
            return i;
        if (match == NAME_WILDCARD && !found) {
            wildcard = i;
            found = true;
        }
    }
    return wildcard;
}

static int
on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_context *context = arg;
    const char *text = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct sv name = sv_of(text);
    size_t chosen;

    (void)alert;
    if (name.n == 0 || name.n > 255)
        return SSL_TLSEXT_ERR_NOACK;
    stream_set_server_name(stream_of(ssl), name);
    if (name.p[name.n - 1] == '.')
        name.n--;
    chosen = choose_certificate(context, name);
    if (context->ctx[chosen] != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, context->ctx[chosen]);
    /* An unknown name is no error: a mail client would not look (RFC 6066
     * section 3 leaves it to the server). */
    return SSL_TLSEXT_ERR_OK;
}

/* A ticket carries the client's certificate and what the check found.  So
 * that no listener takes the word of another, nor of itself before its trust
 * was changed, all that the check depends on is part of the id. */
static void
describe_session(const struct tls_server_options *options,
                 const struct tls_context *context, struct buf *id)
{
    buf_add(id, options->session_id);
    if (!options->request_certificate)
        return;
    buf_printf(id, "\nverify %d %d", options->accept_server_eku,
               options->client_trust == NULL || options->client_trust->system);
    for (size_t i = 0; i < context->stamp_count; i++) {
        const struct file_stamp *stamp = &context->stamps[i];

        buf_printf(id, "\n%s %ju %jd.%09ld", stamp->path,
                   (uintmax_t)stamp->inode, (intmax_t)stamp->modified.tv_sec,
                   stamp->modified.tv_nsec);
    }
}

struct server_parts {
    const struct tls_server_options *options;
    unsigned char id[SSL_MAX_SID_CTX_LENGTH]; /* digest of the session id */
    X509_STORE *trust;                        /* NULL: nobody is asked */
};

static void
set_session_id(struct server_parts *parts, const struct tls_context *context)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct buf text = {0};
    struct sv view;

    describe_session(parts->options, context, &text);
    view = buf_view(&text);
    if (EVP_Digest(view.p, view.n, digest, NULL, EVP_sha256(), NULL) != 1)
        abort(); /* tls_init() has seen it work */
    memcpy(parts->id, digest, sizeof parts->id);
    buf_fini(&text);
}

static bool
ask_clients(const struct server_parts *parts, SSL_CTX *ctx, struct err *err)
{
    if (parts->trust == NULL)
        return true;
    verify_use(ctx, true);
    SSL_CTX_set1_cert_store(ctx, parts->trust);
    return trust_name_authorities(parts->options->client_trust, ctx, err);
}

static SSL_CTX *
server_ctx_new(const struct server_parts *parts, struct tls_context *context,
               struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL) {
        err_library(err, "TLS server context");
        return NULL;
    }
    if (!profile_apply(parts->options->profile, ctx, err) ||
        !ask_clients(parts, ctx, err)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    SSL_CTX_set_session_id_context(ctx, parts->id, sizeof parts->id);
    /* Tickets carry the state; a cache here would only hold memory. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    SSL_CTX_set_num_tickets(ctx, SERVER_TICKETS);
    SSL_CTX_set_max_early_data(ctx, 0); /* 0-RTT replays a message */
    SSL_CTX_set_dh_auto(ctx, 1);
    tickets_use(ctx);
    staples_use(ctx, context);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, context);
    return ctx;
}

static bool
covers(const struct certificate *candidate, const struct certificate *primary)
{
    for (size_t i = 0; i < primary->name_count; i++) {
        if (certificate_match(candidate, sv_of(primary->names[i])) == NAME_NO)
            return false;
    }
    return primary->name_count > 0;
}

/* Puts certificate i in its ctx, and beside it the first one of every other key
 * type that serves the same names, so that old clients find RSA and new ones
 * ECDSA. */
static bool
use_with_twins(struct tls_context *context, size_t i, struct err *err)
{
    const struct certificate *primary = &context->certificates[i];
    int types[4] = {EVP_PKEY_get_base_id(primary->key)};
    size_t count = 1;

    for (size_t j = 0; j < context->ctx_count; j++) {
        const struct certificate *other = &context->certificates[j];
        int type = EVP_PKEY_get_base_id(other->key);
        bool seen = false;

        for (size_t t = 0; t < count; t++)
            seen |= types[t] == type;
        if (seen || count == COUNT_OF(types) || !covers(other, primary))
            continue;
        types[count++] = type;
        if (!certificate_use(other, context->ctx[i], err))
            return false;
    }
    return certificate_use(primary, context->ctx[i], err);
}

static bool
load_certificate(struct tls_context *context, size_t i,
                 const struct tls_certificate_files *files, struct err *err)
{
    struct certificate *certificate = &context->certificates[i];

    if (!pair_load(files, certificate, err))
        return false;
    /* A bad response is no reason not to start: tls_staple_check() tells. */
    if (files->ocsp != NULL && *files->ocsp != '\0' &&
        !staple_load(&certificate->staple, certificate, files->ocsp, NULL))
        staple_fini(&certificate->staple);
    return true;
}

static bool
fill_contexts(struct tls_context *context, const struct server_parts *parts,
              struct err *err)
{
    const struct tls_certificate_files *files = parts->options->certificates;

    for (size_t i = 0; i < context->ctx_count; i++) {
        if (!load_certificate(context, i, &files[i], err))
            return false;
        context->ctx[i] = server_ctx_new(parts, context, err);
        if (context->ctx[i] == NULL)
            return false;
    }
    for (size_t i = 0; i < context->ctx_count; i++) {
        if (!use_with_twins(context, i, err)) {
            err_wrap(err, "certificate %s", files[i].name);
            return false;
        }
    }
    return true;
}

static bool
server_fill(struct tls_context *context,
            const struct tls_server_options *options, struct err *err)
{
    struct server_parts parts = {.options = options};
    bool ok;

    if (options->request_certificate) {
        watch_trust(context, options->client_trust);
        parts.trust = trust_store(options->client_trust, err);
        if (parts.trust == NULL)
            return false;
    }
    set_session_id(&parts, context);
    for (size_t i = 0; i < context->ctx_count; i++)
        watch_certificate(context, &options->certificates[i]);
    ok = fill_contexts(context, &parts, err);
    X509_STORE_free(parts.trust);
    return ok;
}

struct tls_context *
tls_context_new_server_options(const struct tls_server_options *options,
                               struct err *err)
{
    struct tls_context *context;

    if (options->certificate_count == 0) {
        err_set(err, "a TLS server needs at least one certificate");
        return NULL;
    }
    context = context_new(options->certificate_count, true);
    context->accept_server_eku = options->accept_server_eku;
    if (server_fill(context, options, err))
        return context;
    tls_context_unref(context);
    return NULL;
}

struct tls_context *
tls_context_new_server(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificates,
                       size_t certificate_count, struct sv session_id,
                       struct err *err)
{
    const struct tls_server_options options = {
        .profile = profile,
        .certificates = certificates,
        .certificate_count = certificate_count,
        .session_id = session_id,
    };

    return tls_context_new_server_options(&options, err);
}

/* Only to learn that the server asked; what is offered is in the ctx. */
static int
on_certificate_request(SSL *ssl, void *arg)
{
    (void)arg;
    stream_of(ssl)->facts.certificate_requested = true;
    return 1;
}

static bool
client_certificate(struct tls_context *context,
                   const struct tls_certificate_files *files, struct err *err)
{
    if (files == NULL)
        return true;
    context->has_certificate = true;
    watch_certificate(context, files);
    if (!pair_load(files, &context->certificates[0], err))
        return false;
    if (certificate_use(&context->certificates[0], context->ctx[0], err))
        return true;
    err_wrap(err, "certificate %s", files->name);
    return false;
}

static bool
client_fill(struct tls_context *context,
            const struct tls_client_options *options, struct err *err)
{
    SSL_CTX *ctx = context->ctx[0] = SSL_CTX_new(TLS_client_method());
    X509_STORE *trust;

    if (ctx == NULL) {
        err_library(err, "TLS client context");
        return false;
    }
    verify_use(ctx, false);
    dane_use(ctx);
    SSL_CTX_set_cert_cb(ctx, on_certificate_request, NULL);
    sessions_use(ctx);
    if (options->no_tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (!profile_apply(options->profile, ctx, err))
        return false;
    profile_offer_across_holes(options->profile, ctx);
    context->versions = options->profile->versions;
    watch_trust(context, options->trust);
    trust = trust_store(options->trust, err);
    if (trust == NULL)
        return false;
    SSL_CTX_set_cert_store(ctx, trust); /* takes over the reference */
    return client_certificate(context, options->certificate, err);
}

struct tls_context *
tls_context_new_client_options(const struct tls_client_options *options,
                               struct err *err)
{
    struct tls_context *context = context_new(1, false);

    if (client_fill(context, options, err))
        return context;
    tls_context_unref(context);
    return NULL;
}

struct tls_context *
tls_context_new_client(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificate,
                       const char *trust, struct err *err)
{
    const struct tls_trust own = {.files = &trust, .file_count = 1};
    const struct tls_client_options options = {
        .profile = profile,
        .certificate = certificate,
        .trust = trust != NULL ? &own : NULL,
    };

    return tls_context_new_client_options(&options, err);
}
