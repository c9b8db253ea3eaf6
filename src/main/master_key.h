// SPDX-License-Identifier: Apache-2.0
// `drover master-key`: which key seals the secrets of a data folder, and its change.
#ifndef DROVER_MAIN_MASTER_KEY_H
#define DROVER_MAIN_MASTER_KEY_H

#include "base/option.h"

extern const struct option_table master_key_table;

int master_key_main(int argc, char **argv);

#endif
