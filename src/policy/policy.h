/* SPDX-License-Identifier: Apache-2.0 */
/* The synchronization policies that are listed; the interface is struct hysgd_policy_ops in hysgd.h. */
#ifndef HYSGD_POLICY_POLICY_H
#define HYSGD_POLICY_POLICY_H

#include "base/plugin.h"

extern const struct plugin_list policy_list;

static inline const struct hysgd_policy_ops *policy_ops(const struct plugin *policy) {
    return (const struct hysgd_policy_ops *)policy->ops;
}

#endif
