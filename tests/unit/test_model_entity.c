// SPDX-License-Identifier: Apache-2.0
#include "model_support.h"

#include "base/clock.h"
#include "model/execution.h"

union any_row {
    struct user user;
    struct project project;
    struct item item;
    struct package package;
    struct service service;
    struct execution execution;
};

static struct str encode(const struct entity *entity, const void *row, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    entity_encode(entity, row, &out);
    return arena_copy(arena, buf_str(&buf));
}

static struct json member(struct str object, const char *path)
{
    struct json value;
    if (!json_path(json_of(object), str_of(path), &value))
        fail_msg("no %s in " STR_FMT, path, STR_ARG(object));
    return value;
}

static void assert_member(struct str object, const char *path, const char *expected,
                          struct arena *arena)
{
    assert_json(member(object, path).text, expected, arena);
}

static void decode(const struct entity *entity, const char *text, enum decode_mode mode, void *row,
                   struct arena *arena)
{
    struct err err = ERR_INIT;
    if (entity_decode(entity, parse(text), mode, &limits_default, row, arena, &err) < 0)
        fail_msg("%s: %s", text, err.message);
}

// ── the tables themselves ────────────────────────────────────────────────────────────────────

static bool within(const struct entity *entity, const struct field *f)
{
    static const size_t sizes[] = {
        [FIELD_TEXT] = sizeof(struct str), [FIELD_INT] = sizeof(int64_t),
        [FIELD_DOUBLE] = sizeof(double),   [FIELD_BOOL] = sizeof(bool),
        [FIELD_TIME] = sizeof(int64_t),    [FIELD_JSON] = sizeof(struct str),
    };
    return f->offset + sizes[f->type] <= entity->size;
}

static void check_field(const struct entity *entity, size_t at)
{
    const struct field *f = &entity->fields[at];
    assert_true(within(entity, f));
    assert_int_equal(f->column == NULL, (f->flags & FIELD_UNSTORED) != 0);
    for (size_t i = 0; i < at; i++) {
        const struct field *g = &entity->fields[i];
        assert_string_not_equal(f->name, g->name);
        bool stored = !((f->flags | g->flags) & (FIELD_VIRTUAL | FIELD_UNSTORED));
        if (stored)
            assert_string_not_equal(f->column, g->column);
    }
    if (f->flags & FIELD_VIRTUAL) {
        const struct field *real = entity_column(entity, str_of(f->column));
        assert_non_null(real);
        assert_int_equal(real->offset, f->offset);
        assert_int_equal(real->type, f->type);
    }
    if (f->fallback)
        (void)parse(f->fallback);
}

static void tables_are_sound(void **state)
{
    (void)state;
    size_t entities = 0;
    for (const struct entity *const *at = entity_all; *at; at++, entities++) {
        const struct entity *entity = *at;
        assert_true(entity->count <= ENTITY_FIELDS_MAX);
        assert_string_equal(entity->fields[0].column, "id");
        assert_int_equal(entity->fields[0].type, FIELD_TEXT);
        for (size_t i = 0; i < entity->count; i++)
            check_field(entity, i);
        struct str rest = str_of(entity->unique);
        while (rest.len)
            assert_non_null(entity_column(entity, str_cut(&rest, ',')));
        for (const struct entity *const *other = entity_all; other != at; other++)
            assert_string_not_equal((*other)->table, entity->table);
    }
    assert_int_equal(entities, 20);
}

static struct str schema_of(const struct entity *entity, int mode, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    struct err err = ERR_INIT;
    struct json json;
    if (mode < 0)
        entity_schema(entity, &out);
    else
        entity_body_schema(entity, (enum decode_mode)mode, &limits_default, &out);
    if (json_parse(buf_str(&buf), 0, &json, &err) < 0)
        fail_msg("%s: %s", entity->name, err.message);
    return arena_copy(arena, buf_str(&buf));
}

// What is answered and what its schema lists are the same keys, for every entity.
static void answers_match_their_schema(void **state)
{
    for (const struct entity *const *at = entity_all; *at; at++) {
        union any_row row;
        struct json value, unused;
        struct str key;
        entity_clear(*at, &row);
        struct json answer = json_of(encode(*at, &row, *state));
        struct json properties = member(schema_of(*at, -1, *state), "properties");
        size_t omitted = 0;
        for (size_t i = 0; i < (*at)->count; i++)
            omitted += ((*at)->fields[i].flags & FIELD_OMIT) != 0;
        struct json_iter it = json_each(answer);
        while (json_next(&it, &key, &value)) {
            if (!json_get(properties, arena_cstr(*state, key), &unused))
                fail_msg("%s: no schema of " STR_FMT, (*at)->name, STR_ARG(key));
        }
        assert_int_equal(json_count(properties), json_count(answer) + omitted);
    }
}

