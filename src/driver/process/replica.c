// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "driver/process/process.h"
#include "net/loop.h"

#define LOOK_FIRST_MS  20  // for supervisor.json of a replica that was just started, doubling
#define LOOK_MAX_MS    1000
#define ANSWER_MS      1000  // for a supervisor to end after it was told to kill
#define MESSAGE_MAX    ((size_t)4096)
#define STATE_TEXT_MAX ((size_t)60 << 10)

static struct driver_process *driver_of(const struct process_replica *replica)
{
    return (struct driver_process *)((char *)replica->slot.slots -
                                     offsetof(struct driver_process, slots));
}

static struct process_replica *replica_of(struct driver_slot *slot)
{
    return (struct process_replica *)slot;
}

// ── what is kept on disk ─────────────────────────────────────────────────────────────────────
static int write_state(struct process_replica *replica, struct err *err)
{
    const struct driver_slot *slot = &replica->slot;
    struct buf text = BUF_INIT(STATE_TEXT_MAX);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "serviceId", str_of(slot->service_id));
    json_w_pair_str(&w, "projectId", replica->project_id);
    json_w_pair_str(&w, "revision", str_of(slot->revision));
    json_w_pair_str(&w, "message", str_of(slot->message));
    json_w_pair_str(&w, "limitsNote", str_of(replica->limits_note));
    json_w_pair_bool(&w, "waiting", slot->phase == REPLICA_WAITING);
    json_w_pair_int(&w, "told", slot->told);
    json_w_pair_bool(&w, "ready", slot->ready);
    json_w_pair_int(&w, "restarts", slot->restarts);
    json_w_pair_int(&w, "failures", slot->failures);
    json_w_pair_int(&w, "startedAt", slot->started_at);
    json_w_pair_int(&w, "nextStartAt", slot->next_start_at);
    json_w_pair_int(&w, "backoffMs", slot->backoff_ms);
    json_w_pair_int(&w, "drainMs", slot->drain_ms);
    json_w_pair_int(&w, "graceMs", slot->grace_ms);
    if (slot->exit_code != INT_NONE)
        json_w_pair_int(&w, "exitCode", slot->exit_code);
    json_w_object_end(&w);
    int rc = text.over ? err_set(err, ERR_INTERNAL, "the state of replica %s is too long", slot->id)
                       : driver_process_put(driver_of(replica), slot->id, "replica.json",
                                            buf_str(&text), err);
    buf_deinit(&text);
    return rc;
}

static void save(struct driver_slot *slot)
{
    struct err err = ERR_INIT;
    struct process_replica *replica = replica_of(slot);
    if (write_state(replica, &err) != 0)
        log_warn(driver_of(replica)->config.log, "driver", "%s", err.message);
}

static int write_spec(struct process_replica *replica, const struct deployment *deployment,
                      struct err *err)
{
    const struct driver_process *self = driver_of(replica);
    const char *id = replica->slot.id;
    _cleanup_free_ char *folder = driver_process_path(self, id, NULL);
    struct buf text = BUF_INIT(STATE_TEXT_MAX);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "replicaId", str_of(id));
    json_w_pair_str(&w, "serviceId", deployment->service_id);
    json_w_pair_str(&w, "projectId", deployment->project_id);
    json_w_pair_str(&w, "revision", deployment->revision);
    json_w_pair_str(&w, "agentUrl", str_of(self->config.agent_url));
    json_w_pair_str(&w, "agentCa", str_of(self->config.agent_ca));
    json_w_pair_str(&w, "token", deployment->agent_token);
    json_w_pair_str(&w, "publicUrl", str_of(self->config.public_url));
    json_w_pair_str(&w, "cache", str_of(self->config.cache));
    json_w_pair_str(&w, "python", str_of(self->config.python));
    json_w_pair_str(&w, "node", str_of(self->config.node));
    json_w_pair_str(&w, "runner", str_of(self->config.runner_folder));
    json_w_pair_str(&w, "folder", str_of(folder));
    json_w_pair_int(&w, "cpuMilli", deployment->instance->cpu_milli);
    json_w_pair_int(&w, "memoryMib", deployment->instance->memory_mib);
    json_w_object_end(&w);
    int rc = text.over ? err_set(err, ERR_INTERNAL, "the spec of replica %s is too long", id)
                       : driver_process_put(self, id, "spec.json", buf_str(&text), err);
    buf_deinit(&text);
    return rc;
}

// ── its end ──────────────────────────────────────────────────────────────────────────────────
static void free_poll(uv_handle_t *handle) { mem_free(handle); }

static void stop_watching(struct process_replica *replica)
{
    loop_timer_cancel(replica->look);
    replica->look = NULL;
    if (replica->poll)
        uv_close((uv_handle_t *)replica->poll, free_poll);
    replica->poll = NULL;
    if (replica->pidfd >= 0)
        close(replica->pidfd);
    replica->pidfd = -1;
}

