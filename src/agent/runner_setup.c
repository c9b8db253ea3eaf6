// SPDX-License-Identifier: Apache-2.0
#include "agent/runner_setup.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/folder.h"
#include "base/json.h"
#include "model/variable.h"
#include "net/frame.h"

int runner_setup_folders(const char *folder, struct err *err)
{
    static const char *const names[] = {"home", "tmp", "dataloop"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[4096];
        int len = snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        if (len < 0 || len >= (int)sizeof(path))
            return err_set(err, ERR_BAD_INPUT, "the replica's folder has too long a path");
        if (folder_make(path, err))
            return -1;
    }
    return 0;
}

// ── the runner's environment variables ───────────────────────────────────────────────────────

#define OWN_VARIABLES 24

struct variables {
    struct arena *arena;
    const char **list;
    size_t count;
};

static void add(struct variables *to, const char *name, const char *value)
{
    to->list[to->count++] = arena_printf(to->arena, "%s=%s", name, value).at;
}

// dtlpy's description of an environment: base64 of JSON.
static const char *custom_env(const struct runner_setup *setup, struct arena *arena)
{
    const struct assignment *assignment = setup->assignment;
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "url", str_of(assignment->sdk_url));
    json_w_pair_str(&w, "alias", STR("drover"));
    json_w_pair_str(&w, "gate_url", str_of(assignment->sdk_gate));
    bool https = str_starts(str_of(assignment->sdk_url), STR("https://"));
    json_w_pair_str(&w, "verify_ssl", https ? STR("true") : STR("false"));
    json_w_object_end(&w);
    const int kind = sodium_base64_VARIANT_ORIGINAL;
    size_t size = sodium_base64_ENCODED_LEN(text.len, kind);
    char *out = arena_alloc(arena, size);
    sodium_bin2base64(out, size, (const unsigned char *)text.at, text.len, kind);
    return out;
}

static void add_sdk(struct variables *to, const struct runner_setup *setup)
{
    if (!setup->proxy)
        return;
    char port[16];
    snprintf(port, sizeof(port), "%d", sdk_proxy_port(setup->proxy));
    add(to, "DATALOOP_PATH", arena_printf(to->arena, "%s/dataloop", setup->folder).at);
    add(to, "DTLPY_CUSTOM_ENV", custom_env(setup, to->arena));
    add(to, "INTERNAL_REQUESTS_URL", setup->assignment->sdk_url);
    add(to, "DTLPY_REFRESH_TOKEN_METHOD", "proxy");
    add(to, "AGENT_PROXY_MAIN_PORT", port);
    add(to, "GET_JWT_ENDPOINT_SECRET", sdk_proxy_secret(setup->proxy));
}

// Later entries win in no portable way, so those of ours that must hold leave the service's out.
static bool is_ours(const char *variable)
{
    struct str rest = str_of(variable);
    return variable_is_sdk(str_cut(&rest, '='));
}

static bool has(const struct variables *in, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < in->count; i++)
        if (strncmp(in->list[i], name, len) == 0 && in->list[i][len] == '=')
            return true;
    return false;
}

static void add_default(struct variables *to, const char *name, const char *value)
{
    if (value && !has(to, name))
        add(to, name, value);
}

// Clean but for what the service asks for, what programs cannot do without, and what the machine's
// owner set for the network.
const char **runner_setup_env(const struct runner_setup *setup, struct arena *arena)
{
    static const char *const passed[] = {"http_proxy", "https_proxy",   "no_proxy",
                                         "HTTP_PROXY", "HTTPS_PROXY",   "NO_PROXY",
                                         "TZ",         "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"};
    const struct assignment *assignment = setup->assignment;
    struct variables to = {.arena = arena};
    to.list = arena_array_of(arena, const char *, assignment->env_count + OWN_VARIABLES + 1);
    for (size_t i = 0; i < assignment->env_count; i++)
        if (!setup->proxy || !is_ours(assignment->env[i]))
            to.list[to.count++] = assignment->env[i];
    add_sdk(&to, setup);
    const char *path = getenv("PATH");
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    const char *slash = strrchr(setup->python, '/');
    bool in_venv = strcmp(setup->python, setup->base_python) != 0;
    if (in_venv && slash) {
        int bin = (int)(slash - setup->python), root = bin - 4;  // less "/bin"
        path = arena_printf(arena, "%.*s:%s", bin, setup->python, path).at;
        add_default(&to, "VIRTUAL_ENV", arena_printf(arena, "%.*s", root, setup->python).at);
    }
    add_default(&to, "PATH", path);
    add_default(&to, "HOME", arena_printf(arena, "%s/home", setup->folder).at);
    add_default(&to, "TMPDIR", arena_printf(arena, "%s/tmp", setup->folder).at);
    add_default(&to, "LANG", "C.UTF-8");
    add_default(&to, "PYTHONUNBUFFERED", "1");
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        add_default(&to, passed[i], getenv(passed[i]));
    return to.list;
}

// ── its first frame ──────────────────────────────────────────────────────────────────────────

void runner_setup_load(const struct runner_setup *setup, const char *mode, struct buf *out)
{
    const struct assignment *assignment = setup->assignment;
    size_t begun = frame_begin(out);
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("load"));
    json_w_pair_str(&w, "folder", str_of(setup->code));
    json_w_pair_raw(&w, "module", assignment->module.text);
    json_w_pair_raw(&w, "initParams", assignment->init_params.text);
    json_w_pair_int(&w, "concurrency", assignment->concurrency);
    json_w_pair_str(&w, "mode", str_of(mode));
    json_w_key(&w, "sdk");
    if (setup->proxy) {
        json_w_object(&w);
        json_w_pair_str(&w, "url", str_of(assignment->sdk_url));
        json_w_pair_str(&w, "gate", str_of(assignment->sdk_gate));
        json_w_pair_str(&w, "token", str_of(assignment->sdk_token));
        json_w_pair_raw(&w, "certificate", assignment->sdk_certificate.text);
        json_w_object_end(&w);
    } else {
        json_w_null(&w);
    }
    json_w_pair_raw(&w, "service", assignment->service.text);
    json_w_pair_raw(&w, "package", assignment->package.text);
    json_w_pair_raw(&w, "project", assignment->project.text);
    json_w_pair_str(&w, "replicaId", str_of(setup->replica_id));
    json_w_pair_raw(&w, "limits", assignment->limits.text);
    json_w_object_end(&w);
    frame_end(out, begun);
}