static void body_schemas_follow_the_flags(void **state)
{
    struct str create = schema_of(&service_entity, DECODE_CREATE, *state);
    struct str patch = schema_of(&service_entity, DECODE_PATCH, *state);
    struct json unused;
    assert_member(create, "required", "[\"name\",\"packageId\"]", *state);
    assert_member(create, "properties.onReset.enum", "[\"failed\",\"rerun\"]", *state);
    assert_member(create, "properties.executionTimeout.minimum", "1", *state);
    assert_member(create, "properties.executionTimeout.default", "3600", *state);
    assert_false(json_path(json_of(create), STR("properties.creator"), &unused));
    assert_false(json_path(json_of(create), STR("properties.generation"), &unused));
    assert_false(json_path(json_of(patch), STR("properties.name"), &unused));
    assert_true(json_path(json_of(patch), STR("properties.runtime"), &unused));
    assert_false(json_path(json_of(patch), STR("required"), &unused));
}

// ── decoding ─────────────────────────────────────────────────────────────────────────────────

static void create_takes_fallbacks(void **state)
{
    struct service row;
    decode(&service_entity,
           "{\"name\":\"svc\",\"packageId\":\"p1\",\"type\":null,\"maxAttempts\":null,"
           "\"unknown\":{\"a\":1}}",
           DECODE_CREATE, &row, *state);
    assert_text(row.name, "svc");
    assert_text(row.type, "regular");
    assert_text(row.package_revision, "latest");
    assert_text(row.mode, "{\"type\":\"regular\"}");
    assert_true(row.active);
    assert_false(row.global);
    assert_int_equal(row.execution_timeout, 3600);
    assert_int_equal(row.drain_time, 600);
    assert_int_equal(row.max_attempts, 3);
    assert_int_equal(row.queue_length_limit, INT_NONE);
    assert_null(row.module_name.at);
}

static void ours_is_not_the_callers(void **state)
{
    struct service row;
    decode(&service_entity,
           "{\"id\":\"x\",\"name\":\"svc\",\"packageId\":\"p\",\"creator\":\"me\","
           "\"createdAt\":5,\"version\":\"9.9.9\",\"generation\":7,\"botUserName\":{}}",
           DECODE_CREATE, &row, *state);
    assert_null(row.id.at);
    assert_null(row.creator.at);
    assert_null(row.bot_user.at);
    assert_int_equal(row.created_at, INT_NONE);
    assert_int_equal(row.generation, 0);
    assert_text(row.version, "1.0.0");
}

static void patch_changes_what_is_there(void **state)
{
    struct service row;
    decode(&service_entity,
           "{\"name\":\"svc\",\"packageId\":\"p\",\"moduleName\":\"m\",\"drainTime\":5,"
           "\"global\":true,\"driverId\":\"d\"}",
           DECODE_CREATE, &row, *state);
    row.id = STR("s1");
    decode(&service_entity,
           "{\"name\":\"other\",\"id\":\"x\",\"moduleName\":null,\"drainTime\":null,"
           "\"maxAttempts\":9,\"global\":null}",
           DECODE_PATCH, &row, *state);
    assert_text(row.id, "s1");
    assert_text(row.name, "svc");
    assert_null(row.module_name.at);
    assert_int_equal(row.drain_time, 600);
    assert_int_equal(row.max_attempts, 9);
    assert_false(row.global);
    assert_text(row.driver_id, "d");
}

static void keys_and_texts_are_unescaped(void **state)
{
    struct project row;
    decode(&project_entity, "{\"n\\u0061me\":\"a\\n\\u00e9\\\"\"}", DECODE_CREATE, &row, *state);
    assert_text(row.name, "a\n\xC3\xA9\"");
    decode(&project_entity, "{\"name\":\"first\",\"name\":\"last\"}", DECODE_CREATE, &row, *state);
    assert_text(row.name, "last");
}

static void json_passes_byte_for_byte(void **state)
{
    struct execution row;
    static const char input[] =
        "{ \"a\" : 0.10, \"b\":1180591620717411303424,\n \"c\":\"\\u00e9\"}";
    char body[200];
    snprintf(body, sizeof(body), "{\"input\": %s }", input);
    decode(&execution_entity, body, DECODE_CREATE, &row, *state);
    assert_text(row.input, input);
    struct str answer = encode(&execution_entity, &row, *state);
    assert_text(member(answer, "input").text, input);
}

