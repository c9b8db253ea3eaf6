// SPDX-License-Identifier: Apache-2.0
// Notifications over the memory store: what is one incident, who has read what, and how long
// deliveries are tried.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/id.h"
#include "net/loop.h"
#include "net/mail.h"
#include "operation/delivery.h"
#include "operation/notification.h"

#define HOUR (3600 * 1000LL)

struct world {
    struct settings settings;
    struct platform platform;
    void (*test)(struct op *op);
    bool fail;  // the operation, at its end
};

static int world_work(struct op *op, void *arg, struct err *err)
{
    struct world *world = arg;
    op->caller = (struct caller){.kind = CALLER_USER, .user_id = STR("dev@example.org")};
    world->test(op);
    return world->fail ? err_set(err, ERR_INTERNAL, "planned") : 0;
}

static void world_open(struct world *world)
{
    struct err err = ERR_INIT;
    *world = (struct world){.settings = {.limits = limits_default}};
    world->platform = (struct platform){.loop = loop_new(),
                                        .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                        .clock = clock_system(),
                                        .ids = id_source_new(),
                                        .settings = &world->settings};
    struct store_config store = {
        .driver = "memory", .loop = world->platform.loop, .log = world->platform.log};
    world->platform.store = store_open(&store, &err);
    assert_non_null(world->platform.store);
}

static int world_run(struct world *world, void (*test)(struct op *op))
{
    struct err err = ERR_INIT;
    world->test = test;
    return op_run_now(&world->platform, world_work, world, &err);
}

static void world_close(struct world *world)
{
    store_close(world->platform.store);
    loop_free(world->platform.loop);
    id_source_free(world->platform.ids);
    log_free(world->platform.log);
}

static void with_ways_out(void (*test)(struct op *op))
{
    struct world world;
    world_open(&world);
    world.settings.notify_webhook = "http://localhost:1/hook";
    world.settings.smtp_url = "smtp://localhost:1";
    assert_int_equal(world_run(&world, test), 0);
    world_close(&world);
}

static void with_world(void (*test)(struct op *op))
{
    struct world world;
    world_open(&world);
    assert_int_equal(world_run(&world, test), 0);
    world_close(&world);
}

static void raise(struct op *op, const char *type, const char *service, const char *message)
{
    struct err err = ERR_INIT;
    struct notification_note note = {
        .type = str_of(type),
        .level = "error",
        .project_id = STR("p1"),
        .entity_type = "service",
        .entity_id = str_of(service),
        .entity_name = STR("hello"),
        .title = STR("hello was stopped: its agents cannot start"),
        .message = str_of(message),
    };
    if (notification_raise(op, &note, &err))
        fail_msg("%s", err.message);
}

static struct notification *all(struct op *op, struct filter *filter, size_t *count)
{
    struct query query = {.filter = filter};
    struct err err = ERR_INIT;
    void *rows;
    assert_int_equal(tx_select(op->tx, &notification_entity, &query, op->arena, &rows, count, &err),
                     0);
    return rows;
}

static size_t number(struct op *op, struct filter *filter)
{
    size_t count;
    (void)all(op, filter, &count);
    return count;
}

static void mark(struct op *op, struct notification row, bool read)
{
    struct err err = ERR_INIT;
    assert_int_equal(notification_mark(op, &row, read, &err), 0);
    assert_int_equal(row.read, read);
}

static void resolve(struct op *op, const char *type, const char *service)
{
    struct err err = ERR_INIT;
    assert_int_equal(notification_resolve(op, type, str_of(service), &err), 0);
}

// ── grouping ─────────────────────────────────────────────────────────────────────────────────

static void repeats(struct op *op)
{
    size_t count;
    int64_t begun = op->now;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "Traceback:\n  first");
    op->now += 23 * HOUR;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "Traceback:\n  second");
    struct notification *rows = all(op, NULL, &count);
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].count, 2);
    assert_int_equal(rows[0].first_at, begun);
    assert_int_equal(rows[0].last_at, begun + 23 * HOUR);
    assert_true(str_is(rows[0].message, "Traceback:\n  second"));

    raise(op, NOTIFICATION_CRASH_LOOP, "s2", "another service");
    raise(op, NOTIFICATION_ROLLOUT_HALTED, "s1", "another type");
    assert_int_equal(number(op, NULL), 3);
    op->now += 24 * HOUR;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "a day later");
    assert_int_equal(number(op, NULL), 4);
}

