/* SPDX-License-Identifier: Apache-2.0 */
/* Any model of factors is refused with a message or is one that can be written again, trained on and asked. The
 * first byte says what the others are: a file, or changes to one that was written here, two bytes of place and one
 * of value each, so that few inputs end at the header. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "train/factors_file.h"
#include "train/recommender.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define ROWS       4
#define COLUMNS    3
#define RANK       2
#define MOST_BYTES 65536
/* Of models whose rows and columns have no ids. */
#define DATA "planted,users=4,items=3,ratings=9,split=none"

static char folder[64], path[80], again[80], ratings[80];
static uint8_t written[2][MOST_BYTES]; /* with numbers as ids, with texts */
static size_t sizes[2];
static FILE *nowhere;

static void check(bool is_true) {
    if (!is_true)
        abort();
}

static void remove_folder(void) {
    unlink(path);
    unlink(again);
    unlink(ratings);
    rmdir(folder);
}

static void add_ids(struct ids *ids, uint32_t count, const char *prefix) {
    for (uint32_t i = 0; i < count; i++) {
        char text[16];
        uint32_t index;
        snprintf(text, sizeof text, "%s%u", prefix, (unsigned)(100 * i + 7));
        check(ids_add(ids, text, strlen(text), &index) == HYSGD_OK);
    }
}

static void write_content(const char *where, const struct factors *factors, const struct ids ids[SIDE_COUNT],
                          const uint32_t *const counts[SIDE_COUNT], struct factors_progress progress) {
    static const char *const metadata[][2] = {{"model", "factors,rank=2"}, {"data", DATA}, {"seed", "1"}};
    const struct factors_content content = {.factors = factors,
                                            .ids = {&ids[SIDE_ROWS], &ids[SIDE_COLUMNS]},
                                            .counts = {counts[SIDE_ROWS], counts[SIDE_COLUMNS]},
                                            .has_biases = true,
                                            .progress = progress,
                                            .metadata = metadata,
                                            .metadata_count = 3};
    check(factors_file_write(where, &content) == HYSGD_OK);
}

static void write_model(int which) {
    static const uint32_t row_counts[ROWS] = {1, 2, 0, 1}, column_counts[COLUMNS] = {2, 1, 1};
    const uint32_t *const counts[] = {row_counts, column_counts};
    const struct factors_shape shape = {ROWS, COLUMNS, RANK, FACTORS_SUMS};
    struct factors factors;
    struct ids ids[SIDE_COUNT] = {0};
    check(factors_init(&factors, &shape) == HYSGD_OK);
    factors_start(&factors, FACTORS_NORMAL, 1, 1, 1);
    add_ids(&ids[SIDE_ROWS], ROWS, which == 0 ? "" : "user ");
    add_ids(&ids[SIDE_COLUMNS], COLUMNS, which == 0 ? "" : "item ");
    write_content(path, &factors, ids, counts, (struct factors_progress){3, 0.5});
    FILE *file = fopen(path, "rb");
    check(file != NULL);
    sizes[which] = fread(written[which], 1, MOST_BYTES, file);
    check(sizes[which] > 0 && sizes[which] < MOST_BYTES && fclose(file) == 0);
    ids_fini(&ids[SIDE_ROWS]);
    ids_fini(&ids[SIDE_COLUMNS]);
    factors_fini(&factors);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    /* In memory where there is such a place: the writer syncs, and a disk would make the rounds slow. */
    snprintf(folder, sizeof folder, "%s/hysgd-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    check(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/model", folder);
    snprintf(again, sizeof again, "%s/again", folder);
    snprintf(ratings, sizeof ratings, "%s/ratings", folder);
    nowhere = fopen("/dev/null", "w");
    check(nowhere != NULL && atexit(remove_folder) == 0);
    write_model(0);
    write_model(1);
    FILE *file = fopen(ratings, "w");
    check(file != NULL && fputs("7,new,3\nuser 7,new,2\nnew,7,1\nuser 107,107,4\n", file) >= 0 &&
          fclose(file) == 0);
    return 0;
}

static void put_file(const uint8_t *bytes, size_t size) {
    static uint8_t copy[MOST_BYTES];
    int which = bytes[0] >> 1 & 1;
    bool is_whole = bytes[0] & 1;
    memcpy(copy, written[which], sizes[which]);
    for (size_t i = 1; !is_whole && i + 2 < size; i += 3)
        copy[(bytes[i] << 8 | bytes[i + 1]) % sizes[which]] = bytes[i + 2];
    FILE *file = fopen(path, "wb");
    check(file != NULL);
    size_t length = is_whole ? size - 1 : sizes[which];
    check(fwrite(is_whole ? bytes + 1 : copy, 1, length, file) == length && fclose(file) == 0);
}

/* What was accepted is accepted again, with the state of its steps where that is sound. */
static void write_again(const struct factors_file *file) {
    const uint32_t *const counts[] = {file->counts[SIDE_ROWS], file->counts[SIDE_COLUMNS]};
    struct factors_file other;
    struct factors factors;
    const struct factors_shape shape = {file->factors.sides[SIDE_ROWS].count,
                                        file->factors.sides[SIDE_COLUMNS].count, file->factors.rank, FACTORS_SUMS};
    check(factors_init(&factors, &shape) == HYSGD_OK);
    enum hysgd_status status = factors_file_read_state(file, path, &factors);
    check(status == HYSGD_OK || status == HYSGD_INPUT);
    factors_fini(&factors);
    write_content(again, &file->factors, file->ids, counts, file->progress);
    check(factors_file_open(again, &other) == HYSGD_OK);
    check(other.progress.epochs == file->progress.epochs);
    factors_file_close(&other);
}

static void ask(void) {
    const struct recommender_wish wish = {.row = "", .ratings = "", .top = 2};
    struct recommender *recommender;
    enum hysgd_status status = recommender_open(path, DATA, &recommender);
    check(status == HYSGD_OK || (status == HYSGD_INPUT && hysgd_error_message()[0] != '\0'));
    if (recommender == NULL)
        return;
    check(recommender_recommend(recommender, &wish, RECOMMENDER_JSON, nowhere) == HYSGD_OK);
    status = recommender_predict(recommender, "", "user 107", "7", RECOMMENDER_CSV, nowhere);
    check(status == HYSGD_OK || status == HYSGD_USAGE); /* unseen=error */
    for (enum recommender_side side = RECOMMENDER_USERS; side <= RECOMMENDER_ITEMS; side++) {
        status = recommender_extend(recommender, side, ratings);
        check(status == HYSGD_OK || strncmp(hysgd_error_message(), ratings, strlen(ratings)) == 0);
        check(recommender_recommend(recommender, &wish, RECOMMENDER_CSV, nowhere) == HYSGD_OK);
    }
    recommender_close(recommender);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct factors_file file;
    if (size == 0 || size > MOST_BYTES)
        return 0;
    put_file(bytes, size);
    enum hysgd_status status = factors_file_open(path, &file);
    if (status == HYSGD_OK && file.has_ids)
        write_again(&file);
    else if (status != HYSGD_OK)
        check(status == HYSGD_INPUT && strncmp(hysgd_error_message(), path, strlen(path)) == 0);
    factors_file_close(&file);
    ask();
    check(memory_used() == 0);
    return 0;
}
