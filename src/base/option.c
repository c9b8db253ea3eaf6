// SPDX-License-Identifier: Apache-2.0
#include "base/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/near.h"

#define FILE_MAX ((size_t)1024 * 1024)  // bytes of a configuration file

static const struct unit {
    enum option_type type;
    const char *suffix;
    int64_t factor;
} units[] = {
    // Largest first, so that writing a value finds the largest unit that divides it.
    {OPTION_SECONDS, "d", 86400000},
    {OPTION_SECONDS, "h", 3600000},
    {OPTION_SECONDS, "m", 60000},
    {OPTION_SECONDS, "s", 1000},
    {OPTION_SECONDS, "ms", 1},
    {OPTION_BYTES, "TiB", (int64_t)1 << 40},
    {OPTION_BYTES, "GiB", (int64_t)1 << 30},
    {OPTION_BYTES, "MiB", (int64_t)1 << 20},
    {OPTION_BYTES, "KiB", (int64_t)1 << 10},
    {OPTION_BYTES, "B", 1},
};

#define UNIT_COUNT (sizeof(units) / sizeof(units[0]))

// Where a value comes from, for messages: "in environment variable DROVER_LISTEN".
struct source {
    const char *where, *name;
};

static int bad(struct err *err, const struct option *option, const struct source *source,
               struct str value, const char *why)
{
    struct str shown = value.len > 100 ? (struct str){value.at, 100} : value;
    err_field(err, option->flag, "%s: '" STR_FMT "' %s (given %s%s)", option->flag, STR_ARG(shown),
              why, source->where, source->name);
    return -1;
}

// ── values ───────────────────────────────────────────────────────────────────────────────────

static void add_number(struct buf *out, enum option_type type, int64_t value)
{
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (units[i].type == type && value != 0 && value % units[i].factor == 0) {
            buf_printf(out, "%lld%s", (long long)(value / units[i].factor), units[i].suffix);
            return;
        }
    buf_printf(out, "%lld%s", (long long)value, type == OPTION_SECONDS ? "s" : "");
}

void option_limits(const struct option *option, struct buf *out)
{
    if (option->type == OPTION_CHOICE) {
        struct str rest = str_of(option->choices);
        for (bool first = true; rest.at; first = false) {
            struct str choice = str_cut(&rest, '|');
            buf_add_cstr(out, first ? "" : rest.at ? ", " : " or ");
            buf_add_str(out, choice);
        }
        return;
    }
    bool number = option->type == OPTION_INT || option->type == OPTION_SECONDS ||
                  option->type == OPTION_BYTES;
    if (!number || (option->min == 0 && option->max == 0))
        return;
    add_number(out, option->type, option->min);
    buf_add_cstr(out, " to ");
    add_number(out, option->type, option->max);
    if (option->type == OPTION_INT && option->unit)
        buf_printf(out, " %s", option->unit);
}

static int out_of_limits(struct err *err, const struct option *option, const struct source *source,
                         struct str value)
{
    char why[256];
    _cleanup_buf_ struct buf limits = BUF_INIT(sizeof(why) - 32);
    option_limits(option, &limits);
    snprintf(why, sizeof(why), "is not within " STR_FMT, STR_ARG(buf_str(&limits)));
    return bad(err, option, source, value, why);
}

static int64_t factor_of(enum option_type type, struct str suffix)
{
    if (suffix.len == 0)
        return type == OPTION_SECONDS ? 1000 : 1;
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (units[i].type == type && str_is(suffix, units[i].suffix))
            return units[i].factor;
    return 0;
}

static int read_number(const struct option *option, const struct source *source, struct str text,
                       int64_t *out, struct err *err)
{
    size_t digits = 0;
    while (digits < text.len &&
           (strchr("+-", text.at[digits]) || (text.at[digits] >= '0' && text.at[digits] <= '9')))
        digits++;
    struct str suffix = {text.at + digits, text.len - digits};
    int64_t value, factor = factor_of(option->type, suffix);
    if (!str_int((struct str){text.at, digits}, &value) || factor == 0) {
        const char *why = option->type == OPTION_INT ? "is not a whole number"
                          : option->type == OPTION_BYTES
                              ? "is not a size such as 64, 64KiB, 10MiB or 2GiB"
                              : "is not a time such as 30 (seconds), 250ms, 30s, 5m, 2h or 1d";
        return bad(err, option, source, text, why);
    }
    bool limited = option->min != 0 || option->max != 0;
    bool over = __builtin_mul_overflow(value, factor, &value);
    if (over && !limited)
        return bad(err, option, source, text, "is too large");
    if (over || (limited && (value < option->min || value > option->max)))
        return out_of_limits(err, option, source, text);
    *out = value;
    return 0;
}

static bool read_bool(struct str text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        bool is_yes = str_case_eq(text, str_of(yes[i]));
        if (is_yes || str_case_eq(text, str_of(no[i]))) {
            *out = is_yes;
            return true;
        }
    }
    return false;
}

static bool is_choice(const struct option *option, struct str text)
{
    for (struct str rest = str_of(option->choices); rest.at;)
        if (str_eq(str_cut(&rest, '|'), text))
            return true;
    return false;
}

