/* tls/stream.h - one TLS connection over bytes in memory.
 * It knows no sockets: the holder (lib/net) gives it what came from the peer
 * and is handed what must go there, so one recv() and one send() per turn of
 * the loop carry as many records as there are.  A stream belongs to one
 * thread. */
#ifndef TLS_STREAM_H
#define TLS_STREAM_H
#include "base/sv.h"
#include "tls/facts.h"

struct tls_context;
struct tls_dane;
struct tls_session_key;
struct tls_stream;

enum tls_result {
    TLS_OK,    /* done */
    TLS_AGAIN, /* everything given was used; more must come */
    TLS_EOF,   /* the peer sent close_notify */
    TLS_ERROR, /* *failure tells why; only facts and free are left to call */
};

/* Gets ciphertext for the peer, in order, from inside any call below. */
typedef void tls_emit(void *arg, struct sv ciphertext);

/* Both reference the context.  server_name: SNI, empty for none; key: see
 * tls_session_key, NULL for no resumption.  Never fail. */
struct tls_stream *tls_stream_new_server(struct tls_context *context,
                                         tls_emit *emit, void *arg);
struct tls_stream *tls_stream_new_client(struct tls_context *context,
                                         struct sv server_name,
                                         const struct tls_session_key *key,
                                         tls_emit *emit, void *arg);
/* The same to a server that has to match TLSA records (tls/dane.h); what is
 * needed of dane is copied.  Its base domain is the SNI, whatever server_name
 * says.  The handshake does not fail when none matches: facts.dane tells.
 * dane may be NULL. */
struct tls_stream *tls_stream_new_client_dane(struct tls_context *context,
                                              struct sv server_name,
                                              const struct tls_session_key *key,
                                              const struct tls_dane *dane,
                                              tls_emit *emit, void *arg);
void tls_stream_free(struct tls_stream *stream); /* NULL is fine */

/* Goes on with the handshake; *in moves past what was used.  A client begins
 * with an empty *in.  TLS_OK: finished, the rest of *in is for
 * tls_stream_read().  Never TLS_EOF. */
MUST_USE enum tls_result tls_stream_handshake(struct tls_stream *stream,
                                              struct sv *in,
                                              struct tls_failure *failure);

/* Decrypts into dst; *n bytes were written there, also when the result is not
 * TLS_OK.  TLS_OK: dst is full.  n bytes of ciphertext never make more than
 * n + TLS_RECORD bytes of clear text, because up to one record may have been
 * kept from before. */
#define TLS_RECORD 16384
MUST_USE enum tls_result tls_stream_read(struct tls_stream *stream,
                                         struct sv *in, char *dst, size_t size,
                                         size_t *n,
                                         struct tls_failure *failure);

/* Encrypts all of it; after the handshake only.  TLS_OK or TLS_ERROR. */
MUST_USE enum tls_result tls_stream_write(struct tls_stream *stream,
                                          struct sv bytes,
                                          struct tls_failure *failure);

/* Emits close_notify once, where the state allows it. */
void tls_stream_shutdown(struct tls_stream *stream);

/* Complete after the handshake; what is known so far before. */
const struct tls_facts *tls_stream_facts(const struct tls_stream *stream);

/* The peer's certificate is for this host name: one of its DNS names is equal,
 * or has a wildcard for the whole leftmost label (RFC 9525 section 6.3). The
 * common name does not count.  A name that begins with a dot matches nothing.
 * After the handshake. */
bool tls_stream_matches_name(const struct tls_stream *stream, struct sv name);

/* What the peer sent, leaf first, each described for the caller to free; at
 * most max, returns how many.  Fewer after a resumption, which shows none. */
size_t tls_stream_chain(const struct tls_stream *stream,
                        struct tls_certificate_facts **chain, size_t max);

/* Whether the chain that the server has shown would match other records, for
 * views; at the present time.  Client; a resumed session has shown none. */
bool tls_stream_dane_try(const struct tls_stream *stream,
                         const struct tls_dane *dane,
                         struct tls_dane_facts *facts);
#endif
