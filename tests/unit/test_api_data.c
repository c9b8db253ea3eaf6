// SPDX-License-Identifier: Apache-2.0
// Accounts, projects, datasets and items through the API, on both stores.
#include "api/route_table.h"
#include "api_fixture.h"
#include "operation/access.h"
#include "operation/deletion.h"

static char *options[] = {(char *)"drover",       (char *)"--login-tries", (char *)"3",
                          (char *)"--max-upload", (char *)"4MiB",          NULL};

static int setup_memory(void **state)
{
    *state = fx_new("memory", options);
    return 0;
}
static int setup_sqlite(void **state)
{
    *state = fx_new("sqlite", options);
    return 0;
}
static int teardown(void **state)
{
    fx_free(*state);
    return 0;
}

static const char *login_body(struct fixture *fx, const char *email, const char *password)
{
    return fx_print(fx, "{\"type\":\"user_credentials\",\"username\":\"$\",\"password\":\"$\"}",
                    email, password);
}

// ── accounts ─────────────────────────────────────────────────────────────────────────────────

static void logs_in_and_renews(void **state)
{
    struct fixture *fx = *state;
    struct answer got = fx_json(fx, NULL, "POST", "/token?default",
                                login_body(fx, "Admin@LocalHost", fx->admin_password.at));
    fx_expect(&got, 200);
    const char *token = fx_text(fx, &got, "id_token"), *renew = fx_text(fx, &got, "refresh_token");
    got = fx_json(fx, token, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 200);
    assert_string_equal(fx_text(fx, &got, "email"), "admin@localhost");
    assert_string_equal(fx_text(fx, &got, "org.name"), "default");
    got = fx_json(fx, renew, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 401);
    got = fx_json(fx, NULL, "POST", "/token",
                  fx_print(fx, "{\"type\":\"refresh_token\",\"refresh_token\":\"$\"}", renew, ""));
    fx_expect(&got, 200);
    got = fx_json(fx, NULL, "POST", "/token",
                  fx_print(fx, "{\"type\":\"refresh_token\",\"refresh_token\":\"$\"}", token, ""));
    fx_expect(&got, 401);
}

static void a_new_password_ends_logins(void **state)
{
    struct fixture *fx = *state;
    struct answer got = fx_json(fx, NULL, "POST", "/token",
                                login_body(fx, "admin@localhost", fx->admin_password.at));
    fx_expect(&got, 200);
    const char *token = fx_text(fx, &got, "id_token"), *renew = fx_text(fx, &got, "refresh_token");
    const char *change = "{\"oldPassword\":\"$\",\"newPassword\":\"$\"}";
    got = fx_json(fx, token, "POST", "/api/v1/users/me/password",
                  fx_print(fx, change, "wrong", "correct horse"));
    fx_expect(&got, 400);
    assert_string_equal(fx_text(fx, &got, "field"), "oldPassword");
    got = fx_json(fx, token, "POST", "/api/v1/users/me/password",
                  fx_print(fx, change, fx->admin_password.at, "short"));
    fx_expect(&got, 400);
    got = fx_json(fx, token, "POST", "/api/v1/users/me/password",
                  fx_print(fx, change, fx->admin_password.at, "correct horse"));
    fx_expect(&got, 200);
    const char *fresh = fx_text(fx, &got, "id_token");
    got = fx_json(fx, token, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 401);
    got = fx_json(fx, NULL, "POST", "/token",
                  fx_print(fx, "{\"type\":\"refresh_token\",\"refresh_token\":\"$\"}", renew, ""));
    fx_expect(&got, 401);
    got = fx_json(fx, fresh, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 200);
    got = fx_json(fx, fx->admin_key.at, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 200);
}