struct load {
    const struct option_table *table;
    void *settings;
    struct arena *arena;
    struct err *err;
};

static int store(const struct load *load, const struct option *option, const struct source *source,
                 struct str text)
{
    void *member = (char *)load->settings + option->offset;
    int64_t number = 0;
    bool truth;
    switch (option->type) {
    case OPTION_CHOICE:
        if (!is_choice(option, text))
            return out_of_limits(load->err, option, source, text);
        // fall through
    case OPTION_TEXT: {
        const char *copy = arena_cstr(load->arena, text);
        memcpy(member, &copy, sizeof(copy));
        return 0;
    }
    case OPTION_BOOL:
        if (!read_bool(text, &truth))
            return bad(load->err, option, source, text, "is neither true nor false");
        memcpy(member, &truth, sizeof(truth));
        return 0;
    case OPTION_INT:
    case OPTION_SECONDS:
    case OPTION_BYTES:
        if (read_number(option, source, text, &number, load->err) < 0)
            return -1;
        memcpy(member, &number, sizeof(number));
        return 0;
    }
    return 0;
}

// ── names ────────────────────────────────────────────────────────────────────────────────────

static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }

static const char *name_of(const struct option *option, bool in_file)
{
    return in_file ? option->key : option->flag;
}

static int unknown(const struct load *load, struct str name, bool in_file,
                   const struct source *source)
{
    struct near near = near_start(name);
    for (size_t i = 0; i < load->table->count; i++) {
        const char *candidate = name_of(&load->table->options[i], in_file);
        if (candidate)
            near_try(&near, str_of(candidate));
    }
    struct str shown = {name.at, min_of(name.len, 100)};
    bool found = near.found.at != NULL;
    err_field(load->err, "", "unknown %s '" STR_FMT "' (given %s%s)%s" STR_FMT "%s",
              in_file ? "setting" : "option", STR_ARG(shown), source->where, source->name,
              found ? "; did you mean " : "; --help lists all", STR_ARG(near.found),
              found ? "?" : "");
    return -1;
}

static const struct option *find(const struct option_table *table, struct str name, bool in_file)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *candidate = name_of(&table->options[i], in_file);
        if (candidate && str_is(name, candidate))
            return &table->options[i];
    }
    return NULL;
}

// ── sources, weakest first ───────────────────────────────────────────────────────────────────

static int load_defaults(const struct load *load)
{
    static const size_t sizes[] = {
        [OPTION_TEXT] = sizeof(char *),     [OPTION_INT] = sizeof(int64_t),
        [OPTION_SECONDS] = sizeof(int64_t), [OPTION_BYTES] = sizeof(int64_t),
        [OPTION_BOOL] = sizeof(bool),       [OPTION_CHOICE] = sizeof(char *),
    };
    const struct source source = {"as its default", ""};
    for (size_t i = 0; i < load->table->count; i++) {
        const struct option *option = &load->table->options[i];
        memset((char *)load->settings + option->offset, 0, sizes[option->type]);
        if (option->fallback && store(load, option, &source, str_of(option->fallback)) < 0)
            return -1;
    }
    return 0;
}

static int read_file(const char *path, struct buf *out, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "cannot open configuration file %s", path);
    for (;;) {
        char part[4096];
        ssize_t n = read(fd, part, sizeof(part));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_BAD_INPUT, errno, "cannot read configuration file %s", path);
        if (n == 0)
            return 0;
        buf_add(out, part, (size_t)n);
        if (out->over)
            return err_set(err, ERR_BAD_INPUT,
                           "configuration file %s is larger than 1 MiB, the limit", path);
    }
}

// A file value in the text form that flags have.
static int store_json(const struct load *load, const struct option *option,
                      const struct source *source, struct json value)
{
    bool is_text = option->type == OPTION_TEXT || option->type == OPTION_CHOICE;
    bool number = option->type != OPTION_BOOL && !is_text && value.type == JSON_NUMBER;
    bool truth = option->type == OPTION_BOOL &&
                 (value.type == JSON_TRUE || value.type == JSON_FALSE);
    int64_t whole;
    if (value.type == JSON_STRING)
        return store(load, option, source, json_str(value, load->arena));
    if (number && json_int(value, &whole))
        return store(load, option, source, arena_printf(load->arena, "%lld", (long long)whole));
    if (number || truth)
        return store(load, option, source, value.text);
    const char *wanted = is_text                       ? "is not a string"
                         : option->type == OPTION_BOOL ? "is neither true nor false"
                                                       : "is neither a number nor a string";
    return bad(load->err, option, source, value.text, wanted);
}

