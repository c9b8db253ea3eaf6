// SPDX-License-Identifier: Apache-2.0
#include "model/runtime.h"

#include <math.h>
#include <stdio.h>

#include "model/describe.h"

#define QUEUE_LENGTH_DEFAULT 1000
#define COOLDOWN_DEFAULT     300  // seconds
#define POLLING_DEFAULT      10   // seconds
#define RPS_DEFAULT          10   // requests per second and replica
#define RATE_SECONDS_DEFAULT 30
#define CPU_DEFAULT          80  // percent of the replicas' cores
#define CONCURRENCY_DEFAULT  10
#define IMAGE_MAX            512

static const char *const autoscaler_words[] = {
    [AUTOSCALER_RABBITMQ] = "rabbitmq",
    [AUTOSCALER_CPU] = "cpu",
    [AUTOSCALER_RPS] = "rps",
};

// A member that is absent or null stays at its default.
static bool given(struct json object, const char *key, struct json *value)
{
    return json_get(object, key, value) && value->type != JSON_NULL;
}

struct int_rule {
    const char *key, *path;
    int64_t min, max;
    enum limit limit;  // in place of max
};

static int wrong_int(const struct int_rule *rule, int64_t max, struct json value, struct err *err)
{
    char what[DESCRIBE_SIZE];
    bool optional = rule->limit && max != INT64_MAX;
    return err_field(err, rule->path, "%s must be a whole number from %lld to %lld%s%s%s, not %s",
                     rule->path, (long long)rule->min, (long long)max, optional ? " (" : "",
                     optional ? limits_option(rule->limit) : "", optional ? ")" : "",
                     describe_value(value, what));
}

static int take_int(struct json object, const struct int_rule *rule, const struct limits *limits,
                    int64_t *out, struct err *err)
{
    int64_t max = rule->limit ? limits_most(limits, rule->limit) : rule->max;
    struct json value;
    int64_t n;
    if (!given(object, rule->key, &value))
        return 0;
    if (!json_int(value, &n) || n < rule->min || n > max)
        return wrong_int(rule, max, value, err);
    *out = n;
    return 0;
}

static int take_bool(struct json object, const char *key, const char *path, bool *out,
                     struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json value;
    if (!given(object, key, &value) || json_bool(value, out))
        return 0;
    return err_field(err, path, "%s must be true or false, not %s", path,
                     describe_value(value, what));
}

static int take_positive(struct json object, const char *key, const char *path, double *out,
                         struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json value;
    double n;
    if (!given(object, key, &value))
        return 0;
    if (!json_double(value, &n) || !isfinite(n) || n <= 0 || n > 1e9)
        return err_field(err, path, "%s must be a number above 0 and at most 1e9, not %s", path,
                         describe_value(value, what));
    *out = n;
    return 0;
}

// An image reference goes to a container runtime as one word.
static bool image_valid(struct str image)
{
    if (image.len == 0 || image.len > IMAGE_MAX || image.at[0] == '-')
        return false;
    for (size_t i = 0; i < image.len; i++) {
        if ((unsigned char)image.at[i] <= ' ' || (unsigned char)image.at[i] >= 0x7F)
            return false;
    }
    return true;
}

struct image_rule {
    const char *key, *path;
};

static int take_image(struct json object, struct image_rule rule, struct str *out,
                      struct arena *arena, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json value;
    if (!given(object, rule.key, &value))
        return 0;
    struct str image = json_str(value, arena);
    if (!image_valid(image))
        return err_field(err, rule.path,
                         "%s must be the name of an image (1 to %d characters, no blanks), not %s",
                         rule.path, IMAGE_MAX, describe_value(value, what));
    *out = image;
    return 0;
}

static int wrong_instance(struct json value, struct err *err)
{
    char names[400] = "", what[DESCRIBE_SIZE];
    size_t count, len = 0;
    const struct instance_type *types = instance_catalog(&count);
    for (size_t i = 0; i < count && len < sizeof(names) - 1; i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s" STR_FMT, i ? ", " : "",
                                STR_ARG(types[i].name));
    return err_field(err, "runtime.podType", "runtime.podType must be one of %s, not %s", names,
                     describe_value(value, what));
}

static int take_instance(struct json object, struct runtime *out, struct arena *arena,
                         struct err *err)
{
    struct json value;
    if (!given(object, "podType", &value))
        return 0;
    const struct instance_type *found = instance_find(json_str(value, arena));
    if (!found)
        return wrong_instance(value, err);
    out->instance = found;
    return 0;
}

// ── autoscaler ───────────────────────────────────────────────────────────────────────────────

