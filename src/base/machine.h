/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine lets this process use, and its clock. */
#ifndef HYSGD_BASE_MACHINE_H
#define HYSGD_BASE_MACHINE_H

/* Cores that the process may run on, at least 1. */
int machine_cores(void);

/* Seconds on a clock that only ever goes on; for differences. */
double machine_seconds(void);

#endif
