// SPDX-License-Identifier: Apache-2.0
#include "cli/context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/near.h"

#define FILE_MAX ((size_t)1 << 20)
#define KEY_MAX  ((size_t)16 * 1024)

// The file's member for each field.
static const struct {
    const char *key;
    size_t offset;
} members[] = {
    {"url", offsetof(struct context, url)},
    {"user", offsetof(struct context, user)},
    {"project", offsetof(struct context, project)},
    {"apiKey", offsetof(struct context, api_key)},
    {"token", offsetof(struct context, token)},
    {"refreshToken", offsetof(struct context, refresh_token)},
    {"caFile", offsetof(struct context, ca_file)},
};
#define MEMBERS (sizeof(members) / sizeof(members[0]))

static struct str *member(struct context *context, size_t i)
{
    return (struct str *)(void *)((char *)context + members[i].offset);
}

int contexts_path(struct arena *arena, const char **out, struct err *err)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/')
        *out = arena_printf(arena, "%s/drover/config.json", config).at;
    else if (home && *home)
        *out = arena_printf(arena, "%s/.config/drover/config.json", home).at;
    else
        return err_set(err, ERR_BAD_INPUT,
                       "Neither HOME nor XDG_CONFIG_HOME is set: logins have no place");
    return 0;
}

// *found false when there is no such file.
static int read_file(const char *path, size_t max, struct str *out, bool *found,
                     struct arena *arena, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_buf_ struct buf text = BUF_INIT(max);
    char part[4096];
    ssize_t n;
    *found = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_errno(err, ERR_BAD_INPUT, errno, "Cannot open %s", path);
    while ((n = read(fd, part, sizeof(part))) != 0) {
        if (n > 0)
            buf_add(&text, part, (size_t)n);
        else if (errno != EINTR)
            return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read %s", path);
    }
    if (text.over)
        return err_set(err, ERR_BAD_INPUT, "%s is larger than %zu bytes, the limit", path, max);
    *out = arena_copy(arena, buf_str(&text));
    return 0;
}

static void read_contexts(struct contexts *out, struct json document, struct arena *arena)
{
    struct json all = {0}, value, text;
    struct str raw_key;
    json_get(document, "contexts", &all);
    out->at = arena_array_of(arena, struct context, json_count(all) + 1);
    for (struct json_iter it = json_each(all); json_next(&it, &raw_key, &value);) {
        struct context *context = &out->at[out->count++];
        context->name = json_unescape(raw_key, arena);
        for (size_t i = 0; i < MEMBERS; i++)
            if (json_get(value, members[i].key, &text))
                *member(context, i) = json_str(text, arena);
    }
    if (json_get(document, "current", &value))
        out->current = json_str(value, arena);
}

int contexts_load(struct contexts *out, struct arena *arena, struct err *err)
{
    const char *path;
    struct str text = STR_NONE;
    struct json document, all;
    bool found = false;
    *out = (struct contexts){0};
    if (contexts_path(arena, &path, err) || read_file(path, FILE_MAX, &text, &found, arena, err))
        return -1;
    if (!found)
        return 0;
    if (json_parse(text, 0, &document, err))
        return err_wrap(err, "%s", path);
    if (document.type != JSON_OBJECT ||
        (json_get(document, "contexts", &all) && all.type != JSON_OBJECT))
        return err_set(err, ERR_BAD_INPUT, "%s is no file of logins: move it away and log in again",
                       path);
    read_contexts(out, document, arena);
    return 0;
}

static void encode(const struct contexts *contexts, struct buf *text)
{
    struct json_writer w = JSON_WRITER(text);
    json_w_object(&w);
    json_w_pair_str(&w, "current", contexts->current);
    json_w_key(&w, "contexts");
    json_w_object(&w);
    for (size_t i = 0; i < contexts->count; i++) {
        json_w_key_str(&w, contexts->at[i].name);
        json_w_object(&w);
        for (size_t k = 0; k < MEMBERS; k++)
            if (member(&contexts->at[i], k)->at)
                json_w_pair_str(&w, members[k].key, *member(&contexts->at[i], k));
        json_w_object_end(&w);
    }
    json_w_object_end(&w);
    json_w_object_end(&w);
    buf_add_char(text, '\n');
}

