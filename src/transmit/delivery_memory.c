#include "transmit/delivery_memory.h"

enum { NOTES_MAX = 10000 };

struct note {
    uint64_t until;
};

void
delivery_memory_init(struct delivery_memory *memory)
{
    *memory = (struct delivery_memory){0};
    pthread_mutex_init(&memory->lock, NULL);
}

static void
drop_notes(struct delivery_memory *memory, uint64_t expired_at)
{
    size_t cursor = 0;
    struct sv key;
    void *value;

    while (map_next(&memory->notes, &cursor, &key, &value)) {
        struct note *note = value;

        if (note->until > expired_at)
            continue;
        map_remove_at(&memory->notes, cursor);
        mem_free(note);
    }
}

void
delivery_memory_fini(struct delivery_memory *memory)
{
    drop_notes(memory, UINT64_MAX);
    map_fini(&memory->notes);
    pthread_mutex_destroy(&memory->lock);
}

void
delivery_memory_note(struct delivery_memory *memory, struct sv key,
                     uint64_t now, uint64_t until)
{
    struct note *note;

    pthread_mutex_lock(&memory->lock);
    if (memory->notes.count >= NOTES_MAX)
        drop_notes(memory, now);
    note = map_get(&memory->notes, key);
    if (note == NULL && memory->notes.count < NOTES_MAX) {
        note = mem_alloc(sizeof *note);
        map_put(&memory->notes, key, note);
    }
    if (note != NULL)
        note->until = until;
    pthread_mutex_unlock(&memory->lock);
}

void
delivery_memory_forget(struct delivery_memory *memory, struct sv key)
{
    pthread_mutex_lock(&memory->lock);
    mem_free(map_remove(&memory->notes, key));
    pthread_mutex_unlock(&memory->lock);
}

bool
delivery_memory_has(struct delivery_memory *memory, struct sv key, uint64_t now)
{
    const struct note *note;
    bool has;

    pthread_mutex_lock(&memory->lock);
    note = map_get(&memory->notes, key);
    has = note != NULL && note->until > now;
    pthread_mutex_unlock(&memory->lock);
    return has;
}
