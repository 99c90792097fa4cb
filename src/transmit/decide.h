/* transmit/decide.h - which TLS a hop needs: a pure function.
 *
 * Evidence goes in, a decision comes out; nothing is looked up here.  Delivery,
 * `waxgate explain`, `waxgate tls-check` and the unit tables all call it, and
 * its reasons are stored with every attempt.
 *
 * Precedence, for each server by itself:
 *
 *  1. The destination's settings and the demands of the message make a floor
 *     that nothing below may lower.
 *  2. Usable TLSA records decide (RFC 7672).  A look-up that failed, and later
 *     a chain that does not match, is final for this server: MTA-STS never
 *     rescues it (RFC 8461 section 2).  Records of which none is usable make
 *     TLS mandatory, unauthenticated; then MTA-STS may add authentication.
 *  3. Else the MTA-STS policy: `enforce` demands that the policy lists the
 *     server's name, that the certificate is valid for that name, and TLS 1.2;
 *     `testing` makes the same checks, which are only noted.
 *  4. Else what the settings say.
 *
 * Where the standards leave a choice:
 *
 *  - `tls: no` of a destination switches DANE and MTA-STS off too: it is the
 *    administrator's word.  Demands of a message and `dane: mandatory` still
 *    raise it.
 *  - Under `required-verify` and its kin, a match of DANE is the verification
 *    where the MX record is signed.  Who wants the authorities of the settings
 * to decide says `dane: no`.
 *  - TLSA records of a server that was found by an unsigned MX record
 *    (`dane_insecure_mx`) give way to a policy in mode enforce, to one that
 *    mail still waits for, and to verification that the settings or the message
 *    demand: whoever forged the MX record would bring records of his own.
 *  - `TLS-Required: No` (RFC 8689 section 4.2.2) lowers what comes from DANE
 *    and MTA-STS, never what the destination's settings demand, and has no
 *    effect beside REQUIRETLS.  The same goes for a rule that ignores DANE:
 *    `dane: mandatory` stays.
 *  - REQUIRETLS wants to know that the server is one of the domain: by a signed
 *    MX record, by a policy (in whatever mode) that lists it, or by a route of
 *    the settings (RFC 8689 section 4.2.1). */
#ifndef TRANSMIT_DECIDE_H
#define TRANSMIT_DECIDE_H
#include "evidence/dane.h"
#include "evidence/sts.h"
#include "settings/settings.h"
#include "spool/ledger.h"
#include "tls/context.h"

enum tls_floor {
    FLOOR_CLEAR,         /* TLS is not tried */
    FLOOR_OPPORTUNISTIC, /* TLS if it works; clear text as fallback says */
    FLOOR_ENCRYPTED,     /* TLS or nothing */
    FLOOR_VERIFIED,      /* TLS with a server that proves who it is */
};
enum tls_authentication { AUTH_NONE, AUTH_PREFERRED, AUTH_REQUIRED };
enum tls_method {
    METHOD_PKIX, /* chain to an authority, and one of `names` */
    METHOD_DANE, /* the TLSA records of `dane` */
};
/* What the MTA-STS policy is good for here. */
enum tls_sts_use {
    STS_USE_NONE,
    STS_USE_NOTED,    /* testing: checked and reported, without consequence */
    STS_USE_ENFORCED, /* the certificate must be for `host` */
};
/* Who decided in the end. */
#define TLS_AUTHORITIES(X)                                                     \
    X(AUTHORITY_DEFAULT, "default") /* destinations.default */                 \
    X(AUTHORITY_CONTROL, "destination")                                        \
    X(AUTHORITY_MESSAGE, "message")                                            \
    X(AUTHORITY_DANE, "dane")                                                  \
    X(AUTHORITY_STS, "mta-sts")
#define AS_AUTHORITY_ENUM(name, text) name,
enum tls_authority { TLS_AUTHORITIES(AS_AUTHORITY_ENUM) };
#undef AS_AUTHORITY_ENUM

/* Everything that counted, in the order in which it was looked at.  One list:
 * enum, name in logs and JSON, sentence for people. */
