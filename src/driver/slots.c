// SPDX-License-Identifier: Apache-2.0
#include "driver/slots.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/mem.h"
#include "driver/plan.h"
#include "net/loop.h"

struct service {
    struct list node;
    struct arena *arena;  // holds the deployment's texts
    struct deployment wanted;
    struct instance_type instance;
    int64_t refused_until;  // monotonic ms: no new replica earlier, the server refused one
    int64_t rollout;        // counts the revisions that were wanted, from 1
};

struct report {
    struct list node;
    struct arena *arena;
    struct replica_status status;
};

static int64_t now_ms(const struct driver_slots *slots) { return clock_wall(slots->clock); }
static int64_t mono_ms(const struct driver_slots *slots) { return clock_mono(slots->clock); }

// The wall clock may have been set since next_start_at was written.
static int64_t wait_left(const struct driver_slot *slot)
{
    int64_t left = slot->next_start_at - now_ms(slot->slots);
    return left < 0 ? 0 : left > slot->backoff_ms ? slot->backoff_ms : left;
}

static struct str text(const char *s) { return s ? str_of(s) : STR(""); }

static char *copy(struct str s) { return mem_copy(s.at ? s.at : "", s.len); }

// ── telling ──────────────────────────────────────────────────────────────────────────────────
static struct replica_status status_of(const struct driver_slot *slot)
{
    return (struct replica_status){
        .id = text(slot->id),
        .service_id = text(slot->service_id),
        .revision = text(slot->revision),
        .phase = slot->phase,
        .reason = text(slot->reason),
        .message = text(slot->message),
        .restarts = slot->restarts,
        .failures = slot->failures,
        .stopped = slot->told >= SLOT_STOP,
        .exit_code = slot->exit_code,
        .started_at = slot->started_at,
        .next_start_at = slot->phase == REPLICA_WAITING ? slot->next_start_at : 0,
        .pid = slot->alive ? slot->pid : 0,
    };
}

static void tell_all(struct driver_slots *slots)
{
    struct list *node;
    while ((node = list_pop_front(&slots->reports))) {
        struct report *report = list_entry(node, struct report, node);
        if (slots->config->on_change)
            slots->config->on_change(slots->config->arg, &report->status);
        arena_free(report->arena);
    }
}

static void on_next_turn(void *arg)
{
    struct driver_slots *slots = arg;
    slots->telling = NULL;
    tell_all(slots);
}

static void changed(struct driver_slot *slot)
{
    struct driver_slots *slots = slot->slots;
    struct arena *arena = arena_new();
    struct report *report = arena_new_of(arena, struct report);
    struct replica_status status = status_of(slot);
    status.id = arena_copy(arena, status.id);
    status.service_id = arena_copy(arena, status.service_id);
    status.revision = arena_copy(arena, status.revision);
    status.message = arena_copy(arena, status.message);
    report->arena = arena;
    report->status = status;
    list_push_back(&slots->reports, &report->node);
    if (!slots->telling)
        slots->telling = loop_timer_start(slots->config->loop, 0, 0, on_next_turn, slots);
}

// ── one slot ─────────────────────────────────────────────────────────────────────────────────
static struct service *service_find(struct driver_slots *slots, struct str service_id)
{
    list_each (&slots->services, it, next) {
        struct service *service = list_entry(it, struct service, node);
        if (str_eq(service->wanted.service_id, service_id))
            return service;
    }
    return NULL;
}

static struct service *service_of(const struct driver_slot *slot)
{
    return service_find(slot->slots, text(slot->service_id));
}

static bool is_current(const struct driver_slot *slot, const struct service *service)
{
    return str_is(service->wanted.revision, slot->revision);
}

static int reconcile(struct driver_slots *slots, struct service *service, struct err *err);

static void set_message(struct driver_slot *slot, struct str message)
{
    char *fresh = copy(message);
    mem_free(slot->message);
    slot->message = fresh;
}

static void set_timer(struct driver_slot *slot, int64_t delay_ms, void (*fn)(void *))
{
    loop_timer_cancel(slot->timer);
    slot->timer = fn ? loop_timer_start(slot->slots->config->loop, delay_ms > 0 ? delay_ms : 0, 0,
                                        fn, slot)
                     : NULL;
}

