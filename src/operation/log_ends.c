// SPDX-License-Identifier: Apache-2.0
#include "operation/log_ends.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/loop.h"

#define TICK_MS    500
#define LOST_MS    30000   // an agent that is alive has not handed its lines over for so long
#define GONE_MS    2000    // lines of an agent that is gone may still be on their way to the disk
#define FORGET_MS  600000  // how long it is remembered that lines were lost
#define RESTART_MS 5000    // agents that outlived a server have handed over what they had
#define LOST_LINE                                                                                  \
    "the last log lines of this execution were lost: its agent ended, or did not hand them over "  \
    "within 30 s"

struct stream {        // a replica's lines
    struct list ends;  // of executions whose last line is not stored yet
    char *replica_id;
    int64_t first, stored;  // of the newest batch that was stored
    int64_t heard_at;       // mono ms
};

struct end {
    struct list node;  // of a stream, or of the orphans; a list of its own when it waits for none
    char *execution_id;
    struct stream *stream;  // NULL: its replica is gone, or it waits for none
    char *replica_id;       // of an orphan
    int64_t last;           // the line's number
    int64_t since;          // mono ms: of its result
    int64_t deadline;       // mono ms: an orphan is lost, a lost one is forgotten; 0: none
    int holds;
    bool lost;
};

struct log_ends {
    const struct platform *platform;
    struct map *streams, *ends;
    struct list orphans;
    struct loop_timer *tick;
    int64_t started_wall, started_mono;
};

static int64_t now_of(const struct log_ends *ends) { return clock_mono(ends->platform->clock); }

struct log_ends *log_ends_new(const struct platform *platform)
{
    struct log_ends *ends = mem_alloc(sizeof(*ends));
    ends->platform = platform;
    ends->streams = map_new();
    ends->ends = map_new();
    list_init(&ends->orphans);
    ends->started_wall = clock_wall(platform->clock);
    ends->started_mono = clock_mono(platform->clock);
    return ends;
}

// ── one execution ────────────────────────────────────────────────────────────────────────────

static struct end *end_made(struct log_ends *ends, struct str execution_id)
{
    struct end *end = map_get(ends->ends, execution_id);
    if (end)
        return end;
    end = mem_alloc(sizeof(*end));
    list_init(&end->node);
    end->execution_id = mem_copy(execution_id.at, execution_id.len);
    map_put(ends->ends, (struct str){end->execution_id, execution_id.len}, end);
    return end;
}

static void end_free(struct end *end)
{
    list_remove(&end->node);
    mem_free(end->replica_id);
    mem_free(end->execution_id);
    mem_free(end);
}

// Forgets it, unless something is still to come.
static void end_settle(struct log_ends *ends, struct end *end)
{
    if (!list_empty(&end->node) || end->holds > 0 || end->lost)
        return;
    map_remove(ends->ends, str_of(end->execution_id));
    end_free(end);
}

static void end_leave(struct end *end)
{
    list_remove(&end->node);
    mem_free(end->replica_id);
    end->replica_id = NULL;
    end->stream = NULL;
    end->deadline = 0;
}

void log_ends_hold(struct log_ends *ends, struct str execution_id)
{
    if (ends)
        end_made(ends, execution_id)->holds++;
}

void log_ends_release(struct log_ends *ends, struct str execution_id)
{
    struct end *end = ends ? map_get(ends->ends, execution_id) : NULL;
    if (!end)
        return;
    end->holds--;
    end_settle(ends, end);
}

struct held_lines {
    struct log_ends *ends;
    char *execution_id;
};

static void on_written(void *arg, const struct err *err)
{
    struct held_lines *held = arg;
    (void)err;
    log_ends_release(held->ends, str_of(held->execution_id));
    mem_free(held->execution_id);
    mem_free(held);
}

void log_ends_write(const struct platform *platform, const struct log_line *lines, size_t count)
{
    struct log_ends *ends = platform->log_ends;
    struct str id = lines[0].execution_id;
    if (!ends) {
        logs_append(platform->logs, lines, count, NULL, NULL);
        return;
    }
    struct held_lines *held = mem_alloc(sizeof(*held));
    held->ends = ends;
    held->execution_id = mem_copy(id.at, id.len);
    log_ends_hold(ends, id);
    logs_append(platform->logs, lines, count, on_written, held);
}

enum log_end log_ends_of(const struct log_ends *ends, struct str execution_id, int64_t ended_at)
{
    const struct end *end = ends ? map_get(ends->ends, execution_id) : NULL;
    if (end)
        return end->lost ? LOG_END_LOST : LOG_END_OPEN;
    bool unknown = ends && ended_at <= ends->started_wall &&
                   ended_at > ends->started_wall - LOST_MS &&
                   now_of(ends) - ends->started_mono < RESTART_MS;
    return unknown ? LOG_END_OPEN : LOG_END_COMPLETE;
}

// ── what was lost ────────────────────────────────────────────────────────────────────────────

struct losing {  // its log is to say so
    struct log_ends *ends;
    struct arena *arena;
    struct str execution_id;
    struct execution execution;
    bool found;
};

