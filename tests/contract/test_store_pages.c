// SPDX-License-Identifier: Apache-2.0
// Any page of a long list is what sorting the rows gives: of a project, of a service, up and down,
// after rows of the same millisecond, of earlier times, deleted and undone ones, and after the
// store was opened again.
#include "store_fixture.h"

#define ROWS   30000
#define JOBS   300
#define PAGES  400
#define SCOPES 3  // projects; each has as many services

static const char *driver;

struct row {
    char id[16];
    int project, service;
    int64_t at;
    bool there;
};

struct pages {
    struct fixture *f;
    struct row *rows;
    int count, per_job;
    int64_t now;
    unsigned seed;
};

static unsigned roll(struct pages *pages, unsigned below)
{
    pages->seed = pages->seed * 1103515245u + 12345u;
    return (pages->seed >> 16) % below;
}

static const struct str projects[] = {STR("p0"), STR("p1"), STR("p2")};
static const struct str services[] = {STR("s0"), STR("s1"), STR("s2"), STR("s3"), STR("s4"),
                                      STR("s5"), STR("s6"), STR("s7"), STR("s8")};

static int insert_one(struct tx *tx, struct pages *pages, struct err *err)
{
    struct row *row = &pages->rows[pages->count++];
    struct execution execution;
    // The clock goes on, stands still, or is set back.
    pages->now += roll(pages, 3) ? roll(pages, 4) : 0;
    int64_t back = roll(pages, 50) == 0 ? roll(pages, 20000) : 0;
    snprintf(row->id, sizeof(row->id), "e%08u", pages->count * 7919u % 100000000u);
    row->project = roll(pages, 5) == 0 ? (int)roll(pages, SCOPES) : 0;
    row->service = row->project * SCOPES + (int)roll(pages, SCOPES);
    row->at = pages->now > back ? pages->now - back : 0;
    row->there = true;
    execution = execution_of(row->id, "", row->at);
    execution.project_id = projects[row->project];
    execution.service_id = services[row->service];
    return tx_insert(tx, &execution_entity, &execution, err);
}

static int delete_one(struct tx *tx, struct pages *pages, struct err *err)
{
    if (pages->count == 0)
        return 0;
    struct row *row = &pages->rows[roll(pages, (unsigned)pages->count)];
    if (!row->there)
        return 0;
    row->there = false;
    return tx_delete(tx, &execution_entity, str_of(row->id), err);
}

// One job of rows made and deleted; undone when it fails.
static int change(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct pages *pages = fixture->arg;
    for (int i = 0; i < pages->per_job; i++)
        if (insert_one(tx, pages, err) || (roll(pages, 12) == 0 && delete_one(tx, pages, err)))
            return -1;
    return 0;
}

static int change_and_fail(struct tx *tx, struct fixture *fixture, struct err *err)
{
    return change(tx, fixture, err) ? -1 : err_set(err, ERR_DENIED, "undone");
}

static int by_time(const void *a, const void *b)
{
    const struct row *const *x = a, *const *y = b;
    if ((*x)->at != (*y)->at)
        return (*x)->at < (*y)->at ? -1 : 1;
    return strcmp((*x)->id, (*y)->id);
}

static int compare_page(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct pages *pages = fixture->arg;
    const struct entity *entity = &execution_entity;
    struct arena *arena = fixture->arena;
    const struct row **wanted = arena_array_of(arena, const struct row *, (size_t)pages->count + 1);
    int service = (int)roll(pages, 2 * SCOPES * SCOPES), project = (int)roll(pages, SCOPES), n = 0;
    bool by_service = service < SCOPES * SCOPES, down = roll(pages, 2);
    if (by_service)
        project = service / SCOPES;
    for (int i = 0; i < pages->count; i++)
        if (pages->rows[i].there && pages->rows[i].project == project &&
            (!by_service || pages->rows[i].service == service))
            wanted[n++] = &pages->rows[i];
    qsort(wanted, (size_t)n, sizeof(*wanted), by_time);

    struct query query = {
        .filter = filter_eq_text(entity, "projectId", projects[project], arena),
        .sort = {{.field = entity_field(entity, STR("createdAt")), .descending = down}},
        .sort_count = 1,
        .limit = 20,
        .offset = roll(pages, (unsigned)n + 10)};
    if (by_service)
        query.filter = filter_and(
            query.filter, filter_eq_text(entity, "serviceId", services[service], arena), arena);
    void *rows;
    size_t count;
    if (tx_select(tx, entity, &query, arena, &rows, &count, err))
        return -1;
    int64_t left = n - query.offset;
    assert_int_equal(count, left < 0 ? 0 : left < query.limit ? left : query.limit);
    for (size_t i = 0; i < count; i++) {
        int64_t at = query.offset + (int64_t)i;
        assert_true(str_is(((struct execution *)rows)[i].id, wanted[down ? n - 1 - at : at]->id));
    }
    return 0;
}

static void make_rows(struct pages *pages)
{
    struct fixture *f = pages->f;
    struct err failure = ERR_INIT, *err = &failure;
    for (int i = 0; i < JOBS; i++) {
        struct row *before = mem_alloc(sizeof(struct row) * ROWS);
        memcpy(before, pages->rows, sizeof(struct row) * ROWS);
        int count = pages->count;
        if (i % 10 == 3) {
            FAILS(ERR_DENIED, write_now(f, change_and_fail, err));
            memcpy(pages->rows, before, sizeof(struct row) * ROWS);
            pages->count = count;
        } else {
            OK(write_now(f, change, err));
        }
        mem_free(before);
        if (i % 100 == 50 && strcmp(driver, "sqlite") == 0) {
            store_close(f->store);
            f->store = fixture_open(f, driver);
        }
    }
}

static void test_pages(void **state)
{
    (void)state;
    struct err failure = ERR_INIT, *err = &failure;
    const char *given = getenv("DROVER_SEED");
    struct pages pages = {.f = fixture_new(driver),
                          .rows = mem_alloc(sizeof(struct row) * ROWS),
                          .per_job = ROWS / JOBS,
                          .now = 1700000000000,
                          .seed = given ? (unsigned)atoll(given) : (unsigned)getpid()};
    print_message("seed %u\n", pages.seed);
    pages.f->arg = &pages;
    make_rows(&pages);
    for (int i = 0; i < PAGES; i++) {
        OK(read_now(pages.f, compare_page, err));
        arena_reset(pages.f->arena);
    }
    fixture_free(pages.f);
    mem_free(pages.rows);
}

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages)};
    driver = name;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("sqlite") + run_suite("memory"); }
