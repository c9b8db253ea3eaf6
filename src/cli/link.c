// SPDX-License-Identifier: Apache-2.0
#include "cli/link.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/step.h"

#define CONNECT_MS 5000L
#define ANSWER_MAX ((size_t)512 << 20)
#define POLL_MS    80
#define TRIES      4       // of what the server is too busy for
#define SILENCE_MS 30000   // the server holds no call for longer than 10 s
#define STREAM_MS  300000  // a file has to be read, checked and stored before there is an answer
#define AWAY_MS    60000   // how long a server may be away while something is followed

struct link {
    CURLM *multi;
    CURL *easy;
};

struct link *link_new(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct link *link = mem_alloc(sizeof(*link));
    link->multi = curl_multi_init();
    link->easy = curl_easy_init();
    return link;
}

void link_free(struct link *link)
{
    if (!link)
        return;
    curl_easy_cleanup(link->easy);
    curl_multi_cleanup(link->multi);
    curl_global_cleanup();
    mem_free(link);
}

struct transfer {
    struct cli *cli;
    const struct link_request *request;
    struct buf body;
    char error[CURL_ERROR_SIZE];
    struct curl_slist *headers;
    curl_mime *mime;
    curl_off_t moved;  // bytes, both ways
    int64_t moved_at;  // mono ms
    bool silent;       // nothing moved for too long
};

static int64_t silence_limit(const struct link_request *request)
{
    return request->path || request->sink ? STREAM_MS : SILENCE_MS;
}

static size_t on_body(char *at, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    const struct link_request *request = transfer->request;
    long status = 0;
    curl_easy_getinfo(transfer->cli->link->easy, CURLINFO_RESPONSE_CODE, &status);
    if (request->sink && status >= 200 && status <= 299)
        return request->sink(request->sink_arg, at, size * count) ? size * count : 0;
    buf_add(&transfer->body, at, size * count);
    return transfer->body.over ? 0 : size * count;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct transfer *transfer = arg;
    int64_t now = clock_mono(clock_system());
    (void)down_total;
    if (transfer->mime && up_total > 0)
        step_bar(transfer->cli, up, up_total);
    if (up + down != transfer->moved) {
        transfer->moved = up + down;
        transfer->moved_at = now;
    }
    transfer->silent = now - transfer->moved_at > silence_limit(transfer->request);
    return transfer->silent;
}

static void add_header(struct transfer *transfer, struct str name, struct str value)
{
    _cleanup_buf_ struct buf line = BUF_INIT(64 * 1024);
    buf_add_str(&line, name);
    buf_add_str(&line, value);
    buf_add_char(&line, '\0');
    struct curl_slist *longer = curl_slist_append(transfer->headers, line.at);
    if (longer)
        transfer->headers = longer;
}

static void add_form(struct transfer *transfer, CURL *easy, const struct link_request *request)
{
    transfer->mime = curl_mime_init(easy);
    for (size_t i = 0; request->fields[i]; i += 2) {
        curl_mimepart *field = curl_mime_addpart(transfer->mime);
        curl_mime_name(field, request->fields[i]);
        curl_mime_data(field, request->fields[i + 1], CURL_ZERO_TERMINATED);
    }
    curl_mimepart *file = curl_mime_addpart(transfer->mime);
    curl_mime_name(file, "file");
    curl_mime_filedata(file, request->path);
    curl_mime_filename(file, request->name);
    curl_mime_type(file, "application/zip");
    curl_easy_setopt(easy, CURLOPT_MIMEPOST, transfer->mime);
}

