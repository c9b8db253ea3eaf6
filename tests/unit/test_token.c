// SPDX-License-Identifier: Apache-2.0
#include "operation/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jwt.h>
#include <sodium.h>

#include "base/mem.h"

struct fixture {
    char folder[64];
    struct clock_fake clock;
    struct tokens *tokens;
    struct arena *arena;
};

static int setup(void **state)
{
    struct fixture *f = mem_alloc(sizeof(*f));
    struct err err = ERR_INIT;
    snprintf(f->folder, sizeof(f->folder), "/tmp/drover-token-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    clock_fake_init(&f->clock);
    f->clock.wall_ms = 1800000000000;
    f->arena = arena_new();
    f->tokens = tokens_open(f->folder, &f->clock.clock, &err);
    assert_non_null(f->tokens);
    *state = f;
    return 0;
}

static const char *key_path(struct fixture *f)
{
    return arena_printf(f->arena, "%s/jwt-key", f->folder).at;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    tokens_close(f->tokens);
    unlink(key_path(f));
    rmdir(f->folder);
    arena_free(f->arena);
    mem_free(f);
    return 0;
}

static struct str make(struct fixture *f, enum token_kind kind, int64_t lives_ms)
{
    struct token_claims claims = {.kind = kind,
                                  .user_id = STR("a@b.c"),
                                  .id = STR("jti1"),
                                  .project_id = STR("p1"),
                                  .service_id = STR("s1"),
                                  .epoch = 7,
                                  .expires_at = f->clock.wall_ms + lives_ms};
    return token_make(f->tokens, &claims, f->arena);
}

static void assert_refused(struct fixture *f, struct str token, const char *words)
{
    struct token_claims claims;
    struct err err = ERR_INIT;
    assert_int_equal(token_verify(f->tokens, token, &claims, f->arena, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHENTICATED);
    if (!strstr(err.message, words))
        fail_msg("'%s' is not in '%s'", words, err.message);
}

static void gives_back_what_was_put_in(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims;
    struct err err = ERR_INIT;
    assert_int_equal(
        token_verify(f->tokens, make(f, TOKEN_SERVICE, 3600000), &claims, f->arena, &err), 0);
    assert_int_equal(claims.kind, TOKEN_SERVICE);
    assert_true(str_is(claims.user_id, "a@b.c"));
    assert_true(str_is(claims.id, "jti1"));
    assert_true(str_is(claims.project_id, "p1"));
    assert_true(str_is(claims.service_id, "s1"));
    assert_null(claims.replica_id.at);
    assert_int_equal(claims.epoch, 7);
    assert_int_equal(claims.expires_at, f->clock.wall_ms + 3600000);
}

static void expires_with_a_minute_of_skew(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims;
    struct err err = ERR_INIT;
    struct str token = make(f, TOKEN_LOGIN, 10000);
    f->clock.wall_ms += 10000 + 60000;
    assert_int_equal(token_verify(f->tokens, token, &claims, f->arena, &err), 0);
    f->clock.wall_ms += 1;
    assert_refused(f, token, "expired");
    // The clock was set back: the token is as good as it says.
    f->clock.wall_ms -= 24 * 3600000;
    assert_int_equal(token_verify(f->tokens, token, &claims, f->arena, &err), 0);
}

static void refuses_a_changed_token(void **state)
{
    struct fixture *f = *state;
    struct str token = make(f, TOKEN_LOGIN, 10000);
    char *at = (char *)token.at;
    size_t dot = (size_t)(strchr(at, '.') - at);
    at[dot + 10] = at[dot + 10] == 'A' ? 'B' : 'A';
    assert_refused(f, token, "signature");
    assert_refused(f, STR("a.b"), "three parts");
    assert_refused(f, STR("a.b.c.d"), "three parts");
    assert_refused(f, STR(""), "characters");
    assert_refused(f, STR("!!.b.c"), "header");
}

static struct str signed_by(struct fixture *f, jwt_alg_t alg, const unsigned char *key, int len,
                            const char *audience)
{
    jwt_t *jwt = NULL;
    assert_int_equal(jwt_new(&jwt), 0);
    if (alg != JWT_ALG_NONE)
        assert_int_equal(jwt_set_alg(jwt, alg, key, len), 0);
    jwt_add_grant(jwt, "iss", "drover");
    jwt_add_grant(jwt, "aud", audience);
    jwt_add_grant(jwt, "kind", "login");
    jwt_add_grant(jwt, "sub", "a@b.c");
    jwt_add_grant_int(jwt, "exp", (long)(f->clock.wall_ms / 1000 + 3600));
    char *text = jwt_encode_str(jwt);
    struct str out = arena_copy(f->arena, str_of(text));
    free(text);
    jwt_free(jwt);
    return out;
}

static void read_key(struct fixture *f, unsigned char key[32])
{
    char hex[65] = {0};
    FILE *file = fopen(key_path(f), "r");
    assert_non_null(file);
    assert_int_equal(fread(hex, 1, 64, file), 64);
    fclose(file);
    assert_int_equal(sodium_hex2bin(key, 32, hex, 64, NULL, NULL, NULL), 0);
}

static void takes_no_other_algorithm_or_audience(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims;
    struct err err = ERR_INIT;
    unsigned char key[32], other[32] = {1};
    read_key(f, key);
    struct str good = signed_by(f, JWT_ALG_HS256, key, 32, "drover");
    assert_int_equal(token_verify(f->tokens, good, &claims, f->arena, &err), 0);
    assert_refused(f, signed_by(f, JWT_ALG_HS512, key, 32, "drover"), "HS256");
    assert_refused(f, signed_by(f, JWT_ALG_HS384, key, 32, "drover"), "HS256");
    // Unsigned: libjwt leaves the third part empty.
    assert_refused(f, signed_by(f, JWT_ALG_NONE, NULL, 0, "drover"), "three parts");
    assert_refused(f, signed_by(f, JWT_ALG_HS256, other, 32, "drover"), "signature");
    assert_refused(f, signed_by(f, JWT_ALG_HS256, key, 32, "drover-refresh"), "another use");
}

static void keeps_its_key_over_a_restart(void **state)
{
    struct fixture *f = *state;
    struct token_claims claims;
    struct err err = ERR_INIT;
    struct stat info;
    struct str token = make(f, TOKEN_API_KEY, 3600000);
    assert_int_equal(stat(key_path(f), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    tokens_close(f->tokens);
    f->tokens = tokens_open(f->folder, &f->clock.clock, &err);
    assert_non_null(f->tokens);
    assert_int_equal(token_verify(f->tokens, token, &claims, f->arena, &err), 0);
}

static void refuses_a_key_that_others_may_read(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    assert_int_equal(chmod(key_path(f), 0644), 0);
    assert_null(tokens_open(f->folder, &f->clock.clock, &err));
    assert_non_null(strstr(err.message, "chmod 600"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_back_what_was_put_in, setup, teardown),
        cmocka_unit_test_setup_teardown(expires_with_a_minute_of_skew, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_changed_token, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_no_other_algorithm_or_audience, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_its_key_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_a_key_that_others_may_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
