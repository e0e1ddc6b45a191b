/* SPDX-License-Identifier: Apache-2.0 */
/* Every listed correction against a plain serial simulation of its publication, in double and on the quadratic
 * alone. The simulation is fed with nothing but the order in which gradients arrived and the versions that they had
 * been computed at; the run's parameters must be its iterates, whatever the runtime. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "runtime/fixture.h"

#define DIMENSION     10
#define CONDITION     100
#define WORKERS       5
#define BATCH         4
#define SEED          3
#define RATE          0.04
#define MOST_ARRIVALS 600

/* What a run tells. */
struct tape {
    int arrivals[MOST_ARRIVALS];
    uint64_t reads[MOST_ARRIVALS]; /* versions that the gradients were computed at */
    uint64_t count, stale;
};

static void record(void *self, const struct training *training, const struct event *event) {
    struct tape *tape = self;
    (void)training;
    if (event->kind != EVENT_ARRIVAL || tape->count == MOST_ARRIVALS)
        return;
    tape->arrivals[tape->count] = event->worker;
    tape->reads[tape->count++] = event->arrival.read;
    tape->stale += event->version > event->arrival.read;
}

/* The simulation: all vectors by name of the publications. */
struct scribe {
    double w[DIMENSION];                       /* the parameters */
    double read[MOST_ARRIVALS + 1][DIMENSION]; /* what each version gave workers to compute at */
    double square[DIMENSION];                  /* DC-ASGD's MeanSquare */
    double velocities[WORKERS][DIMENSION];     /* DANA's v */
    double sum[DIMENSION];                     /* of the corrected gradients since the update */
    uint64_t draws[WORKERS], version;
    double rate;
};

/* The stochastic gradient lambda (x - target) + noise / sqrt(batch) of a worker's next batch at x. */
static void draw_gradient(struct scribe *scribe, int worker, const double *x, double *gradient) {
    float noise[DIMENSION];
    struct random random;
    random_init(&random, SEED, (uint32_t)worker, RANDOM_NOISE, scribe->draws[worker]++);
    random_fill_normal(&random, noise, DIMENSION);
    for (int i = 0; i < DIMENSION; i++) {
        double lambda = pow(CONDITION, (double)i / (DIMENSION - 1) - 1), target = i % 2 == 0 ? 1 : -1;
        gradient[i] = lambda * (x[i] - target) + (double)noise[i] / sqrt(BATCH);
    }
}

typedef void (*corrector)(struct scribe *scribe, int worker, const double *read, double *g);

static void leave(struct scribe *scribe, int worker, const double *read, double *g) {
    (void)scribe, (void)worker, (void)read, (void)g;
}

/* Zheng et al. 2017: g + lambda g g (w - w_bak). */
static void compensate(struct scribe *scribe, int worker, const double *read, double *g) {
    (void)worker;
    for (int i = 0; i < DIMENSION; i++)
        g[i] += 0.04 * g[i] * g[i] * (scribe->w[i] - read[i]);
}

/* The same with lambda_0 / (sqrt(MeanSquare) + 1e-7). */
static void compensate_adaptively(struct scribe *scribe, int worker, const double *read, double *g) {
    (void)worker;
    for (int i = 0; i < DIMENSION; i++) {
        scribe->square[i] = 0.95 * scribe->square[i] + 0.05 * g[i] * g[i];
        g[i] += 2 / (sqrt(scribe->square[i]) + 1e-7) * g[i] * g[i] * (scribe->w[i] - read[i]);
    }
}

/* Dutta et al. 2018: the rate min(C / |w - w_read|^2, rate), here C = 0.002. */
static void slow_down(struct scribe *scribe, int worker, const double *read, double *g) {
    double squared = 0;
    (void)worker;
    for (int i = 0; i < DIMENSION; i++)
        squared += (scribe->w[i] - read[i]) * (scribe->w[i] - read[i]);
    double rate = squared > 0 && 0.002 / squared < RATE ? 0.002 / squared : RATE;
    for (int i = 0; i < DIMENSION; i++)
        g[i] *= rate / RATE;
}

/* Hakimi et al. 2019: v = mu v + g in the place of g. */
static void gain_momentum(struct scribe *scribe, int worker, const double *read, double *g) {
    (void)read;
    for (int i = 0; i < DIMENSION; i++)
        g[i] = scribe->velocities[worker][i] = 0.8 * scribe->velocities[worker][i] + g[i];
}

/* ... and workers are given w - rate mu (v(1) + ... + v(n)); without momentum the sum is 0. */
static void publish(struct scribe *scribe) {
    for (int i = 0; i < DIMENSION; i++) {
        double total = 0;
        for (int worker = 0; worker < WORKERS; worker++)
            total += scribe->velocities[worker][i];
        scribe->read[scribe->version][i] = scribe->w[i] - scribe->rate * 0.8 * total;
    }
}

/* An update takes the mean of each `size` gradients in turn. */
static void simulate(struct scribe *scribe, const struct tape *tape, corrector correct, int size) {
    *scribe = (struct scribe){.rate = RATE / size};
    for (uint64_t t = 0; t < tape->count; t++) {
        double g[DIMENSION], read[DIMENSION];
        int worker = tape->arrivals[t];
        memcpy(read, scribe->read[tape->reads[t]], sizeof read);
        draw_gradient(scribe, worker, read, g);
        correct(scribe, worker, read, g);
        for (int i = 0; i < DIMENSION; i++)
            scribe->sum[i] += g[i];
        if ((t + 1) % (uint64_t)size != 0)
            continue;
        for (int i = 0; i < DIMENSION; i++)
            scribe->w[i] -= scribe->rate * scribe->sum[i];
        memset(scribe->sum, 0, sizeof scribe->sum);
        scribe->version++;
        publish(scribe);
    }
}

