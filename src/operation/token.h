// SPDX-License-Identifier: Apache-2.0
// operation/token: JWTs (RFC 7519), made and verified by us: HS256 only, the key in DIR/jwt-key
// (0600), exp and aud checked with 60 s of clock skew. dtlpy refuses anything that is not a JWT
// with a numeric exp, so API keys are JWTs too.
#ifndef DROVER_OPERATION_TOKEN_H
#define DROVER_OPERATION_TOKEN_H

#include "operation/op.h"

struct tokens;

struct tokens *tokens_open(const char *data_folder, const struct clock *clock,
                           struct err *err);  // makes the key at first start
void tokens_close(struct tokens *tokens);

enum token_kind { TOKEN_LOGIN, TOKEN_REFRESH, TOKEN_API_KEY, TOKEN_SERVICE, TOKEN_AGENT };

struct token_claims {
    enum token_kind kind;  // the audience: "drover", "drover-refresh", "drover-agent"; api keys and
                           // services share "drover"
    struct str user_id;    // sub and email
    struct str id;         // jti
    struct str service_id, project_id, replica_id;
    int64_t epoch, expires_at;  // ms
};

struct str token_make(struct tokens *tokens, const struct token_claims *claims,
                      struct arena *arena);  // from any thread
// ERR_UNAUTHENTICATED with a sentence for each way to fail. From any thread.
MUST_CHECK int token_verify(struct tokens *tokens, struct str token, struct token_claims *out,
                            struct arena *arena, struct err *err);

#endif
