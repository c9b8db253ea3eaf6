// SPDX-License-Identifier: Apache-2.0
#include "queue/embedded/ready.h"

#include "base/mem.h"

#define FIRST_BITS 4   // the first segment holds 16
#define SEGMENTS   26  // 2^30 entries at most
#define NOTHING    0   // entry 0 is never used
#define KEY_BYTES  12
#define KEEP_LIMIT (1u << 15)  // a larger array is given back once it is empty

struct entry {
    uint8_t key[KEY_BYTES];  // the id in binary, or the start of a longer id's hash
    uint32_t prev, next;     // order; next also links unused entries
    uint32_t chain : 30;     // next one in the same bucket
    uint32_t text : 1;       // the id is in the payload
    uint32_t redelivered : 1;
    struct queue_payload *payload;
};
_Static_assert(sizeof(struct entry) == 32, "a million of them must stay small");

struct queue_ready {
    struct entry *entries[SEGMENTS];
    uint32_t *buckets[SEGMENTS];
    uint32_t used;          // entries handed out so far, with number 0
    uint32_t unused;        // first of those given back
    uint32_t bucket_count;  // grows and shrinks by one
    uint32_t first, last;
    size_t count;
    int64_t body_bytes;
    uint64_t seed;
    uint8_t newest[KEY_BYTES];  // no id here sorts after it; those packed only
};

struct key {
    uint8_t bytes[KEY_BYTES];
    struct str text;  // absent: bytes are the id
    uint64_t hash;
};

// Segment s holds 16 << s cells, so a cell's segment is its highest bit.
static unsigned segment_of(uint32_t index, uint32_t *offset)
{
    uint32_t shifted = index + (1u << FIRST_BITS);
    unsigned top = 31 - (unsigned)__builtin_clz(shifted);
    *offset = shifted - (1u << top);
    return top - FIRST_BITS;
}

static struct entry *entry_at(const struct queue_ready *ready, uint32_t index)
{
    uint32_t offset, segment = segment_of(index, &offset);
    return &ready->entries[segment][offset];
}

static uint32_t *bucket_at(const struct queue_ready *ready, uint32_t index)
{
    uint32_t offset, segment = segment_of(index, &offset);
    return &ready->buckets[segment][offset];
}

// One more than the value of a lower-case hex digit; 0 for any other character.
static const uint8_t digits[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16};

