// SPDX-License-Identifier: Apache-2.0
// cli/verbs: the tables of verbs, one for each file of them. `cli_lists` holds them all in the
// order of `drover help`; a program adds its own behind them.
#ifndef DROVER_CLI_VERBS_H
#define DROVER_CLI_VERBS_H

#include "cli/verb.h"

// The headings of `drover help`.
#define GROUP_START  "Start"
#define GROUP_RUN    "Deploy and run"
#define GROUP_LOOK   "Look"
#define GROUP_CHANGE "Change"
#define GROUP_PEOPLE "Logins, projects, people"
#define GROUP_SELF   "drover itself"

extern const struct verb_list services_verbs, login_verbs, context_verbs, help_verbs;

#endif
