/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic gradient steps over the ratings of a tile, one after the other, in the order of its cells. Every
 * instruction set gives the same bits: the order of additions is fixed by the rank (kernel_plain.c spells it out).
 *
 * With s the prediction of a rating r and z = -(d loss / d s) (of the squared losses: half of it), factors p of the
 * row and q of the column, a plain step is
 *     p <- p + rate (z q - l2 p)        q <- q + rate (z p - l2 q)        both from the old p and q
 * then, where asked, the step of l1 (|p| shrinks by rate l1, not below 0) and negative values become 0. */
#ifndef HYSGD_LOWRANK_KERNEL_H
#define HYSGD_LOWRANK_KERNEL_H

#include "lowrank/factors.h"
#include "lowrank/tile.h"

enum fit_loss {
    FIT_SQUARED,       /* (r - s)^2 */
    FIT_ABSOLUTE,      /* |r - s| */
    FIT_LOGISTIC,      /* log(1 + exp(-y s)), y = 1 where r > 0 and -1 elsewhere */
    FIT_SQUARED_HINGE, /* max(0, 1 - y s)^2 */
    FIT_KL,            /* generalized Kullback-Leibler: r log(r / s) - r + s, for r >= 0 */
    FIT_BPR_ROWS,      /* log(1 + exp(s' - s)), s' that of the same row and a column drawn at random */
    FIT_BPR_COLUMNS    /* the same with a row drawn at random */
};

enum step_rule {
    RULE_CONSTANT, /* the rate of the step, which may fall from epoch to epoch (rule_rate) */
    RULE_DECAY,    /* the same kernel */
    RULE_NESTEROV, /* A2PSGD's accelerated step: gradients at p + momentum * velocity */
    RULE_ADAGRAD,  /* a sum of squared gradients for each factor */
    RULE_ADAGRAD2  /* LIBMF's: two mean sums a row, of the first 8 factors and of the others */
};

enum kernel_isa { KERNEL_BEST, KERNEL_PLAIN, KERNEL_AVX2, KERNEL_AVX512 };

struct kernel_setup {
    enum fit_loss loss;
    enum step_rule rule;
    enum kernel_isa isa; /* KERNEL_BEST: the widest that the processor has */
    uint32_t rank;
    float l1[SIDE_COUNT], l2[SIDE_COUNT]; /* >= 0, of the factors */
    float bias_l2;                        /* >= 0 */
    bool has_biases;
    bool is_nonnegative;
    /* One-class data: after each rating, this many columns drawn at random take a step toward a value. */
    uint32_t negatives;
    float negative_value, negative_weight; /* the weight multiplies their loss */
};

/* What may change from tile to tile. */
struct kernel_step {
    float rate;                /* of this epoch */
    bool is_fixed[SIDE_COUNT]; /* rows, or columns, are read only */
    float momentum;            /* nesterov */
    bool is_frozen;            /* adagrad2: only the first 8 factors move (the first epoch, by its authors) */
    uint64_t seed;             /* of drawn rows and columns, with epoch and the tile's place */
    uint32_t epoch;            /* below 2^24 */
    uint32_t first_drawn;      /* rows or columns to draw from, which nobody else may use meanwhile: */
    uint32_t drawn_count;      /* as a rule the tile's group; >= 1 where the setup draws */
};

struct kernel;
typedef double kernel_function(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                               const struct kernel_step *step);

struct kernel {
    struct kernel_setup setup;
    kernel_function *run;
};

/* HYSGD_USAGE: the instruction set is not there, a value is out of range. Owns nothing. */
HYSGD_MUST_CHECK enum hysgd_status kernel_init(struct kernel *kernel, const struct kernel_setup *setup);

/* The state that the rule wants beside the factors. */
enum factors_state kernel_state(enum step_rule rule);

/* "plain", "avx2", "avx512": what kernel_init chose. */
const char *kernel_isa_name(enum kernel_isa isa);
enum kernel_isa kernel_best_isa(void);

/* Visits every rating of the tile once; the factors must be of the setup's rank and have the rule's state. Returns
 * the sum of the losses, each before its step, without penalties: of FIT_SQUARED the sum of squared errors. Not
 * finite when training diverged. Touches the tile's rows and columns (and the drawn ones) only; no other thread may
 * use them meanwhile, except where races are meant. */
static inline double kernel_run(const struct kernel *kernel, struct factors *factors, const struct tile *tile,
                                const struct kernel_step *step) {
    return kernel->run(kernel, factors, tile, step);
}

/* The rate of epoch 0, 1, ...: `rate`, or with RULE_DECAY rate / (1 + decay * epoch^1.5) (Yun et al., NOMAD,
 * VLDB 2014). */
double rule_rate(enum step_rule rule, double rate, double decay, uint32_t epoch);

#endif
