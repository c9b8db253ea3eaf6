// SPDX-License-Identifier: Apache-2.0
// Functions for the tests of the native runner, built as a user builds them. MODULE_* choose what
// is wrong with the module.
#include <drover/function.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int factor;
static int calls;

static int echo(struct drover_call *call)
{
    struct drover_span all = drover_get(call, NULL);
    return drover_return_json(call, all.at, all.len);
}

static int twice(struct drover_call *call)
{
    int64_t n;
    char text[64];
    if (!drover_get_int(call, "n", &n))
        return drover_fail(call, "twice needs a number \"n\"");
    int len = snprintf(text, sizeof(text), "%lld", (long long)(n * factor));
    return drover_return_json(call, text, (size_t)len);
}

static int typed(struct drover_call *call)
{
    struct drover_span text = {0};
    int64_t whole = -1;
    double real = -1;
    bool yes = false;
    char out[256];
    bool got_text = drover_get_string(call, "a.text", &text);
    bool got_int = drover_get_int(call, "a.int", &whole);
    bool got_real = drover_get_double(call, "a.real", &real);
    bool got_bool = drover_get_bool(call, "a.bool", &yes);
    int len = snprintf(out, sizeof(out), "[%d, %zu, %d, %lld, %d, %g, %d, %d]", got_text,
                       text.at ? strlen(text.at) : 0, got_int, (long long)whole, got_real, real,
                       got_bool, yes);
    return drover_return_json(call, out, (size_t)len);
}

static int say(struct drover_call *call)
{
    int64_t n = 1, size = 3;
    drover_get_int(call, "n", &n);
    drover_get_int(call, "size", &size);
    char *text = calloc(1, (size_t)size + 1);
    memset(text, 'x', (size_t)size);
    for (int64_t i = 0; i < n; i++)
        drover_log(call, DROVER_WARNING, "%s", text);
    free(text);
    return 0;
}

static int print(struct drover_call *call)
{
    int64_t n = 1;
    drover_get_int(call, "n", &n);
    for (int64_t i = 0; i < n; i++)
        printf("line %d\n", (int)i);
    fprintf(stderr, "to stderr\n");
    printf("10%%\r20%%\r\nno end");
    return 0;
}

static int advance(struct drover_call *call)
{
    drover_progress(call, 25, "a quarter");
    drover_progress(call, 400, NULL);
    return 0;
}

static int who(struct drover_call *call)
{
    char out[512];
    int len = snprintf(out, sizeof(out), "[\"%s\", \"%s\", %lld]", drover_id(call),
                       drover_creator(call), (long long)drover_attempt(call));
    return drover_return_json(call, out, (size_t)len);
}

static int wait_for_kill(struct drover_call *call)
{
    drover_log(call, DROVER_INFO, "waiting");
    while (!drover_cancelled(call))
        usleep(1000);
    return DROVER_CANCELLED;
}

static int stubborn(struct drover_call *call)
{
    drover_log(call, DROVER_INFO, "waiting");
    while (!drover_cancelled(call))
        usleep(1000);
    return drover_return_string(call, "finished", 8);
}

static int hang(struct drover_call *call)
{
    while (call)
        pause();
    return 0;
}

static int count(struct drover_call *call)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d", ++calls);
    return drover_return_json(call, text, (size_t)len);
}

static int pid(struct drover_call *call)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%d", (int)getpid());
    return drover_return_json(call, text, (size_t)len);
}

static int not_json(struct drover_call *call) { return drover_return_json(call, "{\"a\":nan}", 9); }

static int large(struct drover_call *call)
{
    size_t len = 3000;
    char *text = malloc(len);
    memset(text, 'y', len);
    drover_return_string(call, text, len);
    free(text);
    return 0;
}

static int silent(struct drover_call *call)
{
    (void)call;
    return 7;
}

// ── hostile ones ─────────────────────────────────────────────────────────────────────────────

