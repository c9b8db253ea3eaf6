// SPDX-License-Identifier: Apache-2.0
#include "model_support.h"

#include "model/entities.h"
#include "model/filter.h"

static struct filter *read_filter(const struct entity *entity, const char *text,
                                  struct arena *arena)
{
    struct err err = ERR_INIT;
    struct filter *filter = NULL;
    if (filter_parse(parse(text), entity, &limits_default, arena, &filter, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    assert_non_null(filter);
    return filter;
}

static void assert_match(const struct entity *entity, const void *row, const char *text,
                         bool expected)
{
    struct arena *arena = arena_new();
    bool got = filter_match(read_filter(entity, text, arena), row, arena);
    arena_free(arena);
    if (got != expected)
        fail_msg("%s %s", text, got ? "matches" : "does not match");
}

struct expectation {
    const char *filter;
    bool matches;
};

#define CHECK(entity, row, cases)                                                                  \
    do {                                                                                           \
        for (size_t i = 0; i < sizeof(cases) / sizeof(*(cases)); i++)                              \
            assert_match(&(entity), &(row), (cases)[i].filter, (cases)[i].matches);                \
    } while (0)

static struct execution an_execution(void)
{
    struct execution row;
    entity_clear(&execution_entity, &row);
    row.id = STR("e1");
    row.project_id = STR("p1");
    row.status = STR("failed");
    row.status_message = STR("Out of Memory");
    row.percent = 12.5;
    row.attempts = 9007199254740993;  // 2^53 + 1: no double
    row.to_terminate = true;
    row.created_at = 1700000000000;  // 2023-11-14T22:13:20Z
    row.updated_at = 1700000000000;
    row.input = STR(
        "{\"item\":{\"item_id\":\"i1\"},\"n\":5,\"big\":9007199254740993,\"huge\":1e300,"
        "\"half\":0.5,\"yes\":true,\"none\":null,\"tags\":[\"a\",\"b\",3,null,[9]],\"empty\":[],"
        "\"esc\":\"a\\n\\u00e9\",\"a.b\":1,\"one\":\"1\"}");
    return row;
}

static void nothing_constrains_nothing(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{}", true},
        {"null", true},
        {"{\"$and\":[]}", true},
        {"{\"$and\":null,\"$or\":null}", true},
        {"{\"$and\":[{},{}]}", true},
    };
    CHECK(execution_entity, row, cases);
    struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct filter *filter;
    assert_int_equal(
        filter_parse((struct json){0}, &execution_entity, &limits_default, arena, &filter, &err),
        0);
    assert_int_equal(filter->op, FILTER_ALL);
    assert_int_equal(filter->child_count, 0);
    assert_true(filter_match(NULL, &row, arena));
    arena_free(arena);
}

static void terms_are_joined(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"id\":\"e1\",\"projectId\":\"p1\"}", true},
        {"{\"id\":\"e1\",\"projectId\":\"p2\"}", false},
        {"{\"$and\":[{\"id\":\"e1\"},{\"projectId\":\"p1\"}]}", true},
        {"{\"$and\":[{\"id\":\"e1\"},{\"projectId\":\"p2\"}]}", false},
        {"{\"$or\":[{\"id\":\"e0\"},{\"projectId\":\"p1\"}]}", true},
        {"{\"$or\":[{\"id\":\"e0\"},{\"projectId\":\"p2\"}]}", false},
        {"{\"$or\":[{\"id\":\"e1\"}],\"$and\":[{\"projectId\":\"p2\"}]}", false},
        {"{\"$or\":[{\"$and\":[{\"id\":\"e1\"},{\"$or\":[{\"projectId\":\"p1\"}]}]}]}", true},
        {"{\"attempts\":{\"$gt\":1,\"$lt\":5}}", false},
        {"{\"latestStatus.percentComplete\":{\"$gt\":1,\"$lt\":50}}", true},
    };
    CHECK(execution_entity, row, cases);
}

