// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CREDIT_MAX (1ll << 40)  // bytes; more credit than this is not counted

int64_t channel_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// The agent is gone or not to be understood: says so on standard error and ends the process.
static _Noreturn void give_up(const char *why)
{
    if (why) {
        ssize_t ignored = write(STDERR_FILENO, why, strlen(why));
        (void)ignored;
    }
    _exit(1);
}

static void queue_add(struct frame_queue *queue, struct frame *frame)
{
    frame->next = NULL;
    *queue->last = frame;
    queue->last = &frame->next;
    queue->count++;
}

static struct frame *queue_cut(struct frame_queue *queue, struct frame **at)
{
    struct frame *frame = *at;
    if (!frame)
        return NULL;
    *at = frame->next;
    if (!frame->next)
        queue->last = at;
    queue->count--;
    frame->next = NULL;
    return frame;
}

// Above least, out of the way of code that closes or reuses low numbers.
static int event_above(int least)
{
    int low = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int high = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, least);
    if (high < 0)
        return low;
    close(low);
    return high;
}

bool channel_start(struct channel *channel, int fd, int64_t credit)
{
    *channel = (struct channel){
        .fd = fd,
        .wake = event_above(fd),
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .work = PTHREAD_COND_INITIALIZER,
        .writable = PTHREAD_COND_INITIALIZER,
        .room = PTHREAD_COND_INITIALIZER,
        .credit = credit,
    };
    channel->invokes.last = &channel->invokes.first;
    channel->control.last = &channel->control.first;
    return channel->wake >= 0;
}

// Reading

// Wakes one idle thread, unless one is on its way already: it wakes the next when it has taken its
// invoke, so that threads which find nothing left to do are not woken. The mutex is held.
static void wake_one(struct channel *channel)
{
    if (channel->invokes.count == 0 || channel->idle == 0 || channel->waking)
        return;
    channel->waking = true;
    pthread_cond_signal(&channel->work);
}

static void add_control(struct channel *channel, struct frame *frame)
{
    pthread_mutex_lock(&channel->mutex);
    queue_add(&channel->control, frame);
    pthread_mutex_unlock(&channel->mutex);
    uint64_t one = 1;
    ssize_t ignored = write(channel->wake, &one, sizeof one);
    (void)ignored;
}

static void add_credit(struct channel *channel, struct span bytes)
{
    int64_t more;
    if (!span_int(bytes, &more) || more < 0)
        give_up("drover runner: a credit frame without bytes\n");
    pthread_mutex_lock(&channel->mutex);
    channel->credit += more;
    if (channel->credit > CREDIT_MAX)
        channel->credit = CREDIT_MAX;
    pthread_cond_broadcast(&channel->room);
    pthread_mutex_unlock(&channel->mutex);
}

static bool is_string(struct span span) { return span.size >= 2 && span.at[0] == '"'; }

static void add_invoke(struct channel *channel, struct frame *frame)
{
    int64_t fence;
    if (!is_string(frame->id) || !is_string(frame->function) || !span_int(frame->fence, &fence))
        give_up("drover runner: an invoke frame without id, fence or function\n");
    if (!frame->input.size)
        frame->input = (struct span){"{}", 2};
    if (!frame->execution.size)
        frame->execution = (struct span){"{}", 2};
    pthread_mutex_lock(&channel->mutex);
    queue_add(&channel->invokes, frame);
    wake_one(channel);
    pthread_mutex_unlock(&channel->mutex);
}

static struct span *member_of(struct frame *frame, struct span name)
{
    if (span_is(name, "id"))
        return &frame->id;
    if (span_is(name, "fence"))
        return &frame->fence;
    if (span_is(name, "function"))
        return &frame->function;
    if (span_is(name, "input"))
        return &frame->input;
    if (span_is(name, "execution"))
        return &frame->execution;
    return NULL;
}

