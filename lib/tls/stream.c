#include "tls/stream.h"
#include "tls/tls_internal.h"
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>

/* The library reads from stream->input and writes to stream->emit.  Input that
 * has run out is "try again": the library then keeps what it has of a record
 * and takes the rest with the next call. */
static int
on_bio_read(BIO *bio, char *dst, int size)
{
    struct tls_stream *stream = BIO_get_data(bio);
    size_t n = stream->input.n;

    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > (size_t)size)
        n = (size_t)size;
    memcpy(dst, stream->input.p, n);
    stream->input = sv_from(stream->input, n);
    return (int)n;
}

static int
on_bio_write(BIO *bio, const char *bytes, int n)
{
    struct tls_stream *stream = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    stream->emit(stream->arg, (struct sv){bytes, (size_t)n});
    return n;
}

static long
on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method; /* lives as long as the process */

static void
make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
                          "waxgate stream");
    if (method == NULL)
        abort();
    BIO_meth_set_read(method, on_bio_read);
    BIO_meth_set_write(method, on_bio_write);
    BIO_meth_set_ctrl(method, on_bio_ctrl);
}

static BIO *
stream_bio_new(struct tls_stream *stream)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    pthread_once(&once, make_method);
    bio = BIO_new(method);
    if (bio == NULL)
        abort(); /* out of memory, as everywhere */
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    return bio;
}

struct tls_stream *
stream_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static struct tls_stream *
stream_new(struct tls_context *context, tls_emit *emit, void *arg)
{
    struct tls_stream *stream = mem_alloc(sizeof *stream);
    BIO *bio = stream_bio_new(stream);

    stream->context = tls_context_ref(context);
    stream->emit = emit;
    stream->arg = arg;
    tls_facts_complete(&stream->facts);
    ERR_clear_error();
    stream->ssl = SSL_new(context->ctx[0]);
    if (stream->ssl == NULL || SSL_set_app_data(stream->ssl, stream) != 1)
        abort();
    SSL_set_bio(stream->ssl, bio, bio);
    return stream;
}

struct tls_stream *
tls_stream_new_server(struct tls_context *context, tls_emit *emit, void *arg)
{
    struct tls_stream *stream = stream_new(context, emit, arg);

    assert(context->server);
    SSL_set_accept_state(stream->ssl);
    return stream;
}

static void
offer_session(struct tls_stream *stream, const struct tls_session_key *key)
{
    SSL_SESSION *session;

    stream->key = mem_alloc(sizeof *key);
    *stream->key = *key;
    session = sessions_take(stream);
    if (session != NULL)
        SSL_set_session(stream->ssl, session);
    SSL_SESSION_free(session);
}

static void
offer_name(struct tls_stream *stream, struct sv server_name)
{
    char name[256];

    if (server_name.n > 0 && sv_to_cstr(server_name, name, sizeof name) &&
        SSL_set_tlsext_host_name(stream->ssl, name) == 1)
        stream_set_server_name(stream, server_name);
}

struct tls_stream *
tls_stream_new_client(struct tls_context *context, struct sv server_name,
                      const struct tls_session_key *key, tls_emit *emit,
                      void *arg)
{
    return tls_stream_new_client_dane(context, server_name, key, NULL, emit,
                                      arg);
}

struct tls_stream *
tls_stream_new_client_dane(struct tls_context *context, struct sv server_name,
                           const struct tls_session_key *key,
                           const struct tls_dane *dane, tls_emit *emit,
                           void *arg)
{
    struct tls_stream *stream = stream_new(context, emit, arg);

    assert(!context->server);
    /* RFC 7672 section 8.1 */
    offer_name(stream, dane != NULL ? sv_of(dane->base) : server_name);
    if (dane != NULL)
        dane_ask(stream, dane);
    if (key != NULL)
        offer_session(stream, key);
    SSL_set_connect_state(stream->ssl);
    return stream;
}

