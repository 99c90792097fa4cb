#include "spool/ledger.h"
#include "spool/bytes.h"
#include "spool/ledger_internal.h"

/* Tags are part of the format: never reused, new ones at the end. */
enum attempt_tag {
    TAG_ID = 1,
    TAG_QUEUE_ID,
    TAG_ATTEMPT,
    TAG_STARTED,
    TAG_ENDED,
    TAG_NEXT_RETRY,
    TAG_DESTINATION,
    TAG_HOST,
    TAG_IP,
    TAG_PORT,
    TAG_DELIVERY,
    TAG_STAGE, /* by name, so the list of stages may grow in the middle */
    TAG_REASON,
    TAG_TLS_VERSION,
    TAG_TLS_CIPHER,
    TAG_TLS_BITS,
    TAG_TLS_RESUMED,
    TAG_TLS_VERIFY,
    TAG_MESSAGE_FINAL,
    TAG_RESULT,      /* RESULT_BYTES; begins a result */
    TAG_RESULT_TEXT, /* of the result before */
    TAG_AUTHORITY,
    TAG_FLOOR,
    TAG_REASONS,
    TAG_DANE,
    TAG_STS,
    TAG_NOTED,
    TAG_GROUP,
    TAG_SERVER_NAME,
    TAG_SUBJECT,
    TAG_ISSUER,
    TAG_SERIAL,
    TAG_SHA256,
    TAG_SPKI_SHA256,
    TAG_NAMES,
    TAG_NOT_AFTER,
};
enum action_tag { TAG_ACTION_ID = 1, TAG_ACTION_KIND, TAG_ACTION_BY };

/* recipient (4), outcome (1), 0 (1), code, class, subject, detail (2 each) */
enum { RESULT_BYTES = 14 };

static const char *const outcome_names[] = {
    [OUTCOME_DEFERRED] = "deferred", [OUTCOME_DELIVERED] = "delivered",
    [OUTCOME_RELAYED] = "relayed",   [OUTCOME_FAILED] = "failed",
    [OUTCOME_EXPIRED] = "expired",   [OUTCOME_DELETED] = "deleted",
};

static const char *const action_names[] = {
    [ACTION_HOLD] = "hold",     [ACTION_RELEASE] = "release",
    [ACTION_RETRY] = "retry",   [ACTION_DELETE] = "delete",
    [ACTION_WARNED] = "warned", [ACTION_MOVED] = "moved",
};

const char *
ledger_outcome_name(enum ledger_outcome outcome)
{
    return (size_t)outcome < COUNT_OF(outcome_names) ? outcome_names[outcome]
                                                     : "unknown";
}

bool
ledger_outcome_final(enum ledger_outcome outcome)
{
    return outcome != OUTCOME_DEFERRED;
}

const char *
ledger_action_name(enum ledger_action_kind kind)
{
    return (size_t)kind < COUNT_OF(action_names) ? action_names[kind]
                                                 : "unknown";
}

/* --- Attempts ----------------------------------------------------------- */

/* Where the value of a tag stands; writing and reading both go by this. */
struct field {
    enum attempt_tag tag;
    size_t offset;
    size_t size; /* of a number */
};
#define FIELD(tag, member)                                                     \
    {                                                                          \
        tag, offsetof(struct ledger_attempt, member),                          \
            sizeof(((struct ledger_attempt *)0)->member)                       \
    }

static const struct field texts[] = {
    FIELD(TAG_QUEUE_ID, queue_id),
    FIELD(TAG_DESTINATION, destination),
    FIELD(TAG_HOST, host),
    FIELD(TAG_IP, ip),
    FIELD(TAG_DELIVERY, delivery),
    FIELD(TAG_REASON, reason),
    FIELD(TAG_TLS_VERSION, tls_version),
    FIELD(TAG_TLS_CIPHER, tls_cipher),
    FIELD(TAG_TLS_VERIFY, tls_verify),
    FIELD(TAG_AUTHORITY, tls.authority),
    FIELD(TAG_FLOOR, tls.floor),
    FIELD(TAG_REASONS, tls.reasons),
    FIELD(TAG_DANE, tls.dane),
    FIELD(TAG_STS, tls.sts),
    FIELD(TAG_NOTED, tls.noted),
    FIELD(TAG_GROUP, tls.group),
    FIELD(TAG_SERVER_NAME, tls.server_name),
    FIELD(TAG_SUBJECT, tls.subject),
    FIELD(TAG_ISSUER, tls.issuer),
    FIELD(TAG_SERIAL, tls.serial),
    FIELD(TAG_SHA256, tls.sha256),
    FIELD(TAG_SPKI_SHA256, tls.spki_sha256),
    FIELD(TAG_NAMES, tls.names),
};

