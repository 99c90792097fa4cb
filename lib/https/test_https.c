/* Requests to a server of our own (a thread with OpenSSL) that behaves as the
 * path says, under certificates of every kind; and which addresses are public.
 */
#include "dns/test_dns_server.h"
#include "https/https_internal.h"
#include "tls/test_pki.h"
#include "unit.h"
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* --- The server --------------------------------------------------------- */

enum { HUGE_BODY = 1 << 20 };

struct server {
    SSL_CTX *ctx;
    int fd;
    uint16_t port;
    pthread_t thread;
};

static const struct page {
    const char *path, *head, *body;
} pages[] = {
    {"/ok", "200 OK\r\nContent-Type: text/plain; charset=utf-8", "hello\n"},
    {"/capital", "200 OK\r\nContent-Type: Text/Plain", "hello\n"},
    {"/untyped", "200 OK", "hello\n"},
    {"/html", "200 OK\r\nContent-Type: text/html", "<p>hello"},
    {"/plainer", "200 OK\r\nContent-Type: text/plainer", "hello"},
    {"/empty", "200 OK\r\nContent-Type: text/plain", ""},
    {"/302", "302 Found\r\nLocation: https://good.test/ok", "moved"},
    {"/301",
     "301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Type: "
     "text/plain",
     "moved"},
    {"/404", "404 Not Found\r\nContent-Type: text/plain", "nothing"},
    {"/500", "500 Oops\r\nContent-Type: text/plain", ""},
    {"/gzip", "200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip",
     "hello\n"},
};

static void
send_text(SSL *ssl, const char *text)
{
    SSL_write(ssl, text, (int)strlen(text));
}

static void
send_page(SSL *ssl, const struct page *page)
{
    char text[512];

    snprintf(text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\n\r\n%s",
             page->head, page->body);
    send_text(ssl, text);
}

static void
send_many(SSL *ssl, const char *head, const char *line, size_t bytes)
{
    send_text(ssl, head);
    for (size_t sent = 0; sent < bytes; sent += strlen(line))
        if (SSL_write(ssl, line, (int)strlen(line)) <= 0)
            return;
}

static void
respond(SSL *ssl, const char *request)
{
    struct sv rest = sv_of(request), path;

    sv_take_until(&rest, ' ');
    path = sv_take_until(&rest, ' ');
    for (size_t i = 0; i < COUNT_OF(pages); i++)
        if (sv_is(path, pages[i].path))
            send_page(ssl, &pages[i]);
    if (sv_is(path, "/huge"))
        send_many(ssl, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n",
                  "0123456789abcdef\n", HUGE_BODY);
    if (sv_is(path, "/headers"))
        send_many(ssl, "HTTP/1.1 200 OK\r\n", "X-Filler: 0123456789abcdef\r\n",
                  HUGE_BODY);
    if (sv_is(path, "/slow")) {
        send_text(ssl, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
        for (int i = 0; i < 20; i++) {
            if (SSL_write(ssl, "a", 1) <= 0)
                break;
            usleep(50000);
        }
    }
    if (sv_is(path, "/post")) {
        const char *body = strstr(request, "\r\n\r\n");
        bool typed = strstr(request, "Content-Type: application/x-test") != 0;

        send_text(ssl, "HTTP/1.1 201 Created\r\n\r\n");
        send_text(ssl, typed ? "typed:" : "untyped:");
        send_text(ssl, body != NULL ? body + 4 : "");
    }
}

static void
serve(struct server *server, int fd)
{
    SSL *ssl = SSL_new(server->ctx);
    char request[4096];
    int n = 0, got;

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        do {
            got = SSL_read(ssl, request + n, (int)sizeof request - n - 1);
            if (got <= 0)
                break;
            n += got;
            request[n] = '\0';
        } while (strstr(request, "\r\n\r\n") == NULL);
        if (n > 0)
            respond(ssl, request);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
}

static void *
run_server(void *arg)
{
    struct server *server = arg;
    int fd;

    while ((fd = accept(server->fd, NULL, NULL)) >= 0)
        serve(server, fd);
    return NULL;
}

static struct server *
server_new(const char *name, const char *names, const char *issuer, int begins,
           int days)
{
    struct tls_certificate_files files =
        pki_make(&(struct pki_options){.name = name,
                                       .names = names,
                                       .issuer = issuer,
                                       .begins = begins,
                                       .days = days});
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    struct server *server = mem_alloc(sizeof *server);

    server->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(
        SSL_CTX_use_certificate_chain_file(server->ctx, files.chain), 1);
    assert_int_equal(
        SSL_CTX_use_PrivateKey_file(server->ctx, files.key, SSL_FILETYPE_PEM),
        1);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->fd, 16), 0);
    getsockname(server->fd, (struct sockaddr *)&address, &size);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server),
                     0);
    return server;
}