static void a_resolved_or_read_one_is_over(struct op *op)
{
    size_t count;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "first");
    op->now++;
    resolve(op, NOTIFICATION_CRASH_LOOP, "s2");
    resolve(op, NOTIFICATION_ROLLED_BACK, "s1");
    assert_int_equal(all(op, NULL, &count)[0].resolved_at, INT_NONE);
    resolve(op, NOTIFICATION_CRASH_LOOP, "s1");
    assert_int_equal(all(op, NULL, &count)[0].resolved_at, op->now);
    op->now++;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "second");
    struct notification *rows = all(op, NULL, &count);
    assert_int_equal(count, 2);
    assert_int_equal(rows[1].resolved_at, INT_NONE);

    mark(op, rows[1], true);
    op->now++;
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "third");
    rows = all(op, NULL, &count);
    assert_int_equal(count, 3);
    assert_int_equal(rows[1].count, 1);
}

static void texts(struct op *op)
{
    size_t count;
    struct str head = STR("begin\n"), tail = STR("ValueError: the end");
    char *text = arena_alloc(op->arena, NOTIFICATION_MESSAGE_MAX + 100);
    memset(text, 'x', NOTIFICATION_MESSAGE_MAX + 99);
    memcpy(text, head.at, head.len);
    memcpy(text + NOTIFICATION_MESSAGE_MAX + 99 - tail.len, tail.at, tail.len);
    text[NOTIFICATION_MESSAGE_MAX + 99] = 0;
    raise(op, "T", "s1", text);
    struct str message = all(op, NULL, &count)[0].message;
    assert_true(message.len < NOTIFICATION_MESSAGE_MAX + 10);
    assert_true(str_ends(message, tail) && str_starts(message, STR("[…]x")));
    raise(op, "T", "s1", "bad \xff byte\nline");
    assert_true(str_is(all(op, NULL, &count)[0].message, "bad \xef\xbf\xbd byte\nline"));
}

static void grouping(void **state)
{
    (void)state;
    with_world(repeats);
    with_world(a_resolved_or_read_one_is_over);
    with_world(texts);
}

// ── together with what it tells of ───────────────────────────────────────────────────────────

static void raise_one(struct op *op) { raise(op, NOTIFICATION_CRASH_LOOP, "s1", "it"); }
static void expect_none(struct op *op) { assert_int_equal(number(op, NULL), 0); }

