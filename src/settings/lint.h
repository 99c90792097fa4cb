/* settings/lint.h - what a configuration that works would better not do.
 *
 * A check refuses what cannot work; this warns of what works and is weak, or
 * does not do what it seems to say.  Every finding says where, what, why it
 * matters and what would be better. */
#ifndef SETTINGS_LINT_H
#define SETTINGS_LINT_H
#include "base/arena.h"
#include "settings/settings.h"

/* One list: enum, name in listings and JSON, why it matters, what would be
 * better. */
#define LINTS(X)                                                               \
    X(LINT_TLS_REQUIRED_OF_ALL, "tls-required-of-all",                         \
      "servers without TLS could send you no mail at all; RFC 3207 section 4 " \
      "forbids it for a host that MX records name",                            \
      "`tls: preferred` for everybody, and a policy with `tls: required` for " \
      "the partners who have agreed to it")                                    \
    X(LINT_OLD_VERSIONS, "old-versions",                                       \
      "SSL and TLS before 1.2 have known weaknesses and are deprecated (RFC "  \
      "8996)",                                                                 \
      "turn them off, and give the few peers that can do no better a profile " \
      "of their own")                                                          \
    X(LINT_WEAK_CIPHERS, "weak-ciphers",                                       \
      "who records the connection may be able to read it",                     \
      "`strength: medium` or `high` without `ciphers`; a profile of its own "  \
      "for a peer that can do no better")                                      \
    X(LINT_CERTIFICATE_UNREADABLE, "certificate-unreadable",                   \
      "TLS cannot be offered with it",                                         \
      "put the files in place: `waxgate cert import` does")                    \
    X(LINT_CERTIFICATE_NAME, "certificate-name",                               \
      "senders that verify the name (DANE, MTA-STS, partners) send no mail",   \
      "a certificate for the name that the MX records give, or that name as "  \
      "`hostname`")                                                            \
    X(LINT_CERTIFICATE_EXPIRY, "certificate-expiry",                           \
      "peers refuse a certificate out of its time",                            \
      "renew it; `waxgate cert create-csr` makes the request")                 \
    X(LINT_CERTIFICATE_SELF_SIGNED, "certificate-self-signed",                 \
      "only peers to whom you have given it can verify it; MTA-STS is not "    \
      "possible with it",                                                      \
      "a certificate of a public authority, or a TLSA record (DANE) for this " \
      "one")                                                                   \
    X(LINT_KEY_READABLE, "key-readable",                                       \
      "who can read the key can pretend to be this host",                      \
      "`chmod 600`, owned by the user who runs the gateway")                   \
    X(LINT_KEY_SHORT, "key-short",                                             \
      "the key can be computed with enough effort, and many peers refuse it",  \
      "RSA with 2048 bits or more, or ECDSA with P-256")                       \
    X(LINT_HAT_DEAD, "hat-never-matches",                                      \
      "the row looks as if it did something",                                  \
      "move it before the row that takes its clients, or remove it")           \
    X(LINT_RAT_NO_EFFECT, "rat-no-effect",                                     \
      "the row looks as if it did something", "remove it")                     \
    X(LINT_RAT_OPEN, "open-relay",                                             \
      "strangers can send mail to the whole world through it, and the "        \
      "gateway is blocked everywhere soon",                                    \
      "name the domains for which you take mail; `reject` everything else")    \
    X(LINT_CLEAR_TEXT, "clear-text",                                           \
      "everybody on the way can read and change the mail",                     \
      "`tls: preferred`, which is never worse")                                \
    X(LINT_FALLBACK, "fallback",                                               \
      "an attacker who disturbs one handshake gets the message in clear text " \
      "at the next attempt",                                                   \
      "`fallback: before-220`, or `never`")                                    \
    X(LINT_VERIFY_NAME, "verified-name-unproven",                              \
      "the name that is compared comes from MX records, which an attacker "    \
      "can forge unless they are signed",                                      \
      "`required-verify-hosted`, or a route that names the host")

#define AS_LINT_ENUM(code, name, why, better) code,
enum lint_code { LINTS(AS_LINT_ENUM) LINT_COUNT };
#undef AS_LINT_ENUM

struct lint_finding {
    enum lint_code code;
    unsigned line; /* 0: a default, nowhere in the file */
    char *path;    /* "listeners.In.tls" */
    char *what;
};

struct lint {
    struct arena arena;            /* holds the texts */
    struct lint_finding *findings; /* owned */
    size_t count;
};

struct lint_options {
    bool files;  /* look at certificates and keys */
    int64_t now; /* seconds since 1970 */
};

/* All findings: certificates, profiles, listeners, destinations. */
void settings_lint(const struct settings *settings,
                   const struct lint_options *options, struct lint *lint);
void lint_fini(struct lint *lint);

const char *lint_name(enum lint_code code);
const char *lint_why(enum lint_code code);
const char *lint_better(enum lint_code code);
#endif
