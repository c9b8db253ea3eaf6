// SPDX-License-Identifier: Apache-2.0
// api/schema: the names that routes give to what they take and answer. From each entity come
// "Service", "ServiceCreate", "ServicePatch" (bodies), "ServicePage" (one page of a list); any name
// with "[]" behind it is an array. Other shapes have a row in schema.c.
#ifndef DROVER_API_SCHEMA_H
#define DROVER_API_SCHEMA_H

#include "base/json.h"
#include "operation/settings.h"

bool schema_known(const char *name);
// {"$ref": …} or an array of it.
void schema_reference(const char *name, struct json_writer *out);
// All of components.schemas: the members only. The settings say what bodies may hold.
void schema_components(const struct settings *settings, struct json_writer *out);

#endif
