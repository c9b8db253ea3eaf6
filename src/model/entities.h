// SPDX-License-Identifier: Apache-2.0
// model/entities: the structs of everything Drover keeps. A struct's texts are borrowed from the
// arena or the request they were decoded with. Their field tables are in model/<name>.c.
#ifndef DROVER_MODEL_ENTITIES_H
#define DROVER_MODEL_ENTITIES_H

#include "model/entity.h"

struct org {
    struct str id, name;
    int64_t created_at, updated_at;
};

// The types of integrations. Functions read key_value; the others are kept for drivers.
#define INTEGRATION_TYPES                                                                          \
    "key_value|private-registry|s3|s3-api|gcs|azureblob|aws-sts|aws-cross|gcp-cross|"              \
    "gcp-workload-identity-federation|mongo|fs"

struct integration {
    struct str id, org_id, name;
    struct str type;      // one of INTEGRATION_TYPES
    struct str metadata;  // JSON object of what was told of it: never secret
    struct str sealed;    // its options, sealed (operation/sealed.h); internal: never answered
    struct str creator;
    int64_t created_at, updated_at;
};

struct user {
    struct str id;     // the e-mail address, lower case
    struct str email;  // = id
    struct str first_name, last_name;
    struct str org_id;
    struct str type;           // "user" or "bot"
    struct str password_hash;  // Argon2id string; internal
    bool admin;                // may do everything
    int64_t token_epoch;       // internal; login tokens made for an older epoch are refused
    struct str org_name;       // unstored
    int64_t created_at, updated_at;
};

struct api_key {
    struct str id;  // the token's jti
    struct str user_id;
    struct str description;
    struct str hash;  // SHA-256 of the JWT in hex; internal: the key itself is never kept
    struct str creator;
    bool revoked;
    int64_t expires_at, created_at, updated_at;
};

struct project {
    struct str id, name, org_id, creator;
    struct str org_name;      // unstored
    struct str role;          // unstored: the caller's
    struct str contributors;  // unstored: JSON array of the members' user ids
    int64_t created_at, updated_at;
};

struct member {
    struct str id;  // "<projectId>:<userId>"
    struct str project_id, user_id;
    struct str role;   // owner | developer | viewer
    struct str given;  // the word that was given for it, which is answered
    struct str creator;
    struct str first_name, last_name, type, org_id, org_name;  // unstored: the account's
    int64_t created_at, updated_at;
};

struct dataset {
    struct str id, name, project_id, creator;
    bool system;          // internal: "Binaries", hidden from ordinary lists
    struct str metadata;  // JSON object
    int64_t items_count;  // unstored
    int64_t created_at, updated_at;
};

struct item {
    struct str id, dataset_id, project_id;
    struct str filename;   // full path in the dataset, "/a/b.jpg"
    struct str name, dir;  // its last part; the rest ("/a", "/" at the top)
    struct str type;       // "file" or "dir"
    bool hidden;
    bool annotated;  // always false here; part of the published shape
    int64_t annotations_count;
    int64_t size;         // bytes; internal (answers carry metadata.system.size)
    struct str mimetype;  // internal (metadata.system.mimetype)
    struct str blob;      // SHA-256 in hex; internal
    struct str metadata;  // JSON object {"system":{…},"user":{…}}
    struct str description, creator;
    int64_t created_at, updated_at;
};

struct package {
    struct str id, name, project_id;
    struct str version;  // "1.0.0"
    struct str type;     // "faas"
    bool global;
    struct str codebase;  // JSON object {"type":"item","itemId"} or {"type":"git",…}
    struct str modules;   // JSON array, see model/module.h
    struct str requirements, slots, service_config, metadata, ui_hooks;  // JSON
    struct str creator, updated_by;
    int64_t created_at, updated_at;
};

// A former (or the present) state of a package or service, whole.
struct revision {
    struct str id;    // "<parentId>:<version>"
    struct str kind;  // "package" or "service"
    struct str parent_id, version, project_id;
    struct str code_item;  // of a package: the item that holds its code
    struct str body;       // JSON, by entity_dump
    struct str creator;
    int64_t created_at;
};

struct service {
    struct str id, name, display_name, project_id, org_id;
    struct str package_id, package_revision, module_name;
    struct str version;      // of the service itself, "1.0.0", bumped by what needs new agents
    struct str versions;     // JSON object {"dtlpy","runner",…}
    struct str init_params;  // JSON object
    struct str runtime;      // JSON object, see model/runtime.h
    bool active;             // false: paused; queued executions stay queued
    bool global, use_user_jwt, run_as_process, archive, is_system;
    struct str bot_user;  // user id of the service's own account
    struct str driver_id;
    int64_t execution_timeout;   // seconds, default 3600
    int64_t drain_time;          // seconds, default 600
    struct str on_reset;         // failed | rerun
    int64_t max_attempts;        // default 3
    int64_t queue_length_limit;  // absent: none
    struct str type;             // "regular"
    struct str mode;             // JSON {"type":"regular"}
    struct str metadata, secrets, integrations, settings, config, panels, app, crashloop;  // JSON
    struct str scope;
    int64_t generation;       // internal: bumped by restart; agents of older ones are replaced
    struct str agents;        // internal: what its agents are called (operation/rollout.h)
    struct str good_version;  // internal: the newest whose agents all took executions
    struct str creator, updated_by;
    int64_t created_at, updated_at;
};

