// SPDX-License-Identifier: Apache-2.0
// Random filters over random rows: what a store selects is what filter_match says, row by row, and
// all stores sort alike. Set DROVER_SEED to repeat a run, DROVER_ROUNDS for a longer one.
#include <time.h>

#include "store_fixture.h"

#define ROWS 250

struct random {
    uint64_t state;
};

static uint64_t next(struct random *r)  // xorshift64*
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1du;
}

static size_t below(struct random *r, size_t n) { return (size_t)(next(r) >> 16) % n; }
#define PICK(r, pool) ((pool)[below((r), sizeof(pool) / sizeof(*(pool)))])

// ── pools: JSON texts, so that values, filters and documents share them ──────────────────────

static const char *const numbers[] = {
    "0",
    "-0.0",
    "1",
    "5",
    "5.0",
    "0.1",
    "-7",
    "3.5",
    "1e3",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775807",
    "9223372036854775806",
    "9223372036854775808",
    "9007199254740993",
    "9007199254740992.0",
    "9007199254740992.5",
    "1.7976931348623157e308",
    "5e-324",
    "1700000000000",
    "1700000000000.5",
    "1180591620717411303424",
};
static const char *const texts[] = {
    "\"\"",
    "\"a\"",
    "\"A\"",
    "\"abc\"",
    "\"xABCx\"",
    "\"b\"",
    "\"5\"",
    "\"true\"",
    "\"null\"",
    "\"\\u00e9\"",
    "\"\xc3\xa9\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\\ud83d\\ude00\"",
    "\"\xef\xbf\xbf\"",
    "\"/a/b.jpg\"",
    "\"/a/c/b.jpg\"",
    "\"/a\"",
    "\"/a/*\"",
    "\"/a/**\"",
    "\"**\"",
    "\"*b*\"",
    "\"a*\"",
    "\"a\\\"b\"",
    "\"a'b\"",
    "\"a%_b\"",
    "\"2023-11-14T22:13:20.000Z\"",
    "\"2023-11-14\"",
    "\"1700000000000\"",
};
static const char *const keys[] = {"k", "\\u006b", "n", "a b", "q\\\"q", "x'y", "$", "k", "[0]"};

static void add_scalar(struct random *r, struct buf *out)
{
    switch (below(r, 8)) {
    case 0: buf_add_cstr(out, "null"); break;
    case 1: buf_add_cstr(out, "true"); break;
    case 2: buf_add_cstr(out, "false"); break;
    case 3:
    case 4: buf_add_cstr(out, PICK(r, numbers)); break;
    default: buf_add_cstr(out, PICK(r, texts)); break;
    }
}

