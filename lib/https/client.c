/* libcurl's multi interface on the loop: it says which sockets it wants
 * watched and when it wants to be called, the loop does both. */
#include "https/https_internal.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
init_library(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
}

const char *
https_stage_name(enum https_stage stage)
{
#define AS_HTTPS_TEXT(name, text) text,
    static const char *const names[] = {HTTPS_STAGES(AS_HTTPS_TEXT)};

    return names[stage];
}

/* A handle is taken off before its call goes on: it may begin anew. */
static void
read_messages(struct https_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        CURLcode code = message->data.result;
        char *call = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        call_finished((struct https_call *)(void *)call, code);
    }
}

static void
act(struct https_client *client, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(client->multi, fd, events, &running);
    read_messages(client);
}

static void
on_timer(struct timer *timer)
{
    act(CONTAINER_OF(timer, struct https_client, timer), CURL_SOCKET_TIMEOUT,
        0);
}

static int
on_timeout_wanted(CURLM *multi, long ms, void *arg)
{
    struct https_client *client = arg;

    (void)multi;
    if (ms < 0)
        timer_disarm(&client->timer);
    else
        timer_arm(&client->timer, (uint64_t)ms);
    return 0;
}

struct https_socket {
    struct https_client *client;
    struct watch *watch; /* owned */
    curl_socket_t fd;    /* libcurl's */
};

static void
on_ready(void *arg, int events)
{
    struct https_socket *socket = arg;

    act(socket->client, socket->fd,
        (events & WATCH_READ ? CURL_CSELECT_IN : 0) |
            (events & WATCH_WRITE ? CURL_CSELECT_OUT : 0));
}

static struct https_socket *
socket_new(struct https_client *client, curl_socket_t fd)
{
    struct https_socket *socket = mem_alloc(sizeof *socket);

    socket->client = client;
    socket->fd = fd;
    socket->watch = watch_new(client->loop, fd, on_ready, socket);
    curl_multi_assign(client->multi, fd, socket);
    return socket;
}

static int
on_watch_wanted(CURL *easy, curl_socket_t fd, int what, void *arg,
                void *assigned)
{
    struct https_client *client = arg;
    struct https_socket *socket = assigned;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (socket == NULL)
            return 0;
        watch_free(socket->watch);
        mem_free(socket);
        curl_multi_assign(client->multi, fd, NULL);
        return 0;
    }
    if (socket == NULL)
        socket = socket_new(client, fd);
    watch_set(socket->watch, (what & CURL_POLL_IN ? WATCH_READ : 0) |
                                 (what & CURL_POLL_OUT ? WATCH_WRITE : 0));
    return 0;
}

static void
copy_options(struct https_client *client, const struct https_options *options)
{
    size_t count = options->authority_count;

    client->authorities =
        mem_alloc_array(count + 1, sizeof *client->authorities);
    for (size_t i = 0; i < count; i++)
        client->authorities[i] = mem_strdup(options->authorities[i]);
    client->trust = (struct tls_trust){
        .system = true,
        .files = client->authorities,
        .file_count = count,
    };
    client->allow_private = options->allow_private;
}

/* Now rather than at the first request. */
static bool
authorities_are_usable(const struct https_client *client, struct err *err)
{
    X509_STORE *store = tls_trust_store(&client->trust, err);

    X509_STORE_free(store);
    return store != NULL;
}

struct https_client *
https_client_new(struct loop *loop, const struct https_options *options,
                 struct err *err)
{
    struct https_client *client = mem_alloc(sizeof *client);

    pthread_once(&once, init_library);
    client->loop = loop;
    list_init(&client->calls);
    copy_options(client, options);
    timer_init(&client->timer, loop, on_timer);
    client->multi = curl_multi_init();
    if (client->multi == NULL)
        abort();
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    if (authorities_are_usable(client, err))
        return client;
    https_client_free(client);
    return NULL;
}

void
https_client_free(struct https_client *client)
{
    struct link *link;

    if (client == NULL)
        return;
    while ((link = list_pop_front(&client->calls)) != NULL)
        call_free(CONTAINER_OF(link, struct https_call, link));
    curl_multi_cleanup(client->multi);
    timer_fini(&client->timer);
    for (size_t i = 0; i < client->trust.file_count; i++)
        mem_free((void *)(uintptr_t)client->authorities[i]);
    mem_free(client->authorities);
    mem_free(client);
}
