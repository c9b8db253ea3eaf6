// SPDX-License-Identifier: Apache-2.0
// Bodies of the agent link: "x" exchange, "h" hello and "l" log lines as the server reads them, "a"
// an assignment and "s" a spec file as the agent does.
#include <fcntl.h>

#include "agent/assignment.h"
#include "agent/spec.h"
#define assignment server_assignment  // the server has its own
#include "api/agent_json.h"
#undef assignment
#include "fuzz.h"

static void exchange(struct json body, struct arena *arena)
{
    struct dispatch_exchange x = {.arena = arena};
    struct err err = ERR_INIT;
    int64_t seq;
    if (agent_read_exchange(body, 5, &x, &seq, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    for (size_t i = 0; i < x.held_count; i++)
        HOLDS(x.held[i].id.at, "held without an id");
    for (size_t i = 0; i < x.result_count; i++) {
        HOLDS(x.results[i].ref.id.at && x.results[i].ref.fence >= 0, "a result without its fence");
        if (x.results[i].output.at)
            fuzz_written(x.results[i].output);
    }
    HOLDS(x.capacity >= 0 && x.wait_ms >= 0, "capacity %lld", (long long)x.capacity);
}

static void hello(struct json body, struct arena *arena)
{
    struct str replica;
    struct dispatch_ref *held;
    size_t count;
    struct err err = ERR_INIT;
    if (agent_read_hello(body, arena, &replica, &held, &count, &err) < 0)
        fuzz_error(&err);
    else
        HOLDS(replica.len > 0, "no replica");
}

static void lines(struct json body, struct arena *arena)
{
    struct log_line common = {.at = 5, .level = LINE_INFO}, *list;
    size_t count;
    int64_t first;
    struct err err = ERR_INIT;
    if (agent_read_lines(body, &common, arena, &first, &list, &count, &err) < 0)
        fuzz_error(&err);
    else
        for (size_t i = 0; i < count; i++)
            HOLDS(list[i].level > 0, "a line without a level");
}

static void assigned(struct str text, struct arena *arena)
{
    struct assignment assignment;
    struct err err = ERR_INIT;
    if (assignment_parse(text, &assignment, arena, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    HOLDS(assignment.session && assignment.lease_ms > 0, "no session");
    if (assignment.keep)
        return;
    HOLDS(assignment.concurrency > 0, "concurrency %lld", (long long)assignment.concurrency);
    for (size_t i = 0; i < assignment.requirement_count; i++)
        HOLDS(assignment.requirements[i].at, "an absent requirement");
    for (size_t i = 0; i < assignment.env_count; i++)
        HOLDS(strchr(assignment.env[i], '='), "%s", assignment.env[i]);
    if (assignment.code.type == CODE_GIT)
        HOLDS(assignment.code.url && assignment.code.url[0] != '-', "url");
    else
        HOLDS(strlen(assignment.code.sha256) == 64 && !strpbrk(assignment.code.sha256, "/."), "%s",
              assignment.code.sha256);
}

static void spec_file(struct str text, struct arena *arena)
{
    struct agent_spec spec;
    struct err err = ERR_INIT;
    char path[96];
    snprintf(path, sizeof(path), "%s/spec", fuzz_folder());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.at, text.len) != (ssize_t)text.len)
        abort();
    close(fd);
    if (agent_spec_read(path, &spec, arena, &err) < 0)
        fuzz_error(&err);
    else
        HOLDS(spec.replica_id && spec.token && spec.folder, "a spec that lacks something");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    unsigned char which = input_byte(&in);
    _cleanup_input_ struct str text = input_rest(&in);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct json body;
    if (which == 'a')
        assigned(text, arena);
    else if (which == 's')
        spec_file(text, arena);
    else if (!fuzz_json(text, &body))
        return 0;
    else if (which == 'x')
        exchange(body, arena);
    else if (which == 'h')
        hello(body, arena);
    else if (which == 'l')
        lines(body, arena);
    return 0;
}
