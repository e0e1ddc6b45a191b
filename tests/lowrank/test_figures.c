/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of held-out ratings: against sums made one rating after the other, with the same bits for any team. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/ratings.h"
#include "lowrank/figures.h"
#include "lowrank/loss.h"

#define ROWS    300
#define COLUMNS 50
#define COUNT   40000

struct scene {
    struct factors factors;
    struct rating *entries; /* [COUNT] */
};

static void scene_init(struct scene *scene) {
    const struct factors_shape shape = {.row_count = ROWS, .column_count = COLUMNS, .rank = 8};
    struct random random;
    assert_int_equal(factors_init(&scene->factors, &shape), HYSGD_OK);
    factors_start(&scene->factors, FACTORS_NORMAL, 2, 1, 1);
    scene->factors.mean = 0.25f;
    assert_int_equal(memory_alloc(COUNT, sizeof *scene->entries, &scene->entries), HYSGD_OK);
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    for (size_t i = 0; i < COUNT; i++)
        scene->entries[i] =
            (struct rating){(uint32_t)random_below(&random, ROWS), (uint32_t)random_below(&random, COLUMNS),
                            (float)random_below(&random, 3) - 1};
}

static void scene_fini(struct scene *scene) {
    factors_fini(&scene->factors);
    memory_free(scene->entries);
}

static struct figures figures_by(struct scene *scene, int threads, enum fit_loss loss, uint64_t count) {
    struct team *team;
    struct figures figures;
    assert_int_equal(team_start(threads, &team), HYSGD_OK);
    assert_int_equal(figures_of_ratings(team, &scene->factors, loss, scene->entries, count, &figures), HYSGD_OK);
    team_stop(team);
    return figures;
}

static void sums_are_those_of_every_rating(void **state) {
    (void)state;
    struct scene scene;
    scene_init(&scene);
    double loss = 0, squared = 0, absolute = 0;
    uint64_t correct = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const struct rating *rating = &scene.entries[i];
        float prediction = factors_predict(&scene.factors, rating->row, rating->column);
        double error = (double)rating->value - (double)prediction;
        loss += (double)fit_logistic(rating->value, prediction).loss;
        squared += error * error;
        absolute += fabs(error);
        correct += (rating->value > 0) == (prediction > 0);
    }
    struct figures figures = figures_by(&scene, 2, FIT_LOGISTIC, COUNT);
    assert_int_equal(figures.count, COUNT);
    assert_int_equal(figures.correct, correct);
    assert_true(fabs(figures.loss / loss - 1) < 1e-12);
    assert_true(fabs(figures_rmse(&figures) / sqrt(squared / COUNT) - 1) < 1e-12);
    assert_true(fabs(figures_mae(&figures) / (absolute / COUNT) - 1) < 1e-12);
    scene_fini(&scene);
}

static void any_team_gives_the_same_bits(void **state) {
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct figures one = figures_by(&scene, 1, FIT_SQUARED, COUNT),
                   three = figures_by(&scene, 3, FIT_SQUARED, COUNT);
    assert_memory_equal(&one, &three, sizeof one);
    scene_fini(&scene);
}

static void no_ratings_have_no_figures(void **state) {
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct figures figures = figures_by(&scene, 2, FIT_SQUARED, 0);
    assert_int_equal(figures.count, 0);
    assert_true(isnan(figures_rmse(&figures)) && isnan(figures_mae(&figures)));
    scene_fini(&scene);
}

static struct ranking rank_by(struct scene *scene, int threads, uint64_t seen_count) {
    struct lists seen, relevant;
    struct team *team;
    struct ranking ranking;
    assert_int_equal(lists_init(&seen, scene->entries, seen_count, ROWS), HYSGD_OK);
    assert_int_equal(lists_init(&relevant, scene->entries + seen_count, 900, ROWS), HYSGD_OK);
    assert_int_equal(team_start(threads, &team), HYSGD_OK);
    assert_int_equal(figures_of_ranking(team, &scene->factors, &seen, &relevant, 10, &ranking), HYSGD_OK);
    team_stop(team);
    lists_fini(&seen);
    lists_fini(&relevant);
    return ranking;
}

static void rankings_are_those_of_every_row(void **state) {
    (void)state;
    struct scene scene;
    struct ranking sums = {0};
    struct lists seen, relevant;
    scene_init(&scene);
    assert_int_equal(lists_init(&seen, scene.entries, 2000, ROWS), HYSGD_OK);
    assert_int_equal(lists_init(&relevant, scene.entries + 2000, 900, ROWS), HYSGD_OK);
    for (uint32_t row = 0; row < ROWS; row++) {
        float scores[COLUMNS], scratch[COLUMNS];
        struct ranking_row judged = {.scores = scores, .count = COLUMNS};
        for (uint32_t column = 0; column < COLUMNS; column++)
            scores[column] = factors_predict(&scene.factors, row, column);
        judged.seen = lists_row(&seen, row, &judged.seen_count);
        judged.relevant = lists_row(&relevant, row, &judged.relevant_count);
        ranking_add(&sums, &judged, 10, scratch);
    }
    struct ranking ranking = rank_by(&scene, 2, 2000);
    assert_true(ranking.rows > 100);
    assert_int_equal(ranking.rows, sums.rows);
    assert_true(fabs(ranking.auc / sums.auc - 1) < 1e-12);
    assert_true(fabs(ranking.ndcg / sums.ndcg - 1) < 1e-12);
    lists_fini(&seen);
    lists_fini(&relevant);
    scene_fini(&scene);
}

static void any_team_ranks_with_the_same_bits(void **state) {
    (void)state;
    struct scene scene;
    scene_init(&scene);
    struct ranking one = rank_by(&scene, 1, 1000), three = rank_by(&scene, 3, 1000);
    assert_memory_equal(&one, &three, sizeof one);
    scene_fini(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_every_rating),    cmocka_unit_test(any_team_gives_the_same_bits),
        cmocka_unit_test(no_ratings_have_no_figures),        cmocka_unit_test(rankings_are_those_of_every_row),
        cmocka_unit_test(any_team_ranks_with_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