static int load_file(const struct load *load, const char *path)
{
    _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
    struct json document, value;
    struct str raw_key;
    const struct source source = {"in ", path};
    if (read_file(path, &text, load->err) < 0)
        return -1;
    if (json_parse(buf_str(&text), 0, &document, load->err) < 0)
        return err_wrap(load->err, "configuration file %s", path);
    if (document.type != JSON_OBJECT)
        return err_set(load->err, ERR_BAD_INPUT, "configuration file %s holds %s, not an object",
                       path, json_type_name(document.type));
    for (struct json_iter it = json_each(document); json_next(&it, &raw_key, &value);) {
        struct str key = json_unescape(raw_key, load->arena);
        const struct option *option = find(load->table, key, true);
        if (!option)
            return unknown(load, key, true, &source);
        if (value.type != JSON_NULL && store_json(load, option, &source, value) < 0)
            return -1;
    }
    return 0;
}

static int load_environment(const struct load *load)
{
    for (size_t i = 0; i < load->table->count; i++) {
        const struct option *option = &load->table->options[i];
        const char *text = option->env ? getenv(option->env) : NULL;
        const struct source source = {"in environment variable ", option->env};
        if (text && *text && store(load, option, &source, str_of(text)) < 0)
            return -1;
    }
    return 0;
}

// One argument taken apart: "--name", "--name=value" or "--no-name".
struct flag {
    const struct option *option;
    struct str name, value;  // value absent: none in this argument
};

// "-o", "-o" with its value in the next argument, or "-oVALUE".
static struct flag letter_of(const struct option_table *table, const char *argument)
{
    struct flag flag = {.name = {argument, 2}};
    if (argument[2] != '\0')
        flag.value = str_of(argument + 2);
    for (size_t i = 0; i < table->count; i++)
        if (table->options[i].letter == argument[1])
            flag.option = &table->options[i];
    if (flag.option && flag.option->type == OPTION_BOOL && flag.value.at)
        return (struct flag){.name = str_of(argument)};
    return flag;
}

static struct flag flag_of(const struct option_table *table, const char *argument)
{
    if (argument[0] == '-' && argument[1] != '-' && argument[1] != '\0')
        return letter_of(table, argument);
    struct str rest = str_of(argument);
    struct flag flag = {.name = str_cut(&rest, '=')};
    flag.value = rest;
    flag.option = find(table, flag.name, false);
    if (flag.option || rest.at || !str_starts(flag.name, STR("--no-")))
        return flag;
    for (size_t i = 0; i < table->count; i++) {
        const struct option *option = &table->options[i];
        struct str positive = str_of(option->flag), negated = flag.name;
        negated.at += 5;
        negated.len -= 5;
        if (option->type == OPTION_BOOL && positive.len > 2 &&
            str_eq(negated, (struct str){positive.at + 2, positive.len - 2})) {
            flag.option = option;
            flag.value = STR("false");
        }
    }
    return flag;
}

static bool is_flag(const char *argument) { return argument[0] == '-' && argument[1] != '\0'; }

// The value of flag, which stands at argv[*i]; moves *i on when it is the next argument.
static bool take_value(struct flag *flag, int argc, char **argv, int *i)
{
    if (flag->value.at)
        return true;
    if (flag->option->type == OPTION_BOOL) {
        flag->value = STR("true");
        return true;
    }
    if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)
        return false;
    flag->value = str_of(argv[++*i]);
    return true;
}

static int load_flags(const struct load *load, int *argc, char **argv)
{
    const struct source source = {"on the command line", ""};
    int kept = 1, i = 1;
    for (; i < *argc && strcmp(argv[i], "--") != 0; i++) {
        if (!is_flag(argv[i])) {
            argv[kept++] = argv[i];
            continue;
        }
        struct flag flag = flag_of(load->table, argv[i]);
        if (!flag.option)
            return unknown(load, flag.name, false, &source);
        if (!take_value(&flag, *argc, argv, &i))
            return err_field(load->err, flag.option->flag,
                             "%s needs a value: %s %s (%s=VALUE where it starts with --)",
                             flag.option->flag, flag.option->flag,
                             flag.option->unit ? flag.option->unit : "VALUE", flag.option->flag);
        if (store(load, flag.option, &source, flag.value) < 0)
            return -1;
    }
    for (i++; i < *argc; i++)
        argv[kept++] = argv[i];
    if (kept < *argc)
        argv[kept] = NULL;
    *argc = kept < *argc ? kept : *argc;
    return 0;
}

int option_load(const struct option_table *table, int *argc, char **argv, const char *config_path,
                void *settings, struct arena *arena, struct err *err)
{
    const struct load load = {table, settings, arena, err};
    if (load_defaults(&load) < 0)
        return -1;
    if (config_path && load_file(&load, config_path) < 0)
        return -1;
    if (load_environment(&load) < 0)
        return -1;
    return load_flags(&load, argc, argv);
}

const char *option_peek(const struct option_table *table, int argc, char **argv, const char *flag)
{
    const struct option *wanted = find(table, str_of(flag), false);
    const char *found = NULL;
    if (!wanted)
        return NULL;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        struct flag given = flag_of(table, argv[i]);
        if (given.option && take_value(&given, argc, argv, &i) && given.option == wanted)
            found = given.value.at;  // an argument's tail, so it ends with NUL
    }
    if (found || !wanted->env)
        return found;
    const char *text = getenv(wanted->env);
    return text && *text ? text : NULL;
}
