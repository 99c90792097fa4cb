/* The digest of a decision.  It is made for every connection, so the pieces are
 * gathered first and the digest runs over them once. */
#include "transmit/decide_internal.h"
#include <openssl/evp.h>
#include <pthread.h>

/* Looked up once: the library would otherwise search for it each time. */
static const EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
find_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (sha256 == NULL)
        abort(); /* tls_init() has tried it */
}

struct digest {
    EVP_MD_CTX *ctx;
    size_t n;
    unsigned char bytes[1024]; /* not yet in ctx */
};

static void
digest_flush(struct digest *digest)
{
    if (EVP_DigestUpdate(digest->ctx, digest->bytes, digest->n) != 1)
        abort();
    digest->n = 0;
}

static void
digest_put(struct digest *digest, const void *bytes, size_t n)
{
    if (n > sizeof digest->bytes - digest->n)
        digest_flush(digest);
    if (n > sizeof digest->bytes) {
        if (EVP_DigestUpdate(digest->ctx, bytes, n) != 1)
            abort();
        return;
    }
    if (n > 0)
        memcpy(digest->bytes + digest->n, bytes, n);
    digest->n += n;
}

/* Length in front of each part, so that parts cannot run into each other. */
static void
add_bytes(struct digest *digest, const void *bytes, size_t n)
{
    uint32_t length = (uint32_t)n;

    digest_put(digest, &length, sizeof length);
    digest_put(digest, bytes, n);
}

static void
add_text(struct digest *digest, const char *text)
{
    const char *safe = text != NULL ? text : "";

    add_bytes(digest, safe, strlen(safe));
}

static void
add_profile(struct digest *digest, const struct tls_profile *profile)
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
add_texts(struct digest *digest, char *const *texts, size_t count)
{
    uint32_t number = (uint32_t)count;

    add_bytes(digest, &number, sizeof number);
    for (size_t i = 0; i < count; i++)
        add_text(digest, texts[i]);
}

/* What is offered, shown and believed. */
static void
add_control(struct digest *digest, const struct destination_settings *control)
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

static void
add_records(struct digest *digest, const struct dane_evidence *dane)
{
    for (size_t i = 0; i < dane->tlsa_count; i++) {
        const struct tls_tlsa *tlsa = &dane->tlsa[i];
        const uint8_t kind[] = {tlsa->usage, tlsa->selector, tlsa->matching};

        add_bytes(digest, kind, sizeof kind);
        add_bytes(digest, tlsa->data, tlsa->length);
    }
}

/* A policy of another id is another policy, even if this server is on both
 * lists: what was good under the one is looked at anew under the other. */
static void
add_policy(struct digest *digest, const struct sts_evidence *sts)
{
    const struct sts_policy *policy = sts->policy;
    uint32_t mode = (uint32_t)policy->mode;

    add_bytes(digest, &mode, sizeof mode);
    add_text(digest, sts->id);
    for (size_t i = 0; i < policy->pattern_count; i++)
        add_text(digest, policy->patterns[i]);
}

static void
add_decision(struct digest *digest, const struct tls_evidence *evidence,
             const struct tls_decision *decision)
{
    const uint32_t numbers[] = {
        (uint32_t)decision->floor,
        (uint32_t)decision->authentication,
        (uint32_t)decision->method,
        (uint32_t)decision->fallback,
        (uint32_t)decision->sts_use,
        decision->sts_unlisted,
        decision->tls12,
        decision->requiretls,
        (uint32_t)decision->policy,
        (uint32_t)decision->authority,
        evidence->host_is_literal,
        decision->usable,
        (uint32_t)evidence->mx_state,
    };

    add_bytes(digest, numbers, sizeof numbers);
    add_text(digest, evidence->domain);
    add_text(digest, evidence->host);
    add_text(digest, decision->server_name);
    add_text(digest, decision->names[0]);
    add_text(digest, decision->names[1]);
}

/* Two decisions have the same key exactly when every part of them and of what
 * they are about is the same: connections and TLS sessions of one are then
 * good for the other. */
void
decide_key(const struct tls_evidence *evidence, struct tls_decision *decision)
{
    struct digest digest;

    pthread_once(&once, find_sha256);
    digest.n = 0;
    digest.ctx = EVP_MD_CTX_new();
    if (digest.ctx == NULL || EVP_DigestInit_ex(digest.ctx, sha256, NULL) != 1)
        abort();
    add_decision(&digest, evidence, decision);
    if (evidence->control->tls_profile != NULL)
        add_control(&digest, evidence->control);
    if (decision->dane != NULL)
        add_records(&digest, decision->dane);
    if (decision->sts_use != STS_USE_NONE)
        add_policy(&digest, evidence->sts);
    digest_flush(&digest);
    if (EVP_DigestFinal_ex(digest.ctx, decision->key.digest, NULL) != 1)
        abort();
    EVP_MD_CTX_free(digest.ctx);
}
