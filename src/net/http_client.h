// SPDX-License-Identifier: Apache-2.0
// net/http_client: HTTP requests from the loop (libcurl's multi interface). Loop thread only.
#ifndef DROVER_NET_HTTP_CLIENT_H
#define DROVER_NET_HTTP_CLIENT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct loop;
struct http_client;
struct http_call;

struct http_client_config {
    const char *base_url;  // "http://host:port" or "unix:PATH"; request paths are appended
    const char *bearer;    // token for the authorization header; NULL: none
    const char *ca_file;   // PEM to trust for https; NULL: the system's
    int64_t connect_ms;    // default 5,000
    int64_t body_max;      // bytes of an answer; default 64 MiB
};

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config);
// Open calls end with ERR_UNAVAILABLE first; their on_done must not send on this client again.
// Before the loop ends. Allowed within on_done.
void http_client_free(struct http_client *client);

struct http_answer {
    int status;       // 0: no answer, or it broke off; see err
    struct str body;  // valid during the callback ("" when it went to an fd)
    struct err err;   // kind ERR_NONE when an answer of any status came
};

struct http_call_config {
    const char *method;          // "GET"
    const char *path;            // "/agent/exchange"
    const char *content_type;    // of body; NULL: application/json
    const char *const *headers;  // more of them, "name: value", NULL at the end; NULL: none
    struct buf body;             // taken
    int to_fd;           // >= 0: a 2xx answer's body is written there (borrowed), -1: to memory
    int64_t timeout_ms;  // whole call; 0: none
    void (*on_done)(void *arg, const struct http_answer *answer);
    void *arg;
};
// The handle is valid until on_done ran; never NULL.
struct http_call *http_client_send(struct http_client *client,
                                   const struct http_call_config *config);
void http_call_cancel(struct http_call *call);  // on_done does not run

#endif
