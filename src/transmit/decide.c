#include "transmit/decide.h"
#include <openssl/evp.h>

static const char *const floor_names[] = {
    [FLOOR_CLEAR] = "clear",
    [FLOOR_OPPORTUNISTIC] = "opportunistic",
    [FLOOR_ENCRYPTED] = "encrypted",
    [FLOOR_VERIFIED] = "verified",
};

/* What each setting of a destination asks for. */
static const struct rule {
    enum tls_floor floor;
    enum tls_authentication authentication;
    bool hosted; /* the mail domain is a good name too, and the first */
    const char *reason;
} rules[] = {
    [DELIVER_TLS_NO] = {FLOOR_CLEAR, AUTH_NONE, false,
                        "destination control: no TLS"},
    [DELIVER_TLS_PREFERRED] = {FLOOR_OPPORTUNISTIC, AUTH_NONE, false,
                               "destination control: preferred"},
    [DELIVER_TLS_REQUIRED] = {FLOOR_ENCRYPTED, AUTH_NONE, false,
                              "destination control: required"},
    [DELIVER_TLS_PREFERRED_VERIFY] = {FLOOR_OPPORTUNISTIC, AUTH_PREFERRED,
                                      false,
                                      "destination control: preferred-verify"},
    [DELIVER_TLS_REQUIRED_VERIFY] = {FLOOR_VERIFIED, AUTH_REQUIRED, false,
                                     "destination control: required-verify"},
    [DELIVER_TLS_REQUIRED_VERIFY_HOSTED] =
        {FLOOR_VERIFIED, AUTH_REQUIRED, true,
         "destination control: required-verify-hosted"},
};

const char *
tls_floor_name(enum tls_floor floor)
{
    return floor_names[floor];
}

/* Not for literals, and not for ".example.org": the certificate check would
 * take a leading dot as leave for any name below. */
static bool
is_name(const char *domain)
{
    return domain[0] != '\0' && domain[0] != '[' && domain[0] != '.';
}

static void
set_names(const struct tls_evidence *evidence, bool hosted,
          struct tls_decision *decision)
{
    size_t n = 0;

    if (hosted && is_name(evidence->domain))
        snprintf(decision->names[n++], sizeof decision->names[0], "%s",
                 evidence->domain);
    if (evidence->host_is_literal || !is_name(evidence->host))
        return; /* an address is no DNS name, and SNI may not carry one
                 * (RFC 6066 section 3) */
    snprintf(decision->names[n], sizeof decision->names[0], "%s",
             evidence->host);
    snprintf(decision->server_name, sizeof decision->server_name, "%s",
             evidence->host);
}

/* Length in front of each part, so that parts cannot run into each other. */
static void
add_bytes(EVP_MD_CTX *digest, const void *bytes, size_t n)
{
    uint32_t length = (uint32_t)n;

    if (EVP_DigestUpdate(digest, &length, sizeof length) != 1 ||
        EVP_DigestUpdate(digest, bytes, n) != 1)
        abort(); /* tls_init() has tried SHA-256 */
}

static void
add_text(EVP_MD_CTX *digest, const char *text)
{
    const char *safe = text != NULL ? text : "";

    add_bytes(digest, safe, strlen(safe));
}

static void
add_profile(EVP_MD_CTX *digest, const struct tls_profile *profile)
{
    const uint32_t numbers[] = {
        profile->versions,
        (uint32_t)profile->strength,
        (uint32_t)profile->preference,
    };

    add_bytes(digest, numbers, sizeof numbers);
    add_text(digest, profile->ciphers);
    add_text(digest, profile->suites);
    add_text(digest, profile->groups);
}

static void
add_texts(EVP_MD_CTX *digest, char *const *texts, size_t count)
{
    uint32_t number = (uint32_t)count;

    add_bytes(digest, &number, sizeof number);
    for (size_t i = 0; i < count; i++)
        add_text(digest, texts[i]);
}

/* What is offered, shown and believed. */
static void
add_control(EVP_MD_CTX *digest, const struct destination_settings *control)
{
    const struct certificate_settings *own = control->client_certificate;
    const uint8_t switches[] = {control->session_tickets,
                                control->system_authorities};
    struct tls_profile profile;

    settings_destination_profile(control, &profile);
    add_profile(digest, &profile);
    add_bytes(digest, switches, sizeof switches);
    add_texts(digest, control->authorities, control->authority_count);
    add_texts(digest, control->revocation_lists,
              control->revocation_list_count);
    add_text(digest, own != NULL ? own->name : "");
    add_text(digest, own != NULL ? own->chain : "");
    add_text(digest, own != NULL ? own->key : "");
}
/* Two decisions have the same key exactly when every part of them and of what
 * they are about is the same: connections and TLS sessions of one are then
 * good for the other. */
static void
set_key(const struct tls_evidence *evidence, struct tls_decision *decision)
{
    const uint32_t numbers[] = {
        (uint32_t)decision->floor,
        (uint32_t)decision->authentication,
        (uint32_t)decision->fallback,
        evidence->host_is_literal,
    };
    EVP_MD_CTX *digest = EVP_MD_CTX_new();

    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort();
    add_bytes(digest, numbers, sizeof numbers);
    add_text(digest, evidence->domain);
    add_text(digest, evidence->host);
    add_text(digest, decision->server_name);
    add_text(digest, decision->names[0]);
    add_text(digest, decision->names[1]);
    if (evidence->control->tls_profile != NULL)
        add_control(digest, evidence->control);
    if (EVP_DigestFinal_ex(digest, decision->key.digest, NULL) != 1)
        abort();
    EVP_MD_CTX_free(digest);
}

void
decide(const struct tls_evidence *evidence, struct tls_decision *decision)
{
    const struct destination_settings *control = evidence->control;
    const struct rule *rule = &rules[control->tls];

    *decision = (struct tls_decision){
        .floor = rule->floor,
        .authentication = rule->authentication,
        .fallback = rule->floor == FLOOR_OPPORTUNISTIC ? control->fallback
                                                       : FALLBACK_NEVER,
        .control = control,
        .reason = rule->reason,
    };
    if (rule->floor != FLOOR_CLEAR)
        set_names(evidence, rule->hosted, decision);
    set_key(evidence, decision);
}
