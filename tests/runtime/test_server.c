/* SPDX-License-Identifier: Apache-2.0 */
/* The server's vectors against a plain reference in double: folds, steps, clipped steps and statistics; the same
 * bits however many threads take the shards; versions that are read are never written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "runtime/server.h"

enum { WORKERS = 3, PARAMETERS = 2 * SERVER_SHARD + 1000, STATISTICS = 777, TOTAL = PARAMETERS + STATISTICS };

/* A server whose engine is written by hand. */
struct bench {
    struct plugin optimizer;
    struct engine engine;
    struct engine_part parts[WORKERS];
    struct server_order order;
    struct server server;
};

static void open_bench(struct bench *bench, const char *optimizer, enum engine_combine combine) {
    *bench = (struct bench){.engine = {.combine = combine}};
    struct hysgd_model_layout layout = {
        .parameter_count = PARAMETERS, .statistic_count = STATISTICS, .statistic_momentum = 0.1};
    assert_int_equal(plugin_open(&optimizer_list, optimizer, &bench->optimizer), HYSGD_OK);
    assert_int_equal(server_init(&bench->server, &bench->optimizer, &layout, WORKERS), HYSGD_OK);
    assert_int_equal(server_order_init(&bench->order, WORKERS), HYSGD_OK);
    bench->engine.parts = bench->parts;
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    random_fill_normal(&random, server_vector(&bench->server), TOTAL);
    for (int i = 0; i < WORKERS; i++)
        random_fill_normal(&random, bench->server.gradients[i], TOTAL);
}

static void close_bench(struct bench *bench) {
    server_fini(&bench->server);
    server_order_fini(&bench->order);
    plugin_close(&bench->optimizer);
}

/* Puts a gradient of a worker among the parts. */
static void hold(struct bench *bench, int worker, float weight) {
    bench->parts[bench->engine.part_count++] = (struct engine_part){.worker = worker, .weight = weight};
    bench->engine.progress.held++;
    bench->engine.held_batches++;
    bench->engine.held_weight += (double)weight;
    bench->engine.held_divisor += (double)weight;
}

static void *help(void *argument) {
    server_help(argument, 1);
    return NULL;
}

static void work(struct bench *bench, int threads) {
    pthread_t others[8];
    for (int i = 1; i < threads; i++)
        assert_int_equal(pthread_create(&others[i], NULL, help, &bench->server), 0);
    server_help(&bench->server, 0);
    for (int i = 1; i < threads; i++)
        pthread_join(others[i], NULL);
    assert_true(server_is_done(&bench->server));
    server_end(&bench->server);
    bench->engine.part_count = 0;
}

static void fold(struct bench *bench, int threads) {
    server_order_fold(&bench->order, &bench->engine, 0);
    assert_int_equal(server_begin(&bench->server, &bench->order), HYSGD_OK);
    work(bench, threads);
}

static void update(struct bench *bench, double rate, int threads) {
    struct optimizer_step step = {.rate = rate, .scale = 1, .number = 1};
    server_order_update(&bench->order, &bench->engine, &step);
    assert_int_equal(server_begin(&bench->server, &bench->order), HYSGD_OK);
    work(bench, threads);
    bench->engine.progress.held = bench->engine.held_batches = 0;
    bench->engine.held_weight = 0;
    bench->engine.held_divisor = 0;
}

/* The weighted sum of gradients 0 to 2, in double. */
static double weighted(const struct bench *bench, const double *weights, size_t i) {
    double sum = 0;
    for (int w = 0; w < WORKERS; w++)
        sum += weights[w] * (double)bench->server.gradients[w][i];
    return sum;
}

static void expect_near(double value, double expected) {
    if (!(fabs(value - expected) <= 2e-5 * (1 + fabs(expected))))
        fail_msg("%.9g, expected %.9g", value, expected);
}

