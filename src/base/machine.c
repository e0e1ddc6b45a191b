/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: see machine.h. */
#include "base/machine.h"

#include <sched.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

int machine_cores(void) {
    cpu_set_t allowed;
    bool is_known =
        sched_getaffinity(0, sizeof allowed, &allowed) == 0; /* it fails with more cores than a set holds */
    int count = is_known ? CPU_COUNT(&allowed) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? count : 1;
}

double machine_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
