/* SPDX-License-Identifier: Apache-2.0 */
/* The synchronization policies that are listed, and the state of one as text; the interface is struct
 * hysgd_policy_ops in hysgd.h. */
#ifndef HYSGD_POLICY_POLICY_H
#define HYSGD_POLICY_POLICY_H

#include <stdio.h>

#include "base/plugin.h"

extern const struct plugin_list policy_list;

static inline const struct hysgd_policy_ops *policy_ops(const struct plugin *policy) {
    return (const struct hysgd_policy_ops *)policy->ops;
}

/* Prints what a checkpoint keeps of a policy: its changing fields, then a line for each worker where the policy
 * keeps something for each. Nothing for a policy whose state does not change. */
void policy_print_saved(const struct hysgd_policy_ops *ops, const void *self, int workers, FILE *out);

/* Reads it back into a state with the same options and the same number of workers, whose init has been called.
 * HYSGD_USAGE names what is malformed; some fields may be set then. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status policy_parse_saved(const struct hysgd_policy_ops *ops, void *self, int workers,
                                                      const char *text);

#endif
