// SPDX-License-Identifier: Apache-2.0
#include "operation/package.h"

#include "api/api_internal.h"
#include "api/listing.h"
#include "api/route_table.h"

static void answer(struct call *call, struct package *package)
{
    package_hide_credentials(package, call->op.arena);
    entity_encode(&package_entity, package, &call->out);
}

static int hide(struct call *call, void *row, struct err *err)
{
    (void)err;
    package_hide_credentials(row, call->op.arena);
    return 0;
}

static int create_package(struct call *call, struct err *err)
{
    struct package package;
    if (package_create(&call->op, &call->project, call->body, &package, err))
        return -1;
    answer(call, &package);
    return 0;
}

static int get_package(struct call *call, struct err *err)
{
    struct package package;
    if (package_at(&call->op, &call->subject.package, call_query(call, "version"), &package, err))
        return -1;
    answer(call, &package);
    return 0;
}

static int update_package(struct call *call, struct err *err)
{
    struct package package;
    if (package_update(&call->op, &call->subject.package, call->body, &package, err))
        return -1;
    answer(call, &package);
    return 0;
}

static int delete_package(struct call *call, struct err *err)
{
    return package_delete(&call->op, &call->subject.package, err);
}

static int get_revisions(struct call *call, struct err *err)
{
    return listing_revisions(call, &package_entity, call->subject.package.id, hide, err);
}

static int list_packages(struct call *call, struct err *err)
{
    return listing_get(call, &package_entity, "projectId name creator", hide, err);
}

static const struct route routes[] = {
    {"POST", "/packages", ROUTE_WRITE, SCOPE_BODY, ROLE_DEVELOPER, BODY_JSON, create_package,
     .operation_id = "createPackage", .summary = "Create a package", .tag = "Packages",
     .request = "PackageCreate", .response = "Package", .success = 201},
    {"GET", "/packages", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_packages,
     .operation_id = "listPackages", .summary = "List packages", .tag = "Packages",
     .response = "PackagePage",
     .query = "projectId:string name:string creator:string pageOffset:integer pageSize:integer"},
    {"GET", "/packages/{id}", ROUTE_READ, SCOPE_PACKAGE, ROLE_VIEWER, BODY_NONE, get_package,
     .operation_id = "getPackage", .summary = "Get a package, or a revision of it",
     .tag = "Packages", .response = "Package", .query = "version:string"},
    {"PATCH", "/packages/{id}", ROUTE_WRITE, SCOPE_PACKAGE, ROLE_DEVELOPER, BODY_JSON,
     update_package, .operation_id = "updatePackage",
     .summary = "Change a package: makes a new version", .tag = "Packages",
     .request = "PackagePatch", .response = "Package"},
    {"DELETE", "/packages/{id}", ROUTE_WRITE, SCOPE_PACKAGE, ROLE_DEVELOPER, BODY_NONE,
     delete_package, .operation_id = "deletePackage",
     .summary = "Delete a package that no service uses", .tag = "Packages", .success = 204},
    {"GET", "/packages/{id}/revisions", ROUTE_READ, SCOPE_PACKAGE, ROLE_VIEWER, BODY_NONE,
     get_revisions, .operation_id = "listPackageRevisions",
     .summary = "List the revisions of a package, newest first", .tag = "Packages",
     .response = "Package[]"},
};

const struct route_list package_routes = {routes, sizeof(routes) / sizeof(routes[0])};
