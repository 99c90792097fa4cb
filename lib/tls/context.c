#include "tls/context.h"
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <openssl/evp.h>

#define SERVER_TICKETS 1 /* a mail client keeps one session per server */
#define SESSION_SECONDS 7200

static struct tls_context *
context_new(size_t count, bool server)
{
    struct tls_context *context = mem_alloc(sizeof *context);

    context->references = 1;
    context->server = server;
    context->ctx = mem_alloc_array(count, sizeof(SSL_CTX *));
    context->certificates = mem_alloc_array(count, sizeof(struct certificate));
    context->ctx_count = count;
    return context;
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
    facts_set_server_name(&stream_of(ssl)->facts, name);
    if (name.p[name.n - 1] == '.')
        name.n--;
    chosen = choose_certificate(context, name);
    if (context->ctx[chosen] != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, context->ctx[chosen]);
    /* An unknown name is no error: a mail client would not look (RFC 6066
     * section 3 leaves it to the server). */
    return SSL_TLSEXT_ERR_OK;
}

static bool
set_session_id(SSL_CTX *ctx, struct sv session_id, struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (EVP_Digest(session_id.p, session_id.n, digest, &length, EVP_sha256(),
                   NULL) == 1 &&
        SSL_CTX_set_session_id_context(ctx, digest,
                                       length < SSL_MAX_SID_CTX_LENGTH
                                           ? length
                                           : SSL_MAX_SID_CTX_LENGTH) == 1)
        return true;
    err_library(err, "session id of the listener");
    return false;
}

static SSL_CTX *
server_ctx_new(const struct tls_profile *profile, struct sv session_id,
               struct tls_context *context, struct err *err)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL) {
        err_library(err, "TLS server context");
        return NULL;
    }
    if (!profile_apply(profile, ctx, err) ||
        !set_session_id(ctx, session_id, err)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* Tickets carry the state; a cache here would only hold memory. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    SSL_CTX_set_num_tickets(ctx, SERVER_TICKETS);
    SSL_CTX_set_max_early_data(ctx, 0); /* 0-RTT replays a message */
    SSL_CTX_set_dh_auto(ctx, 1);
    tickets_use(ctx);
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
server_fill(struct tls_context *context, const struct tls_profile *profile,
            const struct tls_certificate_files *files, struct sv session_id,
            struct err *err)
{
    for (size_t i = 0; i < context->ctx_count; i++) {
        if (!certificate_load(&files[i], &context->certificates[i], err))
            return false;
        context->ctx[i] = server_ctx_new(profile, session_id, context, err);
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

struct tls_context *
tls_context_new_server(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificates,
                       size_t certificate_count, struct sv session_id,
                       struct err *err)
{
    struct tls_context *context;

    if (certificate_count == 0) {
        err_set(err, "a TLS server needs at least one certificate");
        return NULL;
    }
    context = context_new(certificate_count, true);
    if (server_fill(context, profile, certificates, session_id, err))
        return context;
    tls_context_unref(context);
    return NULL;
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
client_trust(SSL_CTX *ctx, const char *trust, struct err *err)
{
    ERR_clear_error();
    if (trust == NULL) {
        if (SSL_CTX_set_default_verify_paths(ctx) == 1)
            return true;
        err_library(err, "the system's trusted certificates");
    } else {
        if (SSL_CTX_load_verify_file(ctx, trust) == 1)
            return true;
        err_library(err, "trusted certificates in %s", trust);
    }
    return false;
}

static bool
client_fill(struct tls_context *context, const struct tls_profile *profile,
            const struct tls_certificate_files *files, const char *trust,
            struct err *err)
{
    SSL_CTX *ctx = context->ctx[0] = SSL_CTX_new(TLS_client_method());
    struct certificate *certificate = &context->certificates[0];

    if (ctx == NULL) {
        err_library(err, "TLS client context");
        return false;
    }
    /* The chain is checked all the same and the result kept as a fact; the
     * handshake goes on, because the decision is made above. */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_cb(ctx, on_certificate_request, NULL);
    sessions_use(ctx);
    if (!profile_apply(profile, ctx, err) || !client_trust(ctx, trust, err))
        return false;
    if (files == NULL)
        return true;
    context->has_certificate = true;
    if (!certificate_load(files, certificate, err))
        return false;
    if (certificate_use(certificate, ctx, err))
        return true;
    err_wrap(err, "certificate %s", files->name);
    return false;
}

struct tls_context *
tls_context_new_client(const struct tls_profile *profile,
                       const struct tls_certificate_files *certificate,
                       const char *trust, struct err *err)
{
    struct tls_context *context = context_new(1, false);

    if (client_fill(context, profile, certificate, trust, err))
        return context;
    tls_context_unref(context);
    return NULL;
}
