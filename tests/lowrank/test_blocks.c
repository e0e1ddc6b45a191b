/* SPDX-License-Identifier: Apache-2.0 */
/* The layout in blocks and tiles: nothing is lost, everything lies where it belongs, and the groups are balanced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "data/folder.h"
#include "lowrank/spread.h"

static const struct blocks_setup five_by_three = {
    .row_groups = 5, .column_groups = 3, .balance = BLOCKS_HEAVIEST, .tile_bytes = 20, .seed = 3};

/* Calls `see` for each cell with the number of its tile. */
static void for_each_cell(const struct blocks *blocks,
                          void (*see)(void *, const struct tile *, const struct cell *), void *context) {
    size_t tiles = (size_t)blocks->row_groups * (size_t)blocks->column_groups * (size_t)blocks->tiles_per_block;
    for (size_t i = 0; i < tiles; i++)
        for (uint32_t k = 0; k < blocks->tiles[i].count; k++)
            see(context, &blocks->tiles[i], &blocks->tiles[i].cells[k]);
}

struct look {
    const struct spread *spread;
    unsigned char *seen; /* [count] */
};

static void see_given(void *context, const struct tile *tile, const struct cell *cell) {
    struct look *look = context;
    const struct blocks *blocks = &look->spread->blocks;
    uint64_t number = (uint64_t)cell->value;
    const struct rating *given = &look->spread->given[number];
    assert_int_equal(look->seen[number], 0);
    look->seen[number] = 1;
    assert_int_equal(tile->first_row + cell->row, blocks->row_places[given->row]);
    assert_int_equal(tile->first_column + cell->column, blocks->column_places[given->column]);
}

static void expect_complete(const struct spread *spread) {
    struct look look = {.spread = spread};
    assert_int_equal(memory_alloc(spread->count, 1, &look.seen), HYSGD_OK);
    for_each_cell(&spread->blocks, see_given, &look);
    for (uint64_t i = 0; i < spread->count; i++)
        assert_int_equal(look.seen[i], 1);
    memory_free(look.seen);
}

static void every_rating_becomes_one_cell(void **state) {
    (void)state;
    for (int balance = BLOCKS_NATURAL; balance <= BLOCKS_HEAVIEST; balance++)
        for (int threads = 1; threads <= 3; threads++) {
            struct spread spread;
            struct blocks_setup setup = five_by_three;
            setup.balance = balance;
            spread_open(&spread, 100, 60, 5000, setup, threads);
            expect_complete(&spread);
            spread_close(&spread);
        }
}

static void places_are_a_permutation_in_which_groups_are_contiguous(void **state) {
    (void)state;
    for (int balance = BLOCKS_NATURAL; balance <= BLOCKS_HEAVIEST; balance++) {
        struct spread spread;
        struct blocks_setup setup = five_by_three;
        unsigned char seen[100] = {0};
        setup.balance = balance;
        spread_open(&spread, 100, 60, 5000, setup, 2);
        for (int i = 0; i < 100; i++)
            seen[spread.blocks.row_places[i]]++;
        for (int i = 0; i < 100; i++)
            assert_int_equal(seen[i], 1);
        assert_int_equal(spread.blocks.row_firsts[0], 0);
        assert_int_equal(spread.blocks.row_firsts[5], 100);
        assert_int_equal(spread.blocks.column_firsts[3], 60);
        for (int i = 0; i < 5; i++)
            assert_true(spread.blocks.row_firsts[i] <= spread.blocks.row_firsts[i + 1]);
        spread_close(&spread);
    }
}

static void tiles_stay_in_their_block_and_in_the_cache(void **state) {
    (void)state;
    struct spread spread;
    spread_open(&spread, 100, 60, 300000, five_by_three, 2);
    const struct blocks *blocks = &spread.blocks;
    assert_true(blocks->tiles_per_block > 1);
    for (int block = 0; block < 15; block++) {
        uint64_t sum = 0;
        for (int i = 0; i < blocks->tiles_per_block; i++) {
            const struct tile *tile = &blocks->tiles[block * blocks->tiles_per_block + i];
            uint32_t height = 0, width = 0;
            for (uint32_t k = 0; k < tile->count; k++) {
                height = tile->cells[k].row >= height ? tile->cells[k].row + 1u : height;
                width = tile->cells[k].column >= width ? tile->cells[k].column + 1u : width;
            }
            assert_true(height + width <= 20);
            assert_true(tile->count == 0 || (tile->first_row >= blocks->row_firsts[block / 3] &&
                                             tile->first_row + height <= blocks->row_firsts[block / 3 + 1]));
            assert_true(tile->count == 0 || (tile->first_column >= blocks->column_firsts[block % 3] &&
                                             tile->first_column + width <= blocks->column_firsts[block % 3 + 1]));
            sum += tile->count;
        }
        assert_int_equal(blocks->block_counts[block], sum);
    }
    spread_close(&spread);
}