static void texts_compare_bytewise(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"latestStatus.status\":\"failed\"}", true},
        {"{\"status\":\"failed\"}", true},
        {"{\"status\":\"Failed\"}", false},
        {"{\"status\":{\"$eq\":\"failed\"}}", true},
        {"{\"status\":{\"$ne\":\"failed\"}}", false},
        {"{\"status\":{\"$ne\":\"success\"}}", true},
        {"{\"status\":{\"$ne\":null}}", true},
        {"{\"status\":{\"$gt\":\"faile\"}}", true},
        {"{\"status\":{\"$gt\":\"failed\"}}", false},
        {"{\"status\":{\"$gte\":\"failed\"}}", true},
        {"{\"status\":{\"$lt\":\"g\"}}", true},
        {"{\"status\":{\"$lt\":\"G\"}}", false},
        {"{\"status\":{\"$lte\":\"failed\"}}", true},
        {"{\"status\":{\"$in\":[\"x\",\"failed\"]}}", true},
        {"{\"status\":{\"$in\":[]}}", false},
        {"{\"status\":{\"$nin\":[]}}", true},
        {"{\"status\":{\"$nin\":[\"x\",\"failed\"]}}", false},
        // another kind is unequal, and neither greater nor less
        {"{\"status\":5}", false},
        {"{\"status\":{\"$ne\":5}}", true},
        {"{\"status\":{\"$gt\":5}}", false},
        {"{\"status\":{\"$lt\":5}}", false},
        {"{\"status\":true}", false},
        {"{\"status\":{\"$in\":[5,true,null,\"failed\"]}}", true},
        // $match: part of a text in any case, or a glob
        {"{\"latestStatus.message\":{\"$match\":\"MEMORY\"}}", true},
        {"{\"latestStatus.message\":{\"$match\":\"memoir\"}}", false},
        {"{\"latestStatus.message\":{\"$match\":\"\"}}", true},
        {"{\"latestStatus.message\":{\"$match\":\"Out*\"}}", true},
        {"{\"latestStatus.message\":{\"$match\":\"out*\"}}", false},
        {"{\"latestStatus.message\":\"Out*\"}", false},
        {"{\"attempts\":{\"$match\":\"9\"}}", false},
    };
    CHECK(execution_entity, row, cases);
}

static void absent_is_null(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"triggerId\":\"t\"}", false},
        {"{\"triggerId\":{\"$eq\":null}}", true},
        {"{\"triggerId\":null}", true},
        {"{\"status\":null}", false},
        {"{\"projectId\":null}", false},  // but in a list
        {"{\"triggerId\":{\"$ne\":null}}", false},
        {"{\"triggerId\":{\"$ne\":\"t\"}}", true},
        {"{\"triggerId\":{\"$in\":[\"t\"]}}", false},
        {"{\"triggerId\":{\"$in\":[\"t\",null]}}", true},
        {"{\"triggerId\":{\"$nin\":[\"t\"]}}", true},
        {"{\"triggerId\":{\"$nin\":[\"t\",null]}}", false},
        {"{\"triggerId\":{\"$exists\":true}}", false},
        {"{\"triggerId\":{\"$exists\":false}}", true},
        {"{\"triggerId\":{\"$gt\":\"\"}}", false},
        {"{\"triggerId\":{\"$match\":\"\"}}", false},
        {"{\"triggerId\":{\"$match\":\"*\"}}", false},
        {"{\"timeoutSeconds\":{\"$lt\":5}}", false},
        {"{\"timeoutSeconds\":{\"$exists\":false}}", true},
        {"{\"startedAt\":{\"$gt\":0}}", false},
        {"{\"output\":{\"$exists\":false}}", true},
        {"{\"output.a\":{\"$ne\":1}}", true},
        {"{\"status\":{\"$exists\":true}}", true},
        {"{\"toTerminate\":{\"$exists\":true}}", true},
    };
    CHECK(execution_entity, row, cases);
    row.status = STR("");  // empty is not absent
    assert_match(&execution_entity, &row, "{\"status\":{\"$exists\":true}}", true);
    assert_match(&execution_entity, &row, "{\"status\":\"\"}", true);
}

