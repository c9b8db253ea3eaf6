// SPDX-License-Identifier: Apache-2.0
// The HTTP client against the real server, both on one loop.
#include "net_fixture.h"

#include <sys/mman.h>

#include "net/http_client.h"

struct asked {
    struct session *session;
    int status;
    enum err_kind kind;
    bool done;
    size_t len;      // of the body
    char text[256];  // its start
};

struct session {
    struct fixture fx;
    struct http_client *client, *other;
    struct http_call *call;
    int left;  // answers to come before the end
    int in_a_row;
    int64_t connections;
    struct asked asked[64];
};

static void end_session(struct session *session)
{
    http_client_free(session->client);
    http_client_free(session->other);
    session->client = NULL;
    if (session->fx.server)
        http_server_stop(session->fx.server, 100, fx_on_stopped, &session->fx);
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct asked *asked = arg;
    assert_false(asked->done);
    asked->done = true;
    asked->status = answer->status;
    asked->kind = answer->err.kind;
    assert_int_equal(answer->status == 0, answer->err.message[0] != 0);
    asked->len = answer->body.len;
    snprintf(asked->text, sizeof(asked->text), STR_FMT, STR_ARG(answer->body));
    if (--asked->session->left == 0)
        end_session(asked->session);
}

static void open_session(struct session *session, const char *base_url, int64_t body_max)
{
    char url[300];
    fx_open(&session->fx);
    snprintf(url, sizeof(url), "http://%s/", session->fx.address);
    struct http_client_config config = {
        .base_url = base_url ? base_url : url, .bearer = "secret", .body_max = body_max};
    session->client = http_client_new(session->fx.loop, &config);
    for (int i = 0; i < 64; i++)
        session->asked[i].session = session;
}

static void close_session(struct session *session)
{
    loop_run(session->fx.loop);
    assert_null(session->fx.server);
    loop_free(session->fx.loop);
    assert_int_equal(session->fx.failures, 0);
}

static struct http_call *ask(struct session *session, int slot, struct http_call_config config)
{
    config.to_fd = config.to_fd ? config.to_fd : -1;
    config.on_done = on_answer;
    config.arg = &session->asked[slot];
    return http_client_send(session->client, &config);
}

static struct buf text(const char *at)
{
    struct buf buf = BUF_INIT(1 << 20);
    buf_add_cstr(&buf, at);
    return buf;
}

static void calls_are_answered(void **state)
{
    (void)state;
    const struct {
        const char *method, *path, *body;
        int status;
        const char *answer;
    } cases[] = {
        {"POST", "/echo", "{}", 200, "{}"},
        {"GET", "/late", NULL, 403, "late"},
        {"DELETE", "/a%20b?q=1", NULL, 200, "DELETE /a b /a%20b peer=127.0.0.1 [q]=[1]"},
        {"HEAD", "/seen", NULL, 200, ""},
        {"PUT", "/echo", "p", 200, "p"},
        {"POST", "/echo", NULL, 200, ""},
        {"PATCH", "/refuse", "x", 401, "who are you?"},
        {NULL, "/seen", NULL, 200, "GET /seen /seen peer=127.0.0.1"},
    };
    enum { COUNT = sizeof(cases) / sizeof(cases[0]) };
    struct session session = {.left = COUNT};
    open_session(&session, NULL, 0);
    for (int i = 0; i < COUNT; i++)
        ask(&session, i,
            (struct http_call_config){.method = cases[i].method,
                                      .path = cases[i].path,
                                      .body = cases[i].body ? text(cases[i].body)
                                                            : (struct buf){0}});
    close_session(&session);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(session.asked[i].status, cases[i].status);
        assert_string_equal(session.asked[i].text, cases[i].answer);
    }
}

static void large_bodies_go_both_ways(void **state)
{
    (void)state;
    struct session session = {.left = 2};
    open_session(&session, NULL, 0);
    struct buf big = BUF_INIT(4 << 20);
    for (int i = 0; i < 3000000; i++)
        buf_add_char(&big, 'a');
    ask(&session, 0, (struct http_call_config){.method = "POST", .path = "/echo", .body = big});
    ask(&session, 1,
        (struct http_call_config){.method = "POST", .path = "/limit", .body = text("01234567890")});
    close_session(&session);
    assert_int_equal(session.asked[0].status, 200);
    assert_int_equal(session.asked[0].len, 3000000);
    assert_int_equal(session.asked[1].status, 413);
}

