// SPDX-License-Identifier: Apache-2.0
// The schema, step by step. A step that was ever released is not changed any more; a change is a
// new step, with the way back. What is long stands last in a row, so that lists and updates of the
// rest do not read it.
#include "store/sqlite/migrations.h"

// Lists are served by an index in their order: executions by service, by service and status, by
// project. Open executions have a small index of their own, from which the queue is rebuilt.
static const char first_schema[] =
    "CREATE TABLE orgs(id TEXT PRIMARY KEY NOT NULL,name TEXT,created_at INTEGER,"
    "  updated_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX orgs_name ON orgs(name);"
    "CREATE TABLE users(id TEXT PRIMARY KEY NOT NULL,email TEXT,first_name TEXT,"
    "  last_name TEXT,org_id TEXT,type TEXT,password_hash TEXT,admin INTEGER NOT NULL,"
    "  token_epoch INTEGER,created_at INTEGER,updated_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX users_email ON users(email);"
    "CREATE INDEX users_org ON users(org_id,id);"
    "CREATE TABLE api_keys(id TEXT PRIMARY KEY NOT NULL,user_id TEXT,description TEXT,"
    "  hash TEXT,creator TEXT,revoked INTEGER NOT NULL,expires_at INTEGER,created_at INTEGER,"
    "  updated_at INTEGER) STRICT;"
    "CREATE INDEX api_keys_user ON api_keys(user_id,id);"
    "CREATE TABLE projects(id TEXT PRIMARY KEY NOT NULL,name TEXT,org_id TEXT,creator TEXT,"
    "  created_at INTEGER,updated_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX projects_name ON projects(org_id,name);"
    "CREATE INDEX projects_by_name ON projects(name,id);"
    "CREATE TABLE members(id TEXT PRIMARY KEY NOT NULL,project_id TEXT,user_id TEXT,"
    "  role TEXT,given TEXT,creator TEXT,created_at INTEGER,updated_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX members_user ON members(project_id,user_id);"
    "CREATE INDEX members_projects ON members(user_id,id);"
    "CREATE TABLE datasets(id TEXT PRIMARY KEY NOT NULL,name TEXT,project_id TEXT,"
    "  creator TEXT,system INTEGER NOT NULL,metadata TEXT,created_at INTEGER,"
    "  updated_at INTEGER) STRICT;"
    "CREATE UNIQUE INDEX datasets_name ON datasets(project_id,name);"
    "CREATE TABLE items(id TEXT PRIMARY KEY NOT NULL,dataset_id TEXT,project_id TEXT,"
    "  filename TEXT,name TEXT,dir TEXT,type TEXT,hidden INTEGER NOT NULL,"
    "  annotated INTEGER NOT NULL,annotations_count INTEGER,size INTEGER,mimetype TEXT,"
    "  blob TEXT,description TEXT,creator TEXT,created_at INTEGER,updated_at INTEGER,"
    "  metadata TEXT) STRICT;"
    "CREATE UNIQUE INDEX items_filename ON items(dataset_id,filename);"
    "CREATE INDEX items_dataset ON items(dataset_id,id);"
    "CREATE INDEX items_project ON items(project_id,id);"
    "CREATE INDEX items_blob ON items(blob) WHERE blob IS NOT NULL;"
    "CREATE TABLE packages(id TEXT PRIMARY KEY NOT NULL,name TEXT,project_id TEXT,"
    "  version TEXT,type TEXT,global INTEGER NOT NULL,creator TEXT,updated_by TEXT,"
    "  created_at INTEGER,updated_at INTEGER,codebase TEXT,modules TEXT,requirements TEXT,"
    "  slots TEXT,service_config TEXT,metadata TEXT,ui_hooks TEXT) STRICT;"
    "CREATE UNIQUE INDEX packages_name ON packages(project_id,name);"
    "CREATE INDEX packages_by_name ON packages(name,id);"
    "CREATE TABLE revisions(id TEXT PRIMARY KEY NOT NULL,kind TEXT,parent_id TEXT,"
    "  version TEXT,project_id TEXT,code_item TEXT,creator TEXT,created_at INTEGER,"
    "  body TEXT) STRICT;"
    "CREATE UNIQUE INDEX revisions_version ON revisions(parent_id,version);"
    "CREATE INDEX revisions_project ON revisions(project_id,id);"
    "CREATE INDEX revisions_code ON revisions(code_item) WHERE code_item IS NOT NULL;"
    "CREATE TABLE services(id TEXT PRIMARY KEY NOT NULL,name TEXT,display_name TEXT,"
    "  project_id TEXT,org_id TEXT,package_id TEXT,package_revision TEXT,module_name TEXT,"
    "  version TEXT,active INTEGER NOT NULL,global INTEGER NOT NULL,"
    "  use_user_jwt INTEGER NOT NULL,run_as_process INTEGER NOT NULL,"
    "  archive INTEGER NOT NULL,is_system INTEGER NOT NULL,bot_user TEXT,driver_id TEXT,"
    "  execution_timeout INTEGER,drain_time INTEGER,on_reset TEXT,max_attempts INTEGER,"
    "  queue_length_limit INTEGER,type TEXT,scope TEXT,generation INTEGER,creator TEXT,"
    "  updated_by TEXT,created_at INTEGER,updated_at INTEGER,versions TEXT,init_params TEXT,"
    "  runtime TEXT,mode TEXT,metadata TEXT,secrets TEXT,integrations TEXT,settings TEXT,"
    "  config TEXT,panels TEXT,app TEXT,crashloop TEXT) STRICT;"
    "CREATE UNIQUE INDEX services_name ON services(project_id,name);"
    "CREATE INDEX services_package ON services(package_id,id);"
    "CREATE TABLE executions(id TEXT PRIMARY KEY NOT NULL,service_id TEXT,status TEXT,"
    "  fence INTEGER,rerun_fence INTEGER,project_id TEXT,attempts INTEGER,max_attempts "
    "INTEGER,percent REAL,"
    "  to_terminate INTEGER NOT NULL,timeout_s INTEGER,started_at INTEGER,ended_at INTEGER,"
    "  created_at INTEGER,updated_at INTEGER,replica_id TEXT,org_id TEXT,service_name TEXT,"
    "  service_version TEXT,package_id TEXT,package_name TEXT,package_revision TEXT,"
    "  module_name TEXT,function_name TEXT,driver_id TEXT,creator TEXT,trigger_id TEXT,"
    "  command_id TEXT,status_message TEXT,error TEXT,batch TEXT,event_context TEXT,"
    "  pipeline TEXT,model TEXT,app TEXT,feedback_queue TEXT,sync_reply_to TEXT,input TEXT,"
    "  output TEXT) STRICT;"
    "CREATE INDEX executions_open ON executions(id,service_id,status,fence)"
    "  WHERE status='created' OR status='in-progress' OR status='rerun';"
    "CREATE INDEX executions_service ON executions(service_id,created_at,id);"
    "CREATE INDEX executions_project ON executions(project_id,created_at,id);"
    "CREATE INDEX executions_status ON executions(service_id,status,created_at,id);"
    "CREATE INDEX executions_command ON executions(command_id,id)"
    "  WHERE command_id IS NOT NULL;"
    "CREATE TABLE execution_statuses(id TEXT PRIMARY KEY NOT NULL,execution_id TEXT,"
    "  status TEXT,message TEXT,action TEXT,replica_id TEXT,percent REAL,timestamp INTEGER,"
    "  error TEXT,output TEXT) STRICT;"
    "CREATE INDEX execution_statuses_execution ON execution_statuses(execution_id,id);"
    "CREATE TABLE commands(id TEXT PRIMARY KEY NOT NULL,project_id TEXT,type TEXT,"
    "  status TEXT,progress REAL,creator TEXT,created_at INTEGER,updated_at INTEGER,"
    "  spec TEXT,error TEXT) STRICT;"
    "CREATE INDEX commands_project ON commands(project_id,id);"
    "CREATE TABLE replicas(id TEXT PRIMARY KEY NOT NULL,service_id TEXT,project_id TEXT,"
    "  service_version TEXT,state TEXT,reason TEXT,message TEXT,phase TEXT,restarts INTEGER,"
    "  exit_code INTEGER,started_at INTEGER,created_at INTEGER,updated_at INTEGER) STRICT;"
    "CREATE INDEX replicas_service ON replicas(service_id,id);"
    "CREATE TABLE audit(id TEXT PRIMARY KEY NOT NULL,at INTEGER,user_id TEXT,action TEXT,"
    "  entity_type TEXT,entity_id TEXT,entity_name TEXT,project_id TEXT,address TEXT,"
    "  before TEXT,after TEXT) STRICT;"
    "CREATE INDEX audit_at ON audit(at,id);"
    "CREATE INDEX audit_project ON audit(project_id,at,id);"
    "CREATE INDEX audit_entity ON audit(entity_id,at,id);"
    "CREATE TABLE deletions(id TEXT PRIMARY KEY NOT NULL,kind TEXT,project_id TEXT,creator TEXT,"
    "  created_at INTEGER) STRICT;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL,value TEXT) STRICT, WITHOUT ROWID;";

