// SPDX-License-Identifier: Apache-2.0
// Rows that a store may keep at hand (entity.hot) are read as they are, whatever was written,
// undone or deleted in between. Random changes beside a plain model of what should be there.
#include "contract/store_fixture.h"

#define ROWS  40  // some share a place in a cache of any size
#define STEPS 4000

static const char *driver;

struct model {
    int64_t value[ROWS];  // of token_epoch; -1: no such row
};

struct step {
    struct fixture *f;
    struct model *model;
    unsigned seed;
};

static unsigned roll(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % below;
}

static struct str id_of(struct arena *arena, unsigned row)
{
    return arena_printf(arena, "user-%u@example.org", row);
}

static void check_row(struct tx *tx, struct step *step, unsigned row)
{
    struct user user;
    struct err err = ERR_INIT;
    int rc = tx_get(tx, &user_entity, id_of(step->f->arena, row), &user, step->f->arena, &err);
    if (step->model->value[row] < 0) {
        assert_int_equal(rc, -1);
        assert_int_equal(err.kind, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(user.token_epoch, step->model->value[row]);
    assert_true(str_eq(user.email, id_of(step->f->arena, row)));
}

static void change_row(struct tx *tx, struct step *step, unsigned row)
{
    struct err err = ERR_INIT;
    struct user user;
    int64_t *value = &step->model->value[row], deleted;
    struct str id = id_of(step->f->arena, row);
    entity_clear(&user_entity, &user);
    user.id = user.email = id;
    user.token_epoch = roll(&step->seed, 1000);
    if (*value < 0) {
        assert_int_equal(tx_insert(tx, &user_entity, &user, &err), 0);
        *value = user.token_epoch;
    } else if (roll(&step->seed, 3) > 0) {
        assert_int_equal(tx_update(tx, &user_entity, &user, &err), 0);
        *value = user.token_epoch;
    } else if (roll(&step->seed, 2) > 0) {
        assert_int_equal(tx_delete(tx, &user_entity, id, &err), 0);
        *value = -1;
    } else {
        struct filter *filter = filter_eq_text(&user_entity, "email", id, step->f->arena);
        assert_int_equal(tx_delete_where(tx, &user_entity, filter, 0, &deleted, &err), 0);
        assert_int_equal(deleted, 1);
        *value = -1;
    }
}

// Some reads and changes; every third job is undone, and its changes with it.
static int work(struct tx *tx, void *arg, struct err *err)
{
    struct step *step = arg;
    struct model before = *step->model;
    for (unsigned i = roll(&step->seed, 8); i > 0; i--) {
        check_row(tx, step, roll(&step->seed, ROWS));
        if (roll(&step->seed, 2) > 0)
            change_row(tx, step, roll(&step->seed, ROWS));
    }
    if (roll(&step->seed, 3) > 0)
        return 0;
    *step->model = before;
    return err_set(err, ERR_CONFLICT, "undone");
}

static void test_rows_at_hand(void **state)
{
    (void)state;
    struct fixture *f = fixture_new(driver);
    struct model model;
    const char *given = getenv("DROVER_SEED");
    struct step step = {f, &model, given ? (unsigned)atoll(given) : (unsigned)getpid()};
    print_message("seed %u\n", step.seed);
    for (unsigned i = 0; i < ROWS; i++)
        model.value[i] = -1;
    for (int i = 0; i < STEPS; i++) {
        struct err err = ERR_INIT;
        if (store_write_now(f->store, work, &step, &err))
            assert_int_equal(err.kind, ERR_CONFLICT);
        arena_reset(f->arena);
    }
    fixture_free(f);
}

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows_at_hand)};
    driver = name;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("sqlite") + run_suite("memory"); }