static void an_answer_goes_to_a_file_and_no_further_than_its_limit(void **state)
{
    (void)state;
    char name[] = "/tmp/drover-test-XXXXXX";
    int out = mkstemp(name);
    char zeros[4096] = {0};
    struct session session = {.left = 3};
    session.fx.file = out;
    for (int i = 0; i < 30; i++)
        assert_int_equal(write(out, zeros, sizeof(zeros)), sizeof(zeros));
    int to = memfd_create("answer", 0);
    open_session(&session, NULL, 1000);
    ask(&session, 0, (struct http_call_config){.path = "/file", .to_fd = to});
    ask(&session, 1, (struct http_call_config){.path = "/file"});
    ask(&session, 2, (struct http_call_config){.path = "/refuse", .to_fd = to});
    close_session(&session);
    assert_int_equal(session.asked[0].status, 206);
    assert_int_equal(lseek(to, 0, SEEK_END), 100000);
    assert_int_equal(session.asked[1].status, 0);
    assert_int_equal(session.asked[1].kind, ERR_TOO_LARGE);
    assert_int_equal(session.asked[2].status, 401);
    assert_string_equal(session.asked[2].text, "who are you?");
    close(to);
    close(out);
    unlink(name);
}

static void send_next(void *arg, const struct http_answer *answer)
{
    struct session *session = arg;
    session->fx.failures += answer->status != 200;
    if (session->in_a_row++ == 300) {
        session->connections = http_server_connections(session->fx.server);
        end_session(session);
        return;
    }
    http_client_send(session->client, &(struct http_call_config){.method = "POST",
                                                                 .path = "/echo",
                                                                 .body = text("again"),
                                                                 .to_fd = -1,
                                                                 .on_done = send_next,
                                                                 .arg = session});
}

static void one_connection_serves_many_calls(void **state)
{
    (void)state;
    struct session session = {0};
    open_session(&session, NULL, 0);
    send_next(&session, &(struct http_answer){.status = 200});
    close_session(&session);
    assert_int_equal(session.in_a_row, 301);
    assert_int_equal(session.connections, 1);
}

static void cancel_one(void *arg)
{
    struct session *session = arg;
    http_call_cancel(session->call);
    http_call_cancel(NULL);
    session->call = NULL;
}

static void calls_time_out_and_are_cancelled(void **state)
{
    (void)state;
    struct session session = {.left = 1};
    open_session(&session, NULL, 0);
    ask(&session, 0, (struct http_call_config){.path = "/park", .timeout_ms = 150});
    session.call = ask(&session, 1, (struct http_call_config){.path = "/park"});
    http_call_cancel(ask(&session, 2, (struct http_call_config){.path = "/x", .body = text("b")}));
    loop_timer_start(session.fx.loop, 30, 0, cancel_one, &session);
    close_session(&session);
    assert_int_equal(session.asked[0].status, 0);
    assert_int_equal(session.asked[0].kind, ERR_TIMEOUT);
    assert_false(session.asked[1].done);
    assert_false(session.asked[2].done);
}

static void on_free_early(void *arg)
{
    struct session *session = arg;
    end_session(session);
}

static void freeing_the_client_ends_its_calls(void **state)
{
    (void)state;
    struct session session = {.left = 99};
    open_session(&session, NULL, 0);
    for (int i = 0; i < 40; i++)
        ask(&session, i, (struct http_call_config){.path = "/park", .body = text("x")});
    loop_timer_start(session.fx.loop, 50, 0, on_free_early, &session);
    close_session(&session);
    for (int i = 0; i < 40; i++) {
        assert_true(session.asked[i].done);
        assert_int_equal(session.asked[i].status, 0);
        assert_int_equal(session.asked[i].kind, ERR_UNAVAILABLE);
    }
}

static void a_server_that_is_not_there_gives_an_error(void **state)
{
    (void)state;
    struct session session = {.left = 2};
    open_session(&session, "http://127.0.0.1:1", 0);
    ask(&session, 0, (struct http_call_config){.path = "/x"});
    ask(&session, 1, (struct http_call_config){.path = "/a b\r\nX: y"});
    close_session(&session);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(session.asked[i].status, 0);
        assert_int_equal(session.asked[i].kind, ERR_UNAVAILABLE);
    }
}

static void unix_sockets_work_on_both_sides(void **state)
{
    (void)state;
    char dir[] = "/tmp/drover-test-XXXXXX", where[64];
    assert_non_null(mkdtemp(dir));
    snprintf(where, sizeof(where), "unix:%s/s", dir);
    struct session session = {.left = 2, .fx.config.listen = where};
    open_session(&session, where, 0);
    ask(&session, 0,
        (struct http_call_config){.method = "POST", .path = "/echo", .body = text("u")});
    ask(&session, 1, (struct http_call_config){.path = "/seen?x=y"});
    close_session(&session);
    assert_string_equal(session.asked[0].text, "u");
    assert_string_equal(session.asked[1].text, "GET /seen /seen peer= [x]=[y]");
    rmdir(dir);
}

