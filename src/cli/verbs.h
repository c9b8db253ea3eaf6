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

extern const struct verb_list init_verbs, deploy_verbs, push_verbs, exec_verbs, rerun_verbs,
    services_verbs, executions_verbs, describe_verbs, logs_verbs, top_verbs, change_verbs,
    login_verbs, context_verbs, people_verbs, completion_verbs, help_verbs, events_verbs,
    rollout_verbs, notifications_verbs, secrets_verbs;

#endif