static int take_type(struct json object, struct runtime *out, struct arena *arena, struct err *err)
{
    static const char path[] = "runtime.autoscaler.type";
    char what[DESCRIBE_SIZE];
    struct json value = {0};
    json_get(object, "type", &value);
    struct str word = json_str(value, arena);
    for (int i = AUTOSCALER_RABBITMQ; i <= AUTOSCALER_RPS; i++) {
        if (str_is(word, autoscaler_words[i]))
            out->autoscaler = (enum autoscaler_type)i;
    }
    if (out->autoscaler == AUTOSCALER_NONE)
        return err_field(err, path, "%s must be rabbitmq, cpu or rps, not %s", path,
                         describe_value(value, what));
    return 0;
}

static int take_scale(struct json object, const struct limits *limits, struct runtime *out,
                      struct err *err)
{
    static const struct int_rule min = {
        .key = "minReplicas", .path = "runtime.autoscaler.minReplicas", .limit = LIMIT_REPLICAS};
    static const struct int_rule max = {.key = "maxReplicas",
                                        .path = "runtime.autoscaler.maxReplicas",
                                        .min = 1,
                                        .limit = LIMIT_REPLICAS};
    static const struct int_rule length = {.key = "queueLength",
                                           .path = "runtime.autoscaler.queueLength",
                                           .min = 1,
                                           .max = 1000000000};
    static const struct int_rule cooldown = {
        .key = "cooldownPeriod", .path = "runtime.autoscaler.cooldownPeriod", .max = 7 * 24 * 3600};
    static const struct int_rule polling = {.key = "pollingInterval",
                                            .path = "runtime.autoscaler.pollingInterval",
                                            .min = 1,
                                            .max = 24 * 3600};
    if (take_int(object, &min, limits, &out->min_replicas, err) < 0 ||
        take_int(object, &max, limits, &out->max_replicas, err) < 0 ||
        take_int(object, &length, limits, &out->queue_length, err) < 0 ||
        take_int(object, &cooldown, limits, &out->cooldown_s, err) < 0 ||
        take_int(object, &polling, limits, &out->polling_s, err) < 0)
        return -1;
    if (out->min_replicas > out->max_replicas)
        return err_field(err, min.path, "%s is %lld, more than maxReplicas, which is %lld",
                         min.path, (long long)out->min_replicas, (long long)out->max_replicas);
    return 0;
}

static int take_autoscaler(struct json object, const struct limits *limits, struct runtime *out,
                           struct arena *arena, struct err *err)
{
    static const char path[] = "runtime.autoscaler.threshold";
    char what[DESCRIBE_SIZE];
    struct json scaler;
    if (!given(object, "autoscaler", &scaler))
        return 0;
    if (scaler.type != JSON_OBJECT)
        return err_field(err, "runtime.autoscaler",
                         "runtime.autoscaler must be an object or null, not %s",
                         describe_value(scaler, what));
    out->max_replicas = 1;
    out->queue_length = QUEUE_LENGTH_DEFAULT;
    out->cooldown_s = COOLDOWN_DEFAULT;
    out->polling_s = POLLING_DEFAULT;
    if (take_type(scaler, out, arena, err) < 0 || take_scale(scaler, limits, out, err) < 0)
        return -1;
    if (out->autoscaler == AUTOSCALER_RABBITMQ)
        return 0;
    out->threshold = out->autoscaler == AUTOSCALER_CPU ? CPU_DEFAULT : RPS_DEFAULT;
    out->rate_seconds = RATE_SECONDS_DEFAULT;
    if (take_positive(scaler, "threshold", path, &out->threshold, err) < 0 ||
        take_positive(scaler, "rateSeconds", "runtime.autoscaler.rateSeconds", &out->rate_seconds,
                      err) < 0)
        return -1;
    if (out->autoscaler == AUTOSCALER_CPU && out->threshold > 100)
        return err_field(err, path, "%s of a cpu autoscaler is a percentage: at most 100", path);
    return 0;
}

// ── the whole ────────────────────────────────────────────────────────────────────────────────

static int check_dynamic_config(struct json object, struct err *err)
{
    static const char path[] = "runtime.dynamicConcurrencyConfig";
    char what[DESCRIBE_SIZE];
    struct json value;
    if (!given(object, "dynamicConcurrencyConfig", &value) || value.type == JSON_OBJECT)
        return 0;
    return err_field(err, path, "%s must be an object or null, not %s", path,
                     describe_value(value, what));
}

