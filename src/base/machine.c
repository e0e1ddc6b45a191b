/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: see machine.h. */
#include "base/machine.h"

#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

int machine_cores(void) {
    cpu_set_t allowed;
    bool is_known =
        sched_getaffinity(0, sizeof allowed, &allowed) == 0; /* it fails with more cores than a set holds */
    int count = is_known ? CPU_COUNT(&allowed) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? count : 1;
}
