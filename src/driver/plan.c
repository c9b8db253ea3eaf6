// SPDX-License-Identifier: Apache-2.0
#include "driver/plan.h"

struct sum {
    int64_t current, old;  // kept ones
    int64_t ready;         // of both
    int64_t leaving;
};

static struct sum sum_of(const struct plan_replica *all, size_t count, const bool *go)
{
    struct sum sum = {0};
    for (size_t i = 0; i < count; i++) {
        sum.leaving += all[i].leaving || (go[i] && all[i].alive && !all[i].current);
        if (!all[i].kept || go[i])
            continue;
        sum.current += all[i].current;
        sum.old += !all[i].current;
        sum.ready += all[i].alive && all[i].ready;
    }
    return sum;
}

// Too many of the wanted revision: first those that serve nobody yet, then the newest.
static void go_beyond(const struct plan_wish *wish, const struct plan_replica *all, size_t count,
                      bool *go)
{
    int64_t beyond = sum_of(all, count, go).current - wish->replicas;
    for (int ready = 0; ready <= 1; ready++)
        for (size_t i = count; i-- > 0 && beyond > 0;) {
            if (!all[i].current || !all[i].kept || go[i] || all[i].ready != (ready == 1))
                continue;
            go[i] = true;
            beyond--;
        }
}

int64_t driver_plan(const struct plan_wish *wish, const struct plan_replica *all, size_t count,
                    bool *go)
{
    for (size_t i = 0; i < count; i++)  // old ones that serve nobody are no loss
        go[i] = all[i].kept && !all[i].current && !(all[i].alive && all[i].ready);
    go_beyond(wish, all, count, go);
    struct sum sum = sum_of(all, count, go);
    for (size_t i = 0; i < count && sum.ready > wish->replicas; i++) {
        if (all[i].current || !all[i].kept || go[i])
            continue;
        if (wish->replicas > 0 && sum.leaving >= wish->surge)
            break;
        go[i] = true;
        sum.old--;
        sum.ready--;
        sum.leaving++;
    }
    int64_t missing = wish->replicas - sum.current;
    int64_t room = wish->replicas + wish->surge - sum.current - sum.old - sum.leaving;
    return missing < 0 || room < 0 ? 0 : missing < room ? missing : room;
}
