// SPDX-License-Identifier: Apache-2.0
#include "base/metric.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

#define BUCKETS       24  // 0.5 ms × 2^0 … 2^23 (70 min); above that only +Inf
#define SMALLEST      0.0005
#define NANOS         1e9
#define SECONDS_LIMIT 1e6  // what one observation adds to the sum at most

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    struct metric *next;  // metrics of one name are neighbours, as the format asks
    char *name, *labels, *help;
    enum metric_type type;
    _Atomic int64_t value;  // of a histogram: the sum in nanoseconds
    _Atomic int64_t buckets[BUCKETS + 1];
};

struct metrics {
    struct metric *first;
};

struct metrics *metrics_new(void) { return mem_alloc(sizeof(struct metrics)); }

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->first) {
        struct metric *metric = metrics->first;
        metrics->first = metric->next;
        mem_free(metric->name);
        mem_free(metric->labels);
        mem_free(metric->help);
        mem_free(metric);
    }
    mem_free(metrics);
}

static char *copy(const char *text) { return mem_copy(text, strlen(text)); }

// Asking twice for the same name and labels gives the same metric.
static struct metric *add(struct metrics *m, enum metric_type type, const char *name,
                          const char *labels, const char *help)
{
    struct metric **slot = &m->first, **after_family = NULL;
    for (; *slot; slot = &(*slot)->next) {
        if (strcmp((*slot)->name, name) != 0)
            continue;
        assert((*slot)->type == type);
        if (strcmp((*slot)->labels, labels ? labels : "") == 0)
            return *slot;
        after_family = &(*slot)->next;
    }
    slot = after_family ? after_family : slot;
    struct metric *metric = mem_alloc(sizeof(*metric));
    metric->type = type;
    metric->name = copy(name);
    metric->labels = copy(labels ? labels : "");
    metric->help = copy(help ? help : "");
    metric->next = *slot;
    *slot = metric;
    return metric;
}

struct metric *metric_counter(struct metrics *m, const char *name, const char *labels,
                              const char *help)
{
    return add(m, METRIC_COUNTER, name, labels, help);
}

struct metric *metric_gauge(struct metrics *m, const char *name, const char *labels,
                            const char *help)
{
    return add(m, METRIC_GAUGE, name, labels, help);
}

struct metric *metric_histogram(struct metrics *m, const char *name, const char *labels,
                                const char *help)
{
    return add(m, METRIC_HISTOGRAM, name, labels, help);
}

void metric_add(struct metric *metric, int64_t n)
{
    if (metric)
        atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

void metric_set(struct metric *metric, int64_t n)
{
    if (metric)
        atomic_store_explicit(&metric->value, n, memory_order_relaxed);
}

static int bucket_of(double seconds)
{
    int i = 0;
    for (double bound = SMALLEST; i < BUCKETS && seconds > bound; bound *= 2)
        i++;
    return i;
}

void metric_observe(struct metric *metric, double seconds)
{
    if (!metric || isnan(seconds))
        return;
    seconds = fmin(fmax(seconds, 0), SECONDS_LIMIT);
    atomic_fetch_add_explicit(&metric->buckets[bucket_of(seconds)], 1, memory_order_relaxed);
    metric_add(metric, (int64_t)(seconds * NANOS));
}

int64_t metric_value(const struct metric *metric)
{
    if (!metric)
        return 0;
    if (metric->type != METRIC_HISTOGRAM)
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    int64_t count = 0;
    for (int i = 0; i <= BUCKETS; i++)
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    return count;
}

static void write_head(const struct metric *metric, struct buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", metric->name);
    for (const char *c = metric->help; *c; c++) {
        if (*c == '\n')
            buf_add_cstr(out, "\\n");
        else if (*c == '\\')
            buf_add_cstr(out, "\\\\");
        else
            buf_add_char(out, *c);
    }
    buf_printf(out, "\n# TYPE %s %s\n", metric->name, types[metric->type]);
}

static void write_labels(const struct metric *metric, struct buf *out)
{
    if (metric->labels[0])
        buf_printf(out, "{%s}", metric->labels);
}

static void write_histogram(const struct metric *metric, struct buf *out)
{
    const char *comma = metric->labels[0] ? "," : "";
    int64_t count = 0;
    double bound = SMALLEST;
    for (int i = 0; i <= BUCKETS; i++, bound *= 2) {
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", metric->name, metric->labels, comma);
        if (i < BUCKETS)
            buf_printf(out, "%.10g", bound);
        else
            buf_add_cstr(out, "+Inf");
        buf_printf(out, "\"} %lld\n", (long long)count);
    }
    int64_t sum = atomic_load_explicit(&metric->value, memory_order_relaxed);
    buf_printf(out, "%s_sum", metric->name);
    write_labels(metric, out);
    buf_printf(out, " %.9f\n%s_count", (double)sum / NANOS, metric->name);
    write_labels(metric, out);
    buf_printf(out, " %lld\n", (long long)count);
}

void metrics_write(const struct metrics *m, struct buf *out)
{
    const char *family = "";
    for (const struct metric *metric = m->first; metric; metric = metric->next) {
        if (strcmp(metric->name, family) != 0)
            write_head(metric, out);
        family = metric->name;
        if (metric->type == METRIC_HISTOGRAM) {
            write_histogram(metric, out);
            continue;
        }
        buf_add_cstr(out, metric->name);
        write_labels(metric, out);
        buf_printf(out, " %lld\n", (long long)metric_value(metric));
    }
}
