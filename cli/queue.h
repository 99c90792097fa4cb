/* cli/queue.h - what queue.c and queue_deeds.c share. */
#ifndef CLI_QUEUE_H
#define CLI_QUEUE_H
#include "cli.h"

#define QUEUE_FILTERS                                                          \
    "[--sender ADDRESS] [--recipient ADDRESS|@DOMAIN] "                        \
    "[--destination DOMAIN] [--state STATE]"

/* "queue retry" calls "queue.retry". */
void queue_method(const struct cli *cli, char *method, size_t size);
/* Takes the filter options; a new object, empty without any. */
json_t *queue_filters(struct cli *cli);
#endif