int runtime_parse(struct json json, const struct limits *limits, struct runtime *out,
                  struct arena *arena, struct err *err)
{
    static const struct int_rule replicas = {
        .key = "numReplicas", .path = "runtime.numReplicas", .limit = LIMIT_REPLICAS};
    static const struct int_rule concurrency = {
        .key = "concurrency", .path = "runtime.concurrency", .min = 1, .limit = LIMIT_CONCURRENCY};
    char what[DESCRIBE_SIZE];
    int64_t most = limits_most(limits, LIMIT_CONCURRENCY);
    *out = (struct runtime){.instance = instance_find(STR(INSTANCE_DEFAULT)),
                            .replicas = 1,
                            .concurrency = most < CONCURRENCY_DEFAULT ? most : CONCURRENCY_DEFAULT};
    if (json.type == JSON_ABSENT || json.type == JSON_NULL)
        return 0;
    if (json.type != JSON_OBJECT)
        return err_field(err, "runtime", "runtime must be an object, not %s",
                         describe_value(json, what));
    if (take_instance(json, out, arena, err) < 0 ||
        take_int(json, &replicas, limits, &out->replicas, err) < 0 ||
        take_int(json, &concurrency, limits, &out->concurrency, err) < 0 ||
        take_bool(json, "preemptible", "runtime.preemptible", &out->preemptible, err) < 0 ||
        take_bool(json, "singleAgent", "runtime.singleAgent", &out->single_agent, err) < 0 ||
        take_bool(json, "dynamicConcurrency", "runtime.dynamicConcurrency",
                  &out->dynamic_concurrency, err) < 0 ||
        check_dynamic_config(json, err) < 0 ||
        take_image(json, (struct image_rule){"runnerImage", "runtime.runnerImage"},
                   &out->runner_image, arena, err) < 0 ||
        take_image(json, (struct image_rule){"proxyImage", "runtime.proxyImage"}, &out->proxy_image,
                   arena, err) < 0)
        return -1;
    return take_autoscaler(json, limits, out, arena, err);
}

// Copies the members of object but those named in `known` ("a|b|c").
static void copy_unknown(struct json object, const char *known, struct arena *arena,
                         struct json_writer *out)
{
    struct json_iter it = json_each(object);
    struct str key;
    struct json value;
    while (object.type == JSON_OBJECT && json_next(&it, &key, &value)) {
        struct str rest = str_of(known);
        bool skip = false;
        while (rest.len && !skip)
            skip = json_raw_eq(key, str_cut(&rest, '|'));
        if (skip)
            continue;
        json_w_key_str(out, json_unescape(key, arena));
        json_w_raw(out, value.text);
    }
}

static void encode_autoscaler(struct json scaler, const struct runtime *runtime,
                              struct arena *arena, struct json_writer *out)
{
    bool queue = runtime->autoscaler == AUTOSCALER_RABBITMQ;
    json_w_object(out);
    json_w_pair_str(out, "type", str_of(autoscaler_words[runtime->autoscaler]));
    json_w_pair_int(out, "minReplicas", runtime->min_replicas);
    json_w_pair_int(out, "maxReplicas", runtime->max_replicas);
    if (queue) {
        json_w_pair_int(out, "queueLength", runtime->queue_length);
    } else {
        json_w_key(out, "threshold");
        json_w_double(out, runtime->threshold);
        json_w_key(out, "rateSeconds");
        json_w_double(out, runtime->rate_seconds);
    }
    json_w_pair_int(out, "cooldownPeriod", runtime->cooldown_s);
    json_w_pair_int(out, "pollingInterval", runtime->polling_s);
    copy_unknown(scaler,
                 queue ? "type|minReplicas|maxReplicas|queueLength|cooldownPeriod|pollingInterval"
                       : "type|minReplicas|maxReplicas|threshold|rateSeconds|cooldownPeriod|"
                         "pollingInterval",
                 arena, out);
    json_w_object_end(out);
}

struct str runtime_normalise(struct json json, const struct runtime *runtime, struct arena *arena)
{
    // A byte of a key takes at most six when it is escaped; the rest is what was filled in.
    _cleanup_buf_ struct buf buf = BUF_INIT(json.text.len * 6 + 4096);
    struct json_writer out = JSON_WRITER(&buf);
    struct json scaler = {0};
    json_get(json, "autoscaler", &scaler);
    json_w_object(&out);
    json_w_pair_str(&out, "podType", runtime->instance->name);
    json_w_pair_int(&out, "numReplicas", runtime->replicas);
    json_w_pair_int(&out, "concurrency", runtime->concurrency);
    json_w_key(&out, "autoscaler");
    if (runtime->autoscaler == AUTOSCALER_NONE)
        json_w_null(&out);
    else
        encode_autoscaler(scaler, runtime, arena, &out);
    copy_unknown(json, "podType|numReplicas|concurrency|autoscaler", arena, &out);
    json_w_object_end(&out);
    return arena_copy(arena, buf_str(&buf));
}