static void add_document(struct random *r, struct buf *out, int depth)
{
    size_t kind = below(r, depth > 0 ? 6 : 3);
    if (kind < 3) {
        add_scalar(r, out);
        return;
    }
    bool object = kind < 5;
    buf_add_char(out, object ? '{' : '[');
    for (size_t i = 0, n = below(r, 5); i < n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        if (object)
            buf_printf(out, "\"%s\":", PICK(r, keys));
        add_document(r, out, depth - 1);
    }
    buf_add_char(out, object ? '}' : ']');
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────

static struct str text_of(struct buf *buf, struct arena *arena)
{
    struct str copy = arena_copy(arena, buf_str(buf));
    buf_clear(buf);
    return copy;
}

static int64_t random_int(struct random *r)
{
    static const int64_t pool[] = {0,
                                   1,
                                   5,
                                   -7,
                                   1000,
                                   INT64_MAX,
                                   INT64_MAX - 1,
                                   INT64_MIN + 1,
                                   9007199254740993,
                                   9007199254740992,
                                   1700000000000,
                                   1699920000000,
                                   INT_NONE};
    return PICK(r, pool);
}

static double random_double(struct random *r)
{
    static const double pool[] = {0,
                                  -0.0,
                                  1,
                                  5,
                                  0.1,
                                  3.5,
                                  9007199254740992.0,
                                  9223372036854775808.0,
                                  -9223372036854775808.0,
                                  1.7976931348623157e308,
                                  5e-324,
                                  NAN};
    return PICK(r, pool);
}

static struct str random_text(struct random *r, struct arena *arena)
{
    struct json json;
    if (below(r, 5) == 0)
        return STR_NONE;
    assert_int_equal(json_parse(str_of(PICK(r, texts)), 0, &json, NULL), 0);
    return json_str(json, arena);
}

static void fill_row(struct random *r, const struct entity *entity, void *row, int number,
                     struct arena *arena)
{
    struct buf buf = BUF_INIT(1024 * 1024);
    entity_clear(entity, row);
    *field_text(&entity->fields[0], row) = arena_printf(arena, "r%03d", number);
    for (size_t i = 1; i < entity->count; i++) {
        const struct field *field = &entity->fields[i];
        if (field->flags & (FIELD_UNSTORED | FIELD_VIRTUAL))
            continue;
        switch (field->type) {
        case FIELD_TEXT: *field_text(field, row) = random_text(r, arena); break;
        case FIELD_INT:
        case FIELD_TIME: *field_int(field, row) = random_int(r); break;
        case FIELD_DOUBLE: *field_double(field, row) = random_double(r); break;
        case FIELD_BOOL: *field_bool(field, row) = below(r, 2); break;
        case FIELD_JSON:
            if (below(r, 5) == 0)
                break;
            add_document(r, &buf, 3);
            *field_text(field, row) = text_of(&buf, arena);
            break;
        }
    }
    buf_deinit(&buf);
}

// ── filters ──────────────────────────────────────────────────────────────────────────────────

static bool filterable(const struct field *field)
{
    return !(field->flags & (FIELD_INTERNAL | FIELD_UNSTORED));
}

static void add_name(struct random *r, const struct entity *entity, struct buf *out)
{
    const struct field *field;
    do {
        field = &entity->fields[below(r, entity->count)];
    } while (!filterable(field));
    buf_printf(out, "\"%s", field->name);
    if (field->type == FIELD_JSON)
        for (size_t i = below(r, 4); i > 0; i--)
            buf_printf(out, ".%s", PICK(r, keys));
    buf_add_char(out, '"');
}

static void add_operator(struct random *r, struct buf *out)
{
    static const char *const orders[] = {"$gt", "$gte", "$lt", "$lte"};
    size_t kind = below(r, 10);
    if (kind < 2) {
        buf_printf(out, "{\"%s\":", kind ? "$eq" : "$ne");
        add_scalar(r, out);
    } else if (kind < 4) {
        buf_printf(out, "{\"%s\":[", kind == 2 ? "$in" : "$nin");
        for (size_t i = 0, n = below(r, 5); i < n; i++) {
            buf_add_cstr(out, i ? "," : "");
            add_scalar(r, out);
        }
        buf_add_char(out, ']');
    } else if (kind < 8) {
        const char *order = PICK(r, orders);
        buf_printf(out, "{\"%s\":%s", order, below(r, 2) ? PICK(r, numbers) : PICK(r, texts));
    } else if (kind == 8) {
        buf_printf(out, "{\"$exists\":%s", below(r, 2) ? "true" : "false");
    } else {
        buf_printf(out, "{\"$match\":%s", PICK(r, texts));
    }
    buf_add_char(out, '}');
}

static void add_filter(struct random *r, const struct entity *entity, struct buf *out, int depth)
{
    size_t kind = below(r, depth > 0 ? 8 : 5);
    buf_add_char(out, '{');
    if (kind < 5) {
        add_name(r, entity, out);
        buf_add_char(out, ':');
        if (kind == 0)
            add_scalar(r, out);
        else
            add_operator(r, out);
    } else {
        buf_add_cstr(out, kind == 5 ? "\"$and\":[" : "\"$or\":[");
        for (size_t i = 0, n = below(r, 4); i < n; i++) {
            buf_add_cstr(out, i ? "," : "");
            add_filter(r, entity, out, depth - 1);
        }
        buf_add_char(out, ']');
    }
    buf_add_char(out, '}');
}

static void add_query(struct random *r, const struct entity *entity, struct buf *out)
{
    buf_add_cstr(out, "{\"pageSize\":1000,\"filter\":");
    add_filter(r, entity, out, 4);
    buf_add_cstr(out, ",\"sort\":{");
    for (size_t i = 0, n = below(r, 3); i < n; i++) {
        buf_add_cstr(out, i ? "," : "");
        add_name(r, entity, out);
        buf_printf(out, ":\"%s\"", below(r, 2) ? "ascending" : "descending");
    }
    buf_add_cstr(out, "}}");
}

// ── comparing ────────────────────────────────────────────────────────────────────────────────

struct insert {
    const struct entity *entity;
    const char *rows;
};

static int insert_rows(struct tx *tx, void *arg, struct err *err)
{
    const struct insert *insert = arg;
    for (size_t i = 0; i < ROWS; i++)
        if (tx_insert(tx, insert->entity, insert->rows + i * insert->entity->size, err) < 0)
            return -1;
    return 0;
}

struct selection {
    const struct entity *entity;
    const struct query *query;
    struct arena *arena;
    struct str ids;  // in order of the answer
    int64_t count;   // as counted, not listed
};

static int select_ids(struct tx *tx, void *arg, struct err *err)
{
    struct selection *selection = arg;
    const struct entity *entity = selection->entity;
    void *rows;
    size_t count;
    if (tx_select(tx, entity, selection->query, selection->arena, &rows, &count, err) < 0 ||
        tx_count(tx, entity, selection->query->filter, &selection->count, err) < 0)
        return -1;
    char *ids = arena_alloc(selection->arena, count * 4 + 1);
    for (size_t i = 0; i < count; i++) {
        char *row = (char *)rows + i * entity->size;
        memcpy(ids + i * 4, field_text(&entity->fields[0], row)->at, 4);
    }
    selection->ids = (struct str){ids, count * 4};
    return 0;
}

static struct selection select_from(struct store *store, const struct entity *entity,
                                    const struct query *query, struct arena *arena,
                                    const char *text)
{
    struct err err = ERR_INIT;
    struct selection selection = {.entity = entity, .query = query, .arena = arena};
    if (store_read_now(store, select_ids, &selection, &err) < 0)
        fail_msg("%s: %s", err.message, text);
    assert_int_equal((size_t)selection.count * 4, selection.ids.len);
    return selection;
}

static bool has_id(struct str ids, struct str id)
{
    for (size_t i = 0; i < ids.len; i += 4)
        if (memcmp(ids.at + i, id.at, 4) == 0)
            return true;
    return false;
}

// Whether the filter told some rows from others.
static bool check_query(struct store *stores[2], const struct entity *entity, char *rows,
                        const char *text, struct arena *arena)
{
    struct json json;
    struct query query;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(str_of(text), 0, &json, &err), 0);
    if (query_parse(json, entity, 1000, &limits_default, arena, &query, &err) < 0)
        return false;  // numbers out of range and the like
    struct selection sqlite = select_from(stores[0], entity, &query, arena, text);
    struct selection memory = select_from(stores[1], entity, &query, arena, text);
    if (!str_eq(sqlite.ids, memory.ids))
        fail_msg("sqlite and memory differ: %s\n" STR_FMT "\n" STR_FMT, text, STR_ARG(sqlite.ids),
                 STR_ARG(memory.ids));
    for (size_t i = 0; i < ROWS; i++) {
        void *row = rows + i * entity->size;
        struct str id = *field_text(&entity->fields[0], row);
        if (filter_match(query.filter, row, arena) != has_id(sqlite.ids, id))
            fail_msg("row " STR_FMT " differs: %s", STR_ARG(id), text);
    }
    return sqlite.count > 0 && sqlite.count < ROWS;
}

