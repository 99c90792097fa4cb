/* https/https.h - small requests over HTTPS: a policy is fetched, a report is
 * uploaded.  libcurl on the loop, with our own resolver.
 *
 * The server's certificate must be valid for the host name (WebPKI); nothing
 * is redirected, proxied, cached or resumed from disk.  Names are looked up by
 * dns/; unless allowed, only public addresses are connected to, so that
 * somebody else's DNS cannot make this machine knock at inner doors. */
#ifndef HTTPS_HTTPS_H
#define HTTPS_HTTPS_H
#include "base/err.h"
#include "base/sv.h"
#include "dns/dns.h"
#include "net/loop.h"

struct https_client;

struct https_options {
    char *const *authorities; /* files (PEM) beside the system's */
    size_t authority_count;
    bool allow_private;
};
/* All calls of a client on this loop's thread; resolver is referenced by each
 * request that needs it, options are copied. */
MUST_USE struct https_client *
https_client_new(struct loop *loop, const struct https_options *options,
                 struct err *err);
/* Requests under way end without a call. */
void https_client_free(struct https_client *client); /* NULL is fine */

/* Where a request failed, in the order of its steps. */
#define HTTPS_STAGES(X)                                                        \
    X(HTTPS_OK, "ok")                                                          \
    X(HTTPS_DNS, "dns")         /* no address */                               \
    X(HTTPS_ADDRESS, "address") /* none that is allowed */                     \
    X(HTTPS_CONNECT, "connect")                                                \
    X(HTTPS_TLS, "tls")                 /* handshake */                        \
    X(HTTPS_CERTIFICATE, "certificate") /* not valid for the host */           \
    X(HTTPS_STATUS, "status")           /* of the answer is not 2xx */         \
    X(HTTPS_TYPE, "type")               /* media type is another */            \
    X(HTTPS_SIZE, "size")               /* larger than allowed */              \
    X(HTTPS_TIMEOUT, "timeout")                                                \
    X(HTTPS_IO, "io")
#define AS_HTTPS_ENUM(name, text) name,
enum https_stage { HTTPS_STAGES(AS_HTTPS_ENUM) HTTPS_STAGE_COUNT };
#undef AS_HTTPS_ENUM
const char *https_stage_name(enum https_stage stage);

struct https_answer {
    enum https_stage stage;
    long status;      /* 0: none came */
    struct sv body;   /* of a good answer */
    bool untyped;     /* it came without a media type */
    char reason[200]; /* why it failed, printable; "" */
    char ip[64];      /* of the server; "" */
};

struct https_request {
    const char *url;          /* https://host[:port]/path */
    bool clear_text;          /* http:// will do: for answers that carry their
                               * own signature, as those of OCSP */
    const char *media_type;   /* what the answer must be; NULL: anything */
    const char *content_type; /* POST: of body; NULL: GET */
    struct sv body;           /* POST; copied */
    size_t max_body;          /* of the answer, bytes */
    uint64_t timeout_ms;      /* of everything together */
};
/* on_answer comes once, never from inside; the answer is valid during it. */
struct https_call;
struct https_call *
https_send(struct https_client *client, struct dns_resolver *resolver,
           const struct https_request *request,
           void (*on_answer)(void *arg, const struct https_answer *answer),
           void *arg);
void https_cancel(struct https_call *call); /* no call comes any more */
#endif