static void refusals_name_the_field(void **state)
{
    static const struct {
        const struct entity *entity;
        const char *json, *field, *message;
    } cases[] = {
        {&project_entity, "[]", "", "must be an object, not an array"},
        {&project_entity, "{}", "name", "name is required"},
        {&project_entity, "{\"name\":null}", "name", "name must not be null"},
        {&project_entity, "{\"name\":5}", "name", "a string, not the number 5"},
        {&project_entity, "{\"name\":\"\"}", "name", "must not be empty"},
        {&member_entity, "{\"role\":\"boss\"}", "role",
         "owner, developer, viewer, not the string \"boss\""},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"maxAttempts\":0}", "maxAttempts",
         "from 1 to 1000, not the number 0"},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"drainTime\":1.5}", "drainTime",
         "a whole number, not the number 1.5"},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"drainTime\":1e30}", "drainTime",
         "a whole number"},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"active\":1}", "active",
         "true or false, not the number 1"},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"initParams\":[1]}", "initParams",
         "an object, not an array"},
        {&service_entity, "{\"name\":\"a\",\"packageId\":\"p\",\"secrets\":{}}", "secrets",
         "an array, not an object"},
        {&api_key_entity, "{\"expiresAt\":\"soon\"}", "expiresAt", "a time (ISO 8601"},
        {&api_key_entity, "{\"expiresAt\":true}", "expiresAt", "not a boolean"},
        {&execution_status_entity, "{\"percentComplete\":101}", "percentComplete", "from 0 to 100"},
        {&execution_status_entity, "{\"percentComplete\":\"5\"}", "percentComplete", "a number"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        union any_row row;
        struct err err = ERR_INIT;
        int result = entity_decode(cases[i].entity, parse(cases[i].json), DECODE_CREATE,
                                   &limits_default, &row, *state, &err);
        assert_refused(result, &err, cases[i].field, cases[i].message);
    }
}

static void lengths_are_limited(void **state)
{
    struct err err = ERR_INIT;
    union any_row row;
    _cleanup_buf_ struct buf buf = BUF_INIT(4 << 20);
    buf_add_cstr(&buf, "{\"name\":\"");
    for (int i = 0; i < 257; i++)
        buf_add_char(&buf, 'a');
    buf_add_cstr(&buf, "\"}");
    assert_refused(entity_decode(&project_entity, json_of(buf_str(&buf)), DECODE_CREATE,
                                 &limits_default, &row, *state, &err),
                   &err, "name", "name has 257 bytes; --max-name allows 256");
    buf_clear(&buf);
    buf_add_cstr(&buf, "{\"metadata\":{\"a\":\"");
    for (int i = 0; i < 1024 * 1024; i++)
        buf_add_char(&buf, 'a');
    buf_add_cstr(&buf, "\"}}");
    assert_refused(entity_decode(&item_entity, json_of(buf_str(&buf)), DECODE_PATCH,
                                 &limits_default, &row, *state, &err),
                   &err, "metadata", "--max-field allows 1048576");
}

static void limits_are_the_callers_to_set(void **state)
{
    struct limits low = limits_default;
    struct err err = ERR_INIT;
    struct item item;
    struct user user;
    low.name = 16;
    low.field = 30;
    struct json named = parse("{\"email\":\"a@b\",\"firstName\":\"seventeen letters\"}");
    assert_refused(entity_decode(&user_entity, named, DECODE_CREATE, &low, &user, *state, &err),
                   &err, "firstName", "firstName has 17 bytes; --max-name allows 16");
    assert_int_equal(entity_decode(&user_entity, named, DECODE_CREATE, NULL, &user, *state, &err),
                     0);
    struct json described = parse(
        "{\"filename\":\"/a\",\"description\":\"one and thirty bytes, no fewer.\"}");
    assert_refused(entity_decode(&item_entity, described, DECODE_CREATE, &low, &item, *state, &err),
                   &err, "description", "--max-field allows 30");
    assert_int_equal(
        entity_decode(&item_entity, described, DECODE_CREATE, NULL, &item, *state, &err), 0);
    struct json large = parse(
        "{\"filename\":\"/a\",\"metadata\":{\"a\":\"0123456789abcdefghijklmnop\"}}");
    assert_refused(entity_decode(&item_entity, large, DECODE_CREATE, &low, &item, *state, &err),
                   &err, "metadata", "metadata has 34 bytes; --max-field allows 30");
    assert_int_equal(entity_decode(&item_entity, large, DECODE_CREATE, NULL, &item, *state, &err),
                     0);
}