static void slows_guessing_down(void **state)
{
    struct fixture *fx = *state;
    struct answer got;
    for (int i = 0; i < 3; i++) {
        got = fx_json(fx, NULL, "POST", "/token", login_body(fx, "nobody@x.y", "guess"));
        fx_expect(&got, 401);
    }
    got = fx_json(fx, NULL, "POST", "/token", login_body(fx, "nobody@x.y", "guess"));
    fx_expect(&got, 429);
    // The address has failed as often: the right password must wait too.
    got = fx_json(fx, NULL, "POST", "/token",
                  login_body(fx, "admin@localhost", fx->admin_password.at));
    fx_expect(&got, 429);
}

static void keys_work_until_revoked(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct answer got = fx_json(fx, admin, "POST", "/api/v1/apiKeys",
                                "{\"userId\":\"admin@localhost\",\"description\":\"ci\"}");
    fx_expect(&got, 200);
    const char *key = fx_text(fx, &got, "jwt"), *id = fx_text(fx, &got, "id");
    const char *path = fx_print(fx, "/api/v1/apikeys/$", id, "");
    got = fx_json(fx, key, "GET", path, NULL);
    fx_expect(&got, 200);
    struct json secret;
    assert_false(json_get(got.json, "jwt", &secret) || json_get(got.json, "hash", &secret));
    got = fx_json(fx, admin, "DELETE", path, NULL);
    fx_expect(&got, 204);
    got = fx_json(fx, key, "GET", "/api/v1/users/me", NULL);
    fx_expect(&got, 401);
    got = fx_json(fx, admin, "POST", "/api/v1/audit/logs",
                  fx_print(fx, "{\"filter\":{\"entityId\":\"$\"}}", id, ""));
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 2);
}

// ── projects and data ────────────────────────────────────────────────────────────────────────

struct world {
    const char *project, *dataset, *item;
};

static struct world make_world(struct fixture *fx, const char *token, const char *name)
{
    struct world world;
    struct answer got = fx_json(fx, token, "POST", "/api/v1/projects",
                                fx_print(fx, "{\"name\":\"$\"}", name, ""));
    fx_expect(&got, 200);
    world.project = fx_text(fx, &got, "id");
    got = fx_json(fx, token, "POST", "/api/v1/datasets",
                  fx_print(fx, "{\"name\":\"d\",\"projects\":[\"$\"]}", world.project, ""));
    fx_expect(&got, 200);
    world.dataset = fx_text(fx, &got, "id");
    got = fx_upload(fx, token,
                    fx_print(fx, "/api/v1/datasets/$/items?mode=skip", world.dataset, ""),
                    "/a/b.txt", STR("0123456789"));
    fx_expect(&got, 200);
    world.item = fx_text(fx, &got, "id");
    return world;
}

static void makes_and_finds_projects(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct answer got = fx_ask(fx, &(struct ask){admin, "POST", "/api/v1/projects",
                                                 "application/x-www-form-urlencoded",
                                                 STR("name=my+first%20one")});
    fx_expect(&got, 200);
    const char *id = fx_text(fx, &got, "id");
    assert_string_equal(fx_text(fx, &got, "org.name"), "default");
    got = fx_json(fx, admin, "POST", "/api/v1/projects", "{\"name\":\"my first one\"}");
    fx_expect(&got, 200);  // a repetition
    assert_string_equal(fx_text(fx, &got, "id"), id);
    got = fx_json(fx, admin, "GET", "/api/v1/projects/my%20first%20one/name", NULL);
    fx_expect(&got, 200);
    assert_int_equal(json_count(got.json), 1);
    got = fx_json(fx, admin, "GET", "/api/v1/projects/none/name", NULL);
    fx_expect(&got, 404);
    const char
        *ask = "{\"filter\":{\"$and\":[{\"name\":\"Binaries\"}]},\"page\":0,\"pageSize\":1000,"
               "\"resource\":\"datasets\",\"context\":{\"projects\":[\"%\"]}";
    char body[512];
    snprintf(body, sizeof(body), "%.*s%s\"]},\"systemSpace\":true}", (int)(strchr(ask, '%') - ask),
             ask, id);
    got = fx_json(fx, admin, "POST", "/api/v1/datasets/query", body);
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 1);
    snprintf(body, sizeof(body), "%.*s%s\"]}}", (int)(strchr(ask, '%') - ask), ask, id);
    got = fx_json(fx, admin, "POST", "/api/v1/datasets/query", body);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 0);
    for (const char *const *bad =
             (const char *const[]){"{}", "{\"name\":1}", "{\"name\":\"\"}", "{\"name\":\" x\"}",
                                   "{\"name\":\"a\\nb\"}", "[]", "", NULL};
         *bad; bad++) {
        got = fx_json(fx, admin, "POST", "/api/v1/projects", *bad);
        fx_expect(&got, 400);
    }
}

