// SPDX-License-Identifier: Apache-2.0
// main/verbs: the verbs that need more than the API: the store, the agent's parts, the server
// itself.
#ifndef DROVER_MAIN_VERBS_H
#define DROVER_MAIN_VERBS_H

#include "cli/verb.h"

extern const struct verb_list backup_verbs, run_verbs, up_verbs, doctor_verbs;

#endif