// The last lines, cut at a line's start, then what else is to be known.
static struct str end_message(struct process_replica *replica, struct str first,
                              struct arena *arena)
{
    struct str tail = driver_process_read(driver_of(replica), replica->slot.id, "stderr.txt",
                                          arena);
    tail = tail.at ? str_trim(tail) : STR("");
    if (tail.len > MESSAGE_MAX) {
        tail = (struct str){tail.at + tail.len - MESSAGE_MAX, MESSAGE_MAX};
        const char *line = memchr(tail.at, '\n', tail.len);
        if (line)
            tail = (struct str){line + 1, (size_t)(tail.at + tail.len - line - 1)};
    }
    char *clean = arena_alloc(arena, 3 * tail.len + 1);
    tail = (struct str){clean, str_utf8_clean(tail, clean)};
    struct str note = replica->limits_note ? str_of(replica->limits_note) : STR("");
    struct str parts[] = {first, tail, note}, all = STR("");
    for (size_t i = 0; i < 3; i++)
        if (parts[i].len > 0)
            all = arena_printf(arena, STR_FMT "%s" STR_FMT, STR_ARG(all), all.len ? "\n" : "",
                               STR_ARG(parts[i]));
    return all;
}

static struct str first_words(const struct process_replica *replica, bool recorded, bool oom)
{
    if (oom)
        return STR("killed: it used more memory than its instance type has");
    if (replica->slot.overdue)
        return STR("killed: it did not stop in the time it was given");
    if (!recorded && replica->slot.told != SLOT_KILL)
        return STR("supervisor was killed, or could not write its record");
    return STR("");
}

static void ended(struct process_replica *replica)
{
    struct driver_process *self = driver_of(replica);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct driver_slot_end end = {.code = 128 + SIGKILL, .at = clock_wall(clock_system())};
    struct json record, value;
    struct process_ids ids;
    stop_watching(replica);
    bool recorded = driver_process_read_json(self, replica->slot.id, "exit.json", arena, &record) &&
                    json_get(record, "at", &value) && json_int(value, &end.at);
    if (recorded && json_get(record, "exitCode", &value))
        (void)json_int(value, &end.code);
    else if (recorded && json_get(record, "signal", &value) && json_int(value, &end.code))
        end.code += 128;
    if (!recorded && driver_process_ids(self, replica->slot.id, &ids))
        driver_process_sweep(driver_of(replica), replica->slot.id, &ids);
    end.oom = driver_process_oom(self, replica->slot.id);
    end.message = end_message(replica, first_words(replica, recorded, end.oom), arena);
    driver_process_unlimit(self, replica->slot.id);
    driver_slot_ended(&replica->slot, &end);
}

static void on_exit_event(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct process_replica *replica = poll->data;
    siginfo_t info;
    // Only our own child needs it; one that was adopted belongs to init.
    (void)waitid(P_PIDFD, (id_t)replica->pidfd, &info, WEXITED | WNOHANG);
    ended(replica);
}

// ── watching ─────────────────────────────────────────────────────────────────────────────────
static void pass_on(struct process_replica *replica, enum slot_told told);

static int watch(struct process_replica *replica, struct err *err)
{
    uv_poll_t *poll = mem_alloc(sizeof(*poll));
    int rc = uv_poll_init(loop_uv(driver_of(replica)->config.loop), poll, replica->pidfd);
    if (rc != 0) {
        mem_free(poll);
        return err_set(err, ERR_UNAVAILABLE, "cannot watch replica %s: %s", replica->slot.id,
                       uv_strerror(rc));
    }
    poll->data = replica;
    replica->poll = poll;
    rc = uv_poll_start(poll, UV_READABLE, on_exit_event);
    if (rc != 0)
        return err_set(err, ERR_UNAVAILABLE, "cannot watch replica %s: %s", replica->slot.id,
                       uv_strerror(rc));
    return 0;
}

static void look_later(struct process_replica *replica, int64_t delay_ms);

// Fills in what supervisor.json tells. False when it is not there yet or nobody lives there.
static bool look(struct process_replica *replica)
{
    struct driver_process *self = driver_of(replica);
    struct err err = ERR_INIT;
    struct process_ids ids;
    if (!driver_process_ids(self, replica->slot.id, &ids) || !ids.same_boot)
        return false;
    if (replica->pidfd < 0) {
        replica->pidfd = driver_process_pidfd(ids.pid, ids.start_time);
        if (replica->pidfd < 0)
            return false;
        if (watch(replica, &err) != 0) {
            log_warn(self->config.log, "driver", "%s", err.message);
            stop_watching(replica);
            return false;
        }
        pass_on(replica, replica->slot.told);
    }
    driver_slot_running(&replica->slot, ids.agent_pid);
    return true;
}

