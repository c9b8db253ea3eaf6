// SPDX-License-Identifier: Apache-2.0
// net/mail: one mail to one person through an SMTP server (libcurl). It blocks: for the pool
// (loop_work), never on the loop.
#ifndef DROVER_NET_MAIL_H
#define DROVER_NET_MAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct mail {
    const char *server;           // "smtp://host:port", "smtps://host:port"
    const char *user, *password;  // NULL: without login
    const char *from, *to;        // addresses, checked
    struct str subject;           // one line, UTF-8
    struct str text;              // UTF-8, lines end with \n
    const char *id;               // the same whenever the same mail is sent again
    int64_t now;                  // wall ms, its date
    int64_t timeout_ms;
    const atomic_bool *stop;  // set by another thread: given up within a second; may be NULL
};

// With smtp:// the connection is encrypted where the server offers it (STARTTLS), and must be when
// there is a login and the server is not this machine. ERR_UNAVAILABLE: try again later;
// ERR_DENIED: the server refuses this address or this mail for good.
MUST_CHECK int mail_send(const struct mail *mail, struct err *err);

// The mail as it is sent, header and body.
void mail_compose(const struct mail *mail, struct buf *out);

#endif
