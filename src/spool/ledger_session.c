/* How TLS went on a connection, as items. */
#include "spool/ledger_internal.h"

/* Tags are part of the format: never reused, new ones at the end. */
enum session_tag {
    TAG_ENDED = 1,
    TAG_DOMAIN,
    TAG_POLICY, /* + 1 */
    TAG_POLICY_ID,
    TAG_POLICY_TEXT,
    TAG_RESULT, /* by name, so the list may grow in the middle */
    TAG_ENFORCED,
    TAG_STAGE,
    TAG_REASON,
    TAG_HOST,
    TAG_IP,
    TAG_HELO,
    TAG_LOCAL_IP,
    TAG_TLS_VERSION,
    TAG_TLS_CIPHER,
    TAG_DELIVERY,
};

#define AS_RESULT_NAME(result, name) [result] = name,
static const char *const result_names[] = {LEDGER_TLS_RESULTS(AS_RESULT_NAME)};

#define TEXT(tag, member)                                                      \
    {                                                                          \
        tag, offsetof(struct ledger_session, member)                           \
    }
static const struct text {
    enum session_tag tag;
    size_t offset;
} texts[] = {
    TEXT(TAG_DOMAIN, domain),
    TEXT(TAG_POLICY_ID, policy_id),
    TEXT(TAG_POLICY_TEXT, policy_text),
    TEXT(TAG_REASON, reason),
    TEXT(TAG_HOST, host),
    TEXT(TAG_IP, ip),
    TEXT(TAG_HELO, helo),
    TEXT(TAG_LOCAL_IP, local_ip),
    TEXT(TAG_TLS_VERSION, tls_version),
    TEXT(TAG_TLS_CIPHER, tls_cipher),
    TEXT(TAG_DELIVERY, delivery),
};

const char *
ledger_tls_result_name(enum ledger_tls_result result)
{
    return (size_t)result < COUNT_OF(result_names) ? result_names[result]
                                                   : "unknown";
}

/* A result that a newer version wrote is a failure all the same. */
static enum ledger_tls_result
result_of(struct sv name)
{
    for (unsigned i = 0; i < TLS_RESULT_COUNT; i++) {
        if (sv_is(name, result_names[i]))
            return (enum ledger_tls_result)i;
    }
    return TLS_RESULT_VALIDATION;
}

void
ledger_session_encode(const struct ledger_session *session, struct buf *out)
{
    struct sv text;

    ledger_add_number(out, TAG_ENDED, (uint64_t)session->ended_us);
    ledger_add_number(out, TAG_POLICY, (uint64_t)session->policy + 1);
    ledger_add_text(out, TAG_RESULT,
                    sv_of(ledger_tls_result_name(session->result)));
    ledger_add_number(out, TAG_ENFORCED, session->enforced);
    ledger_add_stage(out, TAG_STAGE, session->stage);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        memcpy(&text, (const char *)session + texts[i].offset, sizeof text);
        ledger_add_text(out, texts[i].tag, text);
    }
}

static void
take_text(struct ledger_session *session, const struct ledger_item *item)
{
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (texts[i].tag == item->tag)
            memcpy((char *)session + texts[i].offset, &item->bytes,
                   sizeof item->bytes);
    }
}

bool
ledger_session_decode(struct sv bytes, struct ledger_session *session,
                      struct err *err)
{
    struct ledger_item item;
    uint64_t policy = 0;

    *session = (struct ledger_session){.result = TLS_RESULT_COUNT};
    while (ledger_take_item(&bytes, &item)) {
        if (item.tag == TAG_ENDED)
            session->ended_us = (int64_t)item.number;
        else if (item.tag == TAG_POLICY)
            policy = item.number;
        else if (item.tag == TAG_RESULT)
            session->result = result_of(item.bytes);
        else if (item.tag == TAG_ENFORCED)
            session->enforced = item.number != 0;
        else if (item.tag == TAG_STAGE)
            session->stage = ledger_stage(item.bytes);
        else
            take_text(session, &item);
    }
    if (bytes.n > 0 || session->domain.n == 0 || session->ended_us <= 0 ||
        session->result == TLS_RESULT_COUNT || policy == 0 ||
        policy > LEDGER_POLICY_STS + 1) {
        err_set(err, "session is malformed");
        return false;
    }
    session->policy = (enum ledger_policy)(policy - 1);
    return true;
}
