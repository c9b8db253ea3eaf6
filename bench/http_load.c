// SPDX-License-Identifier: Apache-2.0
// A load generator for one URL over keep-alive connections: one thread, epoll, as little work a
// request as possible, so that what is measured is the server.
//
// Closed loop (default): every connection sends its next request when the answer to the last one is
// there. Open loop (--rate): requests fall due at a fixed rate whatever the server does, and a
// latency counts from the moment a request was due, so that a server that stalls is charged for
// all that waited meanwhile (no coordinated omission).
//
// Prints one line of JSON: requests, seconds, errors, cpuSeconds (of this program), the first
// wrong answer, and percentiles of the latency in milliseconds.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX  (256 << 20)  // bytes of one answer
#define ANSWER_SIZE (64 << 10)   // of the space for it at first

struct connection {
    int fd;
    bool busy;
    double due;  // when the request under way was due, seconds
    size_t sent, got, want, size;
    char *answer;
};

struct load {
    const char *port, *path, *method, *header, *body, *expect;
    long connections, count, status;
    double seconds, rate;
    char *request;
    size_t request_len;
    int epoll;
    struct connection *all;
    long started, ended, errors, idle;
    double begun, *times;
    size_t times_size;
    char wrong[512];
};

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void die(const char *what)
{
    fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *reserve(void *at, size_t size)
{
    void *made = realloc(at, size);
    if (!made)
        die("memory");
    return made;
}

static void compose(struct load *load)
{
    size_t size = strlen(load->path) + strlen(load->header) + strlen(load->body) + 512;
    load->request = reserve(NULL, size);
    int len = snprintf(load->request, size,
                       "%s %s HTTP/1.1\r\nhost: 127.0.0.1:%s\r\n%s%scontent-type: application/json"
                       "\r\ncontent-length: %zu\r\n\r\n%s",
                       load->method, load->path, load->port, load->header,
                       *load->header ? "\r\n" : "", strlen(load->body), load->body);
    load->request_len = (size_t)len;
}

static void open_connection(struct load *load, struct connection *connection)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)strtol(load->port, NULL, 10)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("connecting");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        die("epoll");
    connection->busy = false;
    if (!connection->answer) {
        connection->size = ANSWER_SIZE;
        connection->answer = reserve(NULL, ANSWER_SIZE + 1);
    }
}

static void watch(struct load *load, struct connection *connection, bool writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0U),
                                .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_MOD, connection->fd, &event) < 0)
        die("epoll");
}

static void note_wrong(struct load *load, struct connection *connection, const char *what)
{
    if (load->errors++ > 0)
        return;
    connection->answer[connection->got] = 0;
    snprintf(load->wrong, sizeof(load->wrong), "%s: %.400s", what, connection->answer);
    for (char *at = load->wrong; *at; at++)  // it becomes a JSON string
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            *at = *at == '"' ? '\'' : ' ';
}

static void finish(struct load *load, struct connection *connection, double at)
{
    if ((size_t)load->ended == load->times_size) {
        load->times_size = load->times_size ? load->times_size * 2 : 1 << 16;
        load->times = reserve(load->times, load->times_size * sizeof(*load->times));
    }
    load->times[load->ended++] = at - connection->due;
    connection->busy = false;
    load->idle++;
}

static void cut(struct load *load, struct connection *connection, const char *what)
{
    note_wrong(load, connection, what);
    close(connection->fd);
    finish(load, connection, now());
    open_connection(load, connection);
}

static void send_more(struct load *load, struct connection *connection)
{
    while (connection->sent < load->request_len) {
        ssize_t n = send(connection->fd, load->request + connection->sent,
                         load->request_len - connection->sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch(load, connection, true);
            return;
        }
        if (n < 0) {
            cut(load, connection, "the connection was cut while sending");
            return;
        }
        connection->sent += (size_t)n;
    }
}

static void begin(struct load *load, struct connection *connection, double due)
{
    connection->busy = true;
    connection->due = due;
    connection->sent = connection->got = connection->want = 0;
    load->started++;
    load->idle--;
    send_more(load, connection);
}

// Finds where the answer ends once its head is there. False: it cannot be understood.
static bool measure_answer(struct connection *connection)
{
    connection->answer[connection->got] = 0;
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end)
        return connection->got < connection->size;
    *end = 0;  // the search below stays in the head
    char *length = strcasestr(connection->answer, "\r\ncontent-length:");
    size_t body = length ? strtoul(length + 17, NULL, 10) : 0;
    *end = '\r';
    connection->want = (size_t)(end + 4 - connection->answer) + body;
    if (connection->want > ANSWER_MAX)
        return false;
    if (connection->want > connection->size) {
        connection->size = connection->want;
        connection->answer = reserve(connection->answer, connection->size + 1);
    }
    return true;
}

static void check_answer(struct load *load, struct connection *connection)
{
    long status = connection->got > 12 ? strtol(connection->answer + 9, NULL, 10) : 0;
    if (load->status ? status != load->status : status / 100 != 2)
        note_wrong(load, connection, "a wrong status");
    else if (load->expect &&
             !memmem(connection->answer, connection->got, load->expect, strlen(load->expect)))
        note_wrong(load, connection, "the answer lacks what was expected");
}

