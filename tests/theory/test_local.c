/* SPDX-License-Identifier: Apache-2.0 */
/* Local steps and elastic averaging against plain serial simulations of their publications, in double and on the
 * quadratic alone. A simulation is fed with nothing but the order in which rounds were delivered, their number of
 * steps and the versions that they began at; the run's parameters must be its iterates, whatever the runtime. */
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
#define MOST_ARRIVALS 200

/* Rounding in single precision, which the quadratic forgets as it converges. */
#define ROUNDING 3e-5

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* What a run tells. */
struct tape {
    int arrivals[MOST_ARRIVALS];
    uint64_t reads[MOST_ARRIVALS];   /* versions that the rounds began at */
    uint64_t batches[MOST_ARRIVALS]; /* their steps */
    uint64_t count;
};

static void record(void *self, const struct training *training, const struct event *event) {
    struct tape *tape = self;
    (void)training;
    if (event->kind != EVENT_ARRIVAL || tape->count == MOST_ARRIVALS)
        return;
    tape->arrivals[tape->count] = event->worker;
    tape->reads[tape->count] = event->arrival.read;
    tape->batches[tape->count++] = event->arrival.batches;
}

/* The simulation, with the letters of the publications. */
struct scribe {
    double theta[MOST_ARRIVALS + 1][DIMENSION]; /* the server's parameters, version by version */
    double sum[DIMENSION];                      /* of what was delivered since the update */
    double momentum[DIMENSION];                 /* the outer optimizer's */
    double own[WORKERS][DIMENSION];             /* EASGD's x */
    double m[WORKERS][DIMENSION], v[WORKERS][DIMENSION];
    uint64_t draws[WORKERS], steps[WORKERS], version;
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

typedef void (*inner)(struct scribe *scribe, int worker, double *x);

/* Stich 2019: x -= eta g, with eta = 0.04. */
static void descend(struct scribe *scribe, int worker, double *x) {
    double g[DIMENSION];
    draw_gradient(scribe, worker, x, g);
    for (int i = 0; i < DIMENSION; i++)
        x[i] -= 0.04 * g[i];
}

/* The inner AdamW of DiLoCo, with rate 0.01 and decay 0.1. */
static void adapt(struct scribe *scribe, int worker, double *x) {
    double g[DIMENSION], *m = scribe->m[worker], *v = scribe->v[worker];
    draw_gradient(scribe, worker, x, g);
    double t = (double)++scribe->steps[worker];
    for (int i = 0; i < DIMENSION; i++) {
        m[i] = 0.9 * m[i] + 0.1 * g[i];
        v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
        double step = m[i] / (1 - pow(0.9, t)) / (sqrt(v[i] / (1 - pow(0.999, t))) + 1e-8);
        x[i] -= 0.01 * (step + 0.1 * x[i]);
    }
}

/* A worker that forgets what the latest round has taught its optimizer. */
static void adapt_anew(struct scribe *scribe, int worker, double *x) {
    (void)x;
    memset(scribe->m[worker], 0, sizeof scribe->m[worker]);
    memset(scribe->v[worker], 0, sizeof scribe->v[worker]);
    scribe->steps[worker] = 0;
}

/* A round of H steps from the version read; what is delivered is added to the sum. */
static void deliver(struct scribe *scribe, int worker, const double *read, uint64_t steps, inner step) {
    double x[DIMENSION];
    memcpy(x, read, sizeof x);
    for (uint64_t h = 0; h < steps; h++)
        step(scribe, worker, x);
    for (int i = 0; i < DIMENSION; i++)
        scribe->sum[i] += read[i] - x[i];
}

/* Douillard et al. 2023, algorithm 1: Nesterov's momentum on the mean of the differences; with rate 1 and no
 * momentum it is the mean of the workers' parameters. */
static void update(struct scribe *scribe, double rate, double mu, int size) {
    const double *theta = scribe->theta[scribe->version];
    double *next = scribe->theta[++scribe->version];
    for (int i = 0; i < DIMENSION; i++) {
        double delta = scribe->sum[i] / size;
        scribe->momentum[i] = mu * scribe->momentum[i] + delta;
        next[i] = theta[i] - rate * (delta + mu * scribe->momentum[i]);
        scribe->sum[i] = 0;
    }
}

/* How a method is written here and there. An update takes `size` deliveries. */
struct subject {
    const char *name, *policy, *local, *local_optimizer, *optimizer;
    int size;
    inner step;
    bool resets;
    double rate, mu;
};

static const struct subject subjects[] = {
    {"local SGD", "sync", "fixed,steps=4", "sgd,rate=0.04", "sgd,rate=1", WORKERS, descend, false, 1, 0},
    {"post-local SGD", "sync", "post-local,steps=4,at=15,unit=updates", "sgd,rate=0.04", "sgd,rate=1", WORKERS,
     descend, false, 1, 0},
    {"DiLoCo", "sync", "fixed,steps=5", "adamw,rate=0.01,decay=0.1", "nesterov,rate=0.7,momentum=0.9", WORKERS,
     adapt, false, 0.7, 0.9},
    {"DiLoCo with reset", "sync", "fixed,steps=5,state=reset", "adamw,rate=0.01,decay=0.1",
     "nesterov,rate=0.7,momentum=0.9", WORKERS, adapt, true, 0.7, 0.9},
    {"FedBuff", "batch-async,size=3", "fixed,steps=4", "sgd,rate=0.04", "sgd,rate=0.5", 3, descend, false, 0.5, 0},
    {"steps in proportion", "async", "proportional,steps=6", "sgd,rate=0.04", "sgd,rate=0.5", 1, descend, false,
     0.5, 0},
};

static void simulate(struct scribe *scribe, const struct tape *tape, const struct subject *subject) {
    memset(scribe, 0, sizeof *scribe);
    for (uint64_t t = 0; t < tape->count; t++) {
        int worker = tape->arrivals[t];
        if (subject->resets)
            adapt_anew(scribe, worker, NULL);
        deliver(scribe, worker, scribe->theta[tape->reads[t]], tape->batches[t], subject->step);
        if ((t + 1) % (uint64_t)subject->size == 0)
            update(scribe, subject->rate, subject->mu, subject->size);
    }
}

static struct run_setup setup_of(const struct subject *subject, const char *runtime, struct tape *tape) {
    struct run_setup from = {.policy = subject->policy,
                             .local = subject->local,
                             .local_optimizer = subject->local_optimizer,
                             .optimizer = subject->optimizer,
                             .runtime = runtime,
                             .model = "quadratic,dimension=10,condition=100,noise=1",
                             .workers = WORKERS,
                             .batch = BATCH,
                             .seed = SEED,
                             .limits.gradients = MOST_ARRIVALS / WORKERS / 3 * WORKERS * 3,
                             .ring = 256,
                             .watch = record,
                             .watch_self = tape};
    from.timing = strcmp(runtime, "virtual") == 0
                      ? (struct timing_texts){.speeds = "1,0.9,0.6,0.4,0.1", .compute = "lognormal"}
                      : (struct timing_texts){.delay = "half,exponential,mean=0.0003"};
    return from;
}

static void expect_parameters(const struct run *run, const struct scribe *scribe, const char *what) {
    const float *found = training_vector(&run->training);
    for (int i = 0; i < DIMENSION; i++)
        if (!(fabs((double)found[i] - scribe->theta[scribe->version][i]) <= ROUNDING))
            fail_msg("%s on %s: parameter %d is %.9g, the simulation says %.9g", what, run->from.runtime, i,
                     (double)found[i], scribe->theta[scribe->version][i]);
    assert_int_equal(run->summary.updates, scribe->version);
}

static void every_method_is_its_publication_in_every_runtime(void **state) {
    static struct scribe scribe;
    (void)state;
    for (size_t k = 0; k < COUNT(subjects) * runtime_list.count; k++) {
        const struct subject *subject = &subjects[k / runtime_list.count];
        struct tape tape = {.count = 0};
        struct run_setup from = setup_of(subject, runtime_list.entries[k % runtime_list.count]->name, &tape);
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        simulate(&scribe, &tape, subject);
        expect_parameters(&run, &scribe, subject->name);
        run_close(&run);
    }
}

/* Otherwise the test above would prove nothing. */
static void every_method_makes_a_difference(void **state) {
    static struct scribe one, other;
    (void)state;
    struct tape tape = {.count = 0};
    struct run_setup from = setup_of(&subjects[2], "virtual", &tape);
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    run_close(&run);
    for (size_t i = 2; i < COUNT(subjects); i++) {
        simulate(&one, &tape, &subjects[i]);
        simulate(&other, &tape, &subjects[i == 2 ? 0 : 2]);
        double largest = 0;
        for (int k = 0; k < DIMENSION; k++)
            largest = fmax(largest, fabs(one.theta[one.version][k] - other.theta[other.version][k]));
        assert_true(largest > 25 * ROUNDING);
    }
}

static void the_warm_up_takes_single_steps(void **state) {
    (void)state;
    struct tape tape = {.count = 0};
    struct run_setup from = setup_of(&subjects[1], "virtual", &tape);
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    for (uint64_t t = 0; t < tape.count; t++)
        assert_int_equal(tape.batches[t], tape.reads[t] < 15 ? 1 : 4);
    assert_true(tape.reads[tape.count - 1] > 15);
    run_close(&run);
}

/* Zhang, Choromanska and LeCun 2015, algorithm 1 without momentum; the center moves when a round is delivered. */
static void simulate_elastic(struct scribe *scribe, const struct tape *tape, double alpha, int size) {
    bool has_own[WORKERS] = {false};
    memset(scribe, 0, sizeof *scribe);
    for (uint64_t t = 0; t < tape->count; t++) {
        double g[DIMENSION], *x = scribe->own[tape->arrivals[t]];
        const double *center = scribe->theta[tape->reads[t]];
        if (!has_own[tape->arrivals[t]])
            memcpy(x, center, sizeof g);
        has_own[tape->arrivals[t]] = true;
        draw_gradient(scribe, tape->arrivals[t], x, g);
        for (int i = 0; i < DIMENSION; i++) {
            double d = alpha * (x[i] - center[i]);
            x[i] -= d + 0.04 * g[i];
            scribe->sum[i] += d;
        }
        for (uint64_t h = 1; h < tape->batches[t]; h++)
            descend(scribe, tape->arrivals[t], x);
        if ((t + 1) % (uint64_t)size != 0)
            continue;
        const double *old = scribe->theta[scribe->version++];
        for (int i = 0; i < DIMENSION; i++) {
            scribe->theta[scribe->version][i] = old[i] + scribe->sum[i];
            scribe->sum[i] = 0;
        }
    }
}

static void elastic_averaging_is_its_publication_in_every_runtime(void **state) {
    static const struct {
        const char *policy, *local;
        double alpha;
        int size;
    } rows[] = {{"elastic", "fixed,steps=3", 0.9 / WORKERS, 1},
                {"elastic,alpha=0.1", "fixed,steps=1", 0.1, 1},
                {"elastic,beta=0.5,order=sync", "fixed,steps=4", 0.5 / WORKERS, WORKERS},
                {"elastic,order=sync", "fixed,steps=1", 0.9 / WORKERS, WORKERS}};
    static struct scribe scribe;
    (void)state;
    for (size_t k = 0; k < COUNT(rows) * runtime_list.count; k++) {
        size_t i = k / runtime_list.count;
        const struct subject subject = {.policy = rows[i].policy,
                                        .local = rows[i].local,
                                        .local_optimizer = "sgd,rate=0.04",
                                        .optimizer = "sgd,rate=1"};
        struct tape tape = {.count = 0};
        struct run_setup from = setup_of(&subject, runtime_list.entries[k % runtime_list.count]->name, &tape);
        struct run run;
        run_expect(&run, &from, HYSGD_OK);
        simulate_elastic(&scribe, &tape, rows[i].alpha, rows[i].size);
        expect_parameters(&run, &scribe, rows[i].policy);
        run_close(&run);
    }
}

/* The outer rate 1 takes back nothing of the inner one's step, but for rounding. */
static void one_step_and_averaging_is_plain_descent(void **state) {
    (void)state;
    for (size_t k = 0; k < runtime_list.count; k++) {
        struct tape tape = {.count = 0};
        const struct subject plain = {.policy = "sync", .optimizer = "sgd,rate=0.04"};
        const struct subject local = {.policy = "sync",
                                      .local = "fixed,steps=1",
                                      .local_optimizer = "sgd,rate=0.04",
                                      .optimizer = "sgd,rate=1"};
        const char *runtime = runtime_list.entries[k]->name;
        struct run_setup one = setup_of(&plain, runtime, &tape), other = setup_of(&local, runtime, &tape);
        struct run left, right;
        run_expect(&left, &one, HYSGD_OK);
        run_expect(&right, &other, HYSGD_OK);
        for (int i = 0; i < DIMENSION; i++)
            assert_true(fabs((double)training_vector(&left.training)[i] -
                             (double)training_vector(&right.training)[i]) <= 2e-6);
        run_close(&left);
        run_close(&right);
    }
}

/* Worker i computes a batch in 1 / speed seconds; the quickest one's rounds take 8. */
static void all_deliver_at_the_pace_of_the_quickest(void **state) {
    static const uint64_t expected[WORKERS] = {8, 4, 2, 1, 6};
    (void)state;
    struct tape tape = {.count = 0};
    const struct subject subject = {.policy = "async",
                                    .local = "proportional,steps=8",
                                    .local_optimizer = "sgd,rate=0.01",
                                    .optimizer = "sgd,rate=1"};
    struct run_setup from = setup_of(&subject, "virtual", &tape);
    from.timing = (struct timing_texts){.speeds = "1,0.5,0.25,0.125,0.75", .compute = "constant,mean=1"};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    for (uint64_t t = tape.count / 2; t < tape.count; t++)
        assert_int_equal(tape.batches[t], expected[tape.arrivals[t]]);
    run_close(&run);
}

/* A model whose statistic is seen in the data alone. */
static void describe_statistic(const void *self, struct hysgd_model_layout *layout_out) {
    static const struct hysgd_tensor tensors[] = {{.name = "w", .rank = 1, .dims = {1}, .first = 0},
                                                  {.name = "mean", .rank = 1, .dims = {1}, .first = 1}};
    (void)self;
    *layout_out = (struct hysgd_model_layout){.tensors = tensors,
                                              .tensor_count = 2,
                                              .parameter_count = 1,
                                              .statistic_count = 1,
                                              .statistic_momentum = 0.1};
}

static enum hysgd_status observe(const void *self, void *workspace, const float *vector,
                                 const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self, (void)workspace;
    gradient_out[0] = vector[0];
    gradient_out[1] = (float)((batch->draw * 7 + batch->worker) % 11);
    *loss_out = 0;
    return HYSGD_OK;
}

static const struct hysgd_model_ops statistic_ops = {
    .about = {.name = "statistic"}, .describe = describe_statistic, .gradient = observe};

static float statistic_after(const char *local, uint64_t gradients) {
    struct run_setup from = {.own_model = &statistic_ops,
                             .policy = "sync",
                             .local = local,
                             .local_optimizer = local ? "sgd,rate=0.1" : NULL,
                             .optimizer = local ? "sgd,rate=1" : "sgd,rate=0.1",
                             .workers = 1,
                             .limits.gradients = gradients};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    float found = training_vector(&run.training)[1];
    run_close(&run);
    return found;
}

static void statistics_move_as_by_one_batch_after_the_other(void **state) {
    (void)state;
    float plain = statistic_after(NULL, 24);
    assert_true(plain > 1);
    assert_true(fabs((double)(statistic_after("fixed,steps=4", 6) - plain)) < 1e-5);
    assert_true(fabs((double)(statistic_after("fixed,steps=12", 2) - plain)) < 1e-5);
}

/* Samples, epochs and the loss are those of batches, not of deliveries. */
static void a_round_counts_with_all_of_its_batches(void **state) {
    (void)state;
    struct tape tape = {.count = 0};
    struct run_setup from = setup_of(&subjects[0], "virtual", &tape);
    from.limits = (struct training_limits){.epochs = 2};
    from.data = "none,samples=800";
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(run.training.engine.received_batches * BATCH, 2 * 800);
    assert_int_equal(tape.count, 2 * 800 / BATCH / 4);
    for (int w = 0; w < WORKERS; w++) {
        assert_int_equal(run.summary.accounts[w].batches, 4 * run.summary.accounts[w].received);
        assert_true(run.training.shares.by_worker[w].applied == 16 * (double)run.summary.accounts[w].applied);
    }
    run_close(&run);
}

static void expect_refusal(const struct run_setup *from, const char *why) {
    struct run run;
    assert_int_equal(run_open(&run, from), HYSGD_USAGE);
    if (strstr(hysgd_error_message(), why) == NULL)
        fail_msg("'%s' does not say '%s'", hysgd_error_message(), why);
    run_close(&run);
}

static void contradictions_are_refused(void **state) {
    (void)state;
    struct run_setup from = {.policy = "sync", .local = "fixed"};
    expect_refusal(&from, "local fixed: needs local-optimizer");
    from = (struct run_setup){.policy = "sync", .local = "off", .local_optimizer = "sgd"};
    expect_refusal(&from, "local-optimizer=sgd needs local steps");
    from = (struct run_setup){.policy = "elastic", .correction = "delay-compensation"};
    expect_refusal(&from, "correction=delay-compensation contradicts it");
    from = (struct run_setup){.policy = "elastic", .worker_weights = "samples"};
    expect_refusal(&from, "weights contradict it");
    from = (struct run_setup){.policy = "elastic", .local = "off"};
    expect_refusal(&from, "policy elastic: needs local steps");
    from = (struct run_setup){.policy = "sync", .local = "post-local,at=2", .local_optimizer = "sgd"};
    expect_refusal(&from, "at=2 is not a fraction of the run");
}

static void options_out_of_range_are_refused(void **state) {
    static const char *const bad[] = {
        "fixed,steps=0",        "fixed,steps=1000001",    "fixed,state=lose", "post-local,at=-1",
        "post-local,unit=days", "proportional,steps=1.5", "off,steps=2",      "fixt"};
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct plugin opened;
        assert_int_equal(plugin_open(&local_list, bad[i], &opened), HYSGD_USAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_its_publication_in_every_runtime),
        cmocka_unit_test(every_method_makes_a_difference),
        cmocka_unit_test(the_warm_up_takes_single_steps),
        cmocka_unit_test(elastic_averaging_is_its_publication_in_every_runtime),
        cmocka_unit_test(one_step_and_averaging_is_plain_descent),
        cmocka_unit_test(all_deliver_at_the_pace_of_the_quickest),
        cmocka_unit_test(statistics_move_as_by_one_batch_after_the_other),
        cmocka_unit_test(a_round_counts_with_all_of_its_batches),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
