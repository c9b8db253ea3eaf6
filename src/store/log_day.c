// SPDX-License-Identifier: Apache-2.0
#include "store/log_day.h"

#include <stdio.h>

#define DAYS_OF_400_YEARS 146097
#define DAYS_TO_1970      719468  // from 0000-03-01, with which these years begin
#define PARTS             (1 << LOG_PART_BITS)

int64_t log_day_of(int64_t ms) { return ms < 0 ? 0 : ms / LOG_DAY_MS; }

int64_t log_day_key(int64_t day) { return day << LOG_PART_BITS; }

struct date {
    int64_t year, month, day;
};

static struct date date_of(int64_t days)
{
    int64_t z = days + DAYS_TO_1970;
    int64_t era = z / DAYS_OF_400_YEARS, in_era = z % DAYS_OF_400_YEARS;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153;  // from March on
    return (struct date){.year = year + era * 400 + (month >= 10),
                         .month = month < 10 ? month + 3 : month - 9,
                         .day = in_year - (153 * month + 2) / 5 + 1};
}

static int64_t days_of(struct date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = year / 400, in_era = year % 400;
    int64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
    int64_t in_year = (153 * month + 2) / 5 + date.day - 1;
    return era * DAYS_OF_400_YEARS + in_era * 365 + in_era / 4 - in_era / 100 + in_year -
           DAYS_TO_1970;
}

void log_key_name(int64_t key, char out[LOG_NAME_SIZE])
{
    struct date date = date_of(log_key_day(key));
    int64_t part = key % PARTS;
    int len = snprintf(out, LOG_NAME_SIZE, "%04lld-%02lld-%02lld", (long long)(date.year % 10000),
                       (long long)date.month, (long long)date.day);
    if (part > 0)
        snprintf(out + len, LOG_NAME_SIZE - (size_t)len, ".%lld", (long long)part + 1);
}

static bool digits(struct str *text, size_t least, size_t most, int64_t *out)
{
    size_t len = 0;
    *out = 0;
    while (len < text->len && len < most && text->at[len] >= '0' && text->at[len] <= '9')
        *out = *out * 10 + (text->at[len++] - '0');
    text->at += len;
    text->len -= len;
    return len >= least;
}

static bool mark(struct str *text, char wanted)
{
    if (text->len == 0 || text->at[0] != wanted)
        return false;
    text->at++;
    text->len--;
    return true;
}

bool log_key_parse(struct str name, int64_t *key)
{
    struct date date;
    char again[LOG_NAME_SIZE];
    struct str text = name;
    int64_t part = 1;
    if (!digits(&text, 4, 4, &date.year) || !mark(&text, '-') ||
        !digits(&text, 2, 2, &date.month) || !mark(&text, '-') || !digits(&text, 2, 2, &date.day) ||
        date.year < 1970 || date.month < 1 || date.month > 12)
        return false;
    if (text.len > 0 && (!mark(&text, '.') || !digits(&text, 1, 3, &part) || text.len > 0))
        return false;
    if (part < 1 || part > PARTS)
        return false;
    *key = log_day_key(days_of(date)) + part - 1;
    log_key_name(*key, again);  // the 31st of a short month and ".1" have another name
    return str_is(name, again);
}
