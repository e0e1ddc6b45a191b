/* SPDX-License-Identifier: Apache-2.0 */
/* The list of runtimes. */
#include "runtime/list.h"

static const struct hysgd_plugin *const entries[] = {
#define X(name) &runtime_##name.about,
    RUNTIME_LIST(X)
#undef X
};

const struct plugin_list runtime_list = {"runtime", entries, sizeof entries / sizeof *entries};
