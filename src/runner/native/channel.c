// SPDX-License-Identifier: Apache-2.0
#include "runner/native/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/frame.h"

#define READ_BYTES (64u << 10)
#define PREFIX     4

void channel_init(struct channel *channel, int fd, int64_t credit)
{
    *channel = (struct channel){
        .fd = fd, .credit = credit, .in = BUF_INIT(FRAME_MAX + PREFIX + READ_BYTES)};
    pthread_mutex_init(&channel->mutex, NULL);
    pthread_mutex_init(&channel->writing, NULL);
    pthread_cond_init(&channel->room, NULL);
}

void channel_give_up(const char *why)
{
    if (why)
        dprintf(STDERR_FILENO, "drover runner: %s\n", why);
    _exit(1);
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

// False: nothing is there now.
static bool receive(struct channel *channel, size_t most, int flags)
{
    buf_drop_front(&channel->in, channel->used);
    channel->used = 0;
    char *room = buf_reserve(&channel->in, most);
    if (!room)
        channel_give_up("a frame is larger than this runner can hold");
    ssize_t got;
    do
        got = recv(channel->fd, room, most, flags);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (got <= 0)
        channel_give_up(got < 0 && errno != ECONNRESET ? "cannot read from the agent" : NULL);
    channel->in.len += (size_t)got;
    return true;
}

// Bytes that the last frame in the buffer still lacks, or the next one's length.
static size_t lacking(const struct channel *channel)
{
    size_t at = channel->used, have = channel->in.len;
    for (;;) {
        if (have - at < PREFIX)
            return PREFIX - (have - at);
        const unsigned char *prefix = (const unsigned char *)channel->in.at + at;
        size_t size = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 |
                      prefix[3];
        if (size > FRAME_MAX)
            channel_give_up("the agent sent a frame of more than 64 MiB");
        if (have - at < PREFIX + size)
            return PREFIX + size - (have - at);
        at += PREFIX + size;
    }
}

bool channel_has_part(const struct channel *channel) { return channel->in.len > channel->used; }

void channel_fill(struct channel *channel) { receive(channel, READ_BYTES, MSG_DONTWAIT); }

bool channel_next(struct channel *channel, struct json *frame, struct str *type)
{
    struct str text;
    struct err err = ERR_INIT;
    struct json kind;
    int got = frame_next(buf_str(&channel->in), &channel->used, &text, &err);
    if (got == 0)
        return false;
    if (got < 0 || json_parse(text, JSON_DEPTH_LIMIT, frame, &err))
        channel_give_up(err.message);
    bool named = json_get(*frame, "t", &kind) && json_is(kind, JSON_STRING);
    *type = named ? (struct str){kind.text.at + 1, kind.text.len - 2} : STR("");
    return true;
}

struct json channel_read(struct channel *channel, bool exact, struct str *type)
{
    struct json frame;
    while (!channel_next(channel, &frame, type))
        receive(channel, exact ? lacking(channel) : READ_BYTES, 0);
    return frame;
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

// The agent may be waiting for us to read.
static void wait_for_room(struct channel *channel)
{
    struct pollfd polled = {.fd = channel->fd, .events = POLLOUT};
    if (channel->alone)
        polled.events |= POLLIN;
    if (poll(&polled, 1, -1) > 0 && polled.revents & POLLIN)
        receive(channel, lacking(channel), MSG_DONTWAIT);
}

// Writers take turns; whoever reads never waits for them.
static void send_all(struct channel *channel, struct str bytes)
{
    pthread_mutex_lock(&channel->writing);
    while (bytes.len > 0) {
        ssize_t sent = send(channel->fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            wait_for_room(channel);
        else if (sent < 0 && errno != EINTR)
            channel_give_up(errno == EPIPE || errno == ECONNRESET ? NULL
                                                                  : "cannot write to the agent");
        else if (sent > 0)
            bytes = (struct str){bytes.at + sent, bytes.len - (size_t)sent};
    }
    pthread_mutex_unlock(&channel->writing);
}

static bool pay(struct channel *channel, int64_t cost, bool wait)
{
    pthread_mutex_lock(&channel->mutex);
    while (wait && cost > 0 && channel->credit < cost)
        pthread_cond_wait(&channel->room, &channel->mutex);
    bool enough = cost == 0 || channel->credit >= cost;
    channel->credit -= enough ? cost : 0;
    pthread_mutex_unlock(&channel->mutex);
    return enough;
}

void channel_send(struct channel *channel, struct str frames, int64_t cost)
{
    pay(channel, cost, true);
    send_all(channel, frames);
}

bool channel_try_send(struct channel *channel, struct str frames, int64_t cost)
{
    if (!pay(channel, cost, false))
        return false;
    send_all(channel, frames);
    return true;
}

void channel_add_credit(struct channel *channel, struct json frame)
{
    struct json bytes = {0};
    int64_t more;
    json_get(frame, "bytes", &bytes);
    if (!json_int(bytes, &more) || more < 0)
        channel_give_up("a credit frame without bytes");
    pthread_mutex_lock(&channel->mutex);
    channel->credit += more < CHANNEL_NO_END - channel->credit ? more : 0;
    pthread_cond_broadcast(&channel->room);
    pthread_mutex_unlock(&channel->mutex);
}
