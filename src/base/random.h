/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random streams (Philox 4x32-10 of the Random123 library): a stream is named by (seed, worker,
 * purpose, index) and is the same whatever else was drawn elsewhere. */
#ifndef HYSGD_BASE_RANDOM_H
#define HYSGD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* What a stream is for. New purposes go to the end: their numbers are part of every recorded result. */
enum random_purpose {
    RANDOM_START,     /* initial parameters */
    RANDOM_SHUFFLE,   /* order of samples */
    RANDOM_COMPUTE,   /* modelled compute times */
    RANDOM_DELAY,     /* modelled or injected network delays */
    RANDOM_SERVICE,   /* modelled service times of the server */
    RANDOM_NOISE,     /* gradient noise of analytic models */
    RANDOM_DROPOUT,   /* dropout masks */
    RANDOM_DATA,      /* generated data */
    RANDOM_PARTITION, /* which worker has which sample */
    RANDOM_TEST,      /* tests */
    RANDOM_BOOTSTRAP, /* resampling of measured times */
    RANDOM_NEGATIVE,  /* unseen pairs for one-class factorization */
    RANDOM_SPLIT      /* which sample is for the test, or for validation */
};

/* The worker number of streams that belong to no worker. Workers count from 0 to 2^24 - 2. */
#define RANDOM_NO_WORKER UINT32_MAX

struct random {
    uint32_t key[2];     /* from the seed */
    uint32_t counter[4]; /* block, worker and purpose, index (two words) */
    uint32_t block[4];   /* the present 128 bits */
    unsigned used;       /* words of the block that are used up */
};

/* Starts the stream (seed, worker, purpose, index) at its beginning. Never fails, allocates nothing. A stream has
 * 2^34 words of random bits and then begins again. */
void random_init(struct random *random, uint64_t seed, uint32_t worker, enum random_purpose purpose,
                 uint64_t index);

uint32_t random_bits(struct random *random);
double random_uniform(struct random *random);                 /* odd multiples of 2^-53: in (0, 1), never 0 or 1 */
double random_normal(struct random *random);                  /* mean 0, variance 1 (Box and Muller) */
uint64_t random_below(struct random *random, uint64_t bound); /* 0 to bound - 1 without bias; bound > 0 */

/* Fills [count] floats with normal or uniform [0, 1) values. A uniform value takes one word of random bits (24 bits
 * of it count), two normal values take two; so the values differ from those of the functions above, and filling in
 * pieces, for normal values of even length, gives the same as filling at once. Normal values are below 6.8. */
void random_fill_normal(struct random *random, float *values, size_t count);
void random_fill_uniform(struct random *random, float *values, size_t count);

/* Puts [count] values into a uniformly random order (Fisher and Yates). */
void random_shuffle(struct random *random, uint64_t *values, uint64_t count);

#endif