static void slot_free(struct driver_slot *slot)
{
    set_timer(slot, 0, NULL);
    list_remove(&slot->node);
    mem_free(slot->id);
    mem_free(slot->service_id);
    mem_free(slot->revision);
    mem_free(slot->message);
    mem_free(slot);
}

static void gone(struct driver_slot *slot, const char *reason)
{
    slot->alive = slot->ready = false;
    slot->phase = REPLICA_EXITED;
    slot->reason = reason;
    changed(slot);
    slot->slots->backend->forget(slot);
    slot_free(slot);
}

static int start(struct driver_slot *slot, const struct service *service, struct err *err);

static void on_backoff_over(void *arg)
{
    struct driver_slot *slot = arg;
    slot->timer = NULL;
    struct service *service = service_of(slot);
    if (!service || !is_current(slot, service))
        return;  // the next apply decides
    struct err err = ERR_INIT;
    if (start(slot, service, &err) == 0 && reconcile(slot->slots, service, &err) == 0)
        return;
    log_warn(slot->slots->config->log, "driver", "service " STR_FMT ": %s",
             STR_ARG(service->wanted.service_id), err.message);
}

static void wait_to_start(struct driver_slot *slot, const char *reason, int64_t ran_ms)
{
    const struct driver_config *config = slot->slots->config;
    bool anew = slot->backoff_ms == 0 || ran_ms >= config->backoff_reset_ms;
    slot->backoff_ms = anew ? config->backoff_first_ms : slot->backoff_ms * 2;
    if (slot->backoff_ms > config->backoff_max_ms)
        slot->backoff_ms = config->backoff_max_ms;
    slot->phase = REPLICA_WAITING;
    slot->reason = reason;
    slot->next_start_at = now_ms(slot->slots) + slot->backoff_ms;
    set_timer(slot, slot->backoff_ms, on_backoff_over);
    slot->slots->backend->save(slot);
    changed(slot);
}

static int start(struct driver_slot *slot, const struct service *service, struct err *err)
{
    slot->drain_ms = service->wanted.drain_ms;
    slot->grace_ms = service->wanted.grace_ms;
    slot->restarts += slot->started_at != 0;
    slot->started_at = now_ms(slot->slots);
    slot->started_mono = mono_ms(slot->slots);
    slot->phase = REPLICA_STARTING;
    slot->reason = "ContainerCreating";
    slot->alive = true;
    slot->pid = 0;
    set_timer(slot, 0, NULL);
    set_message(slot, STR(""));
    if (slot->slots->backend->start(slot, &service->wanted, err) == 0) {
        changed(slot);
        return 0;
    }
    slot->alive = false;
    set_message(slot, text(err->message));
    wait_to_start(slot, "Error", 0);
    return -1;
}

static void tell(struct driver_slot *slot, enum replica_signal signal);

static void on_time_up(void *arg)
{
    struct driver_slot *slot = arg;
    slot->timer = NULL;
    slot->overdue = true;
    tell(slot, slot->told == SLOT_DRAIN ? REPLICA_STOP : REPLICA_KILL);
}

static void arm_deadline(struct driver_slot *slot)
{
    if (slot->told == SLOT_DRAIN)
        set_timer(slot, slot->drain_ms, on_time_up);
    else if (slot->told == SLOT_STOP)
        set_timer(slot, slot->grace_ms, on_time_up);
    else
        set_timer(slot, 0, NULL);
}

// Passes a signal on unless something at least as strong was said before. May free the slot.
static void tell(struct driver_slot *slot, enum replica_signal signal)
{
    static const enum slot_told as_told[] = {
        [REPLICA_DRAIN] = SLOT_DRAIN, [REPLICA_STOP] = SLOT_STOP, [REPLICA_KILL] = SLOT_KILL};
    if (slot->told >= as_told[signal])
        return;
    slot->told = as_told[signal];
    if (!slot->alive) {
        gone(slot, "Completed");
        return;
    }
    bool news = slot->phase != REPLICA_STOPPING;
    slot->phase = REPLICA_STOPPING;
    arm_deadline(slot);
    slot->slots->backend->save(slot);
    slot->slots->backend->signal(slot, signal);
    if (news)
        changed(slot);
}

