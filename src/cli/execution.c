// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "cli/executions.h"
#include "cli/step.h"
#include "cli/text.h"
#include "model/status.h"

#define ERROR_MAX   ((size_t)64 << 20)
#define PATIENCE_MS 60000  // how long a server may be away while an execution is followed

struct str execution_status(struct json execution, struct arena *arena)
{
    return json_text(execution, "latestStatus.status", arena);
}

bool execution_ended(struct json execution, struct arena *arena)
{
    return status_final(status_parse(execution_status(execution, arena)));
}

void execution_duration(struct json execution, struct buf *out)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    int64_t start, end;
    if (!time_parse(json_text(execution, "startedAt", arena), &start))
        return;
    if (!time_parse(json_text(execution, "endedAt", arena), &end) ||
        !execution_ended(execution, arena))
        end = clock_wall(clock_system());
    duration_text(end - start, out);
}

static void tell(struct cli *cli, struct json execution)
{
    if (execution_ended(execution, cli->arena))
        return;  // that is told with its result
    struct str status = execution_status(execution, cli->arena);
    struct str message = json_text(execution, "latestStatus.message", cli->arena);
    struct json percent;
    double done = 0;
    if (json_path(execution, STR("latestStatus.percentComplete"), &percent))
        (void)json_double(percent, &done);
    struct str id = json_text(execution, "id", cli->arena);
    if (!cli->err.tty && message.len == 0)  // its log lines say more than its status
        return;
    step_update(cli, "Execution " STR_FMT ": " STR_FMT "%s" STR_FMT, STR_ARG(id), STR_ARG(status),
                message.len > 0 ? ", " : "", STR_ARG(message));
    if (done > 0)
        step_bar(cli, (int64_t)done, 100);
}

// Reads what new lines there are and how it stands. *over: it has ended and its last line was read.
static int look(struct cli *cli, struct log_reader *reader, const char *id, struct json *out,
                bool *over, struct err *err)
{
    bool stop = false;
    if (log_read(cli, reader, log_to_stderr, cli, &stop, err) ||
        cli_get(cli, cli_path(cli, "/executions/{}", id), out, err))
        return -1;
    *over = stop && execution_ended(*out, cli->arena);
    return 0;
}

int execution_follow(struct cli *cli, const char *id, struct json *out, struct err *err)
{
    struct arena *outer = cli->arena, *round = arena_new();
    struct log_reader reader = {.execution_id = str_of(id), .follow = true};
    int64_t good_at = clock_mono(clock_system());
    bool over = false, said = false;
    int rc = 0;
    step_begin(cli, "Execution %s", id);
    while (!over) {
        arena_reset(round);
        cli->arena = round;
        *err = ERR_INIT;
        rc = look(cli, &reader, id, out, &over, err);
        int64_t now = clock_mono(clock_system());
        if (rc == 0) {
            good_at = now;
            tell(cli, *out);
            continue;
        }
        if (cli->interrupted || err->kind != ERR_UNAVAILABLE || now - good_at > PATIENCE_MS)
            break;
        if (!said)
            cli_say(cli, "The server does not answer; waiting for it. The execution is kept.");
        said = true;
        cli_sleep(cli, 500);
    }
    cli->arena = outer;
    if (rc == 0)
        *out = json_of(arena_copy(outer, out->text));
    arena_free(round);
    step_drop(cli);
    return rc;
}

// Its log, with the traceback, was shown already, but not with --quiet.
static int tell_failure(struct cli *cli, struct json execution, struct str status)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(ERROR_MAX);
    struct str text = STR("");
    if (cli->common->quiet)
        text = json_text(execution, "latestStatus.error.stack", cli->arena);
    if (text.len == 0)
        text = json_text(execution, "latestStatus.error.message", cli->arena);
    if (text.len == 0)
        text = json_text(execution, "latestStatus.message", cli->arena);
    terminal_clean(&clean, str_trim(text));
    cli_warn(cli, "%sThe execution ended as " STR_FMT "%s%s" STR_FMT,
             color_on(&cli->err, COLOR_RED), STR_ARG(status), color_off(&cli->err, COLOR_RED),
             clean.len > 0 ? ": " : ".", STR_ARG(buf_str(&clean)));
    return CLI_EXECUTION_FAILED;
}

int execution_result(struct cli *cli, struct json execution)
{
    struct json output = {0};
    struct str status = execution_status(execution, cli->arena);
    json_get(execution, "output", &output);
    bool good = status_parse(status) == STATUS_SUCCESS;
    if (cli->output == OUTPUT_TABLE) {
        if (!good && output.type == JSON_NULL)
            output.text = STR("");
        buf_add_str(&cli->text, output.text);
        cli_print(cli, output.text.len > 0 ? "\n" : "");
    } else if (cli->output == OUTPUT_NAME) {
        cli_print(cli, STR_FMT "\n", STR_ARG(json_text(execution, "id", cli->arena)));
    } else if (cli->output != OUTPUT_TABLE) {
        buf_add_str(&cli->text, execution.text);
        cli_print(cli, "\n");
    }
    return good ? CLI_OK : tell_failure(cli, execution, status);
}
