/* Names in the file, checked and brought into the one form that look-ups
 * use. */
#include "mail/address.h"
#include "settings/tables.h"

static bool
refuse(struct sv text, const char *what, struct err *err)
{
    char room[CONF_QUOTE_MAX];

    err_set(err, "%s is not %s", conf_quote(text, room), what);
    return false;
}

static bool
canonical_domain(struct sv text, char *out)
{
    return !sv_has(text, '[') && mail_domain_canonical(text, out) &&
           mail_domain_valid(sv_of(out));
}

bool
names_host(const struct conf_scope *scope, struct sv text, char **kept,
           struct err *err)
{
    char name[MAIL_DOMAIN_MAX + 1];

    if (!canonical_domain(text, name))
        return refuse(text, "a domain name such as gw1.example.org", err);
    *kept = arena_cstr(scope->arena, sv_of(name));
    return true;
}

bool
names_probe(const struct conf_scope *scope, struct sv text, char **kept,
            struct err *err)
{
    char name[MAIL_DOMAIN_MAX + 1] = "";

    if (text.n > 0 && !sv_is(text, ".") && !canonical_domain(text, name))
        return refuse(text, "a domain name, \".\" or nothing", err);
    *kept = arena_cstr(scope->arena, name[0] != '\0' ? sv_of(name) : text);
    return true;
}

bool
names_domain(const struct conf_scope *scope, struct sv text, char **kept,
             struct err *err)
{
    char name[MAIL_DOMAIN_MAX + 2] = ".";
    struct sv rest = text;
    bool below = sv_take_char(&rest, '.');

    if (!canonical_domain(rest, name + below))
        return refuse(text, "a domain such as example.org or .example.org",
                      err);
    *kept = arena_cstr(scope->arena, sv_of(name));
    return true;
}

bool
names_entry(const struct conf_scope *scope, struct sv text, char **kept,
            struct err *err)
{
    if (!sv_is_nocase(text, "default"))
        return names_domain(scope, text, kept, err);
    if (!sv_is(text, "default"))
        return refuse(text, "a domain; for all others write \"default\"", err);
    *kept = arena_cstr(scope->arena, SV("default"));
    return true;
}

bool
names_hop(const struct conf_scope *scope, struct sv text, char **kept,
          struct err *err)
{
    struct net_address address;
    char name[MAIL_DOMAIN_MAX + 1];
    char room[NET_ADDRESS_TEXT];

    if (net_address_parse(text, 0, &address)) {
        net_address_ip_text(&address, room);
        *kept = arena_cstr(scope->arena, sv_of(room));
        return true;
    }
    if (!canonical_domain(text, name))
        return refuse(text, "a host name or an IP address", err);
    *kept = arena_cstr(scope->arena, sv_of(name));
    return true;
}

/* The last colon divides, unless it belongs to an IPv6 address without
 * brackets: then there is no port. */
static size_t
port_colon(struct sv text)
{
    struct net_address address;
    size_t colon = sv_last_index(text, ':');

    if (colon == SV_NONE || net_address_parse(text, 0, &address))
        return SV_NONE;
    return colon;
}

bool
names_hop_from_text(const struct conf_scope *scope, struct sv text,
                    void *object, struct err *err)
{
    struct route_hop *hop = object;
    size_t colon = port_colon(text);
    uint32_t port;

    if (colon == SV_NONE)
        return names_hop(scope, text, &hop->host, err);
    if (!sv_to_u32(sv_from(text, colon + 1), &port) || port == 0 ||
        port > UINT16_MAX)
        return refuse(text, "\"host\" or \"host:port\"", err);
    hop->port = (uint16_t)port;
    return names_hop(scope, sv_slice(text, 0, colon), &hop->host, err);
}

/* address[@port], as libunbound takes it. */
static bool
is_server(struct sv text)
{
    struct sv ip = sv_take_until(&text, '@');
    struct net_address address;
    uint32_t port = 53;

    if (!net_address_parse(ip, 0, &address) || sv_has(ip, '['))
        return false;
    if (text.n > 0 && !sv_to_u32(text, &port))
        return false;
    return port > 0 && port <= UINT16_MAX;
}

bool
names_resolver(const struct conf_scope *scope, struct sv text, char **kept,
               struct err *err)
{
    if (!is_server(text))
        return refuse(text, "a DNS server such as 192.0.2.53 or 127.0.0.1@5353",
                      err);
    *kept = arena_cstr(scope->arena, text);
    return true;
}

bool
names_anchor(const struct conf_scope *scope, struct sv text, char **kept,
             struct err *err)
{
    (void)err;
    /* A record has blanks between its fields, a file name hardly. */
    if (sv_has(text, ' '))
        *kept = arena_cstr(scope->arena, text);
    else
        *kept = conf_path_absolute(scope, text);
    return true;
}

bool
names_stub(const struct conf_scope *scope, struct sv text, char **kept,
           struct err *err)
{
    char name[MAIL_DOMAIN_MAX + 1];
    struct sv server = text;
    struct sv zone = sv_take_until(&server, '=');

    if (!canonical_domain(zone, name))
        return refuse(zone, "a domain name", err);
    if (!is_server(server))
        return refuse(server,
                      "a DNS server such as 192.0.2.53 or 127.0.0.1@5353", err);
    *kept = arena_cstr(scope->arena, arena_printf(scope->arena, "%s=%.*s", name,
                                                  SV_ARG(server)));
    return true;
}
