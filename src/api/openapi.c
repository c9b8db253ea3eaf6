// SPDX-License-Identifier: Apache-2.0
#include "api/openapi.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/api_internal.h"
#include "api/route_table.h"
#include "api/schema.h"

#define DOCUMENT_MAX (8u << 20)

static void parameter(struct json_writer *out, struct str name, const char *where, struct str kind)
{
    json_w_object(out);
    json_w_pair_str(out, "name", name);
    json_w_pair_str(out, "in", str_of(where));
    json_w_pair_bool(out, "required", where[0] == 'p');
    json_w_key(out, "schema");
    json_w_object(out);
    bool plain = str_is(kind, "boolean") || str_is(kind, "integer") || kind.len == 0;
    json_w_pair_str(out, "type", plain && kind.len ? kind : STR("string"));
    if (!plain) {
        json_w_key(out, "enum");
        json_w_array(out);
        while (kind.at)
            json_w_str(out, str_cut(&kind, '|'));
        json_w_array_end(out);
    }
    json_w_object_end(out);
    json_w_object_end(out);
}

// `path` is the key that the operation stands under: its parameters have that one's names.
static void parameters(struct json_writer *out, const struct route *route, const char *path)
{
    json_w_key(out, "parameters");
    json_w_array(out);
    for (const char *at = strchr(path, '{'); at; at = strchr(at + 1, '{')) {
        const char *end = strchr(at, '}');
        parameter(out, (struct str){at + 1, (size_t)(end - at - 1)}, "path", STR(""));
    }
    for (struct str rest = str_of(route->query); rest.at;) {
        struct str kind = str_cut(&rest, ' '), name = str_cut(&kind, ':');
        parameter(out, name, "query", kind);
    }
    json_w_array_end(out);
}

static void content(struct json_writer *out, const char *type, const char *schema)
{
    json_w_key(out, type);
    json_w_object(out);
    json_w_key(out, "schema");
    schema_reference(schema, out);
    json_w_object_end(out);
}

static void request_body(struct json_writer *out, const struct route *route)
{
    const char *schema = route->request ? route->request : "Object";
    if (route->body == BODY_NONE)
        return;
    if (!schema_known(schema))
        abort();
    json_w_key(out, "requestBody");
    json_w_object(out);
    json_w_pair_bool(out, "required", route->body != BODY_JSON_OPTIONAL);
    json_w_key(out, "content");
    json_w_object(out);
    if (route->body == BODY_STREAM)
        content(out, "multipart/form-data", schema);
    else
        content(out, "application/json", schema);
    if (route->body == BODY_FORM_OR_JSON)
        content(out, "application/x-www-form-urlencoded", schema);
    json_w_object_end(out);
    json_w_object_end(out);
}

static void success(struct json_writer *out, const struct route *route, int status)
{
    char key[8];
    const char *schema = route->response;
    snprintf(key, sizeof(key), "%d", status);
    json_w_key(out, key);
    json_w_object(out);
    json_w_pair_str(out, "description",
                    str_of(status == 206   ? "A part of it."
                           : status == 304 ? "If-None-Match names it."
                                           : "Done."));
    if (status != 204 && status != 304 && schema) {
        json_w_key(out, "content");
        json_w_object(out);
        if (strcmp(schema, "Binary") == 0 || strcmp(schema, "Text") == 0) {
            json_w_pair_raw(out, schema[0] == 'B' ? "*/*" : "text/plain",
                            STR("{\"schema\":{\"type\":\"string\",\"format\":\"binary\"}}"));
        } else {
            if (!schema_known(schema))
                abort();
            content(out, "application/json", schema);
        }
        json_w_object_end(out);
    }
    json_w_object_end(out);
}

static bool error_possible(const struct route *route, enum err_kind kind)
{
    bool reads = strcmp(route->method, "GET") == 0, open = route->scope == SCOPE_PUBLIC;
    bool binary = route->response && strcmp(route->response, "Binary") == 0;
    switch (kind) {
    case ERR_UNAUTHENTICATED: return !open || strcmp(route->path, "/token") == 0;
    case ERR_DENIED: return !open;
    case ERR_NOT_FOUND: return !open || strchr(route->path, '{');
    case ERR_CONFLICT: return !reads && !open;
    case ERR_TOO_LARGE: return true;
    case ERR_MEDIA_TYPE: return route->body == BODY_STREAM;
    case ERR_RANGE: return binary;
    case ERR_DEPENDENCY: return !reads && !open;
    case ERR_BUSY: return !reads;
    case ERR_BAD_INPUT:
    case ERR_INTERNAL:
    case ERR_UNAVAILABLE: return true;
    default: return false;
    }
}

