#include "transmit/tls_sentence.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/date.h"

enum { NAMES_SHOWN = 3 };

static bool
has(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* "3 h ago"; one unit is enough for people. */
static void
add_age(struct buf *out, int64_t then, int64_t now)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}};
    int64_t age = now - then;

    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (age >= units[i].seconds) {
            buf_printf(out, "%lld %s ago", (long long)(age / units[i].seconds),
                       units[i].name);
            return;
        }
    buf_add_str(out, "just now");
}

static void
add_sts(struct buf *out, const struct sts_evidence *sts, int64_t now_s)
{
    buf_printf(out, "(%s, ", sts_mode_name(sts->policy->mode));
    if (sts->id[0] != '\0')
        buf_printf(out, "id %s, ", sts->id);
    buf_add_str(out, "fetched ");
    add_age(out, sts->fetched, now_s);
    buf_add_char(out, ')');
}

/* A peer's words are in it: printable ASCII only. */
static const char *
put_text(struct buf *text, char *out, size_t size)
{
    size_t n = buf_length(text);
    const char *from = buf_cstr(text);

    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
    out[n] = '\0';
    if (n < buf_length(text) && n > 3)
        memcpy(out + n - 3, "...", 3);
    buf_fini(text);
    return out;
}

const char *
tls_sts_text(const struct sts_evidence *sts, int64_t now_s, char *out,
             size_t size)
{
    struct buf text = {0};

    add_sts(&text, sts, now_s);
    return put_text(&text, out, size);
}

/* "a, b or c"; of many the first and a count. */
static void
add_names(struct buf *out, const char *const *names, size_t count,
          const char *last)
{
    size_t shown = count > NAMES_SHOWN ? NAMES_SHOWN : count;

    for (size_t i = 0; i < shown; i++) {
        bool ends = i + 1 == count;

        if (i > 0)
            buf_add_str(out, ends ? last : ", ");
        buf_add_str(out, names[i]);
    }
    if (shown < count)
        buf_printf(out, " and %zu more", count - shown);
}

/* A policy of MTA-STS fails for the same reasons as others do. */
static enum tls_stage
stage_of(const struct tls_sentence *facts)
{
    if (facts->failure->stage != STAGE_STS_CERTIFICATE || facts->peer == NULL)
        return facts->failure->stage;
    if (facts->verdict == VERDICT_OK)
        return STAGE_NAME;
    if (facts->now_s > facts->peer->not_after ||
        facts->now_s < facts->peer->not_before)
        return STAGE_EXPIRED;
    return STAGE_CHAIN;
}

/* --- What the server did --------------------------------------------------
 */

static void
add_presented_names(struct buf *out, const struct tls_certificate_facts *peer)
{
    const char *names[TLS_NAMES_KEPT];
    size_t count = 0;

    for (size_t i = 0; i < peer->name_count; i++) {
        struct sv rest = sv_of(peer->names[i]);

        if (sv_take_prefix(&rest, SV("DNS:")) && count < COUNT_OF(names))
            names[count++] = rest.p;
    }
    if (count > 0) {
        buf_add_str(out, " presented a certificate for ");
        add_names(out, names, count, " and ");
        buf_add_str(out, " only");
    } else {
        /* The common name does not count (RFC 9525 section 2). */
        buf_printf(out, " presented a certificate without host names (%s)",
                   peer->subject);
    }
}

static void
add_presented_dates(struct buf *out, const struct tls_sentence *facts)
{
    char date[MAIL_DATE_TEXT];

    if (facts->now_s > facts->peer->not_after)
        buf_printf(out, " presented a certificate that expired on %.10s",
                   mail_date_iso(facts->peer->not_after, date));
    else
        buf_printf(out,
                   " presented a certificate that is not valid before "
                   "%.10s",
                   mail_date_iso(facts->peer->not_before, date));
}

static void
add_reason(struct buf *out, const struct tls_sentence *facts)
{
    if (facts->failure->reason[0] != '\0')
        buf_printf(out, " (%s)", facts->failure->reason);
}

static void
add_presented_chain(struct buf *out, const struct tls_sentence *facts)
{
    buf_add_str(out, " presented a certificate that is not trusted");
    if (facts->peer != NULL && facts->peer->self_signed)
        buf_add_str(out, ", signed by itself");
    else if (facts->peer != NULL)
        buf_printf(out, ", issued by %s", facts->peer->issuer);
    add_reason(out, facts);
}

static void
add_other_stage(struct buf *out, const struct tls_sentence *facts)
{
    const char *what = tls_stage_sentence(stage_of(facts));

    buf_printf(out, ": %s", what);
    if (strcmp(what, facts->failure->reason) != 0)
        add_reason(out, facts);
}

