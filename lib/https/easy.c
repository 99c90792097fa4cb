/* What libcurl is told and what it says.  Every way in which it would do more
 * than one request to one address is closed: redirects, proxies (also those of
 * the environment), other protocols, connections and TLS sessions of before,
 * look-ups of its own. */
#include "https/https_internal.h"

#include <unistd.h>

/* --- What comes --------------------------------------------------------- */

static bool
is_good_status(long status)
{
    return status >= 200 && status <= 299;
}

static bool
type_is(const char *type, const char *wanted)
{
    struct sv rest = sv_of(type);

    return sv_is_nocase(sv_trim(sv_take_until(&rest, ';')), wanted);
}

/* The content type of the answer, or NULL. */
static const char *
answer_type(const struct https_call *call)
{
    char *type = NULL;

    curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
    return type != NULL && *type != '\0' ? type : NULL;
}

static bool
is_wanted(const struct https_call *call)
{
    const char *type = answer_type(call);
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return is_good_status(status) &&
           (call->media_type == NULL || type == NULL ||
            type_is(type, call->media_type));
}

/* Another length than n ends the transfer. */
static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
    struct https_call *call = arg;

    n *= size;
    call->unwanted = !is_wanted(call);
    call->too_large =
        !call->unwanted && n > call->max_body - buf_length(&call->received);
    if (call->unwanted || call->too_large)
        return 0;
    buf_add(&call->received, (struct sv){data, n});
    return n;
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    struct https_call *call = arg;

    (void)data;
    n *= size;
    call->header_bytes += n;
    call->too_large = call->header_bytes > HTTPS_HEADER_BYTES;
    return call->too_large ? 0 : n;
}

/* libcurl may connect to the address that was chosen and to none else. */
static curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct https_call *call = arg;
    const struct net_address *chosen = &call->addresses[call->tried - 1];
    struct net_address address;

    (void)purpose;
    net_address_from_sockaddr(&to->addr, &address);
    if (!net_address_same_ip(&address, chosen) ||
        net_address_port(&address) != call->port)
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  to->protocol);
}

/* --- Setting up --------------------------------------------------------- */

/* Fails for options that libcurl does not know, and for want of memory. */
#define SET(call, option, value)                                               \
    do {                                                                       \
        CURLcode set_code = curl_easy_setopt((call)->easy, option, value);     \
        assert(set_code == CURLE_OK);                                          \
        (void)set_code;                                                        \
    } while (0)

