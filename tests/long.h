/* SPDX-License-Identifier: Apache-2.0 */
/* How often a test repeats what depends on chance: more often in the long run (./test --long sets HYSGD_LONG). */
#ifndef HYSGD_TESTS_LONG_H
#define HYSGD_TESTS_LONG_H

#include <stdlib.h>

static inline int long_count(int usual, int in_the_long_run) {
    return getenv("HYSGD_LONG") ? in_the_long_run : usual;
}

#endif
