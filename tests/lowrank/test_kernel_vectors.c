/* SPDX-License-Identifier: Apache-2.0 */
/* Every vector kernel against the plain one, bit for bit: all rules, losses and options, at ranks around the widths
 * of vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "lowrank/kernel.h"

enum { ROWS = 23, COLUMNS = 17, CELLS = 301, FIRST_ROW = 2, FIRST_COLUMN = 3 };

static const uint32_t ranks[] = {1, 5, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 64, 65, 100, 128, 129};
#define RANK_COUNT (sizeof ranks / sizeof *ranks)

static const enum kernel_isa isas[] = {KERNEL_AVX2, KERNEL_AVX512};

struct outcome {
    struct factors factors;
    double loss;
};

static void fill_cells(struct cell *cells, bool has_zeros) {
    struct random random;
    random_init(&random, 4, 0, RANDOM_TEST, 0);
    for (int i = 0; i < CELLS; i++)
        cells[i] = (struct cell){(uint16_t)random_below(&random, ROWS - FIRST_ROW),
                                 (uint16_t)random_below(&random, COLUMNS - FIRST_COLUMN),
                                 (float)random_below(&random, 5) * 0.5f + (has_zeros ? 0 : 1)};
}

/* Two passes, so that what the first leaves in the states counts. */
static void run(const struct kernel_setup *setup, const struct kernel_step *step, struct outcome *outcome) {
    static struct cell cells[CELLS];
    struct kernel kernel;
    fill_cells(cells, setup->loss != FIT_SQUARED);
    assert_int_equal(kernel_init(&kernel, setup), HYSGD_OK);
    const struct factors_shape shape = {ROWS, COLUMNS, setup->rank, kernel_state(setup->rule)};
    assert_int_equal(factors_init(&outcome->factors, &shape), HYSGD_OK);
    factors_start(&outcome->factors,
                  setup->is_nonnegative || setup->loss == FIT_KL ? FACTORS_POSITIVE : FACTORS_NORMAL, 1, 0.5f, 3);
    outcome->factors.mean = setup->has_biases ? 2.5f : 0;
    const struct tile tile = {.first_row = FIRST_ROW, .first_column = FIRST_COLUMN, .cells = cells, .count = CELLS};
    outcome->loss = kernel_run(&kernel, &outcome->factors, &tile, step);
    outcome->loss += kernel_run(&kernel, &outcome->factors, &tile, step);
}

static bool sides_equal(const struct factors *a, const struct factors *b, int side) {
    const struct factors_side *x = &a->sides[side], *y = &b->sides[side];
    const size_t bytes = (size_t)x->count * a->stride * sizeof(float);
    return memcmp(x->values, y->values, bytes) == 0 &&
           memcmp(x->extra, y->extra, x->count * sizeof *x->extra) == 0 &&
           (!x->state || memcmp(x->state, y->state, bytes) == 0);
}

/* Every instruction set that is there gives what plain C gives. */
static void compare(struct kernel_setup setup, const struct kernel_step *step) {
    struct outcome plain, vector;
    setup.isa = KERNEL_PLAIN;
    run(&setup, step, &plain);
    assert_true(isfinite(plain.loss));
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        setup.isa = isas[i];
        if (setup.isa > kernel_best_isa())
            continue;
        run(&setup, step, &vector);
        if (plain.loss != vector.loss || !sides_equal(&plain.factors, &vector.factors, SIDE_ROWS) ||
            !sides_equal(&plain.factors, &vector.factors, SIDE_COLUMNS))
            fail_msg(
                "%s differs: loss %d rule %d rank %u biases %d l1 %g nonnegative %d frozen %d fixed %d %d: %.17g %.17g",
                kernel_isa_name(setup.isa), setup.loss, setup.rule, setup.rank, setup.has_biases,
                (double)setup.l1[0], setup.is_nonnegative, step->is_frozen, step->is_fixed[0], step->is_fixed[1],
                plain.loss, vector.loss);
        factors_fini(&vector.factors);
    }
    factors_fini(&plain.factors);
}