static void numbers_compare_exactly(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"attempts\":9007199254740993}", true},
        {"{\"attempts\":9007199254740992}", false},
        {"{\"attempts\":9007199254740992.0}", false},
        {"{\"attempts\":{\"$gt\":9007199254740992.0}}", true},
        {"{\"attempts\":{\"$lt\":9007199254740994.0}}", true},
        {"{\"attempts\":{\"$lt\":9007199254740993.5}}", true},
        {"{\"attempts\":{\"$lt\":1e300}}", true},
        {"{\"attempts\":{\"$gt\":-1e300}}", true},
        {"{\"attempts\":{\"$lt\":9223372036854775808}}", true},
        {"{\"attempts\":\"9007199254740993\"}", false},
        {"{\"latestStatus.percentComplete\":12.5}", true},
        {"{\"latestStatus.percentComplete\":{\"$gte\":12}}", true},
        {"{\"latestStatus.percentComplete\":{\"$gt\":13}}", false},
        {"{\"latestStatus.percentComplete\":{\"$in\":[1,12.50]}}", true},
        {"{\"toTerminate\":true}", true},
        {"{\"toTerminate\":false}", false},
        {"{\"toTerminate\":1}", false},
        {"{\"toTerminate\":{\"$ne\":true}}", false},
        {"{\"toTerminate\":{\"$ne\":1}}", true},
        {"{\"toTerminate\":{\"$gt\":0}}", false},
    };
    CHECK(execution_entity, row, cases);
    row.attempts = INT64_MIN + 1;
    assert_match(&execution_entity, &row, "{\"attempts\":{\"$gt\":-9223372036854775808}}", true);
    assert_match(&execution_entity, &row, "{\"attempts\":{\"$lt\":-9223372036854775808.0}}", false);
    row.attempts = -3;
    assert_match(&execution_entity, &row, "{\"attempts\":{\"$lt\":-2.5}}", true);
    assert_match(&execution_entity, &row, "{\"attempts\":{\"$gt\":-3.5}}", true);
}

static void times_are_texts_or_numbers(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"createdAt\":\"2023-11-14T22:13:20Z\"}", true},
        {"{\"createdAt\":\"2023-11-14T22:13:20\"}", true},
        {"{\"createdAt\":\"2023-11-14T23:13:20+01:00\"}", true},
        {"{\"createdAt\":1700000000000}", true},
        {"{\"createdAt\":{\"$gte\":\"2023-11-14\"}}", true},
        {"{\"createdAt\":{\"$lt\":\"2023-11-14\"}}", false},
        {"{\"createdAt\":{\"$lt\":\"2023-11-15\"}}", true},
        {"{\"createdAt\":{\"$in\":[1,\"2023-11-14T22:13:20.000Z\"]}}", true},
        {"{\"latestStatus.timestamp\":{\"$gt\":1}}", true},
    };
    CHECK(execution_entity, row, cases);
}

