// SPDX-License-Identifier: Apache-2.0
#include "cli/selection.h"

#include "base/clock.h"
#include "base/near.h"
#include "cli/lookup.h"
#include "cli/text.h"
#include "model/status.h"

#define FILTER_MAX ((size_t)64 * 1024)

bool selection_given(const struct selection *selection)
{
    return selection->service || selection->function || selection->status || selection->since ||
           selection->until;
}

static bool allowed(enum status status, enum selection_limit limit)
{
    return limit == SELECT_ALL || status_final(status) == (limit == SELECT_ENDED);
}

static int no_status(struct str word, struct err *err)
{
    struct near near = near_start(word);
    for (int s = STATUS_CREATED; s <= STATUS_SYSTEM_FAILURE; s++)
        near_try(&near, str_of(status_word((enum status)s)));
    near_try(&near, STR("ended"));
    bool found = near.found.at != NULL;
    return err_field(err, "--status", "--status: there is no status '" STR_FMT "'%s" STR_FMT "%s",
                     STR_ARG(word), found ? "; did you mean '" : "", STR_ARG(near.found),
                     found ? "'?" : "");
}

// Marks the statuses that a list of words names.
static int mark(const char *words, bool *marked, struct err *err)
{
    for (struct str rest = str_of(words); rest.at;) {
        struct str word = str_trim(str_cut(&rest, ','));
        bool ended = str_is(word, "ended"), open = str_is(word, "open");
        enum status one = status_parse(word);
        if (!ended && !open && one == STATUS_NONE)
            return no_status(word, err);
        for (int s = STATUS_CREATED; s <= STATUS_SYSTEM_FAILURE; s++)
            marked[s] |= (enum status)s == one || (ended && status_final((enum status)s)) ||
                         (open && !status_final((enum status)s));
    }
    return 0;
}

static int write_statuses(const struct selection *selection, enum selection_limit limit,
                          struct json_writer *w, struct err *err)
{
    bool marked[STATUS_SYSTEM_FAILURE + 1] = {false};
    size_t count = 0;
    if (!selection->status && limit == SELECT_ALL)
        return 0;
    if (mark(selection->status ? selection->status : "open,ended", marked, err))
        return -1;
    json_w_object(w);
    json_w_key(w, "status");
    json_w_object(w);
    json_w_key(w, "$in");
    json_w_array(w);
    for (int s = STATUS_CREATED; s <= STATUS_SYSTEM_FAILURE; s++) {
        if (!marked[s] || !allowed((enum status)s, limit))
            continue;
        count++;
        json_w_cstr(w, status_word((enum status)s));
    }
    json_w_array_end(w);
    json_w_object_end(w);
    json_w_object_end(w);
    return count > 0
               ? 0
               : err_field(err, "--status", "--status: %s executions alone can be chosen here",
                           limit == SELECT_ENDED ? "ended" : "open");
}

static int write_moment(const char *option, const char *given, const char *operator,
                        struct json_writer * w, struct err *err)
{
    char text[TIME_TEXT_SIZE];
    int64_t ms;
    if (!given)
        return 0;
    if (moment_parse(option, given, clock_wall(clock_system()), &ms, err))
        return -1;
    time_format(ms, text);
    json_w_object(w);
    json_w_key(w, "createdAt");
    json_w_object(w);
    json_w_pair_str(w, operator, str_of(text));
    json_w_object_end(w);
    json_w_object_end(w);
    return 0;
}

static void write_equal(const char *key, struct str value, struct json_writer *w)
{
    if (!value.at)
        return;
    json_w_object(w);
    json_w_pair_str(w, key, value);
    json_w_object_end(w);
}

int selection_filter(struct cli *cli, const struct selection *selection, enum selection_limit limit,
                     struct str *out, struct err *err)
{
    _cleanup_buf_ struct buf filter = BUF_INIT(FILTER_MAX);
    struct json_writer w = JSON_WRITER(&filter);
    struct str project_id;
    struct json service;
    if (lookup_project_chosen(cli, &project_id, err) ||
        (selection->service && lookup_service(cli, selection->service, &service, err)))
        return -1;
    json_w_object(&w);
    json_w_key(&w, "$and");
    json_w_array(&w);
    if (selection->service)
        write_equal("serviceId", lookup_id(service, cli->arena), &w);
    else
        write_equal("projectId", project_id, &w);
    write_equal("functionName", str_of(selection->function), &w);
    if (write_statuses(selection, limit, &w, err) ||
        write_moment("--since", selection->since, "$gte", &w, err) ||
        write_moment("--until", selection->until, "$lt", &w, err))
        return -1;
    json_w_array_end(&w);
    json_w_object_end(&w);
    // An empty $and is nothing to ask for.
    *out = str_is(buf_str(&filter), "{\"$and\":[]}") ? STR("{}")
                                                     : arena_copy(cli->arena, buf_str(&filter));
    return 0;
}
