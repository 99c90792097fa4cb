/* MAIL and RCPT.  take_* reads the arguments, check_* says whether the command
 * is legal and welcome, proceed_* does it: a policy that has to ask somebody
 * fits between the two. */
#include "accept/relay.h"
#include "accept/smtpd.h"
#include "base/map.h"
#include "base/utf8.h"
#include "mail/address.h"
#include "mail/param.h"

enum {
    TX_BLOCK = 1024,
    ENVID_OCTETS = 100, /* RFC 3461 section 4.4 */
    ORCPT_OCTETS = 500, /* section 4.2 */
    FIRST_RECIPIENTS = 4,
    ENVELOPE_BYTES = 8 << 20, /* the spool takes 16 MiB */
    RECIPIENT_BYTES = 32,     /* besides its texts */
};

static const struct refusal mail_syntax = {501, "5.5.4",
                                           "Syntax: MAIL FROM:<address>"};
static const struct refusal rcpt_syntax = {501, "5.5.4",
                                           "Syntax: RCPT TO:<address>"};
static const struct refusal bad_sender = {501, "5.1.7", "Bad sender address"};
static const struct refusal bad_recipient = {501, "5.1.3",
                                             "Bad recipient address"};
static const struct refusal bad_value = {501, "5.5.4",
                                         "Bad or repeated parameter"};
static const struct refusal unknown_parameter = {555, "5.5.4",
                                                 "Parameter not recognized"};
static const struct refusal tls_first = {530, "5.7.0",
                                         "Must issue a STARTTLS command first"};
static const struct refusal needs_utf8 = {
    553, "5.6.7", "The address needs the SMTPUTF8 parameter"};
static const struct refusal too_large = {552, "5.3.4",
                                         "message size exceeds limit"};
static const struct refusal queue_full = {452, "4.3.1", "queue full"};
static const struct refusal too_many = {452, "4.5.3", "Too many recipients"};
static const struct refusal too_many_messages = {
    421, "4.7.0", "Too many messages on this connection"};

/* Parameters -------------------------------------------------------------- */

struct mail_request {
    struct mail_path path;
    uint64_t size;
    struct sv envid;
    enum envelope_ret ret;
    enum envelope_body body;
    bool smtputf8;
    bool requiretls;
};

struct rcpt_request {
    const struct transaction *tx;
    struct mail_path path;
    struct sv orcpt;
    unsigned notify; /* enum envelope_notify */
    bool mapped;     /* the domain is another one than was written */
};

struct parameter {
    const char *key;
    bool (*take)(void *request, struct sv value);
    const struct refusal *(*check)(const struct smtpd *s); /* NULL: legal */
};

static bool
take_size(void *request, struct sv value)
{
    struct mail_request *mail = request;

    /* RFC 1870 section 3: up to 20 digits. */
    return value.n <= 20 && sv_to_u64(value, &mail->size);
}

static bool
take_body(void *request, struct sv value)
{
    struct mail_request *mail = request;

    mail->body = sv_is_nocase(value, "8BITMIME") ? BODY_8BITMIME : BODY_7BIT;
    return mail->body == BODY_8BITMIME || sv_is_nocase(value, "7BIT");
}

static bool
take_smtputf8(void *request, struct sv value)
{
    struct mail_request *mail = request;

    mail->smtputf8 = true;
    return value.n == 0;
}

static bool
take_requiretls(void *request, struct sv value)
{
    struct mail_request *mail = request;

    mail->requiretls = true;
    return value.n == 0;
}

/* A client that knows the extension from its last session, and forgot TLS, is
 * told what is missing; where we do not do it, the parameter is none. */
static const struct refusal *
check_requiretls(const struct smtpd *s)
{
    if (s->esmtp && smtpd_offers(s, "REQUIRETLS"))
        return NULL;
    if (smtpd_options(s)->requiretls && smtpd_offers(s, "STARTTLS"))
        return &tls_first;
    return &unknown_parameter;
}

