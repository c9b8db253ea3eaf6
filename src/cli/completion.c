// SPDX-License-Identifier: Apache-2.0
// drover completion bash|zsh, and what their scripts call: drover __complete WORD…
// The scripts know nothing themselves: the words so far go to __complete, which prints a candidate
// a line, with a tab and what it is behind it. Names of services and the like are asked of the
// server.
#include <stdio.h>

#include "cli/link.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/page.h"
#include "cli/verbs.h"

#define NAMES_MOST 500

static const char bash_script[] =
    "# bash completion of drover:  source <(drover completion bash)\n"
    "_drover() {\n"
    "    local line IFS=$'\\n'\n"
    "    COMPREPLY=()\n"
    "    for line in $(drover __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null); do\n"
    "        line=${line%%$'\\t'*}\n"
    "        if [[ $line == :files ]]; then\n"
    "            compopt -o filenames 2>/dev/null\n"
    "            COMPREPLY+=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
    "        elif [[ $line == \"${COMP_WORDS[COMP_CWORD]}\"* ]]; then\n"
    "            COMPREPLY+=(\"$(printf '%q' \"$line\")\")\n"
    "        fi\n"
    "    done\n"
    "}\n"
    "complete -F _drover drover\n";

static const char zsh_script[] =
    "#compdef drover\n"
    "# zsh completion of drover:  source <(drover completion zsh)\n"
    "_drover() {\n"
    "    local -a found\n"
    "    local line\n"
    "    for line in ${(f)\"$(drover __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"}; do\n"
    "        if [[ $line == :files ]]; then\n"
    "            _files\n"
    "        else\n"
    "            found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "        fi\n"
    "    done\n"
    "    (( $#found )) && _describe drover found\n"
    "}\n"
    "compdef _drover drover\n";

static int run_completion(struct cli *cli)
{
    const char *shell = cli->args[0];
    if (strcmp(shell, "bash") == 0)
        cli_print(cli, "%s", bash_script);
    else if (strcmp(shell, "zsh") == 0)
        cli_print(cli, "%s", zsh_script);
    else
        return cli_usage(cli, "there is no completion for '%s': bash or zsh", shell);
    return CLI_OK;
}

// ── candidates ───────────────────────────────────────────────────────────────────────────────

struct completing {
    struct cli *cli;
    struct str word;  // that is being written
};

static void offer(const struct completing *completing, struct str candidate, const char *what)
{
    if (str_starts(candidate, completing->word))
        cli_print(completing->cli, STR_FMT "\t%s\n", STR_ARG(candidate), what);
}

static void offer_verbs(const struct completing *completing, struct str family)
{
    const struct verb *verb;
    struct str last = STR_NONE;
    for (size_t i = 0; (verb = program_verb(completing->cli->program, i)); i++) {
        struct str rest = str_of(verb->name), first = str_cut(&rest, ' ');
        if (verb->flags & VERB_HIDDEN)
            continue;
        if (family.at && str_eq(first, family) && rest.at)
            offer(completing, rest, verb->summary);
        // A family once, not once for each verb of it.
        if (!family.at && !str_eq(first, last))
            offer(completing, first, rest.at ? "…" : verb->summary);
        last = first;
    }
}

static bool offer_object(void *arg, struct json object)
{
    const struct completing *completing = arg;
    struct arena *arena = completing->cli->arena;
    struct str name = lookup_name(object, arena);
    if (name.at)
        offer(completing, name, "");
    else
        offer(completing, lookup_id(object, arena),
              arena_cstr(arena, json_text(object, "functionName", arena)));
    return true;
}

static void offer_listed(const struct completing *completing, const char *resource)
{
    struct err ignored = ERR_INIT;
    struct str project_id;
    struct page_query query = {.resource = resource, .limit = NAMES_MOST};
    if (lookup_project_chosen(completing->cli, &project_id, &ignored))
        return;
    if (project_id.at)
        query.filter = arena_printf(completing->cli->arena, "{\"projectId\":\"" STR_FMT "\"}",
                                    STR_ARG(project_id));
    if (page_each(completing->cli, &query, offer_object, (void *)(uintptr_t)completing, &ignored))
        return;  // without a server there are no names to offer
}

