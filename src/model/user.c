// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field user_fields[] = {
    COLUMN_ID(user),
    COLUMN(user, email, "email", TEXT, .flags = FIELD_REQUIRED | FIELD_FIXED | FIELD_NONEMPTY,
           .max = 320),
    COLUMN(user, first_name, "firstName", TEXT, .limit = LIMIT_NAME),
    COLUMN(user, last_name, "lastName", TEXT, .limit = LIMIT_NAME),
    COLUMN(user, org_id, "orgId", TEXT, .flags = FIELD_READONLY),
    COLUMN(user, type, "type", TEXT, .flags = FIELD_READONLY, .fallback = "\"user\"",
           .choices = "user|bot"),
    COLUMN(user, password_hash, "passwordHash", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(user, admin, "admin", BOOL, .flags = FIELD_READONLY),
    COLUMN(user, token_epoch, "tokenEpoch", INT, .flags = FIELD_INTERNAL, .fallback = "0"),
    COLUMN_TIMES(user),
    EXTRA(user, org_name, "orgName", TEXT, FIELD_COMPOSED),
    ALIAS(user, org_id, "org.id", TEXT),
};

static void user_more(const void *row, struct json_writer *out)
{
    const struct user *user = row;
    fields_link(out, "url", "users", user->id, "");
    json_w_pair_str(out, "username", user->email);
    fields_reference(out, "org", user->org_id, user->org_name);
    json_w_key(out, "orgs");
    json_w_array(out);
    if (user->org_id.at)
        json_w_str(out, user->org_id);
    json_w_array_end(out);
    json_w_pair_raw(out, "projects", STR("[]"));
    json_w_pair_raw(out, "groups", STR("[]"));
}

const struct entity user_entity = {
    .name = "user",
    .table = "users",
    .size = sizeof(struct user),
    FIELDS(user_fields),
    .encode_more = user_more,
    .unique = "email",
    .schema_more = "{\"url\":{\"type\":\"string\"},\"username\":{\"type\":\"string\"},"
                   "\"org\":{\"type\":\"object\"},"
                   "\"orgs\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
                   "\"projects\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
                   "\"groups\":{\"type\":\"array\",\"items\":{}}}",
    .hot = true,
};

static const struct field key_fields[] = {
    COLUMN_ID(api_key),
    COLUMN(api_key, user_id, "userId", TEXT, .flags = FIELD_FIXED, .max = 320),
    COLUMN(api_key, description, "description", TEXT),
    COLUMN(api_key, hash, "hash", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(api_key, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(api_key, revoked, "revoked", BOOL, .flags = FIELD_READONLY),
    COLUMN(api_key, expires_at, "expiresAt", TIME, .flags = FIELD_FIXED),
    COLUMN_TIMES(api_key),
};

static void key_more(const void *row, struct json_writer *out)
{
    const struct api_key *key = row;
    fields_link(out, "url", "apikeys", key->id, "");
    json_w_pair_str(out, "type", STR("user"));
}

const struct entity api_key_entity = {
    .name = "api key",
    .table = "api_keys",
    .size = sizeof(struct api_key),
    FIELDS(key_fields),
    .encode_more = key_more,
    .schema_more = "{\"url\":{\"type\":\"string\"},"
                   "\"type\":{\"type\":\"string\",\"enum\":[\"user\"]}}",
    .hot = true,
};
