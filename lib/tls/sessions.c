/* Client sessions by the digest of the decision they were made under: a
 * session of one policy can never be found by another.  Those of servers that
 * had to match TLSA records carry the mark of these records besides, so that
 * this does not hang on what the caller put into his digest.
 *
 * A resumed session carries the verdict on the certificate over.  Peers give a
 * new ticket with each resumption, so without a limit of our own the first
 * verdict would hold for ever. */
#include "base/list.h"
#include "base/map.h"
#include "tls/tls_internal.h"
#include <pthread.h>
#include <time.h>

enum { VERDICT_S = 24 * 3600 };

struct entry {
    struct link link; /* in order of use, the oldest first */
    struct tls_session_key key;
    SSL_SESSION *session; /* one reference */
    uint64_t context;     /* its serial */
    int64_t verified;     /* in the last full handshake, seconds since 1970 */
    struct dane_mark mark;
    struct tls_dane_facts *dane; /* owned; NULL: made without DANE */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map by_key;
static struct list by_use;
static size_t limit = 10000;

static struct sv
view_of_key(const struct tls_session_key *key)
{
    return (struct sv){(const char *)key->digest, sizeof key->digest};
}

static void
prepare(void)
{
    if (by_use.head.next == NULL)
        list_init(&by_use);
}

static void
drop(struct entry *entry)
{
    map_remove(&by_key, view_of_key(&entry->key));
    list_remove(&by_use, &entry->link);
    SSL_SESSION_free(entry->session);
    mem_free(entry->dane);
    mem_free(entry);
}

static void
shrink_to(size_t count)
{
    while (by_use.length > count)
        drop(CONTAINER_OF(list_first(&by_use), struct entry, link));
}

void
tls_session_cache_limit(size_t sessions)
{
    pthread_mutex_lock(&lock);
    prepare();
    limit = sessions;
    shrink_to(limit);
    pthread_mutex_unlock(&lock);
}

void
tls_session_cache_clear(void)
{
    pthread_mutex_lock(&lock);
    prepare();
    shrink_to(0);
    pthread_mutex_unlock(&lock);
}

void
tls_session_cache_forget(const struct tls_session_key *key)
{
    struct entry *entry;

    pthread_mutex_lock(&lock);
    entry = map_get(&by_key, view_of_key(key));
    if (entry != NULL)
        drop(entry);
    pthread_mutex_unlock(&lock);
}

static void
put(SSL_SESSION *session, const struct tls_stream *stream)
{
    const struct dane_check *dane = stream->dane;
    struct entry *entry = map_get(&by_key, view_of_key(stream->key));

    if (entry != NULL)
        drop(entry);
    shrink_to(limit - 1);
    entry = mem_alloc(sizeof *entry);
    entry->key = *stream->key;
    entry->session = session;
    entry->context = stream->context->serial;
    entry->verified = SSL_session_reused(stream->ssl) ? stream->verified
                                                      : (int64_t)time(NULL);
    if (dane != NULL) {
        entry->mark = dane->mark;
        entry->dane = mem_alloc(sizeof *entry->dane);
        *entry->dane = dane->facts;
    }
    list_push_back(&by_use, &entry->link);
    map_put(&by_key, view_of_key(&entry->key), entry);
}

/* Takes over the reference when it returns 1. */
static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_stream *stream = stream_of(ssl);
    int kept = 0;

    if (stream->key == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    dane_fill(stream); /* with TLS 1.2 we come before the end */
    if (stream->dane != NULL && !stream->dane->facts.matched)
        return 0;
    pthread_mutex_lock(&lock);
    prepare();
    if (limit > 0) {
        put(session, stream);
        kept = 1;
    }
    pthread_mutex_unlock(&lock);
    return kept;
}

static bool
is_fresh(const struct entry *entry)
{
    long now = (long)time(NULL);
    long made = SSL_SESSION_get_time(entry->session);

    return SSL_SESSION_is_resumable(entry->session) && now >= made &&
           now - made < SSL_SESSION_get_timeout(entry->session) &&
           now - entry->verified < VERDICT_S;
}

static bool
is_for(const struct entry *entry, const struct tls_stream *stream)
{
    const struct dane_check *dane = stream->dane;

    if (entry->context != stream->context->serial)
        return false;
    if (entry->dane == NULL || dane == NULL)
        return entry->dane == NULL && dane == NULL;
    return memcmp(&entry->mark, &dane->mark, sizeof entry->mark) == 0;
}

SSL_SESSION *
sessions_take(struct tls_stream *stream)
{
    SSL_SESSION *session = NULL;
    struct entry *entry;

    pthread_mutex_lock(&lock);
    entry = map_get(&by_key, view_of_key(stream->key));
    if (entry != NULL && is_fresh(entry) && is_for(entry, stream)) {
        session = entry->session;
        SSL_SESSION_up_ref(session);
        stream->verified = entry->verified;
        if (stream->dane != NULL)
            stream->dane->remembered = *entry->dane;
    }
    if (entry != NULL && (session == NULL || SSL_SESSION_get_protocol_version(
                                                 session) >= TLS1_3_VERSION))
        drop(entry);
    pthread_mutex_unlock(&lock);
    return session;
}

void
sessions_use(SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT |
                                            SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
}
