// SPDX-License-Identifier: Apache-2.0
#include "driver/driver.h"

static const struct driver_ops *const drivers[] = {&driver_process, &driver_memory};

struct driver *driver_open(const struct driver_config *config, struct err *err)
{
    struct str wanted = str_of(config->driver ? config->driver : "process");
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (str_is(wanted, drivers[i]->name))
            return drivers[i]->open(config, err);
    err_set(err, ERR_BAD_INPUT, "unknown driver \"" STR_FMT "\"; there are process and memory",
            STR_ARG(wanted));
    return NULL;
}

void driver_close(struct driver *driver)
{
    if (driver)
        driver->ops->close(driver);
}

int driver_apply(struct driver *driver, const struct deployment *deployment, struct err *err)
{
    if (deployment->replicas < 0)
        return err_set(err, ERR_BAD_INPUT, "a service cannot have %lld replicas",
                       (long long)deployment->replicas);
    if (deployment->surge < 1)
        return err_set(err, ERR_INTERNAL, "a deployment needs a surge of at least 1");
    if (deployment->service_id.len == 0 || !deployment->instance)
        return err_set(err, ERR_INTERNAL, "a deployment needs a service and an instance type");
    return driver->ops->apply(driver, deployment, err);
}

int driver_remove(struct driver *driver, struct str service_id, bool force, struct err *err)
{
    return driver->ops->remove(driver, service_id, force, err);
}

void driver_observe(struct driver *driver, struct str service_id,
                    void (*each)(void *arg, const struct replica_status *status), void *arg)
{
    driver->ops->observe(driver, service_id, each, arg);
}

int driver_signal(struct driver *driver, struct str replica_id, enum replica_signal signal,
                  struct err *err)
{
    return driver->ops->signal(driver, replica_id, signal, err);
}

void driver_ready(struct driver *driver, struct str replica_id, bool ready)
{
    driver->ops->ready(driver, replica_id, ready);
}