/* Gradients 1 and 2 are folded, 0 comes with the update. */
static void expect_update(const char *optimizer, enum engine_combine combine, double clip) {
    static const double weights[] = {0.5, 1.5, 0.25};
    static float old_values[TOTAL];
    struct bench bench;
    double divisor = combine == ENGINE_MEAN ? 2.25 : 1, squared = 0;
    open_bench(&bench, optimizer, combine);
    memcpy(old_values, server_vector(&bench.server), sizeof old_values);
    hold(&bench, 1, 1.5f);
    fold(&bench, 1);
    hold(&bench, 2, 0.25f);
    fold(&bench, 1);
    hold(&bench, 0, 0.5f);
    update(&bench, 0.1, 1);
    for (size_t i = 0; i < PARAMETERS; i++)
        squared += pow(weighted(&bench, weights, i) / divisor, 2);
    double scale = clip > 0 && sqrt(squared) > clip ? clip / sqrt(squared) : 1;
    const float *found = server_vector(&bench.server);
    for (size_t i = 0; i < PARAMETERS; i++)
        expect_near((double)found[i], (double)old_values[i] - 0.1 * scale * weighted(&bench, weights, i) / divisor);
    double keep = pow(0.9, 3); /* three gradients, and their weighted mean in every mode, clipped or not */
    for (size_t i = PARAMETERS; i < TOTAL; i++)
        expect_near((double)found[i],
                    keep * (double)old_values[i] + (1 - keep) * weighted(&bench, weights, i) / 2.25);
    close_bench(&bench);
}

static void updates_match_the_reference(void **state) {
    (void)state;
    expect_update("sgd", ENGINE_MEAN, 0);
    expect_update("sgd", ENGINE_SUM, 0);
}

static void clipped_updates_match_the_reference(void **state) {
    (void)state;
    expect_update("sgd,clip=3", ENGINE_MEAN, 3);
    expect_update("sgd,clip=3", ENGINE_SUM, 3);
    expect_update("sgd,clip=1e6", ENGINE_SUM, 1e6); /* above the norm: no effect */
}

static void one_gradient_moves_the_statistics_by_the_momentum(void **state) {
    (void)state;
    struct bench bench;
    open_bench(&bench, "sgd", ENGINE_SUM);
    double before = (double)server_vector(&bench.server)[PARAMETERS];
    hold(&bench, 1, 1);
    update(&bench, 0.1, 1);
    expect_near((double)server_vector(&bench.server)[PARAMETERS],
                0.9 * before + 0.1 * (double)bench.server.gradients[1][PARAMETERS]);
    close_bench(&bench);
}

static void a_sum_is_used_once(void **state) {
    (void)state;
    struct bench bench;
    open_bench(&bench, "sgd", ENGINE_SUM);
    hold(&bench, 1, 1);
    fold(&bench, 1);
    hold(&bench, 0, 1);
    update(&bench, 0.1, 1);
    double before = (double)server_vector(&bench.server)[5];
    hold(&bench, 2, 1);
    update(&bench, 0.1, 1);
    expect_near((double)server_vector(&bench.server)[5], before - 0.1 * (double)bench.server.gradients[2][5]);
    close_bench(&bench);
}

/* Two folds and three updates with so many threads. */
static void play(struct bench *bench, const char *optimizer, int threads) {
    open_bench(bench, optimizer, ENGINE_MEAN);
    for (int round = 0; round < 3; round++) {
        hold(bench, 2, 0.75f);
        hold(bench, 1, 1);
        fold(bench, threads);
        hold(bench, 0, 1);
        update(bench, 0.1, threads);
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state) {
    (void)state;
    static const char *const optimizers[] = {"sgd", "sgd,clip=0.5", "momentum,clip=2", "adam,clip=1", "nesterov"};
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        struct bench alone, together;
        play(&alone, optimizers[i], 1);
        play(&together, optimizers[i], 4);
        assert_memory_equal(server_vector(&alone.server), server_vector(&together.server), TOTAL * sizeof(float));
        for (int k = 0; k < alone.server.optimizer->states; k++)
            assert_memory_equal(alone.server.states[k], together.server.states[k], PARAMETERS * sizeof(float));
        close_bench(&alone);
        close_bench(&together);
    }
}

