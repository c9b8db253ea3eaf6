// SPDX-License-Identifier: Apache-2.0
// drover init FOLDER
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "model/module.h"

struct init_options {
    const char *name;
};

static const char main_py[] =
    "# A package of functions for Drover. Each public method is a function.\n"
    "import logging\n"
    "import time\n"
    "\n"
    "logger = logging.getLogger(\"%s\")\n"
    "\n"
    "\n"
    "class ServiceRunner:\n"
    "    def run(self, name: str):\n"
    "        \"\"\"Greets somebody.\"\"\"\n"
    "        logger.info(\"greeting %%s\", name)\n"
    "        return {\"text\": f\"Hello, {name}!\"}\n"
    "\n"
    "    def count(self, to: int):\n"
    "        \"\"\"Counts, slowly, so that there is something to watch.\"\"\"\n"
    "        for number in range(1, to + 1):\n"
    "            print(\"counted\", number, flush=True)\n"
    "            time.sleep(0.2)\n"
    "        return to\n";

static const char dataloop_json[] =
    "{\n"
    "  \"name\": \"%s\",\n"
    "  \"modules\": [\n"
    "    {\n"
    "      \"name\": \"default_module\",\n"
    "      \"entryPoint\": \"main.py\",\n"
    "      \"className\": \"ServiceRunner\",\n"
    "      \"functions\": [\n"
    "        {\"name\": \"run\", \"input\": [{\"name\": \"name\", \"type\": \"String\"}], "
    "\"output\": "
    "[]},\n"
    "        {\"name\": \"count\", \"input\": [{\"name\": \"to\", \"type\": \"Integer\"}], "
    "\"output\": []}\n"
    "      ]\n"
    "    }\n"
    "  ],\n"
    "  \"services\": [\n"
    "    {\n"
    "      \"name\": \"%s\",\n"
    "      \"runtime\": {\"numReplicas\": 1, \"concurrency\": 10},\n"
    "      \"versions\": {\"dtlpy\": \"none\"}\n"
    "    }\n"
    "  ]\n"
    "}\n";

static int write_file(struct cli *cli, const char *path, struct str text, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        cli_hint(cli, "choose another folder, or take that file away first");
        return err_set(err, ERR_CONFLICT, "%s is there already; nothing was written", path);
    }
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot make %s", path);
    for (ssize_t n; text.len > 0; text = (struct str){text.at + n, text.len - (size_t)n}) {
        n = write(fd, text.at, text.len);
        if (n <= 0)
            return err_errno(err, ERR_BAD_INPUT, errno, "Cannot write %s", path);
    }
    return 0;
}

static struct str name_of(struct cli *cli, const char *folder)
{
    const struct init_options *options = cli->options;
    if (options->name)
        return str_of(options->name);
    char *whole = realpath(folder, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    struct str name = arena_copy(cli->arena, str_of(slash && slash[1] ? slash + 1 : "hello"));
    free(whole);
    return name;
}

static int run(struct cli *cli)
{
    const char *folder = cli->args[0];
    struct err err = ERR_INIT;
    bool made = mkdir(folder, 0777) == 0;
    if (!made && errno != EEXIST) {
        err_errno(&err, ERR_BAD_INPUT, errno, "Cannot make the folder %s", folder);
        return cli_fail(cli, &err);
    }
    struct str name = name_of(cli, folder);
    const char *code = arena_printf(cli->arena, "%s/main.py", folder).at;
    const char *manifest = arena_printf(cli->arena, "%s/dataloop.json", folder).at;
    char *text = arena_cstr(cli->arena, name);
    int rc = name_check(name, "name", &err);
    if (rc == 0 && (access(code, F_OK) == 0 || access(manifest, F_OK) == 0)) {
        cli_hint(cli, "choose another folder, or take that file away first");
        rc = err_set(&err, ERR_CONFLICT, "%s is there already; nothing was written",
                     access(code, F_OK) == 0 ? code : manifest);
    }
    if (rc == 0)
        rc = write_file(cli, code, arena_printf(cli->arena, main_py, text), &err) ||
             write_file(cli, manifest, arena_printf(cli->arena, dataloop_json, text, text), &err);
    if (rc) {
        if (made)
            rmdir(folder);  // only when it is empty
        return cli_fail(cli, &err);
    }
    cli_print(cli, "%s\n%s\n", code, manifest);
    _cleanup_buf_ struct buf word = BUF_INIT(SIZE_MAX);
    text_word(&word, str_of(folder));
    cli_say(cli, "A package with two functions. Next: drover deploy " STR_FMT,
            STR_ARG(buf_str(&word)));
    return CLI_OK;
}

static const struct option options[] = {
    {.flag = "--name",
     .type = OPTION_TEXT,
     .offset = offsetof(struct init_options, name),
     .unit = "NAME",
     .help = "Name of the package and its service; the folder's when not given."},
};

static const struct verb_example examples[] = {
    {"drover init hello", "write hello/main.py and hello/dataloop.json"},
};

static const struct verb verbs[] = {
    {.name = "init",
     .arguments = "FOLDER",
     .group = GROUP_START,
     .summary = "write an example package that works",
     .about = "Makes the folder with a main.py of two functions and a dataloop.json that describes "
              "them; `drover deploy FOLDER` runs it. Files that are there already are left alone.",
     .options = options,
     .option_count = 1,
     .options_size = sizeof(struct init_options),
     .examples = examples,
     .example_count = 1,
     .run = run},
};

const struct verb_list init_verbs = VERB_LIST(verbs);
