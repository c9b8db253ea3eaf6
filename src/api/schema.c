// SPDX-License-Identifier: Apache-2.0
#include "api/schema.h"

#include <stdio.h>
#include <string.h>

#include "model/entities.h"

static const struct {
    const char *name;
    const struct entity *entity;
} entities[] = {
    {"Org", &org_entity},
    {"User", &user_entity},
    {"ApiKey", &api_key_entity},
    {"Project", &project_entity},
    {"Member", &member_entity},
    {"Dataset", &dataset_entity},
    {"Item", &item_entity},
    {"Package", &package_entity},
    {"Service", &service_entity},
    {"Execution", &execution_entity},
    {"Command", &command_entity},
    {"Audit", &audit_entity},
    {"Event", &service_event_entity},
    {"Notification", &notification_entity},
    {"NotificationDelivery", &notification_delivery_entity},
    {"Integration", &integration_entity},
};

#define TEXT     "{\"type\":\"string\"}"
#define NULLABLE "{\"type\":\"string\",\"nullable\":true}"
#define NAME     "{\"type\":\"string\",\"maxLength\":@name}"
#define FIELD    "{\"type\":\"string\",\"maxLength\":@field}"
#define ROLE                                                                                       \
    "{\"type\":\"string\",\"enum\":[\"owner\",\"developer\",\"viewer\",\"engineer\","              \
    "\"annotationManager\",\"annotator\"]}"

// The numbers that "@name" and so on stand for in a shape.
static const struct {
    const char *mark;
    size_t offset;
} marks[] = {
    {"@bulk", offsetof(struct settings, bulk_max)},
    {"@field", offsetof(struct settings, limits.field)},
    {"@name", offsetof(struct settings, limits.name)},
    {"@page", offsetof(struct settings, limits.page_size)},
};

