#include "transmit/tls_consequence.h"

const char *
tls_consequence_name(enum tls_consequence consequence)
{
    static const char *const names[] = {
        [CONSEQUENCE_CLEAR] = "clear",
        [CONSEQUENCE_CLEAR_NEXT] = "clear-next",
        [CONSEQUENCE_ENCRYPTED] = "encrypted",
        [CONSEQUENCE_NOT_HERE] = "not-here",
    };

    return names[consequence];
}

bool
tls_may_go_clear(const struct tls_decision *decision, enum tls_stage stage)
{
    return decision->floor == FLOOR_OPPORTUNISTIC &&
           (stage == STAGE_NOT_OFFERED || decision->fallback != FALLBACK_NEVER);
}

/* Before the 220 nothing of TLS had begun; after it only "next-attempt" allows
 * clear text. */
bool
tls_may_go_clear_next(const struct tls_decision *decision, enum tls_stage stage)
{
    if (decision->floor != FLOOR_OPPORTUNISTIC)
        return false;
    return decision->fallback == FALLBACK_NEXT_ATTEMPT ||
           (decision->fallback == FALLBACK_BEFORE_220 &&
            stage == STAGE_REFUSED);
}

bool
tls_accepts(const struct tls_decision *decision, enum tls_stage stage)
{
    return stage == STAGE_NONE || decision->authentication != AUTH_REQUIRED;
}

static bool
is_before_handshake(enum tls_stage stage)
{
    return stage == STAGE_NOT_OFFERED || stage == STAGE_REFUSED;
}

static bool
is_about_the_certificate(enum tls_stage stage)
{
    return stage == STAGE_CHAIN || stage == STAGE_NAME ||
           stage == STAGE_EXPIRED || stage == STAGE_DANE ||
           stage == STAGE_STS_CERTIFICATE;
}

enum tls_consequence
tls_consequence(const struct tls_decision *decision, enum tls_stage stage)
{
    if (!decision->usable)
        return CONSEQUENCE_NOT_HERE;
    if (decision->floor == FLOOR_CLEAR)
        return CONSEQUENCE_CLEAR;
    if (is_about_the_certificate(stage))
        return tls_accepts(decision, stage) ? CONSEQUENCE_ENCRYPTED
                                            : CONSEQUENCE_NOT_HERE;
    if (is_before_handshake(stage) && tls_may_go_clear(decision, stage))
        return CONSEQUENCE_CLEAR;
    return tls_may_go_clear_next(decision, stage) ? CONSEQUENCE_CLEAR_NEXT
                                                  : CONSEQUENCE_NOT_HERE;
}
