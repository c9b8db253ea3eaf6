// SPDX-License-Identifier: Apache-2.0
#include "operation/start.h"

#include "base/id.h"
#include "operation/account.h"
#include "operation/password.h"
#include "operation/secret_file.h"

#define ORG_KEY   "default_org"
#define EPOCH_KEY "epoch"

struct start {
    struct platform *platform;
    struct start_result *result;
    struct arena *arena;
    struct str password_hash, api_key;
};

static int next_epoch(struct op *op, struct start *start, struct err *err)
{
    struct str text;
    int64_t epoch = 0;
    if (tx_meta_get(op->tx, EPOCH_KEY, op->arena, &text, err))
        return -1;
    if (text.at && (!str_int(text, &epoch) || epoch < 0))
        return err_set(err, ERR_INTERNAL, "The store's epoch is not a number: '" STR_FMT "'",
                       STR_ARG(text));
    start->platform->fences->epoch = epoch + 1;
    return tx_meta_set(op->tx, EPOCH_KEY, arena_printf(op->arena, "%lld", (long long)(epoch + 1)),
                       err);
}

static int make_org(struct op *op, struct start *start, struct err *err)
{
    struct org org;
    entity_clear(&org_entity, &org);
    org.id = uuid_new(start->arena);
    org.name = STR("default");
    org.created_at = org.updated_at = op->now;
    start->platform->org_id = org.id;
    if (tx_insert(op->tx, &org_entity, &org, err) || tx_meta_set(op->tx, ORG_KEY, org.id, err))
        return -1;
    return op_audit(op, "create", &org_entity, NULL, &org, err);
}

static int make_admin(struct op *op, struct start *start, struct err *err)
{
    struct user user;
    struct api_key key;
    struct str jwt;
    entity_clear(&user_entity, &user);
    user.email = STR(ADMIN_EMAIL);
    user.first_name = STR("Administrator");
    user.last_name = STR("");
    user.admin = true;
    user.password_hash = start->password_hash;
    if (account_create(op, &user, err) ||
        api_key_create(op, user.id, STR("made at the first start"), &key, &jwt, err))
        return -1;
    start->api_key = arena_copy(start->arena, jwt);
    // Before the commit: when this fails nothing was made, and the next start begins anew.
    return secret_file_write(start->result->key_file, jwt, err);
}

// Ids go on growing also when the clock was set back while no server ran.
static int see_newest(struct op *op, const struct entity *entity, struct err *err)
{
    const struct field *id = entity_field(entity, STR("id"));
    struct query query = {.sort = {{.field = id, .descending = true}}, .sort_count = 1, .limit = 1};
    void *row;
    size_t count;
    if (!op->platform->ids)
        return 0;
    if (tx_select(op->tx, entity, &query, op->arena, &row, &count, err))
        return -1;
    if (count > 0)
        id_source_seen(op->platform->ids, *field_text(id, row));
    return 0;
}

static int prepare_work(struct op *op, void *arg, struct err *err)
{
    struct start *start = arg;
    struct str org_id;
    if (see_newest(op, &execution_entity, err) || see_newest(op, &execution_status_entity, err) ||
        see_newest(op, &audit_entity, err) || next_epoch(op, start, err) ||
        tx_meta_get(op->tx, ORG_KEY, start->arena, &org_id, err))
        return -1;
    if (org_id.at) {
        start->platform->org_id = org_id;
        return 0;
    }
    if (!start->password_hash.at)  // asked once more with a password
        return err_set(err, ERR_NOT_FOUND, "There is no organisation yet");
    return make_org(op, start, err) || make_admin(op, start, err) ? -1 : 0;
}

static int first_start(struct start *start, struct err *err)
{
    char hash[PASSWORD_HASH_SIZE];
    struct str password = password_generate(start->arena);
    if (password_hash(password, hash, err) ||  // GCOV_EXCL_BR_LINE: fails only without memory
        secret_file_write(start->result->password_file, password, err))
        return -1;
    start->password_hash = str_of(hash);
    start->result->first = true;
    int rc = op_run_now(start->platform, prepare_work, start, err);
    start->password_hash = STR_NONE;
    return rc;
}

int start_prepare(struct platform *platform, struct start_result *result, struct arena *arena,
                  struct err *err)
{
    const char *data = platform->settings->data;
    struct start start = {.platform = platform, .result = result, .arena = arena};
    *result = (struct start_result){
        .key_file = arena_printf(arena, "%s/admin-key", data).at,
        .password_file = arena_printf(arena, "%s/admin-password", data).at,
    };
    if (op_run_now(platform, prepare_work, &start, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return err_wrap(err, "Preparing the store");
    *err = ERR_INIT;
    return first_start(&start, err);
}