static const struct {
    const char *name, *json;
} shapes[] = {
    {"Error",
     "{\"type\":\"object\",\"required\":[\"statusCode\",\"message\",\"code\",\"requestId\"],"
     "\"properties\":{\"statusCode\":{\"type\":\"integer\"},\"message\":" TEXT ",\"code\":" TEXT
     ",\"field\":" TEXT ",\"requestId\":" TEXT "}}"},
    {"Any", "{}"},
    {"Object", "{\"type\":\"object\"}"},
    {"Number", "{\"type\":\"number\"}"},
    {"Health",
     "{\"type\":\"object\",\"required\":[\"status\"],\"properties\":{\"status\":" TEXT "}}"},
    {"Query",
     "{\"type\":\"object\",\"properties\":{\"filter\":{\"type\":\"object\"},"
     "\"sort\":{\"type\":\"object\",\"maxProperties\":4,\"additionalProperties\":"
     "{\"type\":\"string\",\"enum\":[\"ascending\",\"descending\"]}},"
     "\"page\":{\"type\":\"integer\",\"minimum\":0},"
     "\"pageSize\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":@page},\"resource\":" TEXT
     ",\"context\":{\"type\":\"object\",\"properties\":{\"projects\":{\"type\":\"array\","
     "\"items\":" TEXT "},\"datasets\":{\"type\":\"array\",\"items\":" TEXT
     "}}},\"systemSpace\":{\"type\":\"boolean\"}}}"},
    {"TokenRequest",
     "{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{"
     "\"type\":{\"type\":\"string\",\"enum\":[\"user_credentials\",\"refresh_token\"]},"
     "\"username\":" TEXT ",\"password\":" TEXT ",\"refresh_token\":" TEXT "}}"},
    {"TokenAnswer",
     "{\"type\":\"object\",\"required\":[\"id_token\",\"access_token\",\"expires_in\"],"
     "\"properties\":{\"id_token\":" TEXT ",\"access_token\":" TEXT ",\"refresh_token\":" TEXT
     ",\"token_type\":" TEXT ",\"expires_in\":{\"type\":\"integer\"}}}"},
    {"PasswordChange",
     "{\"type\":\"object\",\"required\":[\"oldPassword\",\"newPassword\"],\"properties\":{"
     "\"oldPassword\":" TEXT ",\"newPassword\":{\"type\":\"string\",\"minLength\":10,"
     "\"maxLength\":256}}}"},
    {"UserInvite", "{\"type\":\"object\",\"required\":[\"email\"],\"properties\":{\"email\":" TEXT
                   ",\"firstName\":" NAME ",\"lastName\":" NAME
                   ",\"admin\":{\"type\":\"boolean\"},\"password\":{\"type\":"
                   "\"string\",\"minLength\":10,"
                   "\"maxLength\":256}}}"},
    {"UserInvited",
     "{\"allOf\":[{\"$ref\":\"#/components/schemas/User\"},{\"type\":\"object\",\"properties\":{"
     "\"password\":{\"type\":\"string\",\"description\":\"Generated when the request gave "
     "none; shown once.\"}}}]}"},
    {"ApiKeyRequest",
     "{\"type\":\"object\",\"properties\":{\"userId\":" TEXT ",\"description\":" FIELD "}}"},
    {"ApiKeyMade",
     "{\"allOf\":[{\"$ref\":\"#/components/schemas/ApiKey\"},{\"type\":\"object\",\"required\":"
     "[\"jwt\"],\"properties\":{\"jwt\":{\"type\":\"string\",\"description\":\"The key itself; "
     "shown once.\"}}}]}"},
    {"MemberRole",
     "{\"type\":\"object\",\"required\":[\"role\"],\"properties\":{\"role\":" ROLE "}}"},
    {"MemberAdd", "{\"type\":\"object\",\"properties\":{\"role\":" ROLE "}}"},
    {"MemberBatch",
     "{\"type\":\"object\",\"required\":[\"role\",\"users\"],\"properties\":{\"users\":{"
     "\"type\":\"array\",\"maxItems\":@bulk,\"items\":" TEXT "},\"role\":" ROLE "}}"},
    {"NewIntegration",
     "{\"type\":\"object\",\"required\":[\"name\",\"type\",\"options\"],\"properties\":{\"name\":{"
     "\"type\":\"string\",\"minLength\":1,\"maxLength\":@name},\"type\":" TEXT
     ",\"options\":{\"type\":\"object\"},\"metadata\":{\"type\":\"object\",\"nullable\":true}}}"},
    {"IntegrationChange",
     "{\"type\":\"object\",\"required\":[\"integrationId\"],\"properties\":{\"integrationId\":" TEXT
     ",\"name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":@name},\"credentials\":{"
     "\"type\":\"object\",\"required\":[\"options\"],\"properties\":{\"options\":{\"type\":"
     "\"object\"},"
     "\"type\":" TEXT "}}}}"},
    {"IntegrationType",
     "{\"type\":\"object\",\"required\":[\"type\",\"displayName\",\"options\"],\"properties\":{"
     "\"type\":" TEXT ",\"displayName\":" TEXT
     ",\"options\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"object\"}}}}"},
    {"ItemUpload", "{\"type\":\"object\",\"required\":[\"path\"],\"properties\":{"
                   "\"type\":{\"type\":\"string\",\"enum\":[\"file\",\"dir\"]},\"path\":" TEXT
                   ",\"metadata\":{\"type\":\"object\"},\"description\":" FIELD
                   ",\"file\":{\"type\":\"string\",\"format\":\"binary\"}}}"},
    {"ExecutionRequest",
     "{\"oneOf\":[{\"$ref\":\"#/components/schemas/ExecutionCreate\"},{\"type\":\"array\","
     "\"maxItems\":@bulk,\"items\":{\"$ref\":\"#/components/schemas/"
     "ExecutionCreate\"}},{\"type\":\"object\","
     "\"required\":[\"batch\"],\"properties\":{\"functionName\":" NAME
     ",\"batch\":{\"type\":\"object\",\"required\":[\"query\"],\"properties\":{\"query\":"
     "{\"type\":\"object\"},\"args\":{\"type\":\"object\"}}}}}]}"},
    {"ExecutionAnswer",
     "{\"oneOf\":[{\"$ref\":\"#/components/schemas/Execution\"},{\"type\":\"array\","
     "\"items\":{\"oneOf\":[{\"$ref\":\"#/components/schemas/Execution\"},{\"type\":"
     "\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"$ref\":"
     "\"#/components/schemas/Error\"}}}]}},{\"$ref\":\"#/components/schemas/Command\"}]}"},
    {"ExecutionQuery",
     "{\"type\":\"object\",\"required\":[\"query\"],\"properties\":{\"query\":{\"type\":"
     "\"object\"}}}"},
    {"ProgressReport",
     "{\"type\":\"object\",\"properties\":{\"status\":" TEXT
     ",\"percentComplete\":{\"type\":\"number\",\"minimum\":0,\"maximum\":100},"
     "\"message\":" TEXT ",\"output\":{},\"error\":{\"oneOf\":[{\"type\":\"object\"}," TEXT "]}}}"},
    {"Counters", "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"},
    {"ServiceStatus",
     "{\"type\":\"object\",\"required\":[\"numMessagesInQueue\",\"runtimeStatus\"],"
     "\"properties\":{\"numMessagesInQueue\":{\"type\":\"integer\"},\"running\":{\"type\":"
     "\"integer\"},\"replicasReady\":{\"type\":\"integer\"},\"runtimeStatus\":{\"type\":"
     "\"array\",\"items\":{\"type\":\"object\",\"required\":[\"replicaId\",\"status\"],"
     "\"properties\":{\"replicaId\":" TEXT ",\"status\":{\"type\":\"boolean\"},\"state\":" TEXT
     ",\"serviceVersion\":" TEXT ",\"createdAt\":" TEXT ",\"reason\":" NULLABLE ",\"message\":" TEXT
     ",\"phase\":" NULLABLE ",\"restartCount\":{\"type\":\"integer\"},\"lastRestartTime\":" TEXT
     "}}}}}"},
    {"LogQuery",
     "{\"type\":\"object\",\"properties\":{\"serviceId\":" TEXT ",\"projectId\":" TEXT
     ",\"executionId\":{\"type\":\"array\",\"maxItems\":@bulk,\"items\":" TEXT
     "},\"functionName\":" TEXT ",\"replicaId\":" TEXT
     ",\"text\":{\"type\":\"string\",\"maxLength\":1000},\"logLevel\":{\"type\":\"string\","
     "\"enum\":"
     "[\"DEBUG\",\"INFO\",\"WARNING\",\"ERROR\",\"CRITICAL\"]},\"start\":" TEXT ",\"end\":" TEXT
     ",\"direction\":{\"type\":\"string\",\"enum\":[\"asc\",\"desc\"]},"
     "\"size\":{\"type\":\"integer\",\"minimum\":1},\"follow\":{\"type\":\"boolean\"},"
     "\"system\":{\"type\":\"boolean\"},\"checkpoint\":" TEXT "}}"},
    {"LogPage",
     "{\"type\":\"object\",\"required\":[\"logs\",\"checkpoint\",\"stop\"],\"properties\":"
     "{\"logs\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"checkpoint\":" TEXT
     ",\"newest\":" TEXT ",\"stop\":{\"type\":\"boolean\"},\"ended\":{\"type\":\"boolean\"},"
     "\"complete\":{\"type\":\"boolean\"}}}"},
    {"Deleted", "{\"type\":\"object\",\"properties\":{\"deleted\":{\"type\":\"integer\"}}}"},
    {"AuditQuery", "{\"type\":\"object\",\"properties\":{\"projectId\":" TEXT
                   ",\"filter\":{\"type\":\"object\"},\"sort\":{\"type\":\"object\"},"
                   "\"page\":{\"type\":\"integer\",\"minimum\":0},\"pageSize\":{\"type\":"
                   "\"integer\",\"minimum\":0,\"maximum\":@page}}}"},
    {"Rollback", "{\"type\":\"object\",\"properties\":{\"revision\":" TEXT "}}"},
    {"Rollout",
     "{\"type\":\"object\",\"required\":[\"state\",\"revision\",\"wanted\",\"updated\",\"ready\","
     "\"old\","
     "\"failing\",\"since\",\"message\"],\"properties\":{\"state\":{\"type\":\"string\",\"enum\":["
     "\"complete\",\"progressing\",\"failing\",\"paused\"]},\"revision\":" TEXT
     ",\"wanted\":{\"type\":\"integer\"},\"updated\":{\"type\":\"integer\"},\"ready\":{\"type\":"
     "\"integer\"},"
     "\"old\":{\"type\":\"integer\"},\"failing\":{\"type\":\"integer\"},\"since\":" TEXT
     ",\"message\":" TEXT ",\"replicas\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}"},
    {"RevisionChange", "{\"type\":\"object\",\"required\":[\"revision\",\"createdAt\",\"creator\","
                       "\"changes\"],\"properties\":{"
                       "\"revision\":" TEXT ",\"createdAt\":" TEXT ",\"creator\":" TEXT
                       ",\"changes\":{\"type\":\"object\"}}}"},
    {"Why",
     "{\"type\":\"object\",\"required\":[\"status\",\"sentences\"],\"properties\":{\"status\":" TEXT
     ",\"sentences\":{\"type\":\"array\",\"items\":" TEXT "}}}"},
    {"NotificationsAnswer",
     "{\"anyOf\":[{\"$ref\":\"#/components/schemas/NotificationPage\"},{\"type\":\"object\","
     "\"required\":[\"items\",\"totalItemsCount\",\"totalPagesCount\",\"hasNextPage\"],"
     "\"properties\":{\"items\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":["
     "\"type\",\"entityType\",\"entityId\",\"notifications\",\"unread\",\"count\",\"newest\"],"
     "\"properties\":{\"type\":" TEXT ",\"entityType\":" TEXT ",\"entityId\":" TEXT
     ",\"notifications\":{\"type\":\"integer\"},\"unread\":{\"type\":\"integer\"},\"count\":{"
     "\"type\":\"integer\"},\"newest\":{\"$ref\":\"#/components/schemas/Notification\"}}}},"
     "\"totalItemsCount\":{\"type\":\"integer\"},\"totalPagesCount\":{\"type\":\"integer\"},"
     "\"hasNextPage\":{\"type\":\"boolean\"}}}]}"},
    {"NotificationQuery",
     "{\"allOf\":[{\"$ref\":\"#/components/schemas/Query\"},{\"type\":\"object\",\"properties\":{"
     "\"unread\":{\"type\":\"boolean\"}}}]}"},
    {"NotificationRead",
     "{\"type\":\"object\",\"required\":[\"read\"],\"properties\":{\"read\":{\"type\":"
     "\"boolean\"}}}"},
    {"NotificationsRead",
     "{\"type\":\"object\",\"properties\":{\"filter\":{\"type\":\"object\"}}}"},
    {"NotificationsMarked",
     "{\"type\":\"object\",\"required\":[\"marked\",\"more\"],\"properties\":{\"marked\":{"
     "\"type\":\"integer\"},\"more\":{\"type\":\"boolean\"}}}"},
    {"AgentNotification",
     "{\"type\":\"object\",\"required\":[\"action\"],\"properties\":{\"action\":{\"type\":"
     "\"string\",\"minLength\":1},\"message\":" TEXT
     ",\"notificationName\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":@name},"
     "\"notificationPath\":" TEXT ",\"support\":" TEXT ",\"docs\":" TEXT
     ",\"agentInfo\":{\"type\":\"object\"}}}"},
    {"MessagePage",
     "{\"type\":\"object\",\"required\":[\"items\",\"checkpoint\"],\"properties\":{\"items\":{"
     "\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"checkpoint\":" NULLABLE "}}"},
    {"InstanceCatalog", "{}"},
    {"ItemsAnswer",
     "{\"anyOf\":[{\"$ref\":\"#/components/schemas/ItemPage\"},{\"type\":\"object\","
     "\"required\":[\"status\",\"itemsCount\"],\"properties\":{\"id\":" TEXT ",\"status\":" TEXT
     ",\"progress\":{\"type\":\"number\"},\"itemsCount\":{\"type\":"
     "\"integer\"}}}]}"},
    {"NameValid", "{\"type\":\"boolean\"}"},
    {"DatasetCreateBody",
     "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\","
     "\"minLength\":1,\"maxLength\":@name},\"projectId\":" TEXT
     ",\"projects\":{\"type\":\"array\",\"items\":" TEXT
     ",\"minItems\":1,\"maxItems\":1},\"metadata\":{\"type\":\"object\"}}}"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t base_length(const char *name)
{
    size_t len = strlen(name);
    return len > 2 && strcmp(name + len - 2, "[]") == 0 ? len - 2 : len;
}

static bool entity_name(const char *entity, const char *name, size_t len)
{
    static const char *const suffixes[] = {"", "Create", "Patch", "Page"};
    size_t own = strlen(entity);
    if (len < own || strncmp(entity, name, own) != 0)
        return false;
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        if (strlen(suffixes[i]) == len - own && strncmp(suffixes[i], name + own, len - own) == 0)
            return true;
    }
    return false;
}