static bool
take_ret(void *request, struct sv value)
{
    struct mail_request *mail = request;

    mail->ret = sv_is_nocase(value, "FULL") ? RET_FULL : RET_HDRS;
    return mail->ret == RET_FULL || sv_is_nocase(value, "HDRS");
}

static bool
is_xtext(struct sv text)
{
    char decoded[ORCPT_OCTETS];
    size_t length;

    return text.n > 0 && text.n <= sizeof decoded &&
           mail_xtext_decode(text, decoded, &length);
}

static bool
take_envid(void *request, struct sv value)
{
    struct mail_request *mail = request;

    mail->envid = value;
    return value.n <= ENVID_OCTETS && is_xtext(value);
}

/* RFC 3461 section 4.1: NEVER alone, or a list of the others. */
static bool
take_notify(void *request, struct sv value)
{
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {{"NEVER", NOTIFY_NEVER},
                 {"SUCCESS", NOTIFY_SUCCESS},
                 {"FAILURE", NOTIFY_FAILURE},
                 {"DELAY", NOTIFY_DELAY}};
    struct rcpt_request *rcpt = request;

    if (value.n == 0 || value.p[value.n - 1] == ',')
        return false;
    while (value.n > 0) {
        struct sv word = sv_take_until(&value, ',');
        unsigned bit = 0;

        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (sv_is_nocase(word, words[i].word))
                bit = words[i].bit;
        if (bit == 0)
            return false;
        rcpt->notify |= bit;
    }
    return !(rcpt->notify & NOTIFY_NEVER) || rcpt->notify == NOTIFY_NEVER;
}

static bool
is_type_char(char c)
{
    return char_is_alnum(c) || c == '-';
}

/* RFC 3461 section 4.2; RFC 6533 section 3: type utf-8 may hold UTF-8 in an
 * SMTPUTF8 transaction. */
static bool
take_orcpt(void *request, struct sv value)
{
    struct rcpt_request *rcpt = request;
    struct sv text = value;
    struct sv type = sv_take_while(&text, is_type_char);

    rcpt->orcpt = value;
    if (type.n == 0 || !sv_take_char(&text, ';') || value.n > ORCPT_OCTETS)
        return false;
    if (is_xtext(text))
        return true;
    return sv_is_nocase(type, "utf-8") && rcpt->tx->smtputf8 && text.n > 0 &&
           utf8_valid(text);
}

static const struct parameter mail_parameters[] = {
    {"SIZE", take_size, NULL},
    {"BODY", take_body, NULL},
    {"RET", take_ret, NULL},
    {"SMTPUTF8", take_smtputf8, NULL},
    {"ENVID", take_envid, NULL},
    {"REQUIRETLS", take_requiretls, check_requiretls},
    {NULL, NULL, NULL},
};
static const struct parameter rcpt_parameters[] = {
    {"NOTIFY", take_notify, NULL},
    {"ORCPT", take_orcpt, NULL},
    {NULL, NULL, NULL},
};

/* NULL: all of args was understood. */
static const struct refusal *
take_parameters(const struct smtpd *s, struct sv args,
                const struct parameter *known, void *request)
{
    const struct refusal *refusal;
    unsigned seen = 0;
    struct sv key, value;

    while (mail_param_take(&args, &key, &value)) {
        size_t i = 0;

        while (known[i].key != NULL && !sv_is_nocase(key, known[i].key))
            i++;
        if (known[i].key == NULL)
            return &unknown_parameter;
        refusal = known[i].check != NULL ? known[i].check(s) : NULL;
        if (refusal != NULL)
            return refusal;
        if ((seen & BIT(i)) || !known[i].take(request, value))
            return &bad_value;
        seen |= BIT(i);
    }
    return args.n > 0 ? &bad_value : NULL;
}

/* "FROM:" or "TO:".  A blank behind the colon is against RFC 5321 section 3.3,
 * but many write it and it can mean nothing else. */
static bool
take_keyword(struct sv *args, struct sv keyword)
{
    if (!sv_take_prefix_nocase(args, keyword))
        return false;
    sv_take_while(args, char_is_blank);
    return args->n > 0;
}

