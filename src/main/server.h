// SPDX-License-Identifier: Apache-2.0
// main/server: `drover server`: wires the rooms together and runs until it is told to stop.
#ifndef DROVER_MAIN_SERVER_H
#define DROVER_MAIN_SERVER_H

// argv[0] is "server". Returns the exit code: 0 stopped as told, 1 trouble, 2 wrong options.
int server_main(int argc, char **argv);

#endif
