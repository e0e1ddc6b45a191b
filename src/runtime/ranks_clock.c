/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of clocks: see ranks_clock.h. */
#include "runtime/ranks_clock.h"

#include <math.h>

/* The clocks have come apart since a sample was taken. */
static double error_at(const struct ranks_clock_sample *sample, double now) {
    return sample->error + RANKS_CLOCK_DRIFT * fmax(now - sample->taken, 0);
}

static bool can_both_be(const struct ranks_clock_sample *one, const struct ranks_clock_sample *other) {
    double now = fmax(one->taken, other->taken);
    return fabs(one->offset - other->offset) <= error_at(one, now) + error_at(other, now);
}

void ranks_clock_take(struct ranks_clock *clock, const struct ranks_clock_exchange *exchange) {
    double away = (exchange->received - exchange->asked) - (exchange->answered - exchange->heard);
    if (!(away >= 0) || !(exchange->answered >= exchange->heard))
        return; /* a clock was set in between */
    struct ranks_clock_sample sample = {
        .offset = ((exchange->heard - exchange->asked) + (exchange->answered - exchange->received)) / 2,
        .error = away / 2,
        .taken = exchange->received};
    for (int i = 0; i < clock->count; i++)
        if (!can_both_be(&clock->samples[i], &sample)) {
            *clock = (struct ranks_clock){0};
            break;
        }
    clock->samples[clock->next] = sample;
    clock->next = (clock->next + 1) % RANKS_CLOCK_SAMPLES;
    clock->count += clock->count < RANKS_CLOCK_SAMPLES;
}

bool ranks_clock_is_hungry(const struct ranks_clock *clock) {
    return clock->count < RANKS_CLOCK_SAMPLES;
}

bool ranks_clock_read(const struct ranks_clock *clock, double now, double *offset_out, double *error_out) {
    const struct ranks_clock_sample *best = clock->samples;
    if (clock->count == 0)
        return false;
    for (int i = 1; i < clock->count; i++)
        if (error_at(&clock->samples[i], now) < error_at(best, now))
            best = &clock->samples[i];
    *offset_out = best->offset;
    *error_out = error_at(best, now);
    return true;
}
