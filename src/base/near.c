// SPDX-License-Identifier: Apache-2.0
#include "base/near.h"

#define NAME_MAX_COMPARED 64  // longest name that is compared

static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }

size_t near_edits(struct str a, struct str b)
{
    size_t rows[3][NAME_MAX_COMPARED + 1];
    if (a.len > NAME_MAX_COMPARED || b.len > NAME_MAX_COMPARED)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = above[j - 1] + (a.at[i - 1] != b.at[j - 1]);
            row[j] = min_of(change, min_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
                row[j] = min_of(row[j], above2[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

struct near near_start(struct str name)
{
    // Fewer edits than this look like a slip.
    return (struct near){.name = name, .best = name.len / 4 + 2};
}

void near_try(struct near *near, struct str candidate)
{
    size_t distance = near_edits(near->name, candidate);
    if (distance < near->best && distance < candidate.len) {
        near->best = distance;
        near->found = candidate;
    }
}
