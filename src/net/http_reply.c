// SPDX-License-Identifier: Apache-2.0
// Answers: made into an MHD response at once, queued when MHD takes one.
#include <unistd.h>

#include "base/mem.h"
#include "net/http_internal.h"

enum MHD_Result http_reply_queue(struct http_request *request)
{
    enum MHD_Result rc = MHD_queue_response(request->mhd, (unsigned)request->status,
                                            request->response);
    MHD_destroy_response(request->response);  // MHD holds it from here on
    request->response = NULL;
    request->queued = rc == MHD_YES;
    return rc;
}

void http_reply_header(struct http_request *request, const char *name, struct str value)
{
    struct http_reply_field *field = arena_new_of(request->arena, struct http_reply_field);
    field->name = arena_cstr(request->arena, str_of(name));
    field->value = arena_cstr(request->arena, value);
    field->next = request->fields;
    request->fields = field;
}

// libmicrohttpd refuses values that would break the head (line breaks).
static void add_field(struct http_request *request, const char *name, const char *value)
{
    if (MHD_add_response_header(request->response, name, value) != MHD_YES)
        log_warn(request->server->config.log, "http",
                 "%s %s: the answer's header %s is not valid and was left out",
                 request->method.at ? request->method.at : "", request->path.at, name);
}

void http_answer(struct http_request *request, int status, const char *content_type,
                 struct MHD_Response *response)
{
    request->answered = true;
    request->paused = false;
    request->status = status;
    request->response = response;
    if (!response) {
        log_error(request->server->config.log, "http", "cannot make the answer to " STR_FMT,
                  STR_ARG(request->path));
        http_request_cut(request);
        return;
    }
    if (content_type) {
        add_field(request, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
        request->raw_type = arena_cstr(request->arena, str_of(content_type));
    }
    for (struct http_reply_field *field = request->fields; field; field = field->next)
        add_field(request, field->name, field->value);
    if (request->server->stopping)
        add_field(request, MHD_HTTP_HEADER_CONNECTION, "close");
    http_request_resume(request);
}

bool http_answer_allowed(struct http_request *request)
{
    if (!request->answered)
        return true;
    log_error(request->server->config.log, "http", "a second answer to " STR_FMT " was dropped",
              STR_ARG(request->path));
    return false;
}

void http_reply(struct http_request *request, int status, const char *content_type, struct buf body)
{
    if (!http_answer_allowed(request)) {
        buf_deinit(&body);
        return;
    }
    struct MHD_Response *response = NULL;
    if (body.over) {
        log_error(request->server->config.log, "http",
                  "the answer to " STR_FMT " is over its limit of %zu bytes",
                  STR_ARG(request->path), body.max);
        buf_deinit(&body);
    } else if (body.len == 0) {
        buf_deinit(&body);
        response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    } else {
        request->raw_body = buf_str(&body);
        response = MHD_create_response_from_buffer_with_free_callback_cls(body.len, body.at,
                                                                          mem_free, body.at);
        if (!response)
            buf_deinit(&body);
    }
    http_answer(request, status, content_type, response);
}

void http_reply_str(struct http_request *request, int status, const char *content_type,
                    struct str body)
{
    struct buf copy = BUF_INIT(body.len);
    buf_add_str(&copy, body);
    http_reply(request, status, content_type, copy);
}

void http_reply_fd(struct http_request *request, int status, const char *content_type, int fd,
                   int64_t offset, int64_t length)
{
    if (!http_answer_allowed(request)) {
        close(fd);
        return;
    }
    if (length <= 0) {
        close(fd);
        http_reply(request, status, content_type, (struct buf){0});
        return;
    }
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64((uint64_t)length, fd,
                                                                            (uint64_t)offset);
    if (!response)
        close(fd);
    http_answer(request, status, content_type, response);
}