// Makes the folders above the file, for the owner alone.
static int make_folders(const char *path, struct arena *arena, struct err *err)
{
    char *copy = arena_cstr(arena, str_of(path));
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0700) && errno != EEXIST)
            return err_errno(err, ERR_BAD_INPUT, errno, "Cannot make the folder %s", copy);
        *slash = '/';
    }
    return 0;
}

static int write_beside(const char *beside, struct str text, struct err *err)
{
    _cleanup_fd_ int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot make %s", beside);
    for (ssize_t n; text.len > 0; text = (struct str){text.at + n, text.len - (size_t)n}) {
        n = write(fd, text.at, text.len);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n < 0)
            return err_errno(err, ERR_BAD_INPUT, errno, "Cannot write %s", beside);
    }
    return fsync(fd) ? err_errno(err, ERR_BAD_INPUT, errno, "Cannot write %s", beside) : 0;
}

int contexts_save(const struct contexts *contexts, struct arena *arena, struct err *err)
{
    const char *path;
    _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
    if (contexts_path(arena, &path, err) || make_folders(path, arena, err))
        return -1;
    encode(contexts, &text);
    if (text.over)
        return err_set(err, ERR_TOO_LARGE, "%s would be larger than 1 MiB: remove some contexts",
                       path);
    const char *beside = arena_printf(arena, "%s.%ld", path, (long)getpid()).at;
    unlink(beside);
    if (write_beside(beside, buf_str(&text), err) ||
        (rename(beside, path) && err_errno(err, ERR_BAD_INPUT, errno, "Cannot write %s", path))) {
        unlink(beside);
        return -1;
    }
    return 0;
}

struct context *contexts_find(const struct contexts *contexts, struct str name)
{
    for (size_t i = 0; contexts->at && i < contexts->count; i++)
        if (str_eq(contexts->at[i].name, name))
            return &contexts->at[i];
    return NULL;
}

void contexts_put(struct contexts *contexts, const struct context *context, struct arena *arena)
{
    struct context *same = contexts_find(contexts, context->name);
    if (same) {
        *same = *context;
        return;
    }
    struct context *more = arena_array_of(arena, struct context, contexts->count + 1);
    if (contexts->count > 0)
        memcpy(more, contexts->at, contexts->count * sizeof(*more));
    more[contexts->count++] = *context;
    contexts->at = more;
}

// ── the target ───────────────────────────────────────────────────────────────────────────────

bool url_fits(struct str *url)
{
    struct str rest = *url;
    bool secure = str_starts(rest, STR("https://"));
    if (!rest.at)
        return false;
    if (!secure && !str_starts(rest, STR("http://")))
        return false;
    while (url->len > 0 && url->at[url->len - 1] == '/')
        url->len--;
    if (str_ends(*url, STR("/api/v1")))
        url->len -= sizeof("/api/v1") - 1;
    for (size_t i = 0; i < url->len; i++)
        if ((unsigned char)url->at[i] <= ' ' || url->at[i] == '@')
            return false;
    return url->len > (secure ? sizeof("https://") : sizeof("http://")) - 1;
}

struct str url_socket(struct str *url)
{
    struct str scheme = STR("unix:"), path = STR_NONE;
    if (!str_starts(*url, STR("unix:/")))
        return STR_NONE;
    path = (struct str){url->at + scheme.len, url->len - scheme.len};
    *url = STR("http://localhost");
    return path;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void take_context(const struct context *context, struct target *out, struct arena *arena)
{
    out->url = context->url;
    out->context = context->name;
    if (!out->ca_file.at)
        out->ca_file = context->ca_file;
    out->token = context->api_key.at ? context->api_key : context->token;
    out->refresh_token = context->api_key.at ? STR_NONE : context->refresh_token;
    if (!out->project.at)
        out->project = context->project;
    out->source = arena_printf(arena, "context " STR_FMT, STR_ARG(context->name));
}

static int no_context(const struct contexts *contexts, struct str name, struct err *err)
{
    struct near near = near_start(name);
    for (size_t i = 0; i < contexts->count; i++)
        near_try(&near, contexts->at[i].name);
    bool found = near.found.at != NULL;
    return err_set(err, ERR_NOT_FOUND, "There is no context '" STR_FMT "'%s" STR_FMT "%s",
                   STR_ARG(name), found ? "; did you mean '" : ": `drover login URL` makes one",
                   STR_ARG(near.found), found ? "'?" : "");
}

static const char *local_data(void)
{
    return env("DROVER_DATA") ? env("DROVER_DATA") : "./drover-data";
}

// The key of a server that was started in this folder.
static bool take_local_key(struct target *out, struct arena *arena)
{
    struct err ignored = ERR_INIT;
    const char *data = local_data();
    struct str key = STR_NONE;
    bool found;
    if (read_file(arena_printf(arena, "%s/admin-key", data).at, KEY_MAX, &key, &found, arena,
                  &ignored) ||
        !found)
        return false;
    out->token = str_trim(key);
    out->source = arena_printf(arena, "%s/admin-key", data);
    return out->token.len > 0;
}

// The address that the server wrote beside its key, or the default one.
static struct str local_url(struct arena *arena)
{
    struct err ignored = ERR_INIT;
    const char *data = local_data();
    struct str url;
    bool found;
    if (read_file(arena_printf(arena, "%s/url", data).at, KEY_MAX, &url, &found, arena, &ignored) ==
            0 &&
        found) {
        url = str_trim(url);
        if (str_starts(url, STR("unix:/")) || url_fits(&url))
            return url;
    }
    return STR("http://127.0.0.1:8080");
}

bool url_is_loopback(struct str url)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
    struct str rest = url;
    size_t at;
    if (str_find(rest, STR("://"), &at))
        rest = (struct str){rest.at + at + 3, rest.len - at - 3};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct str host = str_of(hosts[i]);
        if (str_starts(rest, host) && (rest.len == host.len || strchr(":/", rest.at[host.len])))
            return true;
    }
    return false;
}

