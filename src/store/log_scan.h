// SPDX-License-Identifier: Apache-2.0
// store/log_scan: a read, taken through the files one after the other. It looks at so many lines
// and no more, however few of them match.
#ifndef DROVER_STORE_LOG_SCAN_H
#define DROVER_STORE_LOG_SCAN_H

#include "store/log_file.h"
#include "store/log_index.h"

struct log_scan {
    struct logs_read *read;
    int64_t first, last;  // seqs that are wanted
    int64_t limit;        // lines to give
    int64_t budget;       // lines that may still be looked at
    size_t cap;           // of read->lines
    // of the file under way
    struct log_file *file;
    struct log_index *index;
    int64_t *services;
    size_t service_count;
    bool by_service;  // only lines of `services`
    bool index_failed;
    struct {
        int64_t source;  // 0: empty
        bool wanted;
    } sources[64];  // what was found out about functions and replicas
};

void log_scan_begin(struct log_scan *scan, struct logs_read *read, int64_t budget);
// Goes through one file. index NULL: it has none. 1: the read has ended (full, or read->more),
// 0: go on with the next file. index_failed: the index is broken, and was done without.
MUST_CHECK int log_scan_file(struct log_scan *scan, struct log_file *file, int64_t key,
                             struct log_index *index, struct err *err);
// The budget is used up before this file: true when so.
bool log_scan_over(struct log_scan *scan, int64_t key);

#endif
