// SPDX-License-Identifier: Apache-2.0
// Start, stop and the pump: how libmicrohttpd's epoll set hangs in our loop.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_internal.h"
#include "net/loop.h"

#define ROUNDS          4   // MHD_run calls in one turn of the loop
#define SPINS_MAX       64  // fruitless turns before the pump slows down to BACKOFF_MS
#define BACKOFF_MS      1
#define STARVED_MS      50  // between two tries to accept while the system has nothing left
#define STARVED_SAY_MS  10000
#define PEM_MAX         (1 << 20)   // bytes of a certificate or key file
#define CONNECTION_POOL (32 << 10)  // bytes per connection: its head and its read buffer

static void finish(struct http_server *server);

void http_pump_soon(struct http_server *server) { server->pump = true; }

static bool mhd_has_more(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait = 1;
    return MHD_get_timeout(server->mhd, &wait) == MHD_YES && wait == 0;
}

static void on_idle(uv_idle_t *handle) { (void)handle; }

static void on_poll(uv_poll_t *handle, int status, int events);

static void on_backoff(uv_timer_t *handle)
{
    struct http_server *server = handle->data;
    server->pump = true;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);  // as it is, unless it was starved
}

// The system has no descriptor or memory for a connection. With others open MHD waits for one of
// them to end; without, it would try for ever, and take a whole core.
static void starved(struct http_server *server)
{
    uint64_t now = uv_now(server->uv);
    server->starved = false;
    if (server->starved_said == 0 || now - server->starved_said > STARVED_SAY_MS) {
        server->starved_said = now;
        log_warn(server->config.log, "http",
                 "%s: the system refuses a new connection (open files or memory); clients wait",
                 server->listener->address);
    }
    if (server->connections > 0)
        return;
    uv_poll_stop(&server->poll);
    uv_idle_stop(&server->idle);
    server->pump = false;
    uv_timer_start(&server->backoff, on_backoff, STARVED_MS, 0);
}

// MHD counts a connection that it can do nothing about (an endless chunk extension) as pending
// work. It is closed by its idle timeout; until then it must not take a whole core.
static void plan_more(struct http_server *server, unsigned long seen_before)
{
    server->spins = server->seen == seen_before ? server->spins + 1 : 0;
    if (server->spins < SPINS_MAX) {
        server->pump = true;
        uv_idle_start(&server->idle, on_idle);
        return;
    }
    uv_idle_stop(&server->idle);
    uv_timer_start(&server->backoff, on_backoff, BACKOFF_MS, 0);
}

static void http_pump(struct http_server *server)
{
    if (!server->pump || server->stopped)
        return;
    unsigned long seen = server->seen;
    bool more = true;
    for (int round = 0; more && round < ROUNDS; round++) {
        server->pump = false;
        server->in_mhd = true;
        MHD_run(server->mhd);
        server->in_mhd = false;
        more = server->pump || mhd_has_more(server);
    }
    if (more) {
        plan_more(server, seen);
    } else {
        server->spins = 0;
        uv_idle_stop(&server->idle);
    }
    if (server->starved)
        starved(server);
    if (server->stopping && server->connections == 0)
        finish(server);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status, (void)events;
    struct http_server *server = handle->data;
    server->pump = true;
}
static void on_check(uv_check_t *handle) { http_pump(handle->data); }
static void on_prepare(uv_prepare_t *handle) { http_pump(handle->data); }

// ── the sweep ────────────────────────────────────────────────────────────────────────────────

// A head must be whole within idle_ms after the connection came or gave its last answer, however
// busily its bytes drip.
static void sweep_waiting(struct http_server *server, uint64_t now)
{
    list_each (&server->waiting, it, next) {
        struct http_connection *connection = list_entry(it, struct http_connection, node);
        if (now - connection->since <= (uint64_t)server->config.idle_ms)
            return;
        list_remove(&connection->node);
        shutdown(connection->fd, SHUT_RDWR);
    }
}

// MHD does not watch suspended connections. A client that closed its side is taken as gone.
static void sweep_parked(struct http_server *server, uint64_t now)
{
    struct pollfd fds[256];
    struct http_request *requests[256];
    nfds_t count = 0;
    list_each (&server->parked, it, next) {
        struct http_request *request = list_entry(it, struct http_request, parked_node);
        bool due = now - request->parked_since >= HTTP_SWEEP_MS;
        if (due) {
            requests[count] = request;
            fds[count++] = (struct pollfd){.fd = request->connection->fd, .events = POLLRDHUP};
        }
        if (count == 256 || (count > 0 && (!due || next == &server->parked))) {
            int found = poll(fds, count, 0);
            for (nfds_t i = 0; found > 0 && i < count; i++)
                if (fds[i].revents != 0)
                    http_request_cut(requests[i]);
            count = 0;
        }
        if (!due)
            return;
    }
}

