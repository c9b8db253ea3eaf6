// SPDX-License-Identifier: Apache-2.0
#include "model_support.h"

#include "model/runtime.h"

static struct runtime read_runtime(const char *text, struct arena *arena)
{
    struct err err = ERR_INIT;
    struct runtime runtime;
    if (runtime_parse(parse(text), &limits_default, &runtime, arena, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return runtime;
}

static void defaults_fill_in(void **state)
{
    struct runtime r = read_runtime("{}", *state);
    assert_text(r.instance->name, "regular-s");
    assert_int_equal(r.replicas, 1);
    assert_int_equal(r.concurrency, 10);
    assert_false(r.preemptible || r.single_agent || r.dynamic_concurrency);
    assert_null(r.runner_image.at);
    assert_int_equal(r.autoscaler, AUTOSCALER_NONE);

    struct err err = ERR_INIT;
    assert_int_equal(runtime_parse((struct json){0}, &limits_default, &r, *state, &err), 0);
    assert_int_equal(r.concurrency, 10);
    r = read_runtime("null", *state);
    assert_int_equal(r.replicas, 1);
    r = read_runtime("{\"podType\":null,\"concurrency\":null,\"autoscaler\":null,"
                     "\"preemptible\":null,\"runnerImage\":null}",
                     *state);
    assert_text(r.instance->name, "regular-s");
    assert_int_equal(r.concurrency, 10);
}

static void everything_is_read(void **state)
{
    struct runtime r = read_runtime(
        "{\"podType\":\"gpu-t4-m\",\"numReplicas\":3,\"concurrency\":32,\"preemptible\":true,"
        "\"singleAgent\":true,\"dynamicConcurrency\":true,\"dynamicConcurrencyConfig\":{\"a\":1},"
        "\"runnerImage\":\"registry/img:1\",\"proxyImage\":\"p@sha256:00\"}",
        *state);
    assert_text(r.instance->gpu, "T4");
    assert_int_equal(r.instance->gpu_count, 1);
    assert_int_equal(r.replicas, 3);
    assert_int_equal(r.concurrency, 32);
    assert_true(r.preemptible && r.single_agent && r.dynamic_concurrency);
    assert_text(r.runner_image, "registry/img:1");
    assert_text(r.proxy_image, "p@sha256:00");
}

static void autoscalers_have_their_fields(void **state)
{
    struct runtime r = read_runtime("{\"autoscaler\":{\"type\":\"rabbitmq\"}}", *state);
    assert_int_equal(r.autoscaler, AUTOSCALER_RABBITMQ);
    assert_int_equal(r.min_replicas, 0);
    assert_int_equal(r.max_replicas, 1);
    assert_int_equal(r.queue_length, 1000);
    assert_int_equal(r.cooldown_s, 300);
    assert_int_equal(r.polling_s, 10);

    r = read_runtime("{\"autoscaler\":{\"type\":\"rps\",\"minReplicas\":2,\"maxReplicas\":9,"
                     "\"threshold\":2.5,\"rateSeconds\":7,\"cooldownPeriod\":0,"
                     "\"pollingInterval\":3}}",
                     *state);
    assert_int_equal(r.autoscaler, AUTOSCALER_RPS);
    assert_int_equal(r.min_replicas, 2);
    assert_int_equal(r.max_replicas, 9);
    assert_true(r.threshold == 2.5 && r.rate_seconds == 7);
    assert_int_equal(r.cooldown_s, 0);
    assert_int_equal(r.polling_s, 3);

    r = read_runtime("{\"autoscaler\":{\"type\":\"rps\"}}", *state);
    assert_true(r.threshold == 10 && r.rate_seconds == 30);
    r = read_runtime("{\"autoscaler\":{\"type\":\"cpu\"}}", *state);
    assert_int_equal(r.autoscaler, AUTOSCALER_CPU);
    assert_true(r.threshold == 80);
}

static void errors_name_the_path(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"[]", "runtime", "must be an object, not an array"},
        {"{\"podType\":\"huge\"}", "runtime.podType", "regular-xs, regular-s"},
        {"{\"podType\":\"huge\"}", "runtime.podType", "not the string \"huge\""},
        {"{\"podType\":5}", "runtime.podType", "not the number 5"},
        {"{\"numReplicas\":-1}", "runtime.numReplicas", "from 0 to 1000 (--max-replicas)"},
        {"{\"numReplicas\":1001}", "runtime.numReplicas", "not the number 1001"},
        {"{\"concurrency\":0}", "runtime.concurrency", "from 1 to 1000 (--max-concurrency)"},
        {"{\"concurrency\":1.5}", "runtime.concurrency", "whole number"},
        {"{\"concurrency\":\"10\"}", "runtime.concurrency", "not the string \"10\""},
        {"{\"preemptible\":1}", "runtime.preemptible", "true or false"},
        {"{\"singleAgent\":\"x\"}", "runtime.singleAgent", "true or false"},
        {"{\"dynamicConcurrency\":{}}", "runtime.dynamicConcurrency", "true or false"},
        {"{\"dynamicConcurrencyConfig\":[]}", "runtime.dynamicConcurrencyConfig", "an object"},
        {"{\"runnerImage\":\"\"}", "runtime.runnerImage", "name of an image"},
        {"{\"runnerImage\":\"a b\"}", "runtime.runnerImage", "no blanks"},
        {"{\"runnerImage\":\"--privileged\"}", "runtime.runnerImage", "name of an image"},
        {"{\"proxyImage\":true}", "runtime.proxyImage", "not a boolean"},
        {"{\"autoscaler\":5}", "runtime.autoscaler", "an object or null"},
        {"{\"autoscaler\":{}}", "runtime.autoscaler.type", "rabbitmq, cpu or rps, not nothing"},
        {"{\"autoscaler\":{\"type\":\"kafka\"}}", "runtime.autoscaler.type", "kafka"},
        {"{\"autoscaler\":{\"type\":\"cpu\",\"threshold\":101}}", "runtime.autoscaler.threshold",
         "at most 100"},
        {"{\"autoscaler\":{\"type\":\"rps\",\"threshold\":0}}", "runtime.autoscaler.threshold",
         "above 0"},
        {"{\"autoscaler\":{\"type\":\"rps\",\"rateSeconds\":\"1\"}}",
         "runtime.autoscaler.rateSeconds", "not the string"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"minReplicas\":-1}}",
         "runtime.autoscaler.minReplicas", "from 0"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"maxReplicas\":0}}",
         "runtime.autoscaler.maxReplicas", "from 1"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"minReplicas\":3,\"maxReplicas\":2}}",
         "runtime.autoscaler.minReplicas", "more than maxReplicas, which is 2"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"queueLength\":0}}",
         "runtime.autoscaler.queueLength", "from 1"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"cooldownPeriod\":-5}}",
         "runtime.autoscaler.cooldownPeriod", "from 0"},
        {"{\"autoscaler\":{\"type\":\"rabbitmq\",\"pollingInterval\":0}}",
         "runtime.autoscaler.pollingInterval", "from 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct runtime r;
        int result = runtime_parse(parse(cases[i].json), &limits_default, &r, *state, &err);
        assert_refused(result, &err, cases[i].field, cases[i].message);
    }
}

static void kept_runtimes_are_not_limited(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"{\"numReplicas\":3}", "runtime.numReplicas", "from 0 to 2 (--max-replicas)"},
        {"{\"concurrency\":9}", "runtime.concurrency", "from 1 to 4 (--max-concurrency)"},
        {"{\"autoscaler\":{\"type\":\"cpu\",\"maxReplicas\":3}}", "runtime.autoscaler.maxReplicas",
         "from 1 to 2 (--max-replicas)"},
        {"{\"autoscaler\":{\"type\":\"cpu\",\"minReplicas\":3,\"maxReplicas\":3}}",
         "runtime.autoscaler.minReplicas", "from 0 to 2 (--max-replicas)"},
    };
    struct limits low = limits_default;
    struct err err = ERR_INIT;
    struct runtime r;
    low.replicas = 2;
    low.concurrency = 4;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct json json = parse(cases[i].json);
        err = ERR_INIT;
        assert_refused(runtime_parse(json, &low, &r, *state, &err), &err, cases[i].field,
                       cases[i].message);
        assert_int_equal(runtime_parse(json, NULL, &r, *state, &err), 0);
    }
    assert_int_equal(runtime_parse(parse("{}"), &low, &r, *state, &err), 0);
    assert_int_equal(r.concurrency, 4);
    assert_int_equal(runtime_parse(parse("{\"numReplicas\":5000}"), NULL, &r, *state, &err), 0);
    assert_int_equal(r.replicas, 5000);
}

