// SPDX-License-Identifier: Apache-2.0
// cli/manifest: what a folder of code says of itself: dataloop.json, or else its main.py.
#ifndef DROVER_CLI_MANIFEST_H
#define DROVER_CLI_MANIFEST_H

#include "base/json.h"
#include "cli/cli.h"

struct manifest_service {
    struct str name;
    struct json settings;  // its object: runtime, versions, initParams, …; absent: none given
};

struct manifest {
    const char *folder;
    struct str name;           // of the package
    struct json modules;       // checked
    struct json requirements;  // absent: none given
    struct str functions;      // "run, stop": for people
    struct str example;        // "run name=…": how to call the first one
    struct manifest_service *services;
    size_t service_count;  // at least one
    bool from_file;        // dataloop.json was there
    bool uses_dtlpy;       // its entry point imports dtlpy
};

// ERR_BAD_INPUT names the file and the field.
MUST_CHECK int manifest_read(struct cli *cli, const char *folder, struct manifest *out,
                             struct err *err);

// The folder as a zip in an unlinked temporary file: *fd, of *size bytes and *files files, with the
// SHA-256 of it (the same files give the same). Leaves out what is never code (.git, __pycache__,
// virtual environments) and what `exclude` of dataloop.json or .droverignore names.
struct archive_made {
    int fd;  // the caller closes it
    int64_t size;
    size_t files;
    char sha256[65];
};
MUST_CHECK int archive_make(struct cli *cli, const char *folder, struct archive_made *out,
                            struct err *err);

#endif