static bool pack(struct str id, uint8_t out[KEY_BYTES])
{
    bool good = id.len == ID_LEN;
    for (size_t i = 0; good && i < KEY_BYTES; i++) {
        unsigned high = digits[(uint8_t)id.at[2 * i]], low = digits[(uint8_t)id.at[2 * i + 1]];
        good = high && low;
        out[i] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    return good;
}

static void unpack(const uint8_t key[KEY_BYTES], char out[ID_LEN])
{
    for (size_t i = 0; i < KEY_BYTES; i++) {
        out[2 * i] = "0123456789abcdef"[key[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[key[i] & 15];
    }
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

static uint64_t hash_key(const uint8_t bytes[KEY_BYTES], uint64_t seed)
{
    uint64_t front;
    uint32_t back;
    memcpy(&front, bytes, sizeof(front));
    memcpy(&back, bytes + sizeof(front), sizeof(back));
    return mix(mix(front ^ seed) ^ back);
}

static struct key key_of(const struct queue_ready *ready, struct str id)
{
    struct key key = {.text = STR_NONE};
    if (!pack(id, key.bytes)) {
        uint64_t hash = ready->seed;
        for (size_t i = 0; i < id.len; i++)
            hash = mix(hash ^ (uint8_t)id.at[i]);
        key.text = id;
        memcpy(key.bytes, &hash, sizeof(hash));
    }
    key.hash = hash_key(key.bytes, ready->seed);
    return key;
}

static bool matches(const struct entry *entry, const struct key *key)
{
    if (memcmp(entry->key, key->bytes, KEY_BYTES) != 0 || entry->text != (key->text.at != NULL))
        return false;
    if (!entry->text)
        return true;
    return str_eq((struct str){entry->payload->bytes, entry->payload->id_len}, key->text);
}

// ── hash table ───────────────────────────────────────────────────────────────────────────────
// Linear hashing: with n buckets and m the largest power of two <= n, a hash goes to its low bits
// modulo 2m, or modulo m where that bucket does not exist yet.
static uint32_t bucket_of(const struct queue_ready *ready, uint64_t hash)
{
    uint32_t half = 1u << (31 - __builtin_clz(ready->bucket_count));
    uint32_t wide = (uint32_t)hash & (2 * half - 1);
    return wide < ready->bucket_count ? wide : (uint32_t)hash & (half - 1);
}

static void chain_in(struct queue_ready *ready, uint32_t index, uint64_t hash)
{
    uint32_t *bucket = bucket_at(ready, bucket_of(ready, hash));
    entry_at(ready, index)->chain = *bucket & 0x3fffffff;
    *bucket = index;
}

static void chain_out(struct queue_ready *ready, uint32_t index, uint64_t hash)
{
    uint32_t *bucket = bucket_at(ready, bucket_of(ready, hash));
    uint32_t after = entry_at(ready, index)->chain;
    if (*bucket == index) {
        *bucket = after;
        return;
    }
    struct entry *it = entry_at(ready, *bucket);
    while (it->chain != index)
        it = entry_at(ready, it->chain);
    it->chain = after & 0x3fffffff;
}

static uint32_t find(const struct queue_ready *ready, const struct key *key)
{
    uint32_t it = *bucket_at(ready, bucket_of(ready, key->hash));
    while (it != NOTHING && !matches(entry_at(ready, it), key))
        it = entry_at(ready, it)->chain;
    return it;
}

// Puts a bucket's entries where they belong now that bucket_count has changed.
static void rehash_bucket(struct queue_ready *ready, uint32_t bucket)
{
    uint32_t it = *bucket_at(ready, bucket);
    *bucket_at(ready, bucket) = NOTHING;
    while (it != NOTHING) {
        uint32_t after = entry_at(ready, it)->chain;
        chain_in(ready, it, hash_key(entry_at(ready, it)->key, ready->seed));
        it = after;
    }
}

static void grow_buckets(struct queue_ready *ready)
{
    uint32_t fresh = ready->bucket_count, offset, segment = segment_of(fresh, &offset);
    if (!ready->buckets[segment])
        ready->buckets[segment] = mem_alloc(sizeof(uint32_t) << (segment + FIRST_BITS));
    ready->buckets[segment][offset] = NOTHING;
    uint32_t half = 1u << (31 - __builtin_clz(fresh));
    ready->bucket_count++;
    rehash_bucket(ready, fresh - half);
}

// ── entries ──────────────────────────────────────────────────────────────────────────────────
static uint32_t entry_new(struct queue_ready *ready)
{
    uint32_t index = ready->unused;
    if (index != NOTHING) {
        ready->unused = entry_at(ready, index)->next;
        return index;
    }
    uint32_t offset, segment = segment_of(ready->used, &offset);
    if (!ready->entries[segment])
        ready->entries[segment] = mem_alloc(sizeof(struct entry) << (segment + FIRST_BITS));
    return ready->used++;
}

static void link_in(struct queue_ready *ready, uint32_t index, bool front)
{
    struct entry *entry = entry_at(ready, index);
    entry->prev = front ? NOTHING : ready->last;
    entry->next = front ? ready->first : NOTHING;
    if (entry->prev != NOTHING)
        entry_at(ready, entry->prev)->next = index;
    else
        ready->first = index;
    if (entry->next != NOTHING)
        entry_at(ready, entry->next)->prev = index;
    else
        ready->last = index;
}

static void link_out(struct queue_ready *ready, const struct entry *entry)
{
    if (entry->prev != NOTHING)
        entry_at(ready, entry->prev)->next = entry->next;
    else
        ready->first = entry->next;
    if (entry->next != NOTHING)
        entry_at(ready, entry->next)->prev = entry->prev;
    else
        ready->last = entry->prev;
}

static void take(struct queue_ready *ready, uint32_t index, struct queue_ready_item *out)
{
    struct entry *entry = entry_at(ready, index);
    link_out(ready, entry);
    chain_out(ready, index, hash_key(entry->key, ready->seed));
    *out = (struct queue_ready_item){.payload = entry->payload, .redelivered = entry->redelivered};
    if (!entry->text)
        unpack(entry->key, out->id);
    ready->body_bytes -= (int64_t)queue_payload_size(entry->payload);
    entry->payload = NULL;
    entry->next = ready->unused;
    ready->unused = index;
    if (--ready->count == 0 && ready->used > KEEP_LIMIT)
        queue_ready_clear(ready);
}

// ── the interface ────────────────────────────────────────────────────────────────────────────
static void start(struct queue_ready *ready)
{
    ready->entries[0] = mem_alloc(sizeof(struct entry) << FIRST_BITS);
    ready->buckets[0] = mem_alloc(sizeof(uint32_t) << FIRST_BITS);
    ready->used = NOTHING + 1;
    ready->unused = ready->first = ready->last = NOTHING;
    ready->bucket_count = 1;
    ready->count = 0;
    ready->body_bytes = 0;
    memset(ready->newest, 0, KEY_BYTES);
}

static void release(struct queue_ready *ready)
{
    for (uint32_t it = ready->first; it != NOTHING; it = entry_at(ready, it)->next)
        mem_free(entry_at(ready, it)->payload);
    for (size_t i = 0; i < SEGMENTS; i++) {
        mem_free(ready->entries[i]);
        mem_free(ready->buckets[i]);
        ready->entries[i] = NULL;
        ready->buckets[i] = NULL;
    }
}

struct queue_ready *queue_ready_new(void)
{
    struct queue_ready *ready = mem_alloc(sizeof(*ready));
    random_fill(&ready->seed, sizeof(ready->seed));
    start(ready);
    return ready;
}

void queue_ready_free(struct queue_ready *ready)
{
    if (!ready)
        return;
    release(ready);
    mem_free(ready);
}

void queue_ready_clear(struct queue_ready *ready)
{
    release(ready);
    start(ready);
}

struct queue_payload *queue_payload_new(struct str id, struct str body)
{
    uint8_t key[KEY_BYTES];
    size_t id_len = pack(id, key) ? 0 : id.len;
    if (id_len == 0 && !body.at)
        return NULL;
    struct queue_payload *payload = mem_alloc(sizeof(*payload) + id_len + body.len);
    payload->id_len = (uint32_t)id_len;
    payload->body_len = (uint32_t)body.len;
    payload->has_body = body.at != NULL;
    if (id_len > 0)
        memcpy(payload->bytes, id.at, id_len);
    if (body.at && body.len > 0)
        memcpy(payload->bytes + id_len, body.at, body.len);
    return payload;
}

size_t queue_payload_size(const struct queue_payload *payload)
{
    return payload && payload->has_body ? sizeof(*payload) + payload->body_len : 0;
}

bool queue_ready_add(struct queue_ready *ready, struct str id, struct queue_payload *payload,
                     bool front, bool redelivered)
{
    struct key key = key_of(ready, id);
    // Ids grow with time, so most are later than all before, and need no look for their like.
    if (!key.text.at && memcmp(key.bytes, ready->newest, KEY_BYTES) > 0)
        memcpy(ready->newest, key.bytes, KEY_BYTES);
    else if (find(ready, &key) != NOTHING)
        return false;
    uint32_t index = entry_new(ready);
    struct entry *entry = entry_at(ready, index);
    memcpy(entry->key, key.bytes, KEY_BYTES);
    entry->text = key.text.at != NULL;
    entry->redelivered = redelivered;
    entry->payload = payload;
    link_in(ready, index, front);
    if (++ready->count > ready->bucket_count)
        grow_buckets(ready);
    chain_in(ready, index, key.hash);
    ready->body_bytes += (int64_t)queue_payload_size(payload);
    return true;
}

void queue_ready_reserve(struct queue_ready *ready, size_t count)
{
    if (ready->count > 0 || count <= ready->bucket_count || count > QUEUE_READY_MAX)
        return;
    uint32_t offset, last = segment_of((uint32_t)count - 1, &offset);
    for (uint32_t i = 0; i <= last; i++)
        if (!ready->buckets[i])
            ready->buckets[i] = mem_alloc(sizeof(uint32_t) << (i + FIRST_BITS));
    ready->bucket_count = (uint32_t)count;
}

bool queue_ready_has(const struct queue_ready *ready, struct str id)
{
    struct key key = key_of(ready, id);
    return find(ready, &key) != NOTHING;
}

bool queue_ready_pop(struct queue_ready *ready, struct queue_ready_item *out)
{
    if (ready->first == NOTHING)
        return false;
    take(ready, ready->first, out);
    return true;
}

bool queue_ready_remove(struct queue_ready *ready, struct str id, struct queue_ready_item *out)
{
    struct key key = key_of(ready, id);
    uint32_t index = find(ready, &key);
    if (index == NOTHING)
        return false;
    take(ready, index, out);
    return true;
}

size_t queue_ready_count(const struct queue_ready *ready) { return ready->count; }

int64_t queue_ready_body_bytes(const struct queue_ready *ready) { return ready->body_bytes; }

size_t queue_ready_memory(const struct queue_ready *ready)
{
    size_t bytes = sizeof(*ready);
    for (size_t i = 0; i < SEGMENTS; i++) {
        bytes += ready->entries[i] ? sizeof(struct entry) << (i + FIRST_BITS) : 0;
        bytes += ready->buckets[i] ? sizeof(uint32_t) << (i + FIRST_BITS) : 0;
    }
    return bytes;
}