bool schema_known(const char *name)
{
    size_t len = base_length(name);
    for (size_t i = 0; i < COUNT(shapes); i++) {
        if (strlen(shapes[i].name) == len && strncmp(shapes[i].name, name, len) == 0)
            return true;
    }
    for (size_t i = 0; i < COUNT(entities); i++) {
        if (entity_name(entities[i].name, name, len))
            return true;
    }
    return false;
}

void schema_reference(const char *name, struct json_writer *out)
{
    char text[128];
    size_t len = base_length(name);
    bool array = name[len] != '\0';
    json_w_object(out);
    if (array) {
        json_w_pair_str(out, "type", STR("array"));
        json_w_key(out, "items");
        json_w_object(out);
    }
    snprintf(text, sizeof(text), "#/components/schemas/%.*s", (int)len, name);
    json_w_pair_str(out, "$ref", str_of(text));
    if (array)
        json_w_object_end(out);
    json_w_object_end(out);
}

static void key_of(struct json_writer *out, const char *name, const char *suffix)
{
    char text[128];
    snprintf(text, sizeof(text), "%s%s", name, suffix);
    json_w_key(out, text);
}

static void page_schema(const char *name, struct json_writer *out)
{
    char items[128];
    snprintf(items, sizeof(items), "%s[]", name);
    json_w_object(out);
    json_w_pair_str(out, "type", STR("object"));
    json_w_pair_raw(out, "required",
                    STR("[\"items\",\"totalItemsCount\",\"totalPagesCount\",\"hasNextPage\"]"));
    json_w_key(out, "properties");
    json_w_object(out);
    json_w_key(out, "items");
    schema_reference(items, out);
    json_w_pair_raw(out, "totalItemsCount", STR("{\"type\":\"integer\"}"));
    json_w_pair_raw(out, "totalPagesCount", STR("{\"type\":\"integer\"}"));
    json_w_pair_raw(out, "hasNextPage", STR("{\"type\":\"boolean\"}"));
    json_w_object_end(out);
    json_w_object_end(out);
}

