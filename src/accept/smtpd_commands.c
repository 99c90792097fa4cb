/* The commands and the extensions as tables.  Sequence, what is legal before
 * TLS, and what counts as idle chatter is data; EHLO and HELP print the tables;
 * handlers assume that the rules of their row hold. */
#include "accept/smtpd.h"
#include "base/utf8.h"
#include "tls/context.h"

#define GREETED (BIT(SMTPD_HELO) | IDENTIFIED)
#define IDENTIFIED (BIT(SMTPD_READY) | IN_TRANSACTION)
#define IN_TRANSACTION (BIT(SMTPD_MAIL) | BIT(SMTPD_RCPT) | BIT(SMTPD_BDAT))

enum {
    HELO_OCTETS = 255,
    JUNK_MAX = 100, /* commands without a message in between */
};

enum command_flags {
    PLAIN = 1,   /* legal before TLS where TLS is required */
    JUNK = 2,    /* brings no message forward */
    NO_ARGS = 4, /* an argument is a syntax error */
};

static const struct refusal unknown = {500, "5.5.1", "Command not recognized"};
static const struct refusal unclean = {
    500, "5.5.2", "Control characters are not allowed in commands"};
static const struct refusal sequence = {503, "5.5.1",
                                        "Bad sequence of commands"};
static const struct refusal helo_first = {503, "5.5.1",
                                          "Say EHLO or HELO first"};
static const struct refusal tls_first = {530, "5.7.0",
                                         "Must issue a STARTTLS command first"};
static const struct refusal rejected = {503, "5.5.1", "Only QUIT is accepted"};
static const struct refusal no_arguments = {501, "5.5.4",
                                            "The command takes no arguments"};
static const struct refusal bad_name = {501, "5.5.4",
                                        "Syntax: EHLO or HELO and a host name"};
static const struct refusal nobody_named = {501, "5.5.4",
                                            "Syntax: VRFY address"};
static const struct refusal tls_already = {503, "5.5.1",
                                           "TLS is already active"};
static const struct refusal tls_missing = {
    454, "4.7.0", "TLS not available due to a temporary reason"};
static const struct refusal too_many_bad = {
    421, "4.7.0", "Exceeded bad SMTP command limit, disconnecting"};

static struct reply cmd_ehlo(struct smtpd *s, struct sv args);
static struct reply cmd_helo(struct smtpd *s, struct sv args);
static struct reply cmd_starttls(struct smtpd *s, struct sv args);
static struct reply cmd_rset(struct smtpd *s, struct sv args);
static struct reply cmd_noop(struct smtpd *s, struct sv args);
static struct reply cmd_vrfy(struct smtpd *s, struct sv args);
static struct reply cmd_help(struct smtpd *s, struct sv args);
static struct reply cmd_quit(struct smtpd *s, struct sv args);

/* BDAT is let through everywhere: its octets must be swallowed even where the
 * command is refused, so its handler does what the rows do for others. */
static const struct command {
    const char *verb;
    struct reply (*run)(struct smtpd *s, struct sv args);
    unsigned states; /* that allow it */
    unsigned flags;
} commands[] = {
    {"EHLO", cmd_ehlo, GREETED, PLAIN | JUNK},
    {"HELO", cmd_helo, GREETED, PLAIN | JUNK},
    {"STARTTLS", cmd_starttls, BIT(SMTPD_HELO) | BIT(SMTPD_READY),
     PLAIN | JUNK | NO_ARGS},
    {"MAIL", smtpd_mail, BIT(SMTPD_READY), 0},
    {"RCPT", smtpd_rcpt, BIT(SMTPD_MAIL) | BIT(SMTPD_RCPT), 0},
    {"DATA", smtpd_data, BIT(SMTPD_MAIL) | BIT(SMTPD_RCPT), NO_ARGS},
    {"BDAT", smtpd_bdat, GREETED, PLAIN},
    {"RSET", cmd_rset, GREETED, JUNK | NO_ARGS},
    {"NOOP", cmd_noop, GREETED, PLAIN | JUNK},
    {"VRFY", cmd_vrfy, GREETED, JUNK},
    {"HELP", cmd_help, GREETED, JUNK},
    {"QUIT", cmd_quit, GREETED, PLAIN | NO_ARGS},
};

/* First words of protocols that are made to talk to us by a third party: a
 * browser, a proxy that we did not ask for. */
static const char *const strangers[] = {
    "GET",     "POST",    "HEAD",  "PUT",   "DELETE",
    "OPTIONS", "CONNECT", "PATCH", "TRACE", "PROXY",
};

/* Extensions -------------------------------------------------------------- */

static bool
offers_tls(const struct smtpd *s)
{
    return smtpd_tls_context(s) != NULL && !conn_is_tls(s->conn);
}

