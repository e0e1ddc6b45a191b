/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine lets this process use, and its clock. */
#ifndef HYSGD_BASE_MACHINE_H
#define HYSGD_BASE_MACHINE_H

/* Cores that the process may run on, at least 1. */
int machine_cores(void);

/* Seconds on a clock that only ever goes on; for differences. */
double machine_seconds(void);

/* Asks for turns of so many seconds for the calling thread, which then is let onto a core sooner when it wakes
 * while others compute there; 0: as usual. Threads that it starts later ask for the same. Without effect where the
 * system knows no such thing (Linux before 6.12). */
void machine_ask_turns(double seconds);

#endif
