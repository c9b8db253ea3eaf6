// SPDX-License-Identifier: Apache-2.0
// net/http_server: HTTP/1.1 over libmicrohttpd, driven by our loop (external epoll), with TLS.
//
// This module alone suspends and resumes libmicrohttpd's connections. All calls and callbacks are
// on the loop thread. The road of a request: on_header (decide how the body comes) → body →
// on_request → http_reply, at once or later: an unanswered request is suspended, not blocked on.
#ifndef DROVER_NET_HTTP_SERVER_H
#define DROVER_NET_HTTP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

struct loop;
struct http_server;
struct http_request;

// A listening socket from before its server, so that the port is known and taken early. Clients
// that come meanwhile wait in the accept queue.
struct http_listener;
struct http_listener *http_listener_open(const char *listen, struct err *err);
const char *http_listener_address(const struct http_listener *listener);  // "127.0.0.1:8080"
void http_listener_close(struct http_listener *listener);                 // NULL is fine

struct http_server_config {
    const char *listen;  // "HOST:PORT" ("[::1]:0" picks a port) or "unix:PATH" (mode 0600)
    struct http_listener *listener;  // instead of listen; the server's from the start on, also when
                                     // that fails
    const char *tls_cert, *tls_key;  // PEM files; both NULL: plain HTTP
    int64_t body_max;  // bytes of a buffered body; over it the answer is 413 naming body_option
    const char *body_option;  // "--max-body"
    int64_t connections_max;  // further clients wait in the accept queue
    int64_t per_address_max;  // connections of one client address; 0: no limit
    int64_t idle_ms;          // a connection that neither sends nor waits for us is closed, as is
                              // one whose next head is not whole within this time
    struct log *log;
    void *owner;  // first argument of the callbacks
    // The head has arrived. May answer at once (http_reply…: the body is then not read), or choose
    // how the body is taken (http_body_stream, http_body_multipart); otherwise it is buffered.
    void (*on_header)(void *owner, struct http_request *request);
    // The whole body is here (or was consumed by the stream). Must lead to exactly one reply.
    void (*on_request)(void *owner, struct http_request *request);
    // Errors that the server itself finds (a body over its limit, malformed multipart, two
    // lengths): turns err into the answer. Heads and chunks that are not HTTP are answered by
    // libmicrohttpd with its own short page (400, 413, 414, 431) and the connection is closed.
    void (*on_error)(void *owner, struct http_request *request, const struct err *err);
};

struct http_server *http_server_start(struct loop *loop, const struct http_server_config *config,
                                      struct err *err);
void http_server_address(const struct http_server *server, char *out,
                         size_t size);  // "127.0.0.1:8080"
// Stops accepting; suspended requests are resumed by their owners' replies; after `grace_ms` the
// rest are cut. on_stopped then runs and the server is freed.
void http_server_stop(struct http_server *server, int64_t grace_ms, void (*on_stopped)(void *arg),
                      void *arg);
const char *http_server_certificate(const struct http_server *server);  // PEM; NULL: no TLS
int64_t http_server_connections(const struct http_server *server);

// ── the request ──────────────────────────────────────────────────────────────────────────────
struct str http_method(const struct http_request *request);
struct str http_path(
    const struct http_request *request);  // percent-decoded, without the query; raw when invalid
struct str http_raw_path(const struct http_request *request);
struct str http_header(const struct http_request *request, const char *name);  // absent: STR_NONE
struct str http_query(const struct http_request *request,
                      const char *name);  // decoded; "?default" gives ""
bool http_query_each(const struct http_request *request, size_t *cursor, struct str *name,
                     struct str *value);
struct str http_body(const struct http_request *request);  // the buffered body
struct str http_peer(const struct http_request *request);  // client address, "" on a unix socket
struct arena *http_arena(struct http_request *request);    // lives until the reply was sent
void *http_data(const struct http_request *request);       // the handler's own pointer
void http_set_data(struct http_request *request, void *data);

// Decodes %XX (and '+' when `plus`); false when a sequence is malformed or gives NUL. The
// result is in the arena, or raw itself when nothing needs decoding. Any thread.
bool http_decode(struct str raw, bool plus, struct arena *arena, struct str *out);

// Limits or streams the body; only inside on_header.
void http_body_limit(struct http_request *request, int64_t max_bytes);
typedef void (*http_chunk_fn)(void *arg, struct http_request *request, struct str chunk);
void http_body_stream(struct http_request *request, http_chunk_fn on_chunk, void *arg);

// multipart/form-data (RFC 7578). Called once or more for each part; `data` is a piece at `offset`
// of the part's value; a part's first piece has offset 0 (an empty part comes once, empty). Names
// are as the client wrote them (aiohttp percent-encodes filenames), but filename* is decoded.
// `part` is valid during the call.
struct http_part {
    struct str name, filename, content_type;
};
typedef void (*http_part_fn)(void *arg, struct http_request *request, const struct http_part *part,
                             struct str data, uint64_t offset);
MUST_CHECK int http_body_multipart(struct http_request *request, http_part_fn on_part, void *arg,
                                   struct err *err);  // ERR_MEDIA_TYPE when it is not multipart

// Back-pressure: no more chunks or pieces come, and on_request does not run, until
// http_body_resume. Data handed over before stays valid only during its callback.
void http_body_pause(struct http_request *request);
void http_body_resume(struct http_request *request);

// Runs once when the request is over: answered (`sent` true) or the client went away first, which
// is noticed within about two seconds. Each call adds one; they run in the order they were added.
// The request must not be used afterwards. A reply to a request whose client is gone is allowed
// until then.
void http_on_over(struct http_request *request, void (*fn)(void *arg, bool sent), void *arg);

// ── the answer: exactly one of these per request ─────────────────────────────────────────────
void http_reply_header(struct http_request *request, const char *name,
                       struct str value);  // before the reply
void http_reply(struct http_request *request, int status, const char *content_type,
                struct buf body);  // takes body
void http_reply_str(struct http_request *request, int status, const char *content_type,
                    struct str body);  // copies
void http_reply_fd(struct http_request *request, int status, const char *content_type, int fd,
                   int64_t offset, int64_t length);  // takes fd; sent without copying through us
// Sends what comes out of a pipe until its end, in chunks; takes fd. When *broken is set by then,
// the connection is cut instead of ended, so that the client sees that something is missing.
// `broken` must live until fd is closed, which happens when the request is over: the writer sees
// EPIPE.
void http_reply_pipe(struct http_request *request, int status, const char *content_type, int fd,
                     const atomic_bool *broken);

#endif
