// SPDX-License-Identifier: Apache-2.0
// api/call: one API request under way, and the table that says what each route needs. The road:
//   loop:         route → token → body parsed as JSON
//   store thread: identity → scope (project of the thing named) → role → handler → answer written
//   loop:         commit done → events published → answer sent
// A handler is straight-line code: decode, call one operation, encode. It never sees sockets or
// threads.
#ifndef DROVER_API_CALL_H
#define DROVER_API_CALL_H

#include "base/buf.h"
#include "base/json.h"
#include "net/http_server.h"
#include "operation/access.h"
#include "operation/op.h"

struct api;
struct call;

enum route_mode {
    ROUTE_READ,   // handler on a reader thread, snapshot
    ROUTE_WRITE,  // handler on the writer thread, in the group's transaction
    ROUTE_LOOP,   // handler on the loop thread: answers later by call_finish, or streams (uploads,
                  // files, waits)
};

// Where the project comes from whose role is checked before the handler runs.
enum route_scope {
    SCOPE_PUBLIC,  // no token needed
    SCOPE_CALLER,  // any valid token; the handler decides what is visible (lists)
    SCOPE_ADMIN,
    SCOPE_PROJECT,  // {projectId} of the path (also names)
    SCOPE_DATASET,
    SCOPE_ITEM,
    SCOPE_PACKAGE,
    SCOPE_SERVICE,
    SCOPE_EXECUTION,
    SCOPE_COMMAND,  // first path parameter names it
    SCOPE_BODY,     // body.projectId
};

enum body_kind {
    BODY_NONE,  // ignored when sent
    BODY_JSON,  // required, an object
    BODY_JSON_OPTIONAL,
    BODY_JSON_ANY,      // required, object or array
    BODY_FORM_OR_JSON,  // urlencoded fields become an object of strings
    BODY_STREAM,        // the handler (ROUTE_LOOP, called with the head) takes it as it comes
};

struct route {
    const char *method;
    const char *path;  // under the prefix: "/services/{id}/restart"; literals win over parameters
    enum route_mode mode;
    enum route_scope scope;
    enum role role;  // needed in that project
    enum body_kind body;
    int (*handle)(struct call *call, struct err *err);
    const char *operation_id;  // OpenAPI; unique: "restartService"
    const char *summary;       // one sentence, imperative
    const char *tag;           // OpenAPI tag and docs heading: "Services"
    const char *request;       // schema names in api/schema.c; NULL: none
    const char *response;
    int success;        // 200 unless said (0: 200)
    bool at_root;       // the path is not under /api/v1
    const char *query;  // query parameters for OpenAPI, "mode:skip|overwrite system:boolean"; NULL
};

struct call {
    const struct route *route;
    struct api *api;
    struct http_request *http;  // loop thread only
    struct op op;               // tx only while the handler runs in READ or WRITE mode
    struct str params[3];       // path parameters in order, decoded
    struct json body;           // JSON_ABSENT when none
    // what the scope look-up found, so that the handler need not read it again; of the project only
    // the id unless the scope is SCOPE_PROJECT or SCOPE_BODY
    struct project project;
    union {
        struct dataset dataset;
        struct item item;
        struct package package;
        struct service service;
        struct execution execution;
        struct command command;
    } subject;
    // the answer
    int status;                // 0: the route's success status
    struct buf reply;          // JSON
    struct json_writer out;    // writes into reply
    const char *content_type;  // of the reply; NULL: application/json
    void *data;                // ROUTE_LOOP handlers' own
    bool accepted;             // its effect took place: reads for the answer are not checked again
    // For handlers on the loop. on_body: a BODY_STREAM has come whole. on_gone: the client left,
    // its body broke off, or the server is stopping: stop what waits and call call_finish soon
    // (after the done of a call_run under way); http may be NULL from then on.
    void (*on_body)(struct call *call);
    void (*on_gone)(struct call *call);
};

struct str call_param(const struct call *call, int index);
struct str call_query(const struct call *call,
                      const char *name);  // copied before the handler runs: any thread
// A flag that the route's `query` names as boolean: what is neither true nor false was refused
// before the handler. "?force" alone is true.
bool call_query_bool(const struct call *call, const char *name);
// Adds a header to the answer; both texts must live in op.arena or longer. Any thread.
void call_header(struct call *call, const char *name, struct str value);
struct str call_request_id(const struct call *call);

// ROUTE_LOOP: sends call->reply (or err). Frees the call. Loop thread.
void call_finish(struct call *call, const struct err *err);
// ROUTE_LOOP: answers with bytes of a file; takes fd. Frees the call. Loop thread.
struct call_file {
    int fd, status;
    const char *content_type;
    int64_t offset, length;
    const atomic_bool *broken;  // set: fd is a pipe (http_reply_pipe)
};
void call_finish_file(struct call *call, const struct call_file *file);
// ROUTE_LOOP: runs fn on a store thread with identity and scope checked, then done on the loop (the
// call goes on). A
// ROUTE_LOOP handler that touches anything protected must do it inside call_run: nothing but the
// token's signature was checked before.
void call_run(struct call *call, enum op_mode mode, int (*fn)(struct call *call, struct err *err),
              void (*done)(struct call *call, struct err *err));

// The tables of routes, one per resource file; api/route_table.c lists them.
struct route_list {
    const struct route *routes;
    size_t count;
};
#define ROUTE_LIST(array) ((struct route_list){(array), sizeof(array) / sizeof((array)[0])})

#endif
