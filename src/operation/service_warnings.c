// SPDX-License-Identifier: Apache-2.0
#include "operation/service_warnings.h"

#include "model/runtime.h"

#define TIMEOUT_WISE 2500000  // seconds: a broker's longest unacknowledged delivery
#define PREEMPTED_AFTER                                                                            \
    (24 * 3600)            // seconds that a preemptible replica lives, unless told otherwise
#define DRAIN_DEFAULT 600  // seconds
#define PROCESS_MIB   16   // of a Python process with nothing in it

struct advice {
    struct arena *arena;
    struct str *out;
    size_t count;
};

static void say(struct advice *advice, struct str sentence)
{
    if (advice->count < SERVICE_WARNINGS_MAX)
        advice->out[advice->count++] = sentence;
}

static void about_times(struct advice *advice, const struct service *service,
                        const struct runtime *runtime)
{
    long long timeout = service->execution_timeout, drain = service->drain_time;
    if (timeout > TIMEOUT_WISE)
        say(advice, arena_printf(advice->arena,
                                 "executionTimeout is %lld seconds; above %d an execution may be "
                                 "cut off by limits outside of this server",
                                 timeout, TIMEOUT_WISE));
    if (runtime->preemptible && timeout > PREEMPTED_AFTER)
        say(advice, arena_printf(advice->arena,
                                 "runtime.preemptible: a replica lives for a day at most "
                                 "(--preempt-after), but executionTimeout is %lld seconds; an "
                                 "execution that takes so long never ends",
                                 timeout));
    if (drain > timeout && drain != DRAIN_DEFAULT)
        say(advice, arena_printf(advice->arena,
                                 "drainTime is %lld seconds, but executionTimeout, which ends what "
                                 "is waited for, is %lld",
                                 drain, timeout));
}

static void about_sizes(struct advice *advice, const struct service *service,
                        const struct runtime *runtime)
{
    const struct instance_type *instance = runtime->instance;
    if (service->run_as_process && runtime->concurrency * PROCESS_MIB > instance->memory_mib)
        say(advice,
            arena_printf(advice->arena,
                         "runtime.concurrency: %lld processes at once need more memory than "
                         "the %lld MiB of " STR_FMT ", some %d MiB each before they do "
                         "anything",
                         (long long)runtime->concurrency, (long long)instance->memory_mib,
                         STR_ARG(instance->name), PROCESS_MIB));
    if (instance->gpu_count > 0)
        say(advice, arena_printf(advice->arena,
                                 "runtime.podType: " STR_FMT " has a GPU (" STR_FMT "), but this "
                                 "server gives its agents none of their own: they see those of the "
                                 "machine",
                                 STR_ARG(instance->name), STR_ARG(instance->gpu)));
}

static void about_what_is_not_there(struct advice *advice, const struct service *service,
                                    const struct runtime *runtime)
{
    struct json runner;
    if (runtime->autoscaler != AUTOSCALER_NONE)
        say(advice, STR("runtime.autoscaler: this server does not scale by itself yet; "
                        "minReplicas run, at least one"));
    if (runtime->autoscaler == AUTOSCALER_CPU)
        say(advice, STR("runtime.autoscaler.type is cpu; dtlpy cannot read such a service, not "
                        "even in a list: it knows rabbitmq and rps only"));
    if (json_get(json_of(service->versions), "runner", &runner) && runner.type == JSON_STRING)
        say(advice, STR("versions.runner has no effect here: agents and runners are those that "
                        "came with the server; versions.dtlpy says which dtlpy functions get"));
    if (service->use_user_jwt)
        say(advice, STR("useUserJwt has no effect here: functions work under the service's own "
                        "account"));
}

size_t service_warnings(const struct service *service, struct arena *arena,
                        struct str out[SERVICE_WARNINGS_MAX])
{
    struct advice advice = {.arena = arena, .out = out};
    struct runtime runtime;
    struct err err = ERR_INIT;
    if (runtime_parse(json_of(service->runtime), NULL, &runtime, arena, &err))
        return 0;  // of another version of the server
    about_times(&advice, service, &runtime);
    about_sizes(&advice, service, &runtime);
    about_what_is_not_there(&advice, service, &runtime);
    return advice.count;
}