static void keeps_and_serves_files(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "p");
    const char *items = fx_print(fx, "/api/v1/datasets/$/items?mode=$", world.dataset, "skip");
    const char *over = fx_print(fx, "/api/v1/datasets/$/items?mode=$", world.dataset, "overwrite");
    struct answer got = fx_upload(fx, admin, items, "a//b.txt", STR("0123456789"));
    fx_expect(&got, 200);
    assert_string_equal(fx_text(fx, &got, "id"), world.item);
    assert_int_equal(fx_int(&got, "metadata.system.size"), 10);
    got = fx_upload(fx, admin, items, "/a/b.txt", STR("other"));
    fx_expect(&got, 409);
    got = fx_upload(fx, admin, over, "/a/b.txt", STR("other"));
    fx_expect(&got, 200);
    assert_string_equal(fx_text(fx, &got, "id"), world.item);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/items/$/stream", world.item, ""), NULL);
    fx_expect(&got, 200);
    assert_true(str_is(got.text, "other"));
    for (const char *const *bad = (const char *const[]){"/../x", "/", "/a/./b", "/a\x01", NULL};
         *bad; bad++) {
        got = fx_upload(fx, admin, items, *bad, STR("x"));
        fx_expect(&got, 400);
    }
    got = fx_upload(fx, admin, items, "/a/b.txt/c", STR("x"));
    fx_expect(&got, 409);
    char *large = mem_alloc((4 << 20) + 1);
    got = fx_upload(fx, admin, items, "/large", (struct str){large, (4 << 20) + 1});
    fx_expect(&got, 413);
    got = fx_upload(fx, admin, items, "/large", (struct str){large, 4 << 20});
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "metadata.system.size"), 4 << 20);
    mem_free(large);
    got = fx_json(fx, admin, "POST", items, "{}");
    fx_expect(&got, 415);
}

static void merges_metadata(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "p");
    const char *path = fx_print(fx, "/api/v1/items/$", world.item, "");
    const char *patch = "{\"metadata\":{\"system\":{\"md5\":\"x\",\"size\":1},\"user\":{\"n\":2}}}";
    struct json value;
    struct answer got = fx_json(fx, admin, "PATCH", path, patch);
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "metadata.user.k"), 1);
    assert_int_equal(fx_int(&got, "metadata.user.n"), 2);
    assert_false(json_path(got.json, STR("metadata.system.md5"), &value));
    got = fx_json(fx, admin, "PATCH", fx_print(fx, "/api/v1/items/$?system=true", world.item, ""),
                  patch);
    fx_expect(&got, 200);
    assert_string_equal(fx_text(fx, &got, "metadata.system.md5"), "x");
    assert_int_equal(fx_int(&got, "metadata.system.size"), 10);
    got = fx_json(fx, admin, "PATCH", path, "{\"filename\":\"/new/place.txt\"}");
    fx_expect(&got, 200);
    assert_string_equal(fx_text(fx, &got, "dir"), "/new");
    assert_string_equal(fx_text(fx, &got, "name"), "place.txt");
    got = fx_json(fx, admin, "PATCH", path, "{\"metadata\":[]}");
    fx_expect(&got, 400);
    got = fx_json(fx, admin, "POST", fx_print(fx, "/api/v1/datasets/$/query", world.dataset, ""),
                  "{\"filter\":{\"metadata.user.n\":2},\"sort\":{\"id\":\"ascending\"}}");
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 1);
}

