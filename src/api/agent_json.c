// SPDX-License-Identifier: Apache-2.0
#include "api/agent_json.h"

#define WAIT_MAX_MS  10000
#define CAPACITY_MAX 4096
#define REFS_MAX     8192
#define USAGE_MAX    512  // bytes

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static struct str text_of(struct json object, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(object, key, &value) ? json_str(value, arena) : STR_NONE;
}

static int64_t int_of(struct json object, const char *key, int64_t fallback)
{
    struct json value;
    int64_t n;
    return json_get(object, key, &value) && json_int(value, &n) ? n : fallback;
}

static struct str raw_of(struct json object, const char *key)
{
    struct json value;
    return json_get(object, key, &value) && value.type != JSON_NULL ? value.text : STR_NONE;
}

// Reads [["<id>", fence, reason?], …]; entries of another form are an error.
static int read_refs(struct json object, const char *key, struct arena *arena,
                     struct dispatch_lost **out, size_t *count, struct err *err)
{
    struct json list;
    *count = 0;
    if (!json_get(object, key, &list) || list.type == JSON_NULL)
        return 0;
    size_t most = json_count(list);
    if (list.type != JSON_ARRAY || most > REFS_MAX)
        return err_field(err, key, "must be an array of at most %d [id, fence] pairs", REFS_MAX);
    *out = arena_array_of(arena, struct dispatch_lost, most + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json pair; json_next(&it, &none, &pair);) {
        struct json_iter parts = json_each(pair);
        struct json id, fence, reason;
        struct dispatch_lost *ref = &(*out)[*count];
        if (pair.type != JSON_ARRAY || !json_next(&parts, &none, &id) || id.type != JSON_STRING ||
            !json_next(&parts, &none, &fence) || !json_int(fence, &ref->ref.fence))
            return err_field(err, key, "must be an array of [id, fence] pairs");
        ref->ref.id = json_str(id, arena);
        ref->reason = json_next(&parts, &none, &reason) ? json_str(reason, arena) : STR_NONE;
        (*count)++;
    }
    return 0;
}

static struct dispatch_ref *refs_only(struct arena *arena, const struct dispatch_lost *from,
                                      size_t count)
{
    struct dispatch_ref *refs = arena_array_of(arena, struct dispatch_ref, count + 1);
    for (size_t i = 0; i < count; i++)
        refs[i] = from[i].ref;
    return refs;
}

static int read_held(struct json body, const char *key, struct arena *arena,
                     struct dispatch_ref **out, size_t *count, struct err *err)
{
    struct dispatch_lost *refs = NULL;
    if (read_refs(body, key, arena, &refs, count, err))
        return -1;
    *out = refs_only(arena, refs, *count);
    return 0;
}

// What the process of an execution used; small, whoever writes it.
static struct str usage_of(struct json result)
{
    struct json usage;
    bool fits = json_get(result, "usage", &usage) && usage.type == JSON_OBJECT &&
                usage.text.len <= USAGE_MAX;
    return fits ? usage.text : STR_NONE;
}

static int read_results(struct json body, struct dispatch_exchange *x, struct err *err)
{
    struct json list;
    if (!json_get(body, "results", &list) || list.type != JSON_ARRAY)
        return 0;
    x->results = arena_array_of(x->arena, struct dispatch_result, json_count(list) + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry; json_next(&it, &none, &entry);) {
        struct dispatch_result *result = &x->results[x->result_count++];
        *result = (struct dispatch_result){
            .ref = {.id = text_of(entry, "id", x->arena), .fence = int_of(entry, "fence", -1)},
            .status = text_of(entry, "status", x->arena),
            .message = text_of(entry, "message", x->arena),
            .output = raw_of(entry, "output"),
            .error = raw_of(entry, "error"),
            .usage = usage_of(entry),
            .started_at = int_of(entry, "startedAt", INT_NONE),
            .ended_at = int_of(entry, "endedAt", INT_NONE),
            .log_end = int_of(entry, "logEnd", 0),
        };
        bool known = str_is(result->status, "success") || str_is(result->status, "failed") ||
                     str_is(result->status, "terminated");
        if (!result->ref.id.at || result->ref.fence < 0 || !known)
            return err_field(err, "results",
                             "each needs id, fence and a status of success, failed or terminated");
        if (!result->message.at && result->error.at)
            result->message = text_of(json_of(result->error), "message", x->arena);
    }
    return 0;
}

