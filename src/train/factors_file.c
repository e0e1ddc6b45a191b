/* SPDX-License-Identifier: Apache-2.0 */
/* Reads models of factors: see factors_file.h. Trusts nothing in the file. */
#include "train/factors_file.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "base/options.h"
#include "data/ratings.h"

static const char *const side_words[SIDE_COUNT] = {"row", "column"};

#define NAME_BYTES 32

/* The name of a tensor of one side: "row" and "_ids". */
static const char *name_of(enum factors_side_name side, const char *ending, char name[NAME_BYTES]) {
    snprintf(name, NAME_BYTES, "%s%s", side_words[side], ending);
    return name;
}

#define NAME(side, ending) name_of((side), (ending), (char[NAME_BYTES]){0})

uint64_t factors_file_checksum(const struct rating *entries, uint64_t count) {
    return crc32_z(0, (const unsigned char *)entries, (size_t)count * sizeof *entries);
}

/* ---- Factors ---- */

static enum hysgd_status find_matrix(const struct safetensors_file *file, const char *path, const char *name,
                                     const struct safetensors_tensor **tensor_out) {
    const struct safetensors_tensor *tensor = safetensors_find(file, name);
    if (tensor == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: no tensor %s: expected a model of factors", path, name);
    if (tensor->rank != 2 || tensor->type != SAFETENSORS_F32 || tensor->dims[0] == 0 || tensor->dims[1] == 0 ||
        tensor->dims[0] >= UINT32_MAX || tensor->dims[1] > FACTORS_MOST_RANK)
        return hysgd_fail(HYSGD_INPUT, "%s: tensor %s is no matrix of factors: expected F32 [count, rank]", path,
                          name);
    *tensor_out = tensor;
    return HYSGD_OK;
}

static enum hysgd_status check_finite(const char *path, const char *name, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return hysgd_fail(HYSGD_INPUT, "%s: tensor %s: element %zu is not a finite number", path, name, i);
    return HYSGD_OK;
}

/* Copies a matrix [count][rank] into the padded rows of one. */
static enum hysgd_status read_matrix(const struct safetensors_file *file, const char *path, const char *name,
                                     const struct factors *factors, enum factors_side_name side, float *padded) {
    const size_t count = factors->sides[side].count, rank = factors->rank;
    float *dense;
    HYSGD_TRY(memory_alloc(count * rank, sizeof *dense, &dense));
    enum hysgd_status status = safetensors_read(file, name, SAFETENSORS_F32, (uint64_t)count * rank, dense);
    if (status == HYSGD_OK)
        status = check_finite(path, name, dense, count * rank);
    for (size_t i = 0; status == HYSGD_OK && i < count; i++)
        memcpy(padded + i * factors->stride, dense + i * rank, rank * sizeof *dense);
    memory_free(dense);
    return status;
}

static enum hysgd_status read_biases(const struct safetensors_file *file, const char *path,
                                     const struct factors *factors, enum factors_side_name side) {
    const struct factors_side *target = &factors->sides[side];
    float *biases;
    HYSGD_TRY(memory_alloc(target->count, sizeof *biases, &biases));
    enum hysgd_status status = safetensors_read(file, NAME(side, "_bias"), SAFETENSORS_F32, target->count, biases);
    if (status == HYSGD_OK)
        status = check_finite(path, NAME(side, "_bias"), biases, target->count);
    for (uint32_t i = 0; status == HYSGD_OK && i < target->count; i++)
        target->extra[i].bias = biases[i];
    memory_free(biases);
    return status;
}

static enum hysgd_status read_factors(struct factors_file *model, const char *path) {
    const struct safetensors_file *file = model->file;
    const struct safetensors_tensor *rows = NULL, *columns = NULL;
    HYSGD_TRY(find_matrix(file, path, "rows", &rows));
    HYSGD_TRY(find_matrix(file, path, "columns", &columns));
    if (rows->dims[1] != columns->dims[1])
        return hysgd_fail(HYSGD_INPUT, "%s: rows have %" PRIu64 " factors and columns %" PRIu64, path,
                          rows->dims[1], columns->dims[1]);
    const struct factors_shape shape = {.row_count = (uint32_t)rows->dims[0],
                                        .column_count = (uint32_t)columns->dims[0],
                                        .rank = (uint32_t)rows->dims[1],
                                        .state = FACTORS_NO_STATE};
    HYSGD_TRY(factors_init(&model->factors, &shape));
    HYSGD_TRY(read_matrix(file, path, "rows", &model->factors, SIDE_ROWS, model->factors.sides[SIDE_ROWS].values));
    HYSGD_TRY(read_matrix(file, path, "columns", &model->factors, SIDE_COLUMNS,
                          model->factors.sides[SIDE_COLUMNS].values));
    model->has_biases = safetensors_find(file, "row_bias") != NULL;
    for (int side = 0; model->has_biases && side < SIDE_COUNT; side++)
        HYSGD_TRY(read_biases(file, path, &model->factors, (enum factors_side_name)side));
    if (safetensors_find(file, "mean") == NULL)
        return HYSGD_OK;
    HYSGD_TRY(safetensors_read(file, "mean", SAFETENSORS_F32, 1, &model->factors.mean));
    return check_finite(path, "mean", &model->factors.mean, 1);
}

/* ---- Ids ---- */

static enum hysgd_status add_numbers(struct ids *ids, const struct safetensors_tensor *tensor, const char *path) {
    for (uint64_t i = 0; i < tensor->dims[0]; i++) {
        int64_t number;
        uint32_t index;
        memcpy(&number, (const char *)tensor->data + i * sizeof number, sizeof number);
        HYSGD_TRY(ids_add_number(ids, number, &index));
        if (index != i)
            return hysgd_fail(HYSGD_INPUT, "%s: tensor %s: %" PRId64 " is there twice", path, tensor->name, number);
    }
    return HYSGD_OK;
}

/* What the reader of ratings takes: ids are printed as lines of text. */
static bool is_id(const char *text, uint64_t length) {
    return length > 0 && memchr(text, '\0', length) == NULL && memchr(text, '\n', length) == NULL;
}

static enum hysgd_status add_texts(struct ids *ids, const struct safetensors_tensor *texts,
                                   const struct safetensors_tensor *ends, const char *path) {
    uint64_t first = 0, end;
    for (uint64_t i = 0; i < ends->dims[0]; i++, first = end) {
        uint32_t index;
        memcpy(&end, (const char *)ends->data + i * sizeof end, sizeof end);
        if (end < first || end > texts->dims[0])
            return hysgd_fail(HYSGD_INPUT, "%s: tensor %s: element %" PRIu64 " lies outside of the texts", path,
                              ends->name, i);
        const char *text = (const char *)texts->data + first;
        if (!is_id(text, end - first))
            return hysgd_fail(HYSGD_INPUT,
                              "%s: tensor %s: element %" PRIu64 " is empty or has a NUL byte or a line end in it",
                              path, texts->name, i);
        HYSGD_TRY(ids_add(ids, text, (size_t)(end - first), &index));
        if (index != i)
            return hysgd_fail(HYSGD_INPUT, "%s: tensor %s: '%.*s' is there twice", path, texts->name,
                              (int)(end - first < 64 ? end - first : 64), text);
    }
    return HYSGD_OK;
}

static bool is_list(const struct safetensors_tensor *tensor, enum safetensors_type type) {
    return tensor != NULL && tensor->rank == 1 && tensor->type == type;
}

static enum hysgd_status read_ids(struct factors_file *model, const char *path, enum factors_side_name side) {
    const struct safetensors_file *file = model->file;
    uint32_t count = model->factors.sides[side].count;
    const struct safetensors_tensor *numbers = safetensors_find(file, NAME(side, "_ids"));
    const struct safetensors_tensor *texts = safetensors_find(file, NAME(side, "_id_text"));
    const struct safetensors_tensor *ends = safetensors_find(file, NAME(side, "_id_ends"));
    if (is_list(numbers, SAFETENSORS_I64) && numbers->dims[0] == count)
        return add_numbers(&model->ids[side], numbers, path);
    if (is_list(texts, SAFETENSORS_U8) && is_list(ends, SAFETENSORS_U64) && ends->dims[0] == count)
        return add_texts(&model->ids[side], texts, ends, path);
    return hysgd_fail(HYSGD_INPUT, "%s: the ids of %ss do not fit the factors: expected %" PRIu32 " of them", path,
                      side_words[side], count);
}

/* Every rating is one of a row and of a column. */
static enum hysgd_status check_counts(const struct factors_file *model, const char *path) {
    uint64_t sums[SIDE_COUNT] = {0};
    for (int side = 0; side < SIDE_COUNT; side++)
        for (uint32_t i = 0; i < model->factors.sides[side].count; i++)
            sums[side] += model->counts[side][i];
    if (sums[SIDE_ROWS] == sums[SIDE_COLUMNS] && sums[SIDE_ROWS] > 0)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT,
                      "%s: row_counts are of %" PRIu64 " training ratings and column_counts of %" PRIu64
                      ": expected as many, and more than none",
                      path, sums[SIDE_ROWS], sums[SIDE_COLUMNS]);
}

