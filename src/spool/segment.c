#include "spool/segment.h"
#include "base/crc32c.h"
#include "spool/bytes.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#define HEADER_MAGIC UINT64_C(0x3147455358415747) /* "GWAXSEG1" on disk */
#define SEAL_MAGIC UINT64_C(0x314c414553584157)

enum {
    FORMAT_VERSION = 1,
    HEADER_BYTES = 64,
    HEADER_CRC = 60,
    SEAL_AT = 512, /* a sector of its own: a torn write hits only the seal */
    SEAL_BYTES = 32,
    SEAL_CRC = 28,
};

ssize_t
read_fully(int fd, void *dst, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t got =
            pread(fd, (char *)dst + done, n - done, (off_t)(offset + done));

        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1)
            return -1;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

bool
write_fully(int fd, const void *src, size_t n, uint64_t offset)
{
    size_t done = 0;

    while (done < n) {
        ssize_t put = pwrite(fd, (const char *)src + done, n - done,
                             (off_t)(offset + done));

        if (put == -1 && errno == EINTR)
            continue;
        if (put == -1)
            return false;
        done += (size_t)put;
    }
    return true;
}

void
err_damaged(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(err, "%s", text);
    if (err != NULL)
        err->code = EBADMSG;
}

/* --- Names -------------------------------------------------------------- */

const char *
segment_name(uint32_t number, char name[SEGMENT_NAME])
{
    snprintf(name, SEGMENT_NAME, "%08" PRIu32 ".seg", number);
    return name;
}

uint32_t
segment_number(const char *name)
{
    struct sv in = sv_of(name);
    struct sv digits = sv_take_while(&in, char_is_digit);
    uint32_t number;

    if (digits.n < 8 || !sv_is(in, ".seg") || !sv_to_u32(digits, &number))
        return 0;
    return number > INT32_MAX ? 0 : number;
}

const char *
body_name(uint32_t segment, uint64_t number, char name[BODY_NAME])
{
    if (segment == 0)
        snprintf(name, BODY_NAME, "tmp-%016" PRIx64, number);
    else
        snprintf(name, BODY_NAME, "%08" PRIu32 "-%016" PRIx64, segment, number);
    return name;
}

