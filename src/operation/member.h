// SPDX-License-Identifier: Apache-2.0
// operation/member: who has which role in a project. A project always keeps an owner.
#ifndef DROVER_OPERATION_MEMBER_H
#define DROVER_OPERATION_MEMBER_H

#include "operation/access.h"

struct member_change {
    struct str project_id;
    struct str user_id;  // e-mail, any case
    struct str role;     // a word that member_role knows
    bool add;            // ERR_CONFLICT when a member already, unless update
    bool update;         // ERR_NOT_FOUND when not a member, unless add
};
MUST_CHECK int member_set(struct op *op, const struct member_change *change, struct member *out,
                          struct err *err);
MUST_CHECK int member_remove(struct op *op, struct str project_id, struct str user_id,
                             struct err *err);

// The words of the published API are understood too: engineer (developer), annotationManager and
// annotator (viewer). The word that was given is kept, as clients look for it among the members.
// ERR_BAD_INPUT names `field`.
MUST_CHECK int member_role(struct str word, const char *field, enum role *out, struct err *err);

// Fills in what is not stored: the account's names and organisation.
MUST_CHECK int member_complete(struct op *op, struct member *member, struct err *err);

#endif
