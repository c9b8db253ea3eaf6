// SPDX-License-Identifier: Apache-2.0
// cli/context: the servers that somebody has logged in to, kept in
// $XDG_CONFIG_HOME/drover/config.json (or ~/.config/drover), readable by its owner alone and
// replaced whole, so a crash leaves the old or the new one.
#ifndef DROVER_CLI_CONTEXT_H
#define DROVER_CLI_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct context {
    struct str name, url, user, project;  // project: id or name, absent: none chosen
    struct str api_key;                   // or a login:
    struct str token, refresh_token;
    struct str ca_file;  // whom to trust for https besides the system's; absent: nobody
};

struct contexts {
    struct context *at;
    size_t count;
    struct str current;  // name; absent: none
};

// The file's path in the arena. ERR_BAD_INPUT when neither HOME nor XDG_CONFIG_HOME is set.
MUST_CHECK int contexts_path(struct arena *arena, const char **out, struct err *err);
// No file means no contexts.
MUST_CHECK int contexts_load(struct contexts *out, struct arena *arena, struct err *err);
MUST_CHECK int contexts_save(const struct contexts *contexts, struct arena *arena, struct err *err);
struct context *contexts_find(const struct contexts *contexts, struct str name);
// Puts it in the place of the one with its name, or at the end.
void contexts_put(struct contexts *contexts, const struct context *context, struct arena *arena);

struct target {  // where a verb's requests go, and as whom
    struct str url, token, refresh_token, project;
    struct str ca_file;
    struct str socket;   // path of the server's; url then has no host of its own. Absent: none
    struct str context;  // name; absent: none
    struct str source;   // "context local", "DROVER_URL", "./drover-data": for messages
};

// What --url, --context (NULL when not given), the environment, the file and ./drover-data say, in
// this order. ERR_NOT_FOUND: no such context; ERR_UNAUTHENTICATED: nothing names a server.
MUST_CHECK int target_find(const char *url, const char *context, const char *project,
                           struct target *out, struct arena *arena, struct err *err);

// Whether the URL is http or https with a host; cuts slashes at its end.
bool url_fits(struct str *url);
// Of "unix:/PATH" (a server that listens on a socket) the path; the URL becomes the one that is
// asked through it. Absent, and nothing changed, for every other URL.
struct str url_socket(struct str *url);
// Whether its host is this machine, by name or number.
bool url_is_loopback(struct str url);

#endif