static void a_version_that_is_read_is_never_written(void **state) {
    (void)state;
    struct bench bench;
    open_bench(&bench, "sgd", ENGINE_MEAN);
    int held[WORKERS];
    float seen[WORKERS];
    for (int round = 0; round < 20; round++) {
        int reader = round % WORKERS;
        if (round >= WORKERS) {
            assert_true(bench.server.versions[held[reader]][7] == seen[reader]);
            server_let_go(&bench.server, held[reader]);
        }
        held[reader] = server_acquire(&bench.server);
        seen[reader] = bench.server.versions[held[reader]][7];
        hold(&bench, 1, 1);
        update(&bench, 0.1, 1);
        assert_true(server_vector(&bench.server)[7] != seen[reader]);
    }
    close_bench(&bench);
}

/* Each worker and the evaluation read a version of their own, none of them the current one: the most there can be.
 */
static void no_more_versions_than_workers_and_two_are_made(void **state) {
    (void)state;
    struct bench bench;
    open_bench(&bench, "sgd", ENGINE_MEAN);
    assert_int_equal(bench.server.version_count, WORKERS + 2);
    int oldest = server_acquire(&bench.server);
    for (int i = 0; i < WORKERS; i++) {
        hold(&bench, 1, 1);
        update(&bench, 0.1, 1);
        assert_true(server_acquire(&bench.server) != oldest);
    }
    hold(&bench, 1, 1);
    update(&bench, 0.1, 1); /* the last buffer */
    int made = 0;
    for (int i = 0; i < bench.server.version_count; i++)
        made += bench.server.versions[i] != NULL;
    assert_int_equal(made, WORKERS + 2);
    server_let_go(&bench.server, oldest); /* a worker delivers before the next update */
    int before = bench.server.current;
    server_acquire(&bench.server);
    hold(&bench, 1, 1);
    update(&bench, 0.1, 1);
    assert_int_equal(bench.server.current, oldest);
    assert_int_not_equal(bench.server.current, before);
    close_bench(&bench);
}

static void a_version_nobody_reads_is_changed_in_place(void **state) {
    (void)state;
    struct bench bench;
    size_t used;
    open_bench(&bench, "sgd", ENGINE_MEAN);
    used = memory_used();
    for (int i = 0; i < 5; i++) {
        hold(&bench, 1, 1);
        update(&bench, 0.1, 1);
    }
    assert_int_equal(memory_used(), used);
    close_bench(&bench);
}

static void exhausted_memory_is_a_status(void **state) {
    (void)state;
    struct plugin optimizer, correction;
    struct hysgd_model_layout layout = {.parameter_count = 100, .statistic_count = 1};
    assert_int_equal(plugin_open(&optimizer_list, "adam", &optimizer), HYSGD_OK);
    assert_int_equal(plugin_open(&correction_list, "dana", &correction), HYSGD_OK);
    size_t used = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    for (uint64_t n = 1; status == HYSGD_MEMORY; n++) {
        struct server server;
        memory_fail_at(n);
        status = server_init(&server, &optimizer, &layout, 2);
        if (status == HYSGD_OK)
            status = server_correct(&server, &correction);
        memory_fail_at(0);
        server_fini(&server);
        assert_int_equal(memory_used(), used);
    }
    plugin_close(&correction);
    plugin_close(&optimizer);
}

/* Gradient 1 is folded and gradient 0 comes with the update; both were computed at version 0, which is not the
 * present one any more. Returns the bench after the update. */