static void
server_free(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
    SSL_CTX_free(server->ctx);
    mem_free(server);
}

/* --- The client --------------------------------------------------------- */

enum which { GOOD, WILD, OTHER, EXPIRED, STRANGER, COMMON, SERVERS };
static struct server *servers[SERVERS];
static struct test_dns_server *dns;
static char *authorities[1];

static const struct test_dns_record records[] = {
    {"good.test", DNS_A, "127.0.0.1", 0},
    {"one.wild.test", DNS_A, "127.0.0.1", 0},
    {"two.one.wild.test", DNS_A, "127.0.0.1", 0},
    {"alias.test", DNS_CNAME, "good.test", 0},
    {"common.test", DNS_A, "127.0.0.1", 0},
    /* nobody listens at the first */
    {"several.test", DNS_A, "127.0.0.9", 0},
    {"several.test", DNS_A, "127.0.0.1", 0},
    {"empty.test", DNS_A, NULL, 0},
    {"broken.test", DNS_A, NULL, 2},
    {"broken.test", DNS_AAAA, NULL, 2},
    {0},
};

struct wait {
    struct loop *loop;
    bool answered;
    enum https_stage stage;
    long status;
    bool untyped;
    char reason[200], body[256], ip[64];
};

static void
on_answer(void *arg, const struct https_answer *answer)
{
    struct wait *wait = arg;

    assert_false(wait->answered);
    wait->answered = true;
    wait->stage = answer->stage;
    wait->status = answer->status;
    wait->untyped = answer->untyped;
    snprintf(wait->reason, sizeof wait->reason, "%s", answer->reason);
    snprintf(wait->body, sizeof wait->body, "%.*s", SV_ARG(answer->body));
    snprintf(wait->ip, sizeof wait->ip, "%s", answer->ip);
    loop_stop(wait->loop);
}

struct world {
    struct loop *loop;
    struct dns_resolver *resolver;
    struct https_client *client;
};

static void
world_open(struct world *world, bool allow_private)
{
    char address[32];
    char *resolvers[1] = {address};
    struct dns_options options = {
        .resolvers = resolvers, .resolver_count = 1, .timeout_ms = 5000};
    struct https_options https = {
        .authorities = authorities,
        .authority_count = 1,
        .allow_private = allow_private,
    };
    struct err err;

    snprintf(address, sizeof address, "%s", test_dns_server_address(dns));
    world->loop = loop_new(&err);
    world->resolver = dns_resolver_new(world->loop, &options, &err);
    assert_non_null(world->resolver);
    world->client = https_client_new(world->loop, &https, &err);
    assert_non_null(world->client);
}

static void
world_close(struct world *world)
{
    https_client_free(world->client);
    dns_resolver_unref(world->resolver);
    loop_free(world->loop);
}

static void
ask(struct wait *wait, const struct https_request *request, bool allow_private)
{
    struct world world;

    world_open(&world, allow_private);
    wait->loop = world.loop;
    https_send(world.client, world.resolver, request, on_answer, wait);
    assert_false(wait->answered);
    loop_run(world.loop);
    assert_true(wait->answered);
    world_close(&world);
}

/* --- Rows --------------------------------------------------------------- */

