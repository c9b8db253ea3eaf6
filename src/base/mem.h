// SPDX-License-Identifier: Apache-2.0
// base/mem: heap allocation that never returns NULL: out of memory ends the process with a line on
// stderr (nothing accepted is lost by it: every 2xx follows a commit). Sizes that a caller from
// outside controls are capped before they come here, and large ones are tried (mem_try_resize).
#ifndef DROVER_BASE_MEM_H
#define DROVER_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));     // zeroed
void *mem_resize(void *at, size_t size) __attribute__((returns_nonnull));  // new bytes undefined
void *mem_try_resize(void *at, size_t size);  // NULL without memory; `at` is as it was then
char *mem_copy(const char *at, size_t len) __attribute__((returns_nonnull));  // NUL-terminated
void mem_free(void *at);                                                      // NULL does nothing
void mem_trim(void);  // gives what is free back to the system, as far as that is possible

// Scope-bound clean-up: `_cleanup_free_ char *path = …;`
static inline void mem_free_at(void *slot) { mem_free(*(void **)slot); }
#define _cleanup_free_ __attribute__((cleanup(mem_free_at)))
void fd_close_at(int *fd);  // closes when >= 0
// First in main: a stdin, stdout or stderr that came closed becomes /dev/null, so that no file or
// socket of the program gets its number, and with it what is printed.
void fd_fill_standard(void);
#define _cleanup_fd_ __attribute__((cleanup(fd_close_at)))

#endif
