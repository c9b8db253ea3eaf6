// SPDX-License-Identifier: Apache-2.0
// A slow disk, for LD_PRELOAD: every fsync and fdatasync takes SLOW_SYNC_US microseconds longer
// (default 0, which measures what preloading itself costs). The file SLOW_SYNC_COUNT, 8 bytes, if
// named, counts the calls.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*real_fsync)(int), (*real_fdatasync)(int);
static struct timespec delay;
static _Atomic int64_t *calls;

static void map_count(const char *path)
{
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    calls = at == MAP_FAILED ? NULL : at;
    close(fd);
}

__attribute__((constructor)) static void prepare(void)
{
    const char *text = getenv("SLOW_SYNC_US");
    long us = text ? strtol(text, NULL, 10) : 0;
    map_count(getenv("SLOW_SYNC_COUNT"));
    delay = (struct timespec){us / 1000000, us % 1000000 * 1000};
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static void wait_long(void)
{
    if (calls)
        atomic_fetch_add_explicit(calls, 1, memory_order_relaxed);
    if (delay.tv_sec || delay.tv_nsec)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
}

int fsync(int fd)
{
    wait_long();
    return real_fsync(fd);
}

int fdatasync(int fd)
{
    wait_long();
    return real_fdatasync(fd);
}