static void deletes_projects_whole(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "p");
    const char *items = fx_print(fx, "/api/v1/datasets/$/items", world.dataset, "");
    for (int i = 0; i < 120; i++) {  // more than one step
        char path[32];
        snprintf(path, sizeof(path), "/many/%03d", i);
        struct answer got = fx_upload(fx, admin, items, path, STR("x"));
        fx_expect(&got, 200);
    }
    struct answer got = fx_json(fx, admin, "DELETE",
                                fx_print(fx, "/api/v1/projects/$", world.project, ""), NULL);
    fx_expect(&got, 204);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/items/$", world.item, ""), NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/datasets/$", world.dataset, ""), NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "GET", "/api/v1/projects", NULL);
    assert_int_equal(json_count(got.json), 0);
}

static int64_t total_of(struct fixture *fx, const char *path, const char *body)
{
    struct answer got = fx_json(fx, fx->admin_key.at, "POST", path, body);
    fx_expect(&got, 200);
    return fx_int(&got, "totalItemsCount");
}

static void make_service(struct fixture *fx, const struct world *world)
{
    const char *admin = fx->admin_key.at;
    struct answer got = fx_json(
        fx, admin, "POST", "/api/v1/packages",
        fx_print(
            fx,
            "{\"name\":\"one\",\"projectId\":\"$\",\"global\":true,\"modules\":[{\"name\":\"m\","
            "\"entryPoint\":\"main.py\",\"className\":\"ServiceRunner\",\"functions\":["
            "{\"name\":\"run\",\"input\":[],\"output\":[]}]}],\"codebase\":{\"type\":\"item\","
            "\"itemId\":\"$\"}}",
            world->project, world->item));
    fx_expect(&got, 201);
    got = fx_json(fx, admin, "POST", "/api/v1/services",
                  fx_print(fx,
                           "{\"name\":\"one\",\"projectId\":\"$\",\"packageId\":\"$\","
                           "\"moduleName\":\"m\"}",
                           world->project, fx_text(fx, &got, "id")));
    fx_expect(&got, 201);
    got = fx_json(fx, admin, "POST",
                  fx_print(fx, "/api/v1/executions/$", fx_text(fx, &got, "id"), ""),
                  "{\"functionName\":\"run\"}");
    fx_expect(&got, 201);
}

// Only an administrator could still ask for what was in it: everybody else has lost his role.
static void expect_gone(struct fixture *fx, const struct world *world)
{
    static const char *const paths[] = {"/api/v1/projects/$", "/api/v1/projects/doomed",
                                        "/api/v1/projects/doomed/name"};
    const char *admin = fx->admin_key.at;
    struct answer got;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        got = fx_json(fx, admin, "GET", fx_print(fx, paths[i], world->project, ""), NULL);
        fx_expect(&got, 404);
    }
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/datasets/$", world->dataset, ""), NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/items/$", world->item, ""), NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "GET", "/api/v1/projects", NULL);
    assert_int_equal(json_count(got.json), 0);
    assert_int_equal(total_of(fx, "/api/v1/datasets/query", "{\"systemSpace\":true}"), 0);
    for (const char *const *name =
             (const char *const[]){"packages", "services", "executions", NULL};
         *name; name++)
        assert_int_equal(total_of(fx, "/api/v1/query/faas",
                                  fx_print(fx, "{\"resource\":\"$\",\"filter\":{}}", *name, "")),
                         0);
    got = fx_json(fx, admin, "POST", "/api/v1/datasets",
                  fx_print(fx, "{\"name\":\"d\",\"projects\":[\"$\"]}", world->project, ""));
    fx_expect(&got, 404);
    got = fx_upload(fx, admin, fx_print(fx, "/api/v1/datasets/$/items", world->dataset, ""), "/new",
                    STR("x"));
    fx_expect(&got, 404);
}

