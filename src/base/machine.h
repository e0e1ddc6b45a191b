/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine lets this process use. */
#ifndef HYSGD_BASE_MACHINE_H
#define HYSGD_BASE_MACHINE_H

/* Cores that the process may run on, at least 1. */
int machine_cores(void);

#endif
