/* base/list.h - intrusive doubly linked lists.
 * A link is a member of the object; the list owns nothing.  An object is on at
 * most one list per link.  A zeroed link is on no list. */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include "base/base.h"

struct link {
    struct link *prev, *next; /* both NULL when on no list */
};

struct list {
    struct link head; /* circular */
    size_t length;
};

void list_init(struct list *list);
void list_push_back(struct list *list, struct link *link);
void list_push_front(struct list *list, struct link *link);
void list_insert_before(struct list *list, struct link *at, struct link *link);
void list_remove(struct list *list, struct link *link);
struct link *list_pop_front(struct list *list);   /* NULL when empty */
struct link *list_first(const struct list *list); /* NULL when empty */
struct link *list_next(const struct list *list, const struct link *link);
bool list_empty(const struct list *list);
bool link_on_list(const struct link *link);
/* Moves all of from to the end of to; from is empty afterwards. */
void list_join(struct list *to, struct list *from);

/* NOLINTBEGIN(bugprone-macro-parentheses): declared names take none. */
/* for (struct link *l = list_first(x); l != NULL; l = list_next(x, l)) */
#define LIST_FOREACH(it, list)                                                 \
    for (struct link *it = list_first(list); it != NULL;                       \
         it = list_next(list, it))
/* Safe against removal of the current link. */
#define LIST_FOREACH_SAFE(it, tmp, list)                                       \
    for (struct link *it = list_first(list),                                   \
                     *tmp = it ? list_next(list, it) : NULL;                   \
         it != NULL; it = tmp, tmp = it ? list_next(list, it) : NULL)
/* NOLINTEND(bugprone-macro-parentheses) */
#endif