static void assert_normal(const char *given, const char *expected, struct arena *arena)
{
    struct runtime r = read_runtime(given, arena);
    struct str normal = runtime_normalise(parse(given), &r, arena);
    assert_json(normal, expected, arena);
    // Normal once is normal for good.
    struct err err = ERR_INIT;
    assert_int_equal(runtime_parse(json_of(normal), &limits_default, &r, arena, &err), 0);
    assert_true(str_eq(runtime_normalise(json_of(normal), &r, arena), normal));
}

static void normal_form_keeps_and_fills(void **state)
{
    assert_normal("{}",
                  "{\"podType\":\"regular-s\",\"numReplicas\":1,\"concurrency\":10,"
                  "\"autoscaler\":null}",
                  *state);
    assert_normal("{\"x\":{\"y\":0.10},\"singleAgent\":true,\"podType\":\"regular-xs\"}",
                  "{\"podType\":\"regular-xs\",\"numReplicas\":1,\"concurrency\":10,"
                  "\"autoscaler\":null,\"x\":{\"y\":0.10},\"singleAgent\":true}",
                  *state);
    assert_normal("{\"autoscaler\":{\"type\":\"rabbitmq\",\"note\":\"n\",\"maxReplicas\":4}}",
                  "{\"podType\":\"regular-s\",\"numReplicas\":1,\"concurrency\":10,\"autoscaler\":"
                  "{\"type\":\"rabbitmq\",\"minReplicas\":0,\"maxReplicas\":4,\"queueLength\":1000,"
                  "\"cooldownPeriod\":300,\"pollingInterval\":10,\"note\":\"n\"}}",
                  *state);
    assert_normal("{\"autoscaler\":{\"type\":\"rps\"}}",
                  "{\"podType\":\"regular-s\",\"numReplicas\":1,\"concurrency\":10,\"autoscaler\":"
                  "{\"type\":\"rps\",\"minReplicas\":0,\"maxReplicas\":1,\"threshold\":10,"
                  "\"rateSeconds\":30,\"cooldownPeriod\":300,\"pollingInterval\":10}}",
                  *state);
}

