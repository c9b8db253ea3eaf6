// SPDX-License-Identifier: Apache-2.0
// drover help, man, version
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/near.h"
#include "cli/cli.h"
#include "cli/verbs.h"

#define TEXT_MAX ((size_t)4 << 20)

static int help_exits(struct cli *cli)
{
    for (size_t i = 0; i < exit_code_count; i++)
        cli_print(cli, "%-4d %-18s %s\n", exit_codes[i].code, exit_codes[i].name,
                  exit_codes[i].when);
    return CLI_OK;
}

static int no_help(struct cli *cli, struct str name)
{
    const struct verb *verb;
    struct near near = near_start(name);
    for (size_t i = 0; (verb = program_verb(cli->program, i)); i++)
        if (!(verb->flags & VERB_HIDDEN))
            near_try(&near, str_of(verb->name));
    bool found = near.found.at != NULL;
    cli_warn(cli,
             "drover help: there is no verb '" STR_FMT "'%s" STR_FMT "%s\n"
             "  next: `drover help` lists all verbs",
             STR_ARG(name), found ? "; did you mean '" : "", STR_ARG(near.found),
             found ? "'?" : "");
    return CLI_USAGE;
}

static int run_help(struct cli *cli)
{
    const struct verb *verb;
    if (cli->arg_count == 0) {
        help_program(cli->program, &cli->text);
        return CLI_OK;
    }
    if (strcmp(cli->args[0], "exit-codes") == 0)
        return help_exits(cli);
    const char *second = cli->arg_count > 1 ? cli->args[1] : NULL;
    struct str name = arena_printf(cli->arena, "%s%s%s", cli->args[0], second ? " " : "",
                                   second ? second : "");
    bool family = false;
    for (size_t i = 0; (verb = program_verb(cli->program, i)); i++) {
        struct str rest = str_of(verb->name);
        if (str_eq(rest, name)) {
            help_verb(verb, &cli->text);
            return CLI_OK;
        }
        family |= str_eq(str_cut(&rest, ' '), name) && rest.at;
    }
    if (!family)
        return no_help(cli, name);
    help_family(cli->program, name, &cli->text);
    return CLI_OK;
}

static int write_page(struct cli *cli, const char *folder, const struct verb *verb, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
    man_page(cli->program, verb, &text);
    char *path = arena_cstr(cli->arena, arena_printf(cli->arena, "%s/drover%s%s.1", folder,
                                                     verb ? "-" : "", verb ? verb->name : ""));
    for (char *at = path + strlen(folder); *at; at++)
        if (*at == ' ')
            *at = '-';
    FILE *file = fopen(path, "we");
    bool good = file && fwrite(text.at, 1, text.len, file) == text.len;
    if ((file && fclose(file)) || !good)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot write %s", path);
    return 0;
}

static int run_man(struct cli *cli)
{
    struct err err = ERR_INIT;
    const struct verb *verb;
    const char *folder = cli->args[0];
    size_t pages = 1;
    if (mkdir(folder, 0777) && errno != EEXIST) {
        err_errno(&err, ERR_BAD_INPUT, errno, "Cannot make the folder %s", folder);
        return cli_fail(cli, &err);
    }
    if (write_page(cli, folder, NULL, &err))
        return cli_fail(cli, &err);
    for (size_t i = 0; (verb = program_verb(cli->program, i)); i++) {
        if (verb->flags & VERB_HIDDEN)
            continue;
        if (write_page(cli, folder, verb, &err))
            return cli_fail(cli, &err);
        pages++;
    }
    cli_say(cli, "Wrote %zu pages to %s; `man -l %s/drover.1` shows the first.", pages, folder,
            folder);
    return CLI_OK;
}

static int run_version(struct cli *cli)
{
    cli_print(cli, "drover %s\n", cli->program->version);
    return CLI_OK;
}

static const struct verb_example help_examples[] = {
    {"drover help deploy", "all of one verb: arguments, options, examples, exit codes"},
    {"drover help exit-codes", "what drover exits with"},
};
static const struct verb_example man_examples[] = {
    {"drover man /tmp/drover-man", "write the pages of the manual to a folder"},
};
static const struct verb_example version_examples[] = {{"drover version", "the version"}};

static const struct verb verbs[] = {
    {.name = "help",
     .arguments = "[VERB] [VERB]",
     .group = GROUP_SELF,
     .summary = "say what a verb does",
     .examples = help_examples,
     .example_count = 2,
     .run = run_help},
    {.name = "man",
     .arguments = "FOLDER",
     .group = GROUP_SELF,
     .summary = "write the pages of the manual",
     .about = "Writes drover.1 and a page for each verb, in the form that man reads.",
     .examples = man_examples,
     .example_count = 1,
     .run = run_man},
    {.name = "version",
     .group = GROUP_SELF,
     .summary = "print the version",
     .examples = version_examples,
     .example_count = 1,
     .run = run_version},
};

const struct verb_list help_verbs = VERB_LIST(verbs);
