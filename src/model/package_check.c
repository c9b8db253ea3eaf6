// SPDX-License-Identifier: Apache-2.0
// Names, versions and codebases of packages.
#include <stdio.h>

#include "model/describe.h"
#include "model/module.h"

#define NAME_LEN_MAX 63
#define URL_MAX      2048
#define TAG_MAX      256
#define SECRET_MAX   8192

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ' ';
}

int name_check(struct str name, const char *field, struct err *err)
{
    if (name.len == 0)
        return err_field(err, field, "%s must not be empty", field);
    if (name.len > NAME_LEN_MAX)
        return err_field(err, field, "%s has %zu bytes; at most %d are allowed", field, name.len,
                         NAME_LEN_MAX);
    for (size_t i = 0; i < name.len; i++) {
        if (name_char(name.at[i]))
            continue;
        unsigned char c = (unsigned char)name.at[i];
        char shown[16];
        if (c > ' ' && c < 0x7F)
            snprintf(shown, sizeof(shown), "'%c'", c);
        else
            snprintf(shown, sizeof(shown), "byte 0x%02X", c);
        return err_field(err, field,
                         "%s holds %s at position %zu; allowed are letters a-z and A-Z, digits, "
                         "'_', '-', '.' and blanks",
                         field, shown, i + 1);
    }
    if (name.at[0] == ' ' || name.at[name.len - 1] == ' ')
        return err_field(err, field, "%s must not begin or end with a blank", field);
    return 0;
}

// ── versions ─────────────────────────────────────────────────────────────────────────────────

static bool part_number(struct str part, int64_t *out)
{
    return part.len && part.at[0] >= '0' && part.at[0] <= '9' && str_int(part, out);
}

int version_next(struct str version, struct arena *arena, struct str *out, struct err *err)
{
    struct str rest = version, shown = describe_clip(version, 64);
    int64_t n[3];
    size_t parts = 0;
    bool ok = version.len > 0 && version.at[version.len - 1] != '.';
    while (ok && rest.len) {
        struct str part = str_cut(&rest, '.');
        ok = parts < 3 && part_number(part, &n[parts]);
        parts++;
    }
    if (!ok || parts != 3 || n[2] == INT64_MAX)
        return err_field(err, "version",
                         "version must be three numbers such as 1.0.0, not \"" STR_FMT "\"",
                         STR_ARG(shown));
    *out = arena_printf(arena, "%lld.%lld.%lld", (long long)n[0], (long long)n[1],
                        (long long)n[2] + 1);
    return 0;
}

int version_cmp(struct str a, struct str b)
{
    while (a.len || b.len) {
        struct str part_a = str_cut(&a, '.'), part_b = str_cut(&b, '.');
        int64_t n = 0, m = 0;
        bool numbers = (part_a.len == 0 || part_number(part_a, &n)) &&
                       (part_b.len == 0 || part_number(part_b, &m));
        if (!numbers) {
            int order = str_cmp(part_a, part_b);
            if (order)
                return order < 0 ? -1 : 1;
        } else if (n != m) {
            return n < m ? -1 : 1;
        }
    }
    return 0;
}

// ── codebases ────────────────────────────────────────────────────────────────────────────────

static int check_item(struct json json, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json id = {0};
    json_get(json, "itemId", &id);
    if (id.type == JSON_STRING && id.text.len > 2 && id.text.len <= 66)
        return 0;
    return err_field(err, "codebase.itemId",
                     "codebase.itemId must be the id of an uploaded item, not %s",
                     describe_value(id, what));
}

static struct str text_of(struct json value, struct arena *arena)
{
    return json_is(value, JSON_STRING) ? json_str(value, arena) : STR_NONE;
}

// What git gets as an argument: no blanks or control characters, and no option.
static bool git_word(struct str word, size_t max)
{
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.at[i];
        if (c <= ' ' || c >= 0x7F || c == '\\')
            return false;
    }
    return word.len > 0 && word.len <= max && word.at[0] != '-';
}

// The rules of git check-ref-format: no tag or branch can have another name, and git would take
// some of them for patterns or expressions.
static bool git_ref(struct str name)
{
    static const char refused[] = " ~^:?*[\\\x7F";
    size_t at;
    if (name.len == 0 || name.len > TAG_MAX || name.at[0] == '-' || str_is(name, "@") ||
        str_ends(name, STR(".")) || str_find(name, STR(".."), &at) ||
        str_find(name, STR("@{"), &at))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.at[i] < ' ' || strchr(refused, name.at[i]))
            return false;
    while (name.at) {
        struct str part = str_cut(&name, '/');
        if (part.len == 0 || part.at[0] == '.' || str_ends(part, STR(".lock")))
            return false;
    }
    return true;
}

