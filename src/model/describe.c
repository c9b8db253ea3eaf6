// SPDX-License-Identifier: Apache-2.0
#include "model/describe.h"

#include <stdio.h>

#define SHOWN_MAX 48  // bytes of the value that a message repeats

struct str describe_clip(struct str text, size_t max)
{
    if (text.len <= max)
        return text;
    size_t len = max;
    while (len > 0 && ((unsigned char)text.at[len] & 0xC0) == 0x80)
        len--;
    return (struct str){text.at, len};
}

const char *describe_value(struct json value, char out[DESCRIBE_SIZE])
{
    struct str text = describe_clip(value.text, SHOWN_MAX);
    const char *more = text.len < value.text.len ? "…" : "";
    switch (value.type) {
    case JSON_STRING:
        snprintf(out, DESCRIBE_SIZE, "the string " STR_FMT "%s", STR_ARG(text), more);
        break;
    case JSON_NUMBER:
        snprintf(out, DESCRIBE_SIZE, "the number " STR_FMT "%s", STR_ARG(text), more);
        break;
    case JSON_ABSENT: snprintf(out, DESCRIBE_SIZE, "nothing"); break;
    default: snprintf(out, DESCRIBE_SIZE, "%s", json_type_name(value.type)); break;
    }
    return out;
}
