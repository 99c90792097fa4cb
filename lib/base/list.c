#include "base/list.h"

void
list_init(struct list *list)
{
    list->head.prev = list->head.next = &list->head;
    list->length = 0;
}

static void
insert(struct list *list, struct link *before, struct link *link)
{
    assert(!link_on_list(link));
    link->prev = before->prev;
    link->next = before;
    before->prev->next = link;
    before->prev = link;
    list->length++;
}

void
list_push_back(struct list *list, struct link *link)
{
    insert(list, &list->head, link);
}

void
list_push_front(struct list *list, struct link *link)
{
    insert(list, list->head.next, link);
}

void
list_insert_before(struct list *list, struct link *at, struct link *link)
{
    assert(link_on_list(at));
    insert(list, at, link);
}

void
list_remove(struct list *list, struct link *link)
{
    assert(link_on_list(link) && list->length > 0);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = NULL;
    list->length--;
}

struct link *
list_pop_front(struct list *list)
{
    struct link *first = list_first(list);

    if (first != NULL)
        list_remove(list, first);
    return first;
}

struct link *
list_first(const struct list *list)
{
    return list_next(list, &list->head);
}

struct link *
list_next(const struct list *list, const struct link *link)
{
    return link->next == &list->head ? NULL : link->next;
}

bool
list_empty(const struct list *list)
{
    return list->length == 0;
}

bool
link_on_list(const struct link *link)
{
    return link->next != NULL;
}

void
list_join(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    to->length += from->length;
    list_init(from);
}
