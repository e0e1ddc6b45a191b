/* SPDX-License-Identifier: Apache-2.0 */
/* Ratings as the samples of a data plug-in. */
#include "data/ratings_data.h"

#include <string.h>

#include "data/data.h"

#define INPUTS 2

void ratings_data_fini(void *self) {
    struct ratings_data *data = self;
    ratings_fini(&data->split.all);
}

void ratings_data_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct ratings_split *split = &((const struct ratings_data *)self)->split;
    *shape_out = (struct hysgd_data_shape){.train_count = split->train.count,
                                           .test_count = split->test.count,
                                           .channels = 1,
                                           .height = 1,
                                           .width = INPUTS,
                                           .targets = 1,
                                           .row_count = split->all.rows.count,
                                           .column_count = split->all.columns.count};
}

void ratings_data_gather(const void *self, enum hysgd_split which, const uint64_t *indices, size_t count,
                         float *inputs, int32_t *labels, float *targets) {
    const struct ratings_split *split = &((const struct ratings_data *)self)->split;
    const struct rating *entries = which == HYSGD_TRAIN ? split->train.entries : split->test.entries;
    (void)labels;
    for (size_t i = 0; i < count; i++) {
        const struct rating *rating = &entries[indices[i]];
        const uint32_t place[INPUTS] = {rating->row, rating->column};
        if (inputs)
            memcpy(inputs + i * INPUTS, place, sizeof place);
        targets[i] = rating->value;
    }
}

enum hysgd_status ratings_parts_plan(const struct ratings_parts *parts, const char *what, bool has_test,
                                     struct ratings_split_plan *plan_out) {
    bool is_auto = strcmp(parts->split, "auto") == 0;
    if (!is_auto && has_test && strcmp(parts->split, "none") != 0)
        return hysgd_fail(HYSGD_USAGE, "%s: split=%s and a test file: expected one of the two", what, parts->split);
    if (is_auto)
        return ratings_split_parse(what, has_test ? "none" : "fraction:0.1", plan_out);
    return ratings_split_parse(what, parts->split, plan_out);
}

uint64_t ratings_parts_seed(const struct ratings_parts *parts, uint64_t run_seed) {
    return parts->seed ? (uint64_t)parts->seed : run_seed;
}

const struct ratings_split *data_ratings(const struct plugin *data) {
    if (data_ops(data)->describe != ratings_data_describe)
        return NULL;
    return &((const struct ratings_data *)data->self)->split;
}

void data_ratings_stop_finding(const struct plugin *data) {
    struct ratings *all = &((struct ratings_data *)data->self)->split.all;
    ids_stop_finding(&all->rows);
    ids_stop_finding(&all->columns);
}