struct rows {
    const char *project;
    int64_t items, rest;
    struct deletion_step step;
    struct arena *arena;  // of what steps give
};

static int count_rows(struct op *op, void *arg, struct err *err)
{
    static const struct entity *const all[] = {&dataset_entity,
                                               &package_entity,
                                               &revision_entity,
                                               &service_entity,
                                               &execution_entity,
                                               &member_entity,
                                               NULL};
    struct rows *rows = arg;
    int64_t count;
    struct str id = str_of(rows->project);
    if (tx_count(op->tx, &item_entity, filter_eq_text(&item_entity, "project_id", id, op->arena),
                 &rows->items, err) ||
        tx_count(op->tx, &deletion_entity, NULL, &rows->rest, err))
        return -1;
    for (const struct entity *const *at = all; *at; at++) {
        if (tx_count(op->tx, *at, filter_eq_text(*at, "project_id", id, op->arena), &count, err))
            return -1;
        rows->rest += count;
    }
    return 0;
}

static int one_step(struct op *op, void *arg, struct err *err)
{
    struct rows *rows = arg;
    if (deletion_step(op, &rows->step, err))
        return -1;
    rows->step.project_id = arena_copy(rows->arena, rows->step.project_id);
    return 0;
}

static struct rows rows_of(struct fixture *fx, const char *project)
{
    struct rows rows = {.project = project};
    struct err err = ERR_INIT;
    if (op_run_now(&fx->platform, count_rows, &rows, &err))
        fail_msg("%s", err.message);
    return rows;
}

static void remove_all(struct fixture *fx)
{
    struct rows rows = {.arena = fx->arena};
    struct err err = ERR_INIT;
    for (int steps = 0; steps == 0 || rows.step.state != DELETION_OVER; steps++) {
        if (op_run_now(&fx->platform, one_step, &rows, &err))
            fail_msg("%s", err.message);
        if (rows.step.state == DELETION_CLEAN)
            rows.step.cleaned = rows.step.project_id;
        assert_true(steps < 50);
    }
}

// Up to what the log lines are waited for.
static void remove_rows(struct fixture *fx)
{
    struct rows rows = {.arena = fx->arena};
    struct err err = ERR_INIT;
    for (int steps = 0; rows.step.state != DELETION_CLEAN; steps++) {
        if (op_run_now(&fx->platform, one_step, &rows, &err))
            fail_msg("%s", err.message);
        assert_true(steps < 50);
    }
}

static struct answer deletion_entry(struct fixture *fx, const char *id)
{
    struct answer got = fx_json(
        fx, fx->admin_key.at, "POST", "/api/v1/audit/logs",
        fx_print(fx, "{\"filter\":{\"entityId\":\"$\",\"action\":\"delete\"}}", id, ""));
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 1);
    struct json items, first;
    struct str key;
    assert_true(json_get(got.json, "items", &items));
    struct json_iter it = json_each(items);
    assert_true(json_next(&it, &key, &first));
    got.json = first;
    return got;
}

