// SPDX-License-Identifier: Apache-2.0
// The handlers of api/login.c: those that hash passwords, on the pool.
#ifndef DROVER_API_ACCOUNT_INTERNAL_H
#define DROVER_API_ACCOUNT_INTERNAL_H

#include "api/call.h"

int login_handle(struct call *call, struct err *err);
int password_handle(struct call *call, struct err *err);
int invite_handle(struct call *call, struct err *err);

#endif
