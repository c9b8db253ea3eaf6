// SPDX-License-Identifier: Apache-2.0
// A platform with its public API on a free port, in this thread: each request runs the loop until
// its answer is there.
#ifndef DROVER_TESTS_API_FIXTURE_H
#define DROVER_TESTS_API_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "api/api.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "operation/start.h"
#include "operation/token.h"

struct fixture {
    char folder[64], url[128];
    struct settings settings;
    struct fences fences;
    struct platform platform;
    struct start_result start;
    struct api *api;
    struct arena *arena;
    struct str admin_key, admin_password;
};

struct answer {
    int status;
    struct json json;
    struct str text;
    bool done;
    struct arena *arena;
};

static inline void fx_on_answer(void *arg, const struct http_answer *got)
{
    struct answer *answer = arg;
    struct err err = ERR_INIT;
    answer->status = got->status;
    answer->text = arena_copy(answer->arena, got->body);
    if (json_parse(answer->text, 0, &answer->json, &err))
        answer->json = (struct json){0};
    answer->done = true;
}

struct ask {
    const char *token;  // NULL: none
    const char *method, *path, *type;
    struct str body;
};

static inline struct answer fx_ask(struct fixture *fx, const struct ask *ask)
{
    struct http_client_config config = {.base_url = fx->url, .bearer = ask->token};
    struct http_client *client = http_client_new(fx->platform.loop, &config);
    struct answer answer = {.arena = fx->arena};
    struct buf body = BUF_INIT(64 << 20);
    buf_add_str(&body, ask->body);
    http_client_send(client, &(struct http_call_config){.method = ask->method,
                                                        .path = ask->path,
                                                        .content_type = ask->type,
                                                        .body = body,
                                                        .to_fd = -1,
                                                        .timeout_ms = 20000,
                                                        .on_done = fx_on_answer,
                                                        .arg = &answer});
    while (!answer.done)
        uv_run((uv_loop_t *)loop_uv(fx->platform.loop), UV_RUN_ONCE);
    http_client_free(client);
    return answer;
}

static inline struct answer fx_json(struct fixture *fx, const char *token, const char *method,
                                    const char *path, const char *body)
{
    return fx_ask(fx, &(struct ask){token, method, path, NULL, str_of(body ? body : "")});
}

static inline void fx_expect(const struct answer *answer, int status)
{
    if (answer->status != status)
        fail_msg("status %d instead of %d: " STR_FMT, answer->status, status,
                 STR_ARG(answer->text));
}

// A text of the answer by its dotted path; fails when absent.
static inline const char *fx_text(struct fixture *fx, const struct answer *answer, const char *path)
{
    struct json value;
    if (!json_path(answer->json, str_of(path), &value) || value.type != JSON_STRING)
        fail_msg("no text %s in " STR_FMT, path, STR_ARG(answer->text));
    return json_str(value, fx->arena).at;
}

static inline int64_t fx_int(const struct answer *answer, const char *path)
{
    struct json value;
    int64_t number = -1;
    if (!json_path(answer->json, str_of(path), &value) || !json_int(value, &number))
        fail_msg("no number %s in " STR_FMT, path, STR_ARG(answer->text));
    return number;
}

static inline const char *fx_print(struct fixture *fx, const char *fmt, const char *a,
                                   const char *b)
{
    struct str text = str_of(fmt), out = STR("");
    const char *values[] = {a, b};
    for (size_t i = 0, next = 0; i < text.len; i++) {
        if (text.at[i] == '$' && next < 2)
            out = arena_printf(fx->arena, STR_FMT "%s", STR_ARG(out), values[next++]);
        else
            out = arena_printf(fx->arena, STR_FMT "%c", STR_ARG(out), text.at[i]);
    }
    return out.at;
}