static void offer_array(const struct completing *completing, const char *path, const char *member)
{
    struct json all, one;
    struct str key;
    struct err ignored = ERR_INIT;
    if (cli_get(completing->cli, path, &all, &ignored))
        return;
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);)
        offer(completing, json_text(one, member, completing->cli->arena), "");
}

static void offer_contexts(const struct completing *completing)
{
    struct contexts contexts;
    struct err ignored = ERR_INIT;
    if (contexts_load(&contexts, completing->cli->arena, &ignored))
        return;
    for (size_t i = 0; i < contexts.count; i++)
        offer(completing, contexts.at[i].name,
              arena_cstr(completing->cli->arena, contexts.at[i].url));
}

// The functions of the service that stands before.
static void offer_functions(const struct completing *completing, struct str service_name)
{
    struct cli *cli = completing->cli;
    struct json service, package, modules = {0}, module, functions, function;
    struct str key;
    struct err ignored = ERR_INIT;
    if (lookup_service(cli, arena_cstr(cli->arena, service_name), &service, &ignored))
        return;
    const char *package_id = arena_cstr(cli->arena, json_text(service, "packageId", cli->arena));
    if (cli_get(cli, cli_path(cli, "/packages/{}", package_id), &package, &ignored))
        return;
    json_get(package, "modules", &modules);
    for (struct json_iter it = json_each(modules); json_next(&it, &key, &module);)
        if (json_get(module, "functions", &functions))
            for (struct json_iter in = json_each(functions); json_next(&in, &key, &function);)
                offer(completing, lookup_name(function, cli->arena), "");
}

static void offer_secrets(const struct completing *completing)
{
    const char *path;
    struct err ignored = ERR_INIT;
    if (lookup_integrations(completing->cli, &path, &ignored) == 0)
        offer_array(completing, path, "name");
}

static void offer_kind(const struct completing *completing, struct str kind, struct str before)
{
    struct cli *cli = completing->cli;
    if (str_is(kind, "SERVICE") || str_is(kind, "SERVICE|EXECUTION"))
        offer_listed(completing, "services");
    else if (str_is(kind, "EXECUTION"))
        offer_listed(completing, "executions");
    else if (str_is(kind, "PACKAGE"))
        offer_listed(completing, "packages");
    else if (str_is(kind, "PROJECT"))
        offer_array(completing, "/projects", "name");
    else if (str_is(kind, "KEY"))
        offer_array(completing, "/apiKeys", "id");
    else if (str_is(kind, "USER"))
        offer_array(completing, "/users", "email");
    else if (str_is(kind, "SECRET"))
        offer_secrets(completing);
    else if (str_is(kind, "CONTEXT"))
        offer_contexts(completing);
    else if (str_is(kind, "FUNCTION") && before.at)
        offer_functions(completing, before);
    else if (str_is(kind, "VERB"))
        offer_verbs(completing, before);
    else if (str_is(kind, "FOLDER") || str_is(kind, "FILE") || str_is(kind, "DIR"))
        cli_print(cli, ":files\n");
    else if (str_is(kind, "SHELL") || str_is(kind, "ROLE")) {
        for (struct str rest = str_is(kind, "SHELL") ? STR("bash zsh")
                                                     : STR("viewer developer owner");
             rest.at;)
            offer(completing, str_cut(&rest, ' '), "");
    }
}

// ── where in the line ────────────────────────────────────────────────────────────────────────

struct line {
    const struct verb *verb;
    struct option *options;
    size_t option_count;
    const struct option *pending;  // the word before is this option, without its value yet
    int arguments;                 // that are complete
    struct str before;             // the last of them
    bool options_end;              // "--" came
};

static const struct option *find_option(const struct line *line, struct str word)
{
    for (size_t i = 0; i < line->option_count; i++) {
        char letter[] = {'-', line->options[i].letter, '\0'};
        if (str_is(word, line->options[i].flag) || (letter[1] && str_is(word, letter)))
            return &line->options[i];
    }
    return NULL;
}