// What happened to services, for people. Counted and found by reason and subject, listed by time.
static const char add_events[] =
    "CREATE TABLE events(id TEXT PRIMARY KEY NOT NULL,service_id TEXT,project_id TEXT,kind TEXT,"
    "  level TEXT,reason TEXT,subject TEXT,message TEXT,inputs TEXT,count INTEGER,"
    "  first_at INTEGER,last_at INTEGER) STRICT;"
    "CREATE INDEX events_reason ON events(service_id,reason,subject,last_at);"
    "CREATE INDEX events_service ON events(service_id,last_at,id);"
    "CREATE INDEX events_project ON events(project_id,last_at,id);"
    "CREATE INDEX events_at ON events(last_at,id);";

#define BAD                                                                                        \
    "(status='failed' OR status='terminated' OR status='aborted' OR status='canceled' OR "         \
    "status='system-failure')"

// An execution that succeeds touches the indexes less: its status has an index of its own only
// while it is open, or when it ended badly. Counts are kept.
static const char count_executions[] =
    "CREATE TABLE execution_counts(service_id TEXT NOT NULL,function_name TEXT NOT NULL,"
    "  status TEXT NOT NULL,project_id TEXT NOT NULL,n INTEGER NOT NULL,"
    "  PRIMARY KEY(service_id,function_name,status,project_id)) STRICT, WITHOUT ROWID;"
    "INSERT INTO execution_counts SELECT coalesce(service_id,''),coalesce(function_name,''),"
    "  coalesce(status,''),coalesce(project_id,''),count(*) FROM executions GROUP BY 1,2,3,4;"
    "DROP INDEX executions_status;"
    "DROP INDEX executions_open;"
    "CREATE INDEX executions_open ON executions(service_id,created_at,id,status,fence)"
    "  WHERE (status='created' OR status='in-progress' OR status='rerun');"
    "CREATE INDEX executions_bad ON executions(service_id,created_at,id,status) WHERE " BAD ";"
    "CREATE INDEX executions_bad_project ON executions(project_id,created_at,id,status) WHERE " BAD
    ";";

