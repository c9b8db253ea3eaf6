// SPDX-License-Identifier: Apache-2.0
// api/token_cache: the newest verified tokens, so that a busy client's signature is not computed
// for each of its requests. Loop thread.
#ifndef DROVER_API_TOKEN_CACHE_H
#define DROVER_API_TOKEN_CACHE_H

#include "operation/token.h"

struct token_cache;

struct token_cache *token_cache_new(struct tokens *tokens, const struct clock *clock);
void token_cache_free(struct token_cache *cache);

// As token_verify; texts of the claims live in the arena.
MUST_CHECK int token_cache_verify(struct token_cache *cache, struct str token,
                                  struct token_claims *out, struct arena *arena, struct err *err);

#endif