static void json_is_reached_below(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"input.item.item_id\":\"i1\"}", true},
        {"{\"input.item.item_id\":\"i2\"}", false},
        {"{\"input.item.nothing\":{\"$exists\":false}}", true},
        {"{\"input.item.item_id.deeper\":{\"$exists\":false}}", true},
        {"{\"input.item\":{\"$exists\":true}}", true},
        {"{\"input.item\":{\"$eq\":\"i1\"}}", false},
        {"{\"input.item\":{\"$ne\":\"i1\"}}", true},
        {"{\"input.item\":{\"$eq\":null}}", false},
        {"{\"input.n\":5}", true},
        {"{\"input.n\":5.0}", true},
        {"{\"input.n\":\"5\"}", false},
        {"{\"input.one\":1}", false},
        {"{\"input.n\":{\"$gt\":4.5,\"$lt\":5.5}}", true},
        {"{\"input.big\":9007199254740993}", true},
        {"{\"input.big\":9007199254740992}", false},
        {"{\"input.huge\":{\"$gt\":1e299}}", true},
        {"{\"input.half\":0.5}", true},
        {"{\"input.yes\":true}", true},
        {"{\"input.yes\":1}", false},
        {"{\"input.yes\":{\"$ne\":false}}", true},
        {"{\"input.none\":{\"$exists\":true}}", false},
        {"{\"input.none\":{\"$eq\":null}}", true},
        {"{\"input.esc\":\"a\\n\\u00e9\"}", true},
        {"{\"input.esc\":{\"$match\":\"A\\n\"}}", true},
    };
    CHECK(execution_entity, row, cases);
}

static void arrays_hold_by_any_element(void **state)
{
    (void)state;
    struct execution row = an_execution();
    static const struct expectation cases[] = {
        {"{\"input.tags\":\"a\"}", true},
        {"{\"input.tags\":\"c\"}", false},
        {"{\"input.tags\":3}", true},
        {"{\"input.tags\":9}", false},
        {"{\"input.tags\":{\"$ne\":\"a\"}}", false},
        {"{\"input.tags\":{\"$ne\":\"c\"}}", true},
        {"{\"input.tags\":{\"$in\":[\"x\",\"b\"]}}", true},
        {"{\"input.tags\":{\"$nin\":[\"x\",\"b\"]}}", false},
        {"{\"input.tags\":{\"$gt\":2}}", true},
        {"{\"input.tags\":{\"$gt\":3}}", false},
        {"{\"input.tags\":{\"$eq\":null}}", true},
        {"{\"input.tags\":{\"$exists\":true}}", true},
        {"{\"input.tags\":{\"$match\":\"A\"}}", true},
        {"{\"input.empty\":{\"$exists\":true}}", true},
        {"{\"input.empty\":{\"$eq\":null}}", false},
        {"{\"input.empty\":{\"$ne\":\"x\"}}", true},
    };
    CHECK(execution_entity, row, cases);

    struct service service;
    entity_clear(&service_entity, &service);
    service.secrets = STR("[\"s1\",\"s2\"]");
    assert_match(&service_entity, &service, "{\"secrets\":\"s2\"}", true);
    assert_match(&service_entity, &service, "{\"secrets\":\"s3\"}", false);
}

static void paths_glob(void **state)
{
    (void)state;
    struct item row;
    entity_clear(&item_entity, &row);
    row.filename = STR("/codebases/p/1.zip");
    row.dir = STR("/codebases/p");
    row.name = STR("1.zip");
    row.type = STR("file");
    row.size = 10;
    row.mimetype = STR("application/zip");
    row.description = STR("a*c");
    row.metadata = STR("{\"user\":{\"name\":\"x*z\"}}");
    static const struct expectation cases[] = {
        {"{\"filename\":\"/codebases/p/*\"}", true},
        {"{\"filename\":\"/codebases/*\"}", false},
        {"{\"filename\":\"/codebases/**\"}", true},
        {"{\"filename\":{\"$eq\":\"*/1.zip\"}}", false},
        {"{\"filename\":{\"$eq\":\"**/1.zip\"}}", true},
        {"{\"filename\":{\"$ne\":\"/codebases/**\"}}", false},
        {"{\"filename\":{\"$in\":[\"/codebases/**\"]}}", false},
        {"{\"filename\":{\"$match\":\"/codebases/p/*\"}}", true},
        {"{\"filename\":{\"$match\":\"BASES/p\"}}", true},
        {"{\"dir\":\"/code*/*\"}", true},
        {"{\"name\":\"*.zip\"}", true},
        {"{\"name\":\"*.dpk\"}", false},
        {"{\"type\":\"f*\"}", false},
        // elsewhere a star is a star
        {"{\"description\":\"a*c\"}", true},
        {"{\"description\":\"a*\"}", false},
        {"{\"metadata.user.name\":\"x*z\"}", true},
        {"{\"metadata.user.name\":\"x*\"}", false},
        {"{\"metadata.user.name\":{\"$match\":\"x*\"}}", true},
        {"{\"metadata.system.size\":10}", true},
        {"{\"metadata.system.size\":{\"$gt\":10}}", false},
        {"{\"metadata.system.mimetype\":\"application/zip\"}", true},
        {"{\"hidden\":false}", true},
        {"{\"$and\":[{\"hidden\":false},{\"type\":\"file\"},{\"filename\":\"/codebases/p/*\"}]}",
         true},
    };
    CHECK(item_entity, row, cases);
}

