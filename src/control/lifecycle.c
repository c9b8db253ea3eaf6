// SPDX-License-Identifier: Apache-2.0
#include "control/lifecycle.h"

enum lifecycle_verdict lifecycle_judge(const struct lifecycle_rules *rules,
                                       const struct lifecycle_view *view)
{
    if (view->wanted == 0)
        return LIFECYCLE_WAIT;
    if (!view->good && view->ready >= view->wanted && view->old == 0)
        return LIFECYCLE_GOOD;
    if (!view->good && view->good_before && view->failures >= rules->rollout_failures)
        return LIFECYCLE_BACK;
    if (view->ready + view->old_ready == 0 && view->failures >= rules->crash_failures)
        return LIFECYCLE_STOP;
    return LIFECYCLE_WAIT;
}
