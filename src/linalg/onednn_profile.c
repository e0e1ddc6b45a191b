/* SPDX-License-Identifier: Apache-2.0 */
/* Sums the measured seconds of a plan's steps by their kind. */
#include "linalg/onednn_profile.h"

#include <string.h>

#include "linalg/onednn.h"

void onednn_profile_start(struct plan *plan) {
    plan->is_profiling = true;
    for (int s = 0; s < plan->step_count; s++)
        plan->steps[s].seconds = 0;
}

/* The seconds of all steps of the kind of step `s`; 0 when an earlier step has that kind. */
static double seconds_of_kind(const struct plan *plan, int s) {
    double seconds = 0;
    for (int i = 0; i < plan->step_count; i++) {
        if (strcmp(plan->steps[i].kind, plan->steps[s].kind) != 0)
            continue;
        if (i < s)
            return 0;
        seconds += plan->steps[i].seconds;
    }
    return seconds;
}

static const char *implementation(const struct step *step) {
    const_dnnl_primitive_desc_t description;
    const char *name = "own";
    if (step->primitive && dnnl_primitive_get_primitive_desc(step->primitive, &description) == dnnl_success)
        dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &name);
    return name;
}

void onednn_profile_print(const struct plan *plan, int with_steps, FILE *out) {
    double total = 0, bound = 1e300;
    for (int s = 0; s < plan->step_count; s++)
        total += plan->steps[s].seconds;
    fprintf(out, "    all steps at their best: %.6f s\n", total);
    for (;;) {
        int best = -1;
        for (int s = 0; s < plan->step_count; s++) {
            double seconds = seconds_of_kind(plan, s);
            if (seconds < bound && seconds > 0 && (best < 0 || seconds > seconds_of_kind(plan, best)))
                best = s;
        }
        if (best < 0)
            break;
        bound = seconds_of_kind(plan, best);
        fprintf(out, "    %5.1f %%  %s\n", 100 * bound / total, plan->steps[best].kind);
    }
    for (int s = 0; with_steps && s < plan->step_count; s++)
        fprintf(out, "    layer %3d  %9.6f s  %-32s %s\n", plan->steps[s].node, plan->steps[s].seconds,
                plan->steps[s].kind, implementation(&plan->steps[s]));
}