static void responses(struct json_writer *out, const struct route *route)
{
    char key[8];
    json_w_key(out, "responses");
    json_w_object(out);
    success(out, route, route->success ? route->success : 200);
    if (route->response && strcmp(route->response, "Binary") == 0) {
        success(out, route, 206);
        success(out, route, 304);
    }
    for (int kind = ERR_BAD_INPUT; kind <= ERR_UNAVAILABLE; kind++) {
        if (!error_possible(route, (enum err_kind)kind))
            continue;
        snprintf(key, sizeof(key), "%d", err_status((enum err_kind)kind));
        json_w_pair_raw(out, key, STR("{\"$ref\":\"#/components/responses/Error\"}"));
    }
    json_w_object_end(out);
}

static void operation(struct json_writer *out, const struct route *route, const char *path)
{
    char method[16] = {0};
    for (size_t i = 0; route->method[i] && i + 1 < sizeof(method); i++)
        method[i] = (char)(route->method[i] | 0x20);
    json_w_key(out, method);
    json_w_object(out);
    json_w_pair_str(out, "operationId", str_of(route->operation_id));
    json_w_pair_str(out, "summary", str_of(route->summary));
    json_w_key(out, "tags");
    json_w_array(out);
    json_w_cstr(out, route->tag);
    json_w_array_end(out);
    parameters(out, route, path);
    request_body(out, route);
    responses(out, route);
    if (route->scope == SCOPE_PUBLIC)
        json_w_pair_raw(out, "security", STR("[]"));
    json_w_object_end(out);
}

static const struct route *route_at(size_t index)
{
    size_t count;
    const struct route_list *const *lists = route_table(&count);
    for (size_t i = 0; i < count; i++) {
        if (index < lists[i]->count)
            return &lists[i]->routes[index];
        index -= lists[i]->count;
    }
    return NULL;
}

// Names of parameters do not make paths different: "/executions/{id}" and "/executions/{serviceId}"
// are one path of the document.
static bool same_path(const struct route *a, const struct route *b)
{
    const char *x = a->path, *y = b->path;
    if (a->at_root != b->at_root)
        return false;
    while (*x && *x == *y) {
        if (*x == '{') {
            x = strchr(x, '}');
            y = strchr(y, '}');
        }
        x++;
        y++;
    }
    return *x == *y;
}

// Operations of one path belong under one key, wherever their routes stand.
static void paths(struct json_writer *out)
{
    char path[512];
    const struct route *route, *other;
    for (size_t i = 0; (route = route_at(i)); i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !same_path(route_at(k), route);
        if (!first)
            continue;
        snprintf(path, sizeof(path), "%s%s", route->at_root ? "" : "/api/v1", route->path);
        json_w_key(out, path);
        json_w_object(out);
        for (size_t k = i; (other = route_at(k)); k++) {
            if (same_path(other, route))
                operation(out, other, route->path);
        }
        json_w_object_end(out);
    }
}

struct str openapi_make(const struct settings *settings, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(DOCUMENT_MAX);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_object(&out);
    json_w_pair_str(&out, "openapi", STR("3.0.3"));
    json_w_pair_raw(&out, "info",
                    STR("{\"title\":\"Drover\",\"version\":\"1\",\"description\":\"The API of a "
                        "Drover server.\",\"license\":{\"name\":\"Apache-2.0\"}}"));
    json_w_key(&out, "servers");
    json_w_array(&out);
    json_w_object(&out);
    json_w_pair_str(&out, "url", str_of(settings->public_url ? settings->public_url : "/"));
    json_w_object_end(&out);
    json_w_array_end(&out);
    json_w_pair_raw(&out, "security", STR("[{\"token\":[]}]"));
    json_w_key(&out, "paths");
    json_w_object(&out);
    paths(&out);
    json_w_object_end(&out);
    json_w_key(&out, "components");
    json_w_object(&out);
    json_w_pair_raw(&out, "securitySchemes",
                    STR("{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\","
                        "\"bearerFormat\":\"JWT\"}}"));
    json_w_pair_raw(&out, "responses",
                    STR("{\"Error\":{\"description\":\"It failed; message says why.\","
                        "\"content\":{\"application/json\":{\"schema\":{\"$ref\":"
                        "\"#/components/schemas/Error\"}}}}}"));
    json_w_key(&out, "schemas");
    json_w_object(&out);
    schema_components(settings, &out);
    json_w_object_end(&out);
    json_w_object_end(&out);
    json_w_object_end(&out);
    return arena_copy(arena, buf_str(&buf));
}

static int get_openapi(struct call *call, struct err *err)
{
    (void)err;
    json_w_raw(&call->out, call->api->openapi);
    call_finish(call, NULL);
    return 0;
}

static const struct route routes[] = {
    {"GET", "/openapi.json", ROUTE_LOOP, SCOPE_PUBLIC, ROLE_NONE, BODY_NONE, get_openapi,
     .operation_id = "getOpenApi", .summary = "Describe this API in OpenAPI 3.0", .tag = "Server",
     .response = "Object"},
};

const struct route_list openapi_routes = {routes, sizeof(routes) / sizeof(routes[0])};
