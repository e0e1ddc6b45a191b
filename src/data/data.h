/* SPDX-License-Identifier: Apache-2.0 */
/* The data plug-ins that are listed. */
#ifndef HYSGD_DATA_DATA_H
#define HYSGD_DATA_DATA_H

#include "base/plugin.h"

extern const struct plugin_list data_list;

static inline const struct hysgd_data_ops *data_ops(const struct plugin *data) {
    return (const struct hysgd_data_ops *)data->ops;
}

#endif