static const struct field numbers[] = {
    FIELD(TAG_ID, id),
    FIELD(TAG_ATTEMPT, attempt),
    FIELD(TAG_STARTED, started_us),
    FIELD(TAG_ENDED, ended_us),
    FIELD(TAG_NEXT_RETRY, next_retry_us),
    FIELD(TAG_PORT, port),
    FIELD(TAG_TLS_BITS, tls_bits),
    FIELD(TAG_TLS_RESUMED, tls_resumed),
    FIELD(TAG_MESSAGE_FINAL, message_final),
    FIELD(TAG_NOT_AFTER, tls.not_after),
};

void
ledger_tls_copy(struct arena *arena, const struct ledger_tls *from,
                struct ledger_tls *to)
{
    *to = (struct ledger_tls){
        .authority = arena_copy(arena, from->authority),
        .floor = arena_copy(arena, from->floor),
        .reasons = arena_copy(arena, from->reasons),
        .dane = arena_copy(arena, from->dane),
        .sts = arena_copy(arena, from->sts),
        .noted = arena_copy(arena, from->noted),
        .group = arena_copy(arena, from->group),
        .server_name = arena_copy(arena, from->server_name),
        .subject = arena_copy(arena, from->subject),
        .issuer = arena_copy(arena, from->issuer),
        .serial = arena_copy(arena, from->serial),
        .sha256 = arena_copy(arena, from->sha256),
        .spki_sha256 = arena_copy(arena, from->spki_sha256),
        .names = arena_copy(arena, from->names),
        .not_after = from->not_after,
    };
}

static const struct field *
find_field(const struct field *fields, size_t count, unsigned tag)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].tag == tag)
            return &fields[i];
    }
    return NULL;
}

static uint64_t
get_number(const struct ledger_attempt *attempt, const struct field *field)
{
    unsigned char bytes[8] = {0};
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;

    memcpy(bytes, (const char *)attempt + field->offset, field->size);
    memcpy(&u16, bytes, sizeof u16);
    memcpy(&u32, bytes, sizeof u32);
    memcpy(&u64, bytes, sizeof u64);
    return field->size == 1   ? bytes[0]
           : field->size == 2 ? u16
           : field->size == 4 ? u32
                              : u64;
}

static void
set_number(struct ledger_attempt *attempt, const struct field *field,
           uint64_t value)
{
    char *at = (char *)attempt + field->offset;
    bool u8 = value != 0;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;

    if (field->size == 1) /* all of these are bool */
        memcpy(at, &u8, sizeof u8);
    else if (field->size == 2)
        memcpy(at, &u16, sizeof u16);
    else if (field->size == 4)
        memcpy(at, &u32, sizeof u32);
    else
        memcpy(at, &value, sizeof value);
}

static struct sv
get_text(const struct ledger_attempt *attempt, const struct field *field)
{
    struct sv text;

    memcpy(&text, (const char *)attempt + field->offset, sizeof text);
    return text;
}

static void
add_result(struct buf *out, const struct ledger_result *result)
{
    unsigned char raw[RESULT_BYTES] = {0};

    put_u32(raw, result->recipient);
    raw[4] = (unsigned char)result->outcome;
    put_u16(raw + 6, result->code);
    put_u16(raw + 8, result->status.class);
    put_u16(raw + 10, result->status.subject);
    put_u16(raw + 12, result->status.detail);
    ledger_add_item(out, TAG_RESULT,
                    (struct sv){(const char *)raw, sizeof raw});
    ledger_add_text(out, TAG_RESULT_TEXT, result->text);
}

