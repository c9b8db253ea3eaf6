// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

#include <stdio.h>

void fields_link(struct json_writer *out, const char *key, const char *collection, struct str id,
                 const char *suffix)
{
    char text[640];  // an id has at most 512 bytes
    int len = snprintf(text, sizeof(text), "/api/v1/%s/" STR_FMT "%s", collection, STR_ARG(id),
                       suffix);
    size_t fits = len < 0 ? 0 : (size_t)len;
    if (fits >= sizeof(text))
        fits = sizeof(text) - 1;
    json_w_pair_str(out, key, (struct str){text, fits});
}

void fields_reference(struct json_writer *out, const char *key, struct str id, struct str name)
{
    json_w_key(out, key);
    json_w_object(out);
    json_w_pair_str(out, "id", id);
    json_w_pair_str(out, "name", name);
    json_w_object_end(out);
}

void fields_raw_text(struct json_writer *out, struct str raw_key)
{
    if (out->comma)
        buf_add_char(out->buf, ',');
    buf_add_char(out->buf, '"');
    buf_add_str(out->buf, raw_key);
    buf_add_char(out->buf, '"');
    out->comma = true;
}

void fields_raw_key(struct json_writer *out, struct str raw_key)
{
    fields_raw_text(out, raw_key);
    buf_add_char(out->buf, ':');
    out->comma = false;
}