static const char count_executions_down[] =
    "DROP TABLE execution_counts;"
    "DROP INDEX executions_bad_project;"
    "DROP INDEX executions_bad;"
    "DROP INDEX executions_open;"
    "CREATE INDEX executions_open ON executions(id,service_id,status,fence)"
    "  WHERE status='created' OR status='in-progress' OR status='rerun';"
    "CREATE INDEX executions_status ON executions(service_id,status,created_at,id);";

// Spans as old executions fill them: one for each hour. The first one of a scope begins with time.
static const char count_by_time[] =
    "CREATE TABLE execution_spans(scope TEXT NOT NULL,start INTEGER NOT NULL,n INTEGER NOT NULL,"
    "  PRIMARY KEY(scope,start)) STRICT, WITHOUT ROWID;"
    "INSERT INTO execution_spans SELECT project_id,created_at/3600000*3600000,count(*)"
    "  FROM executions WHERE project_id<>'' AND created_at>=0 GROUP BY 1,2;"
    "INSERT INTO execution_spans SELECT service_id,created_at/3600000*3600000,count(*)"
    "  FROM executions WHERE service_id<>'' AND created_at>=0 GROUP BY 1,2;";

// Repeats are found by what they are about, lists go by time.
static const char add_notifications[] =
    "CREATE TABLE notifications(id TEXT PRIMARY KEY NOT NULL,project_id TEXT,type TEXT,level TEXT,"
    "  entity_type TEXT,entity_id TEXT,entity_name TEXT,count INTEGER,first_at INTEGER,"
    "  last_at INTEGER,resolved_at INTEGER,title TEXT,readers TEXT,inputs TEXT,"
    "  message TEXT) STRICT;"
    "CREATE INDEX notifications_entity ON notifications(entity_id,type,last_at);"
    "CREATE INDEX notifications_project ON notifications(project_id,last_at,id);"
    "CREATE INDEX notifications_at ON notifications(last_at,id);"
    "CREATE TABLE notification_deliveries(id TEXT PRIMARY KEY NOT NULL,notification_id TEXT,"
    "  project_id TEXT,channel TEXT,target TEXT,state TEXT,attempts INTEGER,next_at INTEGER,"
    "  error TEXT,created_at INTEGER,updated_at INTEGER) STRICT;"
    "CREATE INDEX notification_deliveries_next ON notification_deliveries(channel,state,next_at);"
    "CREATE INDEX notification_deliveries_of ON notification_deliveries(notification_id,id);"
    "CREATE INDEX notification_deliveries_project ON notification_deliveries(project_id,id);"
    "CREATE INDEX notification_deliveries_at ON notification_deliveries(created_at,id);";