void
tls_stream_free(struct tls_stream *stream)
{
    if (stream == NULL)
        return;
    /* Without this the library takes a connection that was closed without the
     * exchange of close_notify for a failed one and spoils its session. */
    if (!stream->failed && stream->ready)
        SSL_set_shutdown(stream->ssl,
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(stream->ssl);
    tls_context_unref(stream->context);
    tls_certificate_facts_free(stream->peer);
    mem_free(stream->server_name);
    mem_free(stream->dane);
    mem_free(stream->key);
    mem_free(stream);
}

/* Reads the reason at once, before anything else can touch the queue. */
static enum tls_result
result_of(struct tls_stream *stream, int rc, struct tls_failure *failure)
{
    int error = SSL_get_error(stream->ssl, rc);

    if (error == SSL_ERROR_WANT_READ)
        return TLS_AGAIN;
    if (error == SSL_ERROR_ZERO_RETURN && stream->ready)
        return TLS_EOF;
    failure_from_library(stream, error, failure);
    stream->failed = true;
    return TLS_ERROR;
}

/* The server may have chosen from a hole in our range of versions; nothing of
 * ours was sent yet. */
static bool
version_is_on(struct tls_stream *stream, struct tls_failure *failure)
{
    if (stream->context->server ||
        profile_has_version(stream->context->versions,
                            SSL_version(stream->ssl)))
        return true;
    tls_failure_set(failure, STAGE_VERSION,
                    "the server chose %s, which is switched off",
                    SSL_get_version(stream->ssl));
    stream->failed = true;
    return false;
}

enum tls_result
tls_stream_handshake(struct tls_stream *stream, struct sv *in,
                     struct tls_failure *failure)
{
    enum tls_result result = TLS_OK;
    int rc;

    assert(!stream->ready && !stream->failed);
    stream->input = *in;
    ERR_clear_error();
    rc = SSL_do_handshake(stream->ssl);
    if (rc != 1)
        result = result_of(stream, rc, failure);
    else if (version_is_on(stream, failure))
        stream->ready = true;
    else
        result = TLS_ERROR;
    *in = stream->input;
    stream->input = (struct sv){0};
    if (result != TLS_AGAIN)
        facts_fill(stream);
    return result;
}

enum tls_result
tls_stream_read(struct tls_stream *stream, struct sv *in, char *dst,
                size_t size, size_t *n, struct tls_failure *failure)
{
    enum tls_result result = TLS_OK;

    assert(stream->ready && !stream->failed);
    stream->input = *in;
    *n = 0;
    while (result == TLS_OK && *n < size) {
        size_t room = size - *n, got = 0;
        int rc;

        ERR_clear_error();
        rc = SSL_read_ex(stream->ssl, dst + *n, room, &got);
        *n += got;
        if (rc != 1)
            result = result_of(stream, rc, failure);
    }
    *in = stream->input;
    stream->input = (struct sv){0};
    return result;
}

enum tls_result
tls_stream_write(struct tls_stream *stream, struct sv bytes,
                 struct tls_failure *failure)
{
    assert(stream->ready && !stream->failed);
    while (bytes.n > 0) {
        size_t n = bytes.n < TLS_RECORD ? bytes.n : TLS_RECORD, written = 0;
        int rc;

        ERR_clear_error();
        rc = SSL_write_ex(stream->ssl, bytes.p, n, &written);
        /* Our BIO takes everything, so "try again" cannot be. */
        if (rc != 1 && result_of(stream, rc, failure) != TLS_AGAIN)
            return TLS_ERROR;
        assert(rc == 1);
        bytes = sv_from(bytes, written);
    }
    return TLS_OK;
}

void
tls_stream_shutdown(struct tls_stream *stream)
{
    if (!stream->ready || stream->failed)
        return;
    if (SSL_get_shutdown(stream->ssl) & SSL_SENT_SHUTDOWN)
        return;
    ERR_clear_error();
    SSL_shutdown(stream->ssl);
    ERR_clear_error();
}

const struct tls_facts *
tls_stream_facts(const struct tls_stream *stream)
{
    return &stream->facts;
}
