#include "text_table.h"

#include <inttypes.h>
#include <time.h>

void
text_table_init(struct text_table *table, const struct text_column *columns,
                size_t count)
{
    assert(count <= TEXT_TABLE_COLUMNS);
    *table = (struct text_table){.columns = columns, .count = count};
    table->cells =
        mem_alloc_array(TEXT_TABLE_BATCH * count, sizeof *table->cells);
    for (size_t i = 0; i < count; i++)
        table->widths[i] = strlen(columns[i].title);
}

/* Characters, as far as UTF-8 tells. */
static size_t
text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80)
            width++;
    return width;
}

static void
print_cell(const struct text_table *table, size_t column, const char *text)
{
    size_t width = text_width(text);
    size_t pad =
        width < table->widths[column] ? table->widths[column] - width : 0;
    bool last = column + 1 == table->count;

    if (table->columns[column].right)
        printf("%*s%s", (int)pad, "", text);
    else
        printf("%s%*s", text, last ? 0 : (int)pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

static void
print_row(const struct text_table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->count; i++)
        print_cell(table, i, cells[i]);
}

static void
start(struct text_table *table)
{
    const char *titles[TEXT_TABLE_COLUMNS];

    for (size_t i = 0; i < table->count; i++)
        titles[i] = table->columns[i].title;
    print_row(table, titles);
    for (size_t i = 0; i < table->rows; i++)
        print_row(table, (const char *const *)&table->cells[i * table->count]);
    table->started = true;
}

char *
text_printable(const char *text)
{
    char *copy = mem_strdup(text != NULL ? text : "");

    for (char *c = copy; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return copy;
}

void
text_table_row(struct text_table *table, const char *const *cells)
{
    char *copies[TEXT_TABLE_COLUMNS];

    for (size_t i = 0; i < table->count; i++)
        copies[i] = text_printable(cells[i]);
    if (table->started) {
        print_row(table, (const char *const *)copies);
        for (size_t i = 0; i < table->count; i++)
            mem_free(copies[i]);
        return;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t width = text_width(copies[i]);

        if (width > table->widths[i])
            table->widths[i] = width;
        table->cells[table->rows * table->count + i] = copies[i];
    }
    if (++table->rows == TEXT_TABLE_BATCH)
        start(table);
}

void
text_table_fini(struct text_table *table)
{
    if (!table->started && table->rows > 0)
        start(table);
    for (size_t i = 0; i < table->rows * table->count; i++)
        mem_free(table->cells[i]);
    mem_free(table->cells);
}

const char *
text_of_bytes(uint64_t bytes, char *room)
{
    static const char units[] = "KMGTP";
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        snprintf(room, TEXT_SIZE, "%" PRIu64, bytes);
        return room;
    }
    while (value >= 1024 && unit + 2 < sizeof units) {
        value /= 1024;
        unit++;
    }
    snprintf(room, TEXT_SIZE, value < 10 ? "%.1f%c" : "%.0f%c", value,
             units[unit]);
    return room;
}

const char *
text_of_seconds(int64_t seconds, char *room)
{
    int64_t s = seconds < 0 ? 0 : seconds;

    if (s < 60)
        snprintf(room, TEXT_SIZE, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(room, TEXT_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(room, TEXT_SIZE, "%" PRId64 "h%02" PRId64 "m", s / 3600,
                 s / 60 % 60);
    else
        snprintf(room, TEXT_SIZE, "%" PRId64 "d%02" PRId64 "h", s / 86400,
                 s / 3600 % 24);
    return room;
}

/* "2026-03-01T12:00:00Z"; 0 where there is none. */
static int64_t
date_seconds(const char *date)
{
    struct tm parts = {0};

    if (strptime(date, "%Y-%m-%dT%H:%M:%S", &parts) == NULL)
        return 0;
    return timegm(&parts);
}

const char *
text_of_age(const char *date, char *room)
{
    int64_t at = date_seconds(date);

    return at == 0 ? "-" : text_of_seconds((int64_t)time(NULL) - at, room);
}

const char *
text_of_wait(const char *date, char *room)
{
    int64_t at = date_seconds(date);

    return at == 0 ? "-" : text_of_seconds(at - (int64_t)time(NULL), room);
}