static int crash(struct drover_call *call)
{
    printf("before the crash\n");
    fflush(stdout);
    (void)call;
    raise(SIGSEGV);
    return 0;
}

static int stop_program(struct drover_call *call)
{
    (void)call;
    exit(3);
}

static int give_up(struct drover_call *call)
{
    (void)call;
    abort();
}

static int killed(struct drover_call *call)
{
    (void)call;
    return kill(getpid(), SIGKILL);
}

static int kill_group(struct drover_call *call)
{
    (void)call;
    return kill(0, SIGKILL);
}

// Writes to every descriptor that is not its own, then closes them.
static int scribble(struct drover_call *call)
{
    (void)call;
    for (int fd = 3; fd < 1024; fd++)
        if (write(fd, "\0\0\0\2xx", 6) > 0)
            close(fd);
    return 0;
}

static int sleep_apart(int64_t marker)
{
    char name[32];
    snprintf(name, sizeof(name), "%lld", (long long)marker);
    execlp("sleep", "sleep", name, (char *)NULL);
    _exit(127);
}

// A child, and a grandchild that leaves session and parent; both would outlive the execution.
static int family(struct drover_call *call)
{
    int64_t marker = 0;
    bool dies = false;
    drover_get_int(call, "marker", &marker);
    drover_get_bool(call, "dies", &dies);
    if (fork() == 0)
        sleep_apart(marker);
    pid_t middle = fork();
    if (middle == 0) {
        setsid();
        if (fork() == 0)
            sleep_apart(marker);
        _exit(0);
    }
    usleep(200000);
    if (dies)
        abort();
    return 0;
}

static int memory(struct drover_call *call)
{
    size_t size = (size_t)64 << 20;
    char *at = malloc(size);
    memset(at, 1, size);
    int sum = at[size / 2];
    free(at);
    return sum == 1 ? 0 : drover_fail(call, "odd");
}

// ── the module ───────────────────────────────────────────────────────────────────────────────

#ifdef MODULE_THREADS
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void *own_thread(void *arg)
{
    pthread_mutex_lock(&held);  // for ever: a fork would inherit it so
    for (;;)
        pause();
    return arg;
}
#endif

static int init(struct drover_call *call, void **state)
{
    int64_t number = 2, lines = 0;
    *state = &calls;
    drover_get_int(call, "factor", &number);
    drover_get_int(call, "lines", &lines);
    factor = (int)number;
    for (int64_t i = 0; i < lines; i++)
        drover_log(call, DROVER_INFO, "%01000d", (int)i);
    drover_log(call, DROVER_INFO, "init %d", factor);
#ifdef MODULE_THREADS
    pthread_t thread;
    pthread_create(&thread, NULL, own_thread, NULL);
#endif
    return factor < 0 ? drover_fail(call, "factor is %d, and must not be negative", factor) : 0;
}

static void fini(void *state)
{
    printf("fini %d\n", *(int *)state);
    fflush(stdout);
}

static const struct drover_function functions[] = {
    {"echo", echo},         {"twice", twice},     {"typed", typed},   {"say", say},
    {"print", print},       {"advance", advance}, {"who", who},       {"wait", wait_for_kill},
    {"stubborn", stubborn}, {"hang", hang},       {"count", count},   {"pid", pid},
    {"not_json", not_json}, {"large", large},     {"silent", silent}, {"crash", crash},
    {"exit", stop_program}, {"abort", give_up},   {"killed", killed}, {"kill_group", kill_group},
    {"scribble", scribble}, {"family", family},   {"memory", memory}, {NULL, NULL}};

#ifdef MODULE_NO_TABLE
#define MODULE_TABLE other_table
extern const struct drover_module other_table;
#else
#define MODULE_TABLE drover_module
#endif
const struct drover_module MODULE_TABLE = {
#ifdef MODULE_ABI
    .abi = MODULE_ABI,
#else
    .abi = DROVER_ABI,
#endif
    .functions = functions,
    .init = init,
    .fini = fini,
};