#define TLS_WHYS(X)                                                            \
    X(WHY_CONTROL_NO, "control-no", "destination control: no TLS")             \
    X(WHY_CONTROL_PREFERRED, "control-preferred",                              \
      "destination control: preferred")                                        \
    X(WHY_CONTROL_REQUIRED, "control-required",                                \
      "destination control: required")                                         \
    X(WHY_CONTROL_PREFERRED_VERIFY, "control-preferred-verify",                \
      "destination control: preferred-verify")                                 \
    X(WHY_CONTROL_REQUIRED_VERIFY, "control-required-verify",                  \
      "destination control: required-verify")                                  \
    X(WHY_CONTROL_HOSTED, "control-required-verify-hosted",                    \
      "destination control: required-verify-hosted")                           \
    X(WHY_DANE_MANDATORY, "control-dane-mandatory",                            \
      "destination control: DANE is mandatory")                                \
    X(WHY_REQUIRETLS, "message-requiretls", "the message demands REQUIRETLS")  \
    X(WHY_MESSAGE_OPTIONAL, "message-tls-optional",                            \
      "the message says TLS-Required: No")                                     \
    X(WHY_MESSAGE_OVERRULED, "message-tls-optional-overruled",                 \
      "TLS-Required: No does not count beside REQUIRETLS")                     \
    X(WHY_MESSAGE_REQUIRED, "message-tls-required",                            \
      "a rule demands TLS for the message")                                    \
    X(WHY_MESSAGE_VERIFIED, "message-tls-verified",                            \
      "a rule demands a verified server for the message")                      \
    X(WHY_MESSAGE_IGNORES_DANE, "message-ignores-dane",                        \
      "a rule ignores DANE for the message")                                   \
    X(WHY_ROUTE, "route",                                                      \
      "the server comes from a route, not from MX records")                    \
    X(WHY_DANE_OFF, "dane-off", "DANE is off for the destination")             \
    X(WHY_DANE_UNASKED, "dane-not-asked", "TLSA records were not asked for")   \
    X(WHY_DANE_INSECURE, "dane-insecure",                                      \
      "the server's addresses or MX record are not signed")                    \
    X(WHY_DANE_ABSENT, "dane-absent", "the server has no TLSA records")        \
    X(WHY_DANE_UNUSABLE, "dane-unusable",                                      \
      "none of the server's TLSA records is usable: TLS is mandatory")         \
    X(WHY_DANE_FAILED, "dane-failed",                                          \
      "the server's TLSA records cannot be looked up")                         \
    X(WHY_DANE_USABLE, "dane-usable", "the server's TLSA records decide")      \
    X(WHY_DANE_INSECURE_MX, "dane-insecure-mx",                                \
      "the server's name came from an unsigned MX record")                     \
    X(WHY_DANE_YIELDS, "dane-yields",                                          \
      "TLSA records found by an unsigned MX record give way")                  \
    X(WHY_STS_OFF, "sts-off", "MTA-STS is off for the destination")            \
    X(WHY_STS_ABSENT, "sts-absent", "the domain has no MTA-STS policy")        \
    X(WHY_STS_YIELDS, "sts-yields", "DANE decides, not the MTA-STS policy")    \
    X(WHY_STS_ENFORCE, "sts-enforce", "the MTA-STS policy is in force")        \
    X(WHY_STS_TESTING, "sts-testing",                                          \
      "the MTA-STS policy is being tested: failures are only noted")           \
    X(WHY_STS_UNLISTED, "sts-unlisted",                                        \
      "the MTA-STS policy does not list the server")                           \
    X(WHY_STS_UNKNOWN, "sts-unknown",                                          \
      "whether there is an MTA-STS policy cannot be found out")                \
    X(WHY_STS_GIVEN_UP, "sts-given-up",                                        \
      "no more waiting for an answer about the MTA-STS policy")                \
    X(WHY_STS_UNFETCHED, "sts-unfetched",                                      \
      "the MTA-STS policy could not be fetched")                               \
    X(WHY_MX_UNPROVEN, "mx-unproven",                                          \
      "neither DNSSEC nor MTA-STS proves that the server is one of the "       \
      "domain")