static int losing_read(struct op *op, void *arg, struct err *err)
{
    struct losing *losing = arg;
    losing->found = tx_get(op->tx, &execution_entity, losing->execution_id, &losing->execution,
                           losing->arena, err) == 0;
    if (!losing->found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

static void losing_done(void *arg, struct err *err)
{
    struct losing *losing = arg;
    const struct platform *platform = losing->ends->platform;
    if (err->kind == ERR_NONE && losing->found) {
        struct log_line line = {.at = clock_wall(platform->clock),
                                .level = LINE_WARNING,
                                .system = true,
                                .service_id = losing->execution.service_id,
                                .project_id = losing->execution.project_id,
                                .execution_id = losing->execution_id,
                                .function_name = losing->execution.function_name,
                                .message = STR(LOST_LINE)};
        log_ends_write(platform, &line, 1);
    }
    log_ends_release(losing->ends, losing->execution_id);
    arena_free(losing->arena);
    mem_free(losing);
}

static void end_lose(struct log_ends *ends, struct end *end)
{
    struct losing *losing = mem_alloc(sizeof(*losing));
    losing->ends = ends;
    losing->arena = arena_new();
    losing->execution_id = arena_copy(losing->arena, str_of(end->execution_id));
    end_leave(end);
    end->lost = true;
    end->deadline = now_of(ends) + FORGET_MS;
    log_ends_hold(ends, losing->execution_id);
    op_run(ends->platform, OP_READ, losing_read, losing_done, losing);
}

static void on_tick(void *arg)
{
    struct log_ends *ends = arg;
    int64_t now = now_of(ends);
    size_t cursor = 0, timed = 0;
    struct str key;
    for (struct end *end; (end = map_next(ends->ends, &cursor, &key));) {
        int64_t deadline = end->deadline;
        if (end->stream)
            deadline = LOST_MS +
                       (end->stream->heard_at > end->since ? end->stream->heard_at : end->since);
        bool over = deadline > 0 && deadline <= now;
        if (over && end->lost && end->holds == 0) {
            map_remove(ends->ends, key);
            end_free(end);
            continue;
        }
        if (over && !end->lost)
            end_lose(ends, end);
        timed += deadline > 0;
    }
    if (timed > 0)
        return;
    loop_timer_cancel(ends->tick);
    ends->tick = NULL;
}

static void tick_start(struct log_ends *ends)
{
    if (!ends->tick)
        ends->tick = loop_timer_start(ends->platform->loop, TICK_MS, TICK_MS, on_tick, ends);
}

// ── replicas ─────────────────────────────────────────────────────────────────────────────────

static struct stream *stream_made(struct log_ends *ends, struct str replica_id)
{
    struct stream *stream = map_get(ends->streams, replica_id);
    if (stream)
        return stream;
    stream = mem_alloc(sizeof(*stream));
    list_init(&stream->ends);
    stream->replica_id = mem_copy(replica_id.at, replica_id.len);
    map_put(ends->streams, (struct str){stream->replica_id, replica_id.len}, stream);
    return stream;
}

void log_ends_result(struct log_ends *ends, struct str replica_id, struct str execution_id,
                     int64_t last)
{
    if (!ends)
        return;
    struct end *end = map_get(ends->ends, execution_id);
    struct stream *stream = last > 0 ? stream_made(ends, replica_id) : NULL;
    if (end) {  // of an attempt before
        end_leave(end);
        end->lost = false;
    }
    if (stream && stream->stored < last) {
        end = end_made(ends, execution_id);
        end->last = last;
        end->since = now_of(ends);
        end->stream = stream;
        list_push_back(&stream->ends, &end->node);
        tick_start(ends);
    } else if (end) {
        end_settle(ends, end);
    }
}

void log_ends_stored(struct log_ends *ends, struct str replica_id, int64_t first, int64_t count)
{
    if (!ends || !replica_id.at || first < 1 || count < 1 || first > INT64_MAX - count)
        return;
    struct stream *stream = stream_made(ends, replica_id);
    stream->first = first;
    stream->stored = first + count - 1;
    stream->heard_at = now_of(ends);
    list_each (&stream->ends, it, next) {
        struct end *end = list_entry(it, struct end, node);
        if (end->last > stream->stored)
            continue;
        end_leave(end);
        end_settle(ends, end);
    }
    // A replica that is gone may have been started again: its numbers are higher then.
    list_each (&ends->orphans, at, after) {
        struct end *end = list_entry(at, struct end, node);
        if (end->last < first || end->last > stream->stored || !str_is(replica_id, end->replica_id))
            continue;
        end_leave(end);
        end_settle(ends, end);
    }
}

int64_t log_ends_repeated(const struct log_ends *ends, struct str replica_id, int64_t first,
                          int64_t count)
{
    const struct stream *stream = ends ? map_get(ends->streams, replica_id) : NULL;
    if (!stream || first < 1 || stream->first != first)
        return 0;
    int64_t known = stream->stored - first + 1;
    return known < count ? known : count;
}

void log_ends_gone(struct log_ends *ends, struct str replica_id)
{
    struct stream *stream = ends ? map_remove(ends->streams, replica_id) : NULL;
    if (!stream)
        return;
    int64_t soon = now_of(ends) + GONE_MS;
    list_each (&stream->ends, it, next) {
        struct end *end = list_entry(it, struct end, node);
        end_leave(end);
        end->deadline = soon;
        end->replica_id = mem_copy(replica_id.at, replica_id.len);
        list_push_back(&ends->orphans, &end->node);
    }
    mem_free(stream->replica_id);
    mem_free(stream);
}

void log_ends_free(struct log_ends *ends)
{
    size_t cursor = 0;
    struct str key;
    if (!ends)
        return;
    loop_timer_cancel(ends->tick);
    for (struct end *end; (end = map_next(ends->ends, &cursor, &key));)
        end_free(end);
    cursor = 0;
    for (struct stream *stream; (stream = map_next(ends->streams, &cursor, &key));) {
        mem_free(stream->replica_id);
        mem_free(stream);
    }
    map_free(ends->ends);
    map_free(ends->streams);
    mem_free(ends);
}
