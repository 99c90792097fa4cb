/* One request: look the host up, choose the addresses that are allowed, try
 * them one after the other, tell the owner.  The last step always happens in a
 * timer of the loop, so that the owner may do as it likes with calls and
 * client. */
#include "https/https_internal.h"

static void
tell(struct https_call *call)
{
    struct https_answer answer = call->answer;

    if (answer.stage == HTTPS_OK)
        answer.body = buf_view(&call->received);
    list_remove(&call->client->calls, &call->link);
    call->on_answer(call->arg, &answer);
    call_free(call);
}

static void
stop_work(struct https_call *call)
{
    for (size_t i = 0; i < COUNT_OF(call->queries); i++)
        if (call->queries[i] != NULL)
            dns_cancel(call->queries[i]);
    call->queries[0] = call->queries[1] = NULL;
    easy_drop(call);
}

static void
finish(struct https_call *call)
{
    call->done = true;
    timer_arm(&call->timer, 0);
}

static void
make_printable(char *text)
{
    for (; *text != '\0'; text++)
        if (!char_is_print(*text))
            *text = '?';
}

void
call_fail(struct https_call *call, enum https_stage stage, const char *fmt, ...)
{
    va_list args;

    call->answer.stage = stage;
    va_start(args, fmt);
    vsnprintf(call->answer.reason, sizeof call->answer.reason, fmt, args);
    va_end(args);
    make_printable(call->answer.reason);
}

static void
on_timer(struct timer *timer)
{
    struct https_call *call = CONTAINER_OF(timer, struct https_call, timer);

    stop_work(call);
    if (!call->done)
        call_fail(call, HTTPS_TIMEOUT, "no whole answer within the time%s%s",
                  call->answer.ip[0] != '\0' ? " from " : "", call->answer.ip);
    tell(call);
}

/* --- Connecting --------------------------------------------------------- */

static void
try_next(struct https_call *call)
{
    CURLMcode code;

    call->tried++;
    easy_prepare(call);
    code = curl_multi_add_handle(call->client->multi, call->easy);
    assert(code == CURLM_OK); /* a handle that is new */
    (void)code;
}

void
call_finished(struct https_call *call, CURLcode code)
{
    bool elsewhere = easy_judge(call, code);

    if (elsewhere && call->tried < call->address_count &&
        call->tried < HTTPS_TRIES) {
        call->answer.reason[0] = '\0';
        try_next(call);
    } else {
        finish(call);
    }
}

/* --- Looking up --------------------------------------------------------- */

static void
add_address(struct https_call *call, const struct net_address *address)
{
    if (!call->client->allow_private && !https_address_is_public(address)) {
        if (call->refused++ == 0)
            net_address_ip_text(address, call->refused_ip);
    } else if (call->address_count < HTTPS_ADDRESSES_MAX) {
        call->addresses[call->address_count++] = *address;
    }
}

static void
add_answer(struct https_call *call, const struct dns_answer *answer,
           enum dns_type type)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        struct net_address address;

        if (dns_address_parse(&answer->records[i], type, &address))
            add_address(call, &address);
    }
    if (answer->state == DNS_BOGUS || answer->state == DNS_ERROR)
        snprintf(call->dns_reason, sizeof call->dns_reason, "%s%s",
                 answer->state == DNS_BOGUS ? "bogus: " : "", answer->reason);
}

static void
connect_or_fail(struct https_call *call)
{
    if (call->address_count > 0) {
        try_next(call);
        return;
    }
    if (call->refused > 0)
        call_fail(call, HTTPS_ADDRESS,
                  "%s has no public address, only %s, which is not connected "
                  "to",
                  call->host, call->refused_ip);
    else if (call->dns_reason[0] != '\0')
        call_fail(call, HTTPS_DNS, "%s cannot be looked up: %s", call->host,
                  call->dns_reason);
    else
        call_fail(call, HTTPS_DNS, "%s has no address", call->host);
    finish(call);
}

static const enum dns_type types[] = {DNS_AAAA, DNS_A};

static void
on_looked_up(struct https_call *call, size_t which,
             const struct dns_answer *answer)
{
    call->queries[which] = NULL;
    add_answer(call, answer, types[which]);
    if (call->queries[1 - which] == NULL)
        connect_or_fail(call);
}