#define AS_WHY_ENUM(name, text, sentence) name,
enum tls_why { TLS_WHYS(AS_WHY_ENUM) TLS_WHY_COUNT };
#undef AS_WHY_ENUM
enum { TLS_WHYS_MAX = 16, TLS_WHY_TEXT = 320 };

struct tls_evidence {
    const char *domain; /* recipient or route domain, canonical */
    const char *host;   /* server's name as looked up; or literal */
    bool host_is_literal;
    bool by_mx; /* host is the domain's by MX (or by lack of one), not one that
                 * the settings name */
    enum dns_state mx_state; /* of that; SECURE also where there provably is
                              * no MX record */
    const struct destination_settings *control;
    const struct sts_evidence *sts;   /* NULL: not looked up */
    const struct dane_evidence *dane; /* NULL: not looked up */
    unsigned demands;                 /* enum envelope_tls, of the message */
    uint32_t attempt;                 /* 1.. */
    uint32_t sts_defers;              /* mta_sts.dns_failure_defers */
    int64_t now; /* seconds since 1970, for texts; 0: no ages */
};

/* The server may not be used, now or at all. */
struct tls_refusal {
    enum tls_stage stage;
    enum tls_why why;
    uint16_t code; /* of SMTP, as if a server had said it: always 4xx */
    struct mail_status status;
    char sentence[TLS_WHY_TEXT];
};

struct tls_decision {
    bool usable; /* not: only refusal, authority, whys and policy count */
    struct tls_refusal refusal;
    enum tls_authority authority;
    enum tls_floor floor;
    enum tls_authentication authentication;
    enum tls_method method;     /* of authentication */
    enum tls_fallback fallback; /* when floor is opportunistic */
    bool tls12;                 /* TLS 1.2 or later */
    bool requiretls;            /* the server must offer it; said in MAIL */
    enum tls_sts_use sts_use;
    bool sts_unlisted;     /* with NOTED: the policy does not list the server */
    char server_name[256]; /* SNI; "" for none */
    char names[2][256];    /* any of them satisfies; "" unused */
    const struct destination_settings *control; /* profile, certificate, trust
                                                 * and switches; borrowed */
    /* With METHOD_DANE: borrowed from the evidence; whoever keeps the decision
     * keeps a reference. */
    const struct dane_evidence *dane;
    const char *reason; /* static: the sentence of what decided */
    /* What was known; OFF where nobody asked. */
    enum dane_state dane_state;
    enum sts_state sts_state;
    enum sts_mode sts_mode; /* with STS_POLICY */
    char sts_id[STS_ID_MAX + 1];
    enum tls_why whys[TLS_WHYS_MAX];
    size_t why_count;
    enum ledger_policy policy;  /* under which it is reported */
    struct tls_session_key key; /* digest of all of this, for caches */
};

/* Under 1 us; allocates nothing. */
void decide(const struct tls_evidence *evidence, struct tls_decision *decision);

/* Which look-ups decide() would make use of; by domain, host, literal, by_mx,
 * mx_state, control and demands alone. */
bool decide_wants_sts(const struct tls_evidence *evidence);
bool decide_wants_dane(const struct tls_evidence *evidence);

/* What an attempt records of a decision; *tls is overwritten, its texts are
 * static or in the arena. */
void decide_facts(const struct tls_decision *decision, struct arena *arena,
                  struct ledger_tls *tls);

const char *tls_floor_name(enum tls_floor floor);             /* "verified" */
const char *tls_authentication_name(enum tls_authentication); /* "required" */
const char *tls_method_name(enum tls_method method);          /* "dane" */
const char *tls_authority_name(enum tls_authority authority); /* "mta-sts" */
const char *tls_why_name(enum tls_why why);     /* "sts-unlisted" */
const char *tls_why_sentence(enum tls_why why); /* static, general */
/* The same with names, ids, ages and the look-up's own words; cut to fit. */
void tls_why_print(const struct tls_evidence *evidence, enum tls_why why,
                   char *out, size_t size);
#endif
