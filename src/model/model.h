/* SPDX-License-Identifier: Apache-2.0 */
/* The models that are listed, and opening one from text, where layers of one's own may stand in place of a name. */
#ifndef HYSGD_MODEL_MODEL_H
#define HYSGD_MODEL_MODEL_H

#include "base/plugin.h"

extern const struct plugin_list model_list;

static inline const struct hysgd_model_ops *model_ops(const struct plugin *model) {
    return (const struct hysgd_model_ops *)model->ops;
}

/* Opens "lenet", "lenet,precision=bf16" or layers such as "conv 5x5x32, relu, pool 2, dense 10, precision=bf16".
 * The model's own init has not been called. HYSGD_USAGE names the word that is wrong. */
HYSGD_MUST_CHECK enum hysgd_status model_open(const char *text, struct plugin *model_out);

#endif