static void on_sweep(uv_timer_t *handle)
{
    struct http_server *server = handle->data;
    uint64_t now = uv_now(server->uv);
    if (server->config.idle_ms > 0)
        sweep_waiting(server, now);
    sweep_parked(server, now);
    server->pump = true;  // MHD's own timeouts
}

void http_on_connection(void *cls, struct MHD_Connection *mhd, void **slot,
                        enum MHD_ConnectionNotificationCode what)
{
    struct http_server *server = cls;
    server->seen++;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct http_connection *connection = mem_alloc(sizeof(*connection));
        connection->server = server;
        connection->mhd = mhd;
        connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)
                             ->connect_fd;
        connection->since = uv_now(server->uv);
        list_push_back(&server->waiting, &connection->node);
        *slot = connection;
        if (server->connections++ == 0)
            uv_timer_start(&server->sweep, on_sweep, HTTP_SWEEP_MS, HTTP_SWEEP_MS);
        return;
    }
    struct http_connection *connection = *slot;
    *slot = NULL;
    list_remove(&connection->node);
    mem_free(connection);
    if (--server->connections == 0 && !server->stopped)
        uv_timer_stop(&server->sweep);
}

// ── start ────────────────────────────────────────────────────────────────────────────────────

static void on_mhd_log(void *cls, const char *fmt, va_list args)
{
    struct http_server *server = cls;
    // Its only way to say so; the text is in libmicrohttpd since 0.9.50.
    if (str_starts(str_of(fmt), STR("Hit process or system resource limit")))
        server->starved = true;
    char line[512];
    vsnprintf(line, sizeof(line), fmt, args);
    log_debug(server->config.log, "http", "%s", line);
}

// Paths and queries are decoded by http_query.c, which keeps what is malformed.
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls, (void)mhd;
    return strlen(text);
}

static char *read_pem(const char *path, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        err_errno(err, ERR_BAD_INPUT, errno, "cannot read %s", path);
        return NULL;
    }
    if (info.st_size <= 0 || info.st_size > PEM_MAX) {
        err_set(err, ERR_BAD_INPUT, "%s is not a PEM file: it has %lld bytes", path,
                (long long)info.st_size);
        return NULL;
    }
    char *text = mem_alloc((size_t)info.st_size + 1);
    ssize_t got = read(fd, text, (size_t)info.st_size);
    if (got == info.st_size)
        return text;
    mem_free(text);
    err_set(err, ERR_BAD_INPUT, "cannot read %s whole", path);
    return NULL;
}

static int read_tls(struct http_server *server, struct err *err)
{
    const struct http_server_config *config = &server->config;
    if (!config->tls_cert && !config->tls_key)
        return 0;
    if (!config->tls_cert || !config->tls_key)
        return err_set(err, ERR_BAD_INPUT, "TLS needs a certificate and a key: give both files");
    server->tls_cert = read_pem(config->tls_cert, err);
    if (!server->tls_cert)
        return -1;
    server->tls_key = read_pem(config->tls_key, err);
    return server->tls_key ? 0 : -1;
}

static unsigned clamp_unsigned(int64_t n)
{
    return n < 0 ? 0 : n > INT32_MAX ? INT32_MAX : (unsigned)n;
}

static struct MHD_Daemon *start_daemon(struct http_server *server, int listen_fd)
{
    const struct http_server_config *config = &server->config;
    unsigned per_address = server->listener->unix_path ? 0
                                                       : clamp_unsigned(config->per_address_max);
    struct MHD_OptionItem options[16] = {
        {MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_POOL, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)clamp_unsigned((config->idle_ms + 999) / 1000),
         NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)per_address, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_on_uri, server},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_on_completed, server},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)http_on_connection, server},
    };
    size_t count = 10;
    if (config->connections_max > 0)
        options[count++] = (struct MHD_OptionItem){
            MHD_OPTION_CONNECTION_LIMIT, (intptr_t)clamp_unsigned(config->connections_max), NULL};
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (server->tls_cert) {
        flags |= MHD_USE_TLS;
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls_cert};
        options[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls_key};
    }
    options[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return MHD_start_daemon(flags, 0, NULL, NULL, http_on_access, server,
                            MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, server, MHD_OPTION_ARRAY,
                            options, MHD_OPTION_END);
}

