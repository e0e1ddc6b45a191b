/* SPDX-License-Identifier: Apache-2.0 */
/* Any text is refused with a message or is ratings with sound indices and finite values; the same whatever the
 * pieces and the threads. What is read can be freed from duplicates and split. The first byte picks the format, the
 * second the size of the pieces. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/ratings_duplicates.h"
#include "data/ratings_split.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool is_true) {
    if (!is_true)
        abort();
}

static enum hysgd_status read_text(const uint8_t *bytes, size_t size, struct ratings_format format,
                                   struct ratings *ratings) {
    *ratings = (struct ratings){0};
    return ratings_read_text((const char *)bytes, size, "fuzz", &format, ratings);
}

static void check_ids(const struct ids *ids) {
    for (uint32_t i = 0; i < ids->count; i++) {
        char buffer[IDS_NUMBER_BYTES];
        size_t length;
        const char *text = ids_text(ids, i, buffer, &length);
        check(length > 0 && ids_find(ids, text, length) == i);
    }
}

static void check_ratings(const struct ratings *ratings) {
    for (uint64_t i = 0; i < ratings->count; i++) {
        check(ratings->entries[i].row < ratings->rows.count && ratings->entries[i].column < ratings->columns.count);
        check(isfinite(ratings->entries[i].value));
    }
    check_ids(&ratings->rows);
    check_ids(&ratings->columns);
}

/* Every rating goes to one part. */
static void divide(struct ratings *ratings, uint8_t choice) {
    static const char *const texts[] = {"none",          "fraction:0.3", "kfold:3/2",
                                        "leave-one-out", "time:0.4",     "leave-one-out:latest"};
    struct ratings_split split = {.all = *ratings};
    struct ratings_split_plan plan;
    enum ratings_duplicates rule = (enum ratings_duplicates)(choice % 4);
    check(ratings_split_parse("fuzz", texts[choice % (split.all.times ? 6 : 4)], &plan) == HYSGD_OK);
    if (ratings_drop_duplicates(&split.all, 0, rule, "fuzz") == HYSGD_OK &&
        ratings_split_make(&split, &plan, split.all.count, choice % 3 * 0.2, 1, "fuzz") == HYSGD_OK)
        check(split.train.count + split.validation.count + split.test.count == split.all.count);
    ratings_fini(&split.all);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 2)
        return 0;
    struct ratings_format format = {.wants_times = bytes[0] & 1, .are_pairs = bytes[0] & 2, .threads = 1};
    struct ratings whole, pieces;
    enum hysgd_status status = read_text(bytes + 2, size - 2, format, &whole);
    format.threads = 1 + (bytes[0] >> 2 & 1);
    format.piece_bytes = 1 + (size_t)bytes[1];
    check(read_text(bytes + 2, size - 2, format, &pieces) == status);
    if (status == HYSGD_OK) {
        check(whole.count == pieces.count && whole.count > 0);
        check(memcmp(whole.entries, pieces.entries, whole.count * sizeof *whole.entries) == 0);
        check(!format.wants_times || memcmp(whole.times, pieces.times, whole.count * sizeof *whole.times) == 0);
        check_ratings(&whole);
        check_ratings(&pieces);
    } else {
        check(status == HYSGD_INPUT && hysgd_error_message()[0] != '\0');
    }
    ratings_fini(&pieces);
    divide(&whole, bytes[0] >> 3);
    check(memory_used() == 0);
    return 0;
}
