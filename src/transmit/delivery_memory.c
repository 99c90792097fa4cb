#include "transmit/delivery_memory.h"

enum {
    NOTES_MAX = 10000,
    SCAN_MS = 60000, /* between two walks over all notes */
    SAMPLE = 16,     /* of notes that are looked at to drop one */
};

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

static bool
next_around(struct delivery_memory *memory, struct note **note)
{
    struct sv key;
    void *value;

    if (!map_next(&memory->notes, &memory->hand, &key, &value)) {
        memory->hand = 0;
        if (!map_next(&memory->notes, &memory->hand, &key, &value))
            return false;
    }
    *note = value;
    return true;
}

/* The first to expire of some: to find that of all would take a walk over all
 * for each new note. */
static void
drop_one(struct delivery_memory *memory)
{
    struct note *first = NULL, *note;
    size_t cursor = 0;

    for (int i = 0; i < SAMPLE && next_around(memory, &note); i++) {
        if (first != NULL && first->until <= note->until)
            continue;
        first = note;
        cursor = memory->hand;
    }
    if (first != NULL)
        mem_free(map_remove_at(&memory->notes, cursor));
}

static void
make_room(struct delivery_memory *memory, uint64_t now)
{
    if (memory->notes.count < NOTES_MAX)
        return;
    if (now >= memory->next_scan) {
        drop_notes(memory, now);
        memory->next_scan = now + SCAN_MS;
    }
    if (memory->notes.count >= NOTES_MAX)
        drop_one(memory);
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
    note = map_get(&memory->notes, key);
    if (note == NULL) {
        make_room(memory, now);
        note = mem_alloc(sizeof *note);
        map_put(&memory->notes, key, note);
    }
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
