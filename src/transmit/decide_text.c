#include "base/arena.h"
#include "base/buf.h"
#include "transmit/decide.h"
#include "transmit/tls_sentence.h"

const char *
tls_floor_name(enum tls_floor floor)
{
    static const char *const names[] = {
        [FLOOR_CLEAR] = "clear",
        [FLOOR_OPPORTUNISTIC] = "opportunistic",
        [FLOOR_ENCRYPTED] = "encrypted",
        [FLOOR_VERIFIED] = "verified",
    };

    return names[floor];
}

const char *
tls_authentication_name(enum tls_authentication authentication)
{
    static const char *const names[] = {
        [AUTH_NONE] = "none",
        [AUTH_PREFERRED] = "preferred",
        [AUTH_REQUIRED] = "required",
    };

    return names[authentication];
}

const char *
tls_method_name(enum tls_method method)
{
    return method == METHOD_DANE ? "dane" : "pkix";
}

#define AS_AUTHORITY_NAME(name, text) text,
const char *
tls_authority_name(enum tls_authority authority)
{
    static const char *const names[] = {TLS_AUTHORITIES(AS_AUTHORITY_NAME)};

    return names[authority];
}

#define AS_WHY_ROW(name, text, sentence) {text, sentence},
static const struct {
    const char *name, *sentence;
} whys[] = {TLS_WHYS(AS_WHY_ROW)};

const char *
tls_why_name(enum tls_why why)
{
    return whys[why].name;
}

const char *
tls_why_sentence(enum tls_why why)
{
    return whys[why].sentence;
}

static void
print_dane(const struct tls_evidence *evidence, enum tls_why why, char *out,
           size_t size)
{
    const struct dane_evidence *dane = evidence->dane;

    if (dane != NULL && dane->reason[0] != '\0')
        snprintf(out, size, "%s (%s: %s)", tls_why_sentence(why),
                 evidence->host, dane->reason);
    else
        snprintf(out, size, "%s (%s)", tls_why_sentence(why), evidence->host);
}

static void
print_sts(const struct tls_evidence *evidence, enum tls_why why, char *out,
          size_t size)
{
    const struct sts_evidence *sts = evidence->sts;
    char policy[120] = "";

    if (sts != NULL && sts->state == STS_POLICY)
        tls_sts_text(sts, evidence->now, policy, sizeof policy);
    if (why == WHY_STS_UNLISTED)
        snprintf(out, size, "the MTA-STS policy of %s %s does not list %s",
                 evidence->domain, policy, evidence->host);
    else if (policy[0] != '\0')
        snprintf(out, size, "%s (%s) %s", tls_why_sentence(why),
                 evidence->domain, policy);
    else if (sts != NULL && sts->reason[0] != '\0')
        snprintf(out, size, "%s (%s: %s)", tls_why_sentence(why),
                 evidence->domain, sts->reason);
    else
        snprintf(out, size, "%s (%s)", tls_why_sentence(why), evidence->domain);
}

void
tls_why_print(const struct tls_evidence *evidence, enum tls_why why, char *out,
              size_t size)
{
    switch ((int)why) {
    case WHY_DANE_INSECURE:
    case WHY_DANE_ABSENT:
    case WHY_DANE_UNUSABLE:
    case WHY_DANE_FAILED:
    case WHY_DANE_USABLE:
    case WHY_DANE_INSECURE_MX:
        print_dane(evidence, why, out, size);
        break;
    case WHY_STS_ENFORCE:
    case WHY_STS_TESTING:
    case WHY_STS_UNLISTED:
    case WHY_STS_UNKNOWN:
    case WHY_STS_UNFETCHED:
        print_sts(evidence, why, out, size);
        break;
    case WHY_MX_UNPROVEN:
        snprintf(out, size,
                 "neither DNSSEC nor MTA-STS proves that %s is a server of %s",
                 evidence->host, evidence->domain);
        break;
    default:
        snprintf(out, size, "%s", tls_why_sentence(why));
        break;
    }
}

/* --- For the ledger ------------------------------------------------------- */

static struct sv
list_whys(const struct tls_decision *decision, struct arena *arena)
{
    struct buf names = {0};
    struct sv copy;

    for (size_t i = 0; i < decision->why_count; i++) {
        if (i > 0)
            buf_add_char(&names, ' ');
        buf_add_str(&names, tls_why_name(decision->whys[i]));
    }
    copy = arena_copy(arena, buf_view(&names));
    buf_fini(&names);
    return copy;
}

static struct sv
sts_status(const struct tls_decision *decision, struct arena *arena)
{
    char text[64];

    if (decision->sts_state == STS_OFF)
        return (struct sv){0};
    if (decision->sts_state != STS_POLICY)
        return sv_of(sts_state_name(decision->sts_state));
    snprintf(text, sizeof text, "%s %s", sts_mode_name(decision->sts_mode),
             decision->sts_id);
    return arena_copy(arena, sv_of(text));
}

void
decide_facts(const struct tls_decision *decision, struct arena *arena,
             struct ledger_tls *tls)
{
    *tls = (struct ledger_tls){
        .authority = sv_of(tls_authority_name(decision->authority)),
        .floor = sv_of(tls_floor_name(decision->floor)),
        .reasons = list_whys(decision, arena),
        .sts = sts_status(decision, arena),
    };
    if (decision->dane_state != DANE_OFF)
        tls->dane = sv_of(dane_state_name(decision->dane_state));
}