static void prepare(struct transfer *transfer, CURL *easy, const struct link_request *request)
{
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    if (request->socket.at)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH,
                         arena_cstr(transfer->cli->arena, request->socket));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "drover");
    if (url_is_loopback(str_of(request->url)))  // a proxy's own loopback is another machine
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (transfer->cli->target.ca_file.at)
        curl_easy_setopt(easy, CURLOPT_CAINFO, transfer->cli->target.ca_file.at);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    if (request->token.len > 0)
        add_header(transfer, STR("authorization: Bearer "), request->token);
    add_header(transfer, STR("expect:"), STR(""));
    if (request->path) {
        add_form(transfer, easy, request);
    } else if (request->body.at) {
        add_header(transfer, STR("content-type: "), STR("application/json"));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.at);
    } else if (strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

// Runs the transfer while the spinner moves. CURLE_ABORTED_BY_CALLBACK: interrupted.
static CURLcode perform(struct cli *cli)
{
    struct link *link = cli->link;
    struct curl_waitfd extra = {.fd = cli->signals, .events = CURL_WAIT_POLLIN};
    CURLcode result = CURLE_OK;
    int running = 1, left;
    curl_multi_add_handle(link->multi, link->easy);
    while (running && !cli->interrupted) {
        CURLMcode code = curl_multi_perform(link->multi, &running);
        if (code == CURLM_OK && running)
            code = curl_multi_poll(link->multi, &extra, cli->signals >= 0 ? 1 : 0, POLL_MS, NULL);
        if (code != CURLM_OK) {
            result = CURLE_FAILED_INIT;
            break;
        }
        cli_tick(cli);
    }
    for (CURLMsg *message; (message = curl_multi_info_read(link->multi, &left));)
        if (message->msg == CURLMSG_DONE)
            result = message->data.result;
    curl_multi_remove_handle(link->multi, link->easy);
    return running && cli->interrupted ? CURLE_ABORTED_BY_CALLBACK : result;
}

static int no_answer(struct cli *cli, const struct link_request *request,
                     const struct transfer *transfer, CURLcode code, struct err *err)
{
    struct str rest = str_of(request->url), base = rest;
    size_t at;
    if (code == CURLE_ABORTED_BY_CALLBACK && !transfer->silent)
        return err_set(err, ERR_TIMEOUT, "interrupted");
    if (transfer->body.over)
        return err_set(err, ERR_TOO_LARGE, "The answer is larger than 512 MiB, the limit");
    if (code == CURLE_READ_ERROR)
        return err_set(err, ERR_BAD_INPUT, "Cannot read %s", request->path ? request->path : "it");
    if (str_find(rest, STR("://"), &at)) {
        rest = (struct str){rest.at + at + 3, rest.len - at - 3};
        size_t host = str_cut(&rest, '/').len;
        base.len = at + 3 + host;
    }
    if (request->socket.at)
        base = request->socket;
    cli->not_ready = transfer->silent;
    if (transfer->silent)
        return err_set(err, ERR_UNAVAILABLE,
                       "The server at " STR_FMT " took the request but said nothing for %lld s; it "
                       "may be done all the same",
                       STR_ARG(base), (long long)(silence_limit(request) / 1000));
    const char *why = transfer->error[0] ? transfer->error : curl_easy_strerror(code);
    long error = 0;
    curl_easy_getinfo(cli->link->easy, CURLINFO_OS_ERRNO, &error);
    if (code == CURLE_COULDNT_CONNECT && error != 0)
        why = strerror((int)error);
    cli->no_server = true;
    return err_set(err, ERR_UNAVAILABLE, "The server at " STR_FMT " cannot be reached (%s): %s",
                   STR_ARG(base), cli->target.source.at ? cli->target.source.at : "as given", why);
}

int link_send(struct cli *cli, const struct link_request *request, struct link_answer *out,
              struct err *err)
{
    struct transfer transfer = {.cli = cli,
                                .request = request,
                                .body = BUF_INIT(ANSWER_MAX),
                                .moved_at = clock_mono(clock_system())};
    curl_off_t retry = 0;
    long status = 0;
    int rc = 0;
    *out = (struct link_answer){0};
    cli->no_server = cli->not_ready = false;
    if (!cli->link)
        cli->link = link_new();
    prepare(&transfer, cli->link->easy, request);
    CURLcode code = perform(cli);
    if (code != CURLE_OK) {
        rc = no_answer(cli, request, &transfer, code, err);
    } else {
        curl_easy_getinfo(cli->link->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(cli->link->easy, CURLINFO_RETRY_AFTER, &retry);
        out->status = (int)status;
        cli->not_ready = status >= 502 && status <= 504;
        out->retry_after = (int)retry;
        out->body = arena_copy(cli->arena, buf_str(&transfer.body));
    }
    curl_easy_reset(cli->link->easy);
    curl_mime_free(transfer.mime);
    curl_slist_free_all(transfer.headers);
    buf_deinit(&transfer.body);
    return rc;
}

static enum err_kind kind_of(int status)
{
    static const enum err_kind kinds[] = {
        ERR_BAD_INPUT,   ERR_UNAUTHENTICATED, ERR_DENIED,     ERR_NOT_FOUND,
        ERR_METHOD,      ERR_TIMEOUT,         ERR_CONFLICT,   ERR_TOO_LARGE,
        ERR_MEDIA_TYPE,  ERR_RANGE,           ERR_DEPENDENCY, ERR_BUSY,
        ERR_UNAVAILABLE,
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (err_status(kinds[i]) == status)
            return kinds[i];
    return ERR_INTERNAL;
}

int link_refused(const struct link_answer *answer, struct arena *arena, struct err *err)
{
    struct err ignored = ERR_INIT;
    struct json json = {0}, message = {0}, field;
    enum err_kind kind = kind_of(answer->status);
    if (json_parse(answer->body, 0, &json, &ignored) == 0)
        json_get(json, "message", &message);
    struct str text = json_str(message, arena);
    if (!text.at)
        return err_set(err, kind, "The server answered %d: " STR_FMT, answer->status,
                       STR_ARG(((struct str){answer->body.at,
                                             answer->body.len < 200 ? answer->body.len : 200})));
    err_set(err, kind, STR_FMT, STR_ARG(text));
    if (json_get(json, "field", &field))
        snprintf(err->field, sizeof(err->field), STR_FMT, STR_ARG(json_str(field, arena)));
    err->retry_after = answer->retry_after;
    return -1;
}

// ── a request to the target ──────────────────────────────────────────────────────────────────

// Keeps a renewed login where it came from.
static int keep_tokens(struct cli *cli, struct err *err)
{
    struct contexts contexts;
    if (contexts_load(&contexts, cli->arena, err))
        return -1;
    struct context *context = contexts_find(&contexts, cli->target.context);
    if (!context)
        return 0;
    context->token = cli->target.token;
    context->refresh_token = cli->target.refresh_token;
    return contexts_save(&contexts, cli->arena, err);
}

// A login has ended: asks for new tokens. False when that is not possible.
static bool renew(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct link_answer answer;
    struct json json, value;
    if (!cli->target.refresh_token.at)
        return false;
    _cleanup_buf_ struct buf body = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "type", STR("refresh_token"));
    json_w_pair_str(&w, "refresh_token", cli->target.refresh_token);
    json_w_object_end(&w);
    cli->target.refresh_token = STR_NONE;
    struct link_request request = {
        .method = "POST",
        .url = arena_printf(cli->arena, STR_FMT "/token", STR_ARG(cli->target.url)).at,
        .socket = cli->target.socket,
        .body = buf_str(&body),
    };
    if (link_send(cli, &request, &answer, &err) || answer.status != 200 ||
        json_parse(answer.body, 0, &json, &err) || !json_get(json, "id_token", &value))
        return false;
    cli->target.token = json_str(value, cli->own_arena);
    if (json_get(json, "refresh_token", &value))
        cli->target.refresh_token = json_str(value, cli->own_arena);
    (void)keep_tokens(cli, &err);  // it works without, until the next time
    return true;
}

static bool try_again(struct cli *cli, const struct link_answer *answer, int tries)
{
    if (answer->status == 401)
        return renew(cli);
    if ((answer->status != 429 && answer->status != 503) || tries >= TRIES)
        return false;
    int seconds = answer->retry_after > 0 ? answer->retry_after : 1;
    return seconds <= 10 && cli_sleep(cli, seconds * 1000LL);
}

bool link_wait(struct cli *cli, int64_t good_at, const struct err *err)
{
    return !cli->interrupted && err->kind == ERR_UNAVAILABLE &&
           clock_mono(clock_system()) - good_at <= AWAY_MS && cli_sleep(cli, 500);
}

int link_call(struct cli *cli, struct link_request *request, const char *path, struct json *out,
              struct err *err)
{
    struct link_answer answer;
    struct json ignored;
    bool root = path[0] == '/' && path[1] == '/';
    if (cli_target(cli, err))
        return -1;
    request->url = arena_printf(cli->arena, STR_FMT "%s%s", STR_ARG(cli->target.url),
                                root ? "" : "/api/v1", root ? path + 1 : path)
                       .at;
    request->socket = cli->target.socket;
    for (int tries = 1;; tries++) {
        request->token = cli->target.token;
        if (link_send(cli, request, &answer, err))
            return -1;
        if (!try_again(cli, &answer, tries))
            break;
    }
    if (answer.status < 200 || answer.status > 299)
        return link_refused(&answer, cli->arena, err);
    if (!out)
        out = &ignored;
    *out = (struct json){0};
    if (answer.body.len == 0)
        return 0;
    if (json_parse(answer.body, JSON_DEPTH_LIMIT, out, err)) {
        err->kind = ERR_INTERNAL;
        return err_wrap(err, "The answer of " STR_FMT " is not Drover's", STR_ARG(cli->target.url));
    }
    return 0;
}

int cli_target(struct cli *cli, struct err *err)
{
    if (cli->target_known)
        return 0;
    // It outlives the arena of one round of --watch.
    const struct cli_common *common = cli->common;
    if (target_find(common->url, common->context, common->project, &cli->target, cli->own_arena,
                    err))
        return -1;
    cli->target_known = true;
    return 0;
}

int cli_call(struct cli *cli, const char *method, const char *path, struct str body,
             struct json *out, struct err *err)
{
    struct link_request request = {.method = method, .body = body};
    return link_call(cli, &request, path, out, err);
}

const char *cli_path(struct cli *cli, const char *path, ...)
{
    static const char digits[] = "0123456789ABCDEF";
    _cleanup_buf_ struct buf out = BUF_INIT(64 * 1024);
    va_list args;
    va_start(args, path);
    for (const char *at = path; *at; at++) {
        if (at[0] != '{' || at[1] != '}') {
            buf_add_char(&out, *at);
            continue;
        }
        for (const char *part = va_arg(args, const char *); *part; part++) {
            unsigned char c = (unsigned char)*part;
            if (isalnum(c) || strchr("-._~@", c)) {
                buf_add_char(&out, (char)c);
            } else {
                buf_add_char(&out, '%');
                buf_add_char(&out, digits[c >> 4]);
                buf_add_char(&out, digits[c & 15]);
            }
        }
        at++;
    }
    va_end(args);
    return arena_cstr(cli->arena, buf_str(&out));
}
