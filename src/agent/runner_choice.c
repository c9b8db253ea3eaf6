// SPDX-License-Identifier: Apache-2.0
#include "agent/runner_choice.h"

enum module_runner runner_choice(const struct assignment *assignment)
{
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json entry = {0};
    json_get(assignment->module, "entryPoint", &entry);
    return module_runner(json_str(entry, scratch));
}

bool runner_makes_processes(const struct assignment *assignment)
{
    return assignment->run_as_process && runner_choice(assignment) != MODULE_PYTHON;
}

const char **runner_choice_program(const struct assignment *assignment,
                                   const struct runner_programs *programs, struct arena *arena)
{
    static const char *const files[] = {[MODULE_PYTHON] = "drover_runner.py",
                                        [MODULE_NODE] = "drover_runner.js",
                                        [MODULE_NATIVE] = "drover-run-native"};
    enum module_runner kind = runner_choice(assignment);
    const char **argv = arena_array_of(arena, const char *, 3), **at = argv;
    if (kind != MODULE_NATIVE)
        *at++ = kind == MODULE_NODE ? programs->node : programs->python;
    *at = arena_printf(arena, "%s/%s", programs->runner, files[kind]).at;
    return argv;
}

void runner_choice_explain(const struct assignment *assignment, struct err *err)
{
    if (runner_choice(assignment) == MODULE_NODE)
        err_wrap(err,
                 "the service's entry point is JavaScript, and needs Node.js 18 or newer where "
                 "its agents run (the server's --node names it)");
}