static const char *end_reason(const struct driver_slot *slot, const struct driver_slot_end *end)
{
    if (end->oom)
        return "OOMKilled";
    // Signals 3, 9 and 15 are how it was told to go.
    bool as_told = end->code == 0 || end->code == 128 + 15 || end->code == 128 + 3 ||
                   (end->code == 128 + 9 && slot->told == SLOT_KILL && !slot->overdue);
    return as_told && (slot->told != SLOT_KEEP || end->code == 0) ? "Completed" : "Error";
}

// Its last words matter when it ended by itself.
static void set_end_message(struct driver_slot *slot, const struct driver_slot_end *end)
{
    char text[96];
    snprintf(text, sizeof(text), "it was still busy after draining for %lld s and was stopped",
             (long long)(slot->drain_ms / 1000));
    if (end->oom || slot->told == SLOT_KEEP)
        set_message(slot, end->message);
    else if (slot->overdue)
        set_message(slot, str_of(text));
    else
        set_message(slot, slot->told == SLOT_KILL
                              ? STR("by force, without waiting for its executions")
                              : STR_NONE);
}

void driver_slot_ended(struct driver_slot *slot, const struct driver_slot_end *end)
{
    struct driver_slots *slots = slot->slots;
    struct service *service = service_of(slot);
    bool served = slot->ready && !end->oom;
    slot->alive = slot->ready = false;
    slot->pid = 0;
    slot->exit_code = end->code;
    set_timer(slot, 0, NULL);
    set_end_message(slot, end);
    const char *reason = end_reason(slot, end);
    bool refused = end->code == EXIT_CODE_REFUSED;
    bool wanted = slot->told == SLOT_KEEP && (!service || is_current(slot, service));
    if (wanted && !refused) {
        int64_t ran_ms = slot->started_mono ? mono_ms(slots) - slot->started_mono
                                            : end->at - slot->started_at;
        slot->failures = served                                      ? 0
                         : ran_ms >= slots->config->backoff_reset_ms ? 1
                                                                     : slot->failures + 1;
        wait_to_start(slot, end->oom ? reason : "CrashLoopBackOff", ran_ms);
        return;
    }
    if (refused && service)
        service->refused_until = mono_ms(slots) + slots->config->backoff_first_ms;
    gone(slot, reason);
    struct err err = ERR_INIT;
    if (service && reconcile(slots, service, &err) != 0)
        log_warn(slots->config->log, "driver", "service " STR_FMT ": %s",
                 STR_ARG(service->wanted.service_id), err.message);
}

void driver_slot_running(struct driver_slot *slot, int64_t pid)
{
    slot->pid = pid;
    if (slot->phase == REPLICA_STARTING) {
        slot->phase = REPLICA_RUNNING;
        slot->reason = NULL;
    }
    changed(slot);
}

void driver_slot_adopted(struct driver_slot *slot)
{
    if (!slot->alive && slot->told != SLOT_KEEP) {
        gone(slot, "Completed");
        return;
    }
    if (slot->alive) {
        // How long it was given before is not known exactly: it gets its time once more.
        arm_deadline(slot);
    } else if (slot->phase == REPLICA_WAITING) {
        set_timer(slot, wait_left(slot), on_backoff_over);
    }
    changed(slot);
}

// ── what a service should have ───────────────────────────────────────────────────────────────
static bool is_of(const struct driver_slot *slot, const struct service *service)
{
    return str_is(service->wanted.service_id, slot->service_id);
}

static int start_more(struct driver_slots *slots, struct service *service, int64_t missing,
                      struct err *err)
{
    int rc = 0;
    if (mono_ms(slots) < service->refused_until)
        missing = 0;
    _cleanup_arena_ struct arena *arena = arena_new();
    for (; missing > 0; missing--) {
        struct driver_slot *slot = driver_slots_add(slots, id_new(now_ms(slots), arena),
                                                    service->wanted.service_id,
                                                    service->wanted.revision);
        struct err again = ERR_INIT;
        if (start(slot, service, rc == 0 ? err : &again) != 0)
            rc = -1;
    }
    return rc;
}