static void on_look(void *arg)
{
    struct process_replica *replica = arg;
    struct driver_process *self = driver_of(replica);
    replica->look = NULL;
    if (look(replica))
        return;
    int lock = replica->pidfd < 0 ? driver_process_lock(self, replica->slot.id) : -1;
    if (lock >= 0) {  // it ended without our seeing it live
        close(lock);
        ended(replica);
        return;
    }
    look_later(replica, 2 * replica->look_ms);
}

static void look_later(struct process_replica *replica, int64_t delay_ms)
{
    replica->look_ms = delay_ms > LOOK_MAX_MS ? LOOK_MAX_MS : delay_ms;
    loop_timer_cancel(replica->look);
    replica->look = loop_timer_start(driver_of(replica)->config.loop, replica->look_ms, 0, on_look,
                                     replica);
}

// ── signals ──────────────────────────────────────────────────────────────────────────────────
// The supervisor did not answer: its descendants first, while it still leads to them.
static void on_no_answer(void *arg)
{
    struct process_replica *replica = arg;
    struct process_ids ids;
    replica->look = NULL;
    if (driver_process_ids(driver_of(replica), replica->slot.id, &ids))
        driver_process_sweep(driver_of(replica), replica->slot.id, &ids);
    if (replica->pidfd >= 0)
        (void)driver_process_send(replica->pidfd, SIGKILL);
    else
        look_later(replica, LOOK_FIRST_MS);
}

static void pass_on(struct process_replica *replica, enum slot_told told)
{
    static const int signals[] = {
        [SLOT_DRAIN] = SIGTERM, [SLOT_STOP] = SIGQUIT, [SLOT_KILL] = SIGUSR1};
    if (told == SLOT_KEEP || replica->pidfd < 0)
        return;
    (void)driver_process_send(replica->pidfd, signals[told]);
    if (told != SLOT_KILL)
        return;
    loop_timer_cancel(replica->look);
    replica->look = loop_timer_start(driver_of(replica)->config.loop, ANSWER_MS, 0, on_no_answer,
                                     replica);
}

static void signal_slot(struct driver_slot *slot, enum replica_signal signal)
{
    pass_on(replica_of(slot), signal == REPLICA_KILL ? SLOT_KILL : slot->told);
}

// ── starting ─────────────────────────────────────────────────────────────────────────────────
static void take_texts(struct process_replica *replica, struct str project_id, char *note)
{
    mem_free((char *)replica->project_id.at);
    replica->project_id = (struct str){mem_copy(project_id.at ? project_id.at : "", project_id.len),
                                       project_id.len};
    mem_free(replica->limits_note);
    replica->limits_note = note;
}

static int prepare(struct process_replica *replica, const struct deployment *deployment,
                   struct err *err)
{
    struct driver_process *self = driver_of(replica);
    struct driver_slot *slot = &replica->slot;
    take_texts(replica, deployment->project_id,
               driver_process_limit(self, slot->id, deployment->instance));
    if (replica->limits_note) {
        mem_free(slot->message);
        slot->message = mem_copy(replica->limits_note, strlen(replica->limits_note));
    }
    driver_process_unlink(self, slot->id, "supervisor.json");
    driver_process_unlink(self, slot->id, "exit.json");
    if (write_spec(replica, deployment, err) != 0)
        return -1;
    return write_state(replica, err);
}

static int start(struct driver_slot *slot, const struct deployment *deployment, struct err *err)
{
    struct process_replica *replica = replica_of(slot);
    struct driver_process *self = driver_of(replica);
    replica->pidfd = -1;
    if (driver_process_make_folder(self, slot->id, err) != 0)
        return -1;
    _cleanup_fd_ int lock = driver_process_lock(self, slot->id);
    if (lock < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot lock the folder of replica %s",
                         slot->id);
    _cleanup_free_ char *folder = driver_process_path(self, slot->id, NULL);
    if (prepare(replica, deployment, err) != 0)
        return -1;
    pid_t pid = driver_process_spawn(self, folder, lock, err);
    if (pid < 0)
        return -1;
    slot->pid = pid;
    // Not reaped before it is watched, so the pid is still this child's.
    replica->pidfd = driver_process_pidfd(pid, 0);
    if (replica->pidfd < 0 || watch(replica, err) != 0) {
        int cause = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        stop_watching(replica);
        return err_errno(err, ERR_UNAVAILABLE, cause, "cannot watch replica %s", slot->id);
    }
    look_later(replica, LOOK_FIRST_MS);
    return 0;
}

static void drop(struct driver_slot *slot)
{
    struct process_replica *replica = replica_of(slot);
    stop_watching(replica);
    mem_free((char *)replica->project_id.at);
    mem_free(replica->limits_note);
}

