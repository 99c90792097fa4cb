/* The file of the cache: whatever stands in it, reading finds good records or
 * none, and never more bytes than there are; and whatever a record says, what
 * came of it can be written and read again. */
#include "evidence/sts_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Records of ours behind anything are found again. */
static void
check_recovery(struct sv junk)
{
    struct sv payload = SV("payload"), rest, record, last = {0};
    struct buf bytes = {0};
    size_t skipped = 0;

    buf_add(&bytes, junk);
    sts_file_frame(&bytes, payload);
    rest = buf_view(&bytes);
    while (sts_file_take(&rest, &record, &skipped))
        last = record;
    /* Junk may claim a length that swallows it, then with a good checksum. */
    assert(last.n > 0);
    buf_fini(&bytes);
}

static void
check_record(struct sv bytes)
{
    struct sts_table table = {0}, again = {0};
    struct buf first = {0}, second = {0};

    sts_table_init(&table);
    sts_table_init(&again);
    if (sts_stored_apply(&table, bytes) && sts_table_kept(&table) == 1) {
        sts_stored_encode(table.slots[0], &first);
        assert(sts_stored_apply(&again, buf_view(&first)));
        sts_stored_encode(again.slots[0], &second);
        assert(sv_eq(buf_view(&first), buf_view(&second)));
    }
    buf_fini(&first);
    buf_fini(&second);
    sts_table_fini(&table);
    sts_table_fini(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv in = {(const char *)data, size}, rest = in, record;
    size_t skipped = 0, taken = 0;

    while (sts_file_take(&rest, &record, &skipped)) {
        assert(record.p >= in.p && record.p + record.n <= in.p + in.n);
        assert(record.n > 0 && record.n <= STS_FILE_RECORD_MAX);
        taken += record.n + 12;
    }
    assert(taken + skipped == size);
    check_recovery(in);
    check_record(in);
    return 0;
}
