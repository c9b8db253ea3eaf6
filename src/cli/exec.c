// SPDX-License-Identifier: Apache-2.0
// drover exec SERVICE FUNCTION
#include "cli/executions.h"
#include "cli/lookup.h"
#include "cli/verbs.h"
#include "model/describe.h"
#include "model/module.h"

#define INPUT_MAX ((size_t)64 << 20)

struct exec_options {
    const char *input;
    bool wait;
};

// "@file" and "-" are read; anything else is the JSON itself.
static int read_input(struct cli *cli, const char *given, struct json *out, struct err *err)
{
    struct str text = str_of(given);
    const char *where = "--input";
    if (strcmp(given, "-") == 0 || given[0] == '@') {
        where = given[0] == '@' ? given + 1 : "stdin";
        if (cli_read(cli, given[0] == '@' ? given + 1 : "-", INPUT_MAX, &text, err))
            return -1;
    }
    if (json_parse(text, JSON_DEPTH_LIMIT, out, err)) {
        cli_hint(cli,
                 "an input is an object of the function's inputs: --input "
                 "'{\"name\":\"Ada\"}', --input @file.json, or NAME=VALUE behind the function");
        return err_wrap(err, "%s is no JSON", where);
    }
    if (out->type != JSON_OBJECT)
        return err_field(err, "--input", "%s holds %s; an input is an object: {\"name\": value, …}",
                         where, json_type_name(out->type));
    return 0;
}

// NAME=VALUE: a value that is JSON is taken so, any other is a string.
static int add_value(struct cli *cli, const char *argument, struct json_writer *w, struct err *err)
{
    struct str rest = str_of(argument), name = str_cut(&rest, '=');
    struct err ignored = ERR_INIT;
    struct json value;
    if (!rest.at || name.len == 0)
        return err_field(err, argument,
                         "'%.100s' is no input: write NAME=VALUE, or give --input JSON", argument);
    json_w_key_str(w, name);
    if (json_parse(rest, JSON_DEPTH_LIMIT, &value, &ignored) == 0)
        json_w_raw(w, rest);
    else
        json_w_str(w, rest);
    (void)cli;
    return 0;
}

static int compose_input(struct cli *cli, struct str *out, struct err *err)
{
    const struct exec_options *options = cli->options;
    struct json given = json_of(STR("{}"));
    if (options->input && read_input(cli, options->input, &given, err))
        return -1;
    if (cli->arg_count <= 2) {
        *out = given.text;
        return 0;
    }
    _cleanup_buf_ struct buf values = BUF_INIT(INPUT_MAX);
    struct json_writer w = JSON_WRITER(&values);
    json_w_object(&w);
    for (int i = 2; i < cli->arg_count; i++)
        if (add_value(cli, cli->args[i], &w, err))
            return -1;
    json_w_object_end(&w);
    // Not json_merge: a null is a value here.
    struct buf all = BUF_INIT(2 * INPUT_MAX);
    buf_add(&all, given.text.at, given.text.len - 1);
    bool empty = json_count(given) == 0;
    buf_add_cstr(&all, empty ? "" : ",");
    buf_add(&all, values.at + 1, values.len - 1);
    *out = arena_copy(cli->arena, buf_str(&all));
    buf_deinit(&all);
    return 0;
}

static bool digits_only(struct str number)  // whole, however large
{
    for (size_t i = 0; i < number.len; i++)
        if (strchr(".eE", number.at[i]))
            return false;
    return true;
}

// Whether a value can be of the declared type. Others than these (Json, String, entities by their
// ids) take what they are given.
static bool fits(struct str type, struct json value)
{
    int64_t number;
    if (value.type == JSON_NULL)
        return true;
    if (str_is(type, "Boolean"))
        return value.type == JSON_TRUE || value.type == JSON_FALSE;
    if (str_is(type, "Number") || str_is(type, "Float"))
        return value.type == JSON_NUMBER;
    if (str_is(type, "Integer"))
        return value.type == JSON_NUMBER && (json_int(value, &number) || digits_only(value.text));
    return true;
}