/* MAIL -------------------------------------------------------------------- */

static const struct refusal *
take_mail(const struct smtpd *s, struct sv args, struct mail_request *mail)
{
    const struct refusal *refusal;

    *mail = (struct mail_request){0};
    if (!take_keyword(&args, SV("FROM:")))
        return &mail_syntax;
    if (!mail_path_take(&args, MAIL_REVERSE_PATH, &mail->path))
        return &bad_sender;
    refusal = take_parameters(s, args, mail_parameters, mail);
    if (refusal == NULL && mail->path.utf8 && !mail->smtputf8)
        refusal = &needs_utf8;
    return refusal;
}

static const struct refusal *
check_mail(struct smtpd *s, const struct mail_request *mail)
{
    const char *why;

    if (mail->size > s->policy->max_message_size)
        return &too_large;
    if (spool_accepts(s->home->spool, mail->size, &why))
        return NULL;
    log_event(&s->log, LOG_WARNING, "smtpd.full", LOG_STR("why", why));
    return &queue_full;
}

static struct reply
proceed_mail(struct smtpd *s, const struct mail_request *mail)
{
    struct transaction *tx = mem_alloc(sizeof *tx);

    arena_init(&tx->arena, TX_BLOCK);
    tx->sender = arena_copy(&tx->arena, mail->path.mailbox);
    tx->envid = arena_copy(&tx->arena, mail->envid);
    tx->ret = mail->ret;
    tx->body = mail->body;
    tx->smtputf8 = mail->smtputf8;
    tx->requiretls = mail->requiretls;
    s->tx = tx;
    s->mail_refused = false;
    smtpd_enter(s, SMTPD_MAIL);
    return reply_make(250, "2.1.0", "sender <%.*s> ok", SV_ARG(tx->sender));
}

struct reply
smtpd_mail(struct smtpd *s, struct sv args)
{
    const struct refusal *refusal;
    struct mail_request mail;
    struct refusal room;
    char text[SMTPD_REASON];

    if (s->ended >= s->policy->max_messages_per_connection) {
        smtpd_dismiss(s, &too_many_messages, "too-many-messages");
        return REPLY_LATER;
    }
    refusal = take_mail(s, args, &mail);
    if (refusal == NULL)
        refusal = smtpd_check_sender(s, mail.path.mailbox, &room, text);
    if (refusal == NULL)
        refusal = check_mail(s, &mail);
    if (refusal == NULL)
        return proceed_mail(s, &mail);
    s->mail_refused = true;
    return reply_refuse(refusal);
}

void
smtpd_reset(struct smtpd *s)
{
    struct transaction *tx = s->tx;

    if (tx == NULL)
        return;
    if (tx->draft != NULL)
        spool_draft_abort(tx->draft);
    arena_fini(&tx->arena);
    mem_free(tx);
    s->tx = NULL;
}

/* RCPT -------------------------------------------------------------------- */

/* "<ann>" as "<ann@default>", in the transaction's memory, where the listener
 * has a domain for that. */
static bool
take_bare_path(const struct smtpd *s, struct sv *in, struct mail_path *path)
{
    const char *domain = smtpd_options(s)->default_domain;
    struct sv rest = *in, local, whole;

    if (domain[0] == '\0' || !sv_take_char(&rest, '<') || !sv_has(rest, '>'))
        return false;
    local = sv_take_until(&rest, '>');
    if (sv_has(local, '@'))
        return false;
    whole = arena_printf(&s->tx->arena, "<%.*s@%s>", SV_ARG(local), domain);
    if (!mail_path_take(&whole, MAIL_FORWARD_PATH, path) || whole.n > 0)
        return false;
    *in = rest;
    return true;
}