// A format stays what it is, whatever was accepted before.
static void formats_have_their_own_length(void **state)
{
    struct err err = ERR_INIT;
    struct item item;
    _cleanup_buf_ struct buf buf = BUF_INIT(8192);
    buf_add_cstr(&buf, "{\"filename\":\"");
    for (int i = 0; i < 4097; i++)
        buf_add_char(&buf, 'a');
    buf_add_cstr(&buf, "\"}");
    assert_refused(entity_decode(&item_entity, json_of(buf_str(&buf)), DECODE_CREATE, NULL, &item,
                                 *state, &err),
                   &err, "filename", "4097 bytes; at most 4096");
}

static void schemas_say_the_limits(void **state)
{
    struct str create = schema_of(&project_entity, DECODE_CREATE, *state);
    struct str answer = schema_of(&project_entity, -1, *state);
    struct json unused;
    assert_member(create, "properties.name.maxLength", "256", *state);
    assert_member(schema_of(&item_entity, DECODE_PATCH, *state), "properties.description.maxLength",
                  "1048576", *state);
    // What is answered may have been accepted under other limits.
    assert_false(json_path(json_of(answer), STR("properties.name.maxLength"), &unused));
}

static void shown_values_are_cut_between_characters(void **state)
{
    struct err err = ERR_INIT;
    struct member row;
    struct json json = parse("{\"role\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                             "\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\"}");
    assert_int_equal(
        entity_decode(&member_entity, json, DECODE_CREATE, &limits_default, &row, *state, &err),
        -1);
    assert_true(str_utf8_valid(str_of(err.message)));
    assert_non_null(strstr(err.message, "…"));
}

// ── whole rows ───────────────────────────────────────────────────────────────────────────────

// Gives every stored field a value of its own.
static void fill(const struct entity *entity, void *row, struct arena *arena)
{
    entity_clear(entity, row);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (f->flags & (FIELD_VIRTUAL | FIELD_UNSTORED))
            continue;
        switch (f->type) {
        case FIELD_TEXT: *field_text(f, row) = arena_printf(arena, "te\"xt %zu", i); break;
        case FIELD_JSON: *field_text(f, row) = arena_printf(arena, "{\"n\":%zu.50}", i); break;
        case FIELD_INT: *field_int(f, row) = INT64_MAX - (int64_t)i; break;
        case FIELD_TIME: *field_int(f, row) = 1700000000123 + (int64_t)i; break;
        case FIELD_DOUBLE: *field_double(f, row) = 0.1 + (double)i; break;
        case FIELD_BOOL: *field_bool(f, row) = true; break;
        }
    }
}

static void assert_same_rows(const struct entity *entity, void *a, void *b)
{
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        assert_int_equal(field_absent(f, a), field_absent(f, b));
        switch (f->type) {
        case FIELD_TEXT:
        case FIELD_JSON: assert_true(str_eq(*field_text(f, a), *field_text(f, b))); break;
        case FIELD_INT:
        case FIELD_TIME: assert_true(*field_int(f, a) == *field_int(f, b)); break;
        case FIELD_DOUBLE:
            assert_true(field_absent(f, a) || *field_double(f, a) == *field_double(f, b));
            break;
        case FIELD_BOOL: assert_int_equal(*field_bool(f, a), *field_bool(f, b)); break;
        }
    }
}

static void dumps_load_again(void **state)
{
    for (const struct entity *const *at = entity_all; *at; at++) {
        union any_row row, back;
        struct err err = ERR_INIT;
        fill(*at, &row, *state);
        struct json dump = parse(arena_cstr(*state, entity_dump(*at, &row, *state)));
        assert_int_equal(entity_load(*at, dump, &back, *state, &err), 0);
        assert_same_rows(*at, &row, &back);

        entity_clear(*at, &row);
        dump = parse(arena_cstr(*state, entity_dump(*at, &row, *state)));
        assert_int_equal(entity_load(*at, dump, &back, *state, &err), 0);
        assert_same_rows(*at, &row, &back);
    }
}