static void refusals_say_what(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"[]", "filter", "must be an object, not an array"},
        {"{\"nope\":1}", "filter", "execution has no field \"nope\""},
        {"{\"fence\":1}", "filter", "no field \"fence\""},
        {"{\"duration\":1}", "filter", "no field \"duration\""},
        {"{\"status.x\":1}", "filter", "no field \"status.x\""},
        {"{\"\":1}", "filter", "not the name of a field"},
        {"{\"input..a\":1}", "filter", "not the name of a field"},
        {"{\"input.\":1}", "filter", "not the name of a field"},
        {"{\"$or\":[]}", "filter.$or", "must hold a condition"},
        {"{\"nope\":null}", "filter", "no field \"nope\""},
        {"{\"id\":[\"a\"]}", "filter.id", "a string, number, boolean or null, not an array"},
        {"{\"id\":{}}", "filter.id", "by an operator such as $eq"},
        {"{\"id\":{\"$regex\":\"a\"}}", "filter", "\"$regex\" is not an operator"},
        {"{\"id\":{\"eq\":\"a\"}}", "filter", "\"eq\" is not an operator"},
        {"{\"id\":{\"$eq\":{}}}", "filter.id", "not an object"},
        {"{\"id\":{\"$in\":\"a\"}}", "filter.id", "takes an array"},
        {"{\"id\":{\"$nin\":5}}", "filter.id", "takes an array"},
        {"{\"id\":{\"$in\":[[1]]}}", "filter.id", "not an array"},
        {"{\"id\":{\"$gt\":true}}", "filter.id", "only with numbers, strings and times"},
        {"{\"id\":{\"$lte\":null}}", "filter.id", "only with numbers"},
        {"{\"id\":{\"$exists\":1}}", "filter.id", "true or false"},
        {"{\"id\":{\"$match\":5}}", "filter.id", "a string with $match"},
        {"{\"createdAt\":\"yesterday\"}", "filter.createdAt", "a time such as"},
        {"{\"createdAt\":{\"$gt\":\"yesterday\"}}", "filter.createdAt", "a time such as"},
        {"{\"createdAt\":{\"$ne\":\"\"}}", "filter.createdAt", "a time such as"},
        {"{\"latestStatus.timestamp\":{\"$in\":[1,\"x\"]}}", "filter.latestStatus.timestamp",
         "a time such as"},
        {"{\"attempts\":1e999}", "filter.attempts", "within range"},
        {"{\"$nor\":[]}", "filter", "\"$nor\" can not stand here"},
        {"{\"$and\":{}}", "filter.$and", "must be an array"},
        {"{\"$or\":\"x\"}", "filter.$or", "must be an array"},
        {"{\"$and\":[5]}", "filter", "must be an object, not the number 5"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct filter *filter;
        int result = filter_parse(parse(cases[i].json), &execution_entity, &limits_default, *state,
                                  &filter, &err);
        assert_refused(result, &err, cases[i].field, cases[i].message);
    }
}

