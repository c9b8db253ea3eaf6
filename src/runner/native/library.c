// SPDX-License-Identifier: Apache-2.0
#include "runner/native/library.h"

#include <dlfcn.h>
#include <string.h>

static struct json member(struct json object, const char *key)
{
    struct json value = {0};
    json_get(object, key, &value);
    return value;
}

static int64_t number(struct json object, const char *key)
{
    int64_t value = 0;
    (void)json_int(member(object, key), &value);
    return value;
}

void library_read(struct library *library, struct json load)
{
    struct arena *arena = arena_new();
    load = json_of(arena_copy(arena, load.text));
    struct json module = member(load, "module"), limits = member(load, "limits");
    struct json init = member(load, "initParams");
    *library = (struct library){.arena = arena,
                                .limits = {.output_bytes = number(limits, "outputBytes"),
                                           .json_depth = number(limits, "jsonDepth"),
                                           .line_bytes = number(limits, "logLineBytes"),
                                           .lines = number(limits, "logLinesPerExecution")},
                                .concurrency = number(load, "concurrency"),
                                .mode = json_str(member(load, "mode"), arena),
                                .folder = json_str(member(load, "folder"), arena),
                                .entry_point = json_str(member(module, "entryPoint"), arena),
                                .functions = member(module, "functions"),
                                .init_params = json_is(init, JSON_OBJECT) ? init
                                                                          : json_of(STR("{}"))};
    library->processes = str_is(library->mode, "processes");
    if (library->concurrency < 1)
        library->concurrency = 1;
}

// ── opening ──────────────────────────────────────────────────────────────────────────────────

static const struct drover_function *find(const struct library *library, struct str name)
{
    const struct drover_function *function = library->module->functions;
    while (function->name && !json_key_is(name, function->name))
        function++;
    return function->name ? function : NULL;
}

// The names in the table, for whoever declared another one.
static struct str names_of(const struct library *library)
{
    _cleanup_buf_ struct buf names = BUF_INIT(2000);
    for (const struct drover_function *one = library->module->functions; one->name; one++) {
        buf_add_cstr(&names, names.len > 0 ? ", " : "");
        buf_add_cstr(&names, one->name);
    }
    return arena_copy(library->arena, names.len > 0 ? buf_str(&names) : STR("none"));
}

static bool is_ping(struct str name) { return str_is(name, "ping"); }

static struct str check_functions(const struct library *library)
{
    struct json_iter it = json_each(library->functions);
    struct str key;
    for (struct json one; json_next(&it, &key, &one);) {
        struct json name = member(one, "name");
        struct str raw = json_is(name, JSON_STRING)
                             ? (struct str){name.text.at + 1, name.text.len - 2}
                             : STR("");
        const struct drover_function *function = find(library, raw);
        if (function ? !function->run : !is_ping(raw))
            return arena_printf(library->arena,
                                "the package declares the function \"" STR_FMT
                                "\", and the table drover_module of " STR_FMT
                                " has no such function; it has: " STR_FMT,
                                STR_ARG(raw), STR_ARG(library->entry_point),
                                STR_ARG(names_of(library)));
    }
    return STR_NONE;
}

static struct str open_object(struct library *library)
{
    struct arena *arena = library->arena;
    struct str entry = library->entry_point;
    const char *path =
        arena_printf(arena, STR_FMT "/" STR_FMT, STR_ARG(library->folder), STR_ARG(entry)).at;
    // Never closed: code of it may still run in threads of its own.
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return arena_printf(arena, "the entry point cannot be loaded: %s", dlerror());
    library->module = dlsym(object, "drover_module");
    if (!library->module)
        return arena_printf(arena,
                            "the entry point " STR_FMT " exports no table drover_module "
                            "(drover/function.h)",
                            STR_ARG(entry));
    if (library->module->abi == 0 || library->module->abi > DROVER_ABI)
        return arena_printf(arena,
                            "the table drover_module of " STR_FMT " is of ABI %u, and this runner "
                            "knows 1 to %u: build it with this Drover's drover/function.h",
                            STR_ARG(entry), library->module->abi, DROVER_ABI);
    if (!library->module->functions)
        return arena_printf(arena, "the table drover_module of " STR_FMT " has no functions",
                            STR_ARG(entry));
    return check_functions(library);
}

static struct str call_init_function(struct library *library, const struct call_outlet *outlet)
{
    struct str why = STR_NONE;
    if (!library->module->init)
        return why;
    struct call call = {.outlet = *outlet,
                        .limits = &library->limits,
                        .input = library->init_params,
                        .context = json_of(STR("{}"))};
    call_init(&call);
    int code = library->module->init(&call.head, &library->state);
    struct outcome outcome = call_outcome(&call, code);
    if (outcome.status != OUTCOME_SUCCESS)
        why = arena_copy(library->arena, outcome.message);
    call_deinit(&call);
    return why;
}

int library_open(struct library *library, const struct call_outlet *outlet, const char **type,
                 struct str *message)
{
    *type = "internal";
    *message = STR_NONE;
    if (!library->processes && !str_is(library->mode, "threads"))
        *message = arena_printf(library->arena, "this runner has no mode \"" STR_FMT "\"",
                                STR_ARG(library->mode));
    if (!message->at) {
        *type = "codebase";
        *message = open_object(library);
    }
    if (!message->at) {
        *type = "init";
        *message = call_init_function(library, outlet);
    }
    return message->at ? -1 : 0;
}

void library_close(struct library *library)
{
    if (library->module && library->module->fini)
        library->module->fini(library->state);
    arena_free(library->arena);
}

// ── running ──────────────────────────────────────────────────────────────────────────────────

static int ping(struct drover_call *call) { return drover_return_string(call, "pong", 4); }

int (*library_find(const struct library *library, struct str name))(struct drover_call *)
{
    struct str raw = {name.at + 1, name.len - 2};
    const struct drover_function *function = find(library, raw);
    if (function)
        return function->run;
    return is_ping(raw) ? ping : NULL;
}

struct outcome library_run(const struct library *library, const struct run *run, struct call *call)
{
    call->limits = &library->limits;
    call->state = library->state;
    call->input = run->input;
    call->context = run->execution;
    call->raw_id = run->id;
    call_init(call);
    int (*function)(struct drover_call *) = library_find(library, run->function);
    if (function)
        return call_outcome(call, function(&call->head));
    return (struct outcome){
        .status = OUTCOME_FAILED,
        .type = STR("AttributeError"),
        .message = arena_printf(
            call->arena,
            "the table drover_module of " STR_FMT " has no function " STR_FMT "; it has: " STR_FMT,
            STR_ARG(library->entry_point), STR_ARG(run->function), STR_ARG(names_of(library)))};
}
