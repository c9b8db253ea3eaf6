// SPDX-License-Identifier: Apache-2.0
// drover push FOLDER
#include "cli/push.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/link.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/step.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "model/module.h"

struct push_options {
    const char *name;
};

// The dataset in which a project keeps code.
static int find_binaries(struct cli *cli, struct str project_id, struct str *id, struct err *err)
{
    struct json answer, items, first;
    struct str key;
    _cleanup_buf_ struct buf body = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_raw(&w, "filter", STR("{\"$and\":[{\"name\":\"Binaries\"}]}"));
    json_w_key(&w, "context");
    json_w_object(&w);
    json_w_key(&w, "projects");
    json_w_array(&w);
    json_w_str(&w, project_id);
    json_w_array_end(&w);
    json_w_object_end(&w);
    json_w_pair_bool(&w, "systemSpace", true);
    json_w_pair_str(&w, "resource", STR("datasets"));
    json_w_object_end(&w);
    if (cli_post(cli, "/datasets/query", buf_str(&body), &answer, err))
        return -1;
    struct json_iter it = {0};
    if (json_get(answer, "items", &items))
        it = json_each(items);
    if (!json_next(&it, &key, &first))
        return err_set(err, ERR_INTERNAL, "The project has no dataset for code");
    *id = lookup_id(first, cli->arena);
    return 0;
}

// Named by its content, so the same code is kept once.
static int upload(struct cli *cli, const struct manifest *manifest, struct archive_made *archive,
                  struct str project_id, struct str *item_id, struct err *err)
{
    char local[64], remote[256], name[80];
    struct str dataset_id;
    struct json item;
    if (find_binaries(cli, project_id, &dataset_id, err))
        return -1;
    snprintf(local, sizeof(local), "/proc/self/fd/%d", archive->fd);
    snprintf(name, sizeof(name), "%.32s.zip", archive->sha256);
    snprintf(remote, sizeof(remote), "/codebases/" STR_FMT "/%s", STR_ARG(manifest->name), name);
    struct link_request request = {
        .method = "POST",
        .path = local,
        .name = name,
        .fields = {"type", "file", "path", remote, NULL},
    };
    const char *path = cli_path(cli, "/datasets/{}/items", arena_cstr(cli->arena, dataset_id));
    if (link_call(cli, &request, arena_printf(cli->arena, "%s?mode=skip", path).at, &item, err))
        return -1;
    *item_id = lookup_id(item, cli->arena);
    return 0;
}

static struct str package_body(struct cli *cli, const struct manifest *manifest,
                               struct str project_id, struct str item_id)
{
    _cleanup_buf_ struct buf body = BUF_INIT(manifest->modules.text.len * 2 + (1 << 20));
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "name", manifest->name);
    if (project_id.at)
        json_w_pair_str(&w, "projectId", project_id);
    json_w_pair_raw(&w, "modules", manifest->modules.text);
    if (manifest->requirements.type == JSON_ARRAY)
        json_w_pair_raw(&w, "requirements", manifest->requirements.text);
    json_w_key(&w, "codebase");
    json_w_object(&w);
    json_w_pair_str(&w, "type", STR("item"));
    json_w_pair_str(&w, "itemId", item_id);
    json_w_object_end(&w);
    json_w_object_end(&w);
    return arena_copy(cli->arena, buf_str(&body));
}

static bool same_member(struct cli *cli, struct json a, struct json b, const char *path)
{
    struct json left = {0}, right = {0};
    json_path(a, str_of(path), &left);
    json_path(b, str_of(path), &right);
    return left.type != JSON_ABSENT && json_equal(left, right, cli->arena);
}

// The server completes what it is given, so functions are compared by what they say.
static bool same_functions(struct cli *cli, struct json package, const struct manifest *manifest)
{
    struct json modules = {0}, theirs, mine;
    struct str key;
    json_get(package, "modules", &modules);
    if (json_count(modules) != json_count(manifest->modules))
        return false;
    struct json_iter one = json_each(modules), other = json_each(manifest->modules);
    while (json_next(&one, &key, &theirs) && json_next(&other, &key, &mine)) {
        if (!same_member(cli, mine, theirs, "functions") ||
            !same_member(cli, mine, theirs, "entryPoint"))
            return false;
    }
    return true;
}

static bool is_same(struct cli *cli, struct json package, const struct manifest *manifest,
                    struct str item_id)
{
    if (!str_eq(json_text(package, "codebase.itemId", cli->arena), item_id) ||
        !same_functions(cli, package, manifest))
        return false;
    struct json before = {0};
    json_get(package, "requirements", &before);
    return manifest->requirements.type != JSON_ARRAY ||
           json_equal(before, manifest->requirements, cli->arena);
}

