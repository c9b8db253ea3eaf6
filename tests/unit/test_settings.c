// SPDX-License-Identifier: Apache-2.0
#include "operation/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int load(struct settings *settings, struct arena *arena, struct err *err, char **argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    *settings = (struct settings){0};
    if (option_load(&settings_table, &argc, argv, NULL, settings, arena, err))
        return -1;
    return settings_complete(settings, arena, err);
}

#define LOAD(...) load(&settings, arena, &err, (char *[]){(char *)"drover", __VA_ARGS__ NULL})
#define ARG(text) (char *)(text),

static void has_working_defaults(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct settings settings;
    struct err err = ERR_INIT;
    (void)state;
    if (LOAD() != 0)
        fail_msg("%s", err.message);
    assert_string_equal(settings.data, "./drover-data");
    assert_string_equal(settings.listen, "127.0.0.1:8080");
    assert_string_equal(settings.public_url, "http://127.0.0.1:8080");
    assert_string_equal(settings.agent_listen, "unix:./drover-data/agent.sock");
    assert_string_equal(settings.agent_url, settings.agent_listen);
    assert_string_equal(settings.cache, "./drover-data/cache");
    assert_string_equal(settings.store, "sqlite");
    assert_int_equal(settings.lease_ms, 15000);
    assert_int_equal(settings.body_max, 20 << 20);
}

static void makes_urls_that_can_be_reached(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct settings settings;
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(LOAD(ARG("--listen") ARG("0.0.0.0:80") ARG("--agent-listen") ARG("[::]:81")
                              ARG("--data") ARG("/x/")),
                     0);
    assert_string_equal(settings.public_url, "http://127.0.0.1:80");
    assert_string_equal(settings.agent_url, "http://[::1]:81");
    assert_string_equal(settings.data, "/x");
    assert_int_equal(LOAD(ARG("--public-url") ARG("https://d.example/")), 0);
    assert_string_equal(settings.public_url, "https://d.example");
}

static void names_the_option_at_fault(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct settings settings;
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(LOAD(ARG("--tls-cert") ARG("a.pem")), -1);
    assert_non_null(strstr(err.message, "--tls-key"));
    assert_int_equal(LOAD(ARG("--public-url") ARG("d.example")), -1);
    assert_non_null(strstr(err.message, "http://"));
    assert_int_equal(LOAD(ARG("--max-body") ARG("1MiB")), -1);
    assert_non_null(strstr(err.message, "--max-input"));
    assert_int_equal(LOAD(ARG("--lease") ARG("1ms")), -1);
    assert_non_null(strstr(err.message, "--lease"));
    assert_int_equal(LOAD(ARG("--backoff-first") ARG("1h")), -1);
    assert_non_null(strstr(err.message, "--backoff-max"));
}

static void describes_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_table.count; i++) {
        const struct option *option = &settings_table.options[i];
        assert_non_null(option->help);
        assert_non_null(option->group);
        assert_non_null(option->env);
        assert_true(strncmp(option->env, "DROVER_", 7) == 0);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(option->flag, settings_table.options[k].flag);
            assert_int_not_equal(option->offset, settings_table.options[k].offset);
        }
    }
}

static const struct option *option_named(const char *flag)
{
    for (size_t i = 0; i < settings_table.count; i++) {
        if (strcmp(settings_table.options[i].flag, flag) == 0)
            return &settings_table.options[i];
    }
    fail_msg("there is no option %s", flag);
    return NULL;
}

// What an error calls a limit is the option that sets it.
static void limits_are_options(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct settings settings;
    struct err err = ERR_INIT;
    (void)state;
    assert_int_equal(LOAD(), 0);
    for (int i = LIMIT_NONE + 1; i < LIMIT_COUNT; i++) {
        enum limit limit = (enum limit)i;
        const struct option *option = option_named(limits_option(limit));
        assert_int_equal(option->offset, offsetof(struct settings, limits) + limits_offset(limit));
        assert_int_equal(limits_most(&settings.limits, limit), limits_most(&limits_default, limit));
        assert_int_equal(limits_most(NULL, limit), INT64_MAX);
    }
    assert_int_equal(LOAD(ARG("--max-name") ARG("64") ARG("--max-field") ARG("2KiB")), 0);
    assert_int_equal(settings.limits.name, 64);
    assert_int_equal(settings.limits.field, 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_working_defaults),
        cmocka_unit_test(makes_urls_that_can_be_reached),
        cmocka_unit_test(names_the_option_at_fault),
        cmocka_unit_test(describes_every_option),
        cmocka_unit_test(limits_are_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