static const struct row {
    const char *name;
    enum which server;
    const char *host, *path;
    enum https_stage stage;
    const char *reason; /* stands in it */
    bool public_only;
} rows[] = {
    {"good", GOOD, "good.test", "/ok", HTTPS_OK, "", false},
    {"type in capitals", GOOD, "good.test", "/capital", HTTPS_OK, "", false},
    {"no type", GOOD, "good.test", "/untyped", HTTPS_OK, "", false},
    {"empty body", GOOD, "good.test", "/empty", HTTPS_OK, "", false},
    {"html", GOOD, "good.test", "/html", HTTPS_TYPE,
     "the media type is text/html instead of text/plain", false},
    {"longer type", GOOD, "good.test", "/plainer", HTTPS_TYPE, "text/plainer",
     false},
    {"redirect", GOOD, "good.test", "/302", HTTPS_STATUS,
     "answers 302 and points to https://good.test/ok, which is not followed",
     false},
    {"redirect to http", GOOD, "good.test", "/301", HTTPS_STATUS,
     "answers 301 and points to http://127.0.0.1/", false},
    {"not found", GOOD, "good.test", "/404", HTTPS_STATUS, "answers 404",
     false},
    {"server error", GOOD, "good.test", "/500", HTTPS_STATUS, "answers 500",
     false},
    {"huge", GOOD, "good.test", "/huge", HTTPS_SIZE, "larger than 65536 bytes",
     false},
    {"huge headers", GOOD, "good.test", "/headers", HTTPS_SIZE, "larger than",
     false},
    {"slow", GOOD, "good.test", "/slow", HTTPS_TIMEOUT,
     "no whole answer within the time from 127.0.0.1", false},
    {"closes", GOOD, "good.test", "/unknown", HTTPS_IO, "", false},
    {"host by alias", GOOD, "alias.test", "/ok", HTTPS_CERTIFICATE,
     "the certificate is for good.test, several.test only", false},
    {"second address", GOOD, "several.test", "/ok", HTTPS_OK, "", false},
    {"wildcard", WILD, "one.wild.test", "/ok", HTTPS_OK, "", false},
    {"wildcard is one label", WILD, "two.one.wild.test", "/ok",
     HTTPS_CERTIFICATE, "the certificate is for *.wild.test only", false},
    {"other name", OTHER, "good.test", "/ok", HTTPS_CERTIFICATE,
     "the certificate is for other.test only", false},
    {"expired", EXPIRED, "good.test", "/ok", HTTPS_CERTIFICATE,
     "certificate has expired", false},
    {"unknown authority", STRANGER, "good.test", "/ok", HTTPS_CERTIFICATE,
     "self-signed certificate", false},
    {"common name only", COMMON, "common.test", "/ok", HTTPS_CERTIFICATE,
     "the certificate names no host as alternative name", false},
    {"no address", GOOD, "empty.test", "/ok", HTTPS_DNS,
     "empty.test has no address", false},
    {"no such host", GOOD, "gone.test", "/ok", HTTPS_DNS,
     "gone.test has no address", false},
    {"SERVFAIL", GOOD, "broken.test", "/ok", HTTPS_DNS,
     "broken.test cannot be looked up: SERVFAIL", false},
    {"private address", GOOD, "good.test", "/ok", HTTPS_ADDRESS,
     "good.test has no public address, only 127.0.0.1", true},
    {"private literal", GOOD, "127.0.0.1", "/ok", HTTPS_ADDRESS, "127.0.0.1",
     true},
    {"number as host", GOOD, "2130706433", "/ok", HTTPS_ADDRESS, "127.0.0.1",
     true},
    {"octal as host", GOOD, "0177.1", "/ok", HTTPS_ADDRESS, "127.0.0.1", true},
    {"mapped literal", GOOD, "[::ffff:127.0.0.1]", "/ok", HTTPS_ADDRESS, "",
     true},
    {"literal without its name", GOOD, "127.0.0.1", "/ok", HTTPS_CERTIFICATE,
     "IP address mismatch", false},
    {"user in the URL", GOOD, "a:b@good.test", "/ok", HTTPS_IO,
     "is no URL of HTTPS", false},
};

