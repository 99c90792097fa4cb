/* tls/tls_internal.h - what the files of lib/tls share; not for others. */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/context.h"
#include "tls/facts.h"
#include "tls/stream.h"
#include <openssl/ssl.h>

#define NAMES_MAX 256 /* names of one certificate that take part in SNI */

/* A chain with its key, loaded and checked. */
struct certificate {
    X509 *leaf;             /* owned */
    STACK_OF(X509) * chain; /* owned; without the leaf */
    EVP_PKEY *key;          /* owned */
    char **names;           /* owned, each too; lower case, DNS names only */
    size_t name_count;
};

/* certificate.c */
bool certificate_load(const struct tls_certificate_files *files,
                      struct certificate *certificate, struct err *err);
void certificate_fini(struct certificate *certificate);
bool certificate_use(const struct certificate *certificate, SSL_CTX *ctx,
                     struct err *err);
enum name_match { NAME_NO, NAME_WILDCARD, NAME_EXACT };
/* name in any case, without a trailing dot. */
enum name_match certificate_match(const struct certificate *certificate,
                                  struct sv name);

/* profile.c: versions, ciphers, groups, and the options that all share. */
bool profile_apply(const struct tls_profile *profile, SSL_CTX *ctx,
                   struct err *err);

/* context.c */
struct tls_context {
    int references; /* atomic */
    bool server;
    bool has_certificate; /* client: it can offer one */
    SSL_CTX **ctx;        /* owned; one per certificate, [0] is the default */
    size_t ctx_count;
    struct certificate *certificates; /* owned; those of ctx, for SNI */
};

/* stream.c */
struct tls_stream {
    SSL *ssl;
    struct tls_context *context; /* referenced */
    struct sv input;             /* what the library has not read yet */
    tls_emit *emit;
    void *arg;
    struct tls_session_key *key; /* owned; NULL: no resumption */
    bool ready, failed;
    struct tls_facts facts;
};
struct tls_stream *stream_of(const SSL *ssl);

/* failure.c: turns the thread's OpenSSL error queue and the result of
 * SSL_get_error() into a typed failure. */
void failure_from_library(const struct tls_stream *stream, int ssl_error,
                          struct tls_failure *failure);
/* Sets err to "what: the library's first reason" and empties the queue. */
void err_library(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* peer.c */
void facts_fill(struct tls_stream *stream);
void facts_set_server_name(struct tls_facts *facts, struct sv name);

/* tickets.c */
void tickets_use(SSL_CTX *ctx);

/* sessions.c */
void sessions_use(SSL_CTX *ctx);
/* Gives a reference, or NULL.  TLS 1.3 sessions are given once only, so that
 * an observer cannot link connections by a ticket (RFC 8446 appendix C.4). */
SSL_SESSION *sessions_take(const struct tls_session_key *key);

#endif
