/* SPDX-License-Identifier: Apache-2.0 */
/* Rows or columns that the model does not know, or whose ratings have changed: their factors from the ratings of a
 * file, with the other side as it is. See recommender.h. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/ratings_duplicates.h"
#include "lowrank/fold.h"
#include "train/recommender_model.h"

#define FOLD_EPOCHS 30

static enum factors_side_name other_side(enum factors_side_name side) {
    return side == SIDE_ROWS ? SIDE_COLUMNS : SIDE_ROWS;
}

/* What the file calls the rows or columns. */
static const struct ids *ids_of(const struct ratings *ratings, enum factors_side_name side) {
    return side == SIDE_ROWS ? &ratings->rows : &ratings->columns;
}

/* ---- Folding in ---- */

/* Whether the ratings of the training had no values. */
static bool has_pairs(const struct recommender *recommender) {
    const char *data = safetensors_metadata(recommender->file.file, "data");
    return data != NULL && strstr(data, ",pairs=yes") != NULL;
}

static enum hysgd_status read_ratings(const struct recommender *recommender, const char *path,
                                      struct ratings *ratings) {
    const struct ratings_format format = {.are_pairs = has_pairs(recommender),
                                          .refuses_negative = recommender->options->loss == FIT_KL};
    HYSGD_TRY(ratings_read(path, &format, ratings));
    return ratings_drop_duplicates(ratings, 0, RATINGS_DUPLICATES_LAST, path);
}

/* Keeps the ratings whose other end was trained. */
static enum hysgd_status find_known(const struct recommender *recommender, struct recommender_folded *folded) {
    const struct ratings *ratings = &folded->ratings;
    enum factors_side_name other = other_side(folded->side);
    const struct ids *ids = ids_of(ratings, other);
    uint32_t *numbers;
    HYSGD_TRY(memory_alloc(ids->count, sizeof *numbers, &numbers));
    for (uint32_t i = 0; i < ids->count; i++)
        numbers[i] = recommender_find(recommender, other, ids, i);
    enum hysgd_status status = memory_alloc((size_t)ratings->count, sizeof *folded->known, &folded->known);
    for (uint64_t i = 0; status == HYSGD_OK && i < ratings->count; i++) {
        const struct rating *rating = &ratings->entries[i];
        bool is_row = folded->side == SIDE_ROWS;
        uint32_t number = numbers[is_row ? rating->column : rating->row];
        if (recommender_is_trained(recommender, other, number))
            folded->known[folded->known_count++] =
                (struct rating){is_row ? rating->row : rating->column, number, rating->value};
    }
    memory_free(numbers);
    return status;
}

static int compare_ratings(const void *one, const void *other) {
    const struct rating *a = one, *b = other;
    return a->row != b->row ? (a->row > b->row) - (a->row < b->row)
                            : (a->column > b->column) - (a->column < b->column);
}

/* Finds the factors of each from its ratings, which are sorted. */
static enum hysgd_status fold_all(const struct recommender *recommender, struct recommender_folded *folded) {
    const struct factors *factors = &recommender->file.factors;
    const struct kernel_setup kernel = factors_model_kernel(recommender->options);
    const struct fold_setup setup = {.kernel = &kernel,
                                     .side = folded->side,
                                     .rate = (float)factors_model_rate(recommender->options),
                                     .epochs = FOLD_EPOCHS,
                                     .seed = 1};
    struct fold_rating *own;
    uint64_t next = 0;
    HYSGD_TRY(memory_alloc((size_t)folded->known_count, sizeof *own, &own));
    enum hysgd_status status = HYSGD_OK;
    for (uint32_t i = 0; status == HYSGD_OK && i < folded->factors.count; i++) {
        uint32_t held = 0;
        for (; next < folded->known_count && folded->known[next].row == i; next++)
            own[held++] = (struct fold_rating){folded->known[next].column, folded->known[next].value};
        status = fold_in(&setup, factors, own, held, folded->factors.values + (size_t)i * factors->stride,
                         &folded->factors.extra[i].bias);
    }
    memory_free(own);
    return status;
}

enum hysgd_status recommender_fold(const struct recommender *recommender, enum factors_side_name side,
                                   const char *path, struct recommender_folded *folded) {
    struct factors_side *factors = &folded->factors;
    folded->side = side;
    HYSGD_TRY(read_ratings(recommender, path, &folded->ratings));
    folded->ids = ids_of(&folded->ratings, side);
    factors->count = folded->ids->count;
    HYSGD_TRY(memory_alloc_vector((size_t)factors->count * recommender->file.factors.stride,
                                  sizeof *factors->values, &factors->values));
    HYSGD_TRY(memory_alloc(factors->count, sizeof *factors->extra, &factors->extra));
    HYSGD_TRY(find_known(recommender, folded));
    qsort(folded->known, (size_t)folded->known_count, sizeof *folded->known, compare_ratings);
    return status_locate(fold_all(recommender, folded), path);
}