static void sparse_tiles_grow_beyond_the_cache(void **state) {
    (void)state;
    struct spread spread;
    spread_open(&spread, 100, 60, 1000, five_by_three, 1);
    assert_int_equal(spread.blocks.tiles_per_block, 1);
    spread_close(&spread);
}

static void the_layout_does_not_depend_on_the_threads(void **state) {
    (void)state;
    struct spread one, three;
    spread_open(&one, 100, 60, 50000, five_by_three, 1);
    spread_open(&three, 100, 60, 50000, five_by_three, 3);
    size_t tiles = (size_t)15 * (size_t)one.blocks.tiles_per_block;
    assert_int_equal(one.blocks.tiles_per_block, three.blocks.tiles_per_block);
    for (size_t i = 0; i < tiles; i++) {
        assert_int_equal(one.blocks.tiles[i].count, three.blocks.tiles[i].count);
        assert_memory_equal(one.blocks.tiles[i].cells, three.blocks.tiles[i].cells,
                            one.blocks.tiles[i].count * sizeof(struct cell));
    }
    spread_close(&one);
    spread_close(&three);
}

static void another_seed_gives_another_order(void **state) {
    (void)state;
    struct spread one, other;
    struct blocks_setup setup = {.row_groups = 1, .column_groups = 1, .balance = BLOCKS_NATURAL, .seed = 1};
    spread_open(&one, 100, 60, 5000, setup, 1);
    setup.seed = 2;
    spread_open(&other, 100, 60, 5000, setup, 1);
    assert_memory_not_equal(one.blocks.tiles->cells, other.blocks.tiles->cells, 5000 * sizeof(struct cell));
    spread_close(&one);
    spread_close(&other);
}

static void neighbours_in_a_tile_rarely_share_a_row(void **state) {
    (void)state;
    struct spread spread;
    unsigned same = 0;
    spread_open(&spread, 1000, 1000, 50000, (struct blocks_setup){.row_groups = 1, .column_groups = 1, .seed = 1},
                1);
    const struct tile *tile = spread.blocks.tiles;
    for (uint32_t k = 1; k < tile->count; k++)
        same += tile->cells[k].row == tile->cells[k - 1].row;
    assert_true(same < tile->count / 50);
    spread_close(&spread);
}

static void restoring_gives_back_every_rating(void **state) {
    (void)state;
    struct spread spread;
    unsigned char seen[5000] = {0};
    spread_open(&spread, 100, 60, 5000, five_by_three, 2);
    assert_int_equal(spread_restore(&spread.blocks, spread.ratings), HYSGD_OK);
    for (int i = 0; i < 5000; i++) {
        const struct rating *rating = &spread.ratings[i], *given = &spread.given[(int)rating->value];
        assert_memory_equal(rating, given, sizeof *rating);
        assert_int_equal(seen[(int)rating->value]++, 0);
    }
    spread_close(&spread);
}

static void other_ratings_take_the_numbers_of_the_blocks(void **state) {
    (void)state;
    struct spread spread;
    spread_open(&spread, 100, 60, 5000, five_by_three, 1);
    struct rating rating = {17, 5, 2.5f};
    blocks_renumber(&spread.blocks, &rating, 1);
    assert_int_equal(rating.row, spread.blocks.row_places[17]);
    assert_int_equal(rating.column, spread.blocks.column_places[5]);
    spread_close(&spread);
}

static void nothing_and_little_can_be_laid_out(void **state) {
    (void)state;
    const uint64_t counts[] = {0, 1, 2};
    for (int i = 0; i < 3; i++) {
        struct spread spread;
        spread_open(&spread, 3, 1, counts[i],
                    (struct blocks_setup){.row_groups = 3, .column_groups = 1, .balance = BLOCKS_HEAVIEST}, 2);
        expect_complete(&spread);
        spread_close(&spread);
    }
}

static void a_very_long_block_is_cut_where_cells_cannot_number_it(void **state) {
    (void)state;
    struct spread spread;
    spread_open(&spread, 200000, 10, 2000,
                (struct blocks_setup){.row_groups = 1, .column_groups = 1, .tile_bytes = 1u << 30}, 1);
    assert_int_equal(spread.blocks.tiles_per_block, 4);
    expect_complete(&spread);
    spread_close(&spread);
}

