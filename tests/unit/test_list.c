// SPDX-License-Identifier: Apache-2.0
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct item {
    int number;
    struct list node;
};

static void items_come_out_in_order(void **state)
{
    (void)state;
    struct list head;
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[1].node);
    list_push_back(&head, &items[2].node);
    list_push_front(&head, &items[0].node);
    for (int i = 0; i < 3; i++)
        assert_int_equal(list_entry(list_pop_front(&head), struct item, node)->number, i);
    assert_true(list_empty(&head));
}

static void walking_may_remove_the_current_one(void **state)
{
    (void)state;
    struct list head;
    struct item items[10];
    list_init(&head);
    for (int i = 0; i < 10; i++) {
        items[i].number = i;
        list_push_back(&head, &items[i].node);
    }
    list_each (&head, it, next) {
        if (list_entry(it, struct item, node)->number % 2)
            list_remove(it);
    }
    int expected = 0;
    list_each (&head, it, next) {
        assert_int_equal(list_entry(it, struct item, node)->number, expected);
        expected += 2;
    }
    assert_int_equal(expected, 10);
    list_remove(&items[1].node);  // a list of its own already; nothing happens to the others
    assert_true(list_empty(&items[1].node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_out_in_order),
        cmocka_unit_test(walking_may_remove_the_current_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
