// SPDX-License-Identifier: Apache-2.0
// The program `drover`: the verbs of the command line, and those that need the server's own code.
#include <stdio.h>
#include <unistd.h>

#include "api/route_table.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/verbs.h"
#include "main/master_key.h"
#include "main/schema.h"
#include "main/server.h"
#include "main/verbs.h"
#include "operation/settings.h"

static int run_options(struct cli *cli)
{
    option_markdown(&settings_table, &cli->text);
    return CLI_OK;
}

static int run_routes(struct cli *cli)
{
    route_table_dump(&cli->text);
    cli_print(cli, "\n");
    return CLI_OK;
}

static const struct verb_example options_examples[] = {
    {"drover options", "the tables of docs/configuration.md"},
};
static const struct verb_example routes_examples[] = {
    {"drover routes", "every route with the role that it needs"},
};

static const struct verb server_verbs[] = {
    {.name = "server",
     .group = GROUP_START,
     .summary = "run the platform",
     .own_main = server_main,
     .own = &settings_table},
};

static const struct verb page_verbs[] = {
    {.name = "schema",
     .group = GROUP_SELF,
     .summary = "say which schema a data folder has, or take it to another",
     .own_main = schema_main,
     .own = &schema_table},
    {.name = "master-key",
     .group = GROUP_SELF,
     .summary = "say which key seals the secrets of a data folder, or change it",
     .own_main = master_key_main,
     .own = &master_key_table},
    {.name = "options",
     .group = GROUP_SELF,
     .summary = "print every option of the server as a page of Markdown",
     .examples = options_examples,
     .example_count = 1,
     .run = run_options},
    {.name = "routes",
     .group = GROUP_SELF,
     .summary = "print the table of API routes as JSON",
     .examples = routes_examples,
     .example_count = 1,
     .run = run_routes},
};

static const struct verb_list server_list = VERB_LIST(server_verbs);
static const struct verb_list page_list = VERB_LIST(page_verbs);

// In the order of `drover help`.
static const struct verb_list *const lists[] = {
    &server_list,   &init_verbs,          &deploy_verbs,     &push_verbs,     &exec_verbs,
    &rerun_verbs,   &services_verbs,      &executions_verbs, &describe_verbs, &logs_verbs,
    &top_verbs,     &change_verbs,        &login_verbs,      &context_verbs,  &people_verbs,
    &secrets_verbs, &completion_verbs,    &help_verbs,       &backup_verbs,   &run_verbs,
    &events_verbs,  &notifications_verbs, &rollout_verbs,    &up_verbs,       &doctor_verbs,
    &page_list,
};

static const struct program program = {DROVER_VERSION, lists, sizeof(lists) / sizeof(lists[0])};

int main(int argc, char **argv)
{
    fd_fill_standard();
    return cli_main(&program, argc, argv);
}
