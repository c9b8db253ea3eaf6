// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/mem.h"
#include "driver/memory/driver_memory.h"
#include "driver/slots.h"
#include "net/loop.h"

struct memory {
    struct driver driver;
    struct driver_config config;  // texts are borrowed
    struct driver_slots slots;
    bool stubborn;
    int64_t failing_starts, last_pid;
};

struct memory_replica {
    struct driver_slot slot;
    struct loop_timer *next;  // what it does one turn later
    bool killed;
};

static struct memory *driver_of(const struct driver_slot *slot)
{
    return (struct memory *)((char *)slot->slots - offsetof(struct memory, slots));
}

static void end(struct driver_slot *slot, int64_t code, struct str message)
{
    struct memory_replica *replica = (struct memory_replica *)slot;
    struct driver_slot_end told = {
        .code = code, .at = clock_wall(slot->slots->clock), .message = message};
    loop_timer_cancel(replica->next);
    replica->next = NULL;
    driver_slot_ended(slot, &told);
}

static void on_running(void *arg)
{
    struct memory_replica *replica = arg;
    replica->next = NULL;
    driver_slot_running(&replica->slot, ++driver_of(&replica->slot)->last_pid);
}

static void on_stopped(void *arg)
{
    struct memory_replica *replica = arg;
    replica->next = NULL;
    end(&replica->slot, replica->killed ? 128 + 9 : 0, STR(""));
}

static void one_turn_later(struct memory_replica *replica, void (*fn)(void *))
{
    loop_timer_cancel(replica->next);
    replica->next = loop_timer_start(driver_of(&replica->slot)->config.loop, 0, 0, fn, replica);
}

static int start(struct driver_slot *slot, const struct deployment *deployment, struct err *err)
{
    (void)deployment;
    struct memory *self = driver_of(slot);
    if (self->failing_starts > 0) {
        self->failing_starts--;
        return err_set(err, ERR_UNAVAILABLE, "cannot start replica %s: told to fail", slot->id);
    }
    one_turn_later((struct memory_replica *)slot, on_running);
    return 0;
}

static void signal_slot(struct driver_slot *slot, enum replica_signal signal)
{
    struct memory_replica *replica = (struct memory_replica *)slot;
    replica->killed = signal == REPLICA_KILL;
    if (signal == REPLICA_KILL || !driver_of(slot)->stubborn)
        one_turn_later(replica, on_stopped);
}

static void save(struct driver_slot *slot) { (void)slot; }

static void forget(struct driver_slot *slot)
{
    loop_timer_cancel(((struct memory_replica *)slot)->next);
}

static const struct driver_slots_backend backend = {
    .slot_size = sizeof(struct memory_replica),
    .start = start,
    .signal = signal_slot,
    .save = save,
    .forget = forget,
    .drop = forget,
};

static struct driver *memory_open(const struct driver_config *config, struct err *err)
{
    if (!config->loop) {
        err_set(err, ERR_INTERNAL, "the memory driver needs a loop");
        return NULL;
    }
    struct memory *self = mem_alloc(sizeof(*self));
    self->driver.ops = &driver_memory;
    self->config = *config;
    driver_slots_init(&self->slots, &self->config, &backend);
    return &self->driver;
}

static void memory_close(struct driver *driver)
{
    struct memory *self = (struct memory *)driver;
    driver_slots_deinit(&self->slots);
    mem_free(self);
}

static int memory_apply(struct driver *driver, const struct deployment *deployment, struct err *err)
{
    return driver_slots_apply(&((struct memory *)driver)->slots, deployment, err);
}

static int memory_remove(struct driver *driver, struct str service_id, bool force, struct err *err)
{
    (void)err;
    driver_slots_remove(&((struct memory *)driver)->slots, service_id, force);
    return 0;
}

static void memory_observe(struct driver *driver, struct str service_id,
                           void (*each)(void *, const struct replica_status *), void *arg)
{
    driver_slots_observe(&((struct memory *)driver)->slots, service_id, each, arg);
}

static int memory_signal(struct driver *driver, struct str replica_id, enum replica_signal signal,
                         struct err *err)
{
    return driver_slots_signal(&((struct memory *)driver)->slots, replica_id, signal, err);
}

static void memory_ready(struct driver *driver, struct str replica_id, bool ready)
{
    driver_slots_ready(&((struct memory *)driver)->slots, replica_id, ready);
}

const struct driver_ops driver_memory = {
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .apply = memory_apply,
    .remove = memory_remove,
    .observe = memory_observe,
    .signal = memory_signal,
    .ready = memory_ready,
};

bool driver_memory_end(struct driver *driver, struct str replica_id, int64_t exit_code,
                       struct str message)
{
    struct driver_slot *slot = driver_slots_find(&((struct memory *)driver)->slots, replica_id);
    if (!slot || !slot->alive)
        return false;
    end(slot, exit_code, message);
    return true;
}

void driver_memory_stubborn(struct driver *driver, bool stubborn)
{
    ((struct memory *)driver)->stubborn = stubborn;
}

void driver_memory_fail_starts(struct driver *driver, int64_t count)
{
    ((struct memory *)driver)->failing_starts = count;
}