static void
on_aaaa(void *arg, const struct dns_answer *answer)
{
    on_looked_up(arg, 0, answer);
}

static void
on_a(void *arg, const struct dns_answer *answer)
{
    on_looked_up(arg, 1, answer);
}

static void
look_up(struct https_call *call, struct dns_resolver *resolver)
{
    struct loop *loop = call->client->loop;
    struct net_address address;

    if (net_address_parse(sv_of(call->host), call->port, &address)) {
        add_address(call, &address);
        connect_or_fail(call);
        return;
    }
    call->queries[0] =
        dns_lookup(resolver, loop, call->host, types[0], on_aaaa, call);
    call->queries[1] =
        dns_lookup(resolver, loop, call->host, types[1], on_a, call);
}

/* --- Beginning and end -------------------------------------------------- */

static bool
part(CURLU *url, CURLUPart what, char *out, size_t size)
{
    char *text = NULL;
    bool ok = curl_url_get(url, what, &text, CURLU_DEFAULT_PORT) == CURLUE_OK &&
              strlen(text) < size;

    if (ok)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

static bool
scheme_is_allowed(struct https_call *call, CURLU *url)
{
    char scheme[8];
    bool may_be_clear = call->clear_text;

    if (!part(url, CURLUPART_SCHEME, scheme, sizeof scheme))
        return false;
    call->clear_text = may_be_clear && strcmp(scheme, "http") == 0;
    return call->clear_text || strcmp(scheme, "https") == 0;
}

/* Names and passwords in a URL have no place here. */
static bool
read_url(struct https_call *call)
{
    CURLU *url = curl_url();
    char port[8];
    uint32_t number = 0;
    bool ok;

    ok = curl_url_set(url, CURLUPART_URL, call->url,
                      CURLU_NON_SUPPORT_SCHEME | CURLU_DISALLOW_USER) ==
             CURLUE_OK &&
         scheme_is_allowed(call, url) &&
         part(url, CURLUPART_HOST, call->host, sizeof call->host) &&
         part(url, CURLUPART_PORT, port, sizeof port) &&
         sv_to_u32(sv_of(port), &number) && number > 0 && number <= UINT16_MAX;
    curl_url_cleanup(url);
    call->port = (uint16_t)number;
    return ok;
}

/* "[2001:db8::1]" loses its brackets: certificates name the bare address. */
static void
trim_host(char *host)
{
    size_t n = strlen(host);

    if (host[0] != '[' || n < 2)
        return;
    memmove(host, host + 1, n - 2);
    host[n - 2] = '\0';
}

static char *
copy_text(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

static void
copy_request(struct https_call *call, const struct https_request *request)
{
    call->url = mem_strdup(request->url);
    call->media_type = copy_text(request->media_type);
    call->content_type = copy_text(request->content_type);
    call->body = sv_dup(request->body);
    call->body_length = request->body.n;
    call->max_body = request->max_body;
    call->clear_text = request->clear_text;
    call->deadline = loop_now(call->client->loop) + request->timeout_ms;
}

struct https_call *
https_send(struct https_client *client, struct dns_resolver *resolver,
           const struct https_request *request,
           void (*on_answer)(void *arg, const struct https_answer *answer),
           void *arg)
{
    struct https_call *call = mem_alloc(sizeof *call);

    call->client = client;
    call->on_answer = on_answer;
    call->arg = arg;
    list_push_back(&client->calls, &call->link);
    timer_init(&call->timer, client->loop, on_timer);
    timer_arm(&call->timer, request->timeout_ms);
    copy_request(call, request);
    if (read_url(call)) {
        trim_host(call->host);
        look_up(call, resolver);
    } else {
        call_fail(call, HTTPS_IO, "%.120s is no URL of %s", call->url,
                  request->clear_text ? "HTTP or HTTPS" : "HTTPS");
        finish(call);
    }
    return call;
}

void
https_cancel(struct https_call *call)
{
    list_remove(&call->client->calls, &call->link);
    call_free(call);
}

void
call_free(struct https_call *call)
{
    stop_work(call);
    timer_fini(&call->timer);
    buf_fini(&call->received);
    mem_free(call->url);
    mem_free(call->media_type);
    mem_free(call->content_type);
    mem_free(call->body);
    mem_free(call);
}
