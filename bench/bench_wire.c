/* SPDX-License-Identifier: Apache-2.0 */
/* What gradients lose on the wire, and what rounding and encoding them costs. The first table compares rounding to
 * nearest with stochastic rounding, each with and without error feedback, in bytes with the scales of
 * linalg/wire.h: a gradient that does not change is sent over and over; `at once` is the error of one as it
 * arrives, `in the mean` that of the mean over all. The second has times, beside those of copying the vector. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/random.h"
#include "linalg/vector.h"
#include "linalg/wire.h"

/* ---- What is lost ---- */

#define COUNT 16384

static float gradient[COUNT], sent[COUNT], residual[COUNT];
static double mean[COUNT];

/* Oracle for what the library does not have: up or down by chance, right in expectation. */
static void round_by_chance(float *values, struct random *random) {
    for (size_t block = 0; block < COUNT; block += WIRE_BLOCK) {
        float most = 0;
        for (size_t i = block; i < block + WIRE_BLOCK; i++)
            most = fmaxf(most, fabsf(values[i]));
        double scale = (double)most / 127;
        for (size_t i = block; i < block + WIRE_BLOCK; i++)
            values[i] = (float)(floor((double)values[i] / scale + random_uniform(random)) * scale);
    }
}

/* `heavy`: one element of each block is so many times as large as the others. */
static void make_gradient(double heavy) {
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    random_fill_normal(&random, gradient, COUNT);
    for (size_t i = 0; i < COUNT; i += WIRE_BLOCK)
        gradient[i] = (float)heavy;
}

static void send_once(bool by_chance, bool has_feedback, struct random *random) {
    const struct wire_format format = {WIRE_INT8, false, SIZE_MAX};
    for (size_t i = 0; i < COUNT; i++)
        sent[i] = gradient[i] + (has_feedback ? residual[i] : 0);
    memcpy(residual, sent, sizeof residual);
    if (by_chance)
        round_by_chance(sent, random);
    else
        wire_round(&format, 0, COUNT, sent, NULL, NULL);
    for (size_t i = 0; i < COUNT; i++)
        residual[i] -= sent[i];
}

/* Relative errors after `times` times. */
static void measure_loss(bool by_chance, bool has_feedback, int times, double *once_out, double *mean_out) {
    struct random random;
    double once = 0, rest = 0, norm = vector_norm_squared(gradient, COUNT);
    random_init(&random, 2, 0, RANDOM_TEST, 1);
    memset(residual, 0, sizeof residual);
    memset(mean, 0, sizeof mean);
    for (int t = 0; t < times; t++) {
        send_once(by_chance, has_feedback, &random);
        once += vector_distance_squared(sent, gradient, COUNT) / times;
        for (size_t i = 0; i < COUNT; i++)
            mean[i] += (double)sent[i] / times;
    }
    for (size_t i = 0; i < COUNT; i++)
        rest += (mean[i] - (double)gradient[i]) * (mean[i] - (double)gradient[i]);
    *once_out = sqrt(once / norm);
    *mean_out = sqrt(rest / norm);
}

static void print_losses(void) {
    static const double heavy[] = {3, 100, 1000};
    printf("%-12s %-10s %10s %12s %20s\n", "rounding", "feedback", "largest", "at once", "in the mean of 100");
    for (int h = 0; h < 3; h++)
        for (int way = 0; way < 4; way++) {
            double once, late;
            make_gradient(heavy[h]);
            measure_loss(way % 2, way / 2, 100, &once, &late);
            printf("%-12s %-10s %10g %12.2e %20.2e\n", way % 2 ? "stochastic" : "nearest", way / 2 ? "yes" : "no",
                   heavy[h], once, late);
        }
}

/* ---- What it costs ---- */

#define LARGE  ((size_t)4 << 20)
#define ROUNDS 15

struct vectors {
    float *gradient, *values, *kept, *left;
    uint8_t *bytes;
};

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

enum step { COPY, ROUND, ENCODE, DECODE, STEP_COUNT };

