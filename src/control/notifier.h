// SPDX-License-Identifier: Apache-2.0
// control/notifier: takes notifications to people, by webhook and mail, one at a time on each of
// the two ways, and tries again what failed (operation/delivery.h says when). Loop thread only.
#ifndef DROVER_CONTROL_NOTIFIER_H
#define DROVER_CONTROL_NOTIFIER_H

#include "operation/op.h"

struct notifier;

// Reads the files that --notify-secret and --smtp-login name; NULL with err when they cannot be
// read.
struct notifier *notifier_new(const struct platform *platform, struct err *err);
void notifier_free(struct notifier *notifier);  // after the loop; NULL does nothing

void notifier_start(struct notifier *notifier);  // what an earlier server left goes first
void notifier_stop(struct notifier *notifier);   // NULL does nothing; before the loop is stopped

#endif
