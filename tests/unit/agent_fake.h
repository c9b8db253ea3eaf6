// SPDX-License-Identifier: Apache-2.0
// A server for one agent, as docs/agent-link.md describes it, on a thread and a unix socket of its
// own, with faults on demand; and a runner in Python that does what an execution's function says.
#ifndef DROVER_TESTS_AGENT_FAKE_H
#define DROVER_TESTS_AGENT_FAKE_H

#include <archive.h>
#include <archive_entry.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/code.h"
#include "agent/folder.h"
#include "base/clock.h"
#include "base/json.h"
#include "net/http_server.h"
#include "net/loop.h"

#define FAKE_MOST 400

enum fake_state { FAKE_QUEUED, FAKE_GIVEN, FAKE_DONE };

struct fake_execution {
    char id[32];
    const char *function;
    int64_t fence, timeout_s;
    enum fake_state state;
    char status[16];    // of the recorded result; or "lost", "returned"
    char message[400];  // of a failed or lost one
    int reports;        // how often a result came
    size_t output_len;
};

struct fake {
    // Set before fake_run.
    struct fake_execution executions[FAKE_MOST];
    int count;
    int64_t concurrency, lease_ms, drain_s;
    const char *module;        // what the runner is to be: "good", "failing", "dying"
    const char *requirements;  // a JSON array
    const char *code;          // JSON; NULL: the archive
    bool no_second_delivery;   // what was returned or lost is not given again
    bool git_file;
    const char *final_command;  // sent when every execution is done: "drain"; NULL: none
    // On the server's thread, for each exchange, before it is taken in; may set the faults.
    void (*on_exchange)(struct fake *fake, struct json body);
    int64_t marks[4];  // the scenario's own

    // Faults and orders, each taken once.
    int fail_answers;      // so many exchanges are taken in, and then answered with 503
    int64_t delay_answer;  // ms by which the next answer with executions is late
    int restart_ms;        // > 0: the server goes away for so long and forgets its sessions
    const char *command;
    const char *terminate, *drop;  // ids
    bool redeliver;                // gives what is out again, with newer fences
    int refuse_status;             // answer of all that comes from now on
    int too_large;                 // bytes of an exchange from which on it is answered with 413

    // What was seen.
    int hellos, exchanges, unknown_sessions;
    size_t most_given, largest_progress;
    char failure[3000], last_state[16], hello_held[200];
    struct buf logs;

    // Its own.
    char root[48], socket[80];
    struct loop *loop;
    struct http_server *server;
    struct http_request *held;  // the exchange that waits for something to be said
    int64_t held_seq;
    struct loop_timer *held_timer;
    int session;
    bool stopping;
    struct buf archive;
    char archive_sha[65];
    pthread_t thread;
};

