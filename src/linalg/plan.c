/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the implementation of plans; which ones exist is decided when the library is built. */
#include "linalg/plan.h"

#include <stdio.h>
#ifdef HYSGD_HAVE_ONEDNN
#include <dnnl.h>
#endif

const struct plan_ops *plan_default(void) {
#ifdef HYSGD_HAVE_ONEDNN
    return &plan_onednn;
#else
    return &plan_reference;
#endif
}

void plan_identify(char *text, size_t size) {
#ifdef HYSGD_HAVE_ONEDNN
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, size, "%s %d.%d.%d isa %x", plan_onednn.name, version->major, version->minor, version->patch,
             (unsigned)dnnl_get_effective_cpu_isa());
#else
    snprintf(text, size, "%s", plan_reference.name);
#endif
}
