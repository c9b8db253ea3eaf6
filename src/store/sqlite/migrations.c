// SPDX-License-Identifier: Apache-2.0
// The schema, step by step. A step that was ever released is not changed any more; a change is a
// new step. PRAGMA user_version is the number of steps taken. What is long stands last in a row, so
// that lists and updates of the rest do not read it.
#include <stdio.h>

#include "store/sqlite/sqlite_internal.h"

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

static const char *const steps[] = {first_schema};
#define STEPS ((int)(sizeof(steps) / sizeof(*steps)))

static int read_version(sqlite3 *sql, int *version)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(sql, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK)
        return -1;
    int rc = sqlite3_step(statement);
    *version = rc == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? 0 : -1;
}

static int take_step(sqlite3 *sql, int step)
{
    char done[64];
    snprintf(done, sizeof(done), "PRAGMA user_version=%d; COMMIT", step + 1);
    if (sqlite3_exec(sql, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return -1;
    if (sqlite3_exec(sql, steps[step], NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(sql, done, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return -1;  // closing the connection rolls back
}

int store_sqlite_migrate(sqlite3 *sql, struct err *err)
{
    int version;
    if (read_version(sql, &version) < 0)
        return err_set(err, ERR_INTERNAL, "store: reading the schema's version: %s",
                       sqlite3_errmsg(sql));
    if (version > STEPS)
        return err_set(err, ERR_CONFLICT,
                       "store: the database has schema %d, this program knows up to %d; use the "
                       "newer program that wrote it",
                       version, STEPS);
    for (int step = version; step < STEPS; step++)
        if (take_step(sql, step) < 0)
            return err_set(err, ERR_INTERNAL, "store: migrating the schema to %d: %s", step + 1,
                           sqlite3_errmsg(sql));
    return 0;
}
