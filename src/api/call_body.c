// SPDX-License-Identifier: Apache-2.0
#include "api/api_internal.h"

static bool form_decode(struct str raw, struct str *out, struct arena *arena)
{
    if (!http_decode(raw, true, arena, out) || !str_utf8_valid(*out))
        return false;
    return out->len == 0 || !memchr(out->at, 0, out->len);
}

// name=value&… as a JSON object of strings, so that handlers know one form only.
int call_read_form(struct call *call, struct str bytes, struct err *err)
{
    struct arena *arena = call->op.arena;
    _cleanup_buf_ struct buf buf = BUF_INIT(bytes.len * 6 + 1024);
    struct json_writer out = JSON_WRITER(&buf);
    int64_t fields = 0, max = call->op.platform->settings->bulk_max;
    json_w_object(&out);
    for (struct str rest = bytes; rest.at && rest.len;) {
        struct str value = str_cut(&rest, '&'), name = str_cut(&value, '=');
        struct str key, text = STR("");
        if (name.len == 0)
            continue;
        if (!form_decode(name, &key, arena) || (value.at && !form_decode(value, &text, arena)))
            return err_set(err, ERR_BAD_INPUT, "The form is not percent-encoded UTF-8");
        if (++fields > max)
            return err_set(err, ERR_BAD_INPUT, "The form has more than %lld fields (--max-bulk)",
                           (long long)max);
        json_w_key_str(&out, key);
        json_w_str(&out, text);
    }
    json_w_object_end(&out);
    call->body = json_of(arena_copy(arena, buf_str(&buf)));
    return 0;
}

static int want_object(struct call *call, enum body_kind kind, struct err *err)
{
    if (call->body.type == JSON_OBJECT)
        return 0;
    if (kind == BODY_JSON_ANY && call->body.type == JSON_ARRAY)
        return 0;
    return err_set(err, ERR_BAD_INPUT, "The body must be a JSON object%s, not %s",
                   kind == BODY_JSON_ANY ? " or array" : "", json_type_name(call->body.type));
}

int call_read_body(struct call *call, struct str content_type, struct str bytes, struct err *err)
{
    enum body_kind kind = call->route->body;
    const struct settings *settings = call->op.platform->settings;
    if (kind == BODY_NONE || kind == BODY_STREAM)
        return 0;
    struct str type = str_cut(&content_type, ';');
    // curl -d says "form" of whatever it sends: an object is taken for what it is.
    bool form = str_case_eq(str_trim(type), STR("application/x-www-form-urlencoded"));
    if (kind == BODY_FORM_OR_JSON && form && !str_starts(str_trim(bytes), STR("{")))
        return call_read_form(call, bytes, err);
    if (str_trim(bytes).len == 0) {
        if (kind == BODY_JSON_OPTIONAL)
            return 0;
        return err_set(err, ERR_BAD_INPUT, "A JSON body is needed here, but none came");
    }
    struct str text = arena_copy(call->op.arena, bytes);
    if (json_parse(text, (int)settings->json_depth, &call->body, err)) {
        call->body = (struct json){0};
        return err_wrap(err, "The body is not JSON");
    }
    if (kind == BODY_JSON_OPTIONAL && call->body.type == JSON_NULL) {
        call->body = (struct json){0};
        return 0;
    }
    return want_object(call, kind, err);
}