static void the_catalog_is_whole(void **state)
{
    static const struct {
        const char *name;
        int64_t cpu, memory;
    } published[] = {
        {"regular-xs", 500, 1740},  {"regular-s", 1000, 3584}, {"regular-m", 2000, 7168},
        {"regular-l", 4000, 14336}, {"gpu-t4", 4000, 14336},   {"gpu-t4-m", 4000, 28672},
    };
    static const char *const others[] = {"highmem-xs",  "highmem-s",    "highmem-m",
                                         "highmem-l",   "highcpu-xs",   "gpu-a100-s",
                                         "gpu-a100-4g", "gpu-a100-4g-m"};
    size_t count;
    const struct instance_type *types = instance_catalog(&count);
    assert_int_equal(count, 14);
    for (size_t i = 0; i < count; i++)
        assert_ptr_equal(instance_find(types[i].name), &types[i]);
    for (size_t i = 0; i < sizeof(published) / sizeof(*published); i++) {
        const struct instance_type *type = instance_find(str_of(published[i].name));
        assert_non_null(type);
        assert_int_equal(type->cpu_milli, published[i].cpu);
        assert_int_equal(type->memory_mib, published[i].memory);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_non_null(instance_find(str_of(others[i])));
    assert_null(instance_find(STR("regular")));

    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 16);
    struct json_writer out = JSON_WRITER(&buf);
    struct json json;
    struct err err = ERR_INIT;
    instance_catalog_encode(&out);
    assert_int_equal(json_parse(buf_str(&buf), 0, &json, &err), 0);
    assert_int_equal(json_count(json), count);
    struct json_iter it = json_each(json);
    struct str key;
    assert_true(json_next(&it, &key, &json));
    assert_json(json.text,
                "{\"name\":\"regular-xs\",\"cpu\":0.5,\"memoryMib\":1740,\"gpu\":null,"
                "\"default\":false}",
                *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_fill_in),
        TEST(everything_is_read),
        TEST(autoscalers_have_their_fields),
        TEST(errors_name_the_path),
        TEST(kept_runtimes_are_not_limited),
        TEST(normal_form_keeps_and_fills),
        TEST(the_catalog_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
