// SPDX-License-Identifier: Apache-2.0
#include "cli/step.h"

#include <stdio.h>

#include "base/clock.h"
#include "cli/text.h"

#define FRAME_MS    80
#define PATIENCE_MS 2000  // in a pipe, a step that is over sooner is told at its end only
#define BAR         20    // columns
#define WORDS       512

struct steps {
    bool open, shown;  // a step is on its way; its line is on the terminal
    char words[WORDS], said[WORDS];
    int64_t done, total;  // total 0: no bar
    int64_t drawn_at, begun_at;
    unsigned frame;
};

static struct steps *steps_of(struct cli *cli)
{
    if (!cli->steps)
        cli->steps = arena_new_of(cli->own_arena, struct steps);
    return cli->steps;
}

static void add_bar(const struct steps *steps, struct buf *out)
{
    int64_t filled = steps->total > 0 ? steps->done * BAR / steps->total : 0;
    buf_add_cstr(out, "  [");
    for (int64_t i = 0; i < BAR; i++)
        buf_add_char(out, i < filled ? '#' : '.');
    buf_printf(out, "] %lld%%",
               (long long)(steps->total > 0 ? steps->done * 100 / steps->total : 0));
}

static void draw(struct cli *cli, const char *mark, enum color color)
{
    struct steps *steps = cli->steps;
    _cleanup_buf_ struct buf line = BUF_INIT(4 * WORDS);
    _cleanup_buf_ struct buf fitted = BUF_INIT(4 * WORDS);
    terminal_measure(&cli->err);
    buf_add_cstr(&line, steps->words);
    if (steps->total > 0)
        add_bar(steps, &line);
    text_fit(&fitted, buf_str(&line), (size_t)(cli->err.width > 8 ? cli->err.width - 3 : 8));
    fprintf(stderr, "\r\033[K%s%s%s " STR_FMT, color_on(&cli->err, color), mark,
            color_off(&cli->err, color), STR_ARG(buf_str(&fitted)));
    fflush(stderr);
    steps->shown = true;
}

// In a pipe: a line whenever the words are other ones.
static void tell(struct cli *cli)
{
    struct steps *steps = cli->steps;
    if (cli->err.tty || strcmp(steps->said, steps->words) == 0)
        return;
    memcpy(steps->said, steps->words, sizeof(steps->said));
    fprintf(stderr, "%s\n", steps->words);
}

void step_tick(struct cli *cli)
{
    static const char *const frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    struct steps *steps = cli->steps;
    int64_t now = clock_mono(clock_system());
    if (!steps || !steps->open || now - steps->drawn_at < FRAME_MS)
        return;
    if (!cli->err.tty) {
        if (now - steps->begun_at > PATIENCE_MS)
            tell(cli);
        return;
    }
    steps->drawn_at = now;
    draw(cli, frames[steps->frame++ % (sizeof(frames) / sizeof(frames[0]))], COLOR_CYAN);
}

static void set_words(struct steps *steps, const char *fmt, va_list args)
{
    char words[WORDS];
    _cleanup_buf_ struct buf clean = BUF_INIT(2 * WORDS);
    vsnprintf(words, sizeof(words), fmt, args);
    terminal_clean(&clean, str_of(words));
    snprintf(steps->words, sizeof(steps->words), STR_FMT, STR_ARG(buf_str(&clean)));
    for (char *at = steps->words; *at; at++)
        if (*at == '\n' || *at == '\t')
            *at = ' ';
}

void step_begin(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    if (cli->common->quiet)
        return;
    struct steps *steps = steps_of(cli);
    step_break(cli);
    va_start(args, fmt);
    set_words(steps, fmt, args);
    va_end(args);
    steps->open = true;
    steps->total = 0;
    steps->drawn_at = 0;
    steps->said[0] = '\0';
    steps->begun_at = clock_mono(clock_system());
    step_tick(cli);
}

void step_update(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    if (cli->common->quiet || !cli->steps || !cli->steps->open)
        return;
    va_start(args, fmt);
    set_words(cli->steps, fmt, args);
    va_end(args);
    tell(cli);
    step_tick(cli);
}

void step_bar(struct cli *cli, int64_t done, int64_t total)
{
    if (cli->common->quiet || !cli->steps || !cli->steps->open)
        return;
    cli->steps->done = done;
    cli->steps->total = total;
    step_tick(cli);
}

void step_end(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    if (cli->common->quiet || !cli->steps || !cli->steps->open)
        return;
    va_start(args, fmt);
    set_words(cli->steps, fmt, args);
    va_end(args);
    cli->steps->total = 0;
    cli->steps->open = false;
    tell(cli);
    if (!cli->err.tty)
        return;
    draw(cli, "✓", COLOR_GREEN);
    fputc('\n', stderr);
    cli->steps->shown = false;
}

void step_break(struct cli *cli)
{
    if (!cli->steps || !cli->steps->open)
        return;
    cli->steps->open = false;
    if (cli->steps->shown) {
        draw(cli, "·", COLOR_DIM);
        fputc('\n', stderr);
    }
    cli->steps->shown = false;
}

void step_hide(struct cli *cli)
{
    if (!cli->steps || !cli->steps->shown)
        return;
    fputs("\r\033[K", stderr);
    cli->steps->shown = false;
}

void step_drop(struct cli *cli)
{
    step_hide(cli);
    if (cli->steps)
        cli->steps->open = false;
}