// The system may refuse to watch one more descriptor; nothing is open then.
static int open_handles(struct http_server *server, struct err *err)
{
    int epoll_fd = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int rc = uv_poll_init(server->uv, &server->poll, epoll_fd);
    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "cannot serve on %s: %s", server->listener->address,
                       uv_strerror(rc));
    uv_check_init(server->uv, &server->check);
    uv_prepare_init(server->uv, &server->prepare);
    uv_idle_init(server->uv, &server->idle);
    uv_timer_init(server->uv, &server->sweep);
    uv_timer_init(server->uv, &server->backoff);
    server->handles = 6;
    server->poll.data = server->check.data = server->prepare.data = server;
    server->idle.data = server->sweep.data = server->backoff.data = server;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);
    uv_check_start(&server->check, on_check);
    uv_prepare_start(&server->prepare, on_prepare);
    server->pump = true;  // puts the listening socket into the epoll set
    return 0;
}

static void free_server(struct http_server *server)
{
    http_listener_close(server->listener);
    http_spares_free(server);
    mem_free(server->tls_cert);
    mem_free(server->tls_key);
    mem_free(server);
}

struct http_server *http_server_start(struct loop *loop, const struct http_server_config *config,
                                      struct err *err)
{
    struct http_server *server = mem_alloc(sizeof(*server));
    server->config = *config;
    server->loop = loop;
    server->uv = loop_uv(loop);
    list_init(&server->waiting);
    list_init(&server->parked);
    list_init(&server->requests);
    list_init(&server->spares);
    list_init(&server->lingers);
    server->listener = config->listener;
    if (read_tls(server, err) ||
        (!server->listener && !(server->listener = http_listener_open(config->listen, err)))) {
        free_server(server);
        return NULL;
    }
    server->mhd = start_daemon(server, server->listener->fd);
    if (!server->mhd) {
        err_set(err, ERR_BAD_INPUT, "cannot serve on %s%s", server->listener->address,
                server->tls_cert ? ": the certificate and the key do not fit together, or one is "
                                   "not PEM"
                                 : "");
        free_server(server);
        return NULL;
    }
    server->listener->fd = -1;  // MHD's from here on
    if (open_handles(server, err)) {
        MHD_stop_daemon(server->mhd);
        free_server(server);
        return NULL;
    }
    return server;
}

void http_server_address(const struct http_server *server, char *out, size_t size)
{
    if (size > 0)
        snprintf(out, size, "%s", server->listener->address);
}

const char *http_server_certificate(const struct http_server *server) { return server->tls_cert; }

int64_t http_server_connections(const struct http_server *server) { return server->connections; }

// ── stop ─────────────────────────────────────────────────────────────────────────────────────

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    if (--server->handles > 0)
        return;
    void (*on_stopped)(void *arg) = server->on_stopped;
    void *arg = server->stopped_arg;
    free_server(server);
    if (on_stopped)
        on_stopped(arg);
}

// libmicrohttpd panics when it is stopped with suspended connections.
static void finish(struct http_server *server)
{
    server->stopped = true;
    loop_timer_cancel(server->grace);
    server->grace = NULL;
    uv_poll_stop(&server->poll);
    server->in_mhd = true;
    list_each (&server->requests, it, next)
        http_request_resume(list_entry(it, struct http_request, node));
    MHD_stop_daemon(server->mhd);
    server->in_mhd = false;
    http_linger_stop(server);
    uv_handle_t *handles[] = {(uv_handle_t *)&server->poll,    (uv_handle_t *)&server->check,
                              (uv_handle_t *)&server->prepare, (uv_handle_t *)&server->idle,
                              (uv_handle_t *)&server->sweep,   (uv_handle_t *)&server->backoff};
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        uv_close(handles[i], on_handle_closed);
}

static void on_grace_over(void *arg)
{
    struct http_server *server = arg;
    server->grace = NULL;
    if (!server->stopped)
        finish(server);
}

void http_server_stop(struct http_server *server, int64_t grace_ms, void (*on_stopped)(void *arg),
                      void *arg)
{
    if (server->stopping)
        return;
    server->stopping = true;
    server->on_stopped = on_stopped;
    server->stopped_arg = arg;
    MHD_socket fd = MHD_quiesce_daemon(server->mhd);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    list_each (&server->waiting, it, next)
        shutdown(list_entry(it, struct http_connection, node)->fd, SHUT_RDWR);
    server->grace = loop_timer_start(server->loop, grace_ms, 0, on_grace_over, server);
    server->pump = true;
}
