/* SPDX-License-Identifier: Apache-2.0 */
/* Writes models of factors, and moves factors between the order of the data and that of the blocks: see
 * factors_file.h. */
#include "train/factors_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define MOST_TENSORS 20
#define NUMBER_BYTES 32

/* What is being written: tensors with memory of their own. */
struct writer {
    const struct factors_content *content;
    struct safetensors_tensor tensors[MOST_TENSORS]; /* [count] */
    void *owned[MOST_TENSORS];                       /* [count] */
    size_t count;
};

/* Adds a tensor of `elements` of memory that the caller fills. */
static enum hysgd_status add(struct writer *writer, const char *name, enum safetensors_type type, uint64_t rows,
                             uint64_t width, void *data_out) {
    void *data;
    HYSGD_TRY(memory_alloc((size_t)(rows * (width > 0 ? width : 1)), safetensors_type_size(type), &data));
    writer->owned[writer->count] = data;
    writer->tensors[writer->count++] = (struct safetensors_tensor){
        .name = name, .type = type, .rank = width > 0 ? 2 : 1, .dims = {rows, width}, .data = data};
    memcpy(data_out, &data, sizeof data);
    return HYSGD_OK;
}

static uint32_t place_of(const struct writer *writer, enum factors_side_name side, uint32_t index) {
    const uint32_t *places = writer->content->places[side];
    return places != NULL ? places[index] : index;
}

/* The rows of a padded matrix, in the order of the data. */
static enum hysgd_status add_matrix(struct writer *writer, const char *name, enum factors_side_name side,
                                    const float *padded) {
    const struct factors *factors = writer->content->factors;
    uint32_t count = factors->sides[side].count, rank = factors->rank;
    float *dense = NULL;
    HYSGD_TRY(add(writer, name, SAFETENSORS_F32, count, rank, &dense));
    for (uint32_t i = 0; i < count; i++)
        memcpy(dense + (size_t)i * rank, padded + (size_t)place_of(writer, side, i) * factors->stride,
               rank * sizeof *dense);
    return HYSGD_OK;
}

static enum hysgd_status add_extra(struct writer *writer, enum factors_side_name side, const char *bias,
                                   const char *extra) {
    const struct factors_side *from = &writer->content->factors->sides[side];
    const size_t width = sizeof *from->extra / sizeof(float);
    float *biases = NULL, *all = NULL;
    if (writer->content->has_biases)
        HYSGD_TRY(add(writer, bias, SAFETENSORS_F32, from->count, 0, &biases));
    HYSGD_TRY(add(writer, extra, SAFETENSORS_F32, from->count, width, &all));
    for (uint32_t i = 0; i < from->count; i++) {
        const struct factor_extra *one = &from->extra[place_of(writer, side, i)];
        if (biases != NULL)
            biases[i] = one->bias;
        memcpy(all + i * width, one, sizeof *one);
    }
    return HYSGD_OK;
}

static enum hysgd_status add_ids(struct writer *writer, const struct ids *ids, const char *numbers,
                                 const char *texts, const char *ends) {
    void *data = NULL;
    if (!ids->are_texts) {
        HYSGD_TRY(add(writer, numbers, SAFETENSORS_I64, ids->count, 0, &data));
        memcpy(data, ids->numbers, ids->count * sizeof *ids->numbers);
        return HYSGD_OK;
    }
    size_t bytes = ids->count > 0 ? (size_t)ids->ends[ids->count - 1] : 0;
    HYSGD_TRY(add(writer, texts, SAFETENSORS_U8, bytes, 0, &data));
    memcpy(data, ids->texts, bytes);
    HYSGD_TRY(add(writer, ends, SAFETENSORS_U64, ids->count, 0, &data));
    memcpy(data, ids->ends, ids->count * sizeof *ids->ends);
    return HYSGD_OK;
}

static enum hysgd_status add_counts(struct writer *writer, const char *name, enum factors_side_name side) {
    uint32_t *counts = NULL;
    size_t count = writer->content->factors->sides[side].count;
    HYSGD_TRY(add(writer, name, SAFETENSORS_U32, count, 0, &counts));
    memcpy(counts, writer->content->counts[side], count * sizeof *counts);
    return HYSGD_OK;
}

