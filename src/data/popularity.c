/* SPDX-License-Identifier: Apache-2.0 */
/* Lognormal shares and draws. */
#include "data/popularity.h"

#include <math.h>

#include "base/memory.h"

/* Weights [count] and their sum. */
static enum hysgd_status draw_weights(struct random *random, double skew, uint32_t count, double **weights_out,
                                      double *sum_out) {
    double *weights, sum = 0;
    HYSGD_TRY(memory_alloc(count, sizeof *weights, &weights));
    for (uint32_t i = 0; i < count; i++)
        sum += weights[i] = exp(skew * random_normal(random));
    *weights_out = weights;
    *sum_out = sum;
    return HYSGD_OK;
}

/* Gives each place the rest of its unit from one that has too much. `order` [count] holds the places with too
 * little from the front and those with too much from the back. */
static void fill_aliases(struct popularity *popularity, double *weights, double mean, uint32_t *order) {
    uint32_t little = 0, much = popularity->count;
    for (uint32_t i = 0; i < popularity->count; i++) {
        weights[i] /= mean;
        popularity->limits[i] = UINT32_MAX;
        popularity->aliases[i] = i;
        order[weights[i] < 1 ? little++ : --much] = i;
    }
    for (uint32_t next = 0; next < little && much < popularity->count; next++) {
        uint32_t poor = order[next], rich = order[much];
        popularity->limits[poor] = (uint32_t)(weights[poor] * 0x1p32);
        popularity->aliases[poor] = rich;
        weights[rich] -= 1 - weights[poor];
        if (weights[rich] < 1) {
            /* It joins those with too little; `much` passes its place, so that `little` has room for it. */
            much++;
            order[little++] = rich;
        }
    }
}

enum hysgd_status popularity_init(struct popularity *popularity, struct random *random, double skew,
                                  uint32_t count) {
    double *weights, sum;
    uint32_t *order;
    *popularity = (struct popularity){.count = count};
    HYSGD_TRY(memory_alloc(count, sizeof *popularity->limits, &popularity->limits));
    HYSGD_TRY(memory_alloc(count, sizeof *popularity->aliases, &popularity->aliases));
    HYSGD_TRY(draw_weights(random, skew, count, &weights, &sum));
    enum hysgd_status status = memory_alloc(count, sizeof *order, &order);
    if (status == HYSGD_OK)
        fill_aliases(popularity, weights, sum / count, order);
    if (status == HYSGD_OK)
        memory_free(order);
    memory_free(weights);
    return status;
}

void popularity_fini(struct popularity *popularity) {
    memory_free(popularity->limits);
    memory_free(popularity->aliases);
    *popularity = (struct popularity){0};
}

static uint64_t between(double value, uint64_t least, uint64_t most) {
    return value < (double)least ? least : value > (double)most ? most : (uint64_t)value;
}

/* Rounds of adding or taking the same from all who may still change, until the sum is the total. */
static void settle(uint64_t *shares, uint32_t count, uint64_t sum, uint64_t total, uint64_t least, uint64_t most) {
    while (sum != total) {
        uint64_t gap = sum < total ? total - sum : sum - total, part = gap / count + 1;
        for (uint32_t i = 0; i < count && sum != total; i++) {
            gap = sum < total ? total - sum : sum - total;
            uint64_t room = sum < total ? most - shares[i] : shares[i] - least;
            uint64_t change = room < part ? room : part;
            change = change < gap ? change : gap;
            shares[i] = sum < total ? shares[i] + change : shares[i] - change;
            sum = sum < total ? sum + change : sum - change;
        }
    }
}

enum hysgd_status popularity_share(struct random *random, double skew, uint64_t total, uint64_t most,
                                   uint32_t count, uint64_t *firsts_out) {
    double *weights, weight_sum;
    uint64_t sum = 0, least = total >= count, first = 0;
    HYSGD_TRY(draw_weights(random, skew, count, &weights, &weight_sum));
    for (uint32_t i = 0; i < count; i++)
        sum += firsts_out[i] = between(weights[i] / weight_sum * (double)total, least, most);
    memory_free(weights);
    settle(firsts_out, count, sum, total, least, most);
    for (uint32_t i = 0; i <= count; i++) {
        uint64_t share = i < count ? firsts_out[i] : 0;
        firsts_out[i] = first;
        first += share;
    }
    return HYSGD_OK;
}
