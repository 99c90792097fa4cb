/* TXT records of MTA-STS: one a line. */
#include "sts/sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 8 };

static void
check_record(const struct sts_record *record, enum sts_record_verdict verdict)
{
    struct sv id = sv_of(record->id);

    assert(memchr(record->reason, '\0', sizeof record->reason) != NULL);
    assert((id.n > 0) == (verdict == STS_RECORD_OK));
    for (size_t i = 0; i < id.n; i++)
        assert(char_is_alnum(id.p[i]));
}

/* What is good alone is good among records of others. */
static void
check_company(struct sv text, const struct sts_record *alone)
{
    struct sv texts[] = {SV("v=spf1 -all"), text, SV("")};
    struct sts_record record;

    assert(sts_record_parse(texts, COUNT_OF(texts), &record) == STS_RECORD_OK);
    assert(strcmp(record.id, alone->id) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sv rest = {(const char *)data, size}, texts[RECORDS];
    struct sts_record record;
    enum sts_record_verdict verdict;
    size_t count = 0;

    while (rest.n > 0 && count < RECORDS)
        texts[count++] = sv_take_until(&rest, '\n');
    if (count == 0)
        return 0;
    verdict = sts_record_parse(texts, count, &record);
    check_record(&record, verdict);
    if (count == 1 && verdict == STS_RECORD_OK)
        check_company(texts[0], &record);
    return 0;
}
