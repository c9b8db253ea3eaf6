// SPDX-License-Identifier: Apache-2.0
#include "runner/native/processes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "runner/native/execution.h"
#include "runner/native/family.h"

static void on_invoke(struct relay *relay, struct json frame)
{
    struct run *run = run_new(frame);
    if (!run)
        channel_give_up("an invoke frame without id, fence or function");
    execution_start(relay, run);
}

static struct execution *find(struct relay *relay, struct json frame)
{
    struct json id = {0};
    json_get(frame, "id", &id);
    list_each (&relay->executions, it, next) {
        struct execution *execution = list_entry(it, struct execution, node);
        if (str_eq(execution->run->id, id.text))
            return execution;
    }
    return NULL;
}

static void on_cancel(struct relay *relay, struct json frame)
{
    struct execution *execution = find(relay, frame);
    if (execution && execution->cancelled)
        atomic_store(execution->cancelled, true);
}

static void on_kill(struct relay *relay, struct json frame)
{
    struct execution *execution = find(relay, frame);
    if (execution)
        execution_kill(execution);
}

static void on_credit(struct relay *relay, struct json frame)
{
    channel_add_credit(relay->channel, frame);
    list_each (&relay->executions, it, next)
        execution_advance(list_entry(it, struct execution, node));
}

static void hear_agent(struct relay *relay)
{
    struct json frame;
    struct str type;
    channel_fill(relay->channel);
    while (channel_next(relay->channel, &frame, &type)) {
        if (str_is(type, "invoke"))
            on_invoke(relay, frame);
        else if (str_is(type, "cancel"))
            on_cancel(relay, frame);
        else if (str_is(type, "kill"))
            on_kill(relay, frame);
        else if (str_is(type, "credit"))
            on_credit(relay, frame);
        else if (str_is(type, "stop"))
            relay->stopping = true;
    }
}

// One turn: waits for the agent or an execution, and hears them.
static void turn(struct relay *relay, struct pollfd *polled)
{
    nfds_t count = 1;
    polled[0] = (struct pollfd){.fd = relay->channel->fd, .events = POLLIN};
    list_each (&relay->executions, it, next) {
        execution_poll(list_entry(it, struct execution, node), &polled[count]);
        count += EXECUTION_FDS;
    }
    if (poll(polled, count, -1) < 0) {
        if (errno != EINTR)
            channel_give_up("cannot wait for executions");
        return;
    }
    struct pollfd *at = &polled[1];
    list_each (&relay->executions, it, next) {
        execution_hear(list_entry(it, struct execution, node), at);
        at += EXECUTION_FDS;
    }
    if (polled[0].revents)
        hear_agent(relay);
}

void processes_serve(struct channel *channel, struct library *library, bool cold)
{
    struct relay relay = {.channel = channel, .library = library, .cold = cold};
    list_init(&relay.executions);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    relay.before = family_children();
    relay.memory_kills = ending_memory_kills();
    _cleanup_buf_ struct buf ready = BUF_INIT(4096);
    report_ready(&ready);
    channel_send(channel, buf_str(&ready), 0);
    struct pollfd *polled = NULL;
    size_t room = 0;
    while (!relay.stopping || !list_empty(&relay.executions)) {
        size_t wanted = 1 + relay.count * EXECUTION_FDS;
        if (wanted > room)
            polled = mem_resize(polled, (room = wanted * 2) * sizeof(*polled));
        turn(&relay, polled);
    }
    mem_free(polled);
    buf_deinit(&relay.before);
}