static void play_correction(struct bench *bench, const char *text, const char *optimizer, int threads) {
    struct plugin correction;
    open_bench(bench, optimizer, ENGINE_MEAN);
    assert_int_equal(plugin_open(&correction_list, text, &correction), HYSGD_OK);
    assert_int_equal(server_correct(&bench->server, &correction), HYSGD_OK);
    server_read(&bench->server, 0);
    server_read(&bench->server, 1);
    hold(bench, 2, 1);
    server_read(&bench->server, 2);
    update(bench, 0.1, threads);
    hold(bench, 1, 0.5f);
    fold(bench, threads);
    hold(bench, 0, 1);
    update(bench, 0.1, threads);
    plugin_close(&correction); /* its functions are not called any more */
}

static void a_correction_changes_each_parameter_once_and_no_statistic(void **state) {
    static float old_values[TOTAL];
    struct bench bench, plain;
    (void)state;
    play_correction(&plain, "none", "sgd", 1);
    open_bench(&bench, "sgd", ENGINE_MEAN);
    memcpy(old_values, server_vector(&bench.server), sizeof old_values);
    close_bench(&bench);
    play_correction(&bench, "delay-compensation,lambda=0.3", "sgd", 1);
    for (size_t i = 0; i < PARAMETERS; i++) {
        double moved = -0.1 * (double)bench.server.gradients[2][i], sum = 0;
        for (int w = 0; w < 2; w++) {
            double g = (double)bench.server.gradients[w][i];
            sum += (w == 1 ? 0.5 : 1) * (g + 0.3 * g * g * moved);
        }
        expect_near((double)server_vector(&bench.server)[i], (double)old_values[i] + moved - 0.1 * sum / 1.5);
    }
    assert_memory_equal(server_vector(&bench.server) + PARAMETERS, server_vector(&plain.server) + PARAMETERS,
                        STATISTICS * sizeof(float));
    close_bench(&bench);
    close_bench(&plain);
}

static void corrections_do_not_depend_on_the_number_of_threads(void **state) {
    static const char *const texts[] = {"delay-compensation,adaptive=yes", "distance,scale=1", "dana"};
    struct bench alone, together;
    (void)state;
    for (size_t i = 0; i < 2 * sizeof texts / sizeof *texts; i++) {
        const char *optimizer = i % 2 ? "sgd,clip=0.5" : "sgd";
        play_correction(&alone, texts[i / 2], optimizer, 1);
        play_correction(&together, texts[i / 2], optimizer, 5);
        assert_memory_equal(server_vector(&alone.server), server_vector(&together.server), TOTAL * sizeof(float));
        assert_memory_equal(alone.server.versions[alone.server.given],
                            together.server.versions[together.server.given], TOTAL * sizeof(float));
        close_bench(&alone);
        close_bench(&together);
    }
}

static void looking_ahead_leaves_the_parameters_themselves_alone(void **state) {
    struct bench bench;
    (void)state;
    play_correction(&bench, "dana,momentum=0.5", "sgd", 1);
    const float *present = server_vector(&bench.server), *given = bench.server.versions[bench.server.given];
    for (size_t i = 0; i < PARAMETERS; i++) { /* one gradient each; the latest update was divided by 1.5 */
        double total = 0;
        for (int w = 0; w < WORKERS; w++)
            total += (double)bench.server.gradients[w][i];
        expect_near((double)given[i], (double)present[i] - 0.1 / 1.5 * 0.5 * total);
    }
    assert_memory_equal(given + PARAMETERS, present + PARAMETERS, STATISTICS * sizeof(float));
    close_bench(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_match_the_reference),
        cmocka_unit_test(clipped_updates_match_the_reference),
        cmocka_unit_test(one_gradient_moves_the_statistics_by_the_momentum),
        cmocka_unit_test(a_sum_is_used_once),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(a_version_that_is_read_is_never_written),
        cmocka_unit_test(no_more_versions_than_workers_and_two_are_made),
        cmocka_unit_test(a_version_nobody_reads_is_changed_in_place),
        cmocka_unit_test(a_correction_changes_each_parameter_once_and_no_statistic),
        cmocka_unit_test(corrections_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(looking_ahead_leaves_the_parameters_themselves_alone),
        cmocka_unit_test(exhausted_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
