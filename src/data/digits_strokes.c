/* SPDX-License-Identifier: Apache-2.0 */
/* The skeletons of the digits as knots in percent of the unit box, joined by Catmull-Rom splines that break at
 * corners. */
#include "data/digits_strokes.h"

/* A knot: the pen is set down, passes smoothly, or turns a corner. END closes a skeleton. */
enum kind { END, SET_DOWN, SMOOTH, CORNER };

struct knot {
    signed char x, y;
    signed char kind;
};

#define MOST_KNOTS     16
#define MOST_WAYS      4
#define STEPS          6      /* lines between two knots */
#define KNOT_DEVIATION 0.025F /* how far hands differ, in parts of the box */

/* One letter a knot, so that a skeleton reads as a path: set Down, Smooth, Corner. */
#define D(x, y)                                                                                                    \
    { x, y, SET_DOWN }
#define S(x, y)                                                                                                    \
    { x, y, SMOOTH }
#define C(x, y)                                                                                                    \
    { x, y, CORNER }
static const struct knot skeletons[10][MOST_WAYS][MOST_KNOTS] = {
    {
        {D(55, 3), S(28, 12), S(17, 50), S(28, 88), S(52, 97), S(76, 86), S(85, 50), S(74, 12), S(48, 4)},
        {D(66, 8), S(42, 4), S(20, 28), S(16, 62), S(34, 94), S(62, 92), S(82, 62), S(80, 26), S(60, 6), S(44, 12)},
        {D(40, 5), S(22, 24), S(22, 74), S(48, 97), S(74, 76), S(76, 26), S(56, 4), S(36, 7)},
    },
    {
        {D(52, 2), S(50, 50), S(48, 98)},
        {D(38, 20), C(54, 3), S(53, 50), S(52, 98)},
        {D(37, 19), C(52, 3), S(52, 50), S(52, 96), D(28, 97), S(76, 96)},
    },
    {
        {D(18, 26), S(32, 6), S(58, 3), S(76, 22), S(66, 48), S(40, 74), C(16, 95), S(50, 94), S(86, 93)},
        {D(20, 24), S(42, 4), S(70, 10), S(72, 36), S(48, 70), S(26, 92), S(14, 84), S(30, 76), S(56, 90),
         S(88, 92)},
        {D(20, 16), S(48, 3), S(74, 16), S(74, 40), S(50, 68), C(18, 95), S(40, 92), S(62, 97), S(86, 90)},
    },
    {
        {D(20, 12), S(48, 2), S(74, 16), S(68, 38), C(42, 48), S(72, 56), S(82, 76), S(58, 97), S(18, 88)},
        {D(20, 5), C(77, 4), C(46, 40), S(74, 50), S(82, 74), S(56, 97), S(18, 90)},
        {D(22, 16), S(50, 3), S(73, 20), S(60, 42), S(40, 50), S(60, 52), S(78, 72), S(56, 96), S(20, 88)},
    },
    {
        {D(28, 5), S(22, 30), C(14, 60), S(50, 60), S(88, 58), D(68, 20), S(65, 60), S(62, 98)},
        {D(64, 98), S(65, 50), C(67, 2), S(40, 36), C(11, 68), S(50, 68), S(90, 66)},
        {D(20, 6), S(16, 34), S(28, 54), S(54, 54), S(76, 48), D(80, 3), S(75, 50), S(70, 98)},
    },
    {
        {D(28, 6), C(24, 44), S(48, 38), S(78, 52), S(80, 76), S(56, 97), S(18, 90), D(27, 6), S(54, 5), S(84, 4)},
        {D(82, 5), S(54, 5), C(28, 7), C(24, 46), S(52, 38), S(80, 56), S(74, 86), S(46, 97), S(16, 86)},
        {D(84, 6), S(58, 7), C(34, 4), C(26, 40), S(56, 44), S(76, 64), S(66, 90), S(40, 97), S(16, 92)},
    },
    {
        {D(70, 4), S(42, 20), S(22, 50), S(20, 80), S(46, 97), S(76, 84), S(74, 60), S(50, 52), S(24, 68)},
        {D(56, 2), S(34, 32), S(21, 66), S(34, 94), S(62, 94), S(75, 76), S(58, 58), S(34, 66), S(24, 80)},
        {D(78, 12), S(56, 3), S(30, 22), S(18, 62), S(32, 94), S(66, 94), S(80, 70), S(56, 50), S(22, 62)},
    },
    {
        {D(16, 8), S(50, 7), C(82, 6), S(60, 46), S(42, 97)},
        {D(16, 8), S(50, 7), C(82, 6), S(60, 46), S(42, 97), D(34, 51), S(76, 49)},
        {D(16, 24), C(18, 6), S(50, 6), C(82, 5), S(58, 42), S(46, 97)},
        {D(14, 14), S(46, 5), S(82, 12), S(62, 46), S(50, 97)},
    },
    {
        {D(74, 14), S(48, 3), S(24, 18), S(36, 40), S(66, 58), S(80, 80), S(52, 97), S(20, 82), S(36, 56),
         S(64, 40), S(78, 20), S(70, 10)},
        {D(50, 47), S(26, 32), S(30, 9), S(52, 3), S(74, 14), S(72, 36), S(50, 47), S(22, 64), S(22, 86), S(50, 97),
         S(78, 86), S(78, 62), S(52, 48)},
        {D(50, 3), S(26, 18), S(34, 40), S(68, 60), S(76, 84), S(48, 97), S(22, 82), S(34, 58), S(68, 36),
         S(74, 14), S(48, 3)},
    },
    {
        {D(74, 26), S(56, 5), S(28, 12), S(22, 36), S(44, 50), S(68, 40), C(77, 16), S(74, 60), S(68, 98)},
        {D(76, 20), S(50, 3), S(24, 20), S(32, 46), S(60, 44), C(77, 14), S(78, 56), S(64, 90), S(28, 96)},
        {D(73, 38), S(46, 51), S(22, 36), S(34, 8), S(64, 6), S(77, 30), S(72, 64), S(56, 98)},
    },
};

