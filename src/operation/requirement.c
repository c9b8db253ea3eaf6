// SPDX-License-Identifier: Apache-2.0
#include "operation/requirement.h"

#include <stdio.h>

#include "model/describe.h"

#define NAME_MAX_LEN    214
#define VERSION_MAX_LEN 256

struct requirement {
    struct str name, relation, version;  // relation and version absent: any version
};

static bool letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool name_char(char c) { return letter_or_digit(c) || c == '-' || c == '_' || c == '.'; }

static bool version_char(char c)
{
    return letter_or_digit(c) || c == '.' || c == '*' || c == '+' || c == '!' || c == '-' ||
           c == '_';
}

// PEP 508: letters, digits, '-', '_', '.', beginning and ending with a letter or digit.
static bool take_name(struct str *rest)
{
    size_t len = 0;
    while (len < rest->len && name_char(rest->at[len]))
        len++;
    if (len == 0 || len > NAME_MAX_LEN || !letter_or_digit(rest->at[0]) ||
        !letter_or_digit(rest->at[len - 1]))
        return false;
    *rest = (struct str){rest->at + len, rest->len - len};
    return true;
}

static void skip_blanks(struct str *rest)
{
    while (rest->len > 0 && rest->at[0] == ' ')
        *rest = (struct str){rest->at + 1, rest->len - 1};
}

static bool take_char(struct str *rest, char c)
{
    skip_blanks(rest);
    if (rest->len == 0 || rest->at[0] != c)
        return false;
    *rest = (struct str){rest->at + 1, rest->len - 1};
    return true;
}

static bool take_extras(struct str *rest)
{
    if (!take_char(rest, '['))
        return true;
    do {
        skip_blanks(rest);
        if (!take_name(rest))
            return false;
    } while (take_char(rest, ','));
    return take_char(rest, ']');
}

static bool relation_known(struct str word)
{
    static const char *const words[] = {"==", ">=", "<=", "~=", "!=", ">", "<"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (str_is(word, words[i]))
            return true;
    }
    return false;
}

static bool take_relation(struct str *rest)
{
    skip_blanks(rest);
    size_t len = 0;
    while (len < rest->len && len < 2 && strchr("=<>~!", rest->at[len]))
        len++;
    if (!relation_known((struct str){rest->at, len}))
        return false;
    *rest = (struct str){rest->at + len, rest->len - len};
    return true;
}

static bool take_version(struct str *rest)
{
    size_t len = 0;
    skip_blanks(rest);
    while (len < rest->len && version_char(rest->at[len]))
        len++;
    if (len == 0 || rest->at[0] == '-')
        return false;
    *rest = (struct str){rest->at + len, rest->len - len};
    return true;
}

// "1.0" or "1.0,<2,!=1.5".
static bool version_valid(struct str version)
{
    struct str rest = version;
    if (version.len > VERSION_MAX_LEN || !take_version(&rest))
        return false;
    while (take_char(&rest, ',')) {
        if (!take_relation(&rest) || !take_version(&rest))
            return false;
    }
    skip_blanks(&rest);
    return rest.len == 0;
}

// A name with extras; dtlpy leaves "~=1.2" and "!=1.2" in the name.
static bool name_valid(struct str name, bool with_version)
{
    struct str rest = name;
    if (name.len > NAME_MAX_LEN + VERSION_MAX_LEN || !take_name(&rest) || !take_extras(&rest))
        return false;
    skip_blanks(&rest);
    if (rest.len == 0)
        return true;
    return !with_version && take_relation(&rest) && version_valid(rest);
}

static struct str text_of(struct json entry, const char *key, struct arena *arena)
{
    struct json value;
    if (!json_get(entry, key, &value) || value.type != JSON_STRING)
        return STR_NONE;
    return str_trim(json_str(value, arena));
}

static int wrong(struct err *err, size_t n, const char *key, const char *rule, struct str value)
{
    char path[64];
    struct str shown = describe_clip(value, 80);
    snprintf(path, sizeof(path), "requirements[%zu].%s", n, key);
    return err_field(err, path, "%s must be %s, not \"" STR_FMT "\"", path, rule, STR_ARG(shown));
}

static int read_entry(struct json entry, size_t n, struct requirement *out, struct arena *arena,
                      struct err *err)
{
    char path[48], what[DESCRIBE_SIZE];
    snprintf(path, sizeof(path), "requirements[%zu]", n);
    if (entry.type != JSON_OBJECT)
        return err_field(err, path, "%s must be an object with a name, not %s", path,
                         describe_value(entry, what));
    out->name = text_of(entry, "name", arena);
    out->relation = text_of(entry, "operator", arena);
    out->version = text_of(entry, "version", arena);
    if (out->version.len == 0)
        out->version = out->relation = STR_NONE;
    else if (out->relation.len == 0)
        out->relation = STR("==");
    if (out->name.len > 0 && !name_valid(out->name, out->version.at != NULL))
        return wrong(err, n, "name", "the name of a Python package", out->name);
    if (out->relation.at && !relation_known(out->relation))
        return wrong(err, n, "operator", "one of == >= <= ~= != > <", out->relation);
    if (out->version.at && !version_valid(out->version))
        return wrong(err, n, "version", "a version such as 1.2.3", out->version);
    return 0;
}

static struct str encode(const struct requirement *list, size_t count, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(4 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_array(&out);
    for (size_t i = 0; i < count; i++) {
        json_w_object(&out);
        json_w_pair_str(&out, "name", list[i].name);
        if (list[i].version.at) {
            json_w_pair_str(&out, "version", list[i].version);
            json_w_pair_str(&out, "operator", list[i].relation);
        }
        json_w_object_end(&out);
    }
    json_w_array_end(&out);
    return arena_copy(arena, buf_str(&buf));
}

int requirements_check(struct json list, const struct limits *limits, struct arena *arena,
                       struct str *out, struct err *err)
{
    size_t given = json_count(list), count = 0, n = 0;
    int64_t most = limits_most(limits, LIMIT_REQUIREMENTS);
    struct json_iter it = json_each(list);
    struct str key;
    *out = STR_NONE;
    if (list.type != JSON_ARRAY || given == 0)
        return 0;
    if (given > (uint64_t)most)
        return err_field(err, "requirements", "requirements has %zu entries; %s allows %lld", given,
                         limits_option(LIMIT_REQUIREMENTS), (long long)most);
    struct requirement *clean = arena_array_of(arena, struct requirement, given);
    for (struct json entry; json_next(&it, &key, &entry); n++) {
        struct requirement one = {0};
        if (read_entry(entry, n, &one, arena, err))
            return -1;
        if (one.name.len > 0) {
            clean[count++] = one;
        } else if (one.version.at && count > 0 && clean[count - 1].version.at) {
            struct requirement *before = &clean[count - 1];
            before->version = arena_printf(arena, STR_FMT "," STR_FMT STR_FMT,
                                           STR_ARG(before->version), STR_ARG(one.relation),
                                           STR_ARG(one.version));
            if (!version_valid(before->version))  // what is kept must be taken when it comes back
                return wrong(err, n, "version", "shorter: with the rules before it it is too long",
                             before->version);
        } else if (one.version.at) {
            return wrong(err, n, "name", "the name of a Python package", STR(""));
        }
    }
    if (count > 0)
        *out = encode(clean, count, arena);
    return 0;
}
