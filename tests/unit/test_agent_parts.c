// SPDX-License-Identifier: Apache-2.0
// The agent's parts that need no process: assignments, specs, slots, environment names, lines.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/assignment.h"
#include "agent/child.h"
#include "agent/environment.h"
#include "agent/slots.h"
#include "agent/spec.h"

#define SHA "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define BASE                                                                                       \
    "\"session\":\"s\",\"leaseMs\":15000,\"concurrency\":10,\"module\":{\"name\":\"m\"},"          \
    "\"code\":{\"type\":\"item\",\"sha256\":\"" SHA "\"}"

static void reads_an_assignment(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct assignment got;
    struct err err = ERR_INIT;
    struct str body = STR("{" BASE ",\"service\":{\"id\":\"1\",\"drainTime\":7},"
                          "\"executionTimeoutS\":60,\"dtlpy\":\"1.126.5\","
                          "\"requirements\":[\"numpy==1.26.0\",\"  \",\" x>1 \"],"
                          "\"env\":{\"A\":\"b=c\",\"U\\u0031\":\"\"},"
                          "\"sdk\":{\"url\":\"http://u\",\"gate\":\"http://g\",\"token\":\"t\"},"
                          "\"limits\":{\"outputBytes\":1000}}");
    assert_int_equal(assignment_parse(body, &got, arena, &err), 0);
    assert_string_equal(got.session, "s");
    assert_int_equal(got.lease_ms, 15000);
    assert_int_equal(got.concurrency, 10);
    assert_int_equal(got.drain_ms, 7000);
    assert_int_equal(got.execution_timeout_s, 60);
    assert_int_equal(got.code.type, CODE_ITEM);
    assert_string_equal(got.code.sha256, SHA);
    assert_string_equal(got.dtlpy, "1.126.5");
    assert_int_equal(got.requirement_count, 2);
    assert_true(str_is(got.requirements[1], "x>1"));
    assert_int_equal(got.env_count, 2);
    assert_string_equal(got.env[0], "A=b=c");
    assert_string_equal(got.env[1], "U1=");
    assert_string_equal(got.sdk_token, "t");
    assert_int_equal(got.output_bytes, 1000);
    assert_int_equal(got.log_line_bytes, 16384);
}

static void refuses_bad_assignments(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field;
    } cases[] = {
        {"{\"leaseMs\":1}", "session"},
        {"{\"session\":\"s\",\"leaseMs\":15000,\"concurrency\":1}", "module"},
        {"{\"session\":\"s\",\"leaseMs\":5,\"module\":{}}", "leaseMs"},
        {"{\"session\":\"s\",\"leaseMs\":500,\"concurrency\":0,\"module\":{}}", "concurrency"},
        {"{\"session\":\"s\",\"leaseMs\":500,\"concurrency\":1,\"module\":{}}", "code.type"},
        {"{\"session\":\"s\",\"leaseMs\":500,\"concurrency\":1,\"module\":{},"
         "\"code\":{\"type\":\"item\",\"sha256\":\"../../x\"}}",
         "code.sha256"},
        {"{\"session\":\"s\",\"leaseMs\":500,\"concurrency\":1,\"module\":{},"
         "\"code\":{\"type\":\"git\",\"url\":\"--upload-pack=x\"}}",
         "code.url"},
        {"{\"session\":\"s\",\"leaseMs\":500,\"concurrency\":1,\"module\":{},"
         "\"code\":{\"type\":\"git\",\"url\":\"https://h/r\",\"tag\":\"-x\"}}",
         "code.tag"},
        {"{" BASE ",\"requirements\":[\"a\\nb\"]}", "requirements"},
        {"{" BASE ",\"env\":{\"A=B\":\"x\"}}", "env"},
        {"{" BASE ",\"env\":{\"A\":1}}", "env"},
        {"{\"session\":\"s\",\"leaseMs\":5,\"keep\":true}", "leaseMs"},
        {"[]", ""},
        {"{", ""},
    };
    _cleanup_arena_ struct arena *kept = arena_new();
    struct assignment keep;
    struct err none = ERR_INIT;
    assert_int_equal(assignment_parse(STR("{\"session\":\"s\",\"leaseMs\":500,\"keep\":true}"),
                                      &keep, kept, &none),
                     0);
    assert_true(keep.keep && keep.lease_ms == 500);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct assignment got;
        struct err err = ERR_INIT;
        assert_int_equal(assignment_parse(str_of(cases[i].body), &got, arena, &err), -1);
        assert_string_equal(err.field, cases[i].field);
    }
}