static void take_word(struct line *line, struct str word)
{
    if (line->pending) {
        line->pending = NULL;
        return;
    }
    if (!line->options_end && str_is(word, "--")) {
        line->options_end = true;
    } else if (!line->options_end && word.len > 1 && word.at[0] == '-') {
        const struct option *option = find_option(line, word);
        if (option && option->type != OPTION_BOOL)
            line->pending = option;
    } else {
        line->arguments++;
        line->before = word;
    }
}

static void offer_choices(const struct completing *completing, const char *choices)
{
    for (struct str rest = str_of(choices); rest.at;)
        offer(completing, str_cut(&rest, '|'), "");
}

static void offer_value(const struct completing *completing, const struct option *option)
{
    if (option->choices)
        offer_choices(completing, option->choices);
    else if (strcmp(option->flag, "--status") == 0)
        offer_choices(completing, "created|in-progress|rerun|success|failed|terminated|aborted|"
                                  "canceled|system-failure|open|ended");
    else if (strcmp(option->flag, "--context") == 0)
        offer_contexts(completing);
    else if (option->unit)
        offer_kind(completing, str_of(option->unit), STR_NONE);
}

static void offer_options(const struct completing *completing, const struct line *line)
{
    for (size_t i = 0; i < line->option_count; i++)
        offer(completing, str_of(line->options[i].flag), line->options[i].help);
}

// The verb that the first words name; *used says how many they are.
static const struct verb *verb_of(struct cli *cli, int count, int *used)
{
    const struct verb *verb;
    for (*used = 2; *used > 0; --*used) {
        struct str name = *used == 2 && count > 2
                              ? arena_printf(cli->arena, "%s %s", cli->args[0], cli->args[1])
                              : str_of(cli->args[0]);
        for (size_t i = 0; *used < count && (verb = program_verb(cli->program, i)); i++)
            if (str_is(name, verb->name))
                return verb;
    }
    return NULL;
}

static int run_complete(struct cli *cli)
{
    int count = cli->arg_count, used;
    struct completing completing = {cli, count > 0 ? str_of(cli->args[count - 1]) : STR("")};
    size_t own, size;
    if (count <= 1) {
        offer_verbs(&completing, STR_NONE);
        return CLI_OK;
    }
    struct line line = {.verb = verb_of(cli, count, &used)};
    if (!line.verb) {
        if (count == 2)
            offer_verbs(&completing, str_of(cli->args[0]));
        return CLI_OK;
    }
    if (line.verb->own) {
        line.option_count = line.verb->own->count;
        line.options = arena_array_of(cli->arena, struct option, line.option_count);
        memcpy(line.options, line.verb->own->options, line.option_count * sizeof(struct option));
    } else {
        line.options = verb_options(line.verb, cli->arena, &line.option_count, &own, &size);
    }
    for (int i = used; i < count - 1; i++)
        take_word(&line, str_of(cli->args[i]));
    if (line.pending)
        offer_value(&completing, line.pending);
    else if (!line.options_end && str_starts(completing.word, STR("-")))
        offer_options(&completing, &line);
    else
        offer_kind(&completing, verb_argument(line.verb, line.arguments), line.before);
    return CLI_OK;
}

static const struct verb_example examples[] = {
    {"source <(drover completion bash)", "complete in this shell"},
    {"drover completion bash > ~/.local/share/bash-completion/completions/drover",
     "complete in every shell from now on"},
};

static const struct verb verbs[] = {
    {.name = "completion",
     .arguments = "SHELL",
     .group = GROUP_SELF,
     .summary = "print the completion script of bash or zsh",
     .about = "It completes verbs, options, and the names of services, projects, contexts and so "
              "on, for which it asks the server.",
     .examples = examples,
     .example_count = 2,
     .run = run_completion},
    {.name = "__complete",
     .arguments = "[WORD…]",
     .summary = "candidates for the last word",
     .flags = VERB_HIDDEN | VERB_SERVER,
     .run = run_complete},
};

const struct verb_list completion_verbs = VERB_LIST(verbs);
