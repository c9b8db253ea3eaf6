// SPDX-License-Identifier: Apache-2.0
// What the files of the api's framework share: the server's own struct and the life of a call.
//
//   on_header   state made: route, token, back-pressure        → answered at once when refused
//   on_request  body copied and parsed; job handed to the store or the loop's handler called
//   done        events published, answer handed to net/
//   on_over     sent or the client left: state freed, or later, when its job has come back
#ifndef DROVER_API_INTERNAL_H
#define DROVER_API_INTERNAL_H

#include "api/api.h"
#include "api/call.h"
#include "api/router.h"
#include "api/token_cache.h"
#include "base/list.h"
#include "operation/login_guard.h"

struct agent_link;

struct api_metrics {
    struct metric *answers[6];  // by hundreds of the status
    struct metric *seconds, *busy, *connections, *backlog;
};

struct api {
    struct api_config config;
    struct http_server *server;  // NULL once stopped
    struct router *router;
    struct token_cache *tokens;
    struct login_guard *guard;
    struct api_metrics metrics;
    struct execution_functions *functions;  // writer's thread only
    struct waits *waits;
    struct str openapi;        // the document, made at start
    struct arena *arena;       // as long as the api
    struct list calls;         // struct call_state, from on_header to its end
    struct list spare_arenas;  // struct spare
    size_t spare_count;
    uint32_t run_id;  // random, first half of request ids
    uint64_t serial;
    bool stopping;
    int hashing;              // passwords on the pool
    int backups;              // streams under way
    struct agent_link *link;  // NULL: none, or stopped
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

struct call_extra {
    struct call_extra *next;
    const char *name;
    struct str value;
};

struct call_state {
    struct call call;  // first: what handlers see
    struct list node;  // in api->calls
    struct store_job job;
    int (*fn)(struct call *call, struct err *err);
    void (*done)(struct call *call, struct err *err);
    struct call_extra *queries, *headers;
    struct err body_err;  // kind set: the body broke off, this is the answer
    char request_id[24];
    int64_t begun;  // mono ms
    bool started;   // its handler or job has begun: call_finish frees it
    bool finished;
};

static inline struct call_state *call_state_of(struct call *call)
{
    return (struct call_state *)(void *)call;
}

// call.c: http_server's callbacks; owner is the api.
void call_on_header(void *owner, struct http_request *request);
void call_on_request(void *owner, struct http_request *request);
void call_on_error(void *owner, struct http_request *request, const struct err *err);

void call_spare_free(struct list *node);  // of api->spare_arenas

// call_body.c: fills in call->body from the buffered bytes, as the route wants it.
MUST_CHECK int call_read_body(struct call *call, struct str content_type, struct str bytes,
                              struct err *err);

// name=value&… into call->body as an object of strings.
MUST_CHECK int call_read_form(struct call *call, struct str bytes, struct err *err);

// call_scope.c: on a store thread: identity, what the route's scope names, the caller's role.
MUST_CHECK int call_check(struct call *call, struct err *err);

// call_reply.c: the answer's bytes.
void call_error_body(struct call *call, const struct err *err);
void call_send(struct call_state *state, const struct err *err);
void call_send_file(struct call_state *state, const struct call_file *file);

// api.c
void api_call_over(struct api *api);  // after a call was freed: perhaps the last one of a stop

#endif
