// SPDX-License-Identifier: Apache-2.0
// The kernel's other gifts: sockets, descriptors, processes, threads; and what goes out, recorded.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

#define FAILS(call, name) fault_hit(CALL_##call, #name, NULL, -1)

int socket(int domain, int type, int protocol)
{
    REAL(socket);
    return FAILS(SOCKET, socket) ? -1 : real(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int out[2])
{
    REAL(socketpair);
    return FAILS(SOCKET, socketpair) ? -1 : real(domain, type, protocol, out);
}

int bind(int fd, const struct sockaddr *at, socklen_t len)
{
    REAL(bind);
    return FAILS(SOCKET, bind) ? -1 : real(fd, at, len);
}

int listen(int fd, int backlog)
{
    REAL(listen);
    return FAILS(SOCKET, listen) ? -1 : real(fd, backlog);
}

int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    REAL(accept4);
    return FAILS(ACCEPT, accept4) ? -1 : real(fd, from, len, flags);
}

int accept(int fd, struct sockaddr *from, socklen_t *len)
{
    REAL(accept);
    return FAILS(ACCEPT, accept) ? -1 : real(fd, from, len);
}

int epoll_create1(int flags)
{
    REAL(epoll_create1);
    return FAILS(EPOLL, epoll_create1) ? -1 : real(flags);
}

int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    REAL(epoll_ctl);
    return op != EPOLL_CTL_DEL && FAILS(EPOLL, epoll_ctl) ? -1 : real(epoll, op, fd, event);
}

int eventfd(unsigned value, int flags)
{
    REAL(eventfd);
    return FAILS(EVENTFD, eventfd) ? -1 : real(value, flags);
}

int timerfd_create(int clock, int flags)
{
    REAL(timerfd_create);
    return FAILS(TIMERFD, timerfd_create) ? -1 : real(clock, flags);
}

int pipe2(int out[2], int flags)
{
    REAL(pipe2);
    return FAILS(PIPE, pipe2) ? -1 : real(out, flags);
}

int pipe(int out[2])
{
    REAL(pipe);
    return FAILS(PIPE, pipe) ? -1 : real(out);
}

pid_t fork(void)
{
    REAL(fork);
    return FAILS(FORK, fork) ? -1 : real();
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                const posix_spawnattr_t *attributes, char *const arguments[],
                char *const environment[])
{
    REAL(posix_spawn);
    return FAILS(FORK, posix_spawn) ? errno
                                    : real(pid, path, files, attributes, arguments, environment);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*main)(void *),
                   void *arg)
{
    REAL(pthread_create);
    return FAILS(THREAD, pthread_create) ? errno : real(out, attributes, main, arg);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    REAL(mmap);
    return FAILS(MMAP, mmap) ? MAP_FAILED : real(at, len, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset)
{
    REAL(mmap64);
    return FAILS(MMAP, mmap64) ? MAP_FAILED : real(at, len, protection, flags, fd, offset);
}

// The product's own calls by number are pidfd_open and pidfd_send_signal.
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    if (!real)
        real = (long (*)(long, ...))fault_real("syscall");
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open && FAILS(PIDFD, pidfd_open))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// ── sockets' bytes ───────────────────────────────────────────────────────────────────────────

static void note(int fd, const void *at, size_t len)
{
    record_lock();
    record_add(RECORD_SEND, "", fd, at, len);
    record_unlock();
}

ssize_t recv(int fd, void *at, size_t len, int flags)
{
    REAL(recv);
    return FAILS(RECEIVE, recv) ? -1 : real(fd, at, len, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    REAL(recvmsg);
    return FAILS(RECEIVE, recvmsg) ? -1 : real(fd, message, flags);
}

ssize_t send(int fd, const void *at, size_t len, int flags)
{
    REAL(send);
    if (FAILS(SEND, send))
        return -1;
    if (record_on())
        note(fd, at, len);
    return real(fd, at, len, flags);
}

static void note_all(int fd, const struct iovec *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        note(fd, parts[i].iov_base, parts[i].iov_len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    if (FAILS(SEND, sendmsg))
        return -1;
    if (record_on())
        note_all(fd, message->msg_iov, message->msg_iovlen);
    return real(fd, message, flags);
}

// MHD and libuv write sockets with it; our files are not written so.
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    REAL(writev);
    if (FAILS(SEND, writev))
        return -1;
    if (record_on())
        note_all(fd, parts, (size_t)count);
    return real(fd, parts, count);
}