/* A model of training under a policy has no ids; those of the data stand for them. */
static enum hysgd_status read_names(struct factors_file *model, const char *path) {
    const struct safetensors_file *file = model->file;
    model->has_ids = safetensors_find(file, "row_ids") != NULL || safetensors_find(file, "row_id_text") != NULL;
    for (int side = 0; model->has_ids && side < SIDE_COUNT; side++) {
        uint32_t count = model->factors.sides[side].count;
        HYSGD_TRY(read_ids(model, path, (enum factors_side_name)side));
        HYSGD_TRY(memory_alloc(count, sizeof *model->counts[side], &model->counts[side]));
        HYSGD_TRY(safetensors_read(file, NAME((enum factors_side_name)side, "_counts"), SAFETENSORS_U32, count,
                                   model->counts[side]));
    }
    return model->has_ids ? check_counts(model, path) : HYSGD_OK;
}

/* ---- The whole ---- */

static enum hysgd_status read_progress(struct factors_file *model, const char *path) {
    const char *epochs = safetensors_metadata(model->file, "progress.epochs");
    const char *seconds = safetensors_metadata(model->file, "progress.seconds");
    const char *checksum = safetensors_metadata(model->file, "train_checksum");
    int64_t count = 0, sum = 0;
    bool is_good =
        epochs == NULL || (options_read_int(epochs, &count) && count >= 0 && count <= FACTORS_MOST_EPOCHS);
    is_good = is_good && (seconds == NULL ||
                          (options_read_real(seconds, &model->progress.seconds) && model->progress.seconds >= 0));
    is_good = is_good && (checksum == NULL || (options_read_int(checksum, &sum) && sum >= 0 && sum <= UINT32_MAX));
    if (!is_good)
        return hysgd_fail(HYSGD_INPUT, "%s: its metadata do not tell how far the training came", path);
    model->progress.epochs = (uint64_t)count;
    model->train_checksum = (uint64_t)sum;
    return HYSGD_OK;
}

