// SPDX-License-Identifier: Apache-2.0
// model/status: the states of an execution and which may follow which. One table; no other place
// decides it.
#ifndef DROVER_MODEL_STATUS_H
#define DROVER_MODEL_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

enum status {
    STATUS_NONE = 0,  // not a known word
    STATUS_CREATED,   // queued
    STATUS_IN_PROGRESS,
    STATUS_RERUN,    // queued again
    STATUS_SUCCESS,  // from here on final
    STATUS_FAILED,
    STATUS_TERMINATED,  // a terminate request took effect
    STATUS_ABORTED,
    STATUS_CANCELED,        // ended before it ran
    STATUS_SYSTEM_FAILURE,  // our doing, not the function's
};

enum status status_parse(struct str word);    // also dtlpy's inProgress, completed
const char *status_word(enum status status);  // "in-progress"
bool status_final(enum status status);
bool status_may_follow(enum status from, enum status to);
// As status_may_follow, with ERR_CONFLICT saying both words.
MUST_CHECK int status_check(enum status from, enum status to, struct err *err);

#endif
