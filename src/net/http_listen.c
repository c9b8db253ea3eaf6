// SPDX-License-Identifier: Apache-2.0
// The listening socket: TCP or AF_UNIX. MHD borrows it.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_internal.h"

#define BACKLOG 4096  // the kernel cuts it to net.core.somaxconn

// A socket file that nobody answers on is left over from a process that was killed.
static int remove_stale(const struct sockaddr_un *where, const char *path, struct err *err)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return 0;
    if (!S_ISSOCK(info.st_mode))
        return err_set(err, ERR_CONFLICT,
                       "cannot listen on unix:%s: a file that is not a socket is there; "
                       "remove it or choose another path",
                       path);
    _cleanup_fd_ int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return err_errno(err, ERR_INTERNAL, errno, "cannot make a socket");
    if (connect(probe, (const struct sockaddr *)where, sizeof(*where)) == 0)
        return err_set(err, ERR_CONFLICT,
                       "cannot listen on unix:%s: another process listens there; stop it or "
                       "choose another path",
                       path);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_errno(err, ERR_CONFLICT, errno, "cannot remove the stale socket %s", path);
    return 0;
}

static int listen_unix(const char *path, struct err *err)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    _cleanup_fd_ int folder = -1;
    if (http_unix_name(path, where.sun_path, sizeof(where.sun_path), &folder, err) ||
        remove_stale(&where, path, err))
        return -1;
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(err, ERR_INTERNAL, errno, "cannot make a socket");
    // On Linux the file takes the mode of the socket's inode, so that it is never open to others.
    if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)&where, sizeof(where)) != 0 ||
        chmod(path, 0600) != 0 || listen(fd, BACKLOG) != 0)
        return err_errno(err, ERR_CONFLICT, errno, "cannot listen on unix:%s", path);
    int out = fd;
    fd = -1;
    return out;
}

// Splits "HOST:PORT" or "[HOST]:PORT" into out, a copy that is cut into pieces.
static int split(const char *where, char *out, size_t size, char **port, struct err *err)
{
    int len = snprintf(out, size, "%s", where);
    char *colon = len > 0 && (size_t)len < size ? strrchr(out, ':') : NULL;
    if (!colon || !colon[1] || (out[0] == '[' && colon[-1] != ']'))
        return err_set(err, ERR_BAD_INPUT,
                       "cannot listen on \"%s\": give HOST:PORT, [IPv6]:PORT or unix:PATH", where);
    *colon = 0;
    *port = colon + 1;
    // getaddrinfo takes any number and keeps its low 16 bits.
    if (strspn(*port, "0123456789") == strlen(*port) &&
        (strlen(*port) > 5 || strtol(*port, NULL, 10) > 65535))
        return err_set(err, ERR_BAD_INPUT, "cannot listen on \"%s\": a port is at most 65535",
                       where);
    if (out[0] == '[') {
        memmove(out, out + 1, strlen(out));
        out[strlen(out) - 1] = 0;
    }
    return 0;
}

static int open_tcp(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int listen_tcp(const char *where, struct err *err)
{
    char host[256], *port = NULL;
    if (split(where, host, sizeof(host), &port, err) != 0)
        return -1;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list = NULL;
    bool any = host[0] == 0 || strcmp(host, "*") == 0;
    int rc = getaddrinfo(any ? NULL : host, port, &hints, &list);
    if (rc != 0)
        return err_set(err, ERR_BAD_INPUT, "cannot listen on \"%s\": %s", where, gai_strerror(rc));
    int fd = -1, saved = 0;
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) {
        // Without a host the IPv6 socket serves both families.
        if (any && at->ai_family != AF_INET6 && list->ai_next)
            continue;
        fd = open_tcp(at);
        saved = errno;
    }
    for (struct addrinfo *at = list; any && at && fd < 0; at = at->ai_next)
        fd = open_tcp(at);
    freeaddrinfo(list);
    if (fd < 0)
        return err_errno(err, ERR_CONFLICT, saved, "cannot listen on \"%s\"", where);
    return fd;
}

static void write_address(int fd, char *out, size_t size)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    char host[INET6_ADDRSTRLEN] = "";
    out[0] = 0;
    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0)
        return;
    if (name.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&name;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (name.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&name;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    }
}

struct http_listener *http_listener_open(const char *listen, struct err *err)
{
    bool local = strncmp(listen, "unix:", 5) == 0;
    int fd = local ? listen_unix(listen + 5, err) : listen_tcp(listen, err);
    if (fd < 0)
        return NULL;
    struct http_listener *listener = mem_alloc(sizeof(*listener));
    listener->fd = fd;
    if (local) {
        listener->unix_path = mem_copy(listen + 5, strlen(listen + 5));
        snprintf(listener->address, sizeof(listener->address), "%s", listen);
    } else {
        write_address(fd, listener->address, sizeof(listener->address));
    }
    return listener;
}

const char *http_listener_address(const struct http_listener *listener)
{
    return listener->address;
}

void http_listener_close(struct http_listener *listener)
{
    if (!listener)
        return;
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->unix_path)
        unlink(listener->unix_path);
    mem_free(listener->unix_path);
    mem_free(listener);
}
