// SPDX-License-Identifier: Apache-2.0
// base/metric: counters, gauges and histograms in the Prometheus text format (version 0.0.4).
// Updates are lock-free and from any thread; registration belongs to start-up.
#ifndef DROVER_BASE_METRIC_H
#define DROVER_BASE_METRIC_H

#include <stdint.h>

#include "base/buf.h"

struct metrics;  // a registry
struct metric;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
// name: snake_case with unit suffix; labels: NULL or a literal such as "result=\"failed\"".
struct metric *metric_counter(struct metrics *m, const char *name, const char *labels,
                              const char *help);
struct metric *metric_gauge(struct metrics *m, const char *name, const char *labels,
                            const char *help);
struct metric *metric_histogram(struct metrics *m, const char *name, const char *labels,
                                const char *help);  // seconds: 0.5 ms … 1 h, powers of two
void metric_add(struct metric *metric, int64_t n);  // NULL does nothing
void metric_set(struct metric *metric, int64_t n);
void metric_observe(struct metric *metric, double seconds);
int64_t metric_value(const struct metric *metric);
void metrics_write(const struct metrics *m, struct buf *out);

#endif
