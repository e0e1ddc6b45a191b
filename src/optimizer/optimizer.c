/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the list of optimizers from list.h, and computes the learning rate that a schedule gives. */
#include "optimizer/optimizer.h"

#include <float.h>
#include <math.h>

#define X(name) extern const struct optimizer_ops optimizer_##name;
#include "optimizer/list.h"
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &optimizer_##name.about,
#include "optimizer/list.h"
#undef X
};

const struct plugin_list optimizer_list = {
    .kind = "optimizer",
    .entries = entries,
    .count = sizeof entries / sizeof entries[0],
};

static double position_of(const struct optimizer *common, const struct optimizer_clock *clock) {
    switch (common->unit) {
    case UNIT_UPDATES:
        return (double)clock->updates;
    case UNIT_SAMPLES:
        return clock->samples;
    default:
        return clock->epochs;
    }
}

static double limited(double value, double least, double most) {
    return value < least ? least : value > most ? most : value;
}

/* How much of the way from the end of the warm-up to the end of the schedule lies behind; 0 to 1. */
static double progress_of(const struct optimizer *common, const struct optimizer_clock *clock, double position) {
    double done = position, warmup = common->warmup, whole = common->length;
    if (whole <= 0) { /* the whole run, whose length in units is not known: measure in fractions of it */
        done = clock->fraction;
        warmup = warmup <= 0 ? 0 : position > 0 ? warmup * (clock->fraction / position) : 1;
        whole = 1;
    }
    if (warmup >= whole)
        return done > warmup ? 1 : 0;
    return limited((done - warmup) / (whole - warmup), 0, 1);
}

double optimizer_rate(const struct optimizer *common, const struct optimizer_clock *clock) {
    double position = position_of(common, clock);
    double rate = common->rate;
    if (position < common->warmup)
        rate *= position / common->warmup;
    switch (common->schedule) {
    case SCHEDULE_STEP: /* 0.3 / 0.1 is a rounding error below 3 and means 3 drops */
        return rate * pow(common->factor, floor(position / common->every * (1 + 4 * DBL_EPSILON)));
    case SCHEDULE_COSINE: {
        double height = (1 + cos(acos(-1) * progress_of(common, clock, position))) / 2;
        return rate * (common->factor + (1 - common->factor) * height);
    }
    case SCHEDULE_LINEAR:
        return rate * (1 - (1 - common->factor) * progress_of(common, clock, position));
    default:
        return rate;
    }
}