static void receive(struct load *load, struct connection *connection)
{
    ssize_t n = recv(connection->fd, connection->answer + connection->got,
                     connection->size - connection->got, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (n <= 0) {
        cut(load, connection, "the connection was cut");
        return;
    }
    connection->got += (size_t)n;
    if (connection->want == 0 && !measure_answer(connection)) {
        cut(load, connection, "the answer is too long");
        return;
    }
    if (connection->want == 0 || connection->got < connection->want)
        return;
    check_answer(load, connection);
    finish(load, connection, now());
}

// Starts what is due on connections that are idle. Gives the time until the next falls due.
static double start_due(struct load *load)
{
    double at = now(), end = load->begun + load->seconds;
    for (long i = 0; i < load->connections && load->idle > 0; i++) {
        struct connection *connection = &load->all[i];
        if (connection->busy)
            continue;
        if (load->count ? load->started >= load->count : at >= end)
            return 1;
        double due = load->rate > 0 ? load->begun + (double)load->started / load->rate : at;
        if (due > at)
            return due - at;
        begin(load, connection, due);
    }
    return 1;
}

static bool over(const struct load *load)
{
    bool all = load->count ? load->started >= load->count : now() >= load->begun + load->seconds;
    return all && load->idle == load->connections;
}

static void run(struct load *load)
{
    struct epoll_event events[256];
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->all = reserve(NULL, (size_t)load->connections * sizeof(*load->all));
    memset(load->all, 0, (size_t)load->connections * sizeof(*load->all));
    for (long i = 0; i < load->connections; i++)
        open_connection(load, &load->all[i]);
    load->idle = load->connections;
    load->begun = now();
    double wait = start_due(load);
    while (!over(load)) {
        double left = load->begun + load->seconds - now();
        if (!load->count && left > 0 && left < wait)
            wait = left;
        struct timespec most = {(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)};
        int n = epoll_pwait2(load->epoll, events, 256, &most, NULL);
        for (int i = 0; i < n; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->busy && (events[i].events & EPOLLOUT)) {
                watch(load, connection, false);
                send_more(load, connection);
            }
            if (!(events[i].events & ~(unsigned)EPOLLOUT))
                continue;
            if (connection->busy)
                receive(load, connection);
            else {  // the server closed a connection at rest
                close(connection->fd);
                open_connection(load, connection);
            }
        }
        wait = start_due(load);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct load *load, double part)
{
    if (load->ended == 0)
        return 0;
    long at = (long)((double)load->ended * part);
    return load->times[at < load->ended ? at : load->ended - 1] * 1e3;
}

static void print(struct load *load)
{
    struct rusage use;
    double took = now() - load->begun;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    qsort(load->times, (size_t)load->ended, sizeof(*load->times), by_size);
    printf("{\"requests\":%ld,\"seconds\":%.6f,\"errors\":%ld,\"cpuSeconds\":%.6f,\"wrong\":\"%s\","
           "\"p50\":%.4f,\"p90\":%.4f,\"p99\":%.4f,\"p999\":%.4f,\"max\":%.4f}\n",
           load->ended, took, load->errors, cpu, load->wrong, percentile(load, 0.5),
           percentile(load, 0.9), percentile(load, 0.99), percentile(load, 0.999),
           percentile(load, 1));
}

static void usage(bool wanted)
{
    fprintf(wanted ? stdout : stderr,
            "usage: http_load --port PORT --path PATH [--method POST] [--header LINE] [--body TEXT "
            "| --body-file FILE]\n  [--connections 1] [--seconds 5 | --count N] [--rate "
            "REQUESTS-PER-SECOND] [--status 201] [--expect TEXT]\n");
    exit(wanted ? 0 : 2);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    char *text = NULL;
    size_t size = 0;
    ssize_t n = getdelim(&text, &size, 0, file);
    fclose(file);
    if (n < 0)
        die(path);
    return text;
}

static void take_options(struct load *load, int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"path", required_argument, NULL, 'u'},
                                            {"method", required_argument, NULL, 'm'},
                                            {"header", required_argument, NULL, 'h'},
                                            {"body", required_argument, NULL, 'b'},
                                            {"body-file", required_argument, NULL, 'f'},
                                            {"connections", required_argument, NULL, 'c'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"status", required_argument, NULL, 'S'},
                                            {"expect", required_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'H'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p': load->port = optarg; break;
        case 'u': load->path = optarg; break;
        case 'm': load->method = optarg; break;
        case 'h': load->header = optarg; break;
        case 'b': load->body = optarg; break;
        case 'f': load->body = read_file(optarg); break;
        case 'c': load->connections = strtol(optarg, NULL, 10); break;
        case 's': load->seconds = strtod(optarg, NULL); break;
        case 'n': load->count = strtol(optarg, NULL, 10); break;
        case 'r': load->rate = strtod(optarg, NULL); break;
        case 'S': load->status = strtol(optarg, NULL, 10); break;
        case 'e': load->expect = optarg; break;
        case 'H': usage(true); break;
        default: usage(false);
        }
    }
    if (optind < argc || !load->port || !load->path || load->connections < 1)
        usage(false);
}

int main(int argc, char **argv)
{
    struct load load = {.method = "POST", .header = "", .body = "", .connections = 1, .seconds = 5};
    take_options(&load, argc, argv);
    if (load.rate > 0 && load.count == 0)  // all that falls due is sent, also when it is late
        load.count = (long)(load.rate * load.seconds) + 1;
    compose(&load);
    run(&load);
    print(&load);
    return 0;
}