static void broken_dumps_are_refused(void **state)
{
    struct service row;
    struct err err = ERR_INIT;
    assert_refused(entity_load(&service_entity, parse("5"), &row, *state, &err), &err, "",
                   "must be an object");
    assert_refused(entity_load(&service_entity, parse("{\"drainTime\":\"x\"}"), &row, *state, &err),
                   &err, "drainTime", "is a string");
    assert_refused(entity_load(&service_entity, parse("{\"name\":5}"), &row, *state, &err), &err,
                   "name", "is a number");
}

static void copies_own_their_texts(void **state)
{
    char name[] = "before";
    struct project row, copy;
    entity_clear(&project_entity, &row);
    row.name = (struct str){name, 6};
    row.role = STR("owner");
    row.created_at = 5;
    entity_copy(&project_entity, &row, &copy, *state);
    memcpy(name, "after!", 6);
    assert_text(copy.name, "before");
    assert_text(copy.role, "owner");
    assert_null(copy.creator.at);
    assert_int_equal(copy.created_at, 5);
}

// ── answers ──────────────────────────────────────────────────────────────────────────────────

static void a_project_has_its_org(void **state)
{
    struct project row;
    entity_clear(&project_entity, &row);
    row.id = STR("p1");
    row.org_id = STR("o1");
    row.org_name = STR("Org");
    row.role = STR("owner");
    row.created_at = 1700000000123;
    struct str answer = encode(&project_entity, &row, *state);
    assert_member(answer, "org", "{\"id\":\"o1\",\"name\":\"Org\"}", *state);
    assert_member(answer, "role", "\"owner\"", *state);
    assert_member(answer, "contributors", "[]", *state);
    assert_member(answer, "createdAt", "\"2023-11-14T22:13:20.123Z\"", *state);
    assert_member(answer, "url", "\"/api/v1/projects/p1\"", *state);
    row.contributors = STR("[\"a@b.c\"]");
    assert_member(encode(&project_entity, &row, *state), "contributors", "[\"a@b.c\"]", *state);
}

static void an_answer_keeps_secrets(void **state)
{
    struct json unused;
    struct user user;
    struct api_key key;
    fill(&user_entity, &user, *state);
    fill(&api_key_entity, &key, *state);
    struct json answer = json_of(encode(&user_entity, &user, *state));
    assert_false(json_get(answer, "passwordHash", &unused));
    assert_false(json_get(answer, "tokenEpoch", &unused));
    assert_false(json_get(json_of(encode(&api_key_entity, &key, *state)), "hash", &unused));
}

static void an_item_has_system_metadata(void **state)
{
    struct item row;
    decode(&item_entity,
           "{\"filename\":\"/a/b.zip\",\"metadata\":{\"git\":{\"x\":1},\"system\":{\"size\":5,"
           "\"md5\":\"m\"}}}",
           DECODE_CREATE, &row, *state);
    row.id = STR("i1");
    row.dataset_id = STR("d1");
    row.size = 1234;
    row.mimetype = STR("application/zip");
    struct str answer = encode(&item_entity, &row, *state);
    assert_member(answer, "metadata",
                  "{\"system\":{\"md5\":\"m\",\"size\":1234,\"mimetype\":\"application/zip\"},"
                  "\"user\":{},\"git\":{\"x\":1}}",
                  *state);
    assert_member(answer, "stream", "\"/api/v1/items/i1/stream\"", *state);
    assert_member(answer, "annotated", "false", *state);
    assert_member(answer, "annotationsCount", "0", *state);
    assert_member(answer, "dataset", "\"/api/v1/datasets/d1\"", *state);

    entity_clear(&item_entity, &row);
    answer = encode(&item_entity, &row, *state);
    assert_member(answer, "metadata", "{\"system\":{},\"user\":{}}", *state);
}

static void a_dataset_names_its_project(void **state)
{
    struct dataset row;
    entity_clear(&dataset_entity, &row);
    row.id = STR("d1");
    row.project_id = STR("p1");
    row.items_count = 4;
    struct str answer = encode(&dataset_entity, &row, *state);
    assert_member(answer, "projects", "[\"p1\"]", *state);
    assert_member(answer, "itemsCount", "4", *state);
    assert_member(answer, "items", "\"/api/v1/datasets/d1/items\"", *state);
}

static struct execution finished_execution(void)
{
    struct execution row;
    entity_clear(&execution_entity, &row);
    row.id = STR("e1");
    row.status = STR("failed");
    row.status_message = STR("no \"luck\"");
    row.error = STR("{\"message\":\"x\"}");
    row.output = STR("7");
    row.percent = 40;
    row.replica_id = STR("r1");
    row.created_at = 1000;
    row.started_at = 2000;
    row.ended_at = 2500;
    row.updated_at = 3000;
    return row;
}

