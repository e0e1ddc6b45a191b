/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks in files: what is written is read again, whole or tile by tile, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "data/folder.h"
#include "lowrank/blocks_file.h"
#include "lowrank/spread.h"

#define ROWS    30
#define COLUMNS 20
#define COUNT   3000

static const struct blocks_setup three_by_two = {.row_groups = 3,
                                                 .column_groups = 2,
                                                 .balance = BLOCKS_HEAVIEST,
                                                 .vector_bytes = 1,
                                                 .tile_bytes = 12,
                                                 .seed = 3};

/* A layout, a folder, and a file of it in there. */
struct shelf {
    struct spread spread;
    struct folder folder;
    char path[300];
};

static void shelf_open(struct shelf *shelf) {
    folder_open(&shelf->folder);
    snprintf(shelf->path, sizeof shelf->path, "%s/layout", shelf->folder.path);
    spread_open(&shelf->spread, ROWS, COLUMNS, COUNT, three_by_two, 2);
    assert_int_equal(blocks_write(&shelf->spread.blocks, 77, shelf->path), HYSGD_OK);
}

static void shelf_close(struct shelf *shelf) {
    spread_close(&shelf->spread);
    folder_close(&shelf->folder);
}

static void expect_same(const struct blocks *one, const struct blocks *other) {
    struct cell buffer[COUNT];
    assert_int_equal(one->count, other->count);
    assert_int_equal(blocks_tile_count(one), blocks_tile_count(other));
    assert_memory_equal(one->row_places, other->row_places, ROWS * sizeof(uint32_t));
    assert_memory_equal(one->column_places, other->column_places, COLUMNS * sizeof(uint32_t));
    assert_memory_equal(one->row_firsts, other->row_firsts, 4 * sizeof(uint32_t));
    assert_memory_equal(one->column_firsts, other->column_firsts, 3 * sizeof(uint32_t));
    assert_memory_equal(one->block_counts, other->block_counts, 6 * sizeof(uint64_t));
    for (size_t i = 0; i < blocks_tile_count(one); i++) {
        struct tile tile;
        assert_true(blocks_buffer_cells(other) <= COUNT);
        assert_int_equal(blocks_load_tile(other, i, buffer, &tile), HYSGD_OK);
        assert_int_equal(tile.first_row, one->tiles[i].first_row);
        assert_int_equal(tile.first_column, one->tiles[i].first_column);
        assert_int_equal(tile.count, one->tiles[i].count);
        assert_memory_equal(tile.cells, one->tiles[i].cells, tile.count * sizeof *tile.cells);
    }
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct shelf shelf;
    struct blocks blocks;
    struct cell memory[COUNT];
    shelf_open(&shelf);
    assert_int_equal(blocks_read(shelf.path, 77, false, NULL, shelf.spread.team, &blocks), HYSGD_OK);
    expect_same(&shelf.spread.blocks, &blocks);
    blocks_fini(&blocks);
    assert_int_equal(blocks_read(shelf.path, 77, false, memory, shelf.spread.team, &blocks), HYSGD_OK);
    assert_ptr_equal(blocks.tiles->cells, memory);
    expect_same(&shelf.spread.blocks, &blocks);
    blocks_fini(&blocks);
    shelf_close(&shelf);
}

static void streamed_tiles_are_those_in_memory(void **state) {
    (void)state;
    struct shelf shelf;
    struct blocks blocks;
    shelf_open(&shelf);
    assert_int_equal(blocks_read(shelf.path, 77, true, NULL, shelf.spread.team, &blocks), HYSGD_OK);
    assert_null(blocks.tiles->cells);
    assert_true(blocks_buffer_cells(&blocks) > 0);
    blocks_expect(&blocks, 5);
    expect_same(&shelf.spread.blocks, &blocks);
    blocks_dismiss(&blocks, 5);
    blocks_fini(&blocks);
    shelf_close(&shelf);
}

static void other_identities_are_refused(void **state) {
    (void)state;
    struct shelf shelf;
    struct blocks blocks;
    shelf_open(&shelf);
    assert_int_equal(blocks_read(shelf.path, 78, false, NULL, shelf.spread.team, &blocks), HYSGD_INPUT);
    assert_message("is the layout of other ratings, or was made with other options");
    blocks_fini(&blocks);
    shelf_close(&shelf);
}