/* RFC 8689 section 2: said, and legal, under TLS only. */
static bool
offers_requiretls(const struct smtpd *s)
{
    return smtpd_options(s)->requiretls && conn_is_tls(s->conn);
}

static void
add_size(const struct smtpd *s, struct buf *out)
{
    buf_printf(out, " %llu", (unsigned long long)s->policy->max_message_size);
}

static const struct extension {
    const char *keyword;
    bool (*offered)(const struct smtpd *s); /* NULL: always */
    void (*add_value)(const struct smtpd *s, struct buf *out);
} extensions[] = {
    {"PIPELINING", NULL, NULL},
    {"SIZE", NULL, add_size},
    {"8BITMIME", NULL, NULL},
    {"SMTPUTF8", NULL, NULL},
    {"ENHANCEDSTATUSCODES", NULL, NULL},
    {"CHUNKING", NULL, NULL},
    {"DSN", NULL, NULL},
    {"STARTTLS", offers_tls, NULL},
    {"REQUIRETLS", offers_requiretls, NULL},
};

static bool
is_offered(const struct smtpd *s, const struct extension *extension)
{
    return extension->offered == NULL || extension->offered(s);
}

bool
smtpd_offers(const struct smtpd *s, const char *keyword)
{
    for (size_t i = 0; i < COUNT_OF(extensions); i++)
        if (strcmp(extensions[i].keyword, keyword) == 0)
            return is_offered(s, &extensions[i]);
    return false;
}

static void
add_extensions(const struct smtpd *s, struct buf *out)
{
    for (size_t i = 0; i < COUNT_OF(extensions); i++) {
        const struct extension *extension = &extensions[i];

        if (!is_offered(s, extension))
            continue;
        buf_printf(out, "\r\n250-%s", extension->keyword);
        if (extension->add_value != NULL)
            extension->add_value(s, out);
    }
}

/* Changes the "250-" of the last line into "250 ". */
static void
write_lines(struct smtpd *s, struct buf *out)
{
    size_t last = sv_last_index(buf_view(out), '\n');

    last = last == SV_NONE ? 0 : last + 1;
    out->p[out->start + last + 3] = ' ';
    buf_add_str(out, "\r\n");
    smtpd_write(s, buf_view(out));
    buf_reset(out);
}

/* Handlers ---------------------------------------------------------------- */

/* RFC 5321 section 4.1.4 wants no mail refused for a wrong name, and many hosts
 * do not know theirs; so anything readable without blanks is taken, and every
 * place that prints it looks after itself. */
static bool
is_name(struct sv name)
{
    if (name.n == 0 || name.n > HELO_OCTETS || !utf8_valid(name))
        return false;
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7f)
            return false;
    return true;
}

static bool
introduce(struct smtpd *s, struct sv name)
{
    if (!is_name(name))
        return false;
    smtpd_forget(s);
    s->helo = sv_dup(name);
    smtpd_enter(s, SMTPD_READY);
    return true;
}

static struct reply
cmd_ehlo(struct smtpd *s, struct sv args)
{
    struct buf *out = &s->home->scratch;
    char ip[NET_ADDRESS_TEXT];

    if (!introduce(s, args))
        return reply_refuse(&bad_name);
    s->esmtp = true;
    buf_printf(out, "250-%s Hello [%s]", smtpd_hostname(s),
               net_address_ip_text(conn_peer(s->conn), ip));
    add_extensions(s, out);
    write_lines(s, out);
    return REPLY_LATER;
}

static struct reply
cmd_helo(struct smtpd *s, struct sv args)
{
    char ip[NET_ADDRESS_TEXT];

    if (!introduce(s, args))
        return reply_refuse(&bad_name);
    return reply_make(250, NULL, "%s Hello [%s]", smtpd_hostname(s),
                      net_address_ip_text(conn_peer(s->conn), ip));
}

static struct reply
cmd_starttls(struct smtpd *s, struct sv args)
{
    struct reply ready = reply_make(220, "2.0.0", "Ready to start TLS");

    (void)args;
    if (conn_is_tls(s->conn))
        return reply_refuse(&tls_already);
    if (smtpd_tls_context(s) == NULL)
        return reply_refuse(&tls_missing);
    if (!smtpd_may_handshake(s))
        return REPLY_LATER;
    smtpd_say(s, &ready);
    /* A client waits for the 220 (RFC 3207 section 4): what is here already
     * was put there by somebody else, to be executed under TLS. */
    if (conn_input(s->conn).n > 0)
        smtpd_end(s, "starttls-injection");
    else
        smtpd_start_tls(s);
    return REPLY_LATER;
}

static struct reply
cmd_rset(struct smtpd *s, struct sv args)
{
    (void)args;
    smtpd_reset(s);
    s->mail_refused = false;
    if (s->state != SMTPD_HELO)
        smtpd_enter(s, SMTPD_READY);
    return reply_make(250, "2.0.0", "ok");
}