static struct str encode_execution(const struct execution *row, const struct execution_status *log,
                                   size_t count, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    execution_encode(row, log, count, &out);
    return arena_copy(arena, buf_str(&buf));
}

static void an_execution_has_its_log(void **state)
{
    static const char latest[] =
        "{\"status\":\"failed\",\"timestamp\":\"1970-01-01T00:00:03.000Z\",\"message\":\"no "
        "\\\"luck\\\"\",\"percentComplete\":40,\"error\":{\"message\":\"x\"},\"output\":7}";
    static const char log_json[] =
        "[{\"status\":\"created\",\"timestamp\":\"1970-01-01T00:00:01.000Z\",\"message\":\"\","
        "\"percentComplete\":0,\"error\":null},"
        "{\"status\":\"in-progress\",\"timestamp\":\"1970-01-01T00:00:02.000Z\",\"message\":\"go\","
        "\"percentComplete\":20,\"error\":null,\"output\":null,\"action\":\"step\","
        "\"replicaId\":\"r0\"},"
        "{\"status\":\"failed\",\"timestamp\":\"1970-01-01T00:00:03.000Z\",\"message\":\"no "
        "\\\"luck\\\"\",\"percentComplete\":40,\"error\":{\"message\":\"x\"},"
        "\"replicaId\":\"r1\"}]";
    struct execution row = finished_execution();
    struct execution_status log;
    entity_clear(&execution_status_entity, &log);
    log.status = STR("in-progress");
    log.message = STR("go");
    log.action = STR("step");
    log.replica_id = STR("r0");
    log.percent = 20;
    log.timestamp = 2000;
    struct str answer = encode_execution(&row, &log, 1, *state);
    assert_member(answer, "latestStatus", latest, *state);
    assert_member(answer, "statusLog", log_json, *state);
    assert_member(answer, "status", log_json, *state);
    assert_member(answer, "duration", "500", *state);
    assert_member(answer, "output", "7", *state);
}

static void a_log_says_nothing_twice(void **state)
{
    struct execution row = finished_execution();
    struct execution_status log;
    row.status = STR("created");
    assert_int_equal(json_count(member(encode_execution(&row, NULL, 0, *state), "status")), 1);
    row.status = STR("in-progress");
    assert_int_equal(json_count(member(encode_execution(&row, NULL, 0, *state), "status")), 2);
    entity_clear(&execution_status_entity, &log);
    log.status = STR("in-progress");
    log.timestamp = row.started_at;
    assert_int_equal(json_count(member(encode_execution(&row, &log, 1, *state), "statusLog")), 2);
    row.status = STR("success");
    assert_int_equal(json_count(member(encode_execution(&row, &log, 1, *state), "statusLog")), 3);
    // entity_encode is the same with no log.
    assert_true(
        str_eq(encode(&execution_entity, &row, *state), encode_execution(&row, NULL, 0, *state)));
}

static void optional_keys_are_left_out(void **state)
{
    struct execution row = finished_execution();
    struct json unused;
    struct json answer = json_of(encode(&execution_entity, &row, *state));
    assert_false(json_get(answer, "batch", &unused));
    assert_false(json_get(answer, "fence", &unused));
    assert_true(json_get(answer, "triggerId", &unused));
    row.batch = STR("{\"n\":1}");
    assert_member(encode(&execution_entity, &row, *state), "batch.n", "1", *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tables_are_sound),
        TEST(answers_match_their_schema),
        TEST(body_schemas_follow_the_flags),
        TEST(create_takes_fallbacks),
        TEST(ours_is_not_the_callers),
        TEST(patch_changes_what_is_there),
        TEST(keys_and_texts_are_unescaped),
        TEST(json_passes_byte_for_byte),
        TEST(refusals_name_the_field),
        TEST(lengths_are_limited),
        TEST(limits_are_the_callers_to_set),
        TEST(formats_have_their_own_length),
        TEST(schemas_say_the_limits),
        TEST(shown_values_are_cut_between_characters),
        TEST(dumps_load_again),
        TEST(broken_dumps_are_refused),
        TEST(copies_own_their_texts),
        TEST(a_project_has_its_org),
        TEST(an_answer_keeps_secrets),
        TEST(an_item_has_system_metadata),
        TEST(a_dataset_names_its_project),
        TEST(an_execution_has_its_log),
        TEST(a_log_says_nothing_twice),
        TEST(optional_keys_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
