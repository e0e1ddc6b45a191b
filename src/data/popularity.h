/* SPDX-License-Identifier: Apache-2.0 */
/* Lognormal popularity: how many ratings each of some users gives, and which of some items is drawn. */
#ifndef HYSGD_DATA_POPULARITY_H
#define HYSGD_DATA_POPULARITY_H

#include "base/random.h"
#include "base/status.h"

/* Draws numbers below `count` with fixed probabilities in constant time (the alias method of Walker). */
struct popularity {
    uint32_t count;
    uint32_t *limits;  /* [count] a place gives its own number for words below this, */
    uint32_t *aliases; /* [count] else this one */
};

/* Probabilities in proportion to exp(skew * normal). HYSGD_MEMORY; safe to fini then. */
HYSGD_MUST_CHECK enum hysgd_status popularity_init(struct popularity *popularity, struct random *random,
                                                   double skew, uint32_t count);
void popularity_fini(struct popularity *popularity);

static inline uint32_t popularity_draw(const struct popularity *popularity, struct random *random) {
    uint32_t place = (uint32_t)((uint64_t)random_bits(random) * popularity->count >> 32);
    return random_bits(random) < popularity->limits[place] ? place : popularity->aliases[place];
}

/* Shares `total` among `count` in about such proportions: each gets at most `most`, and at least 1 where there are
 * enough. firsts_out [count + 1] are the sums of the shares before. total <= count * most. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status popularity_share(struct random *random, double skew, uint64_t total,
                                                    uint64_t most, uint32_t count, uint64_t *firsts_out);

#endif