static const char fake_runner[] =
    "import json, os, signal, socket, struct, threading, time\n"
    "s = socket.socket(fileno=3)\n"
    "lock = threading.Condition()\n"
    "credit = 1 << 20\n"
    "events = {}\n"
    "def send(**frame):\n"
    "    text = json.dumps(frame).encode()\n"
    "    with lock:\n"
    "        s.sendall(struct.pack('>I', len(text)) + text)\n"
    "def log(e, message):\n"
    "    global credit\n"
    "    frame = dict(t='log', at=1, level='INFO', id=e['id'], function=e['function'],\n"
    "                 message=message)\n"
    "    with lock:\n"
    "        text = json.dumps(frame).encode()\n"
    "        while credit < len(text):\n"
    "            lock.wait()\n"
    "        credit -= len(text)\n"
    "        s.sendall(struct.pack('>I', len(text)) + text)\n"
    "def receive():\n"
    "    head = s.recv(4, socket.MSG_WAITALL)\n"
    "    if len(head) < 4:\n"
    "        os._exit(0)\n"
    "    return json.loads(s.recv(struct.unpack('>I', head)[0], socket.MSG_WAITALL))\n"
    "def run(e):\n"
    "    f, out = e['function'], dict(status='success', output=e['input'])\n"
    "    if f == 'slow': time.sleep(0.4)\n"
    "    if f == 'nap': time.sleep(2.5)\n"
    "    if f == 'painter':\n"
    "        for n in (900000, 3000000):\n"
    "            send(t='progress', id=e['id'], fence=e['fence'], percent=1, output='x' * n)\n"
    "    while f == 'nag': log(e, 'still here'); time.sleep(0.05)\n"
    "    if f == 'hang': time.sleep(60)\n"
    "    if f == 'die': os.kill(os.getpid(), signal.SIGSEGV); time.sleep(30)\n"
    "    if f == 'raw': os.write(1, b'a raw line\\n'); time.sleep(0.2)\n"
    "    if f == 'partial': os.write(1, b'no line end'); os.write(2, b'one\\ntwo')\n"
    "    if f == 'big': out['output'] = 'x' * 300000\n"
    "    if f == 'huge': out['output'] = 'x' * 2000000\n"
    "    if f == 'env': out['output'] = dict(os.environ)\n"
    "    if f == 'progress': send(t='progress', id=e['id'], fence=e['fence'], percent=50)\n"
    "    if f == 'fail':\n"
    "        out = dict(status='failed', error=dict(message='boom', type='ValueError', "
    "stack=None))\n"
    "    if f == 'patient' and events[e['id']].wait(20): out = dict(status='terminated')\n"
    "    if f == 'chatty':\n"
    "        for i in range(3000): log(e, 'line %d ' % i + 'x' * 1000)\n"
    "    if f == 'garbled': out = dict(status='failed', error=dict(message='half \\ud800'))\n"
    "    log(e, '[Done] Executing function.')\n"
    "    now = int(time.time() * 1000)\n"
    "    send(t='result', id=e['id'], fence=e['fence'], startedAt=now, endedAt=now, **out)\n"
    "    if f == 'reset': send(t='reset')\n"
    "load = receive()\n"
    "assert load['t'] == 'load' and os.path.exists(load['folder'] + '/main.py')\n"
    "kind = os.environ['FAKE_MODULE']\n"
    "if kind == 'dying':\n"
    "    os.write(2, b'no such library\\n')\n"
    "    os._exit(9)\n"
    "if kind == 'failing':\n"
    "    send(t='failed', type='init', error=dict(message='no model', type='OSError', "
    "stack='at'))\n"
    "    os._exit(1)\n"
    "if kind == 'partial': os.write(1, b'said by the init')\n"
    "send(t='ready', python='3', dtlpy=None, pid=os.getpid())\n"
    "threads = []\n"
    "while True:\n"
    "    frame = receive()\n"
    "    if frame['t'] == 'invoke':\n"
    "        events[frame['id']] = threading.Event()\n"
    "        threads.append(threading.Thread(target=run, args=(frame,), daemon=True))\n"
    "        threads[-1].start()\n"
    "    if frame['t'] == 'cancel': events[frame['id']].set()\n"
    "    if frame['t'] == 'credit':\n"
    "        with lock:\n"
    "            credit += frame['bytes']\n"
    "            lock.notify_all()\n"
    "    if frame['t'] == 'stop':\n"
    "        for thread in threads: thread.join()\n"
    "        os._exit(0)\n";

// ── executions ───────────────────────────────────────────────────────────────────────────────

static inline struct fake_execution *fake_add(struct fake *fake, const char *function)
{
    assert_true(fake->count < FAKE_MOST);
    struct fake_execution *e = &fake->executions[fake->count];
    snprintf(e->id, sizeof(e->id), "execution-%04d", fake->count++);
    e->function = function;
    e->timeout_s = 60;
    e->fence = 1;
    return e;
}

static inline struct fake_execution *fake_find(struct fake *fake, struct json id)
{
    for (int i = 0; i < fake->count; i++)
        if (id.text.len == strlen(fake->executions[i].id) + 2 &&
            memcmp(id.text.at + 1, fake->executions[i].id, id.text.len - 2) == 0)
            return &fake->executions[i];
    fail_msg("the agent names an unknown execution: " STR_FMT, STR_ARG(id.text));
    return NULL;
}

static inline bool fake_all_done(const struct fake *fake)
{
    for (int i = 0; i < fake->count; i++)
        if (fake->executions[i].state != FAKE_DONE)
            return false;
    return true;
}

static inline struct json fake_member(struct json object, const char *key)
{
    struct json value = {0};
    json_get(object, key, &value);
    return value;
}

static inline void fake_text(struct json value, char *out, size_t size)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str text = json_str(value, arena);
    snprintf(out, size, STR_FMT, STR_ARG(text));
}

