// SPDX-License-Identifier: Apache-2.0
// control/commands: carries commands out, step by step, and those that a former server process left
// unfinished (operation/command.h). Loop thread only.
#ifndef DROVER_CONTROL_COMMANDS_H
#define DROVER_CONTROL_COMMANDS_H

#include "operation/op.h"

struct commands;

struct commands *commands_new(const struct platform *platform);
void commands_free(struct commands *commands);  // after the store was closed

void commands_start(struct commands *commands);  // takes up what is unfinished
void commands_stop(struct commands *commands);   // no further steps

#endif
