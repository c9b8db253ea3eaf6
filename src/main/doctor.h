// SPDX-License-Identifier: Apache-2.0
// What the files of `drover doctor` share: doctor.c (the verb), doctor_machine.c (checks of this
// machine and the data folder), doctor_server.c (checks of the server).
#ifndef DROVER_MAIN_DOCTOR_H
#define DROVER_MAIN_DOCTOR_H

#include "cli/cli.h"
#include "operation/settings.h"

enum finding { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct doctor_options {
    const char *data, *python, *listen, *tls_cert;
    bool deep;
};

struct doctor {
    struct cli *cli;
    const struct doctor_options *options;
    bool json;
    int warnings, failures;
    struct json_writer out;  // with -o json
    bool server_is_up;
};

// One line. next: what to do about it, NULL when nothing.
void doctor_tell(struct doctor *doctor, enum finding finding, const char *check, const char *next,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);

void doctor_python(struct doctor *doctor);
void doctor_limits(struct doctor *doctor);
void doctor_folder(struct doctor *doctor);
void doctor_certificate(struct doctor *doctor);
void doctor_deep(struct doctor *doctor);

void doctor_server(struct doctor *doctor);    // sets server_is_up
void doctor_port(struct doctor *doctor);      // when no server is up
void doctor_services(struct doctor *doctor);  // when one is

// Runs a program and gives the first bytes of its stdout and stderr together. Its exit code, -1
// when it cannot be started.
int doctor_run(const char *const *argv, char *out, size_t size);

#endif