// [id, fence, reason?]
static inline struct fake_execution *fake_ref(struct fake *fake, struct json pair, int64_t *fence,
                                              struct json *reason)
{
    struct json_iter it = json_each(pair);
    struct str key;
    struct json id, number;
    assert_true(json_next(&it, &key, &id) && json_next(&it, &key, &number));
    assert_true(json_int(number, fence));
    if (reason && !json_next(&it, &key, reason))
        *reason = (struct json){0};
    return fake_find(fake, id);
}

static inline void fake_recorded(struct json_writer *w, const struct fake_execution *e,
                                 int64_t fence, bool applied)
{
    json_w_array(w);
    json_w_str(w, str_of(e->id));
    json_w_int(w, fence);
    json_w_bool(w, applied);
    json_w_array_end(w);
}

static inline void fake_take_results(struct fake *fake, struct json list, struct json_writer *w)
{
    struct json_iter it = json_each(list);
    struct str key;
    for (struct json result; json_next(&it, &key, &result);) {
        struct fake_execution *e = fake_find(fake, fake_member(result, "id"));
        int64_t fence = 0;
        assert_true(json_int(fake_member(result, "fence"), &fence));
        e->reports++;
        bool newest = fence == e->fence;
        if (newest) {
            fake_text(fake_member(result, "status"), e->status, sizeof(e->status));
            fake_text(fake_member(result, "message"), e->message, sizeof(e->message));
            e->output_len = fake_member(result, "output").text.len;
            e->state = FAKE_DONE;
        }
        fake_recorded(w, e, fence, newest);
    }
}

static inline void fake_end_delivery(struct fake *fake, struct fake_execution *e,
                                     const char *status)
{
    snprintf(e->status, sizeof(e->status), "%s", status);
    e->fence++;
    e->state = fake->no_second_delivery ? FAKE_DONE : FAKE_QUEUED;
}

static inline void fake_take_ends(struct fake *fake, struct json body, struct json_writer *w)
{
    struct json_iter it = json_each(fake_member(body, "lost"));
    struct str key;
    int64_t fence;
    for (struct json pair, reason; json_next(&it, &key, &pair);) {
        struct fake_execution *e = fake_ref(fake, pair, &fence, &reason);
        if (e->fence == fence && e->state == FAKE_GIVEN) {
            fake_text(reason, e->message, sizeof(e->message));
            fake_end_delivery(fake, e, "lost");
        }
        fake_recorded(w, e, fence, true);
    }
    it = json_each(fake_member(body, "returned"));
    for (struct json pair; json_next(&it, &key, &pair);) {
        struct fake_execution *e = fake_ref(fake, pair, &fence, NULL);
        if (e->fence == fence && e->state == FAKE_GIVEN)
            fake_end_delivery(fake, e, "returned");
    }
}

static inline void fake_write_execution(struct json_writer *w, const struct fake_execution *e)
{
    json_w_object(w);
    json_w_pair_str(w, "id", str_of(e->id));
    json_w_pair_int(w, "fence", e->fence);
    json_w_pair_str(w, "function", str_of(e->function));
    json_w_pair_raw(w, "input", STR("{\"n\":0.10,\"big\":1180591620717411303424}"));
    json_w_pair_int(w, "attempt", 1);
    json_w_pair_int(w, "timeoutS", e->timeout_s);
    json_w_object_end(w);
}

static inline size_t fake_give(struct fake *fake, int64_t capacity, struct json_writer *w)
{
    size_t given = 0, out = 0;
    for (int i = 0; i < fake->count; i++)
        out += fake->executions[i].state == FAKE_GIVEN;
    for (int i = 0; i < fake->count; i++) {
        struct fake_execution *e = &fake->executions[i];
        bool again = fake->redeliver && e->state == FAKE_GIVEN;
        if (again)
            e->fence++;
        else if (e->state != FAKE_QUEUED || (int64_t)out >= capacity)
            continue;
        out += !again;
        given++;
        e->state = FAKE_GIVEN;
        fake_write_execution(w, e);
    }
    fake->redeliver = false;
    fake->most_given = out > fake->most_given ? out : fake->most_given;
    return given;
}

// ── the server ───────────────────────────────────────────────────────────────────────────────

static inline void fake_reply(struct http_request *request, int status, const char *text)
{
    http_reply_str(request, status, "application/json", str_of(text));
}

