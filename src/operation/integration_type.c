// SPDX-License-Identifier: Apache-2.0
#include "operation/integration_type.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

struct option {
    const char *name, *label;
    bool needed, object;
};

#define KEY                                                                                        \
    {                                                                                              \
        "key", "Access key ID", true, false                                                        \
    }
#define SECRET                                                                                     \
    {                                                                                              \
        "secret", "Secret access key", true, false                                                 \
    }

static const struct type {
    const char *name, *label;
    struct option options[4];
} types[] = {
    {"key_value", "Secret", {{"key", "Name", false, false}, {"value", "Value", true, false}}},
    {"private-registry",
     "Private container registry",
     {{"name", "Kind: _json_key or AWS", true, false}, {"spec", "Credentials", true, true}}},
    {"s3", "Amazon S3", {KEY, SECRET}},
    {"s3-api", "S3 compatible storage", {KEY, SECRET}},
    {"gcs",
     "Google Cloud Storage",
     {{"key", "Key", false, false},
      {"secret", "Secret", false, false},
      {"content", "Key file", false, false}}},
    {"azureblob",
     "Azure Blob Storage",
     {{"key", "Account", false, false},
      {"secret", "Secret", false, false},
      {"clientId", "Client", false, false},
      {"tenantId", "Tenant", false, false}}},
    {"aws-sts", "AWS STS", {KEY, SECRET, {"roleArns", "Roles", false, false}}},
    {"aws-cross", "AWS cross account", {{"roleArn", "Role", false, false}}},
    {"gcp-cross",
     "GCP cross project",
     {{"email", "Account", false, false}, {"resourceName", "Resource", false, false}}},
    {"gcp-workload-identity-federation",
     "GCP workload identity federation",
     {{"secret", "Secret", false, false},
      {"content", "Configuration", false, false},
      {"clientId", "Client", false, false}}},
    {"mongo", "MongoDB", {{"uri", "Address", false, false}}},
    {"fs", "File system", {{"path", "Path", false, false}}},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

bool integration_is_registry(struct str type) { return str_is(type, "private-registry"); }

// ── checking ─────────────────────────────────────────────────────────────────────────────────

static int refuse(struct err *err, const char *path, const char *name, const char *why)
{
    char whole[128];
    snprintf(whole, sizeof(whole), "%s.%s", path, name);
    return err_field(err, whole, "%s %s", whole, why);
}

static int check_text(struct json value, const char *path, const char *name, struct arena *arena,
                      struct err *err)
{
    struct str text = json_str(value, arena);
    if (!text.at || text.len == 0)
        return refuse(err, path, name, "must be a text that is not empty");
    if (text.len > SECRET_VALUE_MAX)
        return refuse(err, path, name, "is longer than 65536 bytes: give the function a file");
    return 0;
}

static int need_text(struct json object, const char *path, const char *name, struct arena *arena,
                     struct err *err)
{
    struct json value = {0};
    json_get(object, name, &value);
    return check_text(value, path, name, arena, err);
}

// "_json_key": base64 of a docker configuration, {"auths":{"<host>":{…}}}.
static int check_docker(struct json spec, const char *path, struct arena *arena, struct err *err)
{
    struct json value = {0}, docker, auths;
    struct err ignored = ERR_INIT;
    if (need_text(spec, path, "password", arena, err))
        return -1;
    json_get(spec, "password", &value);
    struct str text = json_str(value, arena);
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    bool good = sodium_base642bin((unsigned char *)out, text.len, text.at, text.len, "\r\n", &len,
                                  NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
                json_parse((struct str){out, len}, 0, &docker, &ignored) == 0 &&
                json_get(docker, "auths", &auths) && json_is(auths, JSON_OBJECT) &&
                json_count(auths) > 0;
    return good ? 0
                : refuse(err, path, "password",
                         "must be the base64 of {\"auths\":{\"<registry>\":{…}}}");
}

static int check_registry(struct json options, const char *path, struct arena *arena,
                          struct err *err)
{
    static const char *const aws[] = {"accessKeyId", "secretAccessKey", "account", "region"};
    struct json name, spec;
    char below[96];
    snprintf(below, sizeof(below), "%s.spec", path);
    if (!json_get(options, "name", &name) || !json_get(options, "spec", &spec))
        return refuse(err, path, "name", "is missing");
    if (json_raw_eq((struct str){name.text.at + 1, name.text.len - 2}, STR("_json_key")))
        return check_docker(spec, below, arena, err);
    if (!json_raw_eq((struct str){name.text.at + 1, name.text.len - 2}, STR("AWS")))
        return refuse(err, path, "name", "must be _json_key (a docker configuration) or AWS (ECR)");
    for (size_t i = 0; i < COUNT(aws); i++)
        if (need_text(spec, below, aws[i], arena, err))
            return -1;
    return 0;
}

static const struct type *type_of(struct str name)
{
    for (size_t i = 0; i < COUNT(types); i++)
        if (str_is(name, types[i].name))
            return &types[i];
    return NULL;
}

int integration_options_check(struct str type, struct json options, const char *path,
                              struct arena *arena, struct err *err)
{
    const struct type *known = type_of(type);
    if (options.type != JSON_OBJECT)
        return err_field(err, path, "%s must be an object", path);
    for (size_t i = 0; known && i < COUNT(known->options) && known->options[i].name; i++) {
        const struct option *option = &known->options[i];
        struct json value = {0};
        json_get(options, option->name, &value);
        if (!option->needed && (value.type == JSON_ABSENT || value.type == JSON_NULL))
            continue;
        if (option->object && value.type != JSON_OBJECT)
            return refuse(err, path, option->name, "must be an object");
        if (option->needed && !option->object && check_text(value, path, option->name, arena, err))
            return -1;
    }
    if (options.text.len > SECRET_VALUE_MAX + 4096)
        return err_field(err, path, "%s has more than 65536 bytes", path);
    return integration_is_registry(type) ? check_registry(options, path, arena, err) : 0;
}

// ── using ────────────────────────────────────────────────────────────────────────────────────

struct str integration_value(struct str type, struct json options, struct str key,
                             struct arena *arena)
{
    struct json value;
    const char *name = str_is(type, "key_value") ? "value" : arena_cstr(arena, key);
    if (json_get(options, name, &value) && value.type == JSON_STRING)
        return json_str(value, arena);
    return options.text;
}

void integration_types_write(struct json_writer *out)
{
    json_w_array(out);
    for (size_t i = 0; i < COUNT(types); i++) {
        json_w_object(out);
        json_w_pair_str(out, "type", str_of(types[i].name));
        json_w_pair_str(out, "displayName", str_of(types[i].label));
        json_w_key(out, "options");
        json_w_array(out);
        for (size_t k = 0; k < COUNT(types[i].options) && types[i].options[k].name; k++) {
            const struct option *option = &types[i].options[k];
            json_w_object(out);
            json_w_pair_str(out, "name", str_of(option->name));
            json_w_pair_str(out, "displayName", str_of(option->label));
            json_w_pair_str(out, "type", option->object ? STR("object") : STR("string"));
            json_w_pair_bool(out, "required", option->needed);
            json_w_object_end(out);
        }
        json_w_array_end(out);
        json_w_object_end(out);
    }
    json_w_array_end(out);
}
