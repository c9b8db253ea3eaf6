// SPDX-License-Identifier: Apache-2.0
#include "agent/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

#define SPEC_BYTES_MAX (256u << 10)

static int read_file(const char *path, struct buf *out, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "cannot open the spec file %s", path);
    for (;;) {
        char *room = buf_reserve(out, 4096);
        if (!room)
            return err_set(err, ERR_TOO_LARGE, "the spec file %s is over %u bytes", path,
                           SPEC_BYTES_MAX);
        ssize_t got = read(fd, room, 4096);
        if (got < 0 && errno != EINTR)
            return err_errno(err, ERR_BAD_INPUT, errno, "cannot read the spec file %s", path);
        if (got == 0)
            return 0;
        out->len += got > 0 ? (size_t)got : 0;
    }
}

struct text_member {
    const char *key;
    size_t offset;
    bool wanted;
};

static const struct text_member texts[] = {
    {"replicaId", offsetof(struct agent_spec, replica_id), true},
    {"serviceId", offsetof(struct agent_spec, service_id), true},
    {"projectId", offsetof(struct agent_spec, project_id), false},
    {"revision", offsetof(struct agent_spec, revision), true},
    {"agentUrl", offsetof(struct agent_spec, agent_url), true},
    {"agentCa", offsetof(struct agent_spec, agent_ca), false},
    {"token", offsetof(struct agent_spec, token), true},
    {"publicUrl", offsetof(struct agent_spec, public_url), false},
    {"cache", offsetof(struct agent_spec, cache), true},
    {"python", offsetof(struct agent_spec, python), true},
    {"node", offsetof(struct agent_spec, node), false},
    {"runner", offsetof(struct agent_spec, runner), true},
    {"folder", offsetof(struct agent_spec, folder), true},
};

static int take_texts(struct json spec, struct agent_spec *out, struct arena *arena,
                      struct err *err)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct json value = {0};
        json_get(spec, texts[i].key, &value);
        const char **slot = (const char **)(void *)((char *)out + texts[i].offset);
        if (json_is(value, JSON_STRING) && value.text.len > 2)
            *slot = arena_cstr(arena, json_str(value, arena));
        else if (texts[i].wanted)
            return err_field(err, texts[i].key, "must be a text that is not empty");
    }
    return 0;
}

int agent_spec_read(const char *path, struct agent_spec *out, struct arena *arena, struct err *err)
{
    *out = (struct agent_spec){.node = "node"};
    _cleanup_buf_ struct buf text = BUF_INIT(SPEC_BYTES_MAX);
    struct json spec, value;
    if (read_file(path, &text, err) || json_parse(buf_str(&text), 0, &spec, err))
        return err_wrap(err, "%s", path);
    if (!json_is(spec, JSON_OBJECT))
        return err_set(err, ERR_BAD_INPUT, "%s: a spec is a JSON object", path);
    if (take_texts(spec, out, arena, err))
        return err_wrap(err, "%s: %s", path, err ? err->field : "");
    if (json_get(spec, "cpuMilli", &value))
        (void)json_int(value, &out->cpu_milli);
    if (json_get(spec, "memoryMib", &value))
        (void)json_int(value, &out->memory_mib);
    if (json_get(spec, "gitFile", &value))
        (void)json_bool(value, &out->git_file);
    return 0;
}