#undef D
#undef S
#undef C

static int ways_of(int digit) {
    int ways = 1;
    while (ways < MOST_WAYS && skeletons[digit][ways][0].kind != END)
        ways++;
    return ways;
}

static int count_knots(const struct knot *knots) {
    int count = 0;
    while (count < MOST_KNOTS && knots[count].kind != END)
        count++;
    return count;
}

/* The Catmull-Rom spline from b to c, whose tangents come from the neighbours a and d. */
static float spline(float a, float b, float c, float d, float t) {
    return b + 0.5F * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/* Traces from knot i - 1 to knot i; at a corner or an end the knot is its own neighbour. */
static int trace_piece(const struct knot *knots, const struct digits_point *moved, int count, int i,
                       struct digits_point *points_out) {
    const struct digits_point *b = &moved[i - 1], *c = &moved[i];
    const struct digits_point *a = knots[i - 1].kind == SMOOTH ? b - 1 : b;
    const struct digits_point *d =
        knots[i].kind == SMOOTH && i + 1 < count && knots[i + 1].kind != SET_DOWN ? c + 1 : c;
    for (int step = 1; step <= STEPS; step++) {
        float t = (float)step / STEPS;
        points_out[step - 1] =
            (struct digits_point){spline(a->x, b->x, c->x, d->x, t), spline(a->y, b->y, c->y, d->y, t), false};
    }
    return STEPS;
}

int digits_trace(int digit, struct random *random, struct digits_point *points_out) {
    const struct knot *knots = skeletons[digit][random_below(random, (uint64_t)ways_of(digit))];
    int count = count_knots(knots);
    struct digits_point moved[MOST_KNOTS];
    for (int i = 0; i < count; i++) {
        moved[i].x = (float)knots[i].x / 100 + KNOT_DEVIATION * (float)random_normal(random);
        moved[i].y = (float)knots[i].y / 100 + KNOT_DEVIATION * (float)random_normal(random);
        moved[i].is_set_down = knots[i].kind == SET_DOWN;
    }
    int traced = 0;
    for (int i = 0; i < count; i++) {
        if (knots[i].kind == SET_DOWN)
            points_out[traced++] = moved[i];
        else
            traced += trace_piece(knots, moved, count, i, points_out + traced);
    }
    return traced;
}

_Static_assert(MOST_KNOTS *STEPS <= DIGITS_MOST_POINTS, "a skeleton of MOST_KNOTS knots fits");