// The text of {"id":{"$in":["x",…]}} with so many values.
static struct str wide(size_t values, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    buf_add_cstr(&buf, "{\"id\":{\"$in\":[");
    for (size_t i = 0; i < values; i++)
        buf_add_cstr(&buf, i ? ",\"x\"" : "\"x\"");
    buf_add_cstr(&buf, "]}}");
    return arena_copy(arena, buf_str(&buf));
}

static struct str deep(size_t levels, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    for (size_t i = 1; i < levels; i++)
        buf_add_cstr(&buf, "{\"$and\":[");
    buf_add_cstr(&buf, "{\"id\":\"e1\"}");
    for (size_t i = 1; i < levels; i++)
        buf_add_cstr(&buf, "]}");
    return arena_copy(arena, buf_str(&buf));
}

static void size_is_limited(void **state)
{
    struct err err = ERR_INIT;
    struct filter *filter;
    struct json json = json_of(wide((size_t)limits_default.filter_terms, *state));
    assert_int_equal(filter_parse(json, &execution_entity, &limits_default, *state, &filter, &err),
                     0);
    json = json_of(wide((size_t)limits_default.filter_terms + 1, *state));
    assert_refused(filter_parse(json, &execution_entity, &limits_default, *state, &filter, &err),
                   &err, "filter", "more than 10000 terms and values (--max-filter-terms)");
    json = json_of(deep((size_t)limits_default.filter_depth, *state));
    assert_int_equal(filter_parse(json, &execution_entity, &limits_default, *state, &filter, &err),
                     0);
    json = json_of(deep((size_t)limits_default.filter_depth + 1, *state));
    assert_refused(filter_parse(json, &execution_entity, &limits_default, *state, &filter, &err),
                   &err, "filter", "more than 16 deep (--max-filter-depth)");

    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    buf_add_cstr(&buf, "{\"$or\":[{\"id\":\"a\"}");
    for (int i = 0; i < (int)limits_default.filter_terms; i++)
        buf_add_cstr(&buf, ",{\"id\":\"b\"}");
    buf_add_cstr(&buf, "]}");
    assert_refused(filter_parse(json_of(buf_str(&buf)), &execution_entity, &limits_default, *state,
                                &filter, &err),
                   &err, "filter", "more than 10000");
}

static void kept_filters_are_not_limited(void **state)
{
    struct err err = ERR_INIT;
    struct filter *filter;
    struct json many = json_of(wide(5, *state)), nested = json_of(deep(5, *state));
    struct limits low = limits_default;
    low.filter_terms = 4;
    low.filter_depth = 4;
    assert_refused(filter_parse(many, &execution_entity, &low, *state, &filter, &err), &err,
                   "filter", "more than 4 terms and values (--max-filter-terms)");
    assert_refused(filter_parse(nested, &execution_entity, &low, *state, &filter, &err), &err,
                   "filter", "more than 4 deep (--max-filter-depth)");
    many = json_of(wide(2000, *state));
    nested = json_of(deep(40, *state));
    assert_int_equal(filter_parse(many, &execution_entity, NULL, *state, &filter, &err), 0);
    assert_int_equal(filter_parse(nested, &execution_entity, NULL, *state, &filter, &err), 0);
}

static void pages_have_a_largest_size(void **state)
{
    struct err err = ERR_INIT;
    struct query q;
    struct limits low = limits_default;
    low.page_size = 20;
    struct json large = parse("{\"pageSize\":5000}");
    assert_refused(
        query_parse(parse("{\"pageSize\":21}"), &execution_entity, 100, &low, *state, &q, &err),
        &err, "pageSize", "from 0 to 20 (--max-page-size), not the number 21");
    assert_int_equal(query_parse(parse("{}"), &execution_entity, 100, &low, *state, &q, &err), 0);
    assert_int_equal(q.limit, 20);
    assert_int_equal(query_parse(large, &execution_entity, 100, NULL, *state, &q, &err), 0);
    assert_int_equal(q.limit, 5000);
}

