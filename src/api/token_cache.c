// SPDX-License-Identifier: Apache-2.0
#include "api/token_cache.h"

#include <sodium.h>

#include "base/id.h"
#include "base/mem.h"

#define SLOTS     512   // direct-mapped; a power of two
#define TOKEN_MAX 2048  // longer ones are verified each time

struct slot {
    char *bytes;  // the token, then the claims' texts
    struct str token;
    struct token_claims claims;
};

struct token_cache {
    struct tokens *tokens;
    const struct clock *clock;
    unsigned char key[crypto_shorthash_KEYBYTES];
    struct slot slots[SLOTS];
};

struct token_cache *token_cache_new(struct tokens *tokens, const struct clock *clock)
{
    struct token_cache *cache = mem_alloc(sizeof(*cache));
    cache->tokens = tokens;
    cache->clock = clock;
    random_fill(cache->key, sizeof(cache->key));
    return cache;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        mem_free(cache->slots[i].bytes);
    mem_free(cache);
}

static struct slot *slot_of(struct token_cache *cache, struct str token)
{
    uint64_t hash;
    unsigned char out[crypto_shorthash_BYTES];
    crypto_shorthash(out, (const unsigned char *)token.at, token.len, cache->key);
    memcpy(&hash, out, sizeof(hash));
    return &cache->slots[hash & (SLOTS - 1)];
}

static struct str put(char **at, struct str text)
{
    if (!text.at)
        return STR_NONE;
    struct str copy = {*at, text.len};
    if (text.len)
        memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static void keep(struct slot *slot, struct str token, const struct token_claims *claims)
{
    const struct str *texts[] = {&claims->user_id, &claims->id, &claims->service_id,
                                 &claims->project_id, &claims->replica_id};
    size_t size = token.len + 1;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        size += texts[i]->len;
    mem_free(slot->bytes);
    char *at = slot->bytes = mem_alloc(size);
    slot->token = put(&at, token);
    slot->claims = *claims;
    slot->claims.user_id = put(&at, claims->user_id);
    slot->claims.id = put(&at, claims->id);
    slot->claims.service_id = put(&at, claims->service_id);
    slot->claims.project_id = put(&at, claims->project_id);
    slot->claims.replica_id = put(&at, claims->replica_id);
}

static void copy_out(const struct token_claims *claims, struct token_claims *out,
                     struct arena *arena)
{
    *out = *claims;
    out->user_id = arena_copy(arena, claims->user_id);
    out->id = arena_copy(arena, claims->id);
    out->service_id = arena_copy(arena, claims->service_id);
    out->project_id = arena_copy(arena, claims->project_id);
    out->replica_id = arena_copy(arena, claims->replica_id);
}

int token_cache_verify(struct token_cache *cache, struct str token, struct token_claims *out,
                       struct arena *arena, struct err *err)
{
    if (token.len > TOKEN_MAX)
        return token_verify(cache->tokens, token, out, arena, err);
    struct slot *slot = slot_of(cache, token);
    bool fresh = slot->bytes && slot->claims.expires_at > clock_wall(cache->clock);
    if (fresh && slot->token.len == token.len &&
        sodium_memcmp(slot->token.at, token.at, token.len) == 0) {
        copy_out(&slot->claims, out, arena);
        return 0;
    }
    if (token_verify(cache->tokens, token, out, arena, err))
        return -1;
    keep(slot, token, out);
    return 0;
}
