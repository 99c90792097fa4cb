/* tls/tls_internal.h - what the files of lib/tls share; not for others. */
#ifndef TLS_INTERNAL_H
#define TLS_INTERNAL_H
#include "base/err.h"
#include "base/sv.h"
#include "tls/context.h"
#include "tls/dane.h"
#include "tls/facts.h"
#include "tls/stamp.h"
#include "tls/stream.h"
#include <openssl/ssl.h>
#include <sys/types.h>
#include <time.h>

#define NAMES_MAX 256 /* names of one certificate that take part in SNI */

/* staple.c */
struct staple {
    unsigned char *der; /* owned, by the library's allocator; NULL: none */
    size_t n;
    int64_t from, until; /* seconds since 1970 */
    bool revoked;        /* it says that the certificate is */
};

/* A chain with its key, loaded and checked. */
struct certificate {
    X509 *leaf;             /* owned */
    STACK_OF(X509) * chain; /* owned; without the leaf */
    EVP_PKEY *key;          /* owned */
    char **names;           /* owned, each too; lower case, DNS names only */
    size_t name_count;
    struct staple staple;
};

/* False, and err why, unless it is about the certificate, fresh and good. */
bool staple_load(struct staple *staple, const struct certificate *certificate,
                 const char *path, struct err *err);
void staple_fini(struct staple *staple);
bool staple_is_fresh(const struct staple *staple, int64_t now);
void staples_use(SSL_CTX *ctx, struct tls_context *context);

/* trust.c */
/* A reference for the caller; NULL: a file is missing or wrong. */
X509_STORE *trust_store(const struct tls_trust *trust, struct err *err);
bool trust_name_authorities(const struct tls_trust *trust, SSL_CTX *ctx,
                            struct err *err);

/* verify.c: request: a server asks its clients for a certificate. */
void verify_use(SSL_CTX *ctx, bool request);
enum tls_verdict verdict_of(long error); /* X509_V_ERR_… */

/* certificate.c */
bool certificate_load(const struct tls_certificate_files *files,
                      struct certificate *certificate, struct err *err);
void certificate_fini(struct certificate *certificate);
/* Shares what the library counts; without the staple. */
void certificate_copy(const struct certificate *from, struct certificate *to);
/* pairs.c: the same with files->keep. */
bool pair_load(const struct tls_certificate_files *files,
               struct certificate *certificate, struct err *err);
bool certificate_use(const struct certificate *certificate, SSL_CTX *ctx,
                     struct err *err);
enum name_match { NAME_NO, NAME_WILDCARD, NAME_EXACT };
/* name in any case, without a trailing dot. */
enum name_match certificate_match(const struct certificate *certificate,
                                  struct sv name);

/* profile.c: versions, ciphers, groups, and the options that all share. */
bool profile_apply(const struct tls_profile *profile, SSL_CTX *ctx,
                   struct err *err);
/* A client tells the server a range.  Of versions with a hole between them
 * OpenSSL would offer the lowest part only, TLS 1.0 of {1.0, 1.2}: offer all of
 * the range, and see afterwards what was chosen. */
void profile_offer_across_holes(const struct tls_profile *profile,
                                SSL_CTX *ctx);
bool profile_has_version(unsigned bits, int number); /* TLS1_2_VERSION … */

/* context.c */
struct tls_context {
    int references;  /* atomic */
    uint64_t serial; /* of this process; never used twice */
    bool server;
    unsigned versions;      /* client: enum tls_version_bit that may be used */
    bool has_certificate;   /* client: it can offer one */
    bool accept_server_eku; /* server: for client certificates */
    SSL_CTX **ctx;          /* owned; one per certificate, [0] is the default */
    size_t ctx_count;
    struct certificate *certificates; /* owned; those of ctx, for SNI */
    struct file_stamp *stamps;        /* owned; of every file that was read */
    size_t stamp_count;
};

/* dane.c */
/* Of the records and names that a server had to match: two checks with one mark
 * are the same check. */
struct dane_mark {
    uint8_t digest[32];
};
struct dane_check {
    struct tls_dane_facts facts;
    struct tls_dane_facts remembered; /* of the session that is offered */
    struct dane_mark mark;
    const char *problem; /* nothing can match: why; or NULL */
};
/* Makes the context able to ask. */
void dane_use(SSL_CTX *ctx);
void dane_ask(struct tls_stream *stream, const struct tls_dane *dane);
/* Once the certificate was verified, or the session resumed. */
void dane_fill(struct tls_stream *stream);

/* stream.c */
struct tls_stream {
    SSL *ssl;
    struct tls_context *context; /* referenced */
    struct sv input;             /* what the library has not read yet */
    tls_emit *emit;
    void *arg;
    struct tls_session_key *key; /* owned; NULL: no resumption */
    int64_t verified; /* when the peer's certificate of the session that is
                       * offered was, seconds since 1970 */
    bool ready, failed;
    struct tls_facts facts;
    /* Owned texts and values that facts points to; NULL without. */
    struct tls_certificate_facts *peer;
    char *server_name;
    struct dane_check *dane; /* owned; NULL: not asked */
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
void stream_set_server_name(struct tls_stream *stream, struct sv name);

/* tickets.c */
void tickets_use(SSL_CTX *ctx);

/* sessions.c */
void sessions_use(SSL_CTX *ctx);
/* Gives a reference for stream->key, or NULL.  TLS 1.3 sessions are given once
 * only, so that an observer cannot link connections by a ticket (RFC 8446
 * appendix C.4).  A session is only given when it was made with the stream's
 * context, since another may have read other authorities and revocation lists
 * from the same files; when the peer showed its certificate not too long ago;
 * and under the same demand of DANE, which then remembers how that went. */
SSL_SESSION *sessions_take(struct tls_stream *stream);

#endif