static void compare(struct random *r, const struct entity *entity, long rounds)
{
    struct fixture *fixtures[2] = {fixture_new("sqlite"), fixture_new("memory")};
    struct store *stores[2] = {fixtures[0]->store, fixtures[1]->store};
    struct arena *arena = fixtures[0]->arena, *scratch = arena_new();
    struct err err = ERR_INIT;
    struct buf text = BUF_INIT(1024 * 1024);
    char *rows = arena_alloc(arena, ROWS * entity->size);
    for (int i = 0; i < ROWS; i++)
        fill_row(r, entity, rows + (size_t)i * entity->size, i, arena);
    if (entity->unique)  // so that nothing collides, as absent values never do
        for (size_t i = 0; i < ROWS; i++)
            *field_text(entity_column(entity, STR("dataset_id")),
                        rows + i * entity->size) = STR_NONE;
    for (int i = 0; i < 2; i++)
        if (store_write_now(stores[i], insert_rows, &(struct insert){entity, rows}, &err) < 0)
            fail_msg("%s", err.message);
    long telling = 0;
    for (long i = 0; i < rounds; i++) {
        buf_clear(&text);
        add_query(r, entity, &text);
        buf_add_char(&text, '\0');
        telling += check_query(stores, entity, rows, text.at, scratch);
        arena_reset(scratch);
    }
    print_message("%ld of %ld filters told rows apart\n", telling, rounds);
    assert_true(telling > rounds / 4);
    buf_deinit(&text);
    arena_free(scratch);
    fixture_free(fixtures[0]);
    fixture_free(fixtures[1]);
}

static struct random seeded(void)
{
    const char *given = getenv("DROVER_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    print_message("DROVER_SEED=%llu\n", (unsigned long long)seed);
    return (struct random){seed ? seed : 1};
}

static long rounds(void)
{
    const char *given = getenv("DROVER_ROUNDS");
    return given ? strtol(given, NULL, 10) : 2000;
}

static void test_items(void **state)
{
    (void)state;
    struct random r = seeded();
    compare(&r, &item_entity, rounds());
}

static void test_executions(void **state)
{
    (void)state;
    struct random r = seeded();
    compare(&r, &execution_entity, rounds());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_items),
                                       cmocka_unit_test(test_executions)};
    return cmocka_run_group_tests_name("filters", tests, NULL, NULL);
}
