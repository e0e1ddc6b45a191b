/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a run on several ranks: all of them learn whether all of them can begin, and the same run. Knows
 * nothing of what is trained. */
#ifndef HYSGD_RUNTIME_RANKS_HELLO_H
#define HYSGD_RUNTIME_RANKS_HELLO_H

#include "runtime/runtime.h"

/* The runtime's `agree`; `self` is a struct ranks_options. Opens its group where that is not open, and closes it
 * when the run is not to be. Rank 0 compares; a rank that has ended or says nothing for a minute is refused too. */
HYSGD_MUST_CHECK enum hysgd_status ranks_agree(void *self, enum hysgd_status status,
                                               const struct runtime_facts *facts);

#endif