static struct kernel_step step_of(enum step_rule rule) {
    return (struct kernel_step){.rate = rule >= RULE_ADAGRAD ? 0.1f : 0.02f,
                                .momentum = 0.5f,
                                .seed = 8,
                                .epoch = 2,
                                .first_drawn = 1,
                                .drawn_count = 13};
}

static struct kernel_setup setup_of(enum fit_loss loss, enum step_rule rule, uint32_t rank) {
    return (struct kernel_setup){.loss = loss, .rule = rule, .rank = rank, .l2 = {0.03f, 0.05f}, .bias_l2 = 0.02f};
}

static void every_rule_gives_the_same_bits_at_every_rank(void **state) {
    (void)state;
    for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++)
        for (size_t k = 0; k < RANK_COUNT; k++)
            for (int has_biases = 0; has_biases < 2; has_biases++) {
                struct kernel_setup setup = setup_of(FIT_SQUARED, rule, ranks[k]);
                const struct kernel_step step = step_of(rule);
                setup.has_biases = has_biases;
                compare(setup, &step);
            }
}

static void every_loss_gives_the_same_bits(void **state) {
    (void)state;
    for (enum fit_loss loss = FIT_SQUARED; loss <= FIT_BPR_COLUMNS; loss++)
        for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++)
            for (size_t k = 0; k < RANK_COUNT; k += 2) {
                struct kernel_setup setup = setup_of(loss, rule, ranks[k]);
                const struct kernel_step step = step_of(rule);
                setup.has_biases = k % 4 == 0;
                setup.is_nonnegative = loss == FIT_KL;
                compare(setup, &step);
            }
}

static void l1_and_signs_give_the_same_bits(void **state) {
    (void)state;
    for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++)
        for (size_t k = 0; k < RANK_COUNT; k += 3)
            for (int which = 1; which < 8; which++) {
                struct kernel_setup setup = setup_of(which & 4 ? FIT_ABSOLUTE : FIT_SQUARED, rule, ranks[k]);
                const struct kernel_step step = step_of(rule);
                setup.l1[SIDE_ROWS] = which & 1 ? 0.3f : 0;
                setup.l1[SIDE_COLUMNS] = 0.1f;
                setup.is_nonnegative = which & 2;
                compare(setup, &step);
            }
}

static void frozen_factors_give_the_same_bits(void **state) {
    (void)state;
    for (enum fit_loss loss = FIT_SQUARED; loss <= FIT_BPR_ROWS; loss += FIT_BPR_ROWS)
        for (size_t k = 0; k < RANK_COUNT; k++) {
            const struct kernel_setup setup = setup_of(loss, RULE_ADAGRAD2, ranks[k]);
            struct kernel_step step = step_of(RULE_ADAGRAD2);
            step.is_frozen = true;
            compare(setup, &step);
        }
}

static void one_fixed_side_gives_the_same_bits(void **state) {
    (void)state;
    for (enum fit_loss loss = FIT_SQUARED; loss <= FIT_BPR_COLUMNS; loss += FIT_BPR_ROWS)
        for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++)
            for (int side = 0; side < SIDE_COUNT; side++) {
                struct kernel_setup setup = setup_of(loss, rule, 20);
                struct kernel_step step = step_of(rule);
                step.is_fixed[side] = true;
                setup.has_biases = true;
                compare(setup, &step);
            }
}

static void drawn_negatives_give_the_same_bits(void **state) {
    (void)state;
    for (enum step_rule rule = RULE_CONSTANT; rule <= RULE_ADAGRAD2; rule++)
        for (size_t k = 0; k < RANK_COUNT; k += 4) {
            struct kernel_setup setup = setup_of(FIT_SQUARED, rule, ranks[k]);
            const struct kernel_step step = step_of(rule);
            setup.negatives = 3;
            setup.negative_value = 0.1f;
            setup.negative_weight = 0.25f;
            compare(setup, &step);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_gives_the_same_bits_at_every_rank),
        cmocka_unit_test(every_loss_gives_the_same_bits),
        cmocka_unit_test(l1_and_signs_give_the_same_bits),
        cmocka_unit_test(frozen_factors_give_the_same_bits),
        cmocka_unit_test(one_fixed_side_gives_the_same_bits),
        cmocka_unit_test(drawn_negatives_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
