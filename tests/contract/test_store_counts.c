// SPDX-License-Identifier: Apache-2.0
// Counts of executions are what counting the rows gives, in the middle of a job, after undone ones,
// and after the store was opened again: random changes, every kind of change that a store knows.
#include "contract/store_fixture.h"
#include "model/status.h"

#define IDS   60
#define STEPS 3000

static const char *driver;

struct step {
    struct fixture *f;
    unsigned seed;
    bool check_only;
};

static unsigned roll(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % below;
}

static const struct str words[] = {STR("created"), STR("in-progress"), STR("rerun"),
                                   STR("success"), STR("failed"),      STR("canceled")};
static const struct str services[] = {STR("s1"), STR("s2"), STR("s3")};
static const struct str functions[] = {STR("run"), STR("walk")};

static struct filter *random_filter(struct step *step)
{
    struct arena *arena = step->f->arena;
    const struct entity *entity = &execution_entity;
    struct filter *filter = NULL;
    unsigned *seed = &step->seed;
    if (roll(seed, 2))
        filter = filter_eq_text(entity, "serviceId", services[roll(seed, 3)], arena);
    if (roll(seed, 3) == 0)
        filter = filter_and(
            filter,
            filter_in_text(entity, "status", words + roll(seed, 3), 1 + roll(seed, 3), arena),
            arena);
    if (roll(seed, 3) == 0)
        filter = filter_and(
            filter, filter_eq_text(entity, "functionName", functions[roll(seed, 2)], arena), arena);
    if (roll(seed, 4) == 0)
        filter = filter_and(
            filter, filter_not(filter_eq_text(entity, "projectId", STR("p1"), arena), arena),
            arena);
    return filter;
}

static void add_group(void *arg, struct str value, int64_t count)
{
    (void)value;
    *(int64_t *)arg += count;
}

static void check_counts(struct tx *tx, struct step *step)
{
    struct err err = ERR_INIT;
    struct filter *filter = random_filter(step);
    struct query all = {.limit = QUERY_LIMIT_MAX};
    void *rows;
    size_t count;
    int64_t wanted = 0, found = -1, grouped = 0;
    assert_int_equal(tx_select(tx, &execution_entity, &all, step->f->arena, &rows, &count, &err),
                     0);
    for (size_t i = 0; i < count; i++)
        wanted += !filter || filter_match(filter, (struct execution *)rows + i, step->f->arena);
    assert_int_equal(tx_count(tx, &execution_entity, filter, &found, &err), 0);
    assert_int_equal(found, wanted);
    assert_int_equal(
        tx_count_by(tx, &execution_entity, filter, "status", add_group, &grouped, &err), 0);
    assert_int_equal(grouped, wanted);
}

static struct str random_id(struct step *step)
{
    return arena_printf(step->f->arena, "e%u", roll(&step->seed, IDS));
}

static void fill(struct step *step, struct execution *row)
{
    unsigned *seed = &step->seed;
    row->service_id = services[roll(seed, 3)];
    row->project_id = roll(seed, 2) ? STR("p1") : STR("p2");
    row->function_name = functions[roll(seed, 2)];
    row->status = words[roll(seed, 6)];
}

static void change(struct tx *tx, struct step *step)
{
    struct err err = ERR_INIT;
    struct execution row;
    struct str id = random_id(step);
    bool applied;
    int64_t deleted;
    unsigned *seed = &step->seed;
    bool there = tx_get(tx, &execution_entity, id, &row, step->f->arena, &err) == 0;
    if (!there) {
        entity_clear(&execution_entity, &row);
        row.id = id;
        fill(step, &row);
        assert_int_equal(tx_insert(tx, &execution_entity, &row, &err), 0);
        return;
    }
    switch (roll(seed, 7)) {
    case 0: assert_int_equal(tx_delete(tx, &execution_entity, id, &err), 0); break;
    case 1:
        assert_int_equal(tx_execution_start(tx, id, roll(seed, 9), STR("r"), 1, &applied, &err), 0);
        break;
    case 2:
        assert_int_equal(tx_execution_requeue(tx, id, roll(seed, 9), 1, STR("x"), &applied, &err),
                         0);
        break;
    case 3: {
        struct execution_result result = {
            .id = id, .status = words[3 + roll(seed, 3)], .fence = roll(seed, 9), .ended_at = 2};
        assert_int_equal(tx_execution_finish(tx, &result, &applied, &err), 0);
        break;
    }
    case 4: {
        struct filter *some = filter_eq_text(&execution_entity, "serviceId",
                                             services[roll(seed, 3)], step->f->arena);
        assert_int_equal(tx_delete_where(tx, &execution_entity, some, 3, &deleted, &err), 0);
        break;
    }
    default: fill(step, &row); assert_int_equal(tx_update(tx, &execution_entity, &row, &err), 0);
    }
}

static int work(struct tx *tx, void *arg, struct err *err)
{
    struct step *step = arg;
    if (step->check_only) {
        check_counts(tx, step);
        return 0;
    }
    for (unsigned i = 1 + roll(&step->seed, 6); i > 0; i--) {
        change(tx, step);
        if (roll(&step->seed, 3) == 0)
            check_counts(tx, step);
    }
    return roll(&step->seed, 3) == 0 ? err_set(err, ERR_CONFLICT, "undone") : 0;
}

static void test_counts(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(driver);
    const char *given = getenv("DROVER_SEED");
    struct step step = {.f = f, .seed = given ? (unsigned)atoll(given) : (unsigned)getpid()};
    print_message("seed %u\n", step.seed);
    for (int i = 0; i < STEPS; i++) {
        struct err err = ERR_INIT;
        step.check_only = false;
        if (store_write_now(f->store, work, &step, &err))
            assert_int_equal(err.kind, ERR_CONFLICT);
        step.check_only = true;
        assert_int_equal(store_read_now(f->store, work, &step, &err), 0);
        arena_reset(f->arena);
        if (i % 1000 == 500 && strcmp(driver, "sqlite") == 0) {
            store_close(f->store);
            f->store = fixture_open(f, driver);
        }
    }
    fixture_free(f);
}

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts)};
    driver = name;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("sqlite") + run_suite("memory"); }