static void
test_row(void **state)
{
    const struct row *row = *state;
    struct wait wait = {0};
    char url[256];
    struct https_request request = {
        .url = url,
        .media_type = "text/plain",
        .max_body = 65536,
        .timeout_ms = row->stage == HTTPS_TIMEOUT ? 300 : 10000,
    };

    snprintf(url, sizeof url, "https://%s:%u%s", row->host,
             servers[row->server]->port, row->path);
    ask(&wait, &request, !row->public_only);
    if (strstr(wait.reason, row->reason) == NULL)
        fail_msg("%s: %s", https_stage_name(wait.stage), wait.reason);
    assert_string_equal(https_stage_name(wait.stage),
                        https_stage_name(row->stage));
    if (row->stage == HTTPS_OK) {
        assert_string_equal(wait.body,
                            strcmp(row->path, "/empty") == 0 ? "" : "hello\n");
        assert_int_equal(wait.untyped, strcmp(row->path, "/untyped") == 0);
        assert_int_equal(wait.status, 200);
        assert_string_equal(wait.ip, "127.0.0.1");
    }
}

static const struct public_row {
    const char *name;
    bool is_public;
} public_rows[] = {
    {"8.8.8.8", true},
    {"100.63.255.255", true},
    {"100.128.0.0", true},
    {"172.15.255.255", true},
    {"172.32.0.0", true},
    {"192.167.255.255", true},
    {"223.255.255.255", true},
    {"0.0.0.0", false},
    {"0.1.2.3", false},
    {"10.1.2.3", false},
    {"100.64.0.1", false},
    {"100.127.255.255", false},
    {"127.0.0.1", false},
    {"127.255.255.255", false},
    {"169.254.169.254", false},
    {"172.16.0.1", false},
    {"172.31.255.255", false},
    {"192.0.0.8", false},
    {"192.0.2.1", false},
    {"192.88.99.1", false},
    {"192.168.0.1", false},
    {"198.18.0.1", false},
    {"198.19.255.255", false},
    {"198.51.100.1", false},
    {"203.0.113.1", false},
    {"224.0.0.1", false},
    {"239.255.255.255", false},
    {"240.0.0.1", false},
    {"255.255.255.255", false},
    {"2606:4700::1111", true},
    {"2001:4860:4860::8888", true},
    {"2a00:1450:4001::1", true},
    {"::", false},
    {"::1", false},
    {"::127.0.0.1", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:8.8.8.8", true},
    {"64:ff9b::10.0.0.1", false},
    {"64:ff9b::127.0.0.1", false},
    {"64:ff9b::8.8.8.8", true},
    {"64:ff9b:1::8.8.8.8", false},
    {"100::1", false},
    {"2001::1", false},
    {"2001:10::1", false},
    {"2001:db8::1", false},
    {"2002:7f00:1::1", false},
    {"2002:808:808::1", false},
    {"3fff::1", false},
    {"5f00::1", false},
    {"fc00::1", false},
    {"fd12:3456::1", false},
    {"fe80::1", false},
    {"fec0::1", false},
    {"ff02::1", false},
};

static void
test_public(void **state)
{
    const struct public_row *row = *state;
    struct net_address address;

    assert_true(net_address_parse(sv_of(row->name), 0, &address));
    assert_int_equal(https_address_is_public(&address), row->is_public);
}

/* As the wire gives it, before anybody turned it into plain IPv4. */
static void
test_raw_mapped(void **state)
{
    struct net_address address = {.in6 = {.sin6_family = AF_INET6}};

    (void)state;
    inet_pton(AF_INET6, "::ffff:192.168.1.1", &address.in6.sin6_addr);
    assert_false(https_address_is_public(&address));
    inet_pton(AF_INET6, "::ffff:8.8.8.8", &address.in6.sin6_addr);
    assert_true(https_address_is_public(&address));
    address.sa.sa_family = AF_UNSPEC;
    assert_false(https_address_is_public(&address));
}

/* --- One by one --------------------------------------------------------- */

static void
test_post(void **state)
{
    struct wait wait = {0};
    char url[64];
    struct https_request request = {
        .url = url,
        .content_type = "application/x-test",
        .body = SV("payload"),
        .max_body = 100,
        .timeout_ms = 10000,
    };

    (void)state;
    snprintf(url, sizeof url, "https://good.test:%u/post", servers[GOOD]->port);
    ask(&wait, &request, true);
    assert_int_equal(wait.stage, HTTPS_OK);
    assert_int_equal(wait.status, 201);
    assert_string_equal(wait.body, "typed:payload");
}

/* What the environment says of proxies does not count. */
static void
test_proxy(void **state)
{
    setenv("https_proxy", "http://127.0.0.1:9", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
    *state = (void *)(uintptr_t)&rows[0];
    test_row(state);
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
}

static void
on_never(void *arg, const struct https_answer *answer)
{
    (void)arg;
    (void)answer;
    fail_msg("an answer after the end");
}

static void
on_stop(struct timer *timer)
{
    loop_stop(timer->loop);
}

/* Cancelled, or its client freed, at many moments of the way. */
static void
test_cancel(void **state)
{
    char url[64];
    struct https_request request = {
        .url = url, .max_body = 65536, .timeout_ms = 10000};

    (void)state;
    for (unsigned ms = 0; ms < 40; ms += 2) {
        struct world world;
        struct timer timer;
        struct https_call *call;

        snprintf(url, sizeof url, "https://good.test:%u/slow",
                 servers[GOOD]->port);
        world_open(&world, true);
        call =
            https_send(world.client, world.resolver, &request, on_never, NULL);
        timer_init(&timer, world.loop, on_stop);
        timer_arm(&timer, ms / 2);
        loop_run(world.loop);
        timer_fini(&timer);
        if (ms % 4 == 0)
            https_cancel(call);
        world_close(&world);
    }
}

static void
on_free(void *arg, const struct https_answer *answer)
{
    struct world *world = arg;

    assert_int_equal(answer->stage, HTTPS_OK);
    https_client_free(world->client);
    world->client = NULL;
    loop_stop(world->loop);
}

/* The owner may end the client when an answer comes. */
static void
test_free_inside(void **state)
{
    struct world world;
    char url[64];
    struct https_request request = {
        .url = url, .max_body = 65536, .timeout_ms = 10000};

    (void)state;
    snprintf(url, sizeof url, "https://good.test:%u/ok", servers[GOOD]->port);
    world_open(&world, true);
    https_send(world.client, world.resolver, &request, on_free, &world);
    loop_run(world.loop);
    world_close(&world);
}

static void
test_bad_authority(void **state)
{
    char missing[] = "/nonexistent/ca.pem";
    char *files[1] = {missing};
    struct https_options options = {.authorities = files, .authority_count = 1};
    struct err err;
    struct loop *loop = loop_new(&err);

    (void)state;
    assert_null(https_client_new(loop, &options, &err));
    assert_non_null(strstr(err.text, missing));
    loop_free(loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_mapped),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_free_inside),
        cmocka_unit_test(test_bad_authority),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);
    authorities[0] = mem_strdup(
        pki_make(&(struct pki_options){.name = "authority", .is_ca = true})
            .chain);
    servers[GOOD] =
        server_new("good", "DNS:good.test,DNS:several.test", "authority", 0, 0);
    servers[WILD] = server_new("wild", "DNS:*.wild.test", "authority", 0, 0);
    servers[OTHER] = server_new("other", "DNS:other.test", "authority", 0, 0);
    servers[EXPIRED] =
        server_new("expired", "DNS:good.test", "authority", -20, -1);
    servers[STRANGER] = server_new("stranger", "DNS:good.test", NULL, 0, 0);
    servers[COMMON] = server_new("common.test", NULL, "authority", 0, 0);
    dns = test_dns_server_new(records);
    failed = RUN_ROWS("public addresses", test_public, public_rows) +
             RUN_ROWS("requests", test_row, rows) +
             cmocka_run_group_tests_name("https", tests, NULL, NULL);
    for (size_t i = 0; i < SERVERS; i++)
        server_free(servers[i]);
    test_dns_server_free(dns);
    mem_free(authorities[0]);
    return failed;
}
