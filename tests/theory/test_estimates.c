/* SPDX-License-Identifier: Apache-2.0 */
/* The estimates of noise, signal and agreement against what they are on the quadratic, where a gradient has the
 * mean lambda (w - target) and the variance s^2 in each direction.
 *
 * Parameters that stand still (rate 0): signal and agreement are sum_i lambda_i^2 (w_i - target_i)^2 and the noise
 * is the dimension times s^2, however many gradients an update averages and however stale they are.
 *
 * At the noise floor of sync, with x = w - target, a = rate * lambda and q = s^2 / n in one direction,
 *     x(t+1) = (1 - a) x(t) - rate u(t),   var u = q,   var x = rate^2 q / (a (2 - a)):
 * the signal is lambda^2 var x = a q / (2 - a), and the agreement between an update's gradient lambda x(t) + u(t)
 * and the next one's is lambda^2 (1 - a) var x - rate lambda q = -a q / (2 - a), the signal again, with the other
 * sign. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "theory/measure.h"

#define DIMENSION 20
#define BATCH     4
#define BURN_IN   2000 /* gradients */

/* Estimates in a batch of the measures: one remembers about 8 rounds of the workers, which are as many blocks. */
#define LENGTH 150

struct scene {
    struct measure noise, signal, agreement;
};

static void watch(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    if (event->kind != EVENT_ESTIMATE || training->engine.progress.received < BURN_IN)
        return;
    measure_add(&scene->noise, event->estimate.noise);
    measure_add(&scene->signal, event->estimate.signal);
    measure_add(&scene->agreement, event->estimate.agreement);
}

/* ---- Policies that only look: batch-async of three sizes, and sync ---- */

#define THRESHOLD(count)                                                                                           \
    static uint64_t threshold_##count(void *self, const struct hysgd_progress *now) {                              \
        (void)self, (void)now;                                                                                     \
        return count;                                                                                              \
    }
THRESHOLD(1)
THRESHOLD(3)
THRESHOLD(8)

static uint64_t everyone(void *self, const struct hysgd_progress *now) {
    (void)self;
    return (uint64_t)now->workers;
}

static enum hysgd_release at_once(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_GO;
}

static enum hysgd_release after_the_update(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

#define LOOKING(function, answer)                                                                                  \
    { .about = {.name = #function}, .threshold = function, .release = answer, .wants_estimates = true }
static const struct hysgd_policy_ops policies[] = {LOOKING(threshold_1, at_once), LOOKING(threshold_3, at_once),
                                                   LOOKING(threshold_8, at_once),
                                                   LOOKING(everyone, after_the_update)};
static const struct hysgd_policy_ops *const sync = &policies[3];

/* ---- Runs ---- */

static void run_scene(struct scene *scene, const struct hysgd_policy_ops *policy, const char *optimizer,
                      enum engine_combine combine, const char *worker_weights) {
    struct run run;
    struct run_setup setup = {
        .data = "none",
        .model = "quadratic,dimension=20,condition=10,noise=2",
        .own_policy = policy,
        .optimizer = optimizer,
        .combine = combine,
        .worker_weights = worker_weights,
        .workers = 6,
        .batch = BATCH,
        .timing = {.compute = "uniform,least=0.5,most=1.5", .delay = "half,exponential,mean=1"},
        .limits = {.gradients = BURN_IN + 8 * 6 * MEASURE_BATCHES * LENGTH},
        .ring = 256,
        .watch = watch,
        .watch_self = scene};
    *scene = (struct scene){{.length = LENGTH}, {.length = LENGTH}, {.length = LENGTH}};
    run_expect(&run, &setup, HYSGD_OK);
    run_close(&run);
}

static double curvature(int i) {
    return pow(10, (double)i / (DIMENSION - 1) - 1);
}

/* Of a gradient, in each direction: noise=2 of a sample. */
static const double variance = 4.0 / BATCH;

/* The parameters begin at 0, the targets are +1 and -1. */
static void expect_start(const struct scene *scene, const char *what) {
    double signal = 0;
    for (int i = 0; i < DIMENSION; i++)
        signal += curvature(i) * curvature(i);
    measure_expect(&scene->noise, DIMENSION * variance, 0.01, what);
    measure_expect(&scene->signal, signal, 0.02, what);
    measure_expect(&scene->agreement, signal, 0.02, what);
}

static void nothing_depends_on_how_many_gradients_are_averaged(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct scene scene;
        run_scene(&scene, &policies[i], "sgd,rate=0", i % 2 ? ENGINE_SUM : ENGINE_MEAN, NULL);
        expect_start(&scene, policies[i].about.name);
    }
}

static void gradients_of_unequal_weight_are_told_apart_from_noise(void **state) {
    (void)state;
    struct scene scene;
    run_scene(&scene, &policies[1], "sgd,rate=0", ENGINE_MEAN, "1,1,3,0.5,2,1");
    expect_start(&scene, "unequal weights");
}

/* Clipping makes two passes of an update, and steps shorter than the gradient that is seen. */
static void clipping_changes_nothing_of_what_is_seen(void **state) {
    (void)state;
    struct scene scene;
    run_scene(&scene, &policies[1], "sgd,rate=0,clip=0.001", ENGINE_MEAN, NULL);
    expect_start(&scene, "clipped");
}

static void at_the_noise_floor_steps_take_back_the_signal(void **state) {
    (void)state;
    struct scene scene;
    double signal = 0, rate = 0.4;
    for (int i = 0; i < DIMENSION; i++)
        signal += rate * curvature(i) / (2 - rate * curvature(i)) * variance / 6;
    run_scene(&scene, sync, "sgd,rate=0.4", ENGINE_MEAN, NULL);
    measure_expect(&scene.noise, DIMENSION * variance, 0.01, "noise at the floor");
    measure_expect(&scene.signal, signal, 0.05, "signal at the floor");
    for (int b = 0; b < MEASURE_BATCHES; b++)
        scene.agreement.sums[b] = -scene.agreement.sums[b];
    measure_expect(&scene.agreement, signal, 0.05, "-agreement at the floor");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_depends_on_how_many_gradients_are_averaged),
        cmocka_unit_test(gradients_of_unequal_weight_are_told_apart_from_noise),
        cmocka_unit_test(clipping_changes_nothing_of_what_is_seen),
        cmocka_unit_test(at_the_noise_floor_steps_take_back_the_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