/* Reads the bytes as a layout, in memory and streamed; HYSGD_OK when all of it can be had. */
static enum hysgd_status read_bytes(struct shelf *shelf, const char *bytes, size_t size, bool is_streamed) {
    struct blocks blocks;
    struct cell buffer[COUNT];
    folder_write(&shelf->folder, "changed", bytes, size);
    enum hysgd_status status =
        blocks_read(folder_path(&shelf->folder, "changed"), 77, is_streamed, NULL, shelf->spread.team, &blocks);
    for (size_t i = 0; status == HYSGD_OK && i < blocks_tile_count(&blocks); i++) {
        struct tile tile;
        status = blocks_load_tile(&blocks, i, buffer, &tile);
    }
    blocks_fini(&blocks);
    return status;
}

static size_t load(const char *path, char *bytes, size_t most) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, most, file);
    fclose(file);
    assert_true(size < most);
    return size;
}

static void every_changed_byte_is_noticed(void **state) {
    (void)state;
    static char bytes[1 << 16];
    struct shelf shelf;
    shelf_open(&shelf);
    size_t size = load(shelf.path, bytes, sizeof bytes);
    assert_int_equal(read_bytes(&shelf, bytes, size, false), HYSGD_OK);
    for (size_t i = 0; i < size; i += i < 500 ? 1 : 37) {
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
        assert_int_equal(read_bytes(&shelf, bytes, size, false), HYSGD_INPUT);
        assert_int_equal(read_bytes(&shelf, bytes, size, true), HYSGD_INPUT);
        bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
    }
    shelf_close(&shelf);
}

static void truncated_and_longer_files_are_refused(void **state) {
    (void)state;
    static char bytes[1 << 16];
    struct shelf shelf;
    shelf_open(&shelf);
    size_t size = load(shelf.path, bytes, sizeof bytes);
    for (size_t length = 0; length < size; length += length < 100 ? 1 : 997)
        assert_int_equal(read_bytes(&shelf, bytes, length, length % 2 == 1), HYSGD_INPUT);
    assert_int_equal(read_bytes(&shelf, bytes, size + 1, false), HYSGD_INPUT);
    shelf_close(&shelf);
}

static void a_file_cut_while_it_is_streamed_is_an_error(void **state) {
    (void)state;
    struct shelf shelf;
    struct blocks blocks;
    struct cell buffer[COUNT];
    struct tile tile;
    shelf_open(&shelf);
    assert_int_equal(blocks_read(shelf.path, 77, true, NULL, shelf.spread.team, &blocks), HYSGD_OK);
    assert_int_equal(truncate(shelf.path, 5000), 0);
    assert_int_equal(blocks_load_tile(&blocks, blocks_tile_count(&blocks) - 1, buffer, &tile), HYSGD_INPUT);
    assert_message("ends too early");
    blocks_fini(&blocks);
    shelf_close(&shelf);
}

static enum hysgd_status make_cached(struct shelf *shelf, const struct blocks_setup *setup, bool is_streamed,
                                     const char *name, struct rating **ratings_out, struct blocks *blocks) {
    struct blocks_setup with_team = *setup;
    with_team.team = shelf->spread.team;
    *ratings_out = spread_ratings(ROWS, COLUMNS, COUNT);
    return blocks_make_cached(*ratings_out, COUNT, ROWS, COLUMNS, &with_team, folder_path(&shelf->folder, name),
                              is_streamed, blocks);
}

/* Makes by way of the cache, expects the shelf's layout or another, and tells the file's number. */
static ino_t expect_cached(struct shelf *shelf, const struct blocks_setup *setup, bool is_streamed, bool is_same) {
    struct rating *ratings;
    struct blocks blocks;
    struct stat about;
    assert_int_equal(make_cached(shelf, setup, is_streamed, "cache", &ratings, &blocks), HYSGD_OK);
    assert_int_equal(blocks.stream != NULL, is_streamed);
    if (is_same)
        expect_same(&shelf->spread.blocks, &blocks);
    blocks_fini(&blocks);
    memory_free(ratings);
    assert_int_equal(stat(folder_path(&shelf->folder, "cache"), &about), 0);
    return about.st_ino;
}