// A key goes only to the server that it was given for.
static int take_url(const struct contexts *contexts, const char *url, const char *source,
                    struct target *out, struct arena *arena, struct err *err)
{
    struct str given = str_of(url);
    bool local = str_starts(given, STR("unix:/"));
    if (!local && !url_fits(&given))
        return err_field(err, source, "%s: '%.100s' is no address such as http://127.0.0.1:8080",
                         source, url);
    for (size_t i = 0; i < contexts->count; i++)
        if (str_eq(contexts->at[i].url, given))
            take_context(&contexts->at[i], out, arena);
    if (!out->token.at && (local || url_is_loopback(given)))
        take_local_key(out, arena);
    out->url = given;
    out->source = str_of(source);
    return 0;
}

static int take_named(const struct contexts *contexts, const char *name, struct target *out,
                      struct arena *arena, struct err *err)
{
    const struct context *context = contexts_find(contexts, str_of(name));
    if (!context)
        return no_context(contexts, str_of(name), err);
    take_context(context, out, arena);
    return 0;
}

static int take_usual(const struct contexts *contexts, struct target *out, struct arena *arena,
                      struct err *err)
{
    const struct context *current = contexts->current.at
                                        ? contexts_find(contexts, contexts->current)
                                        : NULL;
    if (current)
        take_context(current, out, arena);
    else if (take_local_key(out, arena))
        out->url = local_url(arena);
    else
        return err_set(
            err, ERR_UNAUTHENTICATED, "No server is named, and %s",
            access(arena_printf(arena, "%s/url", local_data()).at, F_OK) == 0
                ? arena_printf(arena, "%s has no admin-key (restored without keys?)", local_data())
                      .at
                : arena_printf(arena, "there is no %s of one here", local_data()).at);
    return 0;
}

int target_find(const char *url, const char *context, const char *project, struct target *out,
                struct arena *arena, struct err *err)
{
    struct contexts contexts;
    const char *key = env("DROVER_API_KEY"), *chosen = project ? project : env("DROVER_PROJECT");
    int rc;
    *out = (struct target){.project = str_of(chosen), .ca_file = str_of(env("DROVER_CA_FILE"))};
    if (contexts_load(&contexts, arena, err))
        return -1;
    if (url)
        rc = take_url(&contexts, url, "--url", out, arena, err);
    else if (context)
        rc = take_named(&contexts, context, out, arena, err);
    else if (env("DROVER_URL"))
        rc = take_url(&contexts, env("DROVER_URL"), "DROVER_URL", out, arena, err);
    else if (env("DROVER_CONTEXT"))
        rc = take_named(&contexts, env("DROVER_CONTEXT"), out, arena, err);
    else
        rc = take_usual(&contexts, out, arena, err);
    if (rc == 0)
        out->socket = url_socket(&out->url);
    if (rc == 0 && key && !context) {
        out->token = str_trim(str_of(key));
        out->refresh_token = STR_NONE;
    }
    return rc;
}
