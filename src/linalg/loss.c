/* SPDX-License-Identifier: Apache-2.0 */
/* Loss functions on rows of outputs. The exponential is a polynomial in plain arithmetic, so that rows are
 * vectorized by the compiler and give the same bits on every processor. */
#include "linalg/loss.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "linalg/vector.h"

/* exp(x) for x <= 0 or NaN, relative error below 2e-7: x = k ln 2 + r with |r| <= ln 2 / 2, a polynomial in r
 * (Cephes' expf), then k is added to the exponent. ln 2 is split in two so that r is exact to the last bit. Below
 * the smallest normal result it is 0. */
static inline float exponential(float x) {
    const float clamped = x < -87.0f ? -87.0f : x;
    const float shifted = clamped * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the addition rounds to an integer */
    const float k = shifted - 12582912.0f;
    const float r = (clamped - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits, exponent;
    memcpy(&bits, &p, sizeof bits);
    memcpy(&exponent, &shifted, sizeof exponent);
    bits += exponent << 23; /* the low bits of `shifted` are k in two's complement */
    memcpy(&p, &bits, sizeof p);
    return x < -87.0f ? 0.0f : x == x ? p : x;
}

static inline float row_largest(const float *row, size_t classes) {
    float largest = row[0];
    for (size_t i = 1; i < classes; i++)
        largest = row[i] > largest ? row[i] : largest;
    return largest;
}

VECTOR_CODE static void exponentials(const float *row, float largest, size_t classes, float *out) {
    for (size_t i = 0; i < classes; i++)
        out[i] = exponential(row[i] - largest);
}

/* Independent sums, added pairwise at the end, so that the order is fixed by the length. */
#define SUM_LANES 16

static float row_sum(const float *row, size_t classes) {
    float lanes[SUM_LANES] = {0};
    size_t whole = classes - classes % SUM_LANES;
    for (size_t i = 0; i < whole; i += SUM_LANES)
        for (size_t lane = 0; lane < SUM_LANES; lane++)
            lanes[lane] += row[i + lane];
    for (size_t i = whole; i < classes; i++)
        lanes[i - whole] += row[i];
    for (size_t width = SUM_LANES / 2; width > 0; width /= 2)
        for (size_t lane = 0; lane < width; lane++)
            lanes[lane] += lanes[lane + width];
    return lanes[0];
}

#define ROW_BLOCK 256

/* The sum of exp(x - largest) when the exponentials themselves are not wanted. */
static float sum_of_exponentials(const float *row, float largest, size_t classes) {
    float block[ROW_BLOCK], sum = 0;
    for (size_t first = 0; first < classes; first += ROW_BLOCK) {
        size_t length = classes - first < ROW_BLOCK ? classes - first : ROW_BLOCK;
        exponentials(row + first, largest, length, block);
        sum += row_sum(block, length);
    }
    return sum;
}

VECTOR_CODE static void scale_row(float *row, size_t classes, float factor) {
    for (size_t i = 0; i < classes; i++)
        row[i] *= factor;
}

double loss_softmax(const float *logits, const int32_t *labels, size_t count, size_t classes, float scale,
                    float *gradient_out) {
    double total = 0;
    for (size_t n = 0; n < count; n++) {
        const float *row = logits + n * classes;
        const float largest = row_largest(row, classes), of_label = row[labels[n]];
        float sum;
        if (gradient_out) {
            float *gradient = gradient_out + n * classes;
            exponentials(row, largest, classes, gradient);
            sum = row_sum(gradient, classes);
            scale_row(gradient, classes, scale / sum);
            gradient[labels[n]] -= scale;
        } else {
            sum = sum_of_exponentials(row, largest, classes);
        }
        total += log((double)sum) - ((double)of_label - (double)largest);
    }
    return total;
}

double loss_squared(const float *outputs, const float *targets, size_t count, size_t width, float scale,
                    float *gradient_out) {
    double total = 0;
    for (size_t i = 0; i < count * width; i++) {
        double difference = (double)outputs[i] - (double)targets[i];
        total += difference * difference;
        if (gradient_out)
            gradient_out[i] = (outputs[i] - targets[i]) * scale;
    }
    return total / 2;
}

void loss_probabilities(float *logits, size_t count, size_t classes) {
    for (size_t n = 0; n < count; n++) {
        float *row = logits + n * classes;
        exponentials(row, row_largest(row, classes), classes, row);
        scale_row(row, classes, 1 / row_sum(row, classes));
    }
}

uint64_t loss_count_correct(const float *outputs, const int32_t *labels, size_t count, size_t classes) {
    uint64_t correct = 0;
    for (size_t n = 0; n < count; n++) {
        const float *row = outputs + n * classes;
        const float of_label = row[labels[n]];
        size_t first = 0; /* of the values that no other exceeds, the first wins */
        while (first < classes && !(row[first] >= of_label))
            first++;
        bool is_right = first == (size_t)labels[n];
        for (size_t i = 0; i < classes; i++)
            is_right = is_right && row[i] <= of_label;
        correct += is_right;
    }
    return correct;
}

size_t loss_find_bad_label(const int32_t *labels, size_t count, size_t classes) {
    for (size_t n = 0; n < count; n++)
        if (labels[n] < 0 || (size_t)labels[n] >= classes)
            return n;
    return count;
}
