// SPDX-License-Identifier: Apache-2.0
// The lists of what a project holds: services, packages.
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/page.h"
#include "cli/verbs.h"

struct services_options {
    int64_t limit;
    const char *package;
};

static void write_state(struct cli *cli, struct json service, struct buf *out)
{
    struct json active = {0};
    (void)cli;
    json_get(service, "active", &active);
    buf_add_cstr(out, active.type == JSON_FALSE ? "paused" : "active");
}

// How many replicas are wanted: fixed, or the autoscaler's range.
static void write_replicas(struct cli *cli, struct json service, struct buf *out)
{
    struct str least = json_text(service, "runtime.autoscaler.minReplicas", cli->arena);
    struct str most = json_text(service, "runtime.autoscaler.maxReplicas", cli->arena);
    if (most.len > 0)
        buf_printf(out, STR_FMT "-" STR_FMT, STR_ARG(least), STR_ARG(most));
    else
        buf_add_str(out, json_text(service, "runtime.numReplicas", cli->arena));
}

static const struct column service_columns[] = {
    {.title = "NAME", .path = "name"},
    {.title = "STATE", .kind = COLUMN_STATUS, .write = write_state},
    {.title = "REPLICAS", .kind = COLUMN_NUMBER, .write = write_replicas},
    {.title = "CONCURRENCY", .path = "runtime.concurrency", .kind = COLUMN_NUMBER},
    {.title = "PACKAGE", .path = "packageRevision", .keep = true},
    {.title = "VERSION", .path = "version", .keep = true},
    {.title = "UPDATED", .path = "updatedAt", .kind = COLUMN_TIME},
    {.title = "ID", .path = "id", .keep = true},
};

static const struct listing_spec service_spec = {
    service_columns, sizeof(service_columns) / sizeof(service_columns[0]), "name",
    "There are no services. `drover deploy FOLDER` makes one; `drover init FOLDER` writes an "
    "example."};

static int list(struct cli *cli, const struct listing_spec *spec, struct page_query *query,
                struct str package_id)
{
    struct err err = ERR_INIT;
    const struct services_options *options = cli->options;
    struct str project_id;
    if (lookup_project_chosen(cli, &project_id, &err))
        return cli_fail(cli, &err);
    query->filter = lookup_filter(cli, project_id, "packageId", package_id);
    query->stream = true;
    if (page_list(cli, query, options->limit, spec, &err))
        return cli_fail(cli, &err);
    return CLI_OK;
}

static int run_services(struct cli *cli)
{
    const struct services_options *options = cli->options;
    struct page_query query = {.resource = "services"};
    struct json package;
    struct err err = ERR_INIT;
    struct str package_id = STR_NONE;
    if (options->package && lookup_named(cli, "package", options->package, &package, &err))
        return cli_fail(cli, &err);
    if (options->package)
        package_id = lookup_id(package, cli->arena);
    return list(cli, &service_spec, &query, package_id);
}

static void write_modules(struct cli *cli, struct json package, struct buf *out)
{
    struct json modules = {0}, module, functions, function;
    struct str key;
    json_get(package, "modules", &modules);
    for (struct json_iter it = json_each(modules); json_next(&it, &key, &module);) {
        if (!json_get(module, "functions", &functions))
            continue;
        for (struct json_iter in = json_each(functions); json_next(&in, &key, &function);)
            buf_printf(out, "%s" STR_FMT, out->len > 0 ? ", " : "",
                       STR_ARG(lookup_name(function, cli->arena)));
    }
}

static const struct column package_columns[] = {
    {.title = "NAME", .path = "name"},
    {.title = "VERSION", .path = "version", .keep = true},
    {.title = "FUNCTIONS", .write = write_modules},
    {.title = "UPDATED", .path = "updatedAt", .kind = COLUMN_TIME},
    {.title = "ID", .path = "id", .keep = true},
};

static const struct listing_spec package_spec = {
    package_columns, sizeof(package_columns) / sizeof(package_columns[0]), "name",
    "There are no packages. `drover push FOLDER` makes one."};

static int run_packages(struct cli *cli)
{
    struct page_query query = {.resource = "packages"};
    return list(cli, &package_spec, &query, STR_NONE);
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct services_options, member), __VA_ARGS__                           \
    }

static const struct option options[] = {
    OPTION("limit", INT, limit, .letter = 'n', .unit = "COUNT", .fallback = "-1", .min = -1,
           .max = 1000000000, .help = "At most so many; -1: all."),
    OPTION("package", TEXT, package, .unit = "PACKAGE",
           .help = "Only services that run this package."),
};

static const struct verb_example services_examples[] = {
    {"drover services", "all services of the chosen project, or of all projects"},
    {"drover services --watch", "the same, kept up to date"},
    {"drover services -o name", "only the names, for a script"},
};

static const struct verb_example packages_examples[] = {
    {"drover packages", "all packages with their functions"},
};

static const struct verb verbs[] = {
    {.name = "services",
     .group = GROUP_LOOK,
     .summary = "list services",
     .about = "A service runs a revision of a package in replicas. Newest first.",
     .options = options,
     .option_count = 2,
     .options_size = sizeof(struct services_options),
     .examples = services_examples,
     .example_count = 3,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_WATCH,
     .run = run_services},
    {.name = "packages",
     .group = GROUP_LOOK,
     .summary = "list packages and their functions",
     .options = options,
     .option_count = 1,
     .options_size = sizeof(struct services_options),
     .examples = packages_examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_WATCH,
     .run = run_packages},
};

const struct verb_list services_verbs = VERB_LIST(verbs);