static int store(struct cli *cli, const struct manifest *manifest, struct str project_id,
                 struct str item_id, struct json *out, bool *changed, struct err *err)
{
    bool found;
    *changed = true;
    if (lookup_in_project(cli, "package", project_id, manifest->name, out, &found, err))
        return -1;
    if (!found)
        return cli_post(cli, "/packages", package_body(cli, manifest, project_id, item_id), out,
                        err);
    if (is_same(cli, *out, manifest, item_id)) {
        *changed = false;
        return 0;
    }
    const char *path = cli_path(cli, "/packages/{}",
                                arena_cstr(cli->arena, lookup_id(*out, cli->arena)));
    return cli_call(cli, "PATCH", path, package_body(cli, manifest, STR_NONE, item_id), out, err);
}

int push_package(struct cli *cli, struct manifest *manifest, const char *name,
                 struct str project_id, struct json *out, bool *changed, struct err *err)
{
    struct archive_made archive;
    struct str item_id;
    _cleanup_buf_ struct buf size = BUF_INIT(64);
    if (name)
        manifest->name = str_of(name);
    step_begin(cli, "Packing %s", manifest->folder);
    if (archive_make(cli, manifest->folder, &archive, err))
        return -1;
    _cleanup_fd_ int fd = archive.fd;
    (void)fd;
    bytes_text(archive.size, &size);
    step_end(cli, "Packed %s: %zu file%s, " STR_FMT, manifest->folder, archive.files,
             archive.files == 1 ? "" : "s", STR_ARG(buf_str(&size)));
    step_begin(cli, "Uploading " STR_FMT, STR_ARG(buf_str(&size)));
    if (upload(cli, manifest, &archive, project_id, &item_id, err))
        return -1;
    step_end(cli, "Uploaded " STR_FMT, STR_ARG(buf_str(&size)));
    step_begin(cli, "Package " STR_FMT, STR_ARG(manifest->name));
    if (store(cli, manifest, project_id, item_id, out, changed, err))
        return -1;
    struct str version = json_text(*out, "version", cli->arena);
    step_end(cli, "Package " STR_FMT ": revision " STR_FMT "%s (functions " STR_FMT ")",
             STR_ARG(manifest->name), STR_ARG(version), *changed ? "" : ", unchanged",
             STR_ARG(manifest->functions));
    return 0;
}

static const struct column columns[] = {
    {.title = "Name", .path = "name"},
    {.title = "Revision", .path = "version"},
    {.title = "Id", .path = "id"},
    {.title = "Project", .path = "projectId"},
};
static const struct listing_spec spec = {columns, sizeof(columns) / sizeof(columns[0]), "name",
                                         NULL};

static int run(struct cli *cli)
{
    const struct push_options *options = cli->options;
    struct manifest manifest;
    struct str project_id, project;
    struct json package;
    struct err err = ERR_INIT;
    bool changed;
    cli_catch_interrupt(cli);
    if (manifest_read(cli, cli->arg_count > 0 ? cli->args[0] : ".", &manifest, &err) ||
        (options->name && name_check(str_of(options->name), "--name", &err)) ||
        lookup_project(cli, &project_id, &project, &err) ||
        push_package(cli, &manifest, options->name, project_id, &package, &changed, &err))
        return cli_fail(cli, &err);
    return cli->output == OUTPUT_TABLE ? CLI_OK : listing_one(cli, &spec, package);
}

static const struct option options[] = {
    {.flag = "--name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct push_options, name),
     .unit = "NAME",
     .help = "Name of the package instead of dataloop.json's, or the folder's."},
};

static const struct verb_example examples[] = {
    {"drover push hello", "make a package of the folder hello, or a new revision of it"},
};

static const struct verb verbs[] = {
    {.name = "push",
     .arguments = "[FOLDER]",
     .group = GROUP_RUN,
     .summary = "bring a folder of code to the server as a package",
     .about = "What the package holds is read from dataloop.json in the folder, or found in the "
              "class ServiceRunner of its main.py. Code and functions that are the same as the "
              "newest revision's make no new one.\n\nThe folder is . when none is given. Left out "
              "are .git, __pycache__, virtual environments, and what the globs in .droverignore "
              "name.",
     .options = options,
     .option_count = 1,
     .options_size = sizeof(struct push_options),
     .examples = examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run},
};

const struct verb_list push_verbs = VERB_LIST(verbs);
