// SPDX-License-Identifier: Apache-2.0
#include "model/status.h"

#define STATUS_COUNT (STATUS_SYSTEM_FAILURE + 1)
#define TO(status)   (1u << (status))

// Every way an execution can end.
#define ENDS                                                                                       \
    (TO(STATUS_SUCCESS) | TO(STATUS_FAILED) | TO(STATUS_TERMINATED) | TO(STATUS_ABORTED) |         \
     TO(STATUS_SYSTEM_FAILURE))

struct row {
    const char *word;
    bool final;
    unsigned next;  // TO() of each status that may follow
};

// That an agent runs an execution is not always written down before its result, so the queued
// states lead to every end, and to "rerun" when the agent was lost.
static const struct row table[STATUS_COUNT] = {
    [STATUS_NONE] = {"unknown", false, 0},
    [STATUS_CREATED] = {"created", false,
                        TO(STATUS_IN_PROGRESS) | TO(STATUS_RERUN) | TO(STATUS_CANCELED) | ENDS},
    [STATUS_IN_PROGRESS] = {"in-progress", false, TO(STATUS_IN_PROGRESS) | TO(STATUS_RERUN) | ENDS},
    [STATUS_RERUN] = {"rerun", false,
                      TO(STATUS_IN_PROGRESS) | TO(STATUS_RERUN) | TO(STATUS_CANCELED) | ENDS},
    [STATUS_SUCCESS] = {"success", true, TO(STATUS_RERUN)},
    [STATUS_FAILED] = {"failed", true, TO(STATUS_RERUN)},
    [STATUS_TERMINATED] = {"terminated", true, TO(STATUS_RERUN)},
    [STATUS_ABORTED] = {"aborted", true, TO(STATUS_RERUN)},
    [STATUS_CANCELED] = {"canceled", true, TO(STATUS_RERUN)},
    [STATUS_SYSTEM_FAILURE] = {"system-failure", true, TO(STATUS_RERUN)},
};

static const struct row *row_of(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? &table[status] : &table[STATUS_NONE];
}

enum status status_parse(struct str word)
{
    for (int i = STATUS_CREATED; i < STATUS_COUNT; i++) {
        if (str_is(word, table[i].word))
            return (enum status)i;
    }
    if (str_is(word, "inProgress"))
        return STATUS_IN_PROGRESS;
    if (str_is(word, "completed"))
        return STATUS_SUCCESS;
    return STATUS_NONE;
}

const char *status_word(enum status status) { return row_of(status)->word; }

bool status_final(enum status status) { return row_of(status)->final; }

bool status_may_follow(enum status from, enum status to)
{
    return (unsigned)to < STATUS_COUNT && (row_of(from)->next & TO(to)) != 0;
}

int status_check(enum status from, enum status to, struct err *err)
{
    if (status_may_follow(from, to))
        return 0;
    return err_set(err, ERR_CONFLICT, "an execution whose status is %s cannot become %s",
                   status_word(from), status_word(to));
}