static const struct refusal *
take_rcpt(const struct smtpd *s, struct sv args, struct rcpt_request *rcpt)
{
    const struct transaction *tx = s->tx;
    const struct refusal *refusal;

    *rcpt = (struct rcpt_request){.tx = tx};
    if (!take_keyword(&args, SV("TO:")))
        return &rcpt_syntax;
    if (!mail_path_take(&args, MAIL_FORWARD_PATH, &rcpt->path) &&
        !take_bare_path(s, &args, &rcpt->path))
        return &bad_recipient;
    refusal = take_parameters(s, args, rcpt_parameters, rcpt);
    if (refusal == NULL && rcpt->path.utf8 && !tx->smtputf8)
        refusal = &needs_utf8;
    return refusal;
}

/* Canonical domain of the recipient into out, after the domain map;
 * <postmaster> gets ours. */
static bool
find_domain(const struct smtpd *s, struct rcpt_request *rcpt, char *out)
{
    const struct mail_path *path = &rcpt->path;
    struct sv mapped;
    const char *own;

    if (path->domain.n > 0) {
        if (!mail_domain_canonical(path->domain, out))
            return false;
        mapped = settings_map_domain(smtpd_options(s), sv_of(out));
        rcpt->mapped = mapped.p != out;
        return !rcpt->mapped || sv_to_cstr(mapped, out, MAIL_DOMAIN_MAX + 1);
    }
    own = relay_postmaster_domain(smtpd_options(s),
                                  s->listener->settings->hostname);
    return mail_domain_canonical(sv_of(own), out);
}

/* row: that refused; NULL: none accepted. */
static struct reply
deny_relay(struct smtpd *s, const struct mail_path *path,
           const struct rat_entry_settings *row)
{
    unsigned code = row != NULL ? row->reject_code : 550;
    const char *enhanced = code < 500 ? "4.7.1" : "5.7.1";

    atomic_fetch_add(&s->listener->listener->counts.refused, 1);
    listener_count_invalid(s->listener, conn_peer(s->conn), s->policy,
                           loop_now(s->home->loop));
    if (row != NULL && row->reject_text[0] != '\0')
        return reply_make(code, enhanced, "%s", row->reject_text);
    return reply_make(code, enhanced, "relaying to <%.*s> denied",
                      SV_ARG(path->mailbox));
}

/* Local parts are compared as they are: only their host knows whether case
 * matters (RFC 5321 section 2.4). */
static bool
is_double(const struct transaction *tx, uint64_t hash,
          const struct envelope_recipient *wanted)
{
    for (size_t i = 0; i < tx->count; i++)
        if (tx->hashes[i] == hash &&
            sv_eq(tx->recipients[i].address, wanted->address))
            return true;
    return false;
}

static void
make_room(struct transaction *tx)
{
    size_t capacity =
        tx->count < FIRST_RECIPIENTS ? FIRST_RECIPIENTS : tx->count * 2;
    struct envelope_recipient *recipients;
    uint64_t *hashes;

    if (tx->count < tx->capacity)
        return;
    recipients = arena_alloc(&tx->arena, capacity * sizeof *recipients);
    hashes = arena_alloc(&tx->arena, capacity * sizeof *hashes);
    if (tx->count > 0) {
        memcpy(recipients, tx->recipients, tx->count * sizeof *recipients);
        memcpy(hashes, tx->hashes, tx->count * sizeof *hashes);
    }
    tx->recipients = recipients;
    tx->hashes = hashes;
    tx->capacity = capacity;
}

/* The same recipient a second time is accepted and stays one; what is compared
 * has the domain in the canonical form. */
static void
add_recipient(struct transaction *tx, const struct rcpt_request *rcpt,
              struct sv domain)
{
    struct envelope_recipient new = {
        .address = arena_printf(
            &tx->arena, "%.*s@%.*s", SV_ARG(rcpt->path.local),
            SV_ARG(rcpt->path.utf8 && !rcpt->mapped ? rcpt->path.domain
                                                    : domain)),
        .notify = rcpt->notify,
    };
    uint64_t hash = hash_bytes(new.address);

