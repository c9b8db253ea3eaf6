// SPDX-License-Identifier: Apache-2.0
// multipart/form-data in random splits, framings and boundaries.
#include "net_fixture.h"

struct made {
    struct buf body, expected;
};

static void add_part(struct made *made, const char *boundary, const char *head, const char *label,
                     struct str value)
{
    buf_printf(&made->body, "--%s\r\n%s\r\n\r\n", boundary, head);
    buf_add_str(&made->body, value);
    buf_add_cstr(&made->body, "\r\n");
    buf_printf(&made->expected, "%s %llu %016llx\n", label, (unsigned long long)value.len,
               (unsigned long long)fnv(FNV_START, value.at, value.len));
}

// A value that is full of things that look like the start of a delimiter.
static struct buf teasing_value(const char *boundary, unsigned *seed, size_t about)
{
    struct buf value = BUF_INIT(1 << 30);
    char whole[300];
    int len = snprintf(whole, sizeof(whole), "\r\n--%s", boundary);
    while (value.len < about) {
        int kind = rand_r(seed) % 4;
        if (kind == 0)
            buf_add(&value, whole, (size_t)(rand_r(seed) % len));
        else if (kind == 1)
            buf_add_cstr(&value, "\r\n-\r\r\n\r\n--");
        else
            for (int i = rand_r(seed) % 300; i > 0; i--)
                buf_add_char(&value, (char)rand_r(seed));
    }
    size_t at;
    while (str_find(buf_str(&value), (struct str){whole, (size_t)len}, &at))
        value.at[at + 2] = 'x';
    return value;
}

static struct made make_body(const char *boundary, unsigned *seed, size_t about)
{
    struct made made = {BUF_INIT(1 << 30), BUF_INIT(1 << 20)};
    if (rand_r(seed) % 2)
        buf_add_cstr(&made.body, "a preamble to be ignored\r\n");
    add_part(&made, boundary, "Content-Disposition: form-data; name=\"type\"", "type||",
             STR("file"));
    add_part(&made, boundary, "content-disposition:form-data;name=empty", "empty||", STR(""));
    add_part(&made, boundary, "Content-Disposition: form-data; name=\"empty\"", "empty||", STR(""));
    add_part(&made, boundary,
             "Content-Type: application/zip\r\n"
             "Content-Disposition: form-data; name=\"fi\\\"le\"; filename=\"a;b.zip\"\r\nX-Y: z",
             "fi\"le|a;b.zip|application/zip", STR("\r\n"));
    add_part(&made, boundary,
             "Content-Disposition: form-data; name=u; filename=\"x\"; "
             "filename*=utf-8''na%C3%AFve%20.txt",
             "u|na\xc3\xafve .txt|", STR("\r\n--"));
    struct buf value = teasing_value(boundary, seed, about);
    add_part(&made, boundary, "Content-Disposition: form-data; name=\"file\"", "file||",
             buf_str(&value));
    buf_deinit(&value);
    buf_printf(&made.body, "--%s--%s", boundary, rand_r(seed) % 3 ? "\r\nan epilogue" : "");
    return made;
}

static void send_body(struct fixture *fx, int fd, const struct made *made, bool chunked,
                      unsigned *seed)
{
    char line[32];
    size_t biggest = rand_r(seed) % 3 ? 5000 : 40;
    for (size_t done = 0; done < made->body.len;) {
        size_t piece = 1 + (size_t)rand_r(seed) % biggest;
        piece = piece < made->body.len - done ? piece : made->body.len - done;
        snprintf(line, sizeof(line), "%zx\r\n", piece);
        if (chunked)
            CHECK(fx_send_text(fd, line));
        CHECK(fx_send(fd, made->body.at + done, piece));
        if (chunked)
            CHECK(fx_send_text(fd, "\r\n"));
        done += piece;
    }
    if (chunked)
        CHECK(fx_send_text(fd, "0\r\n\r\n"));
}