// Those that became due while nothing was applied: the timer of those who wait is running.
static int start_due(struct driver_slots *slots, struct service *service, struct err *err)
{
    int rc = 0;
    list_each (&slots->slots, it, next) {
        struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        if (!is_of(slot, service) || !is_current(slot, service) || slot->phase != REPLICA_WAITING ||
            slot->timer)
            continue;
        struct err again = ERR_INIT;
        if (start(slot, service, rc == 0 ? err : &again) != 0)
            rc = -1;
    }
    return rc;
}

// With force also those that are draining already.
static void tell_replaced(struct driver_slot *slot, const struct service *service)
{
    slot->rollout = service->rollout;
    tell(slot, service->wanted.force ? REPLICA_STOP : REPLICA_DRAIN);
}

static struct plan_replica plan_of(const struct driver_slot *slot, const struct service *service)
{
    return (struct plan_replica){.current = is_current(slot, service),
                                 .alive = slot->alive,
                                 .ready = slot->ready,
                                 .kept = slot->told == SLOT_KEEP,
                                 .leaving = slot->alive && slot->told != SLOT_KEEP &&
                                            slot->rollout == service->rollout};
}

static int reconcile(struct driver_slots *slots, struct service *service, struct err *err)
{
    const struct plan_wish wish = {service->wanted.replicas, service->wanted.surge};
    _cleanup_arena_ struct arena *arena = arena_new();
    size_t count = 0, most = 0;
    list_each (&slots->slots, it, next)
        most++;
    struct driver_slot **own = arena_array_of(arena, struct driver_slot *, most + 1);
    struct plan_replica *facts = arena_array_of(arena, struct plan_replica, most + 1);
    bool *go = arena_array_of(arena, bool, most + 1);
    list_each (&slots->slots, it, next) {
        struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        if (!is_of(slot, service))
            continue;
        own[count] = slot;
        facts[count++] = plan_of(slot, service);
    }
    int64_t missing = driver_plan(&wish, facts, count, go);
    for (size_t i = 0; i < count; i++) {
        if (!facts[i].current && (go[i] || (service->wanted.force && !facts[i].kept)))
            tell_replaced(own[i], service);
        else if (go[i])
            tell(own[i], REPLICA_DRAIN);
    }
    struct err again = ERR_INIT;
    int rc = start_due(slots, service, err);
    if (start_more(slots, service, missing, rc == 0 ? err : &again) != 0)
        rc = -1;
    return rc;
}

static void service_free(struct service *service)
{
    list_remove(&service->node);
    arena_free(service->arena);
}

static struct service *service_keep(struct driver_slots *slots, const struct deployment *wanted)
{
    struct service *old = service_find(slots, wanted->service_id);
    struct arena *arena = arena_new();
    struct service *service = arena_new_of(arena, struct service);
    service->arena = arena;
    service->wanted = *wanted;
    service->wanted.service_id = arena_copy(arena, wanted->service_id);
    service->wanted.project_id = arena_copy(arena, wanted->project_id);
    service->wanted.service_name = arena_copy(arena, wanted->service_name);
    service->wanted.revision = arena_copy(arena, wanted->revision);
    service->wanted.agent_token = arena_copy(arena, wanted->agent_token);
    service->instance = *wanted->instance;
    service->instance.name = arena_copy(arena, wanted->instance->name);
    service->instance.gpu = arena_copy(arena, wanted->instance->gpu);
    service->wanted.instance = &service->instance;
    bool same = old && str_eq(old->wanted.revision, wanted->revision);
    service->rollout = !old ? 1 : same ? old->rollout : old->rollout + 1;
    // A new revision may be what the refused agent was waiting for.
    service->refused_until = same ? old->refused_until : 0;
    if (old)
        service_free(old);
    list_push_back(&slots->services, &service->node);
    return service;
}