static bool
parse_hex(struct sv digits, uint64_t *number)
{
    *number = 0;
    if (digits.n != 16)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        char c = char_lower(digits.p[i]);

        if (!char_is_hex(c))
            return false;
        *number = *number << 4 |
                  (uint64_t)(char_is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return *number != 0;
}

bool
body_name_parse(const char *name, uint32_t *segment, uint64_t *number)
{
    struct sv in = sv_of(name);
    struct sv first = sv_take_until(&in, '-');

    if (sv_is(first, "tmp"))
        *segment = 0;
    else if (first.n < 8 || !sv_to_u32(first, segment) || *segment == 0)
        return false;
    return parse_hex(in, number);
}

/* --- Headers ------------------------------------------------------------ */

static void
header_encode(const struct segment_header *header, unsigned char *raw)
{
    memset(raw, 0, HEADER_BYTES);
    put_u64(raw, HEADER_MAGIC);
    put_u16(raw + 8, FORMAT_VERSION);
    put_u16(raw + 10, (uint16_t)header->journal);
    put_u32(raw + 12, header->number);
    put_u64(raw + 16, header->salt);
    put_u64(raw + 24, header->first_sequence);
    put_u32(raw + 32, header->previous);
    put_u64(raw + 40, header->previous_end);
    put_u64(raw + 48, (uint64_t)header->created_us);
    put_u32(raw + HEADER_CRC, crc32c(0, raw, HEADER_CRC));
}

static bool
header_decode(const unsigned char *raw, struct segment_header *header)
{
    if (get_u64(raw) != HEADER_MAGIC || get_u16(raw + 8) != FORMAT_VERSION ||
        get_u32(raw + HEADER_CRC) != crc32c(0, raw, HEADER_CRC))
        return false;
    *header = (struct segment_header){
        .journal = get_u16(raw + 10) == 0 ? SPOOL_INTAKE : SPOOL_LEDGER,
        .number = get_u32(raw + 12),
        .salt = get_u64(raw + 16),
        .first_sequence = get_u64(raw + 24),
        .previous = get_u32(raw + 32),
        .previous_end = get_u64(raw + 40),
        .created_us = (int64_t)get_u64(raw + 48),
    };
    return header->salt != 0;
}

bool
segment_header_write(int fd, const struct segment_header *header,
                     struct err *err)
{
    unsigned char start[SEGMENT_START] = {0};

    header_encode(header, start);
    header_encode(header, start + SEGMENT_BLOCK);
    if (write_fully(fd, start, sizeof start, 0))
        return true;
    err_sys(err, "write segment header");
    return false;
}

bool
segment_header_read(int fd, struct segment_header *header, struct err *err)
{
    unsigned char raw[HEADER_BYTES];

    for (uint64_t at = 0; at < SEGMENT_START; at += SEGMENT_BLOCK) {
        ssize_t got = read_fully(fd, raw, sizeof raw, at);

        if (got == HEADER_BYTES && header_decode(raw, header))
            return true;
        if (got == -1 && at != 0) {
            err_sys(err, "read segment header");
            return false;
        }
    }
    err_damaged(err, "segment header is damaged");
    return false;
}

static bool
seal_write(int fd, const unsigned char *raw, uint64_t block)
{
    return write_fully(fd, raw, SEAL_BYTES, block + SEAL_AT);
}

bool
segment_seal(int fd, const struct segment_header *header, uint64_t end,
             struct err *err)
{
    unsigned char raw[SEAL_BYTES] = {0};

    put_u64(raw, SEAL_MAGIC);
    put_u64(raw + 8, header->salt);
    put_u64(raw + 16, end);
    put_u32(raw + SEAL_CRC, crc32c(0, raw, SEAL_CRC));
    if (seal_write(fd, raw, 0) && seal_write(fd, raw, SEGMENT_BLOCK) &&
        fdatasync(fd) == 0)
        return true;
    err_sys(err, "seal segment %" PRIu32, header->number);
    return false;
}

uint64_t
segment_sealed_end(int fd, const struct segment_header *header)
{
    unsigned char raw[SEAL_BYTES];

    for (uint64_t at = 0; at < SEGMENT_START; at += SEGMENT_BLOCK) {
        if (read_fully(fd, raw, sizeof raw, at + SEAL_AT) == SEAL_BYTES &&
            get_u64(raw) == SEAL_MAGIC && get_u64(raw + 8) == header->salt &&
            get_u32(raw + SEAL_CRC) == crc32c(0, raw, SEAL_CRC))
            return get_u64(raw + 16);
    }
    return 0;
}

/* --- Directories -------------------------------------------------------- */

bool
dir_each(int dir, void (*each)(void *arg, const char *name), void *arg,
         struct err *err)
{
    /* A descriptor of its own: the position in a directory is shared by
     * duplicates, and threads read the same directory. */
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd == -1 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (stream == NULL) {
        err_sys(err, "open directory");
        if (fd != -1)
            close(fd);
        return false;
    }
    while (errno = 0, (entry = readdir(stream)) != NULL) {
        if (!sv_is(sv_of(entry->d_name), ".") &&
            !sv_is(sv_of(entry->d_name), ".."))
            each(arg, entry->d_name);
    }
    if (errno != 0)
        err_sys(err, "read directory");
    bool ok = errno == 0;
    closedir(stream);
    return ok;
}

static void
list_add(void *arg, const char *name)
{
    struct segment_list *list = arg;
    uint32_t number = segment_number(name);

    if (number == 0)
        return;
    if ((list->count & (list->count - 1)) == 0) /* 0 or a power of two */
        list->numbers = mem_resize(list->numbers, (list->count * 2 + 1) *
                                                      sizeof *list->numbers);
    list->numbers[list->count++] = number;
}

static int
compare_numbers(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;

    return (*x > *y) - (*x < *y);
}

bool
segment_list_read(int dir, struct segment_list *list, struct err *err)
{
    *list = (struct segment_list){0};
    if (!dir_each(dir, list_add, list, err)) {
        segment_list_fini(list);
        return false;
    }
    if (list->count > 1)
        qsort(list->numbers, list->count, sizeof *list->numbers,
              compare_numbers);
    return true;
}

void
segment_list_fini(struct segment_list *list)
{
    mem_free(list->numbers);
    *list = (struct segment_list){0};
}

uint32_t
segment_list_after(const struct segment_list *list, uint32_t number)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->numbers[i] > number)
            return list->numbers[i];
    }
    return 0;
}
