// SPDX-License-Identifier: Apache-2.0
// base/version: the version of all programs.
#ifndef DROVER_BASE_VERSION_H
#define DROVER_BASE_VERSION_H

#define DROVER_VERSION "0.1.0"

#endif
