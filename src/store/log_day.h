// SPDX-License-Identifier: Apache-2.0
// store/log_day: which file of log lines is which. There is one for each day (UTC) on which lines
// were stored; a day that brings very much has several parts. A file's key grows with its day and
// part, and is the high half of the seqs of its lines, so seqs grow across days and restarts and
// say where a line lies.
#ifndef DROVER_STORE_LOG_DAY_H
#define DROVER_STORE_LOG_DAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define LOG_LINE_BITS 32  // of a seq: the line's number in its file
#define LOG_PART_BITS 8   // of a key: the part of its day
#define LOG_DAY_MS    86400000LL
#define LOG_NAME_SIZE 32

int64_t log_day_of(int64_t ms);    // days since 1970; not below 0
int64_t log_day_key(int64_t day);  // of its first part

static inline int64_t log_key_day(int64_t key) { return key >> LOG_PART_BITS; }
static inline int64_t log_key_of(int64_t seq) { return seq >> LOG_LINE_BITS; }
static inline int64_t log_key_first(int64_t key) { return key << LOG_LINE_BITS; }  // least seq
static inline int64_t log_key_last(int64_t key) { return log_key_first(key + 1) - 1; }

// "2026-11-26", the second part "2026-11-26.2".
void log_key_name(int64_t key, char out[LOG_NAME_SIZE]);
bool log_key_parse(struct str name, int64_t *key);  // false: not such a name

#endif