bool git_url_fits(struct str url)
{
    static const char *const schemes[] = {"https://", "http://", "ssh://"};
    if (!git_word(url, URL_MAX))
        return false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        struct str scheme = str_of(schemes[i]);
        if (str_starts(url, scheme))
            return url.len > scheme.len && url.at[scheme.len] != '-' && url.at[scheme.len] != '/';
    }
    return false;
}

// No message repeats a value: it may be the password.
static int check_credential(const char *name, struct json value, struct arena *arena,
                            struct err *err)
{
    const char *field = arena_printf(arena, "codebase.credentials.%s", name).at;
    struct json part;
    if (value.type == JSON_NULL)
        return 0;
    if (json_get(value, "id", &part) || json_get(value, "key", &part))
        return err_field(err, field,
                         "%s refers to an integration, and this server has none yet: give the %s "
                         "itself, as a string",
                         field, name);
    if (value.type != JSON_STRING)
        return err_field(err, field, "%s must be a string, not %s", field,
                         json_type_name(value.type));
    struct str text = json_str(value, arena);
    if (text.len > SECRET_MAX)
        return err_field(err, field, "%s has %zu bytes; at most %d are allowed", field, text.len,
                         SECRET_MAX);
    // Git's credential helpers speak in lines.
    if (memchr(text.at, '\n', text.len) || memchr(text.at, '\r', text.len))
        return err_field(err, field, "%s must not hold line breaks", field);
    return 0;
}

static int check_credentials(struct json credentials, struct str url, struct arena *arena,
                             struct err *err)
{
    if (credentials.type != JSON_OBJECT && credentials.type != JSON_NULL)
        return err_field(err, "codebase.credentials",
                         "codebase.credentials must be an object or null, not %s",
                         json_type_name(credentials.type));
    struct json_iter it = json_each(credentials);
    struct str key;
    bool any = false;
    for (struct json value; json_next(&it, &key, &value); any |= value.type != JSON_NULL) {
        bool user = json_key_is(key, "username");
        if (!user && !json_key_is(key, "password"))
            return err_field(err, "codebase.credentials",
                             "codebase.credentials has \"" STR_FMT "\", which is not known: give "
                             "username and password (a token is a password)",
                             STR_ARG(describe_clip(key, 48)));
        if (check_credential(user ? "username" : "password", value, arena, err))
            return -1;
    }
    if (any && str_starts(url, STR("ssh://")))
        return err_field(err, "codebase.credentials",
                         "codebase.credentials are of no use with an ssh URL: leave them out, ssh "
                         "takes the keys of the user that the server runs as");
    return 0;
}

static int check_git(struct json json, struct err *err)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    char what[DESCRIBE_SIZE];
    struct json value = {0};
    json_get(json, "gitUrl", &value);
    struct str url = text_of(value, arena);
    if (!git_url_fits(url))
        return err_field(err, "codebase.gitUrl",
                         "codebase.gitUrl must be an https, http or ssh URL (for git@host:path "
                         "give ssh://git@host/path), not %s",
                         describe_value(value, what));
    if (json_get(json, "gitTag", &value) && value.type != JSON_NULL &&
        !git_ref(text_of(value, arena)))
        return err_field(err, "codebase.gitTag",
                         "codebase.gitTag must be the name of a tag or branch, or the whole hash "
                         "of a commit, not %s; git check-ref-format says which names there are",
                         describe_value(value, what));
    if (json_get(json, "credentials", &value))
        return check_credentials(value, url, arena, err);
    return 0;
}

int codebase_check(struct json json, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json type = {0};
    if (json.type != JSON_OBJECT)
        return err_field(err, "codebase", "codebase must be an object, not %s",
                         describe_value(json, what));
    json_get(json, "type", &type);
    if (json_is(type, JSON_STRING) && str_is(type.text, "\"item\""))
        return check_item(json, err);
    if (json_is(type, JSON_STRING) && str_is(type.text, "\"git\""))
        return check_git(json, err);
    return err_field(err, "codebase.type", "codebase.type must be item or git, not %s",
                     describe_value(type, what));
}