// The mark that the text begins with; COUNT(marks): none.
static size_t mark_at(struct str text)
{
    size_t i = 0;
    while (i < COUNT(marks) && !str_starts(text, str_of(marks[i].mark)))
        i++;
    return i;
}

static void shape_schema(struct str shape, const struct settings *settings, struct buf *out)
{
    const char *base = (const char *)settings;
    while (shape.len) {
        size_t mark = shape.at[0] == '@' ? mark_at(shape) : COUNT(marks), len = 1;
        if (mark == COUNT(marks)) {
            buf_add_char(out, shape.at[0]);
        } else {
            const int64_t *number = (const void *)(base + marks[mark].offset);
            buf_printf(out, "%lld", (long long)*number);
            len = strlen(marks[mark].mark);
        }
        shape = (struct str){shape.at + len, shape.len - len};
    }
}

void schema_components(const struct settings *settings, struct json_writer *out)
{
    for (size_t i = 0; i < COUNT(entities); i++) {
        json_w_key(out, entities[i].name);
        entity_schema(entities[i].entity, out);
        key_of(out, entities[i].name, "Create");
        entity_body_schema(entities[i].entity, DECODE_CREATE, &settings->limits, out);
        key_of(out, entities[i].name, "Patch");
        entity_body_schema(entities[i].entity, DECODE_PATCH, &settings->limits, out);
        key_of(out, entities[i].name, "Page");
        page_schema(entities[i].name, out);
    }
    _cleanup_buf_ struct buf text = BUF_INIT(64 << 10);
    for (size_t i = 0; i < COUNT(shapes); i++) {
        buf_clear(&text);
        shape_schema(str_of(shapes[i].json), settings, &text);
        json_w_pair_raw(out, shapes[i].name, buf_str(&text));
    }
}
