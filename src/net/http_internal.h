// SPDX-License-Identifier: Apache-2.0
// What the files of the HTTP server share; nothing outside of net/http_*.c includes it.
//
// How a request moves (MHD's states in brackets):
//   http_on_uri       the request line is here: the request is made       [URL received]
//   http_on_access    head: on_header runs                                [HEADERS_PROCESSED]
//                     body: buffered, streamed or, once answered, dropped [CONTINUE_SENT]
//                     end: on_request runs; the answer is queued or the connection suspended
//                                                                         [FULL_REQ_RECEIVED]
//   http_on_completed sent or cut: on_over runs, the request is recycled
//
// MHD takes an answer only at the head and at the end, and at the head it then closes the
// connection. So an answer given while a body is coming waits in request->response, the body is
// read and dropped, and the answer is queued at the end: the connection lives on and no client is
// reset while it still sends. A client that waits for "100 Continue", or whose rest is longer than
// HTTP_DROP_MAX, is answered at once and its connection closed after it (http_linger.c).
//
// MHD_run is called from one place (http_pump), never from within a callback of MHD: a reply to a
// suspended connection resumes it and sets `pump`, and the check or prepare handle of the same turn
// of the loop runs MHD once for all of them.
#ifndef DROVER_NET_HTTP_INTERNAL_H
#define DROVER_NET_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <uv.h>

#include "base/list.h"
#include "net/http_server.h"

#define HTTP_DROP_MAX   (1 << 20)    // bytes of a refused body that are read only to be dropped
#define HTTP_DROP_TLS   (256 << 20)  // the same under TLS, where no answer can be given past MHD
#define HTTP_LINGER_MS  3000         // how long a refused client may go on sending to a closed door
#define HTTP_LINGER_MAX 256          // refused clients waited for at the same time
#define HTTP_SPARES_MAX 256          // recycled requests kept
#define HTTP_SWEEP_MS   1000         // period of the look at silent, slow and vanished clients

struct http_multipart;

struct http_server {
    struct http_server_config config;
    struct loop *loop;
    uv_loop_t *uv;
    struct MHD_Daemon *mhd;
    struct http_listener *listener;
    char *tls_cert, *tls_key;  // PEM texts; MHD borrows them

    uv_poll_t poll;        // MHD's epoll descriptor
    uv_check_t check;      // after I/O: one MHD_run for all that happened in this turn
    uv_prepare_t prepare;  // before I/O: for replies made in timers and close callbacks
    uv_idle_t idle;        // active while MHD has work that needs no event
    uv_timer_t sweep, backoff;
    int handles;            // uv handles not yet closed
    bool pump;              // MHD_run is due
    bool starved;           // MHD just said that the system has none left
    uint64_t starved_said;  // loop ms: when it was last logged
    bool in_mhd;            // within MHD_run or MHD_stop_daemon
    unsigned spins;         // turns in a row in which MHD said "more" but nothing happened
    unsigned long seen;     // callbacks of MHD so far

    int64_t connections;
    struct list waiting;   // struct http_connection without a whole head, oldest first
    struct list parked;    // struct http_request suspended for an answer, oldest first
    struct list requests;  // struct http_request, all that are not over
    struct list spares;    // struct http_request, recycled
    int spare_count;
    struct list lingers;
    int linger_count;

    bool stopping, stopped;
    struct loop_timer *grace;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

struct http_connection {
    struct list node;  // in server->waiting, else alone
    struct http_server *server;
    struct MHD_Connection *mhd;
    int fd;
    uint64_t since;  // loop time at which it began to wait for a head
};

struct http_over {
    struct http_over *next;
    void (*fn)(void *arg, bool sent);
    void *arg;
};

struct http_reply_field {
    struct http_reply_field *next;
    const char *name, *value;
};

enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_END };

struct http_request {
    struct list node;         // in server->requests or server->spares
    struct list parked_node;  // in server->parked, else alone
    struct http_server *server;
    struct http_connection *connection;
    struct MHD_Connection *mhd;
    struct arena *arena;
    struct str method, raw_path, path, raw_query;
    void *data;
    enum http_phase phase;
    uint64_t parked_since;

    bool has_body, chunked, expects_continue;
    bool head_called;  // on_header ran
    bool suspended;    // by us
    bool paused;       // http_body_pause is in force
    bool ended;        // on_request or on_error ran: no more callbacks but on_over
    bool gone;         // the client vanished, or we cut it: the connection is to be closed
    bool queued;       // MHD has the response
    bool raw_sent;     // answered past MHD (http_linger.c)
    bool answered;     // one of the replies was called
    int64_t length;    // Content-Length, -1: chunked
    int64_t limit;     // of the body; -1: none
    int64_t taken;     // bytes of the body so far
    int64_t dropped;   // bytes that came after the answer
    struct buf body;   // when buffered
    http_chunk_fn on_chunk;
    void *chunk_arg;
    struct http_multipart *multipart;

    struct MHD_Response *response;
    int status;
    struct str raw_body;   // the response's body for http_linger_answer, when it is in memory
    const char *raw_type;  // its content type, in the arena
    struct http_reply_field *fields;
    struct http_over *overs, **overs_end;
};

// http_request.c: MHD's callbacks; cls is the server.
void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result http_on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **slot);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
                       enum MHD_RequestTerminationCode why);
void http_on_connection(void *cls, struct MHD_Connection *mhd, void **slot,
                        enum MHD_ConnectionNotificationCode what);
void http_request_resume(struct http_request *request);  // when suspended
void http_request_park(struct http_request *request);  // suspends; the sweep sees a vanished client
void http_request_cut(struct http_request *request);   // closes the connection at the next turn
void http_request_fail(struct http_request *request, const struct err *err);
void http_spares_free(struct http_server *server);

// http_server.c
void http_pump_soon(struct http_server *server);

// http_unix.c: a name that fits into sockaddr_un (`size` of sun_path). A path that is too long is
// named through *folder, which must stay open as long as the name is used; -1: it is not needed.
MUST_CHECK int http_unix_name(const char *path, char *name, size_t size, int *folder,
                              struct err *err);

// http_listen.c
struct http_listener {
    int fd;             // -1: MHD's by now
    char *unix_path;    // to unlink at the end; NULL on TCP
    char address[256];  // as http_server_address gives it
};

// http_reply.c: queues request->response with MHD.
enum MHD_Result http_reply_queue(struct http_request *request);
bool http_answer_allowed(struct http_request *request);  // false: it was answered already
// Takes the response; NULL: it could not be made, the client is cut.
void http_answer(struct http_request *request, int status, const char *content_type,
                 struct MHD_Response *response);

// http_linger.c
void http_linger(struct http_request *request);
bool http_linger_answer(struct http_request *request);
void http_linger_stop(struct http_server *server);

// http_multipart.c
// http_multipart_take cuts from data what it took: all, but when the request is paused or answered.
MUST_CHECK int http_multipart_take(struct http_multipart *multipart, struct str *data,
                                   struct err *err);
MUST_CHECK int http_multipart_end(struct http_multipart *multipart, struct err *err);
void http_multipart_free(struct http_multipart *multipart);

#endif