static void reads_a_spec(void **state)
{
    (void)state;
    char path[] = "/tmp/drover-spec-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] =
        "{\"replicaId\":\"r\",\"serviceId\":\"s\",\"revision\":\"1\",\"agentUrl\":\"unix:/x\","
        "\"agentCa\":null,\"token\":\"t\",\"cache\":\"/c\",\"python\":\"python3\",\"runner\":\"/"
        "r\","
        "\"folder\":\"/f\",\"cpuMilli\":500,\"gitFile\":true}";
    assert_int_equal(write(fd, text, sizeof(text) - 1), (int)sizeof(text) - 1);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct agent_spec spec;
    struct err err = ERR_INIT;
    assert_int_equal(agent_spec_read(path, &spec, arena, &err), 0);
    assert_string_equal(spec.folder, "/f");
    assert_null(spec.agent_ca);
    assert_int_equal(spec.cpu_milli, 500);
    assert_true(spec.git_file);
    assert_int_equal(ftruncate(fd, 30), 0);
    assert_int_equal(agent_spec_read(path, &spec, arena, &err), -1);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "{\"replicaId\":\"\"}", 16, 0), 16);
    assert_int_equal(agent_spec_read(path, &spec, arena, &err), -1);
    assert_non_null(strstr(err.message, "replicaId"));
    close(fd);
    unlink(path);
    assert_int_equal(agent_spec_read(path, &spec, arena, &err), -1);
}

static void slots_follow_an_execution(void **state)
{
    (void)state;
    struct slots slots;
    slots_init(&slots);
    struct slot *a = slots_add(&slots, STR("a"), 5), *b = slots_add(&slots, STR("b"), 6);
    assert_ptr_equal(slots_find(&slots, STR("a")), a);
    assert_ptr_equal(slots_first(&slots, SLOT_QUEUED), a);
    assert_int_equal(slots_held(&slots), 2);
    slots_move(&slots, a, SLOT_RUNNING);
    a->runner_fence = 5;
    a->fence = 9;  // delivered again meanwhile
    assert_ptr_equal(slots_find_in_runner(&slots, STR("a"), 5), a);
    assert_null(slots_find_in_runner(&slots, STR("a"), 9));

    slots_abandon(&slots, a, 100);
    slots_move(&slots, a, SLOT_NEWS);
    struct slot *left = slots_find_in_runner(&slots, STR("a"), 5);
    assert_non_null(left);
    assert_int_equal(left->state, SLOT_ABANDONED);
    assert_ptr_equal(slots_find(&slots, STR("a")), a);
    assert_int_equal(slots_in_runner(&slots), 1);
    assert_int_equal(slots_held(&slots), 2);
    slots_release(&slots, a);
    assert_null(slots_find(&slots, STR("a")));
    slots_release(&slots, left);
    assert_int_equal(slots_in_runner(&slots), 0);

    buf_add_cstr(&b->text, "kept memory");
    char *memory = b->text.at;
    slots_release(&slots, b);
    struct slot *reused = slots_add(&slots, STR("c"), 1);
    for (int i = 0; i < 3 && reused->text.at != memory; i++)
        reused = slots_add(&slots, (struct str){&"def"[i], 1}, 1);
    assert_ptr_equal(reused->text.at, memory);
    assert_int_equal(reused->text.len, 0);
    assert_int_equal(reused->fence, 1);
    slots_deinit(&slots);
}

static void environment_names_depend_on_what_counts(void **state)
{
    (void)state;
    struct str two[] = {STR("numpy==1"), STR("scipy")}, swapped[] = {STR("scipy"), STR("numpy==1")};
    struct str joined[] = {STR("numpy==1scipy")};
    char a[65], b[65];
    environment_hash("/usr/bin/python3 3.11", "1.126.5", two, 2, a);
    assert_int_equal(strlen(a), 64);
    environment_hash("/usr/bin/python3 3.11", "1.126.5", swapped, 2, b);
    assert_string_equal(a, b);
    environment_hash("/usr/bin/python3 3.12", "1.126.5", two, 2, b);
    assert_string_not_equal(a, b);
    environment_hash("/usr/bin/python3 3.11", NULL, two, 2, b);
    assert_string_not_equal(a, b);
    environment_hash("/usr/bin/python3 3.11", "1.126.5", joined, 1, b);
    assert_string_not_equal(a, b);
    environment_hash("/usr/bin/python3 3.11", "1.126.5", two, 1, b);
    assert_string_not_equal(a, b);
}

static void gather(void *arg, struct str line)
{
    struct buf *out = arg;
    buf_add_char(out, '[');
    buf_add_str(out, line);
    buf_add_char(out, ']');
}

static void cuts_lines(void **state)
{
    (void)state;
    struct lines lines;
    lines_init(&lines, 5);
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    lines_feed(&lines, STR("a"), gather, &out);
    lines_feed(&lines, STR("b\n\n1234567890123\nend"), gather, &out);
    lines_end(&lines, gather, &out);
    lines_end(&lines, gather, &out);
    assert_true(str_is(buf_str(&out), "[ab][][12345][67890][123][end]"));
    lines_deinit(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_an_assignment),
        cmocka_unit_test(refuses_bad_assignments),
        cmocka_unit_test(reads_a_spec),
        cmocka_unit_test(slots_follow_an_execution),
        cmocka_unit_test(environment_names_depend_on_what_counts),
        cmocka_unit_test(cuts_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
