// SPDX-License-Identifier: Apache-2.0
// cli/link: one request after the other to the server, over a connection that is kept. Waiting
// moves the spinner and notices Ctrl-C.
#ifndef DROVER_CLI_LINK_H
#define DROVER_CLI_LINK_H

#include "cli/cli.h"

struct link *link_new(void);
void link_free(struct link *link);  // NULL does nothing

struct link_request {
    const char *method;
    const char *url;        // whole
    struct str socket;      // path of a Unix socket to ask through; absent: by the URL's host
    struct str token;       // absent: no authorization
    struct str body;        // JSON; absent: none
    const char *path;       // instead of body: a file that is uploaded as multipart "file" …
    const char *name;       // … under this name, beside the form's fields
    const char *fields[9];  // key, value, …, NULL
    int64_t timeout_ms;     // 0: none
    // Takes the body of a good answer in pieces as it comes, instead of link_answer.body; false
    // ends the transfer.
    bool (*sink)(void *arg, const void *at, size_t len);
    void *sink_arg;
};

struct link_answer {
    int status;
    struct str body;  // in cli->arena
    int retry_after;  // seconds; 0: not said
};

// 0 when there was an answer, of any status. ERR_UNAVAILABLE says why there was none, also when
// nothing moved for 30 s (with a file: 5 minutes); ERR_TIMEOUT when it was interrupted.
MUST_CHECK int link_send(struct cli *cli, const struct link_request *request,
                         struct link_answer *out, struct err *err);

// The error that an answer of no 2xx is.
int link_refused(const struct link_answer *answer, struct arena *arena, struct err *err);

// A request to the target with its token; renews a login that has ended, and tries again what the
// server was too busy for. `request->url` is ignored: `path` is under /api/v1.
MUST_CHECK int link_call(struct cli *cli, struct link_request *request, const char *path,
                         struct json *out, struct err *err);

// For those who follow something, after a failure: waits a moment. True: ask again, the server is
// away, and was there a minute ago or later. good_at: when it was, ms of the monotonic clock.
bool link_wait(struct cli *cli, int64_t good_at, const struct err *err);

#endif