static void our_own_conditions(void **state)
{
    struct arena *arena = *state;
    struct execution row = an_execution();
    struct dataset dataset;
    const struct str some[] = {STR("x"), STR("failed")};
    const struct entity *e = &execution_entity;
    entity_clear(&dataset_entity, &dataset);
    dataset.system = true;

    struct filter *id = filter_eq_text(e, "id", STR("e1"), arena);
    struct filter *other = filter_eq_text(e, "projectId", STR("p9"), arena);
    assert_true(filter_match(id, &row, arena));
    assert_false(filter_match(other, &row, arena));
    assert_true(filter_match(filter_eq_text(e, "project_id", STR("p1"), arena), &row, arena));
    assert_true(filter_match(filter_eq_text(e, "triggerId", STR_NONE, arena), &row, arena));
    assert_true(filter_match(filter_eq_int(e, "created_at", 1700000000000, arena), &row, arena));
    assert_true(filter_match(filter_eq_bool(e, "toTerminate", true, arena), &row, arena));
    assert_false(filter_match(filter_eq_bool(e, "toTerminate", false, arena), &row, arena));
    assert_true(
        filter_match(filter_compare(e, "createdAt", FILTER_LT, 1700000000001, arena), &row, arena));
    assert_false(
        filter_match(filter_compare(e, "createdAt", FILTER_GT, 1700000000000, arena), &row, arena));
    assert_true(filter_match(filter_in_text(e, "status", some, 2, arena), &row, arena));
    assert_false(filter_match(filter_in_text(e, "status", some, 1, arena), &row, arena));
    assert_false(filter_match(filter_in_text(e, "status", some, 0, arena), &row, arena));
    // Internal columns are ours to ask for.
    assert_true(
        filter_match(filter_eq_bool(&dataset_entity, "system", true, arena), &dataset, arena));

    assert_null(filter_and(NULL, NULL, arena));
    assert_ptr_equal(filter_and(id, NULL, arena), id);
    assert_ptr_equal(filter_and(NULL, id, arena), id);
    assert_false(filter_match(filter_and(id, other, arena), &row, arena));
    assert_true(filter_match(filter_and(id, filter_not(other, arena), arena), &row, arena));
    assert_false(filter_match(filter_not(NULL, arena), &row, arena));
}

// ── queries ──────────────────────────────────────────────────────────────────────────────────

static void queries_are_read(void **state)
{
    struct err err = ERR_INIT;
    struct query q;
    struct json body = parse(
        "{\"filter\":{\"$and\":[{\"id\":\"e1\"}]},\"sort\":{\"createdAt\":\"descending\","
        "\"input.a.b\":\"ascending\"},\"page\":3,\"pageSize\":50,\"resource\":\"x\"}");
    assert_int_equal(query_parse(body, &execution_entity, 100, &limits_default, *state, &q, &err),
                     0);
    assert_int_equal(q.limit, 50);
    assert_int_equal(q.offset, 150);
    assert_false(q.count_only);
    assert_int_equal(q.sort_count, 2);
    assert_string_equal(q.sort[0].field->name, "createdAt");
    assert_true(q.sort[0].descending);
    assert_string_equal(q.sort[1].field->name, "input");
    assert_text(q.sort[1].path, "a.b");
    assert_false(q.sort[1].descending);
    struct execution row = an_execution();
    assert_true(filter_match(q.filter, &row, *state));

    static const char *const anything[] = {
        "{\"filter\":{\"projectId\":null}}",
        "{\"filter\":{\"$or\":[]}}",
        "{\"filter\":{\"$and\":[{\"projectId\":null},{\"id\":\"e1\"}]}}",
    };
    for (size_t i = 0; i < sizeof(anything) / sizeof(*anything); i++) {
        assert_int_equal(query_parse(parse(anything[i]), &execution_entity, 100, &limits_default,
                                     *state, &q, &err),
                         0);
        assert_true(filter_match(q.filter, &row, *state));
    }

    assert_int_equal(
        query_parse(parse("{}"), &execution_entity, 100, &limits_default, *state, &q, &err), 0);
    assert_int_equal(q.limit, 100);
    assert_int_equal(q.offset, 0);
    assert_int_equal(q.sort_count, 0);
    assert_int_equal(
        query_parse((struct json){0}, &execution_entity, 100, &limits_default, *state, &q, &err),
        0);
    assert_int_equal(query_parse(parse("{\"filter\":null,\"sort\":null,\"page\":null,"
                                       "\"pageSize\":null}"),
                                 &execution_entity, 7, &limits_default, *state, &q, &err),
                     0);
    assert_int_equal(q.limit, 7);
    assert_int_equal(query_parse(parse("{\"pageSize\":0,\"page\":0,\"sort\":{\"id\":1}}"),
                                 &execution_entity, 7, &limits_default, *state, &q, &err),
                     0);
    assert_true(q.count_only);
    assert_int_equal(q.limit, 1);
    assert_false(q.sort[0].descending);
}