enum hysgd_status factors_file_open(const char *path, struct factors_file *file_out) {
    *file_out = (struct factors_file){0};
    HYSGD_TRY(safetensors_open(path, &file_out->file));
    HYSGD_TRY(read_factors(file_out, path));
    HYSGD_TRY(read_names(file_out, path));
    return read_progress(file_out, path);
}

void factors_file_close(struct factors_file *file) {
    safetensors_close(file->file);
    factors_fini(&file->factors);
    for (int side = 0; side < SIDE_COUNT; side++) {
        ids_fini(&file->ids[side]);
        memory_free(file->counts[side]);
    }
    *file = (struct factors_file){0};
}

enum hysgd_status factors_file_read_state(const struct factors_file *file, const char *path,
                                          struct factors *factors) {
    static const char *const names[] = {"state.rows", "state.columns"};
    static const char *const extras[] = {"state.row_extra", "state.column_extra"};
    for (int i = 0; i < SIDE_COUNT; i++) {
        enum factors_side_name name = (enum factors_side_name)i;
        struct factors_side *side = &factors->sides[i];
        if (side->state != NULL)
            HYSGD_TRY(read_matrix(file->file, path, names[i], factors, name, side->state));
        HYSGD_TRY(safetensors_read(file->file, extras[i], SAFETENSORS_F32,
                                   (uint64_t)side->count * (sizeof *side->extra / sizeof(float)), side->extra));
        HYSGD_TRY(check_finite(path, extras[i], (const float *)side->extra,
                               (size_t)side->count * (sizeof *side->extra / sizeof(float))));
    }
    return HYSGD_OK;
}
