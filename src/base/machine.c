/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: see machine.h. */
#include "base/machine.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
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

/* As the kernel takes it; the library's headers have it only lately. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* runtime: nanoseconds of a turn, of threads with the usual policy */
};

void machine_ask_turns(double seconds) {
    struct attributes attributes = {0};
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != SCHED_OTHER)
        return;
    attributes.runtime = (uint64_t)(seconds * 1e9);
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0); /* what it was before is slower, not wrong */
}