static const struct {
    const char *text;
    corrector correct;
} subjects[] = {{"none", leave},
                {"delay-compensation", compensate},
                {"delay-compensation,adaptive=yes", compensate_adaptively},
                {"distance,scale=0.002", slow_down},
                {"dana,momentum=0.8", gain_momentum}};

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static void play(struct run *run, struct tape *tape, const char *correction, const char *runtime, int size) {
    char policy[40];
    snprintf(policy, sizeof policy, "batch-async,size=%d", size);
    struct run_setup from = {.policy = policy,
                             .runtime = runtime,
                             .correction = correction,
                             .model = "quadratic,dimension=10,condition=100,noise=1",
                             .optimizer = "sgd,rate=0.04",
                             .workers = WORKERS,
                             .batch = BATCH,
                             .seed = SEED,
                             .limits.gradients = MOST_ARRIVALS,
                             .ring = 256,
                             .watch = record,
                             .watch_self = tape};
    from.timing = strcmp(runtime, "virtual") == 0
                      ? (struct timing_texts){.speeds = "1,0.9,0.6,0.4,0.1", .compute = "lognormal"}
                      : (struct timing_texts){.delay = "half,exponential,mean=0.0003"};
    *tape = (struct tape){0};
    run_expect(run, &from, HYSGD_OK);
    assert_int_equal(tape->count, MOST_ARRIVALS);
}

/* Rounding in single precision, which the quadratic forgets as it converges. */
#define ROUNDING 2e-5

static void expect_parameters(const struct run *run, const struct scribe *scribe, const char *what) {
    const float *found = training_vector(&run->training);
    for (int i = 0; i < DIMENSION; i++)
        if (!(fabs((double)found[i] - scribe->w[i]) <= ROUNDING))
            fail_msg("%s on %s: parameter %d is %.9g, the simulation says %.9g", what,
                     run_text(run->from.runtime, "virtual"), i, (double)found[i], scribe->w[i]);
    assert_int_equal(run->summary.updates, scribe->version);
}

static void every_correction_is_its_publication_in_every_runtime(void **state) {
    static struct scribe scribe;
    static struct tape tape;
    static const int sizes[] = {1, 3};
    (void)state;
    for (size_t k = 0; k < COUNT(subjects) * COUNT(sizes) * runtime_list.count; k++) {
        size_t subject = k / COUNT(sizes) / runtime_list.count;
        int size = sizes[k / runtime_list.count % COUNT(sizes)];
        struct run run;
        play(&run, &tape, subjects[subject].text, runtime_list.entries[k % runtime_list.count]->name, size);
        simulate(&scribe, &tape, subjects[subject].correct, size);
        expect_parameters(&run, &scribe, subjects[subject].text);
        if (runtime_ops(&run.runtime)->is_modelled)
            assert_true(tape.stale > MOST_ARRIVALS / 3);
        run_close(&run);
    }
}

static double difference(const struct scribe *left, const struct scribe *right) {
    double largest = 0;
    for (int i = 0; i < DIMENSION; i++)
        largest = fmax(largest, fabs(left->w[i] - right->w[i]));
    return largest;
}

/* Otherwise the test above would prove nothing. */
static void every_correction_makes_a_difference(void **state) {
    static struct scribe scribes[COUNT(subjects)];
    static struct tape tape;
    struct run run;
    (void)state;
    play(&run, &tape, "none", "virtual", 1);
    run_close(&run);
    for (size_t i = 0; i < COUNT(subjects); i++)
        simulate(&scribes[i], &tape, subjects[i].correct, 1);
    for (size_t i = 1; i < COUNT(subjects); i++)
        for (size_t k = 0; k < i; k++)
            assert_true(difference(&scribes[i], &scribes[k]) > 25 * ROUNDING);
}

/* Without staleness there is nothing to correct. */
static void corrections_of_staleness_leave_a_serial_run_alone(void **state) {
    static const char *const texts[] = {"delay-compensation", "delay-compensation,adaptive=yes", "distance"};
    struct run_setup from = {.workers = 1, .limits.gradients = 50};
    uint64_t plain = run_result(&from);
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        from.correction = texts[i];
        assert_true(run_result(&from) == plain);
    }
}

static void a_correction_refuses_an_optimizer_that_it_is_not_defined_for(void **state) {
    (void)state;
    for (size_t i = 0; i < correction_list.count; i++) {
        const struct correction_ops *ops = (const struct correction_ops *)correction_list.entries[i];
        assert_int_equal(correction_check(ops, "sgd"), HYSGD_OK);
        assert_int_equal(correction_check(ops, "adam"), ops->optimizer ? HYSGD_USAGE : HYSGD_OK);
    }
}

static void options_out_of_range_are_refused(void **state) {
    static const char *const bad[] = {"delay-compensation,lambda=-1",
                                      "delay-compensation,mean=1",
                                      "dana,momentum=1.1",
                                      "distance,scale=0",
                                      "none,lambda=1",
                                      "dano"};
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct plugin opened;
        assert_int_equal(plugin_open(&correction_list, bad[i], &opened), HYSGD_USAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_correction_is_its_publication_in_every_runtime),
        cmocka_unit_test(every_correction_makes_a_difference),
        cmocka_unit_test(corrections_of_staleness_leave_a_serial_run_alone),
        cmocka_unit_test(a_correction_refuses_an_optimizer_that_it_is_not_defined_for),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("corrections", tests, NULL, NULL);
}