// Here nothing removes rows in the background: what is seen is a deletion that has just begun.
static void a_deleted_project_is_gone_at_once(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "doomed");
    const char *items = fx_print(fx, "/api/v1/datasets/$/items", world.dataset, "");
    make_service(fx, &world);
    for (int i = 0; i < 250; i++) {  // more than one step
        char path[32];
        snprintf(path, sizeof(path), "/many/%03d", i);
        struct answer got = fx_upload(fx, admin, items, path, STR("x"));
        fx_expect(&got, 200);
    }
    const char *path = fx_print(fx, "/api/v1/projects/$", world.project, "");
    struct answer got = fx_json(fx, admin, "DELETE", path, NULL);
    fx_expect(&got, 204);
    expect_gone(fx, &world);
    assert_int_equal(rows_of(fx, world.project).items, 253);  // with two folders
    got = fx_json(fx, admin, "DELETE", path, NULL);
    fx_expect(&got, 404);
    got = deletion_entry(fx, world.project);
    assert_string_equal(fx_text(fx, &got, "before.name"), "doomed");
    assert_int_equal(fx_int(&got, "after.deleted.itemsCount"), 253);
    assert_int_equal(fx_int(&got, "after.deleted.datasetsCount"), 2);
    assert_int_equal(fx_int(&got, "after.deleted.servicesCount"), 1);

    struct world next = make_world(fx, admin, "doomed");  // its name is free
    assert_string_not_equal(next.project, world.project);
    remove_rows(fx);
    remove_rows(fx);  // says it again: whoever was to delete the log lines may have died
    assert_int_equal(rows_of(fx, world.project).items, 0);
    assert_int_equal(rows_of(fx, world.project).rest, 1);
    remove_all(fx);
    assert_int_equal(rows_of(fx, world.project).items, 0);
    assert_int_equal(rows_of(fx, world.project).rest, 0);
    assert_int_equal(rows_of(fx, next.project).items, 2);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/items/$", next.item, ""), NULL);
    fx_expect(&got, 200);
}

static void a_deleted_dataset_is_gone_at_once(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "p");
    const char *path = fx_print(fx, "/api/v1/datasets/$", world.dataset, "");
    struct answer got = fx_json(fx, admin, "DELETE", path, NULL);
    fx_expect(&got, 204);
    got = fx_json(fx, admin, "GET", path, NULL);
    fx_expect(&got, 404);
    const char *item = fx_print(fx, "/api/v1/items/$", world.item, "");
    got = fx_json(fx, admin, "GET", item, NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "PATCH", item, "{\"filename\":\"/elsewhere\"}");
    fx_expect(&got, 404);
    got = fx_json(fx, admin, "GET", fx_print(fx, "/api/v1/items/$/stream", world.item, ""), NULL);
    fx_expect(&got, 404);
    got = deletion_entry(fx, world.dataset);
    assert_int_equal(fx_int(&got, "after.deleted.itemsCount"), 2);
    got = fx_json(fx, admin, "POST", "/api/v1/datasets",
                  fx_print(fx, "{\"name\":\"d\",\"projects\":[\"$\"]}", world.project, ""));
    fx_expect(&got, 200);
    remove_all(fx);
    assert_int_equal(rows_of(fx, world.project).items, 0);
}

static void a_bulk_deletion_says_what_went(void **state)
{
    struct fixture *fx = *state;
    const char *admin = fx->admin_key.at;
    struct world world = make_world(fx, admin, "p");
    struct answer got = fx_json(fx, admin, "POST",
                                fx_print(fx, "/api/v1/datasets/$/query", world.dataset, ""),
                                "{\"filter\":{\"type\":\"file\"},\"delete\":true}");
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "itemsCount"), 1);
    got = fx_json(fx, admin, "POST", "/api/v1/audit/logs",
                  fx_print(fx, "{\"filter\":{\"entityId\":\"$\",\"action\":\"delete-items\"}}",
                           world.dataset, ""));
    fx_expect(&got, 200);
    assert_int_equal(fx_int(&got, "totalItemsCount"), 1);
    char wanted[256];
    snprintf(wanted, sizeof(wanted),
             "\"before\":null,\"after\":{\"deleted\":{\"itemsCount\":1,\"items\":[{\"id\":\"%s\","
             "\"filename\":\"/a/b.txt\"}]}}",
             world.item);
    if (!strstr(arena_cstr(fx->arena, got.text), wanted))
        fail_msg("no %s in " STR_FMT, wanted, STR_ARG(got.text));
}

// ── roles ────────────────────────────────────────────────────────────────────────────────────

struct people {  // tokens by the role they have; [ROLE_NONE] owns another project
    const char *tokens[ROLE_OWNER + 1], *emails[ROLE_OWNER + 1];
};

