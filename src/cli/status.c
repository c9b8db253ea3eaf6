// SPDX-License-Identifier: Apache-2.0
#include "cli/status.h"

#include "cli/listing.h"

static int64_t number(struct json object, const char *path)
{
    struct json value;
    int64_t n;
    return json_path(object, str_of(path), &value) && json_int(value, &n) ? n : 0;
}

// The last line says most: it is the error of a traceback.
static struct str last_line(struct str text)
{
    struct str last = STR("");
    for (struct str rest = text; rest.at;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len > 0)
            last = line;
    }
    return last;
}

// A replica's version is the service's with a number behind it that restarts count: "1.0.2.1".
static bool is_of(struct str replica, struct str version)
{
    return str_eq(replica, version) || (str_starts(replica, version) && replica.len > version.len &&
                                        replica.at[version.len] == '.');
}

int status_replicas(struct cli *cli, const char *service_id, struct str version,
                    struct replicas *out, struct err *err)
{
    struct json all = {0}, one;
    struct str key;
    *out = (struct replicas){.words = STR(""), .told = STR("")};
    if (cli_get(cli, cli_path(cli, "/services/{}/status", service_id), &out->status, err))
        return -1;
    out->queued = number(out->status, "numMessagesInQueue");
    out->running = number(out->status, "running");
    json_get(out->status, "runtimeStatus", &all);
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);) {
        struct json ready = {0};
        if (version.at && !is_of(json_text(one, "serviceVersion", cli->arena), version))
            continue;
        int64_t restarts = number(one, "restartCount");
        json_get(one, "status", &ready);
        out->restarts += restarts;
        out->ready += ready.type == JSON_TRUE;
        if (ready.type == JSON_TRUE)
            continue;
        if (restarts > out->most_restarts)
            out->most_restarts = restarts;
        struct str told = json_text(one, "message", cli->arena), message = last_line(told);
        if (message.len == 0)
            message = json_text(one, "reason", cli->arena);
        if (message.len > 0)
            out->words = message;
        if (told.len > 0)
            out->told = told;
    }
    return 0;
}

int64_t status_wanted(struct json service)
{
    struct json active;
    if (json_get(service, "active", &active) && active.type == JSON_FALSE)
        return 0;
    struct json scaler = {0};
    if (json_path(service, STR("runtime.autoscaler"), &scaler) && scaler.type == JSON_OBJECT)
        return number(service, "runtime.autoscaler.minReplicas");
    return number(service, "runtime.numReplicas");
}
