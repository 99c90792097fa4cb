/* https/https_internal.h - the parts behind https/https.h: client.c joins
 * libcurl and the loop, call.c carries one request through its steps, easy.c
 * tells libcurl what to do, trust.c looks at the certificate, public.c knows
 * which addresses are nobody's inner doors. */
#ifndef HTTPS_HTTPS_INTERNAL_H
#define HTTPS_HTTPS_INTERNAL_H
#include "https/https.h"

#include "base/buf.h"
#include "net/address.h"
#include "tls/context.h"
#include <curl/curl.h>

enum {
    HTTPS_TRIES = 4, /* addresses that are tried */
    HTTPS_ADDRESSES_MAX = 32,
    HTTPS_CONNECT_MS = 15000, /* at most for one of them, with TLS */
    HTTPS_HEADER_BYTES = 64 << 10,
};

struct https_client {
    struct loop *loop;
    CURLM *multi;       /* owned */
    struct timer timer; /* what libcurl waits for */
    struct list calls;  /* owned, struct https_call */
    struct tls_trust trust;
    const char **authorities; /* owned copies */
    bool allow_private;
};

struct https_call {
    struct link link; /* client->calls */
    struct https_client *client;
    void (*on_answer)(void *arg, const struct https_answer *answer);
    void *arg;

    /* what is wanted */
    char *url, *media_type, *content_type; /* owned; NULL as in the request */
    char *body;                            /* owned */
    size_t body_length;
    size_t max_body;
    bool clear_text; /* by HTTP without TLS */
    char host[256];  /* of the URL, without brackets */
    uint16_t port;
    uint64_t deadline; /* loop_now() */

    /* the way there */
    struct timer timer; /* deadline; or, when done, "tell the owner" */
    struct dns_query *queries[2];
    struct net_address addresses[HTTPS_ADDRESSES_MAX];
    size_t address_count, tried;
    size_t refused;           /* addresses that are not public */
    char refused_ip[64];      /* the first of them */
    char dns_reason[200];     /* why a look-up gave nothing */
    CURL *easy;               /* owned; NULL: not under way */
    struct curl_slist *lists; /* owned: CONNECT_TO */
    struct curl_slist *headers;
    char curl_text[CURL_ERROR_SIZE];
    char certificate[200]; /* why it was not believed */

    /* what came */
    bool done;
    bool too_large, unwanted;
    size_t header_bytes;
    struct buf received;
    struct https_answer answer;
};

/* easy.c: sets up call->easy for the next address. */
void easy_prepare(struct https_call *call);
void easy_drop(struct https_call *call);
/* What libcurl says becomes call->answer; true: another address may do. */
MUST_USE bool easy_judge(struct https_call *call, CURLcode code);

/* trust.c: gives libcurl's context our authorities, and the name that must
 * stand in the certificate. */
CURLcode trust_apply(CURL *easy, void *ssl_ctx, void *call);

/* client.c: libcurl has ended with a call. */
void call_finished(struct https_call *call, CURLcode code);
void call_free(struct https_call *call);

/* call.c: fails, once. */
void call_fail(struct https_call *call, enum https_stage stage, const char *fmt,
               ...) PRINTF_LIKE(3, 4);

/* public.c: false for loopback, private, shared, link-local, documentation,
 * multicast and reserved addresses, and for what embeds one of them. */
bool https_address_is_public(const struct net_address *address);
#endif