static void make_people(struct fixture *fx, struct people *people)
{
    static const char *const emails[] = {"other@x.y", "viewer@x.y", "developer@x.y", "owner@x.y"};
    for (int role = ROLE_NONE; role <= ROLE_OWNER; role++) {
        people->emails[role] = emails[role];
        struct answer got = fx_json(
            fx, fx->admin_key.at, "POST", "/api/v1/users",
            fx_print(fx, "{\"email\":\"$\",\"password\":\"long enough\"}", emails[role], ""));
        fx_expect(&got, 201);
        got = fx_json(fx, fx->admin_key.at, "POST", "/api/v1/apikeys",
                      fx_print(fx, "{\"userId\":\"$\"}", emails[role], ""));
        fx_expect(&got, 200);
        people->tokens[role] = fx_text(fx, &got, "jwt");
    }
    struct answer got = fx_json(fx, people->tokens[ROLE_NONE], "POST", "/api/v1/projects",
                                "{\"name\":\"theirs\"}");
    fx_expect(&got, 200);
}

static struct world world_for(struct fixture *fx, const struct people *people)
{
    static int serial;
    char name[32];
    snprintf(name, sizeof(name), "w%d", serial++);
    struct world world = make_world(fx, fx->admin_key.at, name);
    for (int role = ROLE_VIEWER; role <= ROLE_OWNER; role++) {
        const char *path = fx_print(fx, "/api/v1/projects/$/members/$", world.project,
                                    people->emails[role]);
        struct answer got = fx_json(
            fx, fx->admin_key.at, "POST", path,
            fx_print(fx, "{\"role\":\"$\"}", role_word((enum role)role), ""));
        fx_expect(&got, 200);
    }
    return world;
}

static const char *path_of(struct fixture *fx, const struct route *route, const struct world *world)
{
    struct str rest = str_of(route->path), out = STR("/api/v1");
    str_cut(&rest, '/');
    while (rest.at) {
        struct str segment = str_cut(&rest, '/');
        const char *value = str_is(segment, "{projectId}")   ? world->project
                            : str_is(segment, "{datasetId}") ? world->dataset
                            : str_is(segment, "{itemId}")    ? world->item
                            : str_is(segment, "{userId}")    ? "viewer@x.y"
                                                             : NULL;
        if (value)
            segment = str_of(value);
        out = arena_printf(fx->arena, STR_FMT "/" STR_FMT, STR_ARG(out), STR_ARG(segment));
    }
    return out.at;
}

static int status_of(struct fixture *fx, const struct route *route, const struct world *world,
                     const char *token)
{
    const char *path = path_of(fx, route, world);
    if (route->body == BODY_STREAM)
        return fx_upload(fx, token, path, "/new.txt", STR("new")).status;
    static int serial;
    char name[16];
    snprintf(name, sizeof(name), "n%d", serial++);
    const char *body = fx_print(fx,
                                "{\"projectId\":\"$\",\"name\":\"$\",\"role\":\"viewer\","
                                "\"users\":[\"viewer@x.y\"]}",
                                world->project, name);
    return fx_json(fx, token, route->method, path, route->body == BODY_NONE ? NULL : body).status;
}

static bool is_mine(const struct route *route)
{
    return route->scope == SCOPE_PROJECT || route->scope == SCOPE_DATASET ||
           route->scope == SCOPE_ITEM ||
           (route->scope == SCOPE_BODY && strcmp(route->path, "/datasets") == 0);
}

static void check_route(struct fixture *fx, const struct people *people, const struct route *route)
{
    struct world world = world_for(fx, people);
    int status = status_of(fx, route, &world, NULL);
    if (status != 401)
        fail_msg("%s %s without a token: %d", route->method, route->path, status);
    for (int role = ROLE_NONE; role <= ROLE_OWNER; role++) {
        bool allowed = role >= (int)route->role;
        status = status_of(fx, route, &world, people->tokens[role]);
        int refusal = role == ROLE_NONE ? 404 : 403;
        if (allowed ? status < 200 || status > 299 : status != refusal)
            fail_msg("%s %s as %s: %d", route->method, route->path, role_word((enum role)role),
                     status);
        if (allowed)
            world = world_for(fx, people);
    }
    status = status_of(fx, route, &world, fx->admin_key.at);
    if (status < 200 || status > 299)
        fail_msg("%s %s as administrator: %d", route->method, route->path, status);
}

