// SPDX-License-Identifier: Apache-2.0
#include "operation/login_guard.h"

#include <stdbool.h>

#include "base/map.h"
#include "base/mem.h"

#define WINDOW_MS   60000
#define ENTRIES_MAX 10000  // over it, entries of past windows are swept out

struct entry {
    int64_t since;  // begin of its window
    int64_t failures;
    size_t len;
    char key[];
};

struct login_guard {
    int64_t tries;
    struct map *entries;  // "a:" + account, "c:" + client address
};

struct login_guard *login_guard_new(int64_t tries_per_minute)
{
    struct login_guard *guard = mem_alloc(sizeof(*guard));
    guard->tries = tries_per_minute;
    guard->entries = map_new();
    return guard;
}

static void sweep(struct login_guard *guard, int64_t now_ms, bool all)
{
    struct entry *entry;
    struct str key;
    for (size_t i = 0; (entry = map_next(guard->entries, &i, &key));) {
        if (!all && now_ms - entry->since < WINDOW_MS)
            continue;
        map_remove(guard->entries, key);
        mem_free(entry);
    }
}

void login_guard_free(struct login_guard *guard)
{
    if (!guard)
        return;
    sweep(guard, 0, true);
    map_free(guard->entries);
    mem_free(guard);
}

struct key {
    char text[340];
    size_t len;
};

static struct str key_of(struct key *key, char kind, struct str text)
{
    size_t len = text.len < sizeof(key->text) - 2 ? text.len : sizeof(key->text) - 2;
    key->text[0] = kind;
    key->text[1] = ':';
    if (len)
        memcpy(key->text + 2, text.at, len);
    key->len = len + 2;
    return (struct str){key->text, key->len};
}

static struct entry *entry_of(struct login_guard *guard, struct str key, int64_t now_ms)
{
    struct entry *entry = map_get(guard->entries, key);
    if (!entry) {
        if (map_count(guard->entries) >= ENTRIES_MAX)
            sweep(guard, now_ms, false);
        entry = mem_alloc(sizeof(*entry) + key.len);
        entry->since = now_ms;
        entry->len = key.len;
        memcpy(entry->key, key.at, key.len);
        map_put(guard->entries, (struct str){entry->key, entry->len}, entry);
    } else if (now_ms - entry->since >= WINDOW_MS || now_ms < entry->since) {
        entry->since = now_ms;
        entry->failures = 0;
    }
    return entry;
}

static int take(struct login_guard *guard, struct entry *entry, const char *whose, int64_t now_ms,
                struct err *err)
{
    if (entry->failures < guard->tries)
        return 0;
    err_set(err, ERR_BUSY,
            "Too many failed logins %s: at most %lld in a minute (--login-tries); try again later",
            whose, (long long)guard->tries);
    err->retry_after = (int)((WINDOW_MS - (now_ms - entry->since) + 999) / 1000);
    return -1;
}

int login_guard_check(struct login_guard *guard, struct str account, struct str address,
                      int64_t now_ms, struct err *err)
{
    struct key key;
    struct entry *from = NULL;
    struct entry *of = entry_of(guard, key_of(&key, 'a', account), now_ms);
    if (take(guard, of, "for this account", now_ms, err))
        return -1;
    of->failures++;
    if (!address.len)
        return 0;
    from = entry_of(guard, key_of(&key, 'c', address), now_ms);
    if (take(guard, from, "from this address", now_ms, err))
        return -1;
    from->failures++;
    return 0;
}

void login_guard_clear(struct login_guard *guard, struct str account, struct str address)
{
    struct key key;
    struct entry *of = map_remove(guard->entries, key_of(&key, 'a', account));
    mem_free(of);
    struct entry *from = address.len ? map_get(guard->entries, key_of(&key, 'c', address)) : NULL;
    if (from && from->failures > 0)
        from->failures--;
}
