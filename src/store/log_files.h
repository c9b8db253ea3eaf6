// SPDX-License-Identifier: Apache-2.0
// store/log_files: which files of log lines there are, and what is known of them. From any thread.
#ifndef DROVER_STORE_LOG_FILES_H
#define DROVER_STORE_LOG_FILES_H

#include "base/arena.h"
#include "base/log.h"
#include "store/log_file.h"

#define LOG_PATH_SIZE 4096

struct log_files;

// data: the data folder; NULL: there are no files, what is added is kept open (in memory).
struct log_files *log_files_open(const char *data, struct log *log, struct err *err);
void log_files_close(struct log_files *files);  // NULL does nothing

// All keys, the oldest first, in the arena. NULL and 0: none.
int64_t *log_files_keys(struct log_files *files, struct arena *arena, size_t *count);
bool log_files_has(struct log_files *files, int64_t key);
int64_t log_files_newest(struct log_files *files);   // -1: none
int64_t log_files_highest(struct log_files *files);  // also of those set aside; -1: none
bool log_files_in_memory(const struct log_files *files);
void log_files_path(const struct log_files *files, int64_t key, const char *ending,
                    char out[LOG_PATH_SIZE]);
int64_t log_files_bytes(struct log_files *files, int64_t key);

// A new file, the newest. memory: the open file itself, which is then the list's; else NULL.
void log_files_add(struct log_files *files, int64_t key, struct log_file *memory);
struct log_file *log_files_memory(struct log_files *files, int64_t key);
// Off the list and the disk.
void log_files_remove(struct log_files *files, int64_t key);
// Off the list; its files are renamed to .damaged.
void log_files_set_aside(struct log_files *files, int64_t key);

// What was found out about a file that does not change any more.
bool log_files_times(struct log_files *files, int64_t key, int64_t *min_at, int64_t *max_at);
void log_files_note_times(struct log_files *files, int64_t key, int64_t min_at, int64_t max_at);
bool log_files_indexed(struct log_files *files, int64_t key);
void log_files_note_indexed(struct log_files *files, int64_t key, bool indexed);

// Deletions under way, for the next process; kinds and ids by turns.
struct logs_part;
MUST_CHECK int log_files_save_deletions(struct log_files *files, const struct logs_part *parts,
                                        size_t count, struct err *err);
MUST_CHECK int log_files_load_deletions(struct log_files *files, struct arena *arena,
                                        struct logs_part **parts, size_t *count, struct err *err);

#endif