static void every_route_asks_for_its_role(void **state)
{
    struct fixture *fx = *state;
    struct people people;
    size_t count, checked = 0;
    const struct route_list *const *lists = route_table(&count);
    make_people(fx, &people);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < lists[i]->count; k++) {
            const struct route *route = &lists[i]->routes[k];
            if (route->scope == SCOPE_PUBLIC)
                continue;
            struct answer got = fx_json(fx, NULL, route->method,
                                        path_of(fx, route, &(struct world){"p", "d", "i"}), "{}");
            fx_expect(&got, 401);
            if (route->scope == SCOPE_ADMIN) {
                got = fx_json(fx, people.tokens[ROLE_OWNER], route->method,
                              path_of(fx, route, &(struct world){"p", "d", "i"}),
                              "{\"email\":\"new@x.y\"}");
                fx_expect(&got, 403);
            }
            if (!is_mine(route))
                continue;
            check_route(fx, &people, route);
            checked++;
        }
    }
    assert_true(checked >= 20);
}

static void hides_what_is_not_shared(void **state)
{
    struct fixture *fx = *state;
    struct people people;
    make_people(fx, &people);
    struct world world = world_for(fx, &people);
    const char *other = people.tokens[ROLE_NONE];
    struct answer got = fx_json(fx, other, "GET", "/api/v1/projects", NULL);
    assert_int_equal(json_count(got.json), 1);
    got = fx_json(fx, other, "GET", "/api/v1/projects/w0/name", NULL);
    fx_expect(&got, 404);
    got = fx_json(fx, other, "POST", "/api/v1/datasets/query", "{}");
    assert_int_equal(fx_int(&got, "totalItemsCount"), 0);
    got = fx_json(fx, other, "POST", "/api/v1/audit/logs",
                  fx_print(fx, "{\"projectId\":\"$\"}", world.project, ""));
    fx_expect(&got, 403);
    got = fx_json(fx, other, "POST", "/api/v1/audit/logs", "{}");
    fx_expect(&got, 400);
    got = fx_json(fx, other, "POST", "/api/v1/apikeys", "{\"userId\":\"owner@x.y\"}");
    fx_expect(&got, 403);
    const char *path = fx_print(fx, "/api/v1/projects/$/members/$", world.project,
                                "admin@localhost");
    got = fx_json(fx, people.tokens[ROLE_OWNER], "DELETE", path, NULL);
    fx_expect(&got, 200);
    path = fx_print(fx, "/api/v1/projects/$/members/$", world.project, "owner@x.y");
    got = fx_json(fx, people.tokens[ROLE_OWNER], "DELETE", path, NULL);
    fx_expect(&got, 409);  // the last owner
}

#define ON_BOTH(test)                                                                              \
    {"memory: " #test, test, setup_memory, teardown, NULL},                                        \
    {                                                                                              \
        "sqlite: " #test, test, setup_sqlite, teardown, NULL                                       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(logs_in_and_renews),
        ON_BOTH(a_new_password_ends_logins),
        ON_BOTH(slows_guessing_down),
        ON_BOTH(keys_work_until_revoked),
        ON_BOTH(makes_and_finds_projects),
        ON_BOTH(keeps_and_serves_files),
        ON_BOTH(merges_metadata),
        ON_BOTH(deletes_projects_whole),
        ON_BOTH(a_deleted_project_is_gone_at_once),
        ON_BOTH(a_deleted_dataset_is_gone_at_once),
        ON_BOTH(a_bulk_deletion_says_what_went),
        ON_BOTH(every_route_asks_for_its_role),
        ON_BOTH(hides_what_is_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
