// SPDX-License-Identifier: Apache-2.0
// cli/feed: a list of the API that is newest first by lastAt, and whose rows count repeats: printed
// as a list, or followed, the newest oldest first and then what comes.
#ifndef DROVER_CLI_FEED_H
#define DROVER_CLI_FEED_H

#include "cli/listing.h"

struct feed {
    const char *path;  // with its filters: "/events?level=warning"; lives in cli->own_arena
    struct str after;  // only what is later; absent: everything
    int64_t limit;     // -1: all
    const struct listing_spec *spec;
    // A row that is followed, without a line break; on a terminal or in a pipe.
    void (*print)(struct cli *cli, struct json row);
};

// "&name=value", escaped; nothing when it is empty.
void feed_filter(struct cli *cli, struct buf *path, const char *name, struct str value);

// What is wrong with the options of one that is followed; NULL: nothing.
const char *feed_unfit(const struct cli *cli);

MUST_CHECK int feed_list(struct cli *cli, const struct feed *feed, struct err *err);
// Until Ctrl-C.
MUST_CHECK int feed_follow(struct cli *cli, const struct feed *feed, struct err *err);

#endif
