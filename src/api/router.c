// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/http_server.h"

#define SEGMENTS_MAX 16
#define METHODS_MAX  6

struct node {
    struct str literal;
    struct node *next;      // sibling
    struct node *children;  // literals
    struct node *param;     // {anything}
    const struct route *routes[METHODS_MAX];
    size_t route_count;
};

struct router {
    struct node root;
};

struct path {
    struct str at[SEGMENTS_MAX];
    size_t count;
};

static struct node *child_of(struct node *node, struct str segment)
{
    if (segment.len && segment.at[0] == '{') {
        if (!node->param)
            node->param = mem_alloc(sizeof(*node->param));
        return node->param;
    }
    for (struct node *it = node->children; it; it = it->next) {
        if (str_eq(it->literal, segment))
            return it;
    }
    struct node *made = mem_alloc(sizeof(*made));
    made->literal = segment;
    made->next = node->children;
    node->children = made;
    return made;
}

static void add(struct router *router, const struct route *route)
{
    struct node *node = &router->root;
    struct str rest = str_of(route->path + 1);
    if (!route->at_root)
        node = child_of(child_of(node, STR("api")), STR("v1"));
    while (rest.at)
        node = child_of(node, str_cut(&rest, '/'));
    for (size_t i = 0; i < node->route_count; i++) {
        if (strcmp(node->routes[i]->method, route->method) == 0)
            abort();
    }
    if (node->route_count == METHODS_MAX)
        abort();
    node->routes[node->route_count++] = route;
}

struct router *router_new(const struct route_list *const *lists, size_t count)
{
    struct router *router = mem_alloc(sizeof(*router));
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < lists[i]->count; k++)
            add(router, &lists[i]->routes[k]);
    }
    return router;
}

static void node_deinit(struct node *node)
{
    struct node *next;
    for (struct node *it = node->children; it; it = next) {
        next = it->next;
        node_deinit(it);
        mem_free(it);
    }
    if (node->param) {
        node_deinit(node->param);
        mem_free(node->param);
    }
}

void router_free(struct router *router)
{
    if (!router)
        return;
    node_deinit(&router->root);
    mem_free(router);
}

static bool decode(struct str raw, struct str *out, struct arena *arena)
{
    if (!http_decode(raw, false, arena, out) || !str_utf8_valid(*out))
        return false;
    *out = arena_copy(arena, *out);  // the call may outlive its request
    return true;
}

// Segments are decoded one by one, so that an escaped slash stays within its segment.
static int split(struct str raw, struct path *path, struct arena *arena, struct err *err)
{
    path->count = 0;
    if (raw.len == 0 || raw.at[0] != '/')
        return err_set(err, ERR_NOT_FOUND, "There is nothing at this path");
    struct str rest = {raw.at + 1, raw.len - 1};
    while (rest.at) {
        struct str segment = str_cut(&rest, '/');
        if (path->count == SEGMENTS_MAX)
            return err_set(err, ERR_NOT_FOUND, "There is nothing at this path");
        if (!decode(segment, &path->at[path->count++], arena))
            return err_set(err, ERR_BAD_INPUT,
                           "The path is not percent-encoded UTF-8 (without NUL)");
    }
    return 0;
}

static const struct route *route_of(const struct node *node, struct str method)
{
    for (size_t i = 0; i < node->route_count; i++) {
        if (str_is(method, node->routes[i]->method))
            return node->routes[i];
    }
    return NULL;
}

// `method` absent: any route will do (to tell 405 from 404).
static const struct node *find(const struct node *node, const struct path *path, size_t depth,
                               struct str method, struct str *params)
{
    if (depth == path->count) {
        bool fits = method.at ? route_of(node, method) != NULL : node->route_count > 0;
        return fits ? node : NULL;
    }
    struct str segment = path->at[depth];
    for (const struct node *it = node->children; it; it = it->next) {
        if (!str_eq(it->literal, segment))
            continue;
        const struct node *found = find(it, path, depth + 1, method, params);
        if (found)
            return found;
    }
    if (!node->param || segment.len == 0)
        return NULL;
    size_t taken = 0;
    while (params[taken].at)
        taken++;
    if (taken == ROUTE_PARAMS_MAX)
        return NULL;
    params[taken] = segment;
    const struct node *found = find(node->param, path, depth + 1, method, params);
    if (!found)
        params[taken] = STR_NONE;
    return found;
}

static struct str methods(const struct node *node, struct arena *arena)
{
    struct str out = STR("");
    for (size_t i = 0; i < node->route_count; i++)
        out = arena_printf(arena, STR_FMT "%s%s", STR_ARG(out), i ? ", " : "",
                           node->routes[i]->method);
    return out;
}

int router_match(const struct router *router, struct str method, struct str raw_path,
                 struct route_match *out, struct arena *arena, struct err *err)
{
    struct path path;
    struct str params[ROUTE_PARAMS_MAX + 1] = {{0}};
    *out = (struct route_match){0};
    if (split(raw_path, &path, arena, err))
        return -1;
    if (str_is(method, "HEAD"))
        method = STR("GET");
    const struct node *node = find(&router->root, &path, 0, method, params);
    if (node) {
        out->route = route_of(node, method);
        memcpy(out->params, params, sizeof(out->params));
        return 0;
    }
    memset(params, 0, sizeof(params));
    node = find(&router->root, &path, 0, STR_NONE, params);
    if (!node)
        return err_set(err, ERR_NOT_FOUND, "There is nothing at " STR_FMT, STR_ARG(raw_path));
    out->allow = methods(node, arena);
    return err_set(err, ERR_METHOD, STR_FMT " is not possible here, only " STR_FMT, STR_ARG(method),
                   STR_ARG(out->allow));
}