// The server hands values on as they are, as Dataloop does, and the function meets them: a slip of
// the hand is told here.
static int check_types(struct cli *cli, struct json service, struct str input, struct err *err)
{
    const char *id = arena_cstr(cli->arena, json_text(service, "packageId", cli->arena));
    const char *revision = arena_cstr(cli->arena,
                                      json_text(service, "packageRevision", cli->arena));
    struct json package, list = {0}, value;
    struct err ignored = ERR_INIT;
    struct module *modules;
    char what[DESCRIBE_SIZE];
    size_t count;
    if (cli_get(cli, cli_path(cli, "/packages/{}?version={}", id, revision), &package, &ignored) ||
        !json_get(package, "modules", &list) ||
        modules_parse(list, NULL, cli->arena, &modules, &count, &ignored))
        return 0;
    struct str name = json_text(service, "moduleName", cli->arena);
    const struct function *function = NULL;
    for (size_t i = 0; i < count; i++)
        if (str_eq(modules[i].name, name))
            function = function_find(&modules[i], str_of(cli->args[1]));
    for (size_t i = 0; function && i < function->input_count; i++) {
        const struct parameter *declared = &function->inputs[i];
        if (json_get(json_of(input), arena_cstr(cli->arena, declared->name), &value) &&
            !fits(declared->type, value))
            return err_field(err, "input", "The input " STR_FMT " is of type " STR_FMT ", not %s",
                             STR_ARG(declared->name), STR_ARG(declared->type),
                             describe_value(value, what));
    }
    return 0;
}

static int start(struct cli *cli, struct json *out, struct err *err)
{
    struct json service;
    struct str input;
    _cleanup_buf_ struct buf body = BUF_INIT(3 * INPUT_MAX);
    struct json_writer w = JSON_WRITER(&body);
    if (compose_input(cli, &input, err) || lookup_service(cli, cli->args[0], &service, err))
        return -1;
    if (check_types(cli, service, input, err))
        return cli_hint(cli, "`drover describe %s` shows its functions and their inputs",
                        cli->args[0]);
    json_w_object(&w);
    json_w_pair_str(&w, "functionName", str_of(cli->args[1]));
    json_w_pair_raw(&w, "input", input);
    json_w_object_end(&w);
    const char *path = cli_path(cli, "/executions/{}",
                                arena_cstr(cli->arena, lookup_id(service, cli->arena)));
    if (cli_post(cli, path, buf_str(&body), out, err) == 0)
        return 0;
    if (err->kind == ERR_BAD_INPUT)
        cli_hint(cli, "`drover describe %s` shows its functions and their inputs", cli->args[0]);
    return -1;
}

static int run(struct cli *cli)
{
    const struct exec_options *options = cli->options;
    struct json execution;
    struct err err = ERR_INIT;
    if (start(cli, &execution, &err))
        return cli_fail(cli, &err);
    const char *id = arena_cstr(cli->arena, lookup_id(execution, cli->arena));
    if (!options->wait) {
        if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_JSONL)
            buf_add_str(&cli->text, execution.text);
        else
            cli_print(cli, "%s", id);
        cli_print(cli, "\n");
        if (cli->out.tty)
            cli_say(cli, "Follow it: drover logs %s -f", id);
        return CLI_OK;
    }
    cli_catch_interrupt(cli);
    if (execution_follow(cli, id, &execution, &err)) {
        if (cli->interrupted)
            cli_hint(cli,
                     "The execution %s goes on.\n  follow: drover logs %s -f\n  cancel: drover "
                     "cancel %s",
                     id, id, id);
        else
            cli_hint(cli, "the execution is kept: drover describe %s", id);
        return cli_fail(cli, &err);
    }
    return execution_result(cli, execution);
}

static const struct option options[] = {
    {.flag = "--input",
     .letter = 'i',
     .type = OPTION_TEXT,
     .offset = offsetof(struct exec_options, input),
     .unit = "JSON|@FILE|-",
     .help = "The function's inputs as a JSON object, from a file, or from stdin."},
    {.flag = "--wait",
     .type = OPTION_BOOL,
     .offset = offsetof(struct exec_options, wait),
     .help = "Wait for its end: its log comes on stderr, its output on stdout."},
};

static const struct verb_example examples[] = {
    {"drover exec hello run --input '{\"name\":\"Ada\"}' --wait", "run it and print what it gives"},
    {"drover exec hello run name=Ada --wait", "the same; a VALUE may be JSON: count=3"},
    {"echo '{\"name\":\"Ada\"}' | drover exec hello run --input -", "queue it and print its id"},
};

static const struct verb verbs[] = {
    {.name = "exec",
     .arguments = "SERVICE FUNCTION [NAME=VALUE…]",
     .group = GROUP_RUN,
     .summary = "run a function of a service",
     .about =
         "Without --wait it prints the id of the execution, which is queued. With --wait it "
         "exits with 6 when the execution ends otherwise than in success; Ctrl-C leaves the "
         "execution as it is and says how to follow or cancel it. An input that cannot be of its "
         "declared type (Integer, Number, Float, Boolean) is refused.",
     .options = options,
     .option_count = 2,
     .options_size = sizeof(struct exec_options),
     .examples = examples,
     .example_count = 3,
     .exits = 1U << CLI_NOT_FOUND | 1U << CLI_EXECUTION_FAILED,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run},
};

const struct verb_list exec_verbs = VERB_LIST(verbs);