// ── the interface ────────────────────────────────────────────────────────────────────────────
void driver_slots_init(struct driver_slots *slots, const struct driver_config *config,
                       const struct driver_slots_backend *backend)
{
    slots->config = config;
    slots->backend = backend;
    slots->clock = config->clock ? config->clock : clock_system();
    slots->telling = NULL;
    list_init(&slots->slots);
    list_init(&slots->services);
    list_init(&slots->reports);
}

void driver_slots_deinit(struct driver_slots *slots)
{
    tell_all(slots);
    loop_timer_cancel(slots->telling);
    list_each (&slots->slots, it, next) {
        struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        slots->backend->drop(slot);
        slot_free(slot);
    }
    list_each (&slots->services, it, next)
        service_free(list_entry(it, struct service, node));
}

int driver_slots_apply(struct driver_slots *slots, const struct deployment *deployment,
                       struct err *err)
{
    struct err own = ERR_INIT;
    return reconcile(slots, service_keep(slots, deployment), err ? err : &own);
}

void driver_slots_remove(struct driver_slots *slots, struct str service_id, bool force)
{
    struct service *service = service_find(slots, service_id);
    if (service)
        service_free(service);
    list_each (&slots->slots, it, next) {
        struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        if (str_is(service_id, slot->service_id))
            tell(slot, force ? REPLICA_KILL : REPLICA_DRAIN);
    }
}

void driver_slots_observe(struct driver_slots *slots, struct str service_id,
                          void (*each)(void *, const struct replica_status *), void *arg)
{
    list_each (&slots->slots, it, next) {
        const struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        struct replica_status status = status_of(slot);
        if (!service_id.at || str_eq(status.service_id, service_id))
            each(arg, &status);
    }
}

static void preempt(struct driver_slot *slot)
{
    struct driver_slots *slots = slot->slots;
    struct service *service = service_of(slot);
    struct err err = ERR_INIT;
    if (slot->told == SLOT_KEEP && slot->drain_ms > slots->config->preempt_ms)
        slot->drain_ms = slots->config->preempt_ms;
    tell(slot, REPLICA_DRAIN);
    if (service && reconcile(slots, service, &err) != 0)
        log_warn(slots->config->log, "driver", "service " STR_FMT ": %s",
                 STR_ARG(service->wanted.service_id), err.message);
}

int driver_slots_signal(struct driver_slots *slots, struct str replica_id,
                        enum replica_signal signal, struct err *err)
{
    struct driver_slot *slot = driver_slots_find(slots, replica_id);
    if (!slot)
        return err_set(err, ERR_NOT_FOUND, "there is no replica " STR_FMT, STR_ARG(replica_id));
    if (signal == REPLICA_PREEMPT)
        preempt(slot);
    else if (signal != REPLICA_RESTART)
        tell(slot, signal);
    else if (slot->alive)
        slots->backend->signal(slot, REPLICA_KILL);
    return 0;
}

void driver_slots_ready(struct driver_slots *slots, struct str replica_id, bool ready)
{
    struct driver_slot *slot = driver_slots_find(slots, replica_id);
    if (!slot || !slot->alive || slot->ready == ready)
        return;
    slot->ready = ready;
    slots->backend->save(slot);
    struct service *service = service_of(slot);
    struct err err = ERR_INIT;
    if (service && reconcile(slots, service, &err) != 0)
        log_warn(slots->config->log, "driver", "service " STR_FMT ": %s",
                 STR_ARG(service->wanted.service_id), err.message);
}

struct driver_slot *driver_slots_find(struct driver_slots *slots, struct str id)
{
    list_each (&slots->slots, it, next) {
        struct driver_slot *slot = list_entry(it, struct driver_slot, node);
        if (str_is(id, slot->id))
            return slot;
    }
    return NULL;
}

struct driver_slot *driver_slots_add(struct driver_slots *slots, struct str id,
                                     struct str service_id, struct str revision)
{
    struct driver_slot *slot = mem_alloc(slots->backend->slot_size);
    slot->slots = slots;
    slot->id = copy(id);
    slot->service_id = copy(service_id);
    slot->revision = copy(revision);
    slot->message = copy(STR(""));
    slot->phase = REPLICA_WAITING;
    slot->exit_code = INT_NONE;
    list_push_back(&slots->slots, &slot->node);
    return slot;
}
