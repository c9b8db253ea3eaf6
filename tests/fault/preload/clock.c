// SPDX-License-Identifier: Apache-2.0
// The wall clock, so many milliseconds away from the kernel's.
#include <sys/time.h>
#include <time.h>

#include "fault.h"

static void shift(int64_t *seconds, int64_t *nanoseconds)
{
    int64_t ms = fault_page ? fault_page->clock_ms : 0;
    int64_t all = *nanoseconds + ms % 1000 * 1000000;
    *seconds += ms / 1000 + (all >= 1000000000) - (all < 0);
    *nanoseconds = all < 0 ? all + 1000000000 : all >= 1000000000 ? all - 1000000000 : all;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    REAL(clock_gettime);
    int rc = real(id, out);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t seconds = out->tv_sec, nanoseconds = out->tv_nsec;
        shift(&seconds, &nanoseconds);
        *out = (struct timespec){seconds, nanoseconds};
    }
    return rc;
}

int gettimeofday(struct timeval *out, void *zone)
{
    REAL(gettimeofday);
    int rc = real(out, zone);
    int64_t seconds = out->tv_sec, nanoseconds = (int64_t)out->tv_usec * 1000;
    shift(&seconds, &nanoseconds);
    *out = (struct timeval){seconds, nanoseconds / 1000};
    return rc;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
