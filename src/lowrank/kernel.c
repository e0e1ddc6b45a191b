/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a kernel; see kernel.h. */
#include "lowrank/kernel.h"

#include <math.h>

#include "lowrank/kernels.h"

enum kernel_isa kernel_best_isa(void) {
    return KERNEL_PLAIN;
}

const char *kernel_isa_name(enum kernel_isa isa) {
    static const char *const names[] = {"best", "plain", "avx2", "avx512"};
    return names[isa];
}

enum factors_state kernel_state(enum step_rule rule) {
    return rule == RULE_NESTEROV ? FACTORS_VELOCITY : rule == RULE_ADAGRAD ? FACTORS_SUMS : FACTORS_NO_STATE;
}

double rule_rate(enum step_rule rule, double rate, double decay, uint32_t epoch) {
    return rule == RULE_DECAY ? rate / (1 + decay * pow(epoch, 1.5)) : rate;
}

enum hysgd_status kernel_init(struct kernel *kernel, const struct kernel_setup *setup) {
    *kernel = (struct kernel){.setup = *setup};
    if (setup->rank < 1 || setup->rank > FACTORS_MOST_RANK)
        return hysgd_fail(HYSGD_USAGE, "rank %u: expected 1 to %d", setup->rank, FACTORS_MOST_RANK);
    enum kernel_isa best = kernel_best_isa();
    if (setup->isa > best)
        return hysgd_fail(HYSGD_USAGE, "this processor has no %s, the best here is %s", kernel_isa_name(setup->isa),
                          kernel_isa_name(best));
    if (setup->isa == KERNEL_BEST)
        kernel->setup.isa = best;
    if (setup->rule > RULE_DECAY || setup->loss > FIT_KL || setup->negatives > 0)
        return hysgd_fail(HYSGD_USAGE, "only losses of single ratings and the rules constant and decay are there");
    kernel->run = kernel_run_plain;
    return HYSGD_OK;
}
