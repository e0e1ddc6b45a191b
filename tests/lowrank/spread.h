/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up ratings with unequally popular rows and columns; rating i has the value i. Include cmocka first. */
#ifndef HYSGD_TESTS_LOWRANK_SPREAD_H
#define HYSGD_TESTS_LOWRANK_SPREAD_H

#include "base/memory.h"
#include "base/random.h"
#include "data/ratings.h"
#include "lowrank/blocks.h"
#include "lowrank/team.h"

struct spread {
    struct rating *ratings; /* [count], what the blocks lie in */
    struct rating *given;   /* [count], as they were made */
    uint64_t count;
    struct team *team;
    struct blocks blocks;
};

static inline struct rating *spread_ratings(uint32_t rows, uint32_t columns, uint64_t count) {
    struct rating *ratings;
    struct random random;
    random_init(&random, 7, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    assert_int_equal(memory_alloc(count, sizeof *ratings, &ratings), HYSGD_OK);
    for (uint64_t i = 0; i < count; i++) {
        double row = random_uniform(&random), column = random_uniform(&random);
        ratings[i] = (struct rating){(uint32_t)(rows * row * row), (uint32_t)(columns * column * column), (float)i};
    }
    return ratings;
}

/* Lays out made-up ratings in a grid; tile_bytes is in vectors, of one byte each. */
static inline void spread_open(struct spread *spread, uint32_t rows, uint32_t columns, uint64_t count,
                               struct blocks_setup setup, int threads) {
    spread->count = count;
    spread->ratings = spread_ratings(rows, columns, count);
    spread->given = spread_ratings(rows, columns, count);
    assert_int_equal(team_start(threads, &spread->team), HYSGD_OK);
    setup.vector_bytes = 1;
    setup.team = spread->team;
    assert_int_equal(blocks_make(spread->ratings, count, rows, columns, &setup, &spread->blocks), HYSGD_OK);
}

static inline void spread_close(struct spread *spread) {
    blocks_fini(&spread->blocks);
    team_stop(spread->team);
    memory_free(spread->ratings);
    memory_free(spread->given);
}

#endif
