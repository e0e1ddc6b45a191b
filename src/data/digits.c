/* SPDX-License-Identifier: Apache-2.0 */
/* A generator of handwritten-like digits, 28 x 28 grey images of ten classes, so that everything can be tried with
 * nothing downloaded. A sample is a function of (seed, split, index) alone: a skeleton of strokes is placed by a
 * random affine map, bent by a smooth random field and drawn with a pen of random width. */
#include <math.h>

#include "base/random.h"
#include "base/status.h"
#include "data/digits_strokes.h"
#include "data/images.h"

#define SIDE    28
#define CLASSES 10
#define BOX     20.0F /* height of a digit of usual size, in pixels, as in MNIST */
#define WAVES   3     /* plane waves in each component of the bending field */
#define TURN    6.2831853F
/* Of the pixels of 60,000 samples with the usual noise, where 1 is white. */
#define MEAN      0.1297
#define DEVIATION 0.2578
/* Test samples are named by indices from here on, so that their streams are disjoint from those of training. */
#define FIRST_TEST_INDEX ((uint64_t)1 << 63)

struct digits {
    int64_t train, test;
    int64_t seed; /* 0: that of the run */
    double noise;
    struct images images;
};

/* A smooth displacement: each component, x and y, is a sum of plane waves. Sizes in pixels. */
struct field {
    float size[2][WAVES], phase[2][WAVES], along_x[2][WAVES], along_y[2][WAVES];
};

/* Everything that makes this hand and sheet differ from others. Lengths in pixels. */
struct hand {
    float xx, xy, yx, yy; /* the affine map from the unit box, with 0 in its middle, to pixels */
    float x, y;           /* where the centre goes */
    struct field field;
    float radius;          /* of the pen */
    float softness;        /* half the width of the edge of a stroke */
    float pressure, phase; /* relative change of the radius along the path, a sine */
    float ink;             /* 0 to 1 */
};

static float between(struct random *random, float least, float most) {
    return least + (most - least) * (float)random_uniform(random);
}

static void draw_field(struct field *field, struct random *random) {
    for (int axis = 0; axis < 2; axis++) {
        for (int i = 0; i < WAVES; i++) {
            float angle = between(random, 0, TURN);
            float frequency = TURN / between(random, 14, 40);
            field->size[axis][i] = between(random, -1.1F, 1.1F);
            field->phase[axis][i] = between(random, 0, TURN);
            field->along_x[axis][i] = frequency * cosf(angle);
            field->along_y[axis][i] = frequency * sinf(angle);
        }
    }
}

static float displacement(const struct field *field, int axis, float x, float y) {
    float sum = 0;
    for (int i = 0; i < WAVES; i++)
        sum += field->size[axis][i] *
               sinf(field->along_x[axis][i] * x + field->along_y[axis][i] * y + field->phase[axis][i]);
    return sum;
}

static void draw_hand(struct hand *hand, struct random *random) {
    float angle = between(random, -0.22F, 0.22F);
    float slant = between(random, -0.35F, 0.25F);
    float height = BOX * between(random, 0.78F, 1.08F);
    float width = BOX * between(random, 0.6F, 1.05F);
    float cosine = cosf(angle), sine = sinf(angle);
    hand->xx = width * cosine;
    hand->xy = height * (slant * cosine - sine);
    hand->yx = width * sine;
    hand->yy = height * (slant * sine + cosine);
    hand->x = (SIDE - 1) / 2.0F + between(random, -2.2F, 2.2F);
    hand->y = (SIDE - 1) / 2.0F + between(random, -2.2F, 2.2F);
    draw_field(&hand->field, random);
    hand->radius = between(random, 0.8F, 1.7F);
    hand->softness = between(random, 0.5F, 1.0F);
    hand->pressure = between(random, 0, 0.3F);
    hand->phase = between(random, 0, TURN);
    hand->ink = between(random, 0.75F, 1.0F);
}

static void place(const struct hand *hand, struct digits_point *points, int count) {
    for (int i = 0; i < count; i++) {
        float u = points[i].x - 0.5F, v = points[i].y - 0.5F;
        float x = hand->x + hand->xx * u + hand->xy * v;
        float y = hand->y + hand->yx * u + hand->yy * v;
        points[i].x = x + displacement(&hand->field, 0, x, y);
        points[i].y = y + displacement(&hand->field, 1, x, y);
    }
}

static float clamp(float value, float least, float most) {
    return value < least ? least : value > most ? most : value;
}

/* The first row or column of pixels that is not before the place, within the image. */
static int pixel_after(float place) {
    return (int)ceilf(clamp(place, 0, SIDE));
}

