// SPDX-License-Identifier: Apache-2.0
// A library for LD_PRELOAD that makes calls of the C library fail on demand. It is steered through
// a page of shared memory, the file that FAULT_CONTROL names: tests/fault/faults.py writes it and
// reads the counters. Without that file nothing is changed.
#ifndef DROVER_TESTS_FAULT_PRELOAD_FAULT_H
#define DROVER_TESTS_FAULT_PRELOAD_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// In this order in faults.py as well.
enum fault_call {
    CALL_OPEN,  // for writing, or making the file
    CALL_WRITE,
    CALL_FSYNC,  // fdatasync too
    CALL_TRUNCATE,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_MKDIR,
    CALL_OPEN_READ,  // of what is there, and opendir
    CALL_READ,       // of files
    CALL_SOCKET,
    CALL_ACCEPT,
    CALL_EPOLL,
    CALL_FORK,  // posix_spawn, fork, vfork
    CALL_THREAD,
    CALL_PIPE,
    CALL_MMAP,
    CALL_EVENTFD,
    CALL_TIMERFD,
    CALL_PIDFD,
    CALL_RECEIVE,
    CALL_SEND,
    CALL_STAT,
    CALL_MEMORY,  // malloc, calloc, realloc and the aligned ones
};

struct fault_control {
    _Atomic uint32_t armed;
    uint32_t pad;
    uint64_t calls;         // bits of enum fault_call
    int64_t error;          // errno; 0: only count
    int64_t short_write;    // 1: a matching write writes half and says so
    uint64_t from, count;   // which matches fail: the from-th (1 is the first) and so many; 0: all
    _Atomic uint64_t seen;  // matches since it was armed
    _Atomic uint64_t failed;  // of them made to fail
    int64_t sync_us;          // every fsync takes so much longer
    int64_t clock_ms;         // added to CLOCK_REALTIME
    _Atomic uint64_t syncs;   // fsyncs below root since the start
    _Atomic uint32_t recording;
    uint32_t only_pid;  // 0: whoever has the library
    char match[512];  // the path has to hold one of these texts ("…$": end so), joined by '|'; "":
                      // any
    char root[512];     // and lie below this folder
    char last[256];     // what failed last
    uint64_t min_size;  // of allocations that count
};

extern struct fault_control *fault_page;  // NULL: nothing is to be changed

void *fault_real(const char *name);  // the next definition of a function; ends the process without

// Whether this call has to fail; sets errno then. `path` is relative or whole; or NULL with an fd.
bool fault_hit(enum fault_call call, const char *name, const char *path, int fd);
bool fault_wants(enum fault_call call);           // cheap: whether fault_hit could say yes
bool fault_path(int fd, char *out, size_t size);  // of a file below root
bool fault_below(const char *path);

// record.c: writes an entry to the file FAULT_RECORD names, as power.c reads it.
enum record_kind {
    RECORD_OPEN = 1,  // the file was made or is known from now on
    RECORD_WRITE,
    RECORD_SYNC_BEGIN,
    RECORD_SYNC_END,
    RECORD_TRUNCATE,
    RECORD_RENAME,  // data: the new path
    RECORD_UNLINK,
    RECORD_MKDIR,
    RECORD_SEND,  // on a socket; path is empty, offset the descriptor
};
bool record_on(void);
void record_lock(void);  // around a change and its entry, so that the order is that of the disk
void record_unlock(void);
void record_add(enum record_kind kind, const char *path, int64_t offset, const void *data,
                size_t len);  // locked

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (!real)                                                                                     \
    real = (__typeof__(name) *)fault_real(#name)

#endif
