/* SPDX-License-Identifier: Apache-2.0 */
/* Random streams from Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011). The seed is the key; worker, purpose and index stand in the counter beside the number of the block, so
 * two streams never share a block. */
#include "base/random.h"

#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#define BLOCK_WORDS  4
#define CHUNK_WORDS  256 /* an even number of words, small enough for the first-level cache */
#define PURPOSE_BITS 8
#define TURN         6.283185307179586476925286766559

void random_init(struct random *random, uint64_t seed, uint32_t worker, enum random_purpose purpose,
                 uint64_t index) {
    *random = (struct random){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, worker << PURPOSE_BITS | (uint32_t)purpose, (uint32_t)index, (uint32_t)(index >> 32)},
        .used = BLOCK_WORDS,
    };
}

/* Writes the stream's next block and moves on to the one after. */
static inline void next_block(struct random *random, uint32_t words_out[BLOCK_WORDS]) {
    philox4x32_ctr_t counter;
    philox4x32_key_t key;
    memcpy(counter.v, random->counter, sizeof counter.v);
    memcpy(key.v, random->key, sizeof key.v);
    philox4x32_ctr_t block = philox4x32(counter, key);
    memcpy(words_out, block.v, sizeof block.v);
    random->counter[0]++;
}

uint32_t random_bits(struct random *random) {
    if (random->used == BLOCK_WORDS) {
        next_block(random, random->block);
        random->used = 0;
    }
    return random->block[random->used++];
}

static uint64_t random_bits_64(struct random *random) {
    uint64_t low = random_bits(random);
    return low | (uint64_t)random_bits(random) << 32;
}

double random_uniform(struct random *random) {
    /* The half keeps 0 and 1 out; with 52 bits before it the sum is exact. */
    return ((double)(random_bits_64(random) >> 12) + 0.5) * 0x1p-52;
}

double random_normal(struct random *random) {
    double radius = sqrt(-2.0 * log(random_uniform(random)));
    return radius * cos(TURN * random_uniform(random));
}

uint64_t random_below(struct random *random, uint64_t bound) {
    if (bound > UINT32_MAX) {
        uint64_t excess = -bound % bound; /* 2^64 mod bound: values below it would favour some results */
        uint64_t bits;
        do
            bits = random_bits_64(random);
        while (bits < excess);
        return bits % bound;
    }
    /* Lemire, "Fast random integer generation in an interval", 2019: mostly without a division. */
    uint64_t product = random_bits(random) * bound;
    if ((uint32_t)product < bound) {
        uint32_t excess = -(uint32_t)bound % (uint32_t)bound;
        while ((uint32_t)product < excess)
            product = random_bits(random) * bound;
    }
    return product >> 32;
}

/* The next `count` words, the same as `count` calls of random_bits. */
static void fill_bits(struct random *random, uint32_t *words, size_t count) {
    size_t i = 0;
    while (i < count && random->used < BLOCK_WORDS)
        words[i++] = random->block[random->used++];
    for (; i + BLOCK_WORDS <= count; i += BLOCK_WORDS)
        next_block(random, words + i);
    while (i < count)
        words[i++] = random_bits(random);
}

void random_fill_uniform(struct random *random, float *values, size_t count) {
    uint32_t words[CHUNK_WORDS];
    for (size_t first = 0; first < count; first += CHUNK_WORDS) {
        size_t length = count - first < CHUNK_WORDS ? count - first : CHUNK_WORDS;
        fill_bits(random, words, length);
        for (size_t i = 0; i < length; i++)
            values[first + i] = (float)(words[i] >> 8) * 0x1p-24f;
    }
}

void random_fill_normal(struct random *random, float *values, size_t count) {
    uint32_t words[CHUNK_WORDS];
    for (size_t first = 0; first < count; first += CHUNK_WORDS) {
        size_t length = count - first < CHUNK_WORDS ? count - first : CHUNK_WORDS;
        size_t pairs = (length + 1) / 2;
        fill_bits(random, words, 2 * pairs);
        for (size_t i = 0; i < pairs; i++) {
            float uniform = ((float)words[2 * i] + 0.5f) * 0x1p-32f; /* in (0, 1], so the logarithm is finite */
            float radius = sqrtf(-2.0f * logf(uniform));
            float angle = (float)TURN * 0x1p-32f * (float)words[2 * i + 1];
            values[first + 2 * i] = radius * cosf(angle);
            if (2 * i + 1 < length)
                values[first + 2 * i + 1] = radius * sinf(angle);
        }
    }
}

void random_shuffle(struct random *random, uint64_t *values, uint64_t count) {
    for (uint64_t i = count; i > 1; i--) {
        uint64_t other = random_below(random, i);
        uint64_t value = values[i - 1];
        values[i - 1] = values[other];
        values[other] = value;
    }
}