void
ledger_attempt_encode(const struct ledger_attempt *attempt, struct buf *out)
{
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        ledger_add_number(out, numbers[i].tag,
                          get_number(attempt, &numbers[i]));
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        ledger_add_text(out, texts[i].tag, get_text(attempt, &texts[i]));
    ledger_add_stage(out, TAG_STAGE, attempt->stage);
    for (size_t i = 0; i < attempt->result_count; i++)
        add_result(out, &attempt->results[i]);
}

static bool
take_result(struct ledger_attempt *attempt, struct sv bytes, struct err *err)
{
    const unsigned char *raw = (const unsigned char *)bytes.p;

    if (bytes.n < RESULT_BYTES || raw[4] >= COUNT_OF(outcome_names)) {
        err_set(err, "attempt: result is malformed");
        return false;
    }
    attempt->results[attempt->result_count++] = (struct ledger_result){
        .recipient = get_u32(raw),
        .outcome = (enum ledger_outcome)raw[4],
        .code = get_u16(raw + 6),
        .status = {get_u16(raw + 8), get_u16(raw + 10), get_u16(raw + 12)},
    };
    return true;
}

static bool
take_attempt_item(struct ledger_attempt *attempt,
                  const struct ledger_item *item, struct err *err)
{
    const struct field *number =
        find_field(numbers, COUNT_OF(numbers), item->tag);
    const struct field *text = find_field(texts, COUNT_OF(texts), item->tag);

    if (item->tag == TAG_RESULT)
        return take_result(attempt, item->bytes, err);
    if (number != NULL)
        set_number(attempt, number, item->number);
    else if (text != NULL)
        memcpy((char *)attempt + text->offset, &item->bytes,
               sizeof item->bytes);
    else if (item->tag == TAG_STAGE)
        attempt->stage = ledger_stage(item->bytes);
    else if (item->tag == TAG_RESULT_TEXT && attempt->result_count > 0)
        attempt->results[attempt->result_count - 1].text = item->bytes;
    return true;
}

static size_t
count_results(struct sv bytes)
{
    struct ledger_item item;
    size_t count = 0;

    while (ledger_take_item(&bytes, &item))
        count += item.tag == TAG_RESULT;
    return count;
}

bool
ledger_attempt_decode(struct sv bytes, struct arena *arena,
                      struct ledger_attempt *attempt, struct err *err)
{
    size_t count = count_results(bytes);
    struct ledger_item item;

    *attempt = (struct ledger_attempt){0};
    if (count > 0)
        attempt->results = arena_alloc(arena, count * sizeof *attempt->results);
    while (ledger_take_item(&bytes, &item)) {
        if (!take_attempt_item(attempt, &item, err))
            return false;
    }
    if (bytes.n == 0 && attempt->id != 0)
        return true;
    err_set(err, bytes.n > 0 ? "attempt: an item is cut short"
                             : "attempt: no message number");
    return false;
}

/* --- Actions ------------------------------------------------------------ */

void
ledger_action_encode(const struct ledger_action *action, struct buf *out)
{
    ledger_add_number(out, TAG_ACTION_ID, action->id);
    ledger_add_number(out, TAG_ACTION_KIND, (uint64_t)action->kind + 1);
    ledger_add_text(out, TAG_ACTION_BY, action->by);
}

bool
ledger_action_decode(struct sv bytes, struct ledger_action *action,
                     struct err *err)
{
    uint64_t kind = 0;
    struct ledger_item item;

    *action = (struct ledger_action){0};
    while (ledger_take_item(&bytes, &item)) {
        if (item.tag == TAG_ACTION_ID)
            action->id = item.number;
        else if (item.tag == TAG_ACTION_KIND)
            kind = item.number;
        else if (item.tag == TAG_ACTION_BY)
            action->by = item.bytes;
    }
    if (bytes.n > 0 || action->id == 0 || kind == 0 ||
        kind > COUNT_OF(action_names)) {
        err_set(err, "action is malformed");
        return false;
    }
    action->kind = (enum ledger_action_kind)(kind - 1);
    return true;
}