static void
add_presented(struct buf *out, const struct tls_sentence *facts)
{
    enum tls_stage stage = stage_of(facts);

    if (stage == STAGE_NAME && facts->peer != NULL)
        add_presented_names(out, facts->peer);
    else if (stage == STAGE_EXPIRED && facts->peer != NULL)
        add_presented_dates(out, facts);
    else if (stage == STAGE_CHAIN)
        add_presented_chain(out, facts);
    else if (stage == STAGE_DANE && facts->peer != NULL)
        buf_printf(out,
                   " presented a certificate that matches no TLSA record "
                   "(SHA-256 of its key: %s)",
                   facts->peer->spki_sha256);
    else
        add_other_stage(out, facts);
}

static void
add_event(struct buf *out, const struct tls_sentence *facts)
{
    const char *host = has(facts->host) ? facts->host : "the server";

    switch ((int)stage_of(facts)) {
    case STAGE_NOT_OFFERED:
        buf_printf(out, "%s does not offer STARTTLS", host);
        break;
    case STAGE_REFUSED:
        buf_printf(out, "%s refused STARTTLS", host);
        add_reason(out, facts);
        break;
    case STAGE_HANDSHAKE:
        buf_printf(out, "the TLS handshake with %s failed", host);
        add_reason(out, facts);
        break;
    case STAGE_CLIENT_CERTIFICATE:
        buf_printf(out, "%s asked for a client certificate and we had none",
                   host);
        break;
    case STAGE_SMTP: /* the words are a sentence as they are */
        buf_printf(out, "%s: %s", host, facts->failure->reason);
        break;
    default:
        buf_add_str(out, host);
        add_presented(out, facts);
    }
}

/* --- Who demanded more ----------------------------------------------------
 */

static bool
is_of_certificate(enum tls_stage stage)
{
    return stage == STAGE_CHAIN || stage == STAGE_NAME ||
           stage == STAGE_EXPIRED || stage == STAGE_STS_CERTIFICATE;
}

/* What is demanded at this stage. */
static void
add_demanded(struct buf *out, const struct tls_sentence *facts)
{
    enum tls_stage stage = stage_of(facts);

    if (stage == STAGE_NAME && facts->name_count > 0)
        add_names(out, facts->names, facts->name_count, " or ");
    else if (is_of_certificate(stage))
        buf_add_str(out, "a valid certificate of a trusted authority");
    else
        buf_add_str(out, "TLS");
}

static void
add_sts_demand(struct buf *out, const struct tls_sentence *facts)
{
    const struct sts_policy *policy = facts->sts->policy;

    buf_printf(out, "; the MTA-STS policy of %s ",
               has(facts->domain) ? facts->domain : "the domain");
    add_sts(out, facts->sts, facts->now_s);
    if (stage_of(facts) == STAGE_STS_MX) {
        buf_add_str(out, " lists only ");
        add_names(out, policy->patterns, policy->pattern_count, " and ");
    } else {
        buf_add_str(out, " demands ");
        add_demanded(out, facts);
    }
}

static void
add_dane_demand(struct buf *out, const struct tls_sentence *facts)
{
    const struct dane_evidence *dane = facts->dane;

    if (dane->state == DANE_FAILED) {
        buf_printf(out, "; its TLSA records could not be looked up");
        if (dane->reason[0] != '\0' &&
            strstr(facts->failure->reason, dane->reason) == NULL)
            buf_printf(out, " (%s)", dane->reason);
        return;
    }
    buf_printf(out, "; the TLSA %s of %s demand%s ",
               dane->tlsa_count == 1 ? "record" : "records",
               dane->base[0] != '\0' ? dane->base : dane->host,
               dane->tlsa_count == 1 ? "s" : "");
    if (dane->state == DANE_USABLE && stage_of(facts) == STAGE_DANE)
        buf_add_str(out, "another");
    else
        buf_add_str(out, dane->state == DANE_USABLE
                             ? "TLS with a certificate that matches"
                             : "TLS");
}

/* What is no failure of TLS is nobody's demand. */
static bool
is_of_tls(enum tls_stage stage)
{
    switch ((int)stage) {
    case STAGE_CONNECT:
    case STAGE_GREETING:
    case STAGE_EHLO:
    case STAGE_TIMEOUT:
    case STAGE_IO:
    case STAGE_PROTOCOL:
    case STAGE_SMTP:
        return false;
    default:
        return true;
    }
}

static void
add_demand(struct buf *out, const struct tls_sentence *facts)
{
    if (!is_of_tls(stage_of(facts)))
        return;
    if (facts->dane != NULL) {
        add_dane_demand(out, facts);
    } else if (facts->sts != NULL && facts->sts->policy != NULL) {
        add_sts_demand(out, facts);
    } else if (has(facts->demand)) {
        buf_printf(out, "; %s", facts->demand);
        if (stage_of(facts) == STAGE_NAME && facts->name_count > 0) {
            buf_add_str(out, " demands ");
            add_names(out, facts->names, facts->name_count, " or ");
        }
    }
}

const char *
tls_explain_sentence(const struct tls_sentence *facts, char *out, size_t size)
{
    struct buf text = {0};

    add_event(&text, facts);
    add_demand(&text, facts);
    return put_text(&text, out, size);
}
