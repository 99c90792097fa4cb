/* Texts of the host and recipient access tables and of mail flow policies. */
#include "access/hat.h"
#include "access/rat.h"
#include "mail/address.h"
#include "settings/tables.h"

static bool
keep(const struct conf_scope *scope, struct sv text, char **kept)
{
    *kept = arena_cstr(scope->arena, text);
    return true;
}

static bool
refuse(struct sv text, const char *what, struct err *err)
{
    char room[CONF_QUOTE_MAX];

    err_set(err, "%s is not %s", conf_quote(text, room), what);
    return false;
}

static bool
is_group_char(char c)
{
    return char_is_alnum(c) || c == '_' || c == '.' || c == '-';
}

bool
names_group(const struct conf_scope *scope, struct sv text, char **kept,
            struct err *err)
{
    struct sv rest = text;

    sv_take_while(&rest, is_group_char);
    if (rest.n > 0)
        return refuse(text,
                      "a group name (letters, digits, \"_\", \".\" and \"-\")",
                      err);
    return keep(scope, text, kept);
}

bool
names_client(const struct conf_scope *scope, struct sv text, char **kept,
             struct err *err)
{
    return hat_sender_check(text, err) && keep(scope, text, kept);
}

bool
names_zone(const struct conf_scope *scope, struct sv text, char **kept,
           struct err *err)
{
    return hat_zone_check(text, err) && keep(scope, text, kept);
}

bool
names_recipient(const struct conf_scope *scope, struct sv text, char **kept,
                struct err *err)
{
    return rat_pattern_check(text, err) && keep(scope, text, kept);
}

/* Local parts are compared without regard to case: a list that asks for TLS
 * must not be passed by by writing Ann for ann. */
bool
names_sender(const struct conf_scope *scope, struct sv text, char **kept,
             struct err *err)
{
    char domain[MAIL_DOMAIN_MAX + 1];
    struct mail_path path;
    char *local;

    if (!sv_has(text, '@'))
        return names_domain(scope, text, kept, err);
    if (!mail_mailbox_parse(text, &path) ||
        !mail_domain_canonical(path.domain, domain))
        return refuse(text, "an address such as ann@example.org", err);
    local = arena_cstr(scope->arena, path.local);
    sv_lower_into(path.local, local);
    *kept = arena_cstr(scope->arena,
                       arena_printf(scope->arena, "%s@%s", local, domain));
    return true;
}

bool
names_mapping(const struct conf_scope *scope, struct sv text, char **kept,
              struct err *err)
{
    struct sv to = text, from = sv_take_until(&to, '=');
    char *key, *value;

    if (!names_domain(scope, from, &key, err) ||
        !names_host(scope, to, &value, err))
        return false;
    *kept = arena_cstr(scope->arena,
                       arena_printf(scope->arena, "%s=%s", key, value));
    return true;
}

/* RFC 5321 section 4.2: textstring; a tab would do, but looks like a blank. */
bool
names_reply(const struct conf_scope *scope, struct sv text, char **kept,
            struct err *err)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] > '~')
            return refuse(text, "plain ASCII, as replies of SMTP must be", err);
    return keep(scope, text, kept);
}

bool
names_file(const struct conf_scope *scope, struct sv text, char **kept,
           struct err *err)
{
    (void)err;
    *kept = conf_path_absolute(scope, text);
    return true;
}

bool
names_rat_from_text(const struct conf_scope *scope, struct sv text,
                    void *object, struct err *err)
{
    struct rat_entry_settings *entry = object;

    (void)scope;
    if (!sv_is(text, "accept") && !sv_is(text, "reject"))
        return refuse(text, "accept or reject", err);
    entry->action = sv_is(text, "accept") ? RAT_ACCEPT : RAT_REJECT;
    return true;
}