static void ask_multipart(struct fixture *fx)
{
    const char *boundaries[] = {"b", "------------------------8b4b2a33e61f1234", "-",
                                "a'()+_,-./:=?"};
    unsigned seed = 42;
    struct answer answer = {0};
    int fd = fx_connect(fx);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof(on));
    for (int i = 0; i < 120; i++) {
        const char *boundary = boundaries[i % 4];
        struct made made = make_body(boundary, &seed, i % 10 ? 3000 : 200000);
        bool chunked = rand_r(&seed) % 2;
        char head[512], framing[64] = "Transfer-Encoding: chunked";
        if (!chunked)
            snprintf(framing, sizeof(framing), "Content-Length: %zu", made.body.len);
        snprintf(head, sizeof(head),
                 "POST /part%s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Type: Multipart/Form-Data; "
                 "charset=utf-8; boundary=\"%s\"\r\n\r\n",
                 rand_r(&seed) % 2 ? "?pause" : "", framing, boundary);
        CHECK(fx_send_text(fd, head));
        send_body(fx, fd, &made, chunked, &seed);
        fx_receive(fd, false, &answer);
        CHECK(answer.status == 200 && str_eq(buf_str(&answer.body), buf_str(&made.expected)));
        buf_deinit(&made.body);
        buf_deinit(&made.expected);
    }
    close(fd);
    buf_deinit(&answer.body);
}

static void parts_come_whole_in_any_split(void **state)
{
    (void)state;
    struct fixture fx = {0};
    fx_run(&fx, ask_multipart);
    assert_int_equal(fx.sent, 120);
    assert_int_equal(fx.pieces_while_paused, 0);
}

static int ask_body(struct fixture *fx, const char *type, const char *body, struct answer *answer)
{
    char request[2048];
    snprintf(request, sizeof(request),
             "POST /part HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
             type, strlen(body), body);
    fx_ask(fx, request, answer);
    return answer->status;
}

static void ask_malformed(struct fixture *fx)
{
    struct answer answer = {0};
    const char *type = "multipart/form-data; boundary=b";
    CHECK(ask_body(fx, "application/json", "{}", &answer) == 415);
    CHECK(ask_body(fx, "multipart/form-data", "--b--", &answer) == 415);
    CHECK(ask_body(fx, "multipart/form-data; boundary=", "--b--", &answer) == 415);
    CHECK(ask_body(fx, "multipart/form-data; boundary=\"", "--b--", &answer) == 415);
    CHECK(ask_body(fx, type, "--b--", &answer) == 200 && answer.body.len == 0);
    CHECK(ask_body(fx, type, "--b--\r\n", &answer) == 200);
    CHECK(ask_body(fx, type, "", &answer) == 400);
    CHECK(ask_body(fx, type, "nothing of the kind", &answer) == 400);
    CHECK(ask_body(fx, type, "--b\r\nContent-Disposition: form-data; name=a\r\n\r\ncut", &answer) ==
          400);
    CHECK(ask_body(fx, type, "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b",
                   &answer) == 400);
    CHECK(ask_body(fx, type, "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--", &answer) == 400);
    CHECK(ask_body(fx, type, "--b\r\n\r\nx\r\n--b--", &answer) == 400);
    CHECK(ask_body(fx, type, "--bx\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--",
                   &answer) == 400);
    CHECK(ask_body(fx, type, "--b-x", &answer) == 400);
    int fd = fx_connect(fx);  // a head of a part that never ends
    char kilobyte[1025];
    memset(kilobyte, 'h', 1024);
    kilobyte[1024] = 0;
    CHECK(fx_send_text(fd, "POST /part HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; "
                           "boundary=b\r\nContent-Length: 102405\r\n\r\n--b\r\n"));
    for (int i = 0; i < 100; i++)
        CHECK(fx_send_text(fd, kilobyte));
    fx_receive(fd, false, &answer);
    CHECK(answer.status == 400);
    close(fd);
    buf_deinit(&answer.body);
}

static void malformed_bodies_are_refused(void **state)
{
    (void)state;
    struct fixture fx = {0};
    fx_run(&fx, ask_malformed);
    assert_int_equal(fx.cut, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_whole_in_any_split),
        cmocka_unit_test(malformed_bodies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