static inline void fake_answer_held(struct fake *fake)
{
    struct http_request *request = fake->held;
    loop_timer_cancel(fake->held_timer);
    fake->held_timer = NULL;
    fake->held = NULL;
    if (request)
        fake_reply(request, 200, "{}");
}

static inline void fake_on_held_timer(void *arg)
{
    struct fake *fake = arg;
    fake->held_timer = NULL;
    fake_answer_held(fake);
}

static inline void fake_on_held_over(void *arg, bool sent)
{
    struct fake *fake = arg;
    if (sent)
        return;
    loop_timer_cancel(fake->held_timer);
    fake->held_timer = NULL;
    fake->held = NULL;
}

static inline void fake_start_server(void *arg);

static inline void fake_on_stopped(void *arg)
{
    struct fake *fake = arg;
    fake->server = NULL;
    int delay = fake->restart_ms;
    fake->restart_ms = 0;
    if (fake->stopping)
        loop_stop(fake->loop);
    else
        loop_timer_start(fake->loop, delay, 0, fake_start_server, fake);
}

static inline void fake_hello(struct fake *fake, struct http_request *request, struct json body)
{
    fake->hellos++;
    fake->session++;
    struct buf out = BUF_INIT(1 << 20);
    struct json_writer w = JSON_WRITER(&out);
    json_w_object(&w);
    char session[16], code[128];
    snprintf(session, sizeof(session), "s%d", fake->session);
    snprintf(code, sizeof(code), "{\"type\":\"item\",\"sha256\":\"%s\"}", fake->archive_sha);
    json_w_pair_str(&w, "session", str_of(session));
    json_w_pair_int(&w, "leaseMs", fake->lease_ms);
    json_w_pair_int(&w, "concurrency", fake->concurrency);
    json_w_key(&w, "service");
    json_w_object(&w);
    json_w_pair_int(&w, "drainTime", fake->drain_s);
    json_w_object_end(&w);
    json_w_pair_raw(&w, "module", STR("{\"name\":\"default_module\"}"));
    json_w_pair_raw(&w, "code", str_of(fake->code ? fake->code : code));
    json_w_pair_raw(&w, "requirements", str_of(fake->requirements));
    json_w_key(&w, "env");
    json_w_object(&w);
    json_w_pair_str(&w, "FAKE_MODULE", str_of(fake->module));
    json_w_object_end(&w);
    json_w_pair_raw(&w, "sdk",
                    STR("{\"url\":\"http://u/api/v1\",\"gate\":\"http://u\",\"token\":\"a.b.c\"}"));
    json_w_pair_raw(&w, "limits", STR("{\"outputBytes\":1000000}"));
    struct json held = fake_member(body, "held");
    snprintf(fake->hello_held, sizeof(fake->hello_held), STR_FMT, STR_ARG(held.text));
    json_w_pair_raw(&w, "held", held.text);
    json_w_object_end(&w);
    http_reply(request, 200, "application/json", out);
}

static inline void fake_write_orders(struct fake *fake, struct json_writer *w)
{
    if (fake->command)
        json_w_pair_str(w, "command", str_of(fake->command));
    fake->command = NULL;
    if (fake->terminate) {
        json_w_key(w, "terminate");
        json_w_array(w);
        json_w_cstr(w, fake->terminate);
        json_w_array_end(w);
    }
    fake->terminate = NULL;
    if (!fake->drop)
        return;
    json_w_key(w, "drop");
    json_w_array(w);
    json_w_array(w);
    json_w_cstr(w, fake->drop);
    json_w_int(w, 1);
    json_w_array_end(w);
    json_w_array_end(w);
    fake->drop = NULL;
}

struct fake_late {
    struct http_request *request;
    struct buf body;
};

static inline void fake_on_late(void *arg)
{
    struct fake_late *late = arg;
    http_reply(late->request, 200, "application/json", late->body);
    free(late);
}

static inline void fake_finish_exchange(struct fake *fake, struct http_request *request,
                                        struct buf out, size_t given)
{
    if (fake->fail_answers > 0) {
        fake->fail_answers--;
        buf_deinit(&out);
        assert_int_equal(given, 0);
        fake_reply(request, 503, "{}");
    } else if (given > 0 && fake->delay_answer > 0) {
        struct fake_late *late = malloc(sizeof(*late));
        *late = (struct fake_late){request, out};
        loop_timer_start(fake->loop, fake->delay_answer, 0, fake_on_late, late);
        fake->delay_answer = 0;
    } else {
        http_reply(request, 200, "application/json", out);
    }
}

