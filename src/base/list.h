// SPDX-License-Identifier: Apache-2.0
// base/list: intrusive doubly linked list. A node sits in at most one list; the list owns nothing.
#ifndef DROVER_BASE_LIST_H
#define DROVER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
// `it` is a struct list *; the current node may be removed while walking.
#define list_each(head, it, nx)                                                                    \
    for (struct list *it = (head)->next, *nx = it->next; it != (head); it = nx, nx = it->next)

static inline void list_init(struct list *head) { head->prev = head->next = head; }
static inline bool list_empty(const struct list *head) { return head->next == head; }
static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}
static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}
static inline void list_remove(struct list *node)  // leaves node a list of its own
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = node;
}
static inline struct list *list_pop_front(struct list *head)  // NULL when empty
{
    struct list *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#endif
