// SPDX-License-Identifier: Apache-2.0
// cli/selection: the options that choose executions (service, function, status, time), alike for
// `executions`, `cancel` and `rerun`, and the filter of the API that they mean.
#ifndef DROVER_CLI_SELECTION_H
#define DROVER_CLI_SELECTION_H

#include "cli/cli.h"

struct selection {
    const char *service, *function, *status, *since, *until;
};

#define SELECTION_OPTION(type_, member_, flag_, letter_, unit_, help_)                             \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_TEXT,                                                   \
        .offset = offsetof(type_, selection) + offsetof(struct selection, member_),                \
        .letter = (letter_), .unit = (unit_), .group = "Which executions", .help = (help_)         \
    }

// For a struct of options that has a member `selection`.
#define SELECTION_OPTIONS(type_)                                                                   \
    SELECTION_OPTION(type_, service, "service", 's', "SERVICE",                                    \
                     "Of this service, by name or id."),                                           \
        SELECTION_OPTION(type_, function, "function", 'f', "FUNCTION", "Of this function."),       \
        SELECTION_OPTION(type_, status, "status", 0, "STATUS",                                     \
                         "With one of these statuses, commas between them: created, in-progress, " \
                         "rerun, success, failed, terminated, aborted, canceled, system-failure, " \
                         "or open (not ended) and ended."),                                        \
        SELECTION_OPTION(type_, since, "since", 0, "TIME",                                         \
                         "Made since then: 30s, 15m, 1h or 2d ago, or 2026-11-23T08:00:00Z."),     \
        SELECTION_OPTION(type_, until, "until", 0, "TIME", "Made before then, as --since.")
#define SELECTION_COUNT 5

bool selection_given(const struct selection *selection);  // whether any option was

// Which statuses count when --status is not given, or what of those given is left.
enum selection_limit { SELECT_ALL, SELECT_ENDED, SELECT_OPEN };

// The filter as JSON in the arena; asks the server for the service's id. ERR_BAD_INPUT names the
// option; ERR_NOT_FOUND: no such service.
MUST_CHECK int selection_filter(struct cli *cli, const struct selection *selection,
                                enum selection_limit limit, struct str *out, struct err *err);

#endif