static void forget(struct driver_slot *slot)
{
    struct driver_process *self = driver_of(replica_of(slot));
    driver_process_unlimit(self, slot->id);
    driver_process_remove_folder(self, slot->id);
    drop(slot);
}

const struct driver_slots_backend driver_process_backend = {
    .slot_size = sizeof(struct process_replica),
    .start = start,
    .signal = signal_slot,
    .save = save,
    .forget = forget,
    .drop = drop,
};

// ── after a restart of the server ────────────────────────────────────────────────────────────
static int64_t number_of(struct json state, const char *key, int64_t missing)
{
    struct json value;
    int64_t number;
    return json_get(state, key, &value) && json_int(value, &number) ? number : missing;
}

static struct str text_of(struct json state, const char *key, struct arena *arena)
{
    struct json value;
    struct str text = json_get(state, key, &value) ? json_str(value, arena) : STR_NONE;
    return text;
}

static struct process_replica *restore(struct driver_process *self, const char *id,
                                       struct json state, struct arena *arena)
{
    struct str service_id = text_of(state, "serviceId", arena);
    struct str revision = text_of(state, "revision", arena);
    if (!service_id.at || !revision.at)
        return NULL;
    struct driver_slot *slot = driver_slots_add(&self->slots, str_of(id), service_id, revision);
    struct process_replica *replica = replica_of(slot);
    struct str note = text_of(state, "limitsNote", arena);
    struct str message = text_of(state, "message", arena);
    replica->pidfd = -1;
    take_texts(replica, text_of(state, "projectId", arena),
               note.at ? mem_copy(note.at, note.len) : NULL);
    mem_free(slot->message);
    slot->message = mem_copy(message.at ? message.at : "", message.len);
    int64_t told = number_of(state, "told", SLOT_KEEP);
    slot->told = told > SLOT_KEEP && told <= SLOT_KILL ? (enum slot_told)told : SLOT_KEEP;
    struct json ready;
    if (json_get(state, "ready", &ready))
        (void)json_bool(ready, &slot->ready);
    slot->restarts = number_of(state, "restarts", 0);
    slot->failures = number_of(state, "failures", 0);
    slot->started_at = number_of(state, "startedAt", 0);
    slot->next_start_at = number_of(state, "nextStartAt", 0);
    slot->backoff_ms = number_of(state, "backoffMs", 0);
    slot->drain_ms = number_of(state, "drainMs", 0);
    slot->grace_ms = number_of(state, "graceMs", 0);
    slot->exit_code = number_of(state, "exitCode", INT_NONE);
    return replica;
}

static void adopt_living(struct process_replica *replica)
{
    struct driver_slot *slot = &replica->slot;
    slot->alive = true;
    slot->phase = slot->told == SLOT_KEEP ? REPLICA_STARTING : REPLICA_STOPPING;
    driver_slot_adopted(slot);
    if (!look(replica))
        look_later(replica, LOOK_FIRST_MS);
}

static void adopt_dead(struct process_replica *replica, bool waiting)
{
    struct driver_process *self = driver_of(replica);
    struct driver_slot *slot = &replica->slot;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct process_ids ids;
    bool started = driver_process_ids(self, slot->id, &ids);
    siginfo_t info;
    _cleanup_fd_ int pidfd = started && ids.same_boot
                                 ? driver_process_pidfd(ids.pid, ids.start_time)
                                 : -1;
    if (pidfd >= 0)
        (void)waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    if (!waiting && (started || driver_process_read(self, slot->id, "exit.json", arena).at)) {
        slot->alive = true;
        ended(replica);
        return;
    }
    slot->reason = slot->exit_code == INT_NONE ? "ContainerCreating" : "CrashLoopBackOff";
    driver_slot_adopted(slot);
}

void driver_process_adopt(struct driver_process *self, const char *name)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct json state, value;
    if (str_starts(str_of(name), STR(".gone-"))) {
        driver_process_remove_folder(self, name);
        return;
    }
    if (!id_valid(str_of(name)))
        return;
    int lock = driver_process_lock(self, name);
    bool lives = lock < 0 && errno == EWOULDBLOCK;
    struct process_replica *replica = NULL;
    if (driver_process_read_json(self, name, "replica.json", arena, &state))
        replica = restore(self, name, state, arena);
    bool waiting = false;
    if (replica && json_get(state, "waiting", &value))
        (void)json_bool(value, &waiting);
    if (replica && lives)
        adopt_living(replica);
    else if (replica)
        adopt_dead(replica, waiting);
    else if (lives)
        log_warn(self->config.log, "driver", "replica %s runs, but its replica.json is lost", name);
    else
        driver_process_remove_folder(self, name);
    if (lock >= 0)
        close(lock);
}
