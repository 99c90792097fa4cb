/* Typed failures from OpenSSL's error queue.  The queue belongs to the thread,
 * not to the connection: whoever calls the library empties it before and reads
 * it at once after, or one session's error shows up in another. */
#include "tls/tls_internal.h"
#include <openssl/err.h>
#include <stdarg.h>

/* The library codes an alert from the peer as 1000 + its number. */
#define ALERT_OF(reason) ((reason)-SSL_AD_REASON_OFFSET)

static enum tls_stage
stage_of_client_alert(int alert)
{
    switch (alert) {
    case SSL3_AD_HANDSHAKE_FAILURE:
    case SSL3_AD_NO_CERTIFICATE:
    case SSL3_AD_BAD_CERTIFICATE:
    case SSL3_AD_CERTIFICATE_UNKNOWN:
    case TLS1_AD_ACCESS_DENIED:
        return STAGE_CLIENT_CERTIFICATE;
    default:
        return STAGE_NONE;
    }
}

static enum tls_stage
stage_of_alert(const struct tls_stream *stream, int alert)
{
    const SSL *ssl = stream->ssl;

    if (!stream->context->server && stream->facts.certificate_requested &&
        !stream->context->has_certificate &&
        stage_of_client_alert(alert) != STAGE_NONE)
        return stage_of_client_alert(alert);

    switch (alert) {
    case TLS13_AD_CERTIFICATE_REQUIRED:
        return STAGE_CLIENT_CERTIFICATE;
    case TLS1_AD_PROTOCOL_VERSION:
        return STAGE_VERSION;
    case TLS1_AD_INSUFFICIENT_SECURITY:
        return STAGE_CIPHER;
    case SSL3_AD_HANDSHAKE_FAILURE:
        /* The answer to a ClientHello with nothing the server accepts. */
        return SSL_get_state(ssl) == TLS_ST_CW_CLNT_HELLO ? STAGE_CIPHER
                                                          : STAGE_HANDSHAKE;
    case SSL3_AD_CERTIFICATE_EXPIRED:
        return STAGE_EXPIRED;
    case SSL3_AD_BAD_CERTIFICATE:
    case SSL3_AD_UNSUPPORTED_CERTIFICATE:
    case SSL3_AD_CERTIFICATE_REVOKED:
    case SSL3_AD_CERTIFICATE_UNKNOWN:
    case TLS1_AD_UNKNOWN_CA:
        return STAGE_CHAIN;
    default:
        return stream->ready ? STAGE_IO : STAGE_HANDSHAKE;
    }
}

/* The library gives the same reason for bytes that are no TLS at all, and for
 * records of another version than was just agreed on. */
static bool
has_begun(const SSL *ssl)
{
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);

    return state != TLS_ST_BEFORE && state != TLS_ST_CW_CLNT_HELLO;
}

static enum tls_stage
stage_of_reason(const struct tls_stream *stream, int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
        if (stream->ready)
            return STAGE_IO;
        return has_begun(stream->ssl) ? STAGE_VERSION : STAGE_HANDSHAKE;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_UNSUPPORTED_SSL_VERSION:
        return STAGE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_CIPHERS_AVAILABLE:
    case SSL_R_WRONG_CIPHER_RETURNED:
    case SSL_R_UNKNOWN_CIPHER_RETURNED:
        return STAGE_CIPHER;
    default:
        return stream->ready ? STAGE_IO : STAGE_HANDSHAKE;
    }
}

static void
failure_from_code(const struct tls_stream *stream, unsigned long code,
                  struct tls_failure *failure)
{
    int reason = ERR_GET_REASON(code);
    const char *text = ERR_reason_error_string(code);

    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
        tls_failure_set(failure, stage_of_alert(stream, ALERT_OF(reason)),
                        "peer sent alert: %s",
                        SSL_alert_desc_string_long(ALERT_OF(reason)));
    else
        tls_failure_set(failure,
                        ERR_GET_LIB(code) == ERR_LIB_SSL
                            ? stage_of_reason(stream, reason)
                        : stream->ready ? STAGE_IO
                                        : STAGE_HANDSHAKE,
                        "%s", text != NULL ? text : "unknown TLS error");
}

void
failure_from_library(const struct tls_stream *stream, int ssl_error,
                     struct tls_failure *failure)
{
    unsigned long code = ERR_peek_error();

    if (code != 0)
        failure_from_code(stream, code, failure);
    else
        tls_failure_set(failure, STAGE_IO, "TLS library stopped (%d)",
                        ssl_error);
    ERR_clear_error();
}

void
err_library(struct err *err, const char *fmt, ...)
{
    char what[256];
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    err_set(err, "%s: %s", what, reason != NULL ? reason : "unknown reason");
    ERR_clear_error();
}