static inline struct answer fx_upload(struct fixture *fx, const char *token, const char *url,
                                      const char *path, struct str bytes)
{
    _cleanup_buf_ struct buf body = BUF_INIT(64 << 20);
    buf_printf(&body,
               "--XX\r\ncontent-disposition: form-data; name=\"type\"\r\n\r\nfile\r\n"
               "--XX\r\ncontent-disposition: form-data; name=\"path\"\r\n\r\n%s\r\n"
               "--XX\r\ncontent-disposition: form-data; name=\"metadata\"\r\n\r\n"
               "{\"user\":{\"k\":1}}\r\n"
               "--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n"
               "content-type: text/plain\r\n\r\n",
               path);
    buf_add_str(&body, bytes);
    buf_add_cstr(&body, "\r\n--XX--\r\n");
    return fx_ask(
        fx, &(struct ask){token, "POST", url, "multipart/form-data; boundary=XX", buf_str(&body)});
}

static inline struct str fx_read(const char *path, struct arena *arena)
{
    char text[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text), file);
    fclose(file);
    return arena_copy(arena, str_trim((struct str){text, len}));
}

static inline struct fixture *fx_new(const char *store, char **options)
{
    struct fixture *fx = mem_alloc(sizeof(*fx));
    struct platform *p = &fx->platform;
    struct err err = ERR_INIT;
    char address[100];
    int argc = 0;
    fx->arena = arena_new();
    snprintf(fx->folder, sizeof(fx->folder), "/tmp/drover-api-XXXXXX");
    assert_non_null(mkdtemp(fx->folder));
    char *argv[16] = {0};  // option_load takes what it knows out of it
    while (options[argc] && argc < 15) {
        argv[argc] = options[argc];
        argc++;
    }
    assert_int_equal(
        option_load(&settings_table, &argc, argv, NULL, &fx->settings, fx->arena, &err), 0);
    fx->settings.data = fx->folder;
    fx->settings.listen = "127.0.0.1:0";
    assert_int_equal(settings_complete(&fx->settings, fx->arena, &err), 0);
    *p = (struct platform){.fences = &fx->fences,
                           .loop = loop_new(),
                           .clock = clock_system(),
                           .settings = &fx->settings,
                           .metrics = metrics_new(),
                           .events = events_new()};
    p->store = store_open(
        &(struct store_config){.driver = store, .path = fx->folder, .loop = p->loop}, &err);
    if (!p->store)
        fail_msg("%s", err.message);
    p->blobs = blobs_open(arena_printf(fx->arena, "%s/blobs", fx->folder).at, &err);
    assert_non_null(p->blobs);
    p->tokens = tokens_open(fx->folder, p->clock, &err);
    assert_non_null(p->tokens);
    if (start_prepare(p, &fx->start, fx->arena, &err))
        fail_msg("%s", err.message);
    fx->api = api_start(&(struct api_config){.platform = p}, &err);
    if (!fx->api)
        fail_msg("%s", err.message);
    api_address(fx->api, address, sizeof(address));
    snprintf(fx->url, sizeof(fx->url), "http://%s", address);
    fx->admin_key = fx_read(fx->start.key_file, fx->arena);
    fx->admin_password = fx_read(fx->start.password_file, fx->arena);
    return fx;
}

static inline void fx_stopped(void *arg) { *(bool *)arg = true; }

static inline void fx_free(struct fixture *fx)
{
    struct platform *p = &fx->platform;
    bool stopped = false;
    api_stop(fx->api, 1000, fx_stopped, &stopped);
    while (!stopped)
        uv_run((uv_loop_t *)loop_uv(p->loop), UV_RUN_ONCE);
    store_close(p->store);
    blobs_close(p->blobs);
    tokens_close(p->tokens);
    events_free(p->events);
    metrics_free(p->metrics);
    loop_stop(p->loop);
    loop_run(p->loop);
    loop_free(p->loop);
    const char *command = arena_printf(fx->arena, "rm -rf '%s'", fx->folder).at;
    assert_int_equal(system(command), 0);
    arena_free(fx->arena);
    mem_free(fx);
}

#endif
