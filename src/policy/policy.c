/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the list of policies from list.h. */
#include "policy/policy.h"

#define X(name) extern const struct hysgd_policy_ops policy_##name;
#include "policy/list.h"
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &policy_##name.about,
#include "policy/list.h"
#undef X
};

const struct plugin_list policy_list = {
    .kind = "policy",
    .entries = entries,
    .count = sizeof entries / sizeof entries[0],
};
