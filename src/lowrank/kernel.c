/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a kernel; see kernel.h. */
#include "lowrank/kernel.h"

#include <math.h>

#include "lowrank/kernels.h"

#if defined(__x86_64__)
enum kernel_isa kernel_best_isa(void) {
    bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
    return has_avx512 ? KERNEL_AVX512 : has_avx2 ? KERNEL_AVX2 : KERNEL_PLAIN;
}

static kernel_function *function_of(enum kernel_isa isa) {
    return isa == KERNEL_AVX512 ? kernel_run_avx512 : isa == KERNEL_AVX2 ? kernel_run_avx2 : kernel_run_plain;
}
#else
enum kernel_isa kernel_best_isa(void) {
    return KERNEL_PLAIN;
}

static kernel_function *function_of(enum kernel_isa isa) {
    (void)isa;
    return kernel_run_plain;
}
#endif

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

enum hysgd_status kernel_choose_isa(enum kernel_isa isa, enum kernel_isa *isa_out) {
    const enum kernel_isa best = kernel_best_isa();
    if (isa > best)
        return hysgd_fail(HYSGD_USAGE, "this processor has no %s, the best here is %s", kernel_isa_name(isa),
                          kernel_isa_name(best));
    *isa_out = isa == KERNEL_BEST ? best : isa;
    return HYSGD_OK;
}

static enum hysgd_status check_setup(const struct kernel_setup *setup) {
    const float penalties[] = {setup->l1[SIDE_ROWS],    setup->l1[SIDE_COLUMNS], setup->l2[SIDE_ROWS],
                               setup->l2[SIDE_COLUMNS], setup->bias_l2,          setup->negative_weight};
    if (setup->rank < 1 || setup->rank > FACTORS_MOST_RANK)
        return hysgd_fail(HYSGD_USAGE, "rank %u: expected 1 to %d", setup->rank, FACTORS_MOST_RANK);
    for (size_t i = 0; i < sizeof penalties / sizeof *penalties; i++)
        if (!(penalties[i] >= 0 && isfinite(penalties[i])))
            return hysgd_fail(HYSGD_USAGE, "a penalty or weight of %g: expected a number from 0",
                              (double)penalties[i]);
    if (setup->loss >= FIT_BPR_ROWS && setup->negatives > 0)
        return hysgd_fail(HYSGD_USAGE, "%u negatives: a loss of pairs draws its own, expected 0", setup->negatives);
    return HYSGD_OK;
}

enum hysgd_status kernel_init(struct kernel *kernel, const struct kernel_setup *setup) {
    *kernel = (struct kernel){.setup = *setup};
    HYSGD_TRY(check_setup(setup));
    HYSGD_TRY(kernel_choose_isa(setup->isa, &kernel->setup.isa));
    kernel->run = function_of(kernel->setup.isa);
    return HYSGD_OK;
}
