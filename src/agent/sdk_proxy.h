// SPDX-License-Identifier: Apache-2.0
// agent/sdk_proxy: gives the SDK inside the runner its newest service token, over loopback:
// GET /get_jwt, for those who know the secret. User code never sees the agent's own token.
#ifndef DROVER_AGENT_SDK_PROXY_H
#define DROVER_AGENT_SDK_PROXY_H

#include "base/err.h"
#include "base/log.h"

struct loop;
struct sdk_proxy;

// Listens on a free port of 127.0.0.1. NULL with err set when there is none.
struct sdk_proxy *sdk_proxy_start(struct loop *loop, struct log *log, const char *token,
                                  struct err *err);
void sdk_proxy_set_token(struct sdk_proxy *proxy, const char *token);
int sdk_proxy_port(const struct sdk_proxy *proxy);
const char *sdk_proxy_secret(const struct sdk_proxy *proxy);  // value of X-Get-Jwt-Secret
void sdk_proxy_stop(struct sdk_proxy *proxy);  // NULL does nothing; frees it in later turns

#endif
