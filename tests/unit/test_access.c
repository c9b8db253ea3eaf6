// SPDX-License-Identifier: Apache-2.0
#include "operation/access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/loop.h"

static struct caller person(const char *email, int64_t epoch)
{
    return (struct caller){.kind = CALLER_USER, .user_id = str_of(email), .token_epoch = epoch};
}

static struct caller bot(const char *service, const char *project)
{
    return (struct caller){.kind = CALLER_SERVICE,
                           .user_id = STR("s1@bot.drover"),
                           .service_id = str_of(service),
                           .project_id = str_of(project)};
}

static int add_user(struct op *op, const char *email, bool admin, struct err *err)
{
    struct user user;
    entity_clear(&user_entity, &user);
    user.id = user.email = str_of(email);
    user.type = STR("user");
    user.admin = admin;
    user.token_epoch = 3;
    user.created_at = user.updated_at = op->now;
    return tx_insert(op->tx, &user_entity, &user, err);
}

static int add_member(struct op *op, const char *id, const char *role, struct err *err)
{
    struct member member;
    entity_clear(&member_entity, &member);
    member.id = str_of(id);
    member.project_id = STR("p1");
    member.user_id = (struct str){id + 3, strlen(id) - 3};
    member.role = str_of(role);
    member.created_at = member.updated_at = op->now;
    return tx_insert(op->tx, &member_entity, &member, err);
}

static int add_service(struct op *op, struct err *err)
{
    struct service service;
    entity_clear(&service_entity, &service);
    service.id = STR("s1");
    service.name = STR("service");
    service.project_id = STR("p1");
    service.package_id = STR("k1");
    service.created_at = service.updated_at = op->now;
    return tx_insert(op->tx, &service_entity, &service, err);
}

static void expect_identity(struct op *op, struct caller caller, bool good)
{
    struct err err = ERR_INIT;
    op->caller = caller;
    int rc = access_identify(op, &err);
    assert_int_equal(rc, good ? 0 : -1);
    if (!good)
        assert_int_equal(err.kind, ERR_UNAUTHENTICATED);
}

static void expect_role(struct op *op, struct caller caller, const char *project, enum role role)
{
    struct err err = ERR_INIT;
    enum role got;
    expect_identity(op, caller, true);
    assert_int_equal(access_role(op, str_of(project), &got, &err), 0);
    assert_int_equal(got, role);
    for (int least = ROLE_VIEWER; least <= ROLE_OWNER; least++) {
        err = ERR_INIT;
        int rc = access_require(op, str_of(project), (enum role)least, &err);
        assert_int_equal(rc, (int)role >= least ? 0 : -1);
        if (rc)
            assert_int_equal(err.kind, ERR_DENIED);
        err = ERR_INIT;
        rc = access_require_seen(op, str_of(project), (enum role)least, "item", STR("i1"), &err);
        assert_int_equal(rc, (int)role >= least ? 0 : -1);
        if (rc)
            assert_int_equal(err.kind, role == ROLE_NONE ? ERR_NOT_FOUND : ERR_DENIED);
        if (role == ROLE_NONE)
            assert_string_equal(err.message, "There is no item i1");
    }
}

static void expect_seen(struct op *op, struct caller caller, const char *project, bool seen)
{
    struct err err = ERR_INIT;
    struct filter *filter;
    struct service row;
    entity_clear(&service_entity, &row);
    row.project_id = str_of(project);
    expect_identity(op, caller, true);
    assert_int_equal(access_filter(op, &service_entity, "projectId", &filter, &err), 0);
    assert_int_equal(filter ? filter_match(filter, &row, op->arena) : true, seen);
}

static int work(struct op *op, void *arg, struct err *err)
{
    (void)arg;
    if (add_user(op, "admin@x", true, err) || add_user(op, "dev@x", false, err) ||
        add_user(op, "own@x", false, err) || add_user(op, "see@x", false, err) ||
        add_user(op, "out@x", false, err) || add_member(op, "p1:dev@x", "developer", err) ||
        add_member(op, "p1:own@x", "owner", err) || add_member(op, "p1:see@x", "viewer", err) ||
        add_service(op, err))
        return -1;
    expect_role(op, person("admin@x", 3), "p1", ROLE_OWNER);
    expect_role(op, person("own@x", 3), "p1", ROLE_OWNER);
    expect_role(op, person("dev@x", 3), "p1", ROLE_DEVELOPER);
    expect_role(op, person("see@x", 3), "p1", ROLE_VIEWER);
    expect_role(op, person("out@x", 3), "p1", ROLE_NONE);
    expect_role(op, person("own@x", 3), "p2", ROLE_NONE);
    expect_role(op, bot("s1", "p1"), "p1", ROLE_DEVELOPER);
    expect_role(op, bot("s1", "p1"), "p2", ROLE_NONE);
    expect_identity(op, person("own@x", 2), false);
    expect_identity(op, person("gone@x", 3), false);
    expect_identity(op, bot("s2", "p1"), false);
    expect_identity(op, bot("s1", "p2"), false);
    expect_identity(op, (struct caller){0}, false);
    // A token cannot bring its own administrator's right along.
    struct caller liar = person("dev@x", 3);
    liar.admin = true;
    expect_role(op, liar, "p2", ROLE_NONE);
    liar = bot("s1", "p1");
    liar.admin = true;
    expect_role(op, liar, "p2", ROLE_NONE);
    expect_seen(op, person("dev@x", 3), "p1", true);
    expect_seen(op, person("dev@x", 3), "p2", false);
    expect_seen(op, person("out@x", 3), "p1", false);
    expect_seen(op, person("admin@x", 3), "p2", true);
    expect_seen(op, bot("s1", "p1"), "p1", true);
    expect_seen(op, bot("s1", "p1"), "p2", false);
    return 0;
}

static void roles_follow_the_table(void **state)
{
    struct err err = ERR_INIT;
    struct settings settings = {0};
    struct loop *loop = loop_new();
    struct store *store = store_open(&(struct store_config){.driver = "memory", .loop = loop},
                                     &err);
    struct platform platform = {
        .loop = loop, .clock = clock_system(), .settings = &settings, .store = store};
    (void)state;
    assert_non_null(store);
    if (op_run_now(&platform, work, NULL, &err))
        fail_msg("%s", err.message);
    store_close(store);
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

static void words_and_roles_agree(void **state)
{
    (void)state;
    assert_int_equal(role_parse(STR("owner")), ROLE_OWNER);
    assert_int_equal(role_parse(STR("viewer")), ROLE_VIEWER);
    assert_int_equal(role_parse(STR("none")), ROLE_NONE);
    assert_int_equal(role_parse(STR("")), ROLE_NONE);
    assert_int_equal(role_parse(STR_NONE), ROLE_NONE);
    assert_string_equal(role_word(ROLE_DEVELOPER), "developer");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_follow_the_table),
        cmocka_unit_test(words_and_roles_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