static inline void fake_exchange(struct fake *fake, struct http_request *request, struct json body)
{
    char session[16], known[16];
    fake_text(fake_member(body, "session"), session, sizeof(session));
    snprintf(known, sizeof(known), "s%d", fake->session);
    if (strcmp(session, known) != 0) {
        fake->unknown_sessions++;
        fake_reply(request, 410, "{}");
        return;
    }
    fake->exchanges++;
    fake_answer_held(fake);
    fake_text(fake_member(body, "state"), fake->last_state, sizeof(fake->last_state));
    struct json failure = fake_member(body, "failure");
    if (failure.text.len > 0)
        snprintf(fake->failure, sizeof(fake->failure), STR_FMT, STR_ARG(failure.text));
    struct json_iter it = json_each(fake_member(body, "progress"));
    struct str none;
    for (struct json entry; json_next(&it, &none, &entry);) {
        size_t size = fake_member(entry, "output").text.len;
        fake->largest_progress = size > fake->largest_progress ? size : fake->largest_progress;
    }
    if (fake->on_exchange)
        fake->on_exchange(fake, body);
    if (fake->too_large > 0 && body.text.len >= (size_t)fake->too_large) {
        fake_reply(request, 413, "{}");
        return;
    }
    int64_t capacity = 0, wait_ms = 0;
    assert_true(json_int(fake_member(body, "capacity"), &capacity));
    assert_true(json_int(fake_member(body, "waitMs"), &wait_ms));
    struct buf out = BUF_INIT(16 << 20);
    struct json_writer w = JSON_WRITER(&out);
    json_w_object(&w);
    json_w_key(&w, "recorded");
    json_w_array(&w);
    size_t before = out.len;
    fake_take_results(fake, fake_member(body, "results"), &w);
    fake_take_ends(fake, body, &w);
    bool said = out.len > before;
    json_w_array_end(&w);
    json_w_key(&w, "executions");
    json_w_array(&w);
    size_t given = fake->fail_answers > 0 ? 0 : fake_give(fake, capacity, &w);
    json_w_array_end(&w);
    if (fake->final_command && fake_all_done(fake)) {
        fake->command = fake->final_command;
        fake->final_command = NULL;
    }
    said |= given > 0 || fake->command || fake->terminate || fake->drop || fake->fail_answers > 0;
    fake_write_orders(fake, &w);
    json_w_object_end(&w);
    if (said) {
        fake_finish_exchange(fake, request, out, given);
    } else {
        buf_deinit(&out);
        fake->held = request;
        fake->held_timer = loop_timer_start(fake->loop, wait_ms, 0, fake_on_held_timer, fake);
        http_on_over(request, fake_on_held_over, fake);
    }
    if (fake->restart_ms > 0)
        http_server_stop(fake->server, 0, fake_on_stopped, fake);
}

static inline void fake_on_request(void *owner, struct http_request *request)
{
    struct fake *fake = owner;
    struct str path = http_path(request);
    struct json body = {0};
    struct err err;
    assert_true(str_is(http_header(request, "authorization"), "Bearer secret"));
    if (fake->refuse_status) {
        fake_reply(request, fake->refuse_status, "{\"message\":\"no\"}");
        return;
    }
    if (str_is(path, "/agent/code")) {
        http_reply_str(request, 200, "application/octet-stream", buf_str(&fake->archive));
        return;
    }
    if (json_parse(http_body(request), 0, &body, &err))
        fail_msg("%s", err.message);
    if (str_is(path, "/agent/hello")) {
        fake_hello(fake, request, body);
    } else if (str_is(path, "/agent/exchange")) {
        fake_exchange(fake, request, body);
    } else {
        assert_true(str_is(path, "/agent/logs"));
        buf_add_str(&fake->logs, http_body(request));
        fake_reply(request, 200, "{}");
    }
}

static inline void fake_on_header(void *owner, struct http_request *request)
{
    (void)owner;
    (void)request;
}

static inline void fake_on_error(void *owner, struct http_request *request, const struct err *err)
{
    (void)owner;
    fake_reply(request, err_status(err->kind), "{}");
}

