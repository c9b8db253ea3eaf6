// SPDX-License-Identifier: Apache-2.0
// driver/driver: starts, watches, drains and stops agents. The controllers know only this page.
// Implementations: process (agents on this machine) and memory (tests); a Kubernetes one will pass
// the same contract suite. Loop thread only.
#ifndef DROVER_DRIVER_DRIVER_H
#define DROVER_DRIVER_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "model/runtime.h"

struct clock;
struct loop;
struct driver;

struct deployment {  // what should run for one service
    struct str service_id, project_id, service_name;
    struct str revision;  // "<service version>.<generation>": a replica of another one is replaced
    int64_t replicas;     // 0: none
    const struct instance_type *instance;
    struct str agent_token;  // lets an agent speak for this one service; handed over in a 0600 file
    int64_t drain_ms;  // how long a replaced replica may finish what it runs; then it is stopped
    int64_t grace_ms;  // between the polite stop and the kill
    int64_t surge;  // replicas of a new revision that may live beside the old ones at a time, and
                    // old ones that may be on their way out; at least 1
    bool force;     // those that are replaced are stopped, not drained
};

enum replica_phase {
    REPLICA_STARTING,  // process or pod exists, agent has not spoken (the agent link knows more)
    REPLICA_RUNNING,
    REPLICA_STOPPING,  // was told to drain or stop
    REPLICA_WAITING,   // will be started again after a back-off
    REPLICA_EXITED,    // gone for good; reported once
};

struct replica_status {
    struct str id, service_id, revision;
    enum replica_phase phase;
    struct str reason;   // published words: "ContainerCreating", "CrashLoopBackOff", "OOMKilled",
                         // "Error", "Completed"
    struct str message;  // the agent's last lines on stderr, or what the system said
    int64_t restarts;
    int64_t failures;    // ends in a row before it was ready, or by lack of memory
    bool stopped;        // it was told to stop, or killed by order: what it ran was cut off by us
    int64_t exit_code;   // of the newest end; INT_NONE: none yet. 128 + n: signal n
    int64_t started_at;  // wall ms of the newest start
    int64_t next_start_at;  // with REPLICA_WAITING
    int64_t pid;            // process driver; 0: unknown
};

enum replica_signal {
    REPLICA_DRAIN,    // take nothing new, finish, exit; stopped after the deployment's drain_ms
    REPLICA_STOP,     // hand back what is unfinished and exit; killed after grace_ms
    REPLICA_PREEMPT,  // drain in the driver's preempt_ms; another one takes its place at once
    REPLICA_KILL,     // kill -9 the agent and everything it started
    REPLICA_RESTART,  // the same to one that was not told to go, and it counts as an end of its
                      // own: it starts again after a back-off
};

struct driver_config {
    const char *driver;         // "process" | "memory"
    const char *folder;         // state of replicas: DIR/run
    const char *agent_program;  // path of drover-agent
    const char *agent_url;      // "unix:PATH" or "http://host:port": how agents reach the server
    const char *agent_ca;       // PEM for https; NULL
    const char *public_url;     // for the dtlpy inside functions
    const char *cache;          // folder of packages and environments, shared by agents
    const char *python;         // interpreter for environments, "python3"
    const char *node;           // Node.js, "node"
    const char *runner_folder;  // holds _drover.abi3.so
    int64_t backoff_first_ms, backoff_max_ms, backoff_reset_ms;  // 10 s, 5 min, 10 min as kubelet
    int64_t preempt_ms;
    const char *cgroup;  // process: folder of a cgroup (v2) in which replicas get theirs; NULL: the
                         // server's own, where that is possible; "": none
    struct loop *loop;
    const struct clock *clock;  // NULL: the system's
    struct log *log;
    // A replica's phase, reason or end changed (also for replicas found alive at start). On the
    // loop, never from inside a call into the driver but driver_close: it may call any function.
    void (*on_change)(void *arg, const struct replica_status *status);
    void *arg;
};

// Finds replicas that outlived the last server and adopts them (on_change is called for each).
struct driver *driver_open(const struct driver_config *config, struct err *err);
void driver_close(struct driver *driver);  // agents keep running; tells what was not told yet

// Makes the service's replicas match: starts missing ones, replaces those of another revision a few
// at a time (new ones first; when they are ready, as many old ones are drained), drains the newest
// ones beyond `replicas`. Repeating it is harmless.
MUST_CHECK int driver_apply(struct driver *driver, const struct deployment *deployment,
                            struct err *err);
// Drains (force: kills) every replica and forgets the service.
MUST_CHECK int driver_remove(struct driver *driver, struct str service_id, bool force,
                             struct err *err);
// Every replica known, of one service (absent: of all). Texts are valid until the next call into
// the driver.
void driver_observe(struct driver *driver, struct str service_id,
                    void (*each)(void *arg, const struct replica_status *status), void *arg);
MUST_CHECK int driver_signal(struct driver *driver, struct str replica_id,
                             enum replica_signal signal, struct err *err);  // ERR_NOT_FOUND

// What the replica's agent says of itself: it takes executions, or does so no more. Of one that was
// adopted the driver knows what was said before.
void driver_ready(struct driver *driver, struct str replica_id, bool ready);

struct driver_ops {
    const char *name;
    struct driver *(*open)(const struct driver_config *config, struct err *err);
    void (*close)(struct driver *);
    int (*apply)(struct driver *, const struct deployment *, struct err *);
    int (*remove)(struct driver *, struct str, bool, struct err *);
    void (*observe)(struct driver *, struct str, void (*)(void *, const struct replica_status *),
                    void *);
    int (*signal)(struct driver *, struct str, enum replica_signal, struct err *);
    void (*ready)(struct driver *, struct str, bool);
};
struct driver {  // first member of every implementation's own struct
    const struct driver_ops *ops;
};
extern const struct driver_ops driver_process, driver_memory;

#endif
