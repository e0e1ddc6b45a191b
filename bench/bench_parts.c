/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the parts of ratings as text files, so that programs which generate and cut nothing themselves are
 * compared on the same: training.txt, validation.txt and test.txt in a folder, lines of `user item value` with
 * users and items numbered from 0. Prints as JSON how many ratings there are and, of generated ones, the root mean
 * square error of whoever knows the truth. build/release/bench/bench_parts FOLDER DATA     DATA as of `hysgd train
 * --data`: planted:ml-1m,split=fraction:0.2 */
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/data.h"
#include "data/ratings_split.h"

static void check(bool is_well, const char *what) {
    if (is_well)
        return;
    fprintf(stderr, "bench_parts: %s\n", what);
    exit(1);
}

static void write_part(const char *folder, const char *name, const struct ratings_part *part) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    check(length > 0 && (size_t)length < sizeof path, "the name of the folder is too long");
    FILE *out = fopen(path, "w");
    check(out != NULL, "the folder cannot be written to");
    for (uint64_t i = 0; i < part->count; i++) {
        const struct rating *rating = &part->entries[i];
        fprintf(out, "%" PRIu32 " %" PRIu32 " %.6g\n", rating->row, rating->column, (double)rating->value);
    }
    check(fclose(out) == 0, "the disk is full");
}

int main(int count, char **words) {
    struct plugin data;
    if (count != 3) {
        fprintf(stderr, "usage: bench_parts FOLDER DATA\n");
        return 2;
    }
    check(plugin_open(&data_list, words[2], &data) == HYSGD_OK, hysgd_error_message());
    check(data_ops(&data)->init(data.self, 1) == HYSGD_OK, hysgd_error_message());
    const struct ratings_split *split = data_ratings(&data);
    check(split != NULL, "the data are no ratings");
    write_part(words[1], "training.txt", &split->train);
    write_part(words[1], "validation.txt", &split->validation);
    write_part(words[1], "test.txt", &split->test);
    printf("{\"training\": %" PRIu64 ", \"validation\": %" PRIu64 ", \"test\": %" PRIu64, split->train.count,
           split->validation.count, split->test.count);
    if (isfinite(split->oracle))
        printf(", \"oracle\": %.6f", split->oracle);
    printf("}\n");
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
    return 0;
}
