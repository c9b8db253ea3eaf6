// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/mem.h"

// By how much the random part grows at most while the time does not: there is room for some 16
// million ids before the next millisecond has to be begun.
#define STEP_BITS 24

#define RANDOM_AHEAD 64  // ids whose randomness is fetched at once

void random_fill(void *at, size_t len)
{
    char *to = at;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();  // a kernel without getrandom: no identifier or secret would be safe
        to += n;
        len -= (size_t)n;
    }
}

static void put_hex(char *out, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static void put_48(unsigned char *out, uint64_t value)
{
    for (int i = 0; i < 6; i++)
        out[i] = (unsigned char)(value >> (40 - 8 * i));
}

static struct str id_of(uint64_t time, uint64_t low, struct arena *arena)
{
    unsigned char bytes[ID_LEN / 2];
    put_48(bytes, time);
    put_48(bytes + 6, low);
    char *out = arena_alloc(arena, ID_LEN + 1);
    put_hex(out, bytes, sizeof(bytes));
    return (struct str){out, ID_LEN};
}

static uint64_t random_bits(int count)
{
    uint64_t bits;
    random_fill(&bits, sizeof(bits));
    return bits >> (64 - count);
}

struct str id_new(int64_t now_ms, struct arena *arena)
{
    return id_of(now_ms < 0 ? 0 : (uint64_t)now_ms, random_bits(48), arena);
}

struct id_source {
    pthread_mutex_t lock;
    uint64_t time, low;  // of the newest id; guarded by lock, as what follows
    uint64_t random[RANDOM_AHEAD];
    size_t random_left;
};

struct id_source *id_source_new(void)
{
    struct id_source *source = mem_alloc(sizeof(*source));
    pthread_mutex_init(&source->lock, NULL);
    return source;
}

void id_source_free(struct id_source *source)
{
    if (!source)
        return;
    pthread_mutex_destroy(&source->lock);
    mem_free(source);
}

struct str id_next(struct id_source *source, int64_t now_ms, struct arena *arena)
{
    uint64_t now = now_ms < 0 ? 0 : (uint64_t)now_ms;
    pthread_mutex_lock(&source->lock);
    if (source->random_left == 0) {
        random_fill(source->random, sizeof(source->random));
        source->random_left = RANDOM_AHEAD;
    }
    uint64_t low = source->random[--source->random_left] >> 16;
    if (now > source->time) {
        source->time = now;
        source->low = low >> 1;  // leaves room to step
    } else {
        source->low += 1 + (low & (((uint64_t)1 << STEP_BITS) - 1));
        if (source->low >> 48) {  // all of this millisecond are used up
            source->time++;
            source->low = low >> 1;
        }
    }
    uint64_t time = source->time;
    low = source->low;
    pthread_mutex_unlock(&source->lock);
    return id_of(time, low, arena);
}

static bool take_hex(const char *at, size_t count, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < count; i++) {
        char c = at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

void id_source_seen(struct id_source *source, struct str id)
{
    uint64_t time, low;
    if (id.len != ID_LEN || !take_hex(id.at, 12, &time) || !take_hex(id.at + 12, 12, &low))
        return;
    pthread_mutex_lock(&source->lock);
    if (time > source->time || (time == source->time && low > source->low)) {
        source->time = time;
        source->low = low;
    }
    pthread_mutex_unlock(&source->lock);
}

struct str uuid_new(struct arena *arena)
{
    unsigned char bytes[16];
    random_fill(bytes, sizeof(bytes));
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);  // version 4
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);  // RFC 4122 variant
    char hex[32];
    put_hex(hex, bytes, sizeof(bytes));
    char *out = arena_alloc(arena, UUID_LEN + 1);
    size_t from = 0, to = 0;
    static const size_t groups[] = {8, 4, 4, 4, 12};
    for (size_t i = 0; i < 5; i++) {
        if (i > 0)
            out[to++] = '-';
        memcpy(out + to, hex + from, groups[i]);
        from += groups[i];
        to += groups[i];
    }
    return (struct str){out, UUID_LEN};
}

struct str secret_new(size_t bytes, struct arena *arena)
{
    unsigned char *raw = arena_alloc(arena, bytes);
    random_fill(raw, bytes);
    char *out = arena_alloc(arena, 2 * bytes + 1);
    put_hex(out, raw, bytes);
    explicit_bzero(raw, bytes);
    return (struct str){out, 2 * bytes};
}

bool id_valid(struct str id)
{
    if (id.len != ID_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

int64_t id_time(struct str id)
{
    int64_t time = 0;
    if (!id_valid(id))
        return -1;
    for (size_t i = 0; i < 12; i++) {
        char c = id.at[i];
        time = time << 4 | (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return time;
}
