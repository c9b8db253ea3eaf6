// SPDX-License-Identifier: Apache-2.0
// api/openapi: the API's description (OpenAPI 3.0), made from the route table and the entities.
#ifndef DROVER_API_OPENAPI_H
#define DROVER_API_OPENAPI_H

#include "operation/settings.h"

// Aborts when a route names an unknown schema: that is a programmer's mistake.
struct str openapi_make(const struct settings *settings, struct arena *arena);

#endif
