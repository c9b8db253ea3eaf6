// SPDX-License-Identifier: Apache-2.0
#include "base/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

static const char *text_of(const struct metrics *metrics, struct buf *out)
{
    buf_clear(out);
    metrics_write(metrics, out);
    buf_add_char(out, '\0');
    assert_false(out->over);
    return out->at;
}

static void counters_and_gauges_are_written(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    struct metric *ok = metric_counter(metrics, "runs_total", "result=\"ok\"", "Runs\nso \\ far.");
    struct metric *depth = metric_gauge(metrics, "queue_depth", NULL, "Waiting.");
    struct metric *failed = metric_counter(metrics, "runs_total", "result=\"failed\"", "Runs.");
    metric_add(ok, 2);
    metric_add(ok, 3);
    metric_set(depth, 9);
    metric_add(depth, -10);
    assert_int_equal(metric_value(ok), 5);
    assert_int_equal(metric_value(depth), -1);
    assert_int_equal(metric_value(failed), 0);
    _cleanup_buf_ struct buf out = BUF_INIT(100000);
    assert_string_equal(text_of(metrics, &out), "# HELP runs_total Runs\\nso \\\\ far.\n"
                                                "# TYPE runs_total counter\n"
                                                "runs_total{result=\"ok\"} 5\n"
                                                "runs_total{result=\"failed\"} 0\n"
                                                "# HELP queue_depth Waiting.\n"
                                                "# TYPE queue_depth gauge\n"
                                                "queue_depth -1\n");
    metrics_free(metrics);
    metrics_free(NULL);
}

static void the_same_name_and_labels_are_one_metric(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    struct metric *a = metric_counter(metrics, "a_total", NULL, "A.");
    assert_ptr_equal(metric_counter(metrics, "a_total", "", "A."), a);
    assert_ptr_not_equal(metric_counter(metrics, "a_total", "x=\"1\"", "A."), a);
    metrics_free(metrics);
}

static void histograms_count_into_buckets(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    struct metric *plain = metric_histogram(metrics, "wait_seconds", NULL, "Waits.");
    struct metric *labelled = metric_histogram(metrics, "run_seconds", "kind=\"x\"", "Runs.");
    static const double seconds[] = {-1, 0, 0.0005, 0.0006, 1, 3600, 1e9, NAN, INFINITY};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
        metric_observe(plain, seconds[i]);
    metric_observe(labelled, 0.25);
    assert_int_equal(metric_value(plain), 8);
    _cleanup_buf_ struct buf out = BUF_INIT(100000);
    const char *text = text_of(metrics, &out);
    assert_non_null(strstr(text, "# TYPE wait_seconds histogram\n"
                                 "wait_seconds_bucket{le=\"0.0005\"} 3\n"
                                 "wait_seconds_bucket{le=\"0.001\"} 4\n"));
    assert_non_null(strstr(text, "wait_seconds_bucket{le=\"0.512\"} 4\n"));
    assert_non_null(strstr(text, "wait_seconds_bucket{le=\"1.024\"} 5\n"));
    assert_non_null(strstr(text, "wait_seconds_bucket{le=\"2097.152\"} 5\n"));
    assert_non_null(strstr(text, "wait_seconds_bucket{le=\"4194.304\"} 6\n"
                                 "wait_seconds_bucket{le=\"+Inf\"} 8\n"));
    assert_non_null(strstr(text, "wait_seconds_count 8\n"));
    assert_non_null(strstr(text, "run_seconds_bucket{kind=\"x\",le=\"0.256\"} 1\n"));
    assert_non_null(strstr(text, "run_seconds_sum{kind=\"x\"} 0.250000000\n"
                                 "run_seconds_count{kind=\"x\"} 1\n"));
    metrics_free(metrics);
}

struct pair {
    struct metric *counter, *histogram;
};

static void *update(void *argument)
{
    struct pair *pair = argument;
    for (int i = 0; i < 20000; i++) {
        metric_add(pair->counter, 1);
        metric_observe(pair->histogram, 0.5);
    }
    return NULL;
}

static void threads_lose_no_update(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new();
    struct pair pair = {metric_counter(metrics, "a_total", NULL, "A."),
                        metric_histogram(metrics, "b_seconds", NULL, "B.")};
    _cleanup_buf_ struct buf out = BUF_INIT(100000);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, update, &pair), 0);
    for (int i = 0; i < 20; i++)
        text_of(metrics, &out);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metric_value(pair.counter), 80000);
    assert_int_equal(metric_value(pair.histogram), 80000);
    assert_non_null(strstr(text_of(metrics, &out), "b_seconds_sum 40000.000000000\n"));
    metrics_free(metrics);
}

static void no_metric_does_nothing(void **state)
{
    (void)state;
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe(NULL, 1);
    assert_int_equal(metric_value(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_and_gauges_are_written),
        cmocka_unit_test(the_same_name_and_labels_are_one_metric),
        cmocka_unit_test(histograms_count_into_buckets),
        cmocka_unit_test(threads_lose_no_update),
        cmocka_unit_test(no_metric_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