// Takes ownership of the frame.
static void accept_frame(struct channel *channel, struct frame *frame)
{
    struct scan scan;
    struct span name, value, type = {0}, bytes = {0};
    int more = scan_object(&scan, (struct span){frame->bytes, frame->size}) ? 1 : -1;
    while (more == 1 && (more = scan_member(&scan, &name, &value)) == 1) {
        struct span *member = member_of(frame, name);
        if (member)
            *member = value;
        else if (span_is(name, "t"))
            type = value;
        else if (span_is(name, "bytes"))
            bytes = value;
    }
    if (more < 0)
        give_up("drover runner: the agent sent a frame that is not a JSON object\n");
    if (span_is(type, "\"invoke\"")) {
        add_invoke(channel, frame);
    } else if (span_is(type, "\"credit\"")) {
        add_credit(channel, bytes);
        free(frame);
    } else {
        add_control(channel, frame);
    }
}

static void receive(int fd, char *bytes, size_t *have, size_t room)
{
    ssize_t got;
    do {
        got = recv(fd, bytes + *have, room - *have, 0);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        give_up(NULL);
    if (got < 0)
        give_up("drover runner: cannot read from the agent\n");
    *have += (size_t)got;
}

static size_t frame_size(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

static struct frame *frame_new(size_t size)
{
    if (size > CHANNEL_FRAME_MAX)
        give_up("drover runner: the agent sent a frame of more than 64 MiB\n");
    struct frame *frame = malloc(sizeof *frame + size);
    if (!frame)
        give_up("drover runner: no memory for a frame\n");
    memset(frame, 0, sizeof *frame);
    frame->size = size;
    return frame;
}

// Hands out what is whole in bytes; gives the number of bytes used.
static size_t accept_frames(struct channel *channel, const char *bytes, size_t have)
{
    size_t used = 0;
    while (have - used >= 4) {
        size_t size = frame_size(bytes + used);
        if (size > have - used - 4)
            break;
        struct frame *frame = frame_new(size);
        memcpy(frame->bytes, bytes + used + 4, size);
        used += 4 + size;
        accept_frame(channel, frame);
    }
    return used;
}

_Noreturn void channel_read(struct channel *channel)
{
    char *bytes = malloc(CHANNEL_TAKE);
    if (!bytes)
        give_up("drover runner: no memory to read with\n");
    size_t have = 0;
    for (;;) {
        receive(channel->fd, bytes, &have, CHANNEL_TAKE);
        size_t used = accept_frames(channel, bytes, have);
        have -= used;
        memmove(bytes, bytes + used, have);
        if (have < 4 || frame_size(bytes) + 4 <= CHANNEL_TAKE)
            continue;
        // Too large for the buffer: read the rest into its own place.
        struct frame *frame = frame_new(frame_size(bytes));
        size_t filled = have - 4;
        memcpy(frame->bytes, bytes + 4, filled);
        while (filled < frame->size)
            receive(channel->fd, frame->bytes, &filled, frame->size);
        have = 0;
        accept_frame(channel, frame);
    }
}

// Taking

bool channel_wait(struct channel *channel)
{
    pthread_mutex_lock(&channel->mutex);
    while (channel->invokes.count == 0 && !channel->stopping) {
        channel->idle++;
        pthread_cond_wait(&channel->work, &channel->mutex);
        channel->idle--;
        if (channel->invokes.count == 0)
            channel->waking = false;
    }
    bool more = channel->invokes.count > 0;
    pthread_mutex_unlock(&channel->mutex);
    return more;
}

struct frame *channel_take(struct channel *channel, bool woken)
{
    pthread_mutex_lock(&channel->mutex);
    struct frame *frame = queue_cut(&channel->invokes, &channel->invokes.first);
    if (woken) {
        channel->waking = false;
        wake_one(channel);
    }
    pthread_mutex_unlock(&channel->mutex);
    return frame;
}

struct frame *channel_withdraw(struct channel *channel, struct span id)
{
    struct frame *found = NULL;
    pthread_mutex_lock(&channel->mutex);
    for (struct frame **at = &channel->invokes.first; *at && !found; at = &(*at)->next) {
        if ((*at)->id.size == id.size && memcmp((*at)->id.at, id.at, id.size) == 0) {
            found = queue_cut(&channel->invokes, at);
            break;
        }
    }
    pthread_mutex_unlock(&channel->mutex);
    return found;
}

bool channel_wait_control(struct channel *channel)
{
    struct pollfd poller = {.fd = channel->wake, .events = POLLIN};
    return poll(&poller, 1, -1) > 0;
}

struct frame *channel_take_control(struct channel *channel)
{
    uint64_t count;
    pthread_mutex_lock(&channel->mutex);
    struct frame *frame = queue_cut(&channel->control, &channel->control.first);
    if (channel->control.count == 0) {
        ssize_t ignored = read(channel->wake, &count, sizeof count);
        (void)ignored;
    }
    pthread_mutex_unlock(&channel->mutex);
    return frame;
}

void channel_stop(struct channel *channel)
{
    pthread_mutex_lock(&channel->mutex);
    channel->stopping = true;
    pthread_cond_broadcast(&channel->work);
    pthread_mutex_unlock(&channel->mutex);
}

// Writing

// Spares the writer's wake-up when nobody else is about to have something to send. The mutex is
// held; what the socket does not take at once is the writer's.
static void send_now(struct channel *channel)
{
    struct buffer *out = &channel->out;
    ssize_t sent = send(channel->fd, out->bytes, out->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0)
        return;  // also an error, which the writer will meet
    out->size -= (size_t)sent;
    memmove(out->bytes, out->bytes + sent, out->size);
}

// The mutex is held.
static bool put(struct channel *channel, const struct buffer *frames, size_t cost)
{
    if (cost > 0 && channel->credit < (int64_t)cost)
        return false;
    if (channel->out.size > 0 && channel->out.size + frames->size > CHANNEL_ROOM)
        return false;
    buffer_add(&channel->out, frames->bytes, frames->size);
    if (channel->out.failed)
        give_up("drover runner: no memory for what is to be written\n");
    channel->credit -= (int64_t)cost;
    if (channel->writer_idle && channel->invokes.count == 0)
        send_now(channel);
    if (channel->writer_idle && channel->out.size > 0) {
        channel->writer_idle = false;
        pthread_cond_signal(&channel->writable);
    }
    return true;
}

bool channel_try_put(struct channel *channel, const struct buffer *frames, size_t cost)
{
    pthread_mutex_lock(&channel->mutex);
    bool done = put(channel, frames, cost);
    pthread_mutex_unlock(&channel->mutex);
    return done;
}

void channel_put(struct channel *channel, const struct buffer *frames, size_t cost)
{
    pthread_mutex_lock(&channel->mutex);
    while (!put(channel, frames, cost))
        pthread_cond_wait(&channel->room, &channel->mutex);
    pthread_mutex_unlock(&channel->mutex);
}

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            give_up(errno == EPIPE || errno == ECONNRESET
                        ? NULL
                        : "drover runner: cannot write to the agent\n");
        bytes += sent;
        size -= (size_t)sent;
    }
}

_Noreturn void channel_write(struct channel *channel)
{
    struct buffer taken = {0};
    pthread_mutex_lock(&channel->mutex);
    for (;;) {
        while (channel->out.size == 0) {
            channel->writer_idle = true;
            pthread_cond_wait(&channel->writable, &channel->mutex);
        }
        channel->writer_idle = false;
        struct buffer spare = taken;
        taken = channel->out;
        channel->out = spare;
        channel->sending = true;
        pthread_mutex_unlock(&channel->mutex);
        send_all(channel->fd, taken.bytes, taken.size);
        taken.size = 0;
        if (taken.room > CHANNEL_TAKE)
            buffer_free(&taken);
        pthread_mutex_lock(&channel->mutex);
        channel->sending = false;
        pthread_cond_broadcast(&channel->room);
    }
}

bool channel_flush(struct channel *channel, int64_t milliseconds)
{
    int64_t end = channel_now() + milliseconds;
    struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    int failure = 0;
    pthread_mutex_lock(&channel->mutex);
    while ((channel->out.size > 0 || channel->sending) && failure == 0)
        failure = pthread_cond_timedwait(&channel->room, &channel->mutex, &until);
    pthread_mutex_unlock(&channel->mutex);
    return failure == 0;
}
