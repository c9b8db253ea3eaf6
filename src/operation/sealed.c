// SPDX-License-Identifier: Apache-2.0
#include "operation/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "operation/secret_file.h"

#define KEY_BYTES   crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define ID_BYTES    8
#define ID_TEXT     (2 * ID_BYTES)
#define KEYS_MOST   16
#define SOURCE_MAX  4096
#define BASE64      sodium_base64_VARIANT_ORIGINAL

// "1.<id of the key>.<base64 of nonce and ciphertext>"
#define VERSION "1."
#define HEAD    (sizeof(VERSION) - 1 + ID_TEXT + 1)

struct master_keys {  // in memory of sodium_malloc
    size_t count;
    struct {
        unsigned char key[KEY_BYTES];
        char id[ID_TEXT + 1];
    } at[KEYS_MOST];
};

// ── keys ─────────────────────────────────────────────────────────────────────────────────────

static void key_id(const unsigned char key[KEY_BYTES], char out[ID_TEXT + 1])
{
    static const unsigned char use[] = "drover master key id";
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof(hash), use, sizeof(use) - 1, key, KEY_BYTES);
    sodium_bin2hex(out, ID_TEXT + 1, hash, ID_BYTES);
}

static bool read_key(struct str line, unsigned char out[KEY_BYTES])
{
    size_t len = 0;
    const char *end = NULL;
    bool hex = line.len == (size_t)2 * KEY_BYTES &&
               sodium_hex2bin(out, KEY_BYTES, line.at, line.len, NULL, &len, &end) == 0;
    if (!hex && sodium_base642bin(out, KEY_BYTES, line.at, line.len, NULL, &len, &end, BASE64) != 0)
        return false;
    return len == KEY_BYTES && end == line.at + line.len;
}

static int read_keys(struct str text, const char *from, struct master_keys *keys, struct err *err)
{
    while (text.at) {
        struct str line = str_trim(str_cut(&text, '\n'));
        if (line.len == 0)
            continue;
        if (keys->count == KEYS_MOST)
            return err_set(err, ERR_INTERNAL, "%s gives more than %d master keys", from, KEYS_MOST);
        if (!read_key(line, keys->at[keys->count].key))
            return err_set(err, ERR_INTERNAL,
                           "%s: line %zu is no master key: each is 64 hex digits, or 32 bytes as "
                           "base64",
                           from, keys->count + 1);
        key_id(keys->at[keys->count].key, keys->at[keys->count].id);
        keys->count++;
    }
    return keys->count > 0 ? 0 : err_set(err, ERR_INTERNAL, "%s gives no master key", from);
}

static pid_t start_shell(const char *command, int out)
{
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    int failed = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    errno = failed;
    return failed ? -1 : pid;
}

