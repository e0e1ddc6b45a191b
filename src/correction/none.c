/* SPDX-License-Identifier: Apache-2.0 */
/* No correction: a late gradient is taken as it is. Nothing is kept and nothing is computed. */
#include "correction/correction.h"

const struct correction_ops correction_none = {
    .about = {.name = "none", .summary = "gradients are taken as they come"},
};
