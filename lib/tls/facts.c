#include "tls/facts.h"
#include "base/sv.h"
#include <stdarg.h>

#define AS_STAGE_ROW(stage, name, sentence) [stage] = {name, sentence},
static const struct {
    const char *name, *sentence;
} stages[TLS_STAGE_COUNT] = {TLS_STAGES(AS_STAGE_ROW)};

const char *
tls_stage_name(enum tls_stage stage)
{
    assert((unsigned)stage < TLS_STAGE_COUNT);
    return stages[stage].name;
}

const char *
tls_stage_sentence(enum tls_stage stage)
{
    assert((unsigned)stage < TLS_STAGE_COUNT);
    return stages[stage].sentence;
}

const char *
tls_verify_name(enum tls_verify verify)
{
    static const char *const names[] = {
        [TLS_VERIFY_NONE] = "none",
        [TLS_VERIFY_OK] = "ok",
        [TLS_VERIFY_FAILED] = "failed",
    };

    assert((unsigned)verify < COUNT_OF(names));
    return names[verify];
}

#define AS_VERDICT_ROW(verdict, name, sentence) [verdict] = {name, sentence},
static const struct {
    const char *name, *sentence;
} verdicts[TLS_VERDICT_COUNT] = {TLS_VERDICTS(AS_VERDICT_ROW)};

const char *
tls_verdict_name(enum tls_verdict verdict)
{
    assert((unsigned)verdict < TLS_VERDICT_COUNT);
    return verdicts[verdict].name;
}

const char *
tls_verdict_sentence(enum tls_verdict verdict)
{
    assert((unsigned)verdict < TLS_VERDICT_COUNT);
    return verdicts[verdict].sentence;
}

static void
complete(const char **text)
{
    if (*text == NULL)
        *text = "";
}

static const struct tls_dane_facts without_dane;

void
tls_facts_complete(struct tls_facts *facts)
{
    complete(&facts->version);
    complete(&facts->cipher);
    complete(&facts->group);
    complete(&facts->verify_reason);
    complete(&facts->server_name);
    complete(&facts->peer_subject);
    complete(&facts->peer_issuer);
    complete(&facts->peer_sha256);
    if (facts->dane == NULL)
        facts->dane = &without_dane;
}

void
tls_failure_set(struct tls_failure *failure, enum tls_stage stage,
                const char *fmt, ...)
{
    va_list args;

    failure->stage = stage;
    va_start(args, fmt);
    vsnprintf(failure->reason, sizeof failure->reason, fmt, args);
    va_end(args);
    for (char *c = failure->reason; *c != '\0'; c++) {
        if (!char_is_print(*c))
            *c = '?';
    }
}
