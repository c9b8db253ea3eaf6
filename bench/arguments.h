// SPDX-License-Identifier: Apache-2.0
// The command line of the bench programs that take plain arguments in order.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Ends the program unless `least` to `most` arguments are there and none begins with `-`: these
// programs make the folder that their first one names, whatever its name. --help prints the usage
// on stdout and ends with 0, all else on stderr and with 2.
static inline void check_arguments(int argc, char **argv, int least, int most, const char *usage)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("usage: %s\n", usage);
            exit(0);
        }
        if (argv[i][0] == '-') {
            fprintf(stderr, "there is no option %s\nusage: %s\n", argv[i], usage);
            exit(2);
        }
    }
    if (argc - 1 < least || argc - 1 > most) {
        fprintf(stderr, "usage: %s\n", usage);
        exit(2);
    }
}
