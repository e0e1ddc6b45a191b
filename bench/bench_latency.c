/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the time that a cache line takes between the two first cores, in nanoseconds one way. `--json`: for
 * programs. */
#include <stdio.h>
#include <string.h>

#include "core_latency.h"

int main(int count, char **words) {
    double nanoseconds = core_latency();
    if (isnan(nanoseconds)) {
        fprintf(stderr, "bench_latency: two cores are needed\n");
        return 1;
    }
    if (count > 1 && strcmp(words[1], "--json") == 0)
        printf("{\"nanoseconds\": %.1f}\n", nanoseconds);
    else
        printf("core to core: %.0f ns one way (%s)\n", nanoseconds,
               nanoseconds < CORE_LATENCY_FAR ? "near" : "far");
    return 0;
}