static void goes_with_its_transaction(void **state)
{
    (void)state;
    struct world world;
    world_open(&world);
    world.fail = true;
    assert_int_equal(world_run(&world, raise_one), -1);
    world.fail = false;
    assert_int_equal(world_run(&world, expect_none), 0);
    world_close(&world);
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static void readers(struct op *op)
{
    size_t count;
    raise(op, "A", "s1", "one");
    raise(op, "B", "s1", "two");
    struct notification *rows = all(op, notification_unread(op), &count);
    assert_int_equal(count, 2);
    mark(op, rows[0], true);
    mark(op, rows[0], true);
    assert_int_equal(number(op, notification_unread(op)), 1);
    op->caller.user_id = STR("quo\"te@example.org");
    assert_int_equal(number(op, notification_unread(op)), 2);
    rows = all(op, filter_eq_text(&notification_entity, "type", STR("A"), op->arena), &count);
    notification_complete(op, &rows[0]);
    assert_false(rows[0].read);
    mark(op, rows[0], true);
    assert_int_equal(number(op, notification_unread(op)), 1);
    rows = all(op, filter_eq_text(&notification_entity, "type", STR("A"), op->arena), &count);
    assert_true(str_is(rows[0].readers, "[\"dev@example.org\",\"quo\\\"te@example.org\"]"));
    mark(op, rows[0], false);
    assert_int_equal(number(op, notification_unread(op)), 2);
    op->caller.user_id = STR("dev@example.org");
    assert_int_equal(number(op, notification_unread(op)), 1);
    rows = all(op, filter_eq_text(&notification_entity, "type", STR("A"), op->arena), &count);
    mark(op, rows[0], false);
    assert_null(all(op, NULL, &count)[0].readers.at);
}

static void readers_are_bounded(struct op *op)
{
    size_t count;
    raise(op, "A", "s1", "one");
    for (int i = 0; i < 1010; i++) {
        op->caller.user_id = arena_printf(op->arena, "u%d@example.org", i);
        mark(op, all(op, NULL, &count)[0], true);
    }
    assert_int_equal(json_count(json_of(all(op, NULL, &count)[0].readers)), 1000);
    assert_int_equal(number(op, notification_unread(op)), 0);
    op->caller.user_id = STR("u0@example.org");
    assert_int_equal(number(op, notification_unread(op)), 1);
}

static void everything_at_once(struct op *op)
{
    struct err err = ERR_INIT;
    int64_t marked;
    bool more;
    for (int i = 0; i < 1100; i++)
        raise(op, "A", arena_printf(op->arena, "s%d", i).at, "one");
    raise(op, "B", "s1", "two");
    struct filter *a = filter_eq_text(&notification_entity, "type", STR("A"), op->arena);
    assert_int_equal(notification_mark_all(op, a, &marked, &more, &err), 0);
    assert_true(marked == 1000 && more);
    assert_int_equal(notification_mark_all(op, a, &marked, &more, &err), 0);
    assert_true(marked == 100 && !more);
    assert_int_equal(number(op, notification_unread(op)), 1);
    assert_int_equal(notification_mark_all(op, NULL, &marked, &more, &err), 0);
    assert_true(marked == 1 && !more);
}

static void reading(void **state)
{
    (void)state;
    with_world(readers);
    with_world(readers_are_bounded);
    with_world(everything_at_once);
}

// ── deliveries ───────────────────────────────────────────────────────────────────────────────

#define DAY (24 * HOUR)

// A target that never answers, under a clock of its own: how often and how long it is tried.
static void schedule(uint32_t random, double least, double most)
{
    const int64_t created = 1000000;
    int64_t now = created, wait = 0, attempts = 0, next;
    while ((next = delivery_retry_at(created, ++attempts, now, random)) >= 0) {
        double base = attempts <= 10 ? 1000 * (double)(1 << (attempts - 1)) : 900000;
        wait = next - now;
        assert_true((double)wait >= base * least - 1 && (double)wait <= base * most + 1);
        assert_true(next - created <= DAY);
        now = next + 30000;
    }
    assert_true(now - created > DAY - 20 * 60000);
    assert_true(attempts > 75 && attempts < 140);
}

static void retries(void **state)
{
    (void)state;
    schedule(0, 0.75, 0.75);
    schedule(1023, 1.25, 1.25);
    schedule(512, 0.99, 1.01);
    for (uint32_t random = 0; random < 5000; random += 7)
        schedule(random, 0.75, 1.25);
    assert_int_equal(delivery_retry_at(0, 1, DAY, 0), -1);
    assert_int_equal(delivery_retry_at(0, 1, DAY - 750, 0), DAY);
    // The clock was set back by a year.
    assert_int_equal(delivery_retry_at(365 * DAY, 1, 0, 0), 750);
    assert_true(delivery_retry_at(0, INT64_MAX, 0, 0) > 0);
}

static void add_member(struct op *op, const char *user, const char *role)
{
    struct member member;
    struct err err = ERR_INIT;
    entity_clear(&member_entity, &member);
    member.id = arena_printf(op->arena, "p1:%s", user);
    member.project_id = STR("p1");
    member.user_id = str_of(user);
    member.role = str_of(role);
    assert_int_equal(tx_insert(op->tx, &member_entity, &member, &err), 0);
}

static struct delivery_due first(struct op *op, const char *channel)
{
    struct delivery_due due;
    struct err err = ERR_INIT;
    assert_int_equal(delivery_first(op, channel, op->arena, &due, &err), 0);
    return due;
}

static enum delivery_result record(struct op *op, const struct delivery_due *due,
                                   enum err_kind kind)
{
    struct err err = ERR_INIT, why = ERR_INIT;
    enum delivery_result result;
    if (kind != ERR_NONE)
        err_set(&why, kind, "it said no");
    assert_int_equal(delivery_record(op, due, &why, 0, &result, &err), 0);
    return result;
}

static int64_t count_of(struct op *op, const struct entity *entity, const char *field,
                        const char *value)
{
    struct err err = ERR_INIT;
    int64_t count;
    struct filter *filter = filter_eq_text(entity, field, str_of(value), op->arena);
    assert_int_equal(tx_count(op->tx, entity, filter, &count, &err), 0);
    return count;
}

static void outbox(struct op *op)
{
    const struct entity *entity = &notification_delivery_entity;
    add_member(op, "owner@example.org", "owner");
    add_member(op, "viewer@example.org", "viewer");
    add_member(op, "s9@bot.drover", "owner");
    assert_false(first(op, DELIVERY_WEBHOOK).found);
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "ValueError: no");
    raise(op, NOTIFICATION_CRASH_LOOP, "s1", "ValueError: no");
    assert_int_equal(count_of(op, entity, "state", "waiting"), 2);
    assert_int_equal(op->events->kind, EVENT_DELIVERY_DUE);
    assert_null(op->events->next);

    struct delivery_due mail = first(op, DELIVERY_MAIL), hook = first(op, DELIVERY_WEBHOOK);
    assert_true(str_is(mail.row.target, "owner@example.org"));
    assert_true(str_is(hook.notification.message, "ValueError: no"));
    assert_int_equal(record(op, &hook, ERR_UNAVAILABLE), DELIVERY_RETRY);
    struct delivery_due again = first(op, DELIVERY_WEBHOOK);
    assert_true(str_eq(again.row.id, hook.row.id) && str_is(again.row.error, "it said no"));
    assert_int_equal(again.row.next_at, op->now + 750);
    assert_int_equal(again.row.attempts, 1);
    assert_int_equal(record(op, &again, ERR_NONE), DELIVERY_DONE);
    assert_false(first(op, DELIVERY_WEBHOOK).found);
    assert_int_equal(count_of(op, entity, "state", "delivered"), 1);
    assert_int_equal(record(op, &again, ERR_UNAVAILABLE), DELIVERY_FAILED);
    assert_int_equal(count_of(op, entity, "state", "delivered"), 1);

    assert_int_equal(count_of(op, &service_event_entity, "reason", "NotificationUndelivered"), 0);
    assert_int_equal(record(op, &mail, ERR_DENIED), DELIVERY_FAILED);
    assert_int_equal(count_of(op, entity, "state", "failed"), 1);
    assert_int_equal(count_of(op, &service_event_entity, "reason", "NotificationUndelivered"), 1);
}

