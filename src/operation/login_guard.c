// SPDX-License-Identifier: Apache-2.0
#include "operation/login_guard.h"

#include <stdbool.h>

#include "base/map.h"
#include "base/mem.h"

#define WINDOW_MS   60000
#define ENTRIES_MAX 50000  // over it, the oldest failures are forgotten early
#define WAITING_MAX 64
#define FORGET_MAX  16  // past windows forgotten by one call, so that none takes long

struct entry {
    struct list node;  // in guard->failed while something has failed
    int64_t since;     // begin of its window: the first failure
    int64_t failures;
    int64_t verifying;
    size_t len;
    char key[];
};

struct login_guard {
    int64_t tries;
    struct map *entries;  // "a:" + account, "c:" + client address
    struct list failed;   // struct entry, oldest window first
    struct list waiting;  // struct login_try
    int waiting_count;
};

struct login_guard *login_guard_new(int64_t tries_per_minute)
{
    struct login_guard *guard = mem_alloc(sizeof(*guard));
    guard->tries = tries_per_minute;
    guard->entries = map_new();
    list_init(&guard->failed);
    list_init(&guard->waiting);
    return guard;
}

void login_guard_free(struct login_guard *guard)
{
    struct entry *entry;
    struct str key;
    if (!guard)
        return;
    for (size_t i = 0; (entry = map_next(guard->entries, &i, &key));) {
        map_remove(guard->entries, key);
        mem_free(entry);
    }
    map_free(guard->entries);
    mem_free(guard);
}

size_t login_guard_count(const struct login_guard *guard) { return map_count(guard->entries); }

// ── entries ──────────────────────────────────────────────────────────────────────────────────

struct key {
    char text[340];
    struct str str;
};

static struct str key_of(struct key *key, char kind, struct str text)
{
    size_t len = text.len < sizeof(key->text) - 2 ? text.len : sizeof(key->text) - 2;
    key->text[0] = kind;
    key->text[1] = ':';
    if (len)
        memcpy(key->text + 2, text.at, len);
    key->str = (struct str){key->text, len + 2};
    return key->str;
}

static void drop_unused(struct login_guard *guard, struct entry *entry)
{
    if (entry->failures || entry->verifying)
        return;
    map_remove(guard->entries, (struct str){entry->key, entry->len});
    mem_free(entry);
}

static void forget(struct login_guard *guard, struct entry *entry)  // may free it
{
    entry->failures = 0;
    list_remove(&entry->node);
    drop_unused(guard, entry);
}

static void forget_past(struct login_guard *guard, int64_t now_ms)
{
    for (int i = 0; i < FORGET_MAX && !list_empty(&guard->failed); i++) {
        struct entry *oldest = list_entry(guard->failed.next, struct entry, node);
        if (now_ms - oldest->since < WINDOW_MS && map_count(guard->entries) < ENTRIES_MAX)
            return;
        forget(guard, oldest);
    }
}

static struct entry *find(struct login_guard *guard, char kind, struct str text, int64_t now_ms)
{
    struct key key;
    struct entry *entry = map_get(guard->entries, key_of(&key, kind, text));
    if (!entry || !entry->failures || now_ms - entry->since < WINDOW_MS)
        return entry;
    forget(guard, entry);
    return map_get(guard->entries, key.str);
}

static void begin(struct login_guard *guard, char kind, struct str text, int64_t now_ms)
{
    struct key key;
    struct entry *entry = find(guard, kind, text, now_ms);
    if (!entry) {
        struct str name = key_of(&key, kind, text);
        entry = mem_alloc(sizeof(*entry) + name.len);
        entry->len = name.len;
        memcpy(entry->key, name.at, name.len);
        list_init(&entry->node);
        map_put(guard->entries, (struct str){entry->key, entry->len}, entry);
    }
    entry->verifying++;
}

static void end(struct login_guard *guard, char kind, struct str text, enum login_outcome outcome,
                int64_t now_ms)
{
    struct entry *entry = find(guard, kind, text, now_ms);
    entry->verifying--;
    if (outcome == LOGIN_BAD && entry->failures++ == 0) {
        entry->since = now_ms;
        list_push_back(&guard->failed, &entry->node);
    }
    // A good login says nothing of the other accounts that were tried from its address.
    if (outcome == LOGIN_GOOD && kind == 'a')
        forget(guard, entry);
    else
        drop_unused(guard, entry);
}

// ── tries ────────────────────────────────────────────────────────────────────────────────────

static int refuse(const struct login_guard *guard, const struct entry *entry, const char *whose,
                  int64_t now_ms, struct err *err)
{
    if (!entry || entry->failures < guard->tries)
        return 0;
    err_set(err, ERR_BUSY,
            "Too many failed logins %s: at most %lld in a minute (--login-tries); try again later",
            whose, (long long)guard->tries);
    err->retry_after = (int)((WINDOW_MS - (now_ms - entry->since) + 999) / 1000);
    return -1;
}

static bool full(const struct login_guard *guard, const struct entry *entry)
{
    return entry && entry->failures + entry->verifying >= guard->tries;
}

// 1: it may go on, 0: it must wait, -1: it is refused.
static int decide(struct login_guard *guard, const struct login_try *attempt, int64_t now_ms,
                  struct err *err)
{
    const struct entry *from = NULL, *of;
    if (attempt->address.len)
        from = find(guard, 'c', attempt->address, now_ms);
    if (refuse(guard, from, "from this address", now_ms, err))
        return -1;
    of = find(guard, 'a', attempt->account, now_ms);
    if (refuse(guard, of, "for this account", now_ms, err))
        return -1;
    return full(guard, from) || full(guard, of) ? 0 : 1;
}

static void verify(struct login_guard *guard, struct login_try *attempt, int64_t now_ms)
{
    begin(guard, 'a', attempt->account, now_ms);
    if (attempt->address.len)
        begin(guard, 'c', attempt->address, now_ms);
    attempt->go(attempt->arg, NULL);
}

void login_guard_enter(struct login_guard *guard, struct login_try *attempt, int64_t now_ms)
{
    struct err err = ERR_INIT;
    forget_past(guard, now_ms);
    int rc = decide(guard, attempt, now_ms, &err);
    if (rc > 0) {
        verify(guard, attempt, now_ms);
    } else if (rc == 0 && guard->waiting_count < WAITING_MAX) {
        guard->waiting_count++;
        list_push_back(&guard->waiting, &attempt->node);
    } else {
        if (rc == 0) {
            err_set(&err, ERR_BUSY, "%d logins are waiting to be verified; try again", WAITING_MAX);
            err.retry_after = 1;
        }
        attempt->go(attempt->arg, &err);
    }
}

// What `go` does may enter and leave, so the walk begins anew after each.
static bool wake_one(struct login_guard *guard, int64_t now_ms)
{
    list_each (&guard->waiting, node, next) {
        struct login_try *attempt = list_entry(node, struct login_try, node);
        struct err err = ERR_INIT;
        int rc = decide(guard, attempt, now_ms, &err);
        if (rc == 0)
            continue;
        list_remove(node);
        guard->waiting_count--;
        if (rc > 0)
            verify(guard, attempt, now_ms);
        else
            attempt->go(attempt->arg, &err);
        return true;
    }
    return false;
}

void login_guard_leave(struct login_guard *guard, struct login_try *attempt,
                       enum login_outcome outcome, int64_t now_ms)
{
    end(guard, 'a', attempt->account, outcome, now_ms);
    if (attempt->address.len)
        end(guard, 'c', attempt->address, outcome, now_ms);
    while (wake_one(guard, now_ms))
        ;
}
