// SPDX-License-Identifier: Apache-2.0
// Removes what was in deleted projects and datasets (operation/deletion.h), one step after the
// other, at the start also what a former server process left. After an error the next housekeeping
// goes on.
#include "control/control_internal.h"
#include "operation/deletion.h"

static int step_work(struct op *op, void *arg, struct err *err)
{
    struct control *control = arg;
    return deletion_step(op, &control->more_deletions, err);
}

static void next_step(struct control *control);

static void step_done(void *arg, struct err *err)
{
    struct control *control = arg;
    control->deleting = false;
    if (err->kind != ERR_NONE)
        log_warn(control->platform->log, "deletions", "%s", err->message);
    else if (control->more_deletions)
        next_step(control);
}

static void next_step(struct control *control)
{
    if (control->stopped)
        return;
    control->deleting = true;
    op_run(control->platform, OP_WRITE, step_work, step_done, control);
}

void deletions_go_on(struct control *control)
{
    if (!control->deleting)
        next_step(control);
}

static void on_begun(void *arg, const struct event *event)
{
    struct control *control = arg;
    (void)event;
    if (control->started)
        deletions_go_on(control);
}

void deletions_subscribe(struct control *control)
{
    events_subscribe(control->platform->events, EVENT_DELETION_BEGUN, on_begun, control);
}
