#include "transmit/pool.h"

struct pool_key {
    char *name; /* owned */
    struct list members;
};

void
pool_init(struct pool *pool, uint32_t each_max)
{
    *pool = (struct pool){.each_max = each_max};
}

void
pool_fini(struct pool *pool)
{
    assert(pool->count == 0);
    map_fini(&pool->keys);
}

static struct pool_key *
key_of(struct pool *pool, struct sv name)
{
    struct pool_key *key = map_get(&pool->keys, name);

    if (key != NULL)
        return key;
    key = mem_alloc(sizeof *key);
    key->name = sv_dup(name);
    list_init(&key->members);
    map_put(&pool->keys, name, key);
    return key;
}

bool
pool_put(struct pool *pool, struct sv name, struct pool_member *member)
{
    struct pool_key *key = key_of(pool, name);

    assert(member->key == NULL);
    if (key->members.length >= pool->each_max)
        return false; /* each_max > 0, so the key has members and stays */
    list_push_front(&key->members, &member->link);
    member->key = key;
    pool->count++;
    return true;
}

void
pool_remove(struct pool *pool, struct pool_member *member)
{
    struct pool_key *key = member->key;

    list_remove(&key->members, &member->link);
    member->key = NULL;
    pool->count--;
    if (!list_empty(&key->members))
        return;
    map_remove(&pool->keys, sv_of(key->name));
    mem_free(key->name);
    mem_free(key);
}

static struct pool_member *
take_first(struct pool *pool, struct pool_key *key)
{
    struct pool_member *member =
        CONTAINER_OF(list_first(&key->members), struct pool_member, link);

    pool_remove(pool, member);
    return member;
}

struct pool_member *
pool_take(struct pool *pool, struct sv name)
{
    struct pool_key *key = map_get(&pool->keys, name);

    return key != NULL ? take_first(pool, key) : NULL;
}

struct pool_member *
pool_take_any(struct pool *pool)
{
    size_t cursor = 0;
    struct sv name;
    void *key;

    if (!map_next(&pool->keys, &cursor, &name, &key))
        return NULL;
    return take_first(pool, key);
}

bool
pool_holds(const struct pool_member *member)
{
    return member->key != NULL;
}