static inline void fake_start_server(void *arg)
{
    struct fake *fake = arg;
    char listen[100];
    snprintf(listen, sizeof(listen), "unix:%s", fake->socket);
    struct http_server_config config = {.listen = listen,
                                        .body_max = 64 << 20,
                                        .body_option = "body",
                                        .connections_max = 64,
                                        .idle_ms = 60000,
                                        .owner = fake,
                                        .on_header = fake_on_header,
                                        .on_request = fake_on_request,
                                        .on_error = fake_on_error};
    struct err err;
    fake->session += 100;  // a new server knows no session of the old one
    fake->server = http_server_start(fake->loop, &config, &err);
    if (!fake->server)
        fail_msg("%s", err.message);
}

static inline void fake_on_stop(void *arg)
{
    struct fake *fake = arg;
    fake->stopping = true;
    fake_answer_held(fake);
    if (fake->server)
        http_server_stop(fake->server, 0, fake_on_stopped, fake);
    else
        loop_stop(fake->loop);
}

static inline void *fake_thread(void *arg)
{
    struct fake *fake = arg;
    loop_run(fake->loop);
    return NULL;
}

// ── a whole run ──────────────────────────────────────────────────────────────────────────────

static inline void fake_write_file(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static inline void fake_make_archive(struct fake *fake)
{
    char path[100], chunk[4096];
    snprintf(path, sizeof(path), "%s/archive.zip", fake->root);
    struct archive *writer = archive_write_new();
    archive_write_set_format_zip(writer);
    archive_write_open_filename(writer, path);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, "main.py");
    archive_entry_set_mode(entry, 0100644);
    archive_entry_set_size(entry, 2);
    archive_write_header(writer, entry);
    archive_write_data(writer, "#\n", 2);
    archive_entry_free(entry);
    archive_write_free(writer);
    struct err err;
    assert_int_equal(code_sha256(path, fake->archive_sha, &err), 0);
    FILE *file = fopen(path, "r");
    for (size_t got; (got = fread(chunk, 1, sizeof(chunk), file)) > 0;)
        buf_add(&fake->archive, chunk, got);
    fclose(file);
}

static inline void fake_init(struct fake *fake)
{
    *fake = (struct fake){.concurrency = 4,
                          .lease_ms = 900,
                          .drain_s = 1,
                          .module = "good",
                          .requirements = "[]",
                          .final_command = "drain"};
    snprintf(fake->root, sizeof(fake->root), "/tmp/drover-agent-XXXXXX");
    assert_non_null(mkdtemp(fake->root));
    snprintf(fake->socket, sizeof(fake->socket), "%s/agent.sock", fake->root);
    fake->logs = BUF_INIT(64 << 20);
    fake->archive = BUF_INIT(1 << 20);
    char path[100];
    snprintf(path, sizeof(path), "%s/drover_runner.py", fake->root);
    fake_write_file(path, fake_runner, sizeof(fake_runner) - 1);
    snprintf(path, sizeof(path), "%s/run", fake->root);
    struct err err;
    assert_int_equal(folder_make(path, &err), 0);
    fake_make_archive(fake);
    fake->loop = loop_new();
}

static inline int fake_run(struct fake *fake)
{
    char url[100], cache[100], folder[100];
    snprintf(url, sizeof(url), "unix:%s", fake->socket);
    snprintf(cache, sizeof(cache), "%s/cache", fake->root);
    snprintf(folder, sizeof(folder), "%s/run", fake->root);
    struct agent_spec spec = {.replica_id = "replica",
                              .service_id = "service",
                              .revision = "1",
                              .agent_url = url,
                              .token = "secret",
                              .cache = cache,
                              .python = "python3",
                              .runner = fake->root,
                              .folder = folder,
                              .git_file = fake->git_file};
    fake_start_server(fake);
    pthread_create(&fake->thread, NULL, fake_thread, fake);
    struct log *log = getenv("AGENT_TEST_LOG") ? log_new(2, LOG_DEBUG, LOG_TEXT) : NULL;
    int exit_code = agent_run(&spec, log);
    log_free(log);
    struct loop_task stop = {.fn = fake_on_stop, .arg = fake};
    loop_post(fake->loop, &stop);
    pthread_join(fake->thread, NULL);
    return exit_code;
}

static inline void fake_deinit(struct fake *fake)
{
    struct err err;
    loop_free(fake->loop);
    buf_deinit(&fake->logs);
    buf_deinit(&fake->archive);
    assert_int_equal(folder_remove(fake->root, &err), 0);
}

#endif
