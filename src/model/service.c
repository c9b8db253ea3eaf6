// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

#define TIMEOUT_MAX (10LL * 365 * 24 * 3600)  // seconds

static const struct field fields[] = {
    COLUMN_ID(service),
    COLUMN(service, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_FIXED | FIELD_NONEMPTY,
           .limit = LIMIT_NAME),
    COLUMN(service, display_name, "displayName", TEXT, .limit = LIMIT_NAME),
    COLUMN(service, project_id, "projectId", TEXT, .flags = FIELD_FIXED),
    COLUMN(service, org_id, "orgId", TEXT, .flags = FIELD_READONLY),
    COLUMN(service, package_id, "packageId", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY),
    COLUMN(service, package_revision, "packageRevision", TEXT, .fallback = "\"latest\"", .max = 64),
    COLUMN(service, module_name, "moduleName", TEXT, .limit = LIMIT_NAME),
    COLUMN(service, version, "version", TEXT, .flags = FIELD_READONLY, .fallback = "\"1.0.0\""),
    COLUMN(service, versions, "versions", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    COLUMN(service, init_params, "initParams", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    COLUMN(service, runtime, "runtime", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    COLUMN(service, active, "active", BOOL, .fallback = "true"),
    COLUMN(service, global, "global", BOOL),
    COLUMN(service, use_user_jwt, "useUserJwt", BOOL),
    COLUMN(service, run_as_process, "runExecutionAsProcess", BOOL),
    COLUMN(service, archive, "archive", BOOL),
    COLUMN(service, is_system, "isSystem", BOOL, .flags = FIELD_READONLY),
    COLUMN(service, bot_user, "botUserName", TEXT, .flags = FIELD_READONLY),
    COLUMN(service, driver_id, "driverId", TEXT),
    COLUMN(service, execution_timeout, "executionTimeout", INT, .fallback = "3600", .min = 1,
           .max = TIMEOUT_MAX),
    COLUMN(service, drain_time, "drainTime", INT, .fallback = "600", .min = 0, .max = TIMEOUT_MAX),
    COLUMN(service, on_reset, "onReset", TEXT, .fallback = "\"failed\"", .choices = "failed|rerun"),
    COLUMN(service, max_attempts, "maxAttempts", INT, .fallback = "3", .min = 1, .max = 1000),
    COLUMN(service, queue_length_limit, "queueLengthLimit", INT, .min = 0, .max = 1000000000000),
    COLUMN(service, type, "type", TEXT, .fallback = "\"regular\"", .choices = "regular|system"),
    COLUMN(service, mode, "mode", JSON, .flags = FIELD_OBJECT,
           .fallback = "{\"type\":\"regular\"}"),
    COLUMN(service, metadata, "metadata", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    COLUMN(service, secrets, "secrets", JSON, .flags = FIELD_ARRAY),
    COLUMN(service, integrations, "integrations", JSON, .flags = FIELD_ARRAY),
    COLUMN(service, settings, "settings", JSON, .flags = FIELD_OBJECT),
    COLUMN(service, config, "config", JSON, .flags = FIELD_OBJECT),
    COLUMN(service, panels, "panels", JSON, .flags = FIELD_ARRAY),
    COLUMN(service, app, "app", JSON, .flags = FIELD_OBJECT),
    COLUMN(service, crashloop, "crashloop", JSON, .flags = FIELD_OBJECT | FIELD_READONLY),
    COLUMN(service, scope, "scope", TEXT, .limit = LIMIT_NAME),
    COLUMN(service, generation, "generation", INT, .flags = FIELD_INTERNAL, .fallback = "0"),
    COLUMN(service, agents, "agents", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(service, good_version, "goodVersion", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(service, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(service, updated_by, "updatedBy", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(service),
};

static void encode_more(const void *row, struct json_writer *out)
{
    const struct service *service = row;
    fields_link(out, "url", "services", service->id, "");
}

const struct entity service_entity = {
    .name = "service",
    .table = "services",
    .resource = "services",
    .size = sizeof(struct service),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "project_id,name",
    .schema_more = "{\"url\":{\"type\":\"string\"}}",
    .hot = true,
};
