// SPDX-License-Identifier: Apache-2.0
// Tokens: "r" and a token's text; or "s", a line of header and a line of claims, which are signed
// with the server's own key: so the claims themselves are looked at. Only what the key signed
// passes, not what has expired, and not for another use.
#include <sodium.h>

#include "fuzz.h"
#include "operation/token.h"

#define NOW_MS 1800000000000

static struct clock_fake now;
static struct tokens *tokens;
static const char key_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static void open_tokens(void)
{
    struct err err = ERR_INIT;
    char path[96];
    snprintf(path, sizeof(path), "%s/jwt-key", fuzz_folder());
    FILE *file = fopen(path, "w");
    if (!file || fputs(key_hex, file) < 0 || fclose(file) || chmod(path, 0600))
        abort();
    clock_fake_init(&now);
    now.wall_ms = NOW_MS;
    tokens = tokens_open(fuzz_folder(), &now.clock, &err);
    if (!tokens)
        abort();
}

static void add_base64(struct buf *out, const void *at, size_t len)
{
    char *room = buf_reserve(out, sodium_base64_encoded_len(len, 7));
    sodium_bin2base64(room, sodium_base64_encoded_len(len, 7), at, len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    out->len += strlen(room);
}

static struct buf sign(struct str header, struct str claims)
{
    unsigned char key[32], mac[crypto_auth_hmacsha256_BYTES];
    struct buf out = BUF_INIT(1 << 20);
    for (unsigned char i = 0; i < 32; i++)
        key[i] = i;
    add_base64(&out, header.at, header.len);
    buf_add_char(&out, '.');
    add_base64(&out, claims.at, claims.len);
    crypto_auth_hmacsha256(mac, (const unsigned char *)out.at, out.len, key);
    buf_add_char(&out, '.');
    add_base64(&out, mac, sizeof(mac));
    return out;
}

// Whether the text is header.payload.signature with the signature that our key gives.
static bool signed_by_us(struct str token)
{
    struct str rest = token, header = str_cut(&rest, '.'), payload = str_cut(&rest, '.');
    unsigned char key[32], mac[crypto_auth_hmacsha256_BYTES];
    _cleanup_buf_ struct buf expected = BUF_INIT(256);
    for (unsigned char i = 0; i < 32; i++)
        key[i] = i;
    crypto_auth_hmacsha256(mac, (const unsigned char *)token.at, header.len + 1 + payload.len, key);
    add_base64(&expected, mac, sizeof(mac));
    return rest.at && str_eq(rest, buf_str(&expected));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    _cleanup_arena_ struct arena *arena = arena_new();
    _cleanup_buf_ struct buf made = BUF_INIT(1 << 20);
    struct token_claims claims;
    struct err err = ERR_INIT;
    if (!tokens)
        open_tokens();
    if (input_byte(&in) == 's') {
        struct str header = input_line(&in);
        made = sign(header, input_line(&in));
    } else {
        buf_add(&made, in.at, in.len);
    }
    struct str token = buf_str(&made);
    if (token_verify(tokens, token, &claims, arena, &err) < 0) {
        HOLDS(err.kind == ERR_UNAUTHENTICATED, "%s", err.message);
        fuzz_error(&err);
        return 0;
    }
    HOLDS(signed_by_us(token), "a token that nobody signed passes: " STR_FMT, STR_ARG(token));
    HOLDS(claims.expires_at + 60000 >= NOW_MS, "an expired token passes");
    HOLDS(claims.kind <= TOKEN_AGENT, "kind %d", (int)claims.kind);
    return 0;
}
