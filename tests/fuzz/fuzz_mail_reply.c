/* Replies of a server: a reply that comes in pieces reads like one that comes
 * at once, and its text is clean.  The first byte is the size of the pieces. */
#include "base/utf8.h"
#include "mail/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns how many bytes were used. */
static size_t
take(struct sv in, size_t step, struct mail_reply *reply,
     enum mail_reply_result *result)
{
    size_t used = 0, seen = 0;

    mail_reply_init(reply);
    do {
        struct sv piece;
        size_t before;

        seen = in.n - seen > step ? seen + step : in.n;
        piece = sv_slice(in, used, seen - used);
        before = piece.n;
        *result = mail_reply_take(&piece, reply, NULL, NULL);
        used += before - piece.n;
    } while (*result == MAIL_REPLY_MORE && seen < in.n);
    return used;
}

static void
check_text(const struct mail_reply *reply)
{
    struct sv text = {reply->text, reply->length};

    assert(reply->length <= MAIL_REPLY_TEXT_MAX && utf8_valid(text));
    for (size_t i = 0; i < text.n; i++)
        assert((unsigned char)text.p[i] >= 0x20 || text.p[i] == '\n');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t step = size > 0 ? (size_t)data[0] + 1 : 1;
    struct sv in = sv_from((struct sv){(const char *)data, size}, 1);
    struct mail_reply whole, split;
    enum mail_reply_result whole_result, split_result;
    size_t whole_used = take(in, in.n + 1, &whole, &whole_result);
    size_t split_used = take(in, step, &split, &split_result);

    assert(whole_result == split_result && whole_used == split_used);
    check_text(&whole);
    if (whole_result != MAIL_REPLY_DONE)
        return 0;
    assert(whole.code >= 200 && whole.code <= 599 && whole.code == split.code);
    assert(whole.lines == split.lines && whole.length == split.length);
    assert(memcmp(whole.text, split.text, whole.length) == 0);
    return 0;
}
