// SPDX-License-Identifier: Apache-2.0
#include "cli/feed.h"

#include "base/clock.h"
#include "base/map.h"
#include "cli/link.h"
#include "cli/text.h"

#define POLL_MS   1000
#define PAGE_MOST 1000

struct following {
    struct cli *cli;
    const struct feed *feed;
    struct str after;   // time of the newest shown; absent: none yet
    struct map *shown;  // "id count" of those of that time
};

void feed_filter(struct cli *cli, struct buf *path, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_printf(path, "&%s=%s", name, cli_path(cli, "{}", arena_cstr(cli->arena, value)));
}

const char *feed_unfit(const struct cli *cli)
{
    return cli->output == OUTPUT_JSON || cli->output == OUTPUT_NAME
               ? "what is followed never ends: -o is table or jsonl with --follow"
               : NULL;
}

static int read_page(struct cli *cli, const struct feed *feed, struct str after, int64_t size,
                     int64_t page, struct json *out, struct err *err)
{
    _cleanup_buf_ struct buf path = BUF_INIT(16384);
    buf_printf(&path, "%s&pageSize=%lld&pageOffset=%lld", feed->path, (long long)size,
               (long long)page);
    feed_filter(cli, &path, "after", after);
    return cli_get(cli, arena_cstr(cli->arena, buf_str(&path)), out, err);
}

static bool is_new(struct following *following, struct json row)
{
    struct cli *cli = following->cli;
    struct str key = arena_printf(cli->own_arena, STR_FMT " " STR_FMT,
                                  STR_ARG(json_text(row, "id", cli->arena)),
                                  STR_ARG(json_text(row, "count", cli->arena)));
    return !map_put(following->shown, key, following);
}

static void print_row(struct following *following, struct json row)
{
    struct cli *cli = following->cli;
    if (cli->output == OUTPUT_TABLE)
        following->feed->print(cli, row);
    else
        text_json_line(&cli->text, row.text);
    cli_print(cli, "\n");
}

// Oldest first. silent: from then on they count as printed.
static void print_reversed(struct following *following, struct json items, bool silent)
{
    struct cli *cli = following->cli;
    size_t count = 0, room = json_count(items);
    struct json *all = arena_array_of(cli->arena, struct json, room + 1);
    struct json_iter it = json_each(items);
    struct str key;
    while (count < room && json_next(&it, &key, &all[count]))
        count++;
    if (count > 0)
        following->after = arena_copy(cli->own_arena, json_text(all[0], "lastAt", cli->arena));
    while (count-- > 0)
        if (is_new(following, all[count]) && !silent)
            print_row(following, all[count]);
}

static int rounds(struct following *following, struct err *err)
{
    struct cli *cli = following->cli;
    struct json page, items = {0};
    struct arena *kept = cli->arena, *round = arena_new();
    int64_t size = following->feed->limit > 0 ? following->feed->limit : PAGE_MOST;
    bool silent = following->feed->limit == 0;  // what there is already is only noted
    int64_t good_at = clock_mono(clock_system());
    int rc = 0;
    cli->arena = round;
    while (!cli->interrupted) {
        *err = ERR_INIT;
        if (read_page(cli, following->feed, following->after, size, 0, &page, err)) {
            if (link_wait(cli, good_at, err))
                continue;
            rc = -1;
            break;
        }
        good_at = clock_mono(clock_system());
        json_get(page, "items", &items);
        print_reversed(following, items, silent);
        silent = false;
        if (cli_flush(cli) != CLI_OK || !cli_sleep(cli, POLL_MS))
            break;
        arena_reset(round);
        size = PAGE_MOST;
    }
    cli->arena = kept;
    arena_free(round);
    return rc;
}

int feed_follow(struct cli *cli, const struct feed *feed, struct err *err)
{
    struct following following = {
        .cli = cli, .feed = feed, .after = feed->after, .shown = map_new()};
    cli_catch_interrupt(cli);
    int rc = rounds(&following, err);
    map_free(following.shown);
    return rc;
}

int feed_list(struct cli *cli, const struct feed *feed, struct err *err)
{
    struct json page, items = {0}, more = {.type = JSON_TRUE}, row;
    struct str key;
    int64_t left = feed->limit >= 0 ? feed->limit : INT64_MAX;
    struct listing_spec shown = *feed->spec;
    if (feed->limit == 0)
        shown.empty = NULL;
    struct listing *listing = listing_begin(cli, &shown);
    for (int64_t number = 0; more.type == JSON_TRUE && left > 0; number++) {
        if (read_page(cli, feed, feed->after, left < PAGE_MOST ? left : PAGE_MOST, number, &page,
                      err))
            return -1;
        json_get(page, "items", &items);
        for (struct json_iter it = json_each(items); json_next(&it, &key, &row) && left > 0; left--)
            listing_add(listing, row);
        json_get(page, "hasNextPage", &more);
    }
    (void)listing_end(listing);
    return 0;
}