// What answers mask must not be found out by comparing or ordering.
static void secrets_cannot_be_named(void **state)
{
    static const char *const cases[] = {
        "{\"filter\":{\"codebase.credentials\":{\"$exists\":true}}}",
        "{\"filter\":{\"codebase.credentials.password\":{\"$match\":\"s*\"}}}",
        "{\"sort\":{\"codebase.credentials.password\":\"ascending\"}}",
    };
    struct query q;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        int rc = query_parse(parse(cases[i]), &package_entity, 100, &limits_default, *state, &q,
                             &err);
        assert_int_equal(rc, -1);
        assert_int_equal(err.kind, ERR_BAD_INPUT);
    }
    struct err err = ERR_INIT;
    assert_int_equal(query_parse(parse("{\"filter\":{\"codebase.credentialsNot\":1}}"),
                                 &package_entity, 100, &limits_default, *state, &q, &err),
                     0);
}

static void broken_queries_are_refused(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"[]", "", "must be an object"},
        {"{\"filter\":5}", "filter", "not the number 5"},
        {"{\"sort\":[]}", "sort", "must be an object, not an array"},
        {"{\"sort\":{\"nope\":\"ascending\"}}", "sort", "no field \"nope\""},
        {"{\"sort\":{\"id\":\"up\"}}", "sort", "ascending or descending, not the string \"up\""},
        {"{\"sort\":{\"id\":2}}", "sort", "ascending or descending"},
        {"{\"sort\":{\"id\":1,\"status\":1,\"serviceId\":1,\"createdAt\":1,\"updatedAt\":1}}",
         "sort", "at most 4"},
        {"{\"page\":-1}", "page", "from 0"},
        {"{\"page\":\"1\"}", "page", "not the string"},
        {"{\"page\":9223372036854775807}", "page", "from 0"},
        {"{\"pageSize\":1001}", "pageSize",
         "from 0 to 1000 (--max-page-size), not the number 1001"},
        {"{\"pageSize\":2.5}", "pageSize", "whole number"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct query q;
        int result = query_parse(parse(cases[i].json), &execution_entity, 100, &limits_default,
                                 *state, &q, &err);
        assert_refused(result, &err, cases[i].field, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_constrains_nothing),
        TEST(terms_are_joined),
        TEST(texts_compare_bytewise),
        TEST(secrets_cannot_be_named),
        TEST(absent_is_null),
        TEST(numbers_compare_exactly),
        TEST(times_are_texts_or_numbers),
        TEST(json_is_reached_below),
        TEST(arrays_hold_by_any_element),
        TEST(paths_glob),
        TEST(refusals_say_what),
        TEST(size_is_limited),
        TEST(kept_filters_are_not_limited),
        TEST(pages_have_a_largest_size),
        TEST(our_own_conditions),
        TEST(queries_are_read),
        TEST(broken_queries_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
