// SPDX-License-Identifier: Apache-2.0
// Bodies into entities and back: first byte the entity, second the mode, then the JSON. What was
// taken is kept, answered and read again the same; a patch that says what is there changes nothing.
#include "fuzz.h"
#include "model/entities.h"

#define ROW_MAX 2048

static size_t entity_total(void)
{
    size_t count = 0;
    while (entity_all[count])
        count++;
    return count;
}

// A dump holds every stored field: equal dumps are equal rows.
static void same_after_load(const struct entity *entity, const void *row, struct arena *arena)
{
    struct err err = ERR_INIT;
    _Alignas(16) char again[ROW_MAX];
    struct str dump = entity_dump(entity, row, arena);
    HOLDS(entity_load(entity, fuzz_written(dump), again, arena, &err) == 0, "%s", err.message);
    struct str second = entity_dump(entity, again, arena);
    HOLDS(str_eq(dump, second), STR_FMT "\n  " STR_FMT, STR_ARG(dump), STR_ARG(second));
}

// Clients send whole answers back.
static void same_after_answer(const struct entity *entity, const void *row, enum decode_mode mode,
                              struct arena *arena)
{
    struct err err = ERR_INIT;
    _Alignas(16) char again[ROW_MAX];
    _cleanup_buf_ struct buf buf = BUF_INIT(64 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    entity_encode(entity, row, &out);
    struct json answer = fuzz_written(buf_str(&buf));
    entity_copy(entity, row, again, arena);
    HOLDS(entity_decode(entity, answer, mode, &limits_default, again, arena, &err) == 0,
          "%s: " STR_FMT, err.message, STR_ARG(answer.text));
    for (size_t i = 0; i < entity->count; i++)  // answered in another form than they are kept
        if (entity->fields[i].flags & FIELD_COMPOSED)
            memcpy(again + entity->fields[i].offset, (const char *)row + entity->fields[i].offset,
                   sizeof(struct str));
    struct str before = entity_dump(entity, row, arena);
    struct str after = entity_dump(entity, again, arena);
    HOLDS(str_eq(before, after), STR_FMT "\n  " STR_FMT, STR_ARG(before), STR_ARG(after));
}

// What a patch finds: a row that was created with nothing but what it must have.
static void create_least(const struct entity *entity, void *row, struct arena *arena)
{
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(1 << 16);
    struct json_writer out = JSON_WRITER(&body);
    json_w_object(&out);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!(f->flags & FIELD_REQUIRED))
            continue;
        struct str rest = str_of(f->choices ? f->choices : "x");
        json_w_key(&out, f->name);
        if (f->type == FIELD_TEXT)
            json_w_str(&out, str_cut(&rest, '|'));
        else
            json_w_raw(&out, f->flags & FIELD_ARRAY ? STR("[]") : STR("{}"));
    }
    json_w_object_end(&out);
    struct json json = fuzz_written(arena_copy(arena, buf_str(&body)));
    HOLDS(entity_decode(entity, json, DECODE_CREATE, &limits_default, row, arena, &err) == 0, "%s",
          err.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    const struct entity *entity = entity_all[input_choice(&in, entity_total())];
    enum decode_mode mode = input_choice(&in, 2) ? DECODE_PATCH : DECODE_CREATE;
    _cleanup_input_ struct str text = input_rest(&in);
    _cleanup_arena_ struct arena *arena = arena_new();
    _Alignas(16) char row[ROW_MAX];
    struct err err = ERR_INIT;
    struct json body;
    HOLDS(entity->size <= ROW_MAX, "%s has %zu bytes", entity->name, entity->size);
    if (!fuzz_json(text, &body))
        return 0;
    entity_clear(entity, row);
    if (mode == DECODE_PATCH)
        create_least(entity, row, arena);
    if (entity_decode(entity, body, mode, &limits_default, row, arena, &err) < 0) {
        fuzz_error(&err);
        return 0;
    }
    same_after_load(entity, row, arena);
    same_after_answer(entity, row, DECODE_PATCH, arena);
    return 0;
}