static void read_progress(struct json body, struct dispatch_exchange *x, int64_t now)
{
    struct json list;
    if (!json_get(body, "progress", &list) || list.type != JSON_ARRAY)
        return;
    x->progress = arena_array_of(x->arena, struct dispatch_progress, json_count(list) + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry, percent; json_next(&it, &none, &entry);) {
        struct dispatch_progress *p = &x->progress[x->progress_count++];
        *p = (struct dispatch_progress){
            .ref = {.id = text_of(entry, "id", x->arena), .fence = int_of(entry, "fence", -1)},
            .status = text_of(entry, "status", x->arena),
            .message = text_of(entry, "message", x->arena),
            .output = raw_of(entry, "output"),
            .percent = NAN,
            .at = int_of(entry, "at", now),
        };
        if (json_get(entry, "percent", &percent))
            (void)json_double(percent, &p->percent);
    }
}

static const char *read_state(struct str state)
{
    return str_is(state, "ready") ? "ready" : str_is(state, "draining") ? "draining" : "starting";
}

static int64_t clamp(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

int agent_read_exchange(struct json body, int64_t now, struct dispatch_exchange *x, int64_t *seq,
                        struct err *err)
{
    struct dispatch_lost *returned = NULL;
    x->replica_id = text_of(body, "replicaId", x->arena);
    x->session = text_of(body, "session", x->arena);
    x->state = read_state(text_of(body, "state", x->arena));
    x->ready = str_is(STR("ready"), x->state);
    x->phase = text_of(body, "phase", x->arena);
    x->capacity = clamp(int_of(body, "capacity", 0), 0, CAPACITY_MAX);
    x->concurrency = clamp(int_of(body, "concurrency", 0), 0, CAPACITY_MAX);
    x->wait_ms = clamp(int_of(body, "waitMs", WAIT_MAX_MS), 0, WAIT_MAX_MS);
    *seq = int_of(body, "seq", 0);
    (void)json_get(body, "failure", &x->failure);
    read_progress(body, x, now);
    if (read_held(body, "held", x->arena, &x->held, &x->held_count, err) ||
        read_refs(body, "returned", x->arena, &returned, &x->returned_count, err) ||
        read_refs(body, "lost", x->arena, &x->lost, &x->lost_count, err) ||
        read_results(body, x, err))
        return -1;
    x->returned = refs_only(x->arena, returned, x->returned_count);
    return x->replica_id.at && x->session.at
               ? 0
               : err_set(err, ERR_BAD_INPUT, "replicaId and session are needed");
}

int agent_read_hello(struct json body, struct arena *arena, struct str *replica_id,
                     struct dispatch_ref **held, size_t *count, struct err *err)
{
    *replica_id = text_of(body, "replicaId", arena);
    if (replica_id->len == 0)
        return err_field(err, "replicaId", "is needed");
    return read_held(body, "held", arena, held, count, err);
}

int agent_read_lines(struct json body, const struct log_line *common, struct arena *arena,
                     int64_t *first, struct log_line **out, size_t *count, struct err *err)
{
    struct json list, value;
    if (!json_get(body, "lines", &list) || list.type != JSON_ARRAY)
        return err_field(err, "lines", "must be an array");
    struct str replica_id = text_of(body, "replicaId", arena);
    *first = int_of(body, "first", 0);
    struct log_line *lines = arena_array_of(arena, struct log_line, json_count(list) + 1);
    *out = lines;
    *count = 0;
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry; json_next(&it, &none, &entry);) {
        struct log_line *line = &lines[(*count)++];
        *line = *common;
        line->at = int_of(entry, "at", common->at);
        line->level = line_level_parse(text_of(entry, "level", arena));
        line->execution_id = text_of(entry, "execution", arena);
        line->function_name = text_of(entry, "function", arena);
        line->replica_id = replica_id;
        line->message = text_of(entry, "message", arena);
        if (json_get(entry, "system", &value))
            (void)json_bool(value, &line->system);
        if (line->level == 0)
            line->level = LINE_INFO;
    }
    return 0;
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

static void w_ref(struct json_writer *w, const struct dispatch_ref *ref)
{
    json_w_str(w, ref->id);
    json_w_int(w, ref->fence);
}

static void write_executions(struct json_writer *w, const struct dispatch_exchange *x)
{
    json_w_key(w, "executions");
    json_w_array(w);
    for (size_t i = 0; i < x->execution_count; i++) {
        // The body is an object of ours, "{…}": the fence goes in front of its first member.
        const struct dispatch_delivery *delivery = &x->executions[i];
        json_w_object(w);
        json_w_pair_int(w, "fence", delivery->fence);
        buf_add_char(w->buf, ',');
        buf_add(w->buf, delivery->body.at + 1, delivery->body.len - 2);
        json_w_object_end(w);
    }
    json_w_array_end(w);
}

static void write_notes(struct json_writer *w, const struct dispatch_exchange *x)
{
    json_w_key(w, "recorded");
    json_w_array(w);
    for (size_t i = 0; i < x->recorded_count; i++) {
        json_w_array(w);
        w_ref(w, &x->recorded[i].ref);
        json_w_bool(w, x->recorded[i].applied);
        json_w_array_end(w);
    }
    json_w_array_end(w);
    json_w_key(w, "terminate");
    json_w_array(w);
    for (size_t i = 0; i < x->terminate_count; i++)
        json_w_str(w, x->terminate[i]);
    json_w_array_end(w);
    json_w_key(w, "drop");
    json_w_array(w);
    for (size_t i = 0; i < x->drop_count; i++) {
        json_w_array(w);
        w_ref(w, &x->drop[i]);
        json_w_array_end(w);
    }
    json_w_array_end(w);
}

static void write_token(struct json_writer *w, const struct agent_token *token)
{
    json_w_key(w, "token");
    if (!token->text.at) {
        json_w_null(w);
        return;
    }
    json_w_object(w);
    json_w_pair_str(w, "token", token->text);
    json_w_pair_int(w, "expiresAt", token->expires_at);
    json_w_object_end(w);
}

void agent_write_exchange(const struct dispatch_exchange *x, int64_t seq,
                          const struct agent_token *token, struct buf *out)
{
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_int(&w, "seq", seq);
    write_executions(&w, x);
    write_notes(&w, x);
    json_w_key(&w, "command");
    json_w_cstr(&w, x->command);
    if (x->tell_concurrency > 0)
        json_w_pair_int(&w, "concurrency", x->tell_concurrency);
    write_token(&w, token);
    json_w_object_end(&w);
}

static void write_code(struct json_writer *w, const struct assignment *a, struct arena *arena)
{
    json_w_key(w, "code");
    json_w_object(w);
    if (a->git.at) {
        struct json git = json_of(a->git);
        json_w_pair_str(w, "type", STR("git"));
        json_w_pair_str(w, "url", text_of(git, "gitUrl", arena));
        json_w_pair_str(w, "tag", text_of(git, "gitTag", arena));
        json_w_pair_raw(w, "credentials", raw_of(git, "credentials"));
    } else {
        json_w_pair_str(w, "type", STR("item"));
        json_w_pair_str(w, "sha256", a->blob);
        json_w_pair_int(w, "size", a->blob_size);
    }
    json_w_object_end(w);
}

static void write_sdk(struct json_writer *w, const struct agent_hello *hello, struct arena *arena)
{
    const struct settings *settings = hello->settings;
    const struct assignment *a = hello->assignment;
    struct str gate = str_of(settings->public_url);
    json_w_key(w, "sdk");
    json_w_object(w);
    json_w_pair_str(w, "url", arena_printf(arena, STR_FMT "/api/v1", STR_ARG(gate)));
    json_w_pair_str(w, "gate", gate);
    json_w_pair_str(w, "token", a->token);
    json_w_pair_int(w, "expiresAt", a->token_expires_at);
    json_w_pair_str(w, "certificate", hello->certificate);
    json_w_object_end(w);
    json_w_key(w, "limits");
    json_w_object(w);
    json_w_pair_int(w, "logLineBytes", settings->log_line_max);
    json_w_pair_int(w, "logLinesPerExecution", settings->log_lines_per_execution);
    json_w_pair_int(w, "outputBytes", settings->output_max);
    json_w_pair_int(w, "jsonDepth", settings->json_depth);
    json_w_pair_int(w, "archiveBytes", settings->archive_max);
    json_w_pair_int(w, "archiveEntries", settings->archive_entries);
    json_w_object_end(w);
}

static void write_entities(struct json_writer *w, const struct assignment *a)
{
    json_w_key(w, "service");
    entity_encode(&service_entity, &a->service, w);
    json_w_key(w, "package");
    entity_encode(&package_entity, &a->package, w);
    json_w_key(w, "project");
    entity_encode(&project_entity, &a->project, w);
    json_w_pair_raw(w, "module", a->module_json);
    json_w_pair_raw(w, "initParams",
                    a->service.init_params.len > 0 ? a->service.init_params : STR("{}"));
}

static void write_run(struct json_writer *w, const struct assignment *a)
{
    json_w_pair_int(w, "concurrency", a->concurrency);
    json_w_pair_int(w, "executionTimeoutS", a->service.execution_timeout);
    json_w_pair_int(w, "drainTimeS", a->service.drain_time);
    json_w_pair_bool(w, "runAsProcess", a->service.run_as_process);
    json_w_pair_str(w, "dtlpy", a->dtlpy);
    json_w_key(w, "requirements");
    json_w_array(w);
    for (size_t i = 0; i < a->requirement_count; i++)
        json_w_str(w, a->requirements[i]);
    json_w_array_end(w);
    json_w_key(w, "env");
    json_w_object(w);
    for (size_t i = 0; i < a->env_count; i++) {
        json_w_key_str(w, a->env[i].name);
        json_w_str(w, a->env[i].value);
    }
    json_w_object_end(w);
    if (a->refusal.at)
        json_w_pair_str(w, "refusal", a->refusal);
}

void agent_write_env(const struct variable *env, size_t count, struct buf *out)
{
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_key(&w, "env");
    json_w_array(&w);
    for (size_t i = 0; i < count; i++) {
        json_w_object(&w);
        json_w_pair_str(&w, "key", env[i].name);
        json_w_pair_str(&w, "value", env[i].value);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
}

void agent_write_hello(const struct agent_hello *hello, struct arena *arena, struct buf *out)
{
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "replicaId", hello->replica_id);
    json_w_pair_int(&w, "leaseMs", hello->settings->lease_ms);
    json_w_pair_str(&w, "session", hello->session);
    if (hello->assignment) {
        write_entities(&w, hello->assignment);
        write_code(&w, hello->assignment, arena);
        write_run(&w, hello->assignment);
        write_sdk(&w, hello, arena);
    } else {
        json_w_pair_bool(&w, "keep", true);
    }
    json_w_key(&w, "held");
    json_w_array(&w);
    for (size_t i = 0; i < hello->held_count; i++) {
        json_w_array(&w);
        w_ref(&w, &hello->held[i]);
        json_w_array_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
}
