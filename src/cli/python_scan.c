// SPDX-License-Identifier: Apache-2.0
#include "cli/python_scan.h"

#define CLASS "class ServiceRunner"

static size_t indentation(struct str line)
{
    size_t i = 0;
    while (i < line.len && (line.at[i] == ' ' || line.at[i] == '\t'))
        i++;
    return i;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct str take_name(struct str text)
{
    size_t i = 0;
    while (i < text.len && is_name_char(text.at[i]))
        i++;
    return (struct str){text.at, i};
}

static struct str skip(struct str text, size_t count)
{
    return (struct str){text.at + count, text.len - count};
}

// The body of the class: from the line behind its head to the first line that is not indented.
static bool find_class(struct str text, struct str *body)
{
    for (struct str rest = text; rest.at;) {
        struct str line = str_cut(&rest, '\n');
        struct str tail = str_starts(line, STR(CLASS)) ? skip(line, sizeof(CLASS) - 1) : STR_NONE;
        if (!tail.at || (tail.len > 0 && is_name_char(tail.at[0])))
            continue;
        *body = rest.at ? rest : STR("");
        for (struct str lines = *body; lines.at;) {
            line = str_cut(&lines, '\n');
            struct str content = str_trim(line);
            if (content.len > 0 && content.at[0] != '#' && indentation(line) == 0) {
                body->len = (size_t)(line.at - body->at);
                break;
            }
        }
        return true;
    }
    return false;
}

// The end of a string literal that begins at text.
static size_t literal_end(struct str text)
{
    char quote = text.at[0];
    bool triple = text.len >= 3 && text.at[1] == quote && text.at[2] == quote;
    size_t i = triple ? 3 : 1;
    for (; i < text.len; i++) {
        if (text.at[i] == '\\')
            i++;
        else if (text.at[i] == quote && (!triple || (i + 2 < text.len && text.at[i + 1] == quote &&
                                                     text.at[i + 2] == quote)))
            return i + (triple ? 3 : 1);
    }
    return text.len;
}

// Without the white space and comments before it.
static struct str skip_blank(struct str text)
{
    while (text.len > 0 && strchr(" \t\r\n#", text.at[0])) {
        bool comment = text.at[0] == '#';
        size_t i = 1;
        while (comment && i < text.len && text.at[i] != '\n')
            i++;
        text = skip(text, i);
    }
    return text;
}

// The next piece of a parameter list up to a comma or the closing bracket; *end true at the latter.
static struct str next_parameter(struct str *rest, bool *end)
{
    struct str text = skip_blank(*rest);
    int depth = 0;
    size_t i = 0;
    *end = true;
    while (i < text.len) {
        char c = text.at[i];
        if (c == '"' || c == '\'') {
            i += literal_end(skip(text, i));
            continue;
        }
        if (c == '#') {
            while (i < text.len && text.at[i] != '\n')
                i++;
            continue;
        }
        if (c == ')' && depth == 0)
            break;
        if (c == ',' && depth == 0) {
            *end = false;
            break;
        }
        depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        i++;
    }
    *rest = i < text.len ? skip(text, i + 1) : STR("");
    return str_trim((struct str){text.at, i});
}

// What the annotation says of the type: "item: dl.Item = None" is an Item.
static const char *type_of(struct str parameter)
{
    static const struct {
        const char *annotation, *type;
    } types[] = {
        {"str", "String"},         {"int", "Integer"},
        {"float", "Number"},       {"bool", "Boolean"},
        {"dl.Item", "Item"},       {"Item", "Item"},
        {"dl.Dataset", "Dataset"}, {"Dataset", "Dataset"},
        {"dl.Project", "Project"}, {"dl.Annotation", "Annotation"},
    };
    struct str rest = parameter;
    str_cut(&rest, ':');
    if (!rest.at)
        return "Json";
    struct str annotation = str_trim(str_cut(&rest, '='));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (str_is(annotation, types[i].annotation))
            return types[i].type;
    return "Json";
}

// What the platform hands in by itself is no input.
static bool is_input(struct str name, size_t index)
{
    return name.len > 0 && !(index == 0 && (str_is(name, "self") || str_is(name, "cls"))) &&
           !str_is(name, "progress") && !str_is(name, "context");
}

static void write_inputs(struct str rest, const char *key, struct json_writer *out)
{
    bool end = false;
    json_w_key(out, key);
    json_w_array(out);
    for (size_t index = 0; !end; index++) {
        struct str parameter = next_parameter(&rest, &end);
        struct str name = take_name(parameter);
        if (!is_input(name, index))
            continue;
        json_w_object(out);
        json_w_pair_str(out, "name", name);
        json_w_pair_str(out, "type", str_of(type_of(parameter)));
        json_w_object_end(out);
    }
    json_w_array_end(out);
}

// "def NAME(" at the start of a line: its name, and what follows the bracket.
static bool is_method(struct str line, struct str *name, size_t *parameters)
{
    struct str rest = line;
    if (str_starts(rest, STR("async ")))
        rest = str_trim(skip(rest, sizeof("async ") - 1));
    if (!str_starts(rest, STR("def ")))
        return false;
    rest = str_trim(skip(rest, sizeof("def ") - 1));
    *name = take_name(rest);
    rest = skip(rest, name->len);
    size_t blanks = indentation(rest);
    if (name->len == 0 || blanks >= rest.len || rest.at[blanks] != '(')
        return false;
    *parameters = (size_t)(rest.at + blanks + 1 - line.at);
    return true;
}

struct methods {
    struct str body;
    struct json_writer *out;
    bool init;  // write __init__ alone, or all the others
    size_t count;
};

static void write_methods(struct methods *methods)
{
    size_t depth = 0;
    for (struct str rest = methods->body; rest.at;) {
        struct str line = str_cut(&rest, '\n'), name;
        size_t indent = indentation(line), parameters;
        struct str content = skip(line, indent);
        if (content.len == 0 || content.at[0] == '#')
            continue;
        if (depth == 0)
            depth = indent;
        if (indent != depth || !is_method(content, &name, &parameters))
            continue;
        const char *at = content.at + parameters;
        struct str list = {at, (size_t)(methods->body.at + methods->body.len - at)};
        if (methods->init && str_is(name, "__init__"))
            write_inputs(list, "initInputs", methods->out);
        if (methods->init || name.at[0] == '_')
            continue;
        methods->count++;
        json_w_object(methods->out);
        json_w_pair_str(methods->out, "name", name);
        write_inputs(list, "input", methods->out);
        json_w_pair_raw(methods->out, "output", STR("[]"));
        json_w_object_end(methods->out);
    }
}

bool python_scan(struct str text, const char *entry_point, struct json_writer *out)
{
    struct methods methods = {.out = out, .init = true};
    if (!find_class(text, &methods.body))
        return false;
    json_w_array(out);
    json_w_object(out);
    json_w_pair_str(out, "name", STR("default_module"));
    json_w_pair_str(out, "entryPoint", str_of(entry_point));
    json_w_pair_str(out, "className", STR("ServiceRunner"));
    write_methods(&methods);
    methods.init = false;
    json_w_key(out, "functions");
    json_w_array(out);
    write_methods(&methods);
    json_w_array_end(out);
    json_w_object_end(out);
    json_w_array_end(out);
    return methods.count > 0;
}

bool python_uses_dtlpy(struct str text)
{
    for (struct str rest = text; rest.at;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (str_starts(line, STR("import dtlpy")) || str_starts(line, STR("from dtlpy")))
            return true;
    }
    return false;
}