static void those_of_what_was_deleted(struct op *op)
{
    struct err err = ERR_INIT;
    raise(op, "T", "s1", "x");
    struct delivery_due due = first(op, DELIVERY_WEBHOOK);
    assert_int_equal(tx_delete(op->tx, &notification_entity, due.notification.id, &err), 0);
    due = first(op, DELIVERY_WEBHOOK);
    assert_true(due.found && !due.notification.id.at);
    op->now += 2 * DAY;
    assert_int_equal(record(op, &due, ERR_UNAVAILABLE), DELIVERY_FAILED);
    assert_int_equal(tx_delete(op->tx, &notification_delivery_entity, due.row.id, &err), 0);
    assert_int_equal(record(op, &due, ERR_NONE), DELIVERY_DONE);
}

static void deliveries(void **state)
{
    (void)state;
    with_ways_out(outbox);
    with_ways_out(those_of_what_was_deleted);
}

static void signature(void **state)
{
    (void)state;
    char out[DELIVERY_SIGNATURE_SIZE];
    delivery_sign(STR("Jefe"), STR("what do ya want for nothing?"), out);  // RFC 4231, case 2
    assert_string_equal(out, "sha256=5bdcc146bf60754e6a042426089575c7"
                             "5a003f089d2739839dec58b964ec3843");
}

static void mails(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct mail mail = {.from = "drover@example.org",
                        .to = "me@example.org",
                        .subject = STR("one\r\nBcc: all@example.org ✗"),
                        .text = STR("a\n.\nb\n"),
                        .id = "d1",
                        .now = 1795680000000};
    mail_compose(&mail, &buf);
    buf_add_char(&buf, '\0');
    assert_string_equal(buf.at, "Date: Thu, 26 Nov 2026 08:00:00 +0000\r\n"
                                "From: Drover <drover@example.org>\r\n"
                                "To: <me@example.org>\r\n"
                                "Message-ID: <d1@drover>\r\n"
                                "Subject: =?utf-8?B?b25lDQpCY2M6IGFsbEBleGFtcGxlLm9yZyDinJc=?=\r\n"
                                "Auto-Submitted: auto-generated\r\n"
                                "MIME-Version: 1.0\r\n"
                                "Content-Type: text/plain; charset=utf-8\r\n"
                                "Content-Transfer-Encoding: base64\r\n\r\n"
                                "YQouCmIK\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grouping),   cmocka_unit_test(goes_with_its_transaction),
        cmocka_unit_test(reading),    cmocka_unit_test(retries),
        cmocka_unit_test(deliveries), cmocka_unit_test(signature),
        cmocka_unit_test(mails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
