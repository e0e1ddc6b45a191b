/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of the data plug-ins, made from list.h. */
#include "data/data.h"

#include "data/list.h"

#define X(name) extern const struct hysgd_data_ops data_##name;
DATA_LIST(X)
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &data_##name.about,
    DATA_LIST(X)
#undef X
};

const struct plugin_list data_list = {"data", entries, sizeof entries / sizeof *entries};
