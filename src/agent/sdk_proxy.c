// SPDX-License-Identifier: Apache-2.0
#include "agent/sdk_proxy.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/id.h"
#include "base/json.h"
#include "base/mem.h"
#include "net/http_server.h"
#include "net/loop.h"

#define SECRET_BYTES 24
#define SECRET_LEN   (2 * SECRET_BYTES)

struct sdk_proxy {
    struct http_server *server;
    char *token;
    char secret[SECRET_LEN + 1];
    int port;
};

static void answer(struct http_request *request, int status, const char *key, struct str value)
{
    struct buf body = BUF_INIT(1u << 20);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    if (status >= 400)
        json_w_pair_int(&w, "statusCode", status);
    json_w_pair_str(&w, key, value);
    json_w_object_end(&w);
    http_reply(request, status, "application/json", body);
}

static void on_request(void *owner, struct http_request *request)
{
    struct sdk_proxy *proxy = owner;
    struct str secret = http_header(request, "X-Get-Jwt-Secret");
    bool known = secret.at && secret.len == SECRET_LEN &&
                 sodium_memcmp(secret.at, proxy->secret, SECRET_LEN) == 0;
    if (!str_is(http_path(request), "/get_jwt") || !str_is(http_method(request), "GET"))
        answer(request, 404, "message", STR("only GET /get_jwt is here"));
    else if (!known)
        answer(request, 403, "message", STR("the header X-Get-Jwt-Secret is missing or wrong"));
    else
        answer(request, 200, "jwt", str_of(proxy->token));
}

static void on_header(void *owner, struct http_request *request)
{
    (void)owner;
    (void)request;
}

static void on_error(void *owner, struct http_request *request, const struct err *err)
{
    (void)owner;
    answer(request, err_status(err->kind), "message", str_of(err->message));
}

struct sdk_proxy *sdk_proxy_start(struct loop *loop, struct log *log, const char *token,
                                  struct err *err)
{
    struct sdk_proxy *proxy = mem_alloc(sizeof(*proxy));
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str secret = secret_new(SECRET_BYTES, arena);
    memcpy(proxy->secret, secret.at, SECRET_LEN);
    proxy->token = mem_copy(token, strlen(token));
    struct http_server_config config = {.listen = "127.0.0.1:0",
                                        .body_max = 4096,
                                        .body_option = "the token request",
                                        .connections_max = 256,
                                        .idle_ms = 30000,
                                        .log = log,
                                        .owner = proxy,
                                        .on_header = on_header,
                                        .on_request = on_request,
                                        .on_error = on_error};
    proxy->server = http_server_start(loop, &config, err);
    if (!proxy->server) {
        mem_free(proxy->token);
        mem_free(proxy);
        err_wrap(err, "the SDK's token service");
        return NULL;
    }
    char address[64];
    http_server_address(proxy->server, address, sizeof(address));
    const char *colon = strrchr(address, ':');
    proxy->port = colon ? (int)strtol(colon + 1, NULL, 10) : 0;
    return proxy;
}

void sdk_proxy_set_token(struct sdk_proxy *proxy, const char *token)
{
    mem_free(proxy->token);
    proxy->token = mem_copy(token, strlen(token));
}

int sdk_proxy_port(const struct sdk_proxy *proxy) { return proxy->port; }
const char *sdk_proxy_secret(const struct sdk_proxy *proxy) { return proxy->secret; }

static void on_stopped(void *arg)
{
    struct sdk_proxy *proxy = arg;
    sodium_memzero(proxy->secret, sizeof(proxy->secret));
    mem_free(proxy->token);
    mem_free(proxy);
}

void sdk_proxy_stop(struct sdk_proxy *proxy)
{
    if (proxy)
        http_server_stop(proxy->server, 0, on_stopped, proxy);
}
