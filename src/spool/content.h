/* spool/content.h - what copying forward needs to know of a content. */
#ifndef SPOOL_CONTENT_H
#define SPOOL_CONTENT_H
#include "spool/record.h"

const struct record *content_record(const struct spool_content *content);
struct spool_place content_place(const struct spool_content *content);
#endif