static void a_cache_is_made_once_and_again_for_another_setup(void **state) {
    (void)state;
    struct shelf shelf;
    struct blocks_setup other = three_by_two;
    other.seed++;
    shelf_open(&shelf);
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        ino_t first = expect_cached(&shelf, &three_by_two, is_streamed, true);
        assert_int_equal(expect_cached(&shelf, &three_by_two, is_streamed, true), first);
        assert_int_equal(expect_cached(&shelf, &three_by_two, !is_streamed, true), first);
        expect_cached(&shelf, &other, is_streamed, false);
    }
    shelf_close(&shelf);
}

static void ratings_from_a_cache_can_be_restored(void **state) {
    (void)state;
    struct shelf shelf;
    struct rating *ratings;
    struct blocks blocks;
    unsigned char seen[COUNT] = {0};
    shelf_open(&shelf);
    expect_cached(&shelf, &three_by_two, false, true);
    assert_int_equal(make_cached(&shelf, &three_by_two, false, "cache", &ratings, &blocks), HYSGD_OK);
    assert_int_equal(spread_restore(&blocks, ratings), HYSGD_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_memory_equal(&ratings[i], &shelf.spread.given[(int)ratings[i].value], sizeof *ratings);
        assert_int_equal(seen[(int)ratings[i].value]++, 0);
    }
    blocks_fini(&blocks);
    memory_free(ratings);
    shelf_close(&shelf);
}

static void a_file_of_another_kind_is_left_alone(void **state) {
    (void)state;
    struct shelf shelf;
    struct rating *ratings;
    struct blocks blocks;
    char bytes[32];
    shelf_open(&shelf);
    folder_write(&shelf.folder, "letter", "Dear Sir or Madam", 17);
    assert_int_equal(make_cached(&shelf, &three_by_two, false, "letter", &ratings, &blocks), HYSGD_INPUT);
    assert_message("is there and is no layout of ratings");
    assert_int_equal(load(folder_path(&shelf.folder, "letter"), bytes, sizeof bytes), 17);
    assert_memory_equal(bytes, "Dear Sir or Madam", 17);
    blocks_fini(&blocks);
    memory_free(ratings);
    shelf_close(&shelf);
}

static void a_file_that_cannot_be_written_is_told(void **state) {
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    assert_int_equal(blocks_write(&shelf.spread.blocks, 1, folder_path(&shelf.folder, "none/layout")),
                     HYSGD_OUTPUT);
    assert_message("none/layout: no temporary file can be made beside it");
    assert_int_equal(blocks_write(&shelf.spread.blocks, 1, shelf.folder.path), HYSGD_OUTPUT);
    assert_message("cannot be replaced");
    shelf_close(&shelf);
}

static void reading_without_memory_is_refused(void **state) {
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        size_t before = memory_used();
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            struct blocks blocks;
            memory_fail_at(n);
            status = blocks_read(shelf.path, 77, is_streamed, NULL, shelf.spread.team, &blocks);
            memory_fail_at(0);
            assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
            blocks_fini(&blocks);
            assert_int_equal(memory_used(), before);
        }
    }
    shelf_close(&shelf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(streamed_tiles_are_those_in_memory),
        cmocka_unit_test(other_identities_are_refused),
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(truncated_and_longer_files_are_refused),
        cmocka_unit_test(a_file_cut_while_it_is_streamed_is_an_error),
        cmocka_unit_test(a_cache_is_made_once_and_again_for_another_setup),
        cmocka_unit_test(ratings_from_a_cache_can_be_restored),
        cmocka_unit_test(a_file_of_another_kind_is_left_alone),
        cmocka_unit_test(a_file_that_cannot_be_written_is_told),
        cmocka_unit_test(reading_without_memory_is_refused),
    };
    return cmocka_run_group_tests_name("blocks in files", tests, NULL, NULL);
}