static enum hysgd_status add_all(struct writer *writer) {
    const struct factors_content *content = writer->content;
    const struct factors_side *rows = &content->factors->sides[SIDE_ROWS];
    const struct factors_side *columns = &content->factors->sides[SIDE_COLUMNS];
    float *mean = NULL;
    HYSGD_TRY(add_matrix(writer, "rows", SIDE_ROWS, rows->values));
    HYSGD_TRY(add_matrix(writer, "columns", SIDE_COLUMNS, columns->values));
    HYSGD_TRY(add(writer, "mean", SAFETENSORS_F32, 1, 0, &mean));
    *mean = content->factors->mean;
    HYSGD_TRY(add_extra(writer, SIDE_ROWS, "row_bias", "state.row_extra"));
    HYSGD_TRY(add_extra(writer, SIDE_COLUMNS, "column_bias", "state.column_extra"));
    HYSGD_TRY(add_counts(writer, "row_counts", SIDE_ROWS));
    HYSGD_TRY(add_counts(writer, "column_counts", SIDE_COLUMNS));
    HYSGD_TRY(add_ids(writer, content->ids[SIDE_ROWS], "row_ids", "row_id_text", "row_id_ends"));
    HYSGD_TRY(add_ids(writer, content->ids[SIDE_COLUMNS], "column_ids", "column_id_text", "column_id_ends"));
    if (rows->state == NULL)
        return HYSGD_OK;
    HYSGD_TRY(add_matrix(writer, "state.rows", SIDE_ROWS, rows->state));
    return add_matrix(writer, "state.columns", SIDE_COLUMNS, columns->state);
}

static enum hysgd_status write_all(const struct writer *writer, const char *path) {
    const struct factors_content *content = writer->content;
    char epochs[NUMBER_BYTES], seconds[NUMBER_BYTES], checksum[NUMBER_BYTES];
    const char *(*metadata)[2];
    snprintf(epochs, sizeof epochs, "%" PRIu64, content->progress.epochs);
    snprintf(seconds, sizeof seconds, "%.17g", content->progress.seconds);
    snprintf(checksum, sizeof checksum, "%" PRIu64, content->train_checksum);
    const char *const own[][2] = {
        {"progress.epochs", epochs}, {"progress.seconds", seconds}, {"train_checksum", checksum}};
    const size_t own_count = sizeof own / sizeof own[0];
    HYSGD_TRY(memory_alloc(own_count + content->metadata_count, sizeof *metadata, &metadata));
    memcpy(metadata, own, sizeof own);
    for (size_t i = 0; i < content->metadata_count; i++)
        memcpy(metadata[own_count + i], content->metadata[i], sizeof metadata[0]);
    enum hysgd_status status =
        safetensors_write(path, writer->tensors, writer->count, (const char *const(*)[2])metadata,
                          own_count + content->metadata_count);
    memory_free(metadata);
    return status;
}

enum hysgd_status factors_file_write(const char *path, const struct factors_content *content) {
    struct writer writer = {.content = content};
    enum hysgd_status status = add_all(&writer);
    if (status == HYSGD_OK)
        status = write_all(&writer, path);
    for (size_t i = 0; i < writer.count; i++)
        memory_free(writer.owned[i]);
    return status;
}

/* ---- Places ---- */

/* Moves [count] things of `size` bytes, that of number i to places[i]. */
static enum hysgd_status move(void *array, uint32_t count, size_t size, const uint32_t *places) {
    char *moved, *old = array;
    if (array == NULL)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(count, size, &moved));
    for (size_t i = 0; i < count; i++)
        memcpy(moved + places[i] * size, old + i * size, size);
    memcpy(old, moved, count * size);
    memory_free(moved);
    return HYSGD_OK;
}

enum hysgd_status factors_to_places(struct factors *factors, enum factors_side_name name, const uint32_t *places) {
    struct factors_side *side = &factors->sides[name];
    size_t bytes = factors->stride * sizeof *side->values;
    HYSGD_TRY(move(side->values, side->count, bytes, places));
    HYSGD_TRY(move(side->state, side->count, bytes, places));
    return move(side->extra, side->count, sizeof *side->extra, places);
}