static int run_command(const char *command, char *out, size_t size, size_t *len, struct err *err)
{
    int ends[2], status = 0;
    ssize_t n = 1;
    if (pipe2(ends, O_CLOEXEC))
        return err_errno(err, ERR_DEPENDENCY, errno, "Cannot run --master-key-command");
    pid_t pid = start_shell(command, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return err_errno(err, ERR_DEPENDENCY, errno, "Cannot run --master-key-command");
    }
    for (*len = 0; *len < size && n != 0; *len += n > 0 ? (size_t)n : 0) {
        n = read(ends[0], out + *len, size - *len);
        if (n < 0 && errno != EINTR)
            break;
    }
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (*len == size)
        return err_set(err, ERR_DEPENDENCY, "--master-key-command printed more than %zu bytes",
                       size - 1);
    if (status == 0)
        return 0;
    return err_set(err, ERR_DEPENDENCY, "--master-key-command ended with %s %d",
                   WIFSIGNALED(status) ? "signal" : "exit code",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static int load(const struct master_source *source, char *text, struct master_keys *keys,
                struct err *err)
{
    size_t len = 0;
    int failed = source->command ? run_command(source->command, text, SOURCE_MAX, &len, err)
                                 : secret_file_read(source->file, text, SOURCE_MAX, &len, err);
    if (failed)
        return -1;
    return read_keys((struct str){text, len},
                     source->command ? "--master-key-command" : source->file, keys, err);
}

static int start_sodium(struct err *err)
{
    return sodium_init() >= 0
               ? 0
               : err_set(err, ERR_INTERNAL, "The cryptographic library cannot be used");
}

// With the new key first when `add`; otherwise the first one alone.
static int write_keys(const struct master_source *source, const struct master_keys *keys, bool add,
                      struct err *err)
{
    const size_t size = (KEYS_MOST + 1) * (2 * KEY_BYTES + 1);
    size_t len = 0;
    char *text = sodium_malloc(size);
    unsigned char *fresh = sodium_malloc(KEY_BYTES);
    int failed = -1;
    if (!text || !fresh) {
        err_set(err, ERR_INTERNAL, "There is no memory to lock for the master key");
    } else {
        size_t count = keys && add ? keys->count : keys ? 1 : 0;
        if (add) {
            randombytes_buf(fresh, KEY_BYTES);
            sodium_bin2hex(text, size, fresh, KEY_BYTES);
            len = (size_t)2 * KEY_BYTES;
        }
        for (size_t i = 0; i < count; i++) {
            if (len > 0)
                text[len++] = '\n';
            sodium_bin2hex(text + len, size - len, keys->at[i].key, KEY_BYTES);
            len += (size_t)2 * KEY_BYTES;
        }
        failed = secret_file_write(source->file, (struct str){text, len}, err);
    }
    sodium_free(text);
    sodium_free(fresh);
    return failed;
}

int master_keys_load(const struct master_source *source, bool make, bool *made,
                     struct master_keys **out, struct err *err)
{
    *made = false;
    if (start_sodium(err))
        return -1;
    if (make && !source->command && access(source->file, F_OK) != 0 && errno == ENOENT) {
        if (write_keys(source, NULL, true, err))
            return -1;
        *made = true;
    }
    struct master_keys *keys = sodium_malloc(sizeof(*keys));
    char *text = sodium_malloc(SOURCE_MAX);
    int failed = -1;
    if (!keys || !text) {
        err_set(err, ERR_INTERNAL, "There is no memory to lock for the master key");
    } else {
        memset(keys, 0, sizeof(*keys));
        failed = load(source, text, keys, err);
    }
    sodium_free(text);
    if (failed) {
        sodium_free(keys);
        return -1;
    }
    sodium_mprotect_readonly(keys);
    *out = keys;
    return 0;
}

void master_keys_free(struct master_keys *keys) { sodium_free(keys); }

static int change_file(const struct master_source *source, bool add, struct err *err)
{
    struct master_keys *keys;
    bool made;
    if (master_keys_load(source, false, &made, &keys, err))
        return -1;
    int failed = add && keys->count == KEYS_MOST
                     ? err_set(err, ERR_CONFLICT,
                               "%s holds %d keys already: end the change that was begun first",
                               source->file, KEYS_MOST)
                     : write_keys(source, keys, add, err);
    master_keys_free(keys);
    return failed;
}

int master_keys_add(const struct master_source *source, struct err *err)
{
    return change_file(source, true, err);
}

int master_keys_drop_old(const struct master_source *source, struct err *err)
{
    return change_file(source, false, err);
}

struct str master_keys_id(const struct master_keys *keys) { return str_of(keys->at[0].id); }

// ── values ───────────────────────────────────────────────────────────────────────────────────

struct str sealed_make(const struct master_keys *keys, struct str owner, struct str value,
                       struct arena *arena)
{
    size_t len = NONCE_BYTES + value.len + TAG_BYTES;
    unsigned char *bytes = arena_alloc(arena, len);
    randombytes_buf(bytes, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        bytes + NONCE_BYTES, NULL, (const unsigned char *)value.at, value.len,
        (const unsigned char *)owner.at, owner.len, NULL, bytes, keys->at[0].key);
    size_t size = sodium_base64_ENCODED_LEN(len, BASE64);
    char *text = arena_alloc(arena, HEAD + size);
    memcpy(text, VERSION, sizeof(VERSION) - 1);
    memcpy(text + sizeof(VERSION) - 1, keys->at[0].id, ID_TEXT);
    text[HEAD - 1] = '.';
    sodium_bin2base64(text + HEAD, size, bytes, len, BASE64);
    return str_of(text);
}

struct str sealed_key_id(struct str sealed)
{
    if (sealed.len <= HEAD || !str_starts(sealed, STR(VERSION)) || sealed.at[HEAD - 1] != '.')
        return STR_NONE;
    return (struct str){sealed.at + sizeof(VERSION) - 1, ID_TEXT};
}

int sealed_open(const struct master_keys *keys, struct str owner, struct str sealed,
                struct arena *arena, struct str *value, struct err *err)
{
    struct str id = sealed_key_id(sealed);
    size_t i = 0;
    while (id.at && i < keys->count && !str_is(id, keys->at[i].id))
        i++;
    if (id.at && i == keys->count)
        return err_set(err, ERR_CONFLICT,
                       "it is sealed with the master key " STR_FMT ", which this server has not: "
                       "put that key back (docs/secrets.md), or set the value anew",
                       STR_ARG(id));
    size_t len = 0;
    unsigned char *bytes = arena_alloc(arena, sealed.len + 1);
    char *plain = arena_alloc(arena, sealed.len + 1);
    unsigned long long plain_len = 0;
    bool good = id.at &&
                sodium_base642bin(bytes, sealed.len, sealed.at + HEAD, sealed.len - HEAD, NULL,
                                  &len, NULL, BASE64) == 0 &&
                len >= NONCE_BYTES + TAG_BYTES &&
                crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *)plain, &plain_len, NULL,
                                                           bytes + NONCE_BYTES, len - NONCE_BYTES,
                                                           (const unsigned char *)owner.at,
                                                           owner.len, bytes, keys->at[i].key) == 0;
    if (!good)
        return err_set(err, ERR_CONFLICT,
                       "what is kept of it was changed or belongs to another integration: set the "
                       "value anew");
    *value = (struct str){plain, (size_t)plain_len};
    return 0;
}
