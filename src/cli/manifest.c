// SPDX-License-Identifier: Apache-2.0
#include "cli/manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/lookup.h"
#include "cli/python_scan.h"
#include "model/module.h"

#define TEXT_MAX ((size_t)4 << 20)
#define FILE     "dataloop.json"

static const char *path_in(struct cli *cli, const struct manifest *manifest, struct str name)
{
    return arena_printf(cli->arena, "%s/" STR_FMT, manifest->folder, STR_ARG(name)).at;
}

// ── dataloop.json ────────────────────────────────────────────────────────────────────────────

// "modules" may stand at the top or, as in Dataloop's own manifests, under "components".
static struct json part(struct json document, const char *key)
{
    struct json components, value = {0};
    if (json_get(document, key, &value))
        return value;
    if (json_get(document, "components", &components))
        json_get(components, key, &value);
    return value;
}

static int take_name(struct cli *cli, struct json object, const char *field, struct str fallback,
                     struct str *out, struct err *err)
{
    struct json value;
    *out = fallback;
    if (!json_get(object, "name", &value))
        return 0;
    *out = json_str(value, cli->arena);
    return out->at ? name_check(*out, field, err)
                   : err_field(err, field, "%s must be a string, not %s", field,
                               json_type_name(value.type));
}

static int take_services(struct cli *cli, struct json document, struct manifest *out,
                         struct err *err)
{
    struct json services = part(document, "services"), one, service;
    struct str key;
    if (services.type == JSON_ABSENT && json_get(document, "service", &service)) {
        out->services[0].settings = service;
        out->service_count = 1;
        return take_name(cli, service, "service.name", out->name, &out->services[0].name, err);
    }
    if (services.type != JSON_ABSENT && services.type != JSON_ARRAY)
        return err_field(err, "services", "services must be an array of objects, not %s",
                         json_type_name(services.type));
    if (json_count(services) > 0)
        out->services = arena_array_of(cli->arena, struct manifest_service, json_count(services));
    for (struct json_iter it = json_each(services); json_next(&it, &key, &one);) {
        struct manifest_service *made = &out->services[out->service_count++];
        made->settings = one;
        if (one.type != JSON_OBJECT)
            return err_field(err, "services", "services must hold objects, not %s",
                             json_type_name(one.type));
        if (take_name(cli, one, "services[].name", out->name, &made->name, err))
            return -1;
    }
    return 0;
}

static int read_document(struct cli *cli, struct str text, struct manifest *out, struct err *err)
{
    struct json document;
    if (json_parse(text, 0, &document, err))
        return -1;
    if (document.type != JSON_OBJECT)
        return err_set(err, ERR_BAD_INPUT, "it holds %s, not an object",
                       json_type_name(document.type));
    out->modules = part(document, "modules");
    json_get(document, "requirements", &out->requirements);
    return take_name(cli, document, "name", out->name, &out->name, err) ||
                   take_services(cli, document, out, err)
               ? -1
               : 0;
}

// ── the code ─────────────────────────────────────────────────────────────────────────────────

// Finds the modules in main.py when no file says them.
static int scan(struct cli *cli, struct manifest *out, struct err *err)
{
    struct str text;
    const char *path = path_in(cli, out, STR("main.py"));
    _cleanup_buf_ struct buf modules = BUF_INIT(TEXT_MAX);
    struct json_writer w = JSON_WRITER(&modules);
    cli_hint(cli, "`drover init FOLDER` writes an example of a package");
    if (access(path, R_OK))
        return err_set(err, ERR_BAD_INPUT, "%s holds neither " FILE " nor main.py", out->folder);
    if (cli_read(cli, path, TEXT_MAX, &text, err))
        return -1;
    if (!python_scan(text, "main.py", &w))
        return err_set(err, ERR_BAD_INPUT,
                       "%s has no class ServiceRunner with a public method; name the functions in "
                       "%s/" FILE " otherwise",
                       path, out->folder);
    cli->hint = NULL;
    out->modules = json_of(arena_copy(cli->arena, buf_str(&modules)));
    return 0;
}

static int check_entry_point(struct cli *cli, struct manifest *out, struct str entry,
                             struct err *err)
{
    struct str text;
    const char *path = path_in(cli, out, entry);
    if (access(path, R_OK))
        return err_errno(err, ERR_BAD_INPUT, errno, "the entry point %s cannot be read", path);
    if (module_runner(entry) != MODULE_PYTHON)
        return 0;
    if (cli_read(cli, path, TEXT_MAX, &text, err))
        return -1;
    out->uses_dtlpy |= python_uses_dtlpy(text);
    return 0;
}

static struct str example_of(struct cli *cli, const struct module *module)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    const struct function *function = module->functions;
    if (module->function_count == 0)
        return STR("FUNCTION");
    buf_add_str(&text, function->name);
    for (size_t i = 0; i < function->input_count; i++)
        buf_printf(&text, " " STR_FMT "=…", STR_ARG(function->inputs[i].name));
    return arena_copy(cli->arena, buf_str(&text));
}

static int check_modules(struct cli *cli, struct manifest *out, struct err *err)
{
    _cleanup_buf_ struct buf names = BUF_INIT(4096);
    struct module *modules;
    size_t count;
    if (modules_parse(out->modules, NULL, cli->arena, &modules, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (check_entry_point(cli, out, modules[i].entry_point, err))
            return -1;
        for (size_t k = 0; k < modules[i].function_count; k++)
            buf_printf(&names, "%s" STR_FMT, names.len > 0 ? ", " : "",
                       STR_ARG(modules[i].functions[k].name));
    }
    out->functions = arena_copy(cli->arena, buf_str(&names));
    out->example = count > 0 ? example_of(cli, &modules[0]) : STR("FUNCTION");
    return 0;
}

// The package is called as the folder when nothing else is said.
static struct str folder_name(struct cli *cli, const char *folder)
{
    char *whole = realpath(folder, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    struct str name = arena_copy(cli->arena, str_of(slash && slash[1] ? slash + 1 : "package"));
    free(whole);
    return name;
}

int manifest_read(struct cli *cli, const char *folder, struct manifest *out, struct err *err)
{
    struct stat stat_of;
    struct str text;
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/')
        len--;
    *out = (struct manifest){.folder = arena_cstr(cli->arena, (struct str){folder, len})};
    if (stat(folder, &stat_of) || !S_ISDIR(stat_of.st_mode)) {
        cli_hint(cli, "`drover init %s` writes an example there", folder);
        return err_set(err, ERR_BAD_INPUT, "There is no folder %s", folder);
    }
    out->name = folder_name(cli, folder);
    out->services = arena_array_of(cli->arena, struct manifest_service, 1);
    const char *path = path_in(cli, out, STR(FILE));
    out->from_file = access(path, F_OK) == 0;
    if (out->from_file) {
        if (cli_read(cli, path, TEXT_MAX, &text, err))
            return -1;
        if (read_document(cli, text, out, err))
            return err_wrap(err, "%s", path);
    }
    if (out->modules.type == JSON_ABSENT && scan(cli, out, err))
        return -1;
    if (out->service_count == 0) {
        out->services[0].name = out->name;
        out->service_count = 1;
    }
    if (name_check(out->name, "name", err) || check_modules(cli, out, err))
        return err_wrap(err, "%s", out->from_file ? path : folder);
    return 0;
}
