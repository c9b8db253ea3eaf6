// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "base/clock.h"
#include "cli/listing.h"
#include "cli/logs.h"
#include "cli/step.h"

#define BODY_MAX ((size_t)256 * 1024)
#define LINE_MAX ((size_t)64 << 20)

static void write_text(struct json_writer *w, const char *key, struct str value)
{
    if (value.at)
        json_w_pair_str(w, key, value);
}

static void write_time(struct json_writer *w, const char *key, int64_t ms)
{
    char text[TIME_TEXT_SIZE];
    if (ms == 0)
        return;
    time_format(ms, text);
    json_w_pair_str(w, key, str_of(text));
}

static void write_request(const struct log_reader *reader, struct buf *out)
{
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    write_text(&w, "serviceId", reader->service_id);
    write_text(&w, "executionId", reader->execution_id);
    write_text(&w, "functionName", str_of(reader->function));
    write_text(&w, "replicaId", str_of(reader->replica));
    write_text(&w, "logLevel", str_of(reader->level));
    write_text(&w, "text", str_of(reader->text));
    write_time(&w, "start", reader->start);
    write_time(&w, "end", reader->end);
    json_w_pair_bool(&w, "follow", reader->follow);
    json_w_pair_bool(&w, "system", reader->system);
    if (reader->descending)
        json_w_pair_str(&w, "direction", STR("desc"));
    if (reader->size > 0)
        json_w_pair_int(&w, "size", reader->size);
    if (reader->checkpoint.at)
        json_w_pair_raw(&w, "checkpoint", reader->checkpoint);
    json_w_object_end(&w);
}

int log_read(struct cli *cli, struct log_reader *reader, void (*each)(void *arg, struct json line),
             void *arg, bool *stop, struct err *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(BODY_MAX);
    struct json answer, lines = {0}, line, value;
    struct str key;
    write_request(reader, &body);
    if (cli_post(cli, "/services/logs", buf_str(&body), &answer, err))
        return -1;
    if (json_get(answer, "checkpoint", &value) && !str_eq(value.text, reader->checkpoint))
        reader->checkpoint = arena_copy(cli->own_arena, value.text);
    if (!reader->newest.at && json_get(answer, "newest", &value))
        reader->newest = arena_copy(cli->own_arena, value.text);
    *stop = json_get(answer, "stop", &value) && value.type == JSON_TRUE;
    json_get(answer, "logs", &lines);
    for (struct json_iter it = json_each(lines); json_next(&it, &key, &line);)
        each(arg, line);
    return 0;
}

static enum color color_of_level(struct str level)
{
    if (str_case_eq(level, STR("error")) || str_case_eq(level, STR("critical")))
        return COLOR_RED;
    if (str_case_eq(level, STR("warning")))
        return COLOR_YELLOW;
    return str_case_eq(level, STR("debug")) ? COLOR_DIM : COLOR_NONE;
}

// On a terminal the time of day does; a file wants it whole.
static void add_time(struct cli *cli, struct json line, const struct terminal *terminal,
                     struct buf *out)
{
    struct str time = json_text(line, "timestamp", cli->arena);
    if (terminal->tty && time.len == TIME_TEXT_SIZE - 1)
        time = (struct str){time.at + sizeof("2026-11-23T") - 1, sizeof("08:15:30.123") - 1};
    buf_printf(out, "%s" STR_FMT "%s ", color_on(terminal, COLOR_DIM), STR_ARG(time),
               color_off(terminal, COLOR_DIM));
}

void log_line(struct cli *cli, struct json line, const struct terminal *terminal, bool many,
              struct buf *out)
{
    struct str level = json_text(line, "level", cli->arena);
    struct str message = json_text(line, "message", cli->arena);
    struct str execution = json_text(line, "executionId", cli->arena);
    enum color color = color_of_level(level);
    while (message.len > 0 && message.at[message.len - 1] == '\n')
        message.len--;
    add_time(cli, line, terminal, out);
    if (many)
        buf_printf(out, "%s%-24s%s ", color_on(terminal, COLOR_CYAN),
                   execution.len > 0 ? arena_cstr(cli->arena, execution) : "-",
                   color_off(terminal, COLOR_CYAN));
    buf_printf(out, "%s%-8s ", color_on(terminal, color), arena_cstr(cli->arena, level));
    if (terminal->tty)
        terminal_clean(out, message);
    else
        buf_add_str(out, message);
    buf_add_cstr(out, color_off(terminal, color));
    buf_add_char(out, '\n');
}

void log_to_stderr(void *arg, struct json line)
{
    struct cli *cli = arg;
    _cleanup_buf_ struct buf text = BUF_INIT(LINE_MAX);
    if (cli->common->quiet)
        return;
    step_hide(cli);
    log_line(cli, line, &cli->err, false, &text);
    fwrite(text.at, 1, text.len, stderr);
}