// Made for this test with openssl req; good for 127.0.0.1 until 2126.
static const char *const CERT = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBlDCCATqgAwIBAgIUXm7KOyitwYUmL+4ZSEvmgn3MzWAwCgYIKoZIzj0EAwIw\n"
                                "FjEUMBIGA1UEAwwLZHJvdmVyLXRlc3QwIBcNMjYxMTIzMjIwODM0WhgPMjEyNjEw\n"
                                "MzAyMjA4MzRaMBYxFDASBgNVBAMMC2Ryb3Zlci10ZXN0MFkwEwYHKoZIzj0CAQYI\n"
                                "KoZIzj0DAQcDQgAEq7CG28tLxBhM8NGCL/FM6okvV2XPZe/WI4obr0R+/w6KZtXY\n"
                                "tvevhOgZHaaBR3WCTcsqy34c9bdqjqyit7i4H6NkMGIwHQYDVR0OBBYEFEVg1F3D\n"
                                "tfPaQMcwpt6jkryfe2h3MB8GA1UdIwQYMBaAFEVg1F3DtfPaQMcwpt6jkryfe2h3\n"
                                "MA8GA1UdEwEB/wQFMAMBAf8wDwYDVR0RBAgwBocEfwAAATAKBggqhkjOPQQDAgNI\n"
                                "ADBFAiEAtHMGN0FgsYiP2//2Pdc/VjhOw+4vPq2qSk3n70A0/skCIGn1u/J7RWNY\n"
                                "lbfaQqn8EcbT6mgozcxY68IKT0YLTfgU\n"
                                "-----END CERTIFICATE-----\n";
static const char *const KEY = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPzjSn4++AjjgW9IQ\n"
                               "M/3JmogZoZgWKE/91JLZG9E612ehRANCAASrsIbby0vEGEzw0YIv8UzqiS9XZc9l\n"
                               "79YjihuvRH7/Dopm1di296+E6BkdpoFHdYJNyyrLfhz1t2qOrKK3uLgf\n"
                               "-----END PRIVATE KEY-----\n";

static void write_file(const char *path, const char *data)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, strlen(data), file), strlen(data));
    fclose(file);
}

static void tls_works_with_a_pinned_certificate(void **state)
{
    (void)state;
    char dir[] = "/tmp/drover-test-XXXXXX", cert[64], key[64], url[300];
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof(cert), "%s/cert", dir);
    snprintf(key, sizeof(key), "%s/key", dir);
    write_file(cert, CERT);
    write_file(key, KEY);
    struct session session = {.left = 4, .fx.config = {.tls_cert = cert, .tls_key = key}};
    open_session(&session, NULL, 0);
    http_client_free(session.client);
    snprintf(url, sizeof(url), "https://%s", session.fx.address);
    struct http_client_config config = {.base_url = url};
    session.client = session.other = http_client_new(session.fx.loop, &config);
    ask(&session, 0, (struct http_call_config){.path = "/x"});
    config.ca_file = cert;
    session.client = http_client_new(session.fx.loop, &config);
    ask(&session, 1, (struct http_call_config){.path = "/late"});
    struct buf big = BUF_INIT(8 << 20);
    assert_non_null(buf_reserve(&big, 8 << 20));
    for (int i = 0; i < 6 << 20; i++)
        buf_add_char(&big, 'a');
    ask(&session, 2, (struct http_call_config){.method = "POST", .path = "/midway", .body = big});
    ask(&session, 3,
        (struct http_call_config){.method = "POST", .path = "/echo", .body = text("tls")});
    close_session(&session);
    assert_int_equal(session.asked[0].kind, ERR_UNAVAILABLE);
    assert_int_equal(session.asked[1].status, 403);
    assert_int_equal(session.asked[2].status, 507);
    assert_string_equal(session.asked[3].text, "tls");
    struct err err = ERR_INIT;
    struct loop *loop = loop_new();
    session.fx.config.tls_key = NULL;
    assert_null(http_server_start(loop, &session.fx.config, &err));
    session.fx.config.tls_key = cert;
    assert_null(http_server_start(loop, &session.fx.config, &err));
    session.fx.config.tls_key = "/nowhere";
    assert_null(http_server_start(loop, &session.fx.config, &err));
    loop_free(loop);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

static void stop_server(void *arg)
{
    struct session *session = arg;
    http_server_stop(session->fx.server, 2000, fx_on_stopped, &session->fx);
}

static void a_stop_lets_running_requests_end(void **state)
{
    (void)state;
    struct session session = {.left = 2};
    open_session(&session, NULL, 0);
    session.fx.late_ms = 100;
    ask(&session, 0, (struct http_call_config){.path = "/late"});
    ask(&session, 1, (struct http_call_config){.method = "POST", .path = "/late"});
    loop_timer_start(session.fx.loop, 40, 0, stop_server, &session);
    close_session(&session);
    assert_int_equal(session.asked[0].status, 403);
    assert_int_equal(session.asked[1].status, 403);
    assert_int_equal(session.fx.sent, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered),
        cmocka_unit_test(large_bodies_go_both_ways),
        cmocka_unit_test(an_answer_goes_to_a_file_and_no_further_than_its_limit),
        cmocka_unit_test(one_connection_serves_many_calls),
        cmocka_unit_test(calls_time_out_and_are_cancelled),
        cmocka_unit_test(freeing_the_client_ends_its_calls),
        cmocka_unit_test(a_server_that_is_not_there_gives_an_error),
        cmocka_unit_test(unix_sockets_work_on_both_sides),
        cmocka_unit_test(tls_works_with_a_pinned_certificate),
        cmocka_unit_test(a_stop_lets_running_requests_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
