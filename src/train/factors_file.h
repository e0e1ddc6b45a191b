/* SPDX-License-Identifier: Apache-2.0 */
/* A model of factors as a safetensors file: rows [R][rank], columns [C][rank], row_bias [R], column_bias [C] and
 * mean [1] in the order of the data, row_counts [R] and column_counts [C] of training ratings, and what the data
 * call rows and columns: row_ids [R] as int64, or row_id_text as bytes with row_id_ends [R], and the same for
 * columns. Tensors that begin with "state." are for going on with the training. */
#ifndef HYSGD_TRAIN_FACTORS_FILE_H
#define HYSGD_TRAIN_FACTORS_FILE_H

#include "checkpoint/safetensors.h"
#include "data/ids.h"
#include "lowrank/factors.h"

#define FACTORS_MOST_EPOCHS 1000000000

/* How far the training has come. */
struct factors_progress {
    uint64_t epochs; /* at most FACTORS_MOST_EPOCHS */
    double seconds;  /* on the run's clock */
};

struct rating;

/* Tells training ratings from others, in their order. */
uint64_t factors_file_checksum(const struct rating *entries, uint64_t count);

/* What is written; everything is borrowed. */
struct factors_content {
    const struct factors *factors;
    const uint32_t *places[SIDE_COUNT]; /* where a row or column of the data has its factors; NULL: in its order */
    const struct ids *ids[SIDE_COUNT];
    const uint32_t *counts[SIDE_COUNT];
    bool has_biases;
    struct factors_progress progress;
    uint64_t train_checksum;          /* of the training ratings */
    const char *const (*metadata)[2]; /* [metadata_count] the options of the run */
    size_t metadata_count;
};

/* Writes the file whole or not at all. HYSGD_OUTPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status factors_file_write(const char *path, const struct factors_content *content);

/* A model that was read; zeroed: none. In the order of the data. */
struct factors_file {
    struct safetensors_file *file;
    struct factors factors; /* without state */
    bool has_biases;
    bool has_ids;                 /* false: a checkpoint of training under a policy */
    struct ids ids[SIDE_COUNT];   /* empty unless has_ids */
    uint32_t *counts[SIDE_COUNT]; /* of training ratings; NULL unless has_ids */
    struct factors_progress progress;
    uint64_t train_checksum;
};

/* HYSGD_INPUT names the tensor that is missing, does not fit or holds a value that is not finite, the id that is
 * there twice or that no file of ratings can have, or the counts that contradict each other. Safe to close when it
 * fails. */
HYSGD_MUST_CHECK enum hysgd_status factors_file_open(const char *path, struct factors_file *file_out);
void factors_file_close(struct factors_file *file);

/* Reads what the step rule keeps into the factors, whose shape and kind of state are set. HYSGD_INPUT. */
HYSGD_MUST_CHECK enum hysgd_status factors_file_read_state(const struct factors_file *file, const char *path,
                                                           struct factors *factors);

/* Brings the rows (or columns) of factors to their places. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status factors_to_places(struct factors *factors, enum factors_side_name side,
                                                     const uint32_t *places);

#endif
