/* SPDX-License-Identifier: Apache-2.0 */
/* How the ten digits are written: the path of the pen, with the small differences from one hand to the next. */
#ifndef HYSGD_DATA_DIGITS_STROKES_H
#define HYSGD_DATA_DIGITS_STROKES_H

#include <stdbool.h>

#include "base/random.h"

#define DIGITS_MOST_POINTS 128

/* The pen draws a line to (x, y), or is set down there. The unit box holds the digit; x to the right, y down. */
struct digits_point {
    float x, y;
    bool is_set_down;
};

/* Picks one of the ways to write `digit` (0 to 9), moves its knots a little, and traces it. Returns the number of
 * points written, 2 to DIGITS_MOST_POINTS. */
int digits_trace(int digit, struct random *random, struct digits_point *points_out);

#endif
