/* SPDX-License-Identifier: Apache-2.0 */
/* What is done with ratings in memory, wherever they are from. */
#include "data/ratings.h"

#include "base/memory.h"

struct ratings_part ratings_part(const struct ratings *ratings, uint64_t first, uint64_t end) {
    struct ratings_part part = {.entries = ratings->entries + first, .count = end - first};
    double sum = 0;
    for (uint64_t i = 0; i < part.count; i++) {
        float value = part.entries[i].value;
        sum += value;
        part.least = i == 0 || value < part.least ? value : part.least;
        part.most = i == 0 || value > part.most ? value : part.most;
    }
    part.mean = part.count > 0 ? sum / (double)part.count : 0;
    return part;
}

void ratings_fini(struct ratings *ratings) {
    memory_free(ratings->entries);
    memory_free(ratings->times);
    ids_fini(&ratings->rows);
    ids_fini(&ratings->columns);
    *ratings = (struct ratings){0};
}