    if (is_double(tx, hash, &new))
        return;
    new.domain = arena_copy(&tx->arena, domain);
    new.orcpt = arena_copy(&tx->arena, rcpt->orcpt);
    make_room(tx);
    tx->envelope_bytes +=
        new.address.n + new.domain.n + new.orcpt.n + RECIPIENT_BYTES;
    tx->hashes[tx->count] = hash;
    tx->recipients[tx->count++] = new;
}

static struct reply
proceed_rcpt(struct smtpd *s, const struct rcpt_request *rcpt, struct sv domain)
{
    add_recipient(s->tx, rcpt, domain);
    smtpd_enter(s, SMTPD_RCPT);
    return reply_make(250, "2.1.5", "recipient <%.*s> ok",
                      SV_ARG(rcpt->path.mailbox));
}

/* The client's own reply, which may be for good or for now. */
static struct reply
refuse_rate(const struct smtpd *s)
{
    const struct mail_flow_policy *policy = s->policy;
    bool now = policy->max_recipients_per_hour_code < 500;

    return reply_make(policy->max_recipients_per_hour_code,
                      now ? "4.5.3" : "5.5.3", "%s",
                      policy->max_recipients_per_hour_text);
}

/* The same for recipients that exist and those that do not. */
static struct reply
refuse_harvest(struct smtpd *s)
{
    const struct mail_flow_policy *policy = s->policy;
    const struct refusal last = {421, "4.7.1",
                                 policy->max_invalid_recipients_text};
    bool now = policy->max_invalid_recipients_code < 500;

    atomic_fetch_add(&s->listener->listener->counts.refused, 1);
    if (!policy->max_invalid_recipients_drop)
        return reply_make(policy->max_invalid_recipients_code,
                          now ? "4.7.1" : "5.7.1", "%s",
                          policy->max_invalid_recipients_text);
    smtpd_dismiss(s, &last, "too-many-invalid-recipients");
    return REPLY_LATER;
}

/* RFC 5321 section 4.5.1: whom everybody can write to, also one who guessed too
 * many names. */
static bool
is_our_postmaster(const struct mail_path *path, enum relay_verdict verdict)
{
    return verdict == RELAY_LOCAL &&
           sv_eq_nocase(path->local, SV("postmaster"));
}

static struct reply
decide_rcpt(struct smtpd *s, const struct rcpt_request *rcpt, struct sv domain)
{
    const struct rat_entry_settings *row = NULL;
    const struct relay_facts facts = {.listener = smtpd_options(s),
                                      .policy = s->policy,
                                      .local = rcpt->path.local,
                                      .domain = domain};

    enum relay_verdict verdict =
        rcpt->path.domain.n > 0 ? relay_decide(&facts, &row) : RELAY_LOCAL;

    if (s->policy->behavior != BEHAVIOR_RELAY &&
        !is_our_postmaster(&rcpt->path, verdict) &&
        listener_suspects_harvest(s->listener, conn_peer(s->conn), s->policy,
                                  loop_now(s->home->loop)))
        return refuse_harvest(s);
    if (verdict == RELAY_DENIED)
        return deny_relay(s, &rcpt->path, row);
    if (s->tx->count >= s->policy->max_recipients_per_message ||
        s->tx->envelope_bytes > ENVELOPE_BYTES)
        return reply_refuse(&too_many);
    if (!(row != NULL && row->bypass_rate_limit) &&
        !listener_admit_recipient(s->listener, conn_peer(s->conn), s->policy,
                                  loop_now(s->home->loop)))
        return refuse_rate(s);
    return proceed_rcpt(s, rcpt, domain);
}

struct reply
smtpd_rcpt(struct smtpd *s, struct sv args)
{
    char domain[MAIL_DOMAIN_MAX + 1];
    struct rcpt_request rcpt;
    const struct refusal *refusal = take_rcpt(s, args, &rcpt);

    if (refusal == NULL && !find_domain(s, &rcpt, domain))
        refusal = &bad_recipient;
    if (refusal != NULL)
        return reply_refuse(refusal);
    return decide_rcpt(s, &rcpt, sv_of(domain));
}
