// SPDX-License-Identifier: Apache-2.0
#include "agent/assignment.h"

#include <ctype.h>
#include <string.h>

#define LEASE_LEAST_MS     100
#define REQUIREMENTS_MOST  1000
#define ENV_MOST           1000
#define DRAIN_DEFAULT_MS   30000
#define LINE_BYTES_DEFAULT 16384
#define OUTPUT_DEFAULT     (16 << 20)

static struct json member(struct json object, const char *key)
{
    struct json value = {0};
    json_get(object, key, &value);
    return value;
}

// A text, or NULL when it is absent, null or empty.
static const char *text(struct json object, const char *key, struct arena *arena)
{
    struct json value = member(object, key);
    if (!json_is(value, JSON_STRING) || value.text.len <= 2)
        return NULL;
    return arena_cstr(arena, json_str(value, arena));
}

static int64_t whole(struct json object, const char *key, int64_t fallback)
{
    int64_t n;
    struct json value = member(object, key);
    return json_is(value, JSON_NUMBER) && json_int(value, &n) ? n : fallback;
}

static bool is_sha256(const char *hex)
{
    return hex && strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

static int parse_code(struct json code, struct assignment_code *out, struct arena *arena,
                      struct err *err)
{
    const char *type = text(code, "type", arena);
    if (type && strcmp(type, "item") == 0) {
        out->type = CODE_ITEM;
        out->sha256 = text(code, "sha256", arena);
        out->size = whole(code, "size", -1);
        if (!is_sha256(out->sha256))
            return err_field(err, "code.sha256", "must be 64 lower-case hex digits");
        return 0;
    }
    if (!type || strcmp(type, "git") != 0)
        return err_field(err, "code.type", "must be \"item\" or \"git\"");
    out->type = CODE_GIT;
    out->url = text(code, "url", arena);
    out->tag = text(code, "tag", arena);
    struct json credentials = member(code, "credentials");
    out->username = text(credentials, "username", arena);
    out->password = text(credentials, "password", arena);
    if (!out->url || out->url[0] == '-')
        return err_field(err, "code.url", "must be the address of a git repository");
    if (out->tag && out->tag[0] == '-')
        return err_field(err, "code.tag", "must be a tag, branch or commit");
    return 0;
}

static int parse_requirements(struct json list, struct assignment *out, struct arena *arena,
                              struct err *err)
{
    size_t count = json_count(list);
    if (count > REQUIREMENTS_MOST)
        return err_field(err, "requirements", "has %zu entries; at most %d are taken", count,
                         REQUIREMENTS_MOST);
    out->requirements = arena_array_of(arena, struct str, count + 1);
    struct json_iter it = json_each(list);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        struct str line = str_trim(json_str(value, arena));
        for (size_t i = 0; i < line.len; i++)
            if (iscntrl((unsigned char)line.at[i]))
                return err_field(err, "requirements", "an entry has a control character");
        if (line.len > 0)
            out->requirements[out->requirement_count++] = line;
    }
    return 0;
}

static bool env_name_fits(struct str name)
{
    return name.len > 0 && !memchr(name.at, '=', name.len) && !memchr(name.at, '\0', name.len);
}

static int parse_env(struct json object, struct assignment *out, struct arena *arena,
                     struct err *err)
{
    size_t count = json_count(object);
    if (count > ENV_MOST)
        return err_field(err, "env", "has %zu variables; at most %d are taken", count, ENV_MOST);
    out->env = arena_array_of(arena, const char *, count + 1);
    struct json_iter it = json_each(object);
    struct str raw;
    for (struct json value; json_next(&it, &raw, &value);) {
        struct str name = json_unescape(raw, arena);
        struct str content = json_str(value, arena);
        if (!env_name_fits(name) || !content.at)
            return err_field(err, "env", "\"" STR_FMT "\" is not a variable with a text",
                             STR_ARG(name));
        out->env[out->env_count++] =
            arena_printf(arena, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(content)).at;
    }
    return 0;
}

static int parse_lease(struct json all, struct assignment *out, struct err *err)
{
    out->lease_ms = whole(all, "leaseMs", 0);
    if (out->lease_ms < LEASE_LEAST_MS)
        return err_field(err, "leaseMs", "must be at least %d", LEASE_LEAST_MS);
    return 0;
}

static int parse_numbers(struct json all, struct assignment *out, struct err *err)
{
    out->concurrency = whole(all, "concurrency", 0);
    if (out->concurrency < 1 || out->concurrency > CONCURRENCY_MOST)
        return err_field(err, "concurrency", "must be 1 to %d", CONCURRENCY_MOST);
    (void)json_bool(member(member(out->service, "runtime"), "dynamicConcurrency"),
                    &out->dynamic_concurrency);
    out->execution_timeout_s = whole(all, "executionTimeoutS", 0);
    int64_t drain_s = whole(out->service, "drainTime", -1);
    out->drain_ms = drain_s >= 0 && drain_s < (1 << 30) ? drain_s * 1000 : DRAIN_DEFAULT_MS;
    int64_t line = whole(out->limits, "logLineBytes", LINE_BYTES_DEFAULT);
    out->log_line_bytes = line < 256 || line > (1 << 20) ? LINE_BYTES_DEFAULT : line;
    int64_t bytes = whole(out->limits, "outputBytes", OUTPUT_DEFAULT);
    out->output_bytes = bytes < 1 ? OUTPUT_DEFAULT : bytes;
    out->code.unpacked_bytes = whole(out->limits, "archiveBytes", 0);
    out->code.unpacked_entries = whole(out->limits, "archiveEntries", 0);
    return 0;
}

int assignment_parse(struct str body, struct assignment *out, struct arena *arena, struct err *err)
{
    *out = (struct assignment){0};
    struct json all;
    if (json_parse(arena_copy(arena, body), JSON_DEPTH_LIMIT, &all, err))
        return err_wrap(err, "the server's assignment");
    if (!json_is(all, JSON_OBJECT))
        return err_set(err, ERR_BAD_INPUT, "the server's assignment is not an object");
    out->session = text(all, "session", arena);
    if (!out->session)
        return err_field(err, "session", "the server's assignment has no session");
    if (parse_lease(all, out, err))
        return err_wrap(err, "the server's assignment");
    if (json_bool(member(all, "keep"), &out->keep) && out->keep)
        return 0;
    out->service = member(all, "service");
    out->package = member(all, "package");
    out->project = member(all, "project");
    out->module = member(all, "module");
    out->init_params = member(all, "initParams");
    out->limits = member(all, "limits");
    if (!json_is(out->module, JSON_OBJECT))
        return err_field(err, "module", "must be an object");
    out->refusal = text(all, "refusal", arena);
    out->dtlpy = text(all, "dtlpy", arena);
    (void)json_bool(member(all, "runAsProcess"), &out->run_as_process);
    struct json sdk = member(all, "sdk");
    out->sdk_url = text(sdk, "url", arena);
    out->sdk_gate = text(sdk, "gate", arena);
    out->sdk_token = text(sdk, "token", arena);
    out->sdk_certificate = member(sdk, "certificate");
    if (parse_numbers(all, out, err) || parse_code(member(all, "code"), &out->code, arena, err) ||
        parse_requirements(member(all, "requirements"), out, arena, err) ||
        parse_env(member(all, "env"), out, arena, err))
        return err_wrap(err, "the server's assignment");
    return 0;
}
