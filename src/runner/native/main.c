// SPDX-License-Identifier: Apache-2.0
// drover-run-native: runs the functions of a shared object (drover/function.h) for an agent, which
// it talks to over the socket on file descriptor 3. docs/runner-protocol.md describes what is said.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/native/channel.h"
#include "runner/native/library.h"
#include "runner/native/processes.h"
#include "runner/native/threads.h"

#define AGENT_FD 3
#define LOAD_FD  4  // of a runner that starts over: the load frame's text

// Signals to the process group are the agent's business. A handler rather than SIG_IGN, which
// programs that user code starts would inherit.
static void ignore(int number) { (void)number; }

// Moves the socket to a high number that programs started by user code do not inherit.
static int take_socket(void)
{
    static const int least[] = {700, 200, 10};
    int fd = -1;
    for (size_t i = 0; fd < 0 && i < sizeof(least) / sizeof(least[0]); i++)
        fd = fcntl(AGENT_FD, F_DUPFD_CLOEXEC, least[i]);
    if (fd < 0)
        channel_give_up("file descriptor 3 is not the agent's socket");
    close(AGENT_FD);
    return fd;
}

// ── while the library loads ──────────────────────────────────────────────────────────────────

struct loading {
    struct channel *channel;
    struct library *library;
    pthread_mutex_t mutex;
};

static void hear(struct channel *channel)
{
    struct str type;
    struct json frame = channel_read(channel, true, &type);
    if (str_is(type, "credit"))
        channel_add_credit(channel, frame);
    else if (str_is(type, "stop"))
        exit(0);
}

// Nobody else reads from the agent yet, so who has no credit reads until there is some.
static void on_log(void *arg, const char *level, struct str text)
{
    struct loading *loading = arg;
    _cleanup_buf_ struct buf frame = BUF_INIT(SIZE_MAX);
    int64_t cost = report_log(&frame, &loading->library->limits, NULL, level, text);
    pthread_mutex_lock(&loading->mutex);
    while (!channel_try_send(loading->channel, buf_str(&frame), cost))
        hear(loading->channel);
    pthread_mutex_unlock(&loading->mutex);
}

static void on_progress(void *arg, double percent, struct str message)
{
    (void)arg, (void)percent, (void)message;  // there is no execution whose progress it is
}

static void load(struct loading *loading)
{
    const struct call_outlet outlet = {on_log, on_progress, loading};
    const char *type;
    struct str why;
    if (library_open(loading->library, &outlet, &type, &why) == 0)
        return;
    _cleanup_buf_ struct buf frame = BUF_INIT(SIZE_MAX);
    fflush(stdout);
    on_log(loading, "ERROR", why);
    report_failed(&frame, type, why);
    channel_send(loading->channel, buf_str(&frame), 0);
    exit(1);
}

// ── a library with threads of its own ────────────────────────────────────────────────────────

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks)
        return 1;
    for (const struct dirent *task; (task = readdir(tasks));)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

// A fork has none of the threads, and their locks for ever. So this program starts over, without
// the library, and each execution's process loads it anew.
static void start_over(struct loading *loading, struct json frame, int threads)
{
    char note[240], credit[32];
    snprintf(note, sizeof(note),
             "the module has %d threads of its own after its init: a process of an execution "
             "cannot take them over, so each one loads the module and calls init itself",
             threads - 1);
    on_log(loading, "WARNING", str_of(note));
    while (channel_has_part(loading->channel))
        hear(loading->channel);
    snprintf(credit, sizeof(credit), "%lld", (long long)loading->channel->credit);
    int text = memfd_create("load", 0);
    bool ready = text >= 0 &&
                 write(text, frame.text.at, frame.text.len) == (ssize_t)frame.text.len &&
                 dup2(text, LOAD_FD) >= 0;
    if (text != LOAD_FD)
        close(text);
    if (!ready || dup2(loading->channel->fd, AGENT_FD) < 0)
        channel_give_up("cannot start over for a module with threads of its own");
    execl("/proc/self/exe", "drover-run-native", "--cold", credit, (char *)NULL);
    channel_give_up("cannot start itself (/proc/self/exe)");
}

static void read_load_again(struct library *library)
{
    off_t size = lseek(LOAD_FD, 0, SEEK_END);
    void *text = size > 0 ? mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, LOAD_FD, 0)
                          : MAP_FAILED;
    if (text == MAP_FAILED)
        channel_give_up("cannot read the load frame again");
    library_read(library, json_of((struct str){text, (size_t)size}));
    munmap(text, (size_t)size);
    close(LOAD_FD);
}

// ── the program ──────────────────────────────────────────────────────────────────────────────

static struct json wait_for_load(struct channel *channel)
{
    for (;;) {
        struct str type;
        struct json frame = channel_read(channel, true, &type);
        if (str_is(type, "load"))
            return frame;
        if (str_is(type, "stop"))
            exit(0);
    }
}

static void load_first(struct channel *channel, struct library *library)
{
    struct json frame = wait_for_load(channel);
    library_read(library, frame);
    char *copy = strndup(frame.text.at, frame.text.len);
    struct loading loading = {channel, library, PTHREAD_MUTEX_INITIALIZER};
    load(&loading);
    int threads = library->processes ? count_threads() : 1;
    if (threads > 1)
        start_over(&loading, json_of(str_of(copy)), threads);
    free(copy);
}

int main(int count, char **arguments)
{
    struct channel channel;
    struct library library;
    int64_t credit = CHANNEL_WINDOW;
    bool cold = count == 3 && strcmp(arguments[1], "--cold") == 0;
    const struct sigaction ignored = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &ignored, NULL);
    sigaction(SIGTERM, &ignored, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (cold && !str_int(str_of(arguments[2]), &credit))
        channel_give_up("--cold needs the credit that is left");
    channel_init(&channel, take_socket(), credit);
    channel.alone = true;
    if (cold)
        read_load_again(&library);
    else
        load_first(&channel, &library);
    if (library.processes)
        processes_serve(&channel, &library, cold);
    else {
        channel.alone = false;
        threads_serve(&channel, &library);
    }
    library_close(&library);
    fflush(stdout);
    _exit(0);
}