static const char add_rollouts[] = "ALTER TABLE services ADD COLUMN agents TEXT;"
                                   "ALTER TABLE services ADD COLUMN good_version TEXT;";
// What integrations hold is sealed; the master key is not in the database.
static const char add_integrations[] =
    "CREATE TABLE integrations(id TEXT PRIMARY KEY NOT NULL,org_id TEXT,name TEXT,type TEXT,"
    "  metadata TEXT,creator TEXT,created_at INTEGER,updated_at INTEGER,sealed TEXT) STRICT;"
    "CREATE UNIQUE INDEX integrations_name ON integrations(org_id,name);";

static const struct schema_step steps[] = {
    {.summary = "the tables and indexes of Drover 0.1", .up = first_schema},
    {.summary = "events of services",
     .up = add_events,
     .down = "DROP TABLE events;",
     .lost = "events",
     .lost_count = "SELECT count(*) FROM events"},
    {.summary = "counts of executions, and fewer indexes on them",
     .up = count_executions,
     .down = count_executions_down},
    {.summary = "counts of executions by time, for the pages of long lists",
     .up = count_by_time,
     .down = "DROP TABLE execution_spans;"},
    {.summary = "notifications",
     .up = add_notifications,
     .down = "DROP TABLE notification_deliveries;DROP TABLE notifications;",
     .lost = "notifications",
     .lost_count = "SELECT count(*) FROM notifications"},
    {.summary = "which revision of a service is good",
     .up = add_rollouts,
     .down = "ALTER TABLE services DROP COLUMN good_version;"
             "ALTER TABLE services DROP COLUMN agents;"},
    {.summary = "integrations: secrets, sealed",
     .up = add_integrations,
     .down = "DROP TABLE integrations;",
     .lost = "integrations",
     .lost_count = "SELECT count(*) FROM integrations"},
    {.summary = "what executions' processes used",
     .up = "ALTER TABLE executions ADD COLUMN usage TEXT;",
     .down = "ALTER TABLE executions DROP COLUMN usage;",
     .lost = "executions' usage",
     .lost_count = "SELECT count(*) FROM executions WHERE usage IS NOT NULL"},
};

const struct schema_steps store_sqlite_steps = {steps, sizeof(steps) / sizeof(*steps)};
