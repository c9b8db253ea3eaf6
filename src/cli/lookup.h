// SPDX-License-Identifier: Apache-2.0
// cli/lookup: what a name on the command line means. Everywhere an id does as well as a name; a
// name that several have is an error that lists them; one that none has names the nearest.
#ifndef DROVER_CLI_LOOKUP_H
#define DROVER_CLI_LOOKUP_H

#include "base/json.h"
#include "cli/cli.h"

// A list's filter: what belongs to the project and has this value for the key; an absent one: any.
struct str lookup_filter(struct cli *cli, struct str project_id, const char *key, struct str value);

// The chosen project's id (--project, DROVER_PROJECT, the context's); absent when none is chosen.
MUST_CHECK int lookup_project_chosen(struct cli *cli, struct str *id, struct err *err);
// The project that something new goes to: the chosen one, or the only one there is; none at all:
// one called "default" is made. ERR_BAD_INPUT when there are several.
MUST_CHECK int lookup_project(struct cli *cli, struct str *id, struct str *name, struct err *err);
MUST_CHECK int lookup_project_named(struct cli *cli, struct str name, struct json *out,
                                    struct err *err);

// kind: "service" or "package". Looks in the chosen project, or in all.
MUST_CHECK int lookup_named(struct cli *cli, const char *kind, const char *name, struct json *out,
                            struct err *err);
#define lookup_service(cli, name, out, err) lookup_named((cli), "service", (name), (out), (err))
// As lookup_named within one project; *found false instead of an error when there is none.
MUST_CHECK int lookup_in_project(struct cli *cli, const char *kind, struct str project_id,
                                 struct str name, struct json *out, bool *found, struct err *err);
// An execution by its id.
MUST_CHECK int lookup_execution(struct cli *cli, const char *id, struct json *out, struct err *err);

// The path of the integrations of the caller's organisation.
MUST_CHECK int lookup_integrations(struct cli *cli, const char **path, struct err *err);

// An execution by its id, or a service by its id or name; *execution says which it is.
MUST_CHECK int lookup_subject(struct cli *cli, const char *name, struct json *out, bool *execution,
                              struct err *err);

struct str lookup_id(struct json object, struct arena *arena);    // its "id"
struct str lookup_name(struct json object, struct arena *arena);  // its "name"

#endif
