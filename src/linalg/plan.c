/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the implementation of plans; which ones exist is decided when the library is built. */
#include "linalg/plan.h"

const struct plan_ops *plan_default(void) {
#ifdef HYSGD_HAVE_ONEDNN
    return &plan_onednn;
#else
    return &plan_reference;
#endif
}
