// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define MS_PER_DAY ((int64_t)86400000)
#define MIN_MS     ((int64_t)-62135596800000)  // 0001-01-01T00:00:00.000Z
#define MAX_MS     ((int64_t)253402300799999)  // 9999-12-31T23:59:59.999Z

static int64_t read_ms(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t system_wall(const struct clock *self)
{
    (void)self;
    return read_ms(CLOCK_REALTIME);
}

static int64_t system_mono(const struct clock *self)
{
    (void)self;
    return read_ms(CLOCK_MONOTONIC);
}

const struct clock *clock_system(void)
{
    static const struct clock system = {.wall = system_wall, .mono = system_mono};
    return &system;
}

static int64_t fake_wall(const struct clock *self)
{
    return ((const struct clock_fake *)(const void *)self)->wall_ms;
}

static int64_t fake_mono(const struct clock *self)
{
    return ((const struct clock_fake *)(const void *)self)->mono_ms;
}

void clock_fake_init(struct clock_fake *fake)
{
    *fake = (struct clock_fake){.clock = {.wall = fake_wall, .mono = fake_mono}};
}

// Gregorian calendar arithmetic on years that start in March, so that the leap day comes last.
static int64_t days_of_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                           day_of_era / 146096) /
                          365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

static void put_digits(char *out, int width, int value)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

void time_format(int64_t ms, char out[TIME_TEXT_SIZE])
{
    ms = ms < MIN_MS ? MIN_MS : ms > MAX_MS ? MAX_MS : ms;
    int64_t days = ms / MS_PER_DAY, rest = ms % MS_PER_DAY;
    if (rest < 0) {
        rest += MS_PER_DAY;
        days--;
    }
    int year, month, day;
    date_of_days(days, &year, &month, &day);
    memcpy(out, "0000-00-00T00:00:00.000Z", TIME_TEXT_SIZE);
    put_digits(out, 4, year);
    put_digits(out + 5, 2, month);
    put_digits(out + 8, 2, day);
    put_digits(out + 11, 2, (int)(rest / 3600000));
    put_digits(out + 14, 2, (int)(rest / 60000 % 60));
    put_digits(out + 17, 2, (int)(rest / 1000 % 60));
    put_digits(out + 20, 3, (int)(rest % 1000));
}

// Takes exactly `width` digits off the front.
static bool take_digits(struct str *s, size_t width, int *out)
{
    if (s->len < width)
        return false;
    int value = 0;
    for (size_t i = 0; i < width; i++) {
        if (s->at[i] < '0' || s->at[i] > '9')
            return false;
        value = value * 10 + (s->at[i] - '0');
    }
    s->at += width;
    s->len -= width;
    *out = value;
    return true;
}

static bool take_any(struct str *s, const char *set)
{
    if (s->len == 0 || s->at[0] == '\0' || !strchr(set, s->at[0]))
        return false;
    s->at++;
    s->len--;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct str *s, int64_t *ms)
{
    int year, month, day;
    if (!take_digits(s, 4, &year) || !take_any(s, "-") || !take_digits(s, 2, &month) ||
        !take_any(s, "-") || !take_digits(s, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    *ms = days_of_date(year, month, day) * MS_PER_DAY;
    return true;
}

static bool take_time(struct str *s, int64_t *ms)
{
    int hour, minute, second = 0;
    if (!take_digits(s, 2, &hour) || !take_any(s, ":") || !take_digits(s, 2, &minute))
        return false;
    int64_t fraction = 0;
    if (take_any(s, ":")) {
        if (!take_digits(s, 2, &second))
            return false;
        if (take_any(s, ".,")) {
            int digit, scale = 100;
            if (!take_digits(s, 1, &digit))
                return false;
            do {
                fraction += digit * scale;
                scale /= 10;
            } while (take_digits(s, 1, &digit));
        }
    }
    if (hour > 23 || minute > 59 || second > 59)
        return false;
    *ms += ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + fraction;
    return true;
}

static bool take_zone(struct str *s, int64_t *ms)
{
    if (s->len == 0 || take_any(s, "Zz"))
        return true;
    int hours, minutes = 0, sign = s->at[0] == '-' ? 1 : -1;
    if (!take_any(s, "+-") || !take_digits(s, 2, &hours))
        return false;
    if (s->len > 0) {
        take_any(s, ":");
        if (!take_digits(s, 2, &minutes))
            return false;
    }
    if (hours > 23 || minutes > 59)
        return false;
    *ms += (int64_t)sign * (hours * 60 + minutes) * 60000;
    return true;
}

bool time_parse(struct str text, int64_t *ms)
{
    int64_t value;
    if (!take_date(&text, &value))
        return false;
    if (text.len > 0 &&
        (!take_any(&text, "Tt ") || !take_time(&text, &value) || !take_zone(&text, &value)))
        return false;
    if (text.len > 0)
        return false;
    *ms = value;
    return true;
}