static void take_step(enum step step, const struct wire_format *format, bool has_feedback,
                      const struct vectors *vectors, size_t *size) {
    const float *kept = has_feedback ? vectors->kept : NULL;
    switch (step) {
    case COPY:
        memcpy(vectors->values, vectors->gradient, LARGE * sizeof(float));
        break;
    case ROUND:
        wire_round(format, 0, LARGE, vectors->values, kept, has_feedback ? vectors->left : NULL);
        break;
    case ENCODE:
        *size = wire_encode(format, 0, LARGE, vectors->values, vectors->bytes);
        break;
    default:
        if (wire_decode(format, 0, LARGE, vectors->bytes, *size, vectors->values) != HYSGD_OK)
            exit(1);
    }
}

static void print_cost(const char *name, const struct wire_format *format, bool has_feedback,
                       const struct vectors *vectors) {
    double seconds[STEP_COUNT][ROUNDS];
    size_t size = 0;
    for (int round = 0; round < ROUNDS; round++)
        for (int step = COPY; step < STEP_COUNT; step++) {
            double begun = machine_seconds();
            take_step((enum step)step, format, has_feedback, vectors, &size);
            seconds[step][round] = machine_seconds() - begun;
        }
    printf("%-24s %12.3f", name, (double)size / (double)LARGE);
    for (int step = COPY; step < STEP_COUNT; step++) {
        qsort(seconds[step], ROUNDS, sizeof(double), compare);
        printf(" %9.2f", seconds[step][ROUNDS / 2] * 1e9 / (double)LARGE);
    }
    printf("\n");
}

static void print_costs(void) {
    struct vectors vectors = {
        .gradient = aligned_alloc(64, LARGE * sizeof(float)),
        .values = aligned_alloc(64, LARGE * sizeof(float)),
        .kept = aligned_alloc(64, LARGE * sizeof(float)),
        .left = aligned_alloc(64, LARGE * sizeof(float)),
        .bytes = aligned_alloc(64, LARGE * 5),
    };
    if (!vectors.gradient || !vectors.values || !vectors.kept || !vectors.left || !vectors.bytes)
        exit(1);
    struct random random;
    random_init(&random, 3, 0, RANDOM_TEST, 2);
    random_fill_normal(&random, vectors.gradient, LARGE);
    memset(vectors.kept, 0, LARGE * sizeof(float));
    memset(vectors.left, 0, LARGE * sizeof(float));
    printf("\n%-24s %12s %9s %9s %9s %9s   (ns per element)\n", "format", "bytes/elem.", "copy", "round", "encode",
           "decode");
    print_cost("fp32", &(struct wire_format){WIRE_FP32, false, SIZE_MAX}, false, &vectors);
    print_cost("fp32,sparse=yes", &(struct wire_format){WIRE_FP32, true, SIZE_MAX}, false, &vectors);
    print_cost("bf16", &(struct wire_format){WIRE_BF16, false, SIZE_MAX}, false, &vectors);
    print_cost("bf16,feedback=yes", &(struct wire_format){WIRE_BF16, false, SIZE_MAX}, true, &vectors);
    print_cost("int8,feedback=no", &(struct wire_format){WIRE_INT8, false, SIZE_MAX}, false, &vectors);
    print_cost("int8", &(struct wire_format){WIRE_INT8, false, SIZE_MAX}, true, &vectors);
    for (size_t i = 0; i < LARGE; i++) /* rows of 16, one in a hundred */
        vectors.gradient[i] = i / 16 % 100 == 7 ? vectors.gradient[i] : 0;
    print_cost("fp32,sparse=yes, 1 %", &(struct wire_format){WIRE_FP32, true, SIZE_MAX}, false, &vectors);
    print_cost("int8,sparse=yes, 1 %", &(struct wire_format){WIRE_INT8, true, SIZE_MAX}, true, &vectors);
    free(vectors.gradient), free(vectors.values), free(vectors.kept), free(vectors.left), free(vectors.bytes);
}

int main(void) {
    print_losses();
    print_costs();
    return 0;
}