static struct reply
cmd_noop(struct smtpd *s, struct sv args)
{
    (void)s;
    (void)args;
    return reply_make(250, "2.0.0", "ok");
}

static struct reply
cmd_vrfy(struct smtpd *s, struct sv args)
{
    (void)s;
    if (args.n == 0)
        return reply_refuse(&nobody_named);
    return reply_make(252, "2.0.0",
                      "Cannot verify, but will take mail and try to deliver");
}

static struct reply
cmd_help(struct smtpd *s, struct sv args)
{
    struct buf *out = &s->home->scratch;

    (void)args;
    buf_add_str(out, "214-2.0.0 Waxgate secure email gateway");
    buf_add_str(out, "\r\n214-2.0.0 Commands:");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        buf_printf(out, " %s", commands[i].verb);
    write_lines(s, out);
    return REPLY_LATER;
}

static struct reply
cmd_quit(struct smtpd *s, struct sv args)
{
    struct reply bye =
        reply_make(221, "2.0.0", "%s closing connection", smtpd_hostname(s));

    (void)args;
    smtpd_say(s, &bye);
    smtpd_end(s, "quit");
    return REPLY_LATER;
}

/* Dispatch ---------------------------------------------------------------- */

static const struct command *
find_command(struct sv verb)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (sv_is_nocase(verb, commands[i].verb))
            return &commands[i];
    return NULL;
}

static bool
is_stranger(struct sv verb)
{
    for (size_t i = 0; i < COUNT_OF(strangers); i++)
        if (sv_is_nocase(verb, strangers[i]))
            return true;
    return false;
}

static bool
has_controls(struct sv line)
{
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

bool
smtpd_count_bad(struct smtpd *s)
{
    if (s->bad < smtpd_options(s)->max_bad_commands) {
        s->bad++;
        return true;
    }
    smtpd_dismiss(s, &too_many_bad, "too-many-bad-commands");
    return false;
}

static void
refuse_bad(struct smtpd *s, const struct refusal *refusal)
{
    if (smtpd_count_bad(s))
        smtpd_refuse(s, refusal);
}

/* A client that pipelines RCPT and DATA behind a MAIL that we refuse has done
 * nothing wrong. */
static void
refuse_sequence(struct smtpd *s, const struct command *command)
{
    if (s->mail_refused && !(command->flags & JUNK))
        smtpd_refuse(s, &sequence);
    else
        refuse_bad(s, s->state == SMTPD_HELO ? &helo_first : &sequence);
}

/* Counted as chatter: a client that never learns must not stay for ever. */
static bool
count_junk(struct smtpd *s)
{
    if (++s->junk <= JUNK_MAX)
        return true;
    return smtpd_count_bad(s);
}

/* A refusal is on the client's account too: malformed commands as bad ones,
 * others as chatter, so that nobody fills the log with tries.  Recipients
 * beyond the limit are not: a client that pipelines finds out late. */
static bool
count_refusal(struct smtpd *s, const struct reply *reply)
{
    if (reply->code < 400 || strcmp(reply->status, "4.5.3") == 0)
        return true;
    if (reply->code < 510 && reply->code >= 500)
        return smtpd_count_bad(s);
    return reply->code == 555 ? smtpd_count_bad(s) : count_junk(s);
}

static void
run_command(struct smtpd *s, const struct command *command, struct sv args)
{
    struct reply reply;

    if ((command->flags & JUNK) && !count_junk(s))
        return;
    if (s->rejected && command->run != cmd_quit) {
        refuse_bad(s, &rejected);
        return;
    }
    if (!(command->flags & PLAIN) && smtpd_lacks_tls(s)) {
        if (count_junk(s))
            smtpd_refuse(s, &tls_first);
        return;
    }
    if ((command->flags & NO_ARGS) && args.n > 0) {
        refuse_bad(s, &no_arguments);
        return;
    }
    if (!(command->states & BIT(s->state))) {
        refuse_sequence(s, command);
        return;
    }
    reply = command->run(s, args);
    if (count_refusal(s, &reply))
        smtpd_say(s, &reply);
}

void
smtpd_command(struct smtpd *s, struct sv line)
{
    struct sv args = line;
    struct sv verb = sv_take_while(&args, char_is_alpha);
    const struct command *command;

    if (is_stranger(verb)) {
        smtpd_end(s, "not-smtp");
        return;
    }
    if (has_controls(line)) {
        refuse_bad(s, &unclean);
        return;
    }
    command = find_command(verb);
    if (command == NULL || (args.n > 0 && !char_is_blank(args.p[0])))
        refuse_bad(s, &unknown);
    else
        run_command(s, command, sv_trim(args));
}
