// SPDX-License-Identifier: Apache-2.0
#include "model/variable.h"

#include "model/describe.h"

bool variable_is_sdk(struct str name)
{
    static const char *const names[] = {
        "DATALOOP_PATH",         "DTLPY_CUSTOM_ENV",           "INTERNAL_REQUESTS_URL",
        "AGENT_PROXY_MAIN_PORT", "DTLPY_REFRESH_TOKEN_METHOD", "GET_JWT_ENDPOINT_SECRET"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_is(name, names[i]))
            return true;
    return false;
}

// What the runner needs as the agent sets it, and what would make it load other code.
static bool is_reserved(struct str name)
{
    static const char *const names[] = {"PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV"};
    static const char *const families[] = {"DROVER_", "DTLPY_", "PYTHON", "LD_"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_is(name, names[i]))
            return true;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (str_starts(name, str_of(families[i])))
            return true;
    return variable_is_sdk(name);
}

static bool is_word(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && c >= '0' && c <= '9');
}

int variable_check(struct str name, const char *path, struct err *err)
{
    bool word = name.len > 0 && name.len <= VARIABLE_NAME_MAX;
    for (size_t i = 0; word && i < name.len; i++)
        word = is_word(name.at[i], i == 0);
    struct str shown = describe_clip(name, 64);
    if (!word)
        return err_field(err, path,
                         "%s: \"" STR_FMT "\" cannot be an environment variable: give up to %d "
                         "letters, digits and _, no digit first",
                         path, STR_ARG(shown), VARIABLE_NAME_MAX);
    if (is_reserved(name))
        return err_field(err, path,
                         "%s: " STR_FMT " is a variable that Drover itself sets: choose another "
                         "name",
                         path, STR_ARG(shown));
    return 0;
}