static void
set_limits(struct https_call *call)
{
    uint64_t now = loop_now(call->client->loop);
    uint64_t left = call->deadline > now ? call->deadline - now : 1;
    size_t addresses =
        call->address_count < HTTPS_TRIES ? call->address_count : HTTPS_TRIES;
    uint64_t share = left / (addresses - (call->tried - 1));

    SET(call, CURLOPT_NOSIGNAL, 1L);
    SET(call, CURLOPT_TIMEOUT_MS, 0L); /* the call's own timer */
    SET(call, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(share < HTTPS_CONNECT_MS ? share + 1 : HTTPS_CONNECT_MS));
    SET(call, CURLOPT_PROTOCOLS_STR, call->clear_text ? "http" : "https");
    SET(call, CURLOPT_FOLLOWLOCATION, 0L);
    SET(call, CURLOPT_PROXY, ""); /* also none of the environment's */
    SET(call, CURLOPT_NOPROXY, "*");
    SET(call, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(call, CURLOPT_FRESH_CONNECT, 1L);
    SET(call, CURLOPT_FORBID_REUSE, 1L);
    SET(call, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    SET(call, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
}

static void
set_tls(struct https_call *call)
{
    SET(call, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(call, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(call, CURLOPT_SSL_VERIFYHOST, 2L);
    SET(call, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(call, CURLOPT_CAINFO, NULL); /* trust.c */
    SET(call, CURLOPT_CAPATH, NULL);
    SET(call, CURLOPT_SSL_CTX_FUNCTION, trust_apply);
    SET(call, CURLOPT_SSL_CTX_DATA, call);
}

static void
set_route(struct https_call *call)
{
    char text[NET_ADDRESS_TEXT], line[NET_ADDRESS_TEXT + 8];
    struct net_address *address = &call->addresses[call->tried - 1];

    net_address_set_port(address, call->port);
    snprintf(line, sizeof line, "::%s", net_address_text(address, text));
    call->lists = curl_slist_append(NULL, line);
    SET(call, CURLOPT_CONNECT_TO, call->lists);
    SET(call, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(call, CURLOPT_OPENSOCKETDATA, call);
    net_address_ip_text(address, call->answer.ip);
}

static void
add_header(struct https_call *call, const char *text)
{
    struct curl_slist *longer = curl_slist_append(call->headers, text);

    if (longer == NULL)
        abort();
    call->headers = longer;
}

static void
set_request(struct https_call *call)
{
    char type[200];

    SET(call, CURLOPT_URL, call->url);
    SET(call, CURLOPT_USERAGENT, "Waxgate/" WAXGATE_VERSION);
    SET(call, CURLOPT_PRIVATE, call);
    SET(call, CURLOPT_ERRORBUFFER, call->curl_text);
    SET(call, CURLOPT_WRITEFUNCTION, on_body);
    SET(call, CURLOPT_WRITEDATA, call);
    SET(call, CURLOPT_HEADERFUNCTION, on_header);
    SET(call, CURLOPT_HEADERDATA, call);
    if (call->content_type == NULL)
        return;
    snprintf(type, sizeof type, "Content-Type: %s", call->content_type);
    add_header(call, type);
    add_header(call, "Expect:"); /* one more round trip for nothing */
    SET(call, CURLOPT_HTTPHEADER, call->headers);
    SET(call, CURLOPT_POST, 1L);
    SET(call, CURLOPT_POSTFIELDS, call->body);
    SET(call, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_length);
}

void
easy_prepare(struct https_call *call)
{
    easy_drop(call);
    call->easy = curl_easy_init();
    if (call->easy == NULL)
        abort();
    call->certificate[0] = call->curl_text[0] = '\0';
    call->header_bytes = 0;
    buf_reset(&call->received);
    set_limits(call);
    set_tls(call);
    set_route(call);
    set_request(call);
}

void
easy_drop(struct https_call *call)
{
    if (call->easy == NULL)
        return;
    curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    call->easy = NULL;
    curl_slist_free_all(call->lists);
    curl_slist_free_all(call->headers);
    call->lists = call->headers = NULL;
}

/* --- The end ------------------------------------------------------------ */

static void
judge_status(struct https_call *call)
{
    struct curl_header *to;

    if (call->answer.status >= 300 && call->answer.status <= 399 &&
        curl_easy_header(call->easy, "Location", 0, CURLH_HEADER, -1, &to) ==
            CURLHE_OK)
        call_fail(call, HTTPS_STATUS,
                  "the server answers %ld and points to %.100s, which is not "
                  "followed",
                  call->answer.status, to->value);
    else
        call_fail(call, HTTPS_STATUS, "the server answers %ld",
                  call->answer.status);
}

static void
judge_answer(struct https_call *call)
{
    const char *type = answer_type(call);

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->answer.status);
    if (!is_good_status(call->answer.status)) {
        judge_status(call);
    } else if (!is_wanted(call)) {
        call_fail(call, HTTPS_TYPE, "the media type is %.60s instead of %s",
                  type, call->media_type);
    } else {
        call->answer.stage = HTTPS_OK;
        call->answer.untyped = type == NULL;
    }
}

static const struct code {
    CURLcode code;
    enum https_stage stage;
    bool elsewhere; /* another address may do better */
} codes[] = {
    {CURLE_COULDNT_CONNECT, HTTPS_CONNECT, true},
    {CURLE_OPERATION_TIMEDOUT, HTTPS_TIMEOUT, true},
    {CURLE_PEER_FAILED_VERIFICATION, HTTPS_CERTIFICATE, false},
    {CURLE_SSL_CACERT_BADFILE, HTTPS_CERTIFICATE, false},
    {CURLE_SSL_ISSUER_ERROR, HTTPS_CERTIFICATE, false},
    {CURLE_SSL_CONNECT_ERROR, HTTPS_TLS, false},
    {CURLE_SSL_CIPHER, HTTPS_TLS, false},
};

static bool
judge_code(struct https_call *call, CURLcode code)
{
    const char *text = call->certificate[0] != '\0' ? call->certificate
                       : call->curl_text[0] != '\0' ? call->curl_text
                                                    : curl_easy_strerror(code);

    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        if (codes[i].code != code)
            continue;
        call_fail(call,
                  call->certificate[0] != '\0' ? HTTPS_CERTIFICATE
                                               : codes[i].stage,
                  "%s", text);
        return codes[i].elsewhere;
    }
    call_fail(call, HTTPS_IO, "%s", text);
    return false;
}

bool
easy_judge(struct https_call *call, CURLcode code)
{
    if (call->too_large)
        call_fail(call, HTTPS_SIZE, "the answer is larger than %zu bytes",
                  call->header_bytes > HTTPS_HEADER_BYTES
                      ? (size_t)HTTPS_HEADER_BYTES
                      : call->max_body);
    else if (code == CURLE_OK || call->unwanted)
        judge_answer(call);
    else
        return judge_code(call, code);
    return false;
}