void recommender_folded_fini(struct recommender_folded *folded) {
    memory_free(folded->factors.values);
    memory_free(folded->factors.extra);
    memory_free(folded->known);
    ratings_fini(&folded->ratings);
}

/* ---- Taking into the model ---- */

/* The model's ids and then those of the file that are new; stores the number of each of the file. */
static enum hysgd_status join_ids(struct recommender *recommender, const struct recommender_folded *folded,
                                  struct ids *ids, uint32_t *numbers) {
    const struct ids *const lists[] = {recommender->ids[folded->side], folded->ids};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; i < lists[k]->count; i++) {
            char buffer[IDS_NUMBER_BYTES];
            size_t length;
            uint32_t index;
            const char *text = ids_text(lists[k], i, buffer, &length);
            HYSGD_TRY(ids_add(ids, text, length, &index));
            if (k == 1)
                numbers[i] = index;
        }
    return HYSGD_OK;
}

/* Room for more rows or columns. */
static enum hysgd_status grow(struct recommender *recommender, enum factors_side_name name, uint32_t count) {
    struct factors *factors = &recommender->file.factors;
    struct factors_side *side = &factors->sides[name];
    struct factors_side grown = {.count = count};
    uint32_t *counts = NULL;
    enum hysgd_status status =
        memory_alloc_vector((size_t)count * factors->stride, sizeof *grown.values, &grown.values);
    if (status == HYSGD_OK)
        status = memory_alloc(count, sizeof *grown.extra, &grown.extra);
    if (status == HYSGD_OK)
        status = memory_alloc(count, sizeof *counts, &counts);
    if (status != HYSGD_OK) {
        memory_free(grown.values);
        memory_free(grown.extra);
        return status;
    }
    memcpy(grown.values, side->values, (size_t)side->count * factors->stride * sizeof *grown.values);
    memcpy(grown.extra, side->extra, side->count * sizeof *grown.extra);
    memcpy(counts, recommender->trained[name], side->count * sizeof *counts);
    memory_free(side->values);
    memory_free(side->extra);
    memory_free(recommender->counts[name]);
    *side = grown;
    recommender->trained[name] = recommender->counts[name] = counts;
    return HYSGD_OK;
}

/* Those without a rating that counts stay what they were: known as before, or without training ratings. */
static void take(struct recommender *recommender, const struct recommender_folded *folded,
                 const uint32_t *numbers) {
    struct factors *factors = &recommender->file.factors;
    struct factors_side *side = &factors->sides[folded->side];
    uint32_t *counts = recommender->counts[folded->side];
    for (uint64_t k = 0; k < folded->known_count; k++) {
        uint32_t i = folded->known[k].row, number = numbers[i];
        if (k > 0 && folded->known[k - 1].row == i) {
            counts[number]++;
            continue;
        }
        memcpy(side->values + (size_t)number * factors->stride,
               folded->factors.values + (size_t)i * factors->stride, factors->stride * sizeof *side->values);
        side->extra[number].bias = folded->factors.extra[i].bias;
        counts[number] = 1;
    }
}

static enum hysgd_status extend(struct recommender *recommender, const struct recommender_folded *folded) {
    struct ids ids = {0};
    uint32_t *numbers;
    HYSGD_TRY(memory_alloc(folded->ids->count, sizeof *numbers, &numbers));
    enum hysgd_status status = join_ids(recommender, folded, &ids, numbers);
    if (status == HYSGD_OK)
        status = grow(recommender, folded->side, ids.count);
    if (status == HYSGD_OK) {
        take(recommender, folded, numbers);
        ids_fini(&recommender->joined[folded->side]);
        recommender->joined[folded->side] = ids;
        recommender->ids[folded->side] = &recommender->joined[folded->side];
    } else {
        ids_fini(&ids);
    }
    memory_free(numbers);
    return status;
}

enum hysgd_status recommender_extend(struct recommender *recommender, enum recommender_side side,
                                     const char *path) {
    struct recommender_folded folded = {0};
    enum factors_side_name name = side == RECOMMENDER_USERS ? SIDE_ROWS : SIDE_COLUMNS;
    enum hysgd_status status = recommender_fold(recommender, name, path, &folded);
    if (status == HYSGD_OK)
        status = extend(recommender, &folded);
    recommender_folded_fini(&folded);
    return status;
}
