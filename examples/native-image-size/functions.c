// SPDX-License-Identifier: Apache-2.0
// Functions in C: the size of an image from its first bytes, and work that shows progress.
#include <drover/function.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct image {
    const char *format;
    unsigned width, height;
};

struct bytes {
    unsigned char *at;
    size_t len;
};

static unsigned big(const unsigned char *at, int size)
{
    unsigned value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static unsigned little16(const unsigned char *at) { return at[0] | (unsigned)at[1] << 8; }

// Base64 without regard to what is no letter of it.
static struct bytes decode(struct drover_span text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct bytes out = {malloc(text.len + 1), 0};
    unsigned bits = 0;
    int count = 0;
    for (size_t i = 0; out.at && i < text.len; i++) {
        const char *letter = text.at[i] ? strchr(letters, text.at[i]) : NULL;
        if (!letter)
            continue;
        bits = bits << 6 | (unsigned)(letter - letters);
        count += 6;
        if (count >= 8)
            out.at[out.len++] = (unsigned char)(bits >> (count -= 8));
    }
    return out;
}

// A JPEG is a row of segments; the one that begins a frame (SOF) has the size.
static bool read_jpeg(struct bytes in, struct image *out)
{
    for (size_t at = 2; at + 9 < in.len && in.at[at] == 0xFF;) {
        unsigned kind = in.at[at + 1];
        bool frame = kind >= 0xC0 && kind <= 0xCF && kind != 0xC4 && kind != 0xC8 && kind != 0xCC;
        if (frame) {
            *out = (struct image){"jpeg", big(in.at + at + 7, 2), big(in.at + at + 5, 2)};
            return true;
        }
        at += 2 + big(in.at + at + 2, 2);
    }
    return false;
}

static bool read_image(struct bytes in, struct image *out)
{
    if (in.len >= 24 && memcmp(in.at, "\x89PNG\r\n\x1a\n", 8) == 0) {
        *out = (struct image){"png", big(in.at + 16, 4), big(in.at + 20, 4)};
        return true;
    }
    if (in.len >= 10 && memcmp(in.at, "GIF8", 4) == 0) {
        *out = (struct image){"gif", little16(in.at + 6), little16(in.at + 8)};
        return true;
    }
    return in.len >= 4 && in.at[0] == 0xFF && in.at[1] == 0xD8 && read_jpeg(in, out);
}

// data: base64 of a PNG, GIF or JPEG, or of its beginning.
static int image_size(struct drover_call *call)
{
    struct drover_span data;
    struct image image;
    char text[128];
    if (!drover_get_string(call, "data", &data))
        return drover_fail(call, "image_size needs \"data\", an image in base64");
    struct bytes bytes = decode(data);
    bool known = bytes.at && read_image(bytes, &image);
    free(bytes.at);
    if (!known)
        return drover_fail(call, "that is no PNG, GIF or JPEG");
    drover_log(call, DROVER_INFO, "a %s of %u x %u", image.format, image.width, image.height);
    int len = snprintf(text, sizeof(text), "{\"format\":\"%s\",\"width\":%u,\"height\":%u}",
                       image.format, image.width, image.height);
    return drover_return_json(call, text, (size_t)len);
}

static bool is_prime(int64_t n)
{
    for (int64_t d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return n > 1;
}

// Counts the primes below `to`: long enough to be watched, and to be ended by `drover terminate`.
static int primes(struct drover_call *call)
{
    int64_t to, count = 0;
    char text[32];
    if (!drover_get_int(call, "to", &to))
        return drover_fail(call, "primes needs a whole number \"to\"");
    for (int64_t n = 2; n < to; n++) {
        if (n % 100000 == 0) {
            drover_progress(call, 100.0 * (double)n / (double)to, NULL);
            if (drover_cancelled(call))
                return DROVER_CANCELLED;
        }
        count += is_prime(n);
    }
    int len = snprintf(text, sizeof(text), "%lld", (long long)count);
    return drover_return_json(call, text, (size_t)len);
}

static const struct drover_function functions[] = {
    {"image_size", image_size}, {"primes", primes}, {NULL, NULL}};

const struct drover_module drover_module = {.abi = DROVER_ABI, .functions = functions};
