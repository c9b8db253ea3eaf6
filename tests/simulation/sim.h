// SPDX-License-Identifier: Apache-2.0
// A small world around the shipped dispatch, operations, store and queue: agents, a driver, a
// network, people who call the API, and a server that may die at any moment. world.c moves it,
// agent.c is the agents and their network, server.c the server's life, check.c what must hold.
#ifndef DROVER_TESTS_SIM_H
#define DROVER_TESTS_SIM_H

#include "base/id.h"
#include "operation/attempt.h"
#include "operation/dispatch_internal.h"
#include "stage.h"

#define SERVICES     2
#define REPLICAS     4  // places; the even ones run the first service
#define EXECUTIONS   10
#define HELD_MAX     16
#define CAPACITY     3  // what an agent states
#define CONCURRENCY  2  // how many it runs at once
#define LEASE_MS     15000
#define DELIVERY_MAX 128

enum held_state { WAITING, RUNNING, DONE, LOST, RETURNED };

struct held {  // an execution at an agent
    size_t x;
    int64_t fence, since;
    int64_t reruns;  // of the execution when this came
    enum held_state state;
    int64_t fresh_at;  // when the newest exchange was sent that gave or confirmed it
    int64_t named_at;  // when the server last heard of it from this agent, or sent it
    bool given_up;     // its agent was silent for so long that somebody else was given it
};

struct agent {
    char id[ID_LEN];
    size_t service;
    int64_t process;  // a number of its own for each process; 0: none yet
    bool alive;       // the process
    bool known_dead;  // the driver told dispatch
    bool frozen;      // stopped by a debugger, cut off, swapped out: says and does nothing
    bool draining;
    bool stuck;       // the driver fails to kill it
    int64_t kill_at;  // when the driver's signal arrives; 0: none was sent
    char session[40];
    bool greeted;
    int64_t session_number;
    struct hello *hello;  // under way
    struct held held[HELD_MAX];
    size_t count;
    int64_t heard_at;  // when the server last heard anything from this process
    int64_t heard_by;  // sim.server_number of then
};

struct delivery_seen {  // an answer of the server carried an execution
    int64_t fence, process;
    size_t replica;
    bool cause;    // something has happened that may count as a lost attempt
    bool counted;  // it was counted
    bool result;   // the agent reported a result for it
    bool stale;    // the result was of before a rerun
};

struct execution_seen {
    struct str id;
    size_t service;
    int64_t max_attempts;
    // As committed.
    bool final;
    bool to_terminate;
    int64_t fence, attempts;
    uint64_t text;  // hash of status and output
    bool rerun_asked, report_asked;
    bool over;  // its end was published, and no rerun since
    struct delivery_seen deliveries[DELIVERY_MAX];
    size_t delivery_count;
    int64_t ends, reruns;
};

struct sim {
    uint64_t seed;
    bool trace, calm;  // calm: nothing fails any more
    struct clock_fake clock;
    struct settings settings;
    struct fences fences;
    struct platform platform;
    const char *store_driver, *queue_driver;
    int64_t
        run_ms;  // as results tell it: 0 for tiny functions, which are handed out in their own way
    char folder[64];
    struct queue *queue;
    struct dispatch *dispatch;
    struct workers *workers;
    struct arena *arena;
    int64_t opened_at;  // mono ms: when the server's recovery was done
    bool recovered;
    int64_t server_number, last_process, last_session;
    struct agent agents[REPLICAS];
    struct list calls;  // struct call
    struct execution_seen x[EXECUTIONS];
    size_t created;
    struct sim_counts {
        int64_t steps, deliveries, results, counted, crashes, deaths, reruns, terminated, reported,
            doubles;
    } counts;
};

void sim_fail(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3) __attribute__((noreturn));
void sim_trace(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
int64_t sim_now(const struct sim *sim);
struct str sim_service(size_t service);
size_t sim_find(const struct sim *sim, struct str id);  // index; EXECUTIONS: unknown

// server.c
void server_open(struct sim *sim);   // a new process on the same store
void server_crash(struct sim *sim);  // what was not committed is lost
void sim_pump(struct sim *sim, bool all);
void store_begin(struct sim *sim);  // with the services and packages in it
void store_end(struct sim *sim);
void world_create(struct sim *sim);
void world_terminate(struct sim *sim);
void world_rerun(struct sim *sim);
void world_report(struct sim *sim);  // somebody outside says how it ended

// agent.c
void agent_start(struct sim *sim, size_t replica, bool same_name);
void agent_die(struct sim *sim, size_t replica);
void agent_notice(struct sim *sim, size_t replica);  // the driver sees that it has ended
void agent_talk(struct sim *sim, size_t replica);    // hello or exchange
void agent_work(struct sim *sim, size_t replica);    // starts or ends one execution
void agent_lose_one(struct sim *sim, size_t replica);
void agent_hand_back(struct sim *sim, size_t replica);
void agent_on_silent(void *arg, struct str replica_id);
void agent_kills(struct sim *sim);   // signals that arrive now
void network_move(struct sim *sim);  // one request or answer arrives, or gets lost
void network_flush(struct sim *sim);
void network_reset(struct sim *sim);  // the server is gone: every connection breaks

// check.c
void check_write(void *arg, struct tx *tx);  // after each write that is to be committed
void check_books(struct sim *sim);           // dispatch's own numbers
void check_delivery(struct sim *sim, size_t replica, const struct dispatch_delivery *delivery);
void check_start(struct sim *sim, size_t replica, const struct held *held);
void check_end(struct sim *sim);
struct delivery_seen *check_seen(struct execution_seen *x, int64_t fence);  // NULL: never sent

#endif