/* The imbalances of the natural, permuted, greedy and heaviest balance in turn. */
static void find_imbalances(struct rating *ratings, uint64_t count, uint32_t rows, uint32_t columns,
                            double imbalances[4]) {
    struct team *team;
    assert_int_equal(team_start(2, &team), HYSGD_OK);
    for (int balance = BLOCKS_NATURAL; balance <= BLOCKS_HEAVIEST; balance++) {
        struct blocks blocks;
        struct blocks_setup setup = {
            .row_groups = 33, .column_groups = 33, .balance = balance, .vector_bytes = 64, .seed = 1, .team = team};
        assert_int_equal(blocks_make(ratings, count, rows, columns, &setup, &blocks), HYSGD_OK);
        imbalances[balance] = blocks_imbalance(&blocks);
        assert_int_equal(spread_restore(&blocks, ratings), HYSGD_OK);
        blocks_fini(&blocks);
    }
    team_stop(team);
    print_message("largest over mean block at 33 x 33: natural %.2f, permuted %.2f, greedy %.2f, heaviest %.2f\n",
                  imbalances[0], imbalances[1], imbalances[2], imbalances[3]);
}

static void balancing_evens_out_skewed_ratings(void **state) {
    (void)state;
    double imbalances[4];
    struct rating *ratings = spread_ratings(3000, 2000, 500000);
    find_imbalances(ratings, 500000, 3000, 2000, imbalances);
    assert_true(imbalances[BLOCKS_HEAVIEST] <= 1.35);
    assert_true(imbalances[BLOCKS_HEAVIEST] < imbalances[BLOCKS_GREEDY]);
    assert_true(imbalances[BLOCKS_GREEDY] < imbalances[BLOCKS_PERMUTED]);
    assert_true(imbalances[BLOCKS_PERMUTED] < imbalances[BLOCKS_NATURAL]);
    memory_free(ratings);
}

static void blocks_of_movielens_are_balanced(void **state) {
    (void)state;
    struct folder folder;
    struct ratings ratings = {0};
    const struct ratings_format format = {.threads = 2};
    const char *path = dataset_path(&folder, "ml-1m/ratings.dat");
    if (access(path, R_OK) != 0) {
        print_message("blocks_of_movielens_are_balanced skipped because ml-1m/ratings.dat is not there\n");
        skip();
    }
    double imbalances[4];
    assert_int_equal(ratings_read(path, &format, &ratings), HYSGD_OK);
    uint32_t rows = 0, columns = 0;
    for (uint64_t i = 0; i < ratings.count; i++) {
        rows = ratings.entries[i].row >= rows ? ratings.entries[i].row + 1 : rows;
        columns = ratings.entries[i].column >= columns ? ratings.entries[i].column + 1 : columns;
    }
    find_imbalances(ratings.entries, ratings.count, rows, columns, imbalances);
    assert_true(imbalances[BLOCKS_HEAVIEST] <= 1.35);
    ratings_fini(&ratings);
}

static void a_layout_without_memory_is_refused(void **state) {
    (void)state;
    struct team *team;
    assert_int_equal(team_start(2, &team), HYSGD_OK);
    struct blocks_setup setup = five_by_three;
    setup.team = team;
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 1;
    for (; status != HYSGD_OK; n++) {
        struct rating *ratings = spread_ratings(100, 60, 500);
        struct blocks blocks;
        memory_fail_at(n);
        status = blocks_make(ratings, 500, 100, 60, &setup, &blocks);
        memory_fail_at(0);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
        blocks_fini(&blocks);
        memory_free(ratings);
        assert_int_equal(memory_used(), before);
    }
    assert_true(n > 15);
    team_stop(team);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rating_becomes_one_cell),
        cmocka_unit_test(places_are_a_permutation_in_which_groups_are_contiguous),
        cmocka_unit_test(tiles_stay_in_their_block_and_in_the_cache),
        cmocka_unit_test(sparse_tiles_grow_beyond_the_cache),
        cmocka_unit_test(the_layout_does_not_depend_on_the_threads),
        cmocka_unit_test(another_seed_gives_another_order),
        cmocka_unit_test(neighbours_in_a_tile_rarely_share_a_row),
        cmocka_unit_test(restoring_gives_back_every_rating),
        cmocka_unit_test(other_ratings_take_the_numbers_of_the_blocks),
        cmocka_unit_test(nothing_and_little_can_be_laid_out),
        cmocka_unit_test(a_very_long_block_is_cut_where_cells_cannot_number_it),
        cmocka_unit_test(balancing_evens_out_skewed_ratings),
        cmocka_unit_test(blocks_of_movielens_are_balanced),
        cmocka_unit_test(a_layout_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
