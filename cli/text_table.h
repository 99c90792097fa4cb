/* cli/text_table.h - aligned columns for a terminal.
 *
 * Widths come from the rows gathered so far: the first TEXT_TABLE_BATCH rows
 * set them, later ones are printed as they come, so a listing of a million
 * lines is neither held nor delayed. */
#ifndef CLI_TEXT_TABLE_H
#define CLI_TEXT_TABLE_H
#include "base/sv.h"

enum { TEXT_TABLE_COLUMNS = 12, TEXT_TABLE_BATCH = 200 };

struct text_column {
    const char *title;
    bool right; /* numbers */
};

struct text_table {
    const struct text_column *columns; /* the last one is not padded */
    size_t count;
    char **cells; /* owned, rows of the first batch */
    size_t rows;
    size_t widths[TEXT_TABLE_COLUMNS];
    bool started; /* the titles are out */
};

void text_table_init(struct text_table *table,
                     const struct text_column *columns, size_t count);
/* One text for each column; copied.  Control characters become "?". */
void text_table_row(struct text_table *table, const char *const *cells);
void text_table_fini(struct text_table *table); /* prints what is left */

#define TEXT_SIZE 32 /* room for the texts below */
const char *text_of_bytes(uint64_t bytes, char *room);    /* "1.5M" */
const char *text_of_seconds(int64_t seconds, char *room); /* "3h12m" */
/* Of a date as the gateway prints it; "-" where there is none. */
const char *text_of_age(const char *date, char *room);
const char *text_of_wait(const char *date, char *room);
/* A copy on the heap without control characters: what a peer wrote must not
 * move the cursor of a terminal. */
char *text_printable(const char *text);
#endif
