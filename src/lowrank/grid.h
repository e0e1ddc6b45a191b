/* SPDX-License-Identifier: Apache-2.0 */
/* What schedulers share: the option for the number of groups and its default, cheap random numbers, and sets of
 * small numbers as words of bits. */
#ifndef HYSGD_LOWRANK_GRID_H
#define HYSGD_LOWRANK_GRID_H

#include "lowrank/scheduler.h"

/* Groups a side at most, chosen or stated. */
#define GRID_MOST_GROUPS 16384

/* The row of every scheduler's option table for its number of groups a side; 0: chosen. */
#define GRID_OPTION(type, field)                                                                                   \
    {                                                                                                              \
        "blocks", HYSGD_OPTION_INT, offsetof(type, field), "0", 0, GRID_MOST_GROUPS, NULL,                         \
            "blocks down and across the grid; 0: chosen by the threads and the ratings"                            \
    }

/* Groups a side for `threads` threads that hold a row group and a column group each: several for each thread, so
 * that at the end of an epoch little is left that excludes the others, while a block stays worth a question; at
 * least `least`. */
int grid_groups(int threads, uint64_t count, int least);

/* A stream of random numbers for choices that need no more than to be spread: (seed, epoch, thread). */
uint64_t grid_stream(uint64_t seed, uint64_t epoch, int thread);

/* The next number below `bound`, which is above 0. */
uint32_t grid_draw(uint64_t *stream, uint32_t bound);

/* Words for a set of numbers below `count`. */
static inline int grid_words(int count) {
    return (count + 63) / 64;
}

/* The smallest member of the word at or above `from` (0 to 63), else the smallest of all; the word is not empty. */
static inline int grid_member(uint64_t word, int from) {
    uint64_t above = word >> from << from;
    return __builtin_ctzll(above != 0 ? above : word);
}

/* Makes [grid_words(count)] words the set of all numbers below `count`. */
void grid_fill(uint64_t *words, int count);

#endif
