#include "transmit/queue_slab.h"

enum { CHUNK = 4096, INDEX_MIN = 64, HEAP_MIN = 64 };

void
slab_init(struct slab *slab, size_t size)
{
    assert(size >= sizeof(uint32_t) && size % 8 == 0);
    *slab = (struct slab){.size = size, .end = 1};
}

void
slab_fini(struct slab *slab)
{
    for (size_t i = 0; i < slab->chunk_count; i++)
        mem_free(slab->chunks[i]);
    mem_free(slab->chunks);
    slab->chunks = NULL;
    slab->chunk_count = 0;
}

void *
slab_at(const struct slab *slab, uint32_t number)
{
    assert(number != 0 && number < slab->end);
    return slab->chunks[number / CHUNK] + (number % CHUNK) * slab->size;
}

uint32_t
slab_take(struct slab *slab)
{
    uint32_t number = slab->free;

    slab->count++;
    if (number != 0) {
        void *object = slab_at(slab, number);

        memcpy(&slab->free, object, sizeof slab->free);
        memset(object, 0, sizeof slab->free);
        return number;
    }
    assert(slab->end < UINT32_MAX);
    number = slab->end++;
    if (number / CHUNK >= slab->chunk_count) {
        slab->chunks =
            mem_resize(slab->chunks, (slab->chunk_count + 1) * sizeof(char *));
        slab->chunks[slab->chunk_count++] = mem_alloc(CHUNK * slab->size);
    }
    return number;
}

void
slab_give(struct slab *slab, uint32_t number)
{
    void *object = slab_at(slab, number);

    memset(object, 0, slab->size);
    memcpy(object, &slab->free, sizeof slab->free);
    slab->free = number;
    slab->count--;
}

size_t
slab_memory(const struct slab *slab)
{
    return slab->chunk_count * (CHUNK * slab->size + sizeof(char *));
}

void
index_init(struct index *index,
           uint64_t (*hash)(const void *owner, uint32_t number),
           const void *owner)
{
    *index = (struct index){.hash = hash, .owner = owner};
}

void
index_fini(struct index *index)
{
    mem_free(index->slots);
    index->slots = NULL;
    index->cap = index->count = 0;
}

static void
index_place(struct index *index, uint32_t number)
{
    size_t at = index->hash(index->owner, number) & (index->cap - 1);

    while (index->slots[at] != 0)
        at = (at + 1) & (index->cap - 1);
    index->slots[at] = number;
}

static void
index_grow(struct index *index)
{
    uint32_t *old = index->slots;
    size_t old_cap = index->cap;

    index->cap = old_cap == 0 ? INDEX_MIN : old_cap * 2;
    index->slots = mem_alloc_array(index->cap, sizeof *index->slots);
    for (size_t i = 0; i < old_cap; i++)
        if (old[i] != 0)
            index_place(index, old[i]);
    mem_free(old);
}

void
index_add(struct index *index, uint32_t number)
{
    if ((index->count + 1) * 4 > index->cap * 3)
        index_grow(index);
    index_place(index, number);
    index->count++;
}

/* Linear probing without marks: whoever stands behind the hole and would have
 * stood there moves up. */
void
index_remove(struct index *index, uint32_t number)
{
    size_t mask = index->cap - 1;
    size_t hole = index->hash(index->owner, number) & mask;

    assert(index->cap != 0);
    while (index->slots[hole] != number) {
        assert(index->slots[hole] != 0);
        hole = (hole + 1) & mask;
    }
    for (size_t at = (hole + 1) & mask; index->slots[at] != 0;
         at = (at + 1) & mask) {
        size_t home = index->hash(index->owner, index->slots[at]) & mask;

        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        index->slots[hole] = index->slots[at];
        hole = at;
    }
    index->slots[hole] = 0;
    index->count--;
}

uint32_t
index_next(const struct index *index, uint64_t hash, size_t *cursor)
{
    if (index->cap == 0 || *cursor >= index->cap)
        return 0;
    return index->slots[(hash + (*cursor)++) & (index->cap - 1)];
}

/* Holes are looked for only when the table would have to grow although it is
 * not half full, and by a cursor that goes round: cheap on the average. */
static uint32_t
table_hole(struct table *table)
{
    if (table->end < table->cap)
        return table->end++;
    if (table->count + 1 > table->cap / 2) {
        table->cap = table->cap == 0 ? 64 : table->cap * 2;
        table->items =
            mem_resize(table->items, table->cap * sizeof *table->items);
        if (table->end == 0) {
            table->items[0] = NULL;
            table->end = 1;
        }
        return table->end++;
    }
    do
        table->cursor = table->cursor + 1 < table->end ? table->cursor + 1 : 1;
    while (table->items[table->cursor] != NULL);
    return table->cursor;
}

uint32_t
table_add(struct table *table, void *item)
{
    uint32_t number = table_hole(table);

    table->items[number] = item;
    table->count++;
    return number;
}

void
table_remove(struct table *table, uint32_t number)
{
    table->items[number] = NULL;
    table->count--;
    while (table->end > 1 && table->items[table->end - 1] == NULL)
        table->end--;
}

void
table_fini(struct table *table)
{
    mem_free(table->items);
    *table = (struct table){0};
}

void
heap_init(struct heap *heap, uint32_t *(*place)(void *owner, uint32_t number),
          void *owner)
{
    *heap = (struct heap){.place = place, .owner = owner};
}

void
heap_fini(struct heap *heap)
{
    mem_free(heap->entries);
    heap->entries = NULL;
    heap->count = heap->cap = 0;
}

static void
heap_set(struct heap *heap, uint32_t at, struct heap_entry entry)
{
    heap->entries[at] = entry;
    *heap->place(heap->owner, entry.number) = at;
}

static void
heap_up(struct heap *heap, uint32_t at, struct heap_entry entry)
{
    while (at > 0 && heap->entries[(at - 1) / 2].when > entry.when) {
        heap_set(heap, at, heap->entries[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(heap, at, entry);
}

static void
heap_down(struct heap *heap, uint32_t at, struct heap_entry entry)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            heap->entries[child + 1].when < heap->entries[child].when)
            child++;
        if (heap->entries[child].when >= entry.when)
            break;
        heap_set(heap, at, heap->entries[child]);
        at = child;
    }
    heap_set(heap, at, entry);
}

void
heap_put(struct heap *heap, uint32_t number, uint64_t when)
{
    if (heap->count == heap->cap) {
        heap->cap = heap->cap == 0 ? HEAP_MIN : heap->cap + heap->cap / 2;
        heap->entries =
            mem_resize(heap->entries, heap->cap * sizeof *heap->entries);
    }
    heap->count++;
    heap_up(heap, heap->count - 1,
            (struct heap_entry){.when = when, .number = number});
}

void
heap_remove(struct heap *heap, uint32_t number)
{
    uint32_t at = *heap->place(heap->owner, number);
    struct heap_entry last;

    assert(at < heap->count && heap->entries[at].number == number);
    last = heap->entries[--heap->count];
    if (at == heap->count)
        return;
    if (at > 0 && heap->entries[(at - 1) / 2].when > last.when)
        heap_up(heap, at, last);
    else
        heap_down(heap, at, last);
}

bool
heap_first(const struct heap *heap, uint32_t *number, uint64_t *when)
{
    if (heap->count == 0)
        return false;
    *number = heap->entries[0].number;
    *when = heap->entries[0].when;
    return true;
}
