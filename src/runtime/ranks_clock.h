/* SPDX-License-Identifier: Apache-2.0 */
/* How far the clock of another rank is from the own, from exchanges of a question and its answer with four times
 * (D. L. Mills, RFC 5905, section 8; F. Cristian, Probabilistic clock synchronization, 1989). Arithmetic only:
 * ranks_members.c sends and receives. */
#ifndef HYSGD_RUNTIME_RANKS_CLOCK_H
#define HYSGD_RUNTIME_RANKS_CLOCK_H

#include <stdbool.h>

/* Exchanges that are kept; and those that a rank makes one after the other before it is content with one each beat.
 */
#define RANKS_CLOCK_SAMPLES 8

/* Seconds by which two clocks may come apart each second: what quartz and the adjustment of clocks by NTP do. */
#define RANKS_CLOCK_DRIFT 1e-4

/* One exchange. The difference of the clocks is within `error` of `offset`, whichever of the two ways took longer.
 */
struct ranks_clock_sample {
    double offset; /* the other clock's time less the own */
    double error;  /* half of the time that both ways took */
    double taken;  /* on the own clock */
};

/* Zeroed: nothing is known. */
struct ranks_clock {
    struct ranks_clock_sample samples[RANKS_CLOCK_SAMPLES]; /* the latest, as a ring */
    int count, next;
};

/* The four times of an exchange. */
struct ranks_clock_exchange {
    double asked, received; /* own clock: the question left, the answer came */
    double heard, answered; /* other clock: the question came, the answer left */
};

/* Takes an exchange in; one that cannot have been is passed over. Where it contradicts those before, a clock was
 * set or stood still, and they are forgotten. */
void ranks_clock_take(struct ranks_clock *clock, const struct ranks_clock_exchange *exchange);

/* Whether exchanges are still to be made one after the other. */
bool ranks_clock_is_hungry(const struct ranks_clock *clock);

/* What is to be added to the own clock at `now` to get the other's: of the sample that then has the least error,
 * its age included. False where nothing is known. */
bool ranks_clock_read(const struct ranks_clock *clock, double now, double *offset_out, double *error_out);

#endif
