// SPDX-License-Identifier: Apache-2.0
// api/log_checkpoint: where a reader of logs has come to, as a text that it sends back. It also
// carries what clients leave out from the second page on. It grants nothing: whoever changes it
// only asks another question.
#ifndef DROVER_API_LOG_CHECKPOINT_H
#define DROVER_API_LOG_CHECKPOINT_H

#include "base/json.h"

#define LOG_TEXT_MAX 1000  // characters: each may take six bytes in a checkpoint

struct log_checkpoint {
    int64_t seq;      // the last line given
    int64_t end;      // ms; INT64_MAX: open
    int level;        // least level; 0: all
    bool end_given;   // the last line of an execution that wrote none
    struct str text;  // absent: any; at most LOG_TEXT_MAX
};

bool log_text_fits(struct str text);
struct str log_checkpoint_text(const struct log_checkpoint *at, struct arena *arena);
// ERR_BAD_INPUT when it is not one of ours.
MUST_CHECK int log_checkpoint_read(struct json value, struct log_checkpoint *out,
                                   struct arena *arena, struct err *err);

#endif