struct execution {
    struct str id, project_id, org_id;
    struct str service_id, service_name, service_version;
    struct str package_id, package_name, package_revision;
    struct str module_name, function_name;
    struct str input;   // JSON, byte for byte as given
    struct str output;  // JSON, byte for byte as returned
    struct str status;  // see model/status.h
    struct str status_message;
    double percent;    // 0–100
    struct str error;  // JSON {"message","stack",…}
    struct str usage;  // JSON {"peakMemoryKib","cpuMs",…} of its own process, if any
    int64_t attempts, max_attempts;  // attempts: those that maxAttempts counts
    int64_t fence;                   // internal: of the newest recorded delivery, or rerun_fence
    int64_t rerun_fence;             // internal: when it was last asked to run again
    struct str replica_id;           // of the newest attempt
    bool to_terminate;
    struct str trigger_id, command_id;
    struct str batch;  // JSON object, for executions of a batch
    struct str event_context, pipeline, model, app, feedback_queue, sync_reply_to;  // JSON or text
    struct str driver_id, creator;
    int64_t timeout_s;             // seconds; absent: the service's executionTimeout
    int64_t started_at, ended_at;  // of the newest attempt
    int64_t duration;              // ms, unstored: ended_at - started_at
    int64_t created_at, updated_at;
};

// An entry of an execution's status log between its creation and its end (progress, reruns); the
// first and the last entry are made from the execution itself.
struct execution_status {
    struct str id;
    struct str execution_id, status, message, action, replica_id;
    double percent;
    struct str error, output;  // JSON
    int64_t timestamp;
};

struct command {  // a piece of work that outlives its request
    struct str id, project_id, type;
    struct str status;  // created in-progress success failed timeout canceled aborted
    double progress;    // 0–100
    struct str spec;    // JSON object
    struct str error;   // JSON
    struct str creator;
    int64_t created_at, updated_at;
};

// Of a project or dataset that is deleted: its row is gone, what was in it is being removed.
struct deletion {
    struct str id;    // the project's or dataset's
    struct str kind;  // "project" or "dataset"
    struct str project_id, creator;
    int64_t created_at;
};

struct replica {  // an agent as last observed
    struct str id, service_id, project_id;
    struct str service_version;
    struct str state;            // starting | ready | draining | exited
    struct str reason, message;  // why it is not ready, in the published words ("Pending", "Error")
    struct str phase;            // what a starting agent is doing: "installing dtlpy 1.126.5"
    int64_t restarts, exit_code;  // exit_code: absent while alive
    int64_t started_at, created_at, updated_at;
};

struct service_event {  // what happened to a service, told to people
    struct str id, service_id, project_id;
    struct str kind;     // what it is about: service | replica | execution
    struct str level;    // info | warning
    struct str reason;   // one word: "AgentFailed"
    struct str subject;  // id of the replica or execution, or the revision; "" for the service
    struct str message;  // a sentence
    struct str inputs;   // JSON object: the numbers behind it
    int64_t count;       // repeats of the same reason and subject within an hour are one row
    int64_t first_at, last_at;
};

// What people must hear of, most often that a service was stopped because it cannot start.
struct notification {
    struct str id, project_id;
    struct str type;   // one word: "CrashLoopBackOff", see operation/notification.h
    struct str level;  // info | warning | error
    struct str entity_type, entity_id, entity_name;
    struct str title;    // a sentence
    struct str message;  // the exact error, lines as they were
    struct str inputs;   // JSON object: the numbers behind it
    int64_t count;       // repeats before anybody has read it are one row
    int64_t first_at, last_at;
    int64_t resolved_at;  // absent: it still holds
    struct str readers;   // internal: JSON array of the ids of users who have read it
    bool read;            // unstored: the caller has
};

// One way that a notification takes to people, until it has arrived or was given up.
struct notification_delivery {
    struct str id;  // the same at every attempt
    struct str notification_id, project_id;
    struct str channel;  // webhook | mail
    struct str target;   // mail: the address
    struct str state;    // waiting | delivered | failed
    int64_t attempts;
    int64_t next_at;   // of the next attempt
    struct str error;  // of the last attempt
    int64_t created_at, updated_at;
};

struct audit {
    struct str id;
    int64_t at;
    struct str user_id, action;  // "update"
    struct str entity_type, entity_id, entity_name, project_id;
    struct str before, after;  // JSON of the entity, without secrets
    struct str address;        // of the client
};

extern const struct entity org_entity, user_entity, api_key_entity, project_entity, member_entity,
    dataset_entity, item_entity, package_entity, revision_entity, service_entity, execution_entity,
    execution_status_entity, command_entity, replica_entity, audit_entity, deletion_entity,
    service_event_entity, notification_entity, notification_delivery_entity, integration_entity;

#endif