/* Darkens the pixels near the line from a to b; overlapping lines do not add up. */
static void draw_line(float *image, const struct digits_point *a, const struct digits_point *b, float radius,
                      float softness) {
    float reach = radius + softness;
    int first_x = pixel_after(fminf(a->x, b->x) - reach), end_x = pixel_after(fmaxf(a->x, b->x) + reach);
    int first_y = pixel_after(fminf(a->y, b->y) - reach), end_y = pixel_after(fmaxf(a->y, b->y) + reach);
    float dx = b->x - a->x, dy = b->y - a->y;
    float inverse = 1 / (dx * dx + dy * dy + 1e-6F);
    for (int y = first_y; y < end_y; y++) {
        for (int x = first_x; x < end_x; x++) {
            float px = (float)x - a->x, py = (float)y - a->y;
            float t = clamp((px * dx + py * dy) * inverse, 0, 1);
            float ex = px - t * dx, ey = py - t * dy;
            float dark = clamp((reach - sqrtf(ex * ex + ey * ey)) / (2 * softness), 0, 1);
            float *pixel = &image[y * SIDE + x];
            *pixel = dark > *pixel ? dark : *pixel;
        }
    }
}

static void draw_path(float *image, const struct hand *hand, const struct digits_point *points, int count) {
    for (int i = 1; i < count; i++) {
        if (points[i].is_set_down)
            continue;
        float radius = hand->radius * (1 + hand->pressure * sinf(0.15F * (float)i + hand->phase));
        draw_line(image, &points[i - 1], &points[i], radius, hand->softness);
    }
}

/* Adds noise, of triangular distribution since that takes few random bits, and rounds to bytes. */
static void expose(const float *image, float ink, double noise, struct random *random, uint8_t *pixels_out) {
    float size = (float)(noise * 255 * sqrt(6.0) / 65535);
    for (int i = 0; i < SIDE * SIDE; i++) {
        uint32_t bits = random_bits(random);
        int32_t sum = (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16) - 65535;
        pixels_out[i] = (uint8_t)(clamp(255 * ink * image[i] + size * (float)sum, 0, 255) + 0.5F);
    }
}

static void draw_sample(uint64_t seed, uint64_t index, double noise, uint8_t *pixels_out, uint8_t *label_out) {
    struct random random;
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_DATA, index);
    struct digits_point points[DIGITS_MOST_POINTS];
    struct hand hand;
    float image[SIDE * SIDE] = {0};
    int digit = (int)random_below(&random, CLASSES);
    int count = digits_trace(digit, &random, points);
    draw_hand(&hand, &random);
    place(&hand, points, count);
    draw_path(image, &hand, points, count);
    expose(image, hand.ink, noise, &random, pixels_out);
    *label_out = (uint8_t)digit;
}

static enum hysgd_status draw_split(struct digits *digits, enum hysgd_split split, uint64_t seed) {
    uint64_t count = (uint64_t)(split == HYSGD_TRAIN ? digits->train : digits->test);
    uint64_t first = split == HYSGD_TRAIN ? 0 : FIRST_TEST_INDEX;
    uint8_t *pixels, *labels;
    HYSGD_TRY(images_alloc_split(&digits->images, split, count, &pixels, &labels));
    for (uint64_t i = 0; i < count; i++)
        draw_sample(seed, first + i, digits->noise, pixels + i * SIDE * SIDE, labels + i);
    return HYSGD_OK;
}

static enum hysgd_status digits_init(void *self, uint64_t seed) {
    struct digits *digits = self;
    if (digits->seed)
        seed = (uint64_t)digits->seed;
    images_set_shape(&digits->images, 1, SIDE, SIDE, CLASSES);
    images_standardise(&digits->images, &(double){MEAN}, &(double){DEVIATION});
    HYSGD_TRY(draw_split(digits, HYSGD_TRAIN, seed));
    return draw_split(digits, HYSGD_TEST, seed);
}

static void digits_fini(void *self) {
    struct digits *digits = self;
    images_fini(&digits->images);
}

static void digits_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct digits *digits = self;
    images_describe(&digits->images, shape_out);
}

static void digits_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                          float *inputs, int32_t *labels, float *targets) {
    const struct digits *digits = self;
    (void)targets;
    images_gather(&digits->images, split, indices, count, inputs, labels);
}

static const struct hysgd_option options[] = {
    {"train", HYSGD_OPTION_INT, offsetof(struct digits, train), "20k", 1, 1e9, NULL, "training samples"},
    {"test", HYSGD_OPTION_INT, offsetof(struct digits, test), "4k", 0, 1e9, NULL, "test samples"},
    {"noise", HYSGD_OPTION_REAL, offsetof(struct digits, noise), "0.04", 0, 1, NULL,
     "standard deviation of the noise of a pixel, in parts of full ink"},
    {"seed", HYSGD_OPTION_INT, offsetof(struct digits, seed), "0", 0, 9007199254740992, NULL,
     "names the samples, for runs that differ in all but them; 0: the seed of the run"},
    {0}};

const struct hysgd_data_ops data_digits = {
    .about = {.name = "digits",
              .summary = "generated handwritten-like digits, standardised with mean 0.1297 and deviation 0.2578",
              .size = sizeof(struct digits),
              .options = options},
    .init = digits_init,
    .fini = digits_fini,
    .describe = digits_describe,
    .gather = digits_gather,
};
