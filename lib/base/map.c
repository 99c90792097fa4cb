/* Open addressing, linear probing, at most 3/4 of the slots ever used.
 * A removed entry leaves a mark behind (key NULL, value REMOVED), so that
 * removing never moves another entry and a walk may remove what it stands on;
 * marks go when the table is rebuilt. */
#include "base/map.h"
#include "base/random.h"

struct map_slot {
    char *key; /* owned; NULL in a free slot */
    size_t length;
    uint64_t hash;
    void *value;
};

#define FIRST_CAP ((size_t)16)

static char removed_mark;
#define REMOVED ((void *)&removed_mark)

static uint64_t hash_key[2];

__attribute__((constructor)) static void
draw_hash_key(void)
{
    random_fill(hash_key, sizeof hash_key);
}

static uint64_t
rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void
sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson, Bernstein): one round a word, three at the end.  The
 * word order is the machine's: the hash never leaves the process. */
uint64_t
hash_bytes(struct sv bytes)
{
    uint64_t v[4] = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575),
        hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261),
        hash_key[1] ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)bytes.n << 56;
    size_t at = 0;

    for (; bytes.n - at >= 8; at += 8) {
        uint64_t word;

        memcpy(&word, bytes.p + at, sizeof word);
        sip_word(v, word);
    }
    for (int shift = 0; at < bytes.n; at++, shift += 8)
        last |= (uint64_t)(unsigned char)bytes.p[at] << shift;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static bool
slot_is(const struct map_slot *slot, struct sv key, uint64_t hash)
{
    return slot->key != NULL && slot->hash == hash &&
           sv_eq((struct sv){slot->key, slot->length}, key);
}

/* The slot that holds key, or NULL.  Ends because a slot is always empty. */
static struct map_slot *
find(const struct map *map, struct sv key, uint64_t hash)
{
    if (map->cap == 0)
        return NULL;
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct map_slot *slot = &map->slots[i];

        if (slot_is(slot, key, hash))
            return slot;
        if (slot->key == NULL && slot->value != REMOVED)
            return NULL;
    }
}

/* Where a key that is not in the map goes. */
static struct map_slot *
find_free(const struct map *map, uint64_t hash)
{
    size_t i = hash & (map->cap - 1);

    while (map->slots[i].key != NULL)
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

static void
rebuild(struct map *map, size_t cap)
{
    struct map old = *map;

    map->slots = mem_alloc_array(cap, sizeof *map->slots);
    map->cap = cap;
    map->filled = map->count;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].key != NULL)
            *find_free(map, old.slots[i].hash) = old.slots[i];
    }
    mem_free(old.slots);
}

/* Doubles when the entries need it; otherwise only the marks go. */
static void
make_room(struct map *map)
{
    if (map->cap == 0)
        rebuild(map, FIRST_CAP);
    else if (map->filled + 1 > map->cap / 4 * 3)
        rebuild(map, map->count + 1 > map->cap / 2 ? map->cap * 2 : map->cap);
}

void
map_fini(struct map *map)
{
    for (size_t i = 0; i < map->cap; i++)
        mem_free(map->slots[i].key);
    mem_free(map->slots);
    *map = (struct map){0};
}

void *
map_get(const struct map *map, struct sv key)
{
    struct map_slot *slot = find(map, key, hash_bytes(key));

    return slot != NULL ? slot->value : NULL;
}

void *
map_put(struct map *map, struct sv key, void *value)
{
    uint64_t hash = hash_bytes(key);
    struct map_slot *slot = find(map, key, hash);

    assert(value != NULL);
    if (slot != NULL) {
        void *former = slot->value;

        slot->value = value;
        return former;
    }
    make_room(map);
    slot = find_free(map, hash);
    map->filled += slot->value != REMOVED;
    map->count++;
    *slot = (struct map_slot){sv_dup(key), key.n, hash, value};
    return NULL;
}

/* A mark is needed only where a probe may have gone past this slot. */
static void *
slot_clear(struct map *map, struct map_slot *slot)
{
    size_t next = ((size_t)(slot - map->slots) + 1) & (map->cap - 1);
    void *value = slot->value;
    bool last =
        map->slots[next].key == NULL && map->slots[next].value != REMOVED;

    mem_free(slot->key);
    *slot = (struct map_slot){.value = last ? NULL : REMOVED};
    map->filled -= last;
    map->count--;
    return value;
}

void *
map_remove(struct map *map, struct sv key)
{
    struct map_slot *slot = find(map, key, hash_bytes(key));

    return slot != NULL ? slot_clear(map, slot) : NULL;
}

void *
map_remove_at(struct map *map, size_t cursor)
{
    assert(cursor > 0 && cursor <= map->cap);
    assert(map->slots[cursor - 1].key != NULL);
    return slot_clear(map, &map->slots[cursor - 1]);
}

bool
map_next(const struct map *map, size_t *cursor, struct sv *key, void **value)
{
    while (*cursor < map->cap) {
        const struct map_slot *slot = &map->slots[(*cursor)++];

        if (slot->key == NULL)
            continue;
        *key = (struct sv){slot->key, slot->length};
        *value = slot->value;
        return true;
    }
    return false;
}
