// SPDX-License-Identifier: Apache-2.0
// api/api: the public HTTP API under /api/v1 (and POST /token, /healthz, /readyz, /metrics at the
// root), and the agents' listener. Loop thread.
#ifndef DROVER_API_API_H
#define DROVER_API_API_H

#include "base/err.h"
#include "operation/op.h"

struct api;
struct dispatch;
struct driver;
struct http_listener;

struct api_config {
    const struct platform *platform;
    struct dispatch *dispatch;
    struct driver *driver;
    struct http_listener *listener;  // of the public API; taken. NULL: --listen says where
};

struct api *api_start(const struct api_config *config, struct err *err);  // both listeners
const struct api_config *api_config(const struct api *api);               // borrowed
void api_address(const struct api *api, char *out,
                 size_t size);  // the public one, "127.0.0.1:8080"
// Stops accepting, answers what waits, then calls done; the api is freed.
void api_stop(struct api *api, int64_t grace_ms, void (*done)(void *arg), void *arg);

#endif
