/* SPDX-License-Identifier: Apache-2.0 */
/* Published algorithms written down once more, from their pseudo-code and for the quadratic alone, and fed with the
 * order of arrivals that a run had: every iterate of the run is theirs. They know the numbers of the workers in
 * that order and nothing else of the run. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"
#include "theory/measure.h"

#define DIMENSION     10
#define CONDITION     100
#define WORKERS       6
#define BATCH         4
#define SEED          7
#define RATE          0.05f
#define MOST_ARRIVALS 3000

/* What a run did: who arrived in which order, and the parameters after each update. */
struct tape {
    int arrivals[MOST_ARRIVALS];
    float iterates[MOST_ARRIVALS + 1][DIMENSION];
    uint64_t arrival_count, update_count;
};

static void record(void *self, const struct training *training, const struct event *event) {
    struct tape *tape = self;
    if (event->kind == EVENT_ARRIVAL)
        tape->arrivals[tape->arrival_count++] = event->worker;
    if (event->kind == EVENT_UPDATE)
        memcpy(tape->iterates[++tape->update_count], server_vector(&training->server), sizeof tape->iterates[0]);
}

static int set_tape(void **state) {
    return memory_alloc(1, sizeof(struct tape), state) == HYSGD_OK ? 0 : -1;
}

static int clear_tape(void **state) {
    memory_free(*state);
    return 0;
}

/* Workers with a heavy tail and a server that takes its time, so that the order has everything in it. */
static void play_at(struct tape *tape, const char *speeds, const char *policy, enum engine_combine combine) {
    struct run run;
    struct run_setup setup = {.policy = policy,
                              .model = "quadratic,dimension=10,condition=100,noise=1",
                              .optimizer = "sgd,rate=0.05",
                              .combine = combine,
                              .workers = WORKERS,
                              .batch = BATCH,
                              .seed = SEED,
                              .timing = {.speeds = speeds,
                                         .compute = "lognormal",
                                         .receive = "exponential,mean=0.0005",
                                         .apply = "constant,mean=0.0005"},
                              .limits.gradients = MOST_ARRIVALS,
                              .ring = 256,
                              .watch = record,
                              .watch_self = tape};
    *tape = (struct tape){0};
    run_expect(&run, &setup, HYSGD_OK);
    assert_int_equal(tape->arrival_count, MOST_ARRIVALS);
    run_close(&run);
}

/* The same with unequal workers. */
static void play(struct tape *tape, const char *policy, enum engine_combine combine) {
    play_at(tape, "1,1,0.7,0.5,0.3,0.15", policy, combine);
}

/* A worker of the transcripts: what it computes, begun at iteration k. */
struct clerk {
    float gradient[DIMENSION];
    uint64_t k, draws;
};

/* The stochastic gradient lambda (x - target) + noise / sqrt(batch) of a worker's next batch at x. */
static void compute(struct clerk *clerk, int worker, const float *x, uint64_t k) {
    struct random random;
    random_init(&random, SEED, (uint32_t)worker, RANDOM_NOISE, clerk->draws++);
    random_fill_normal(&random, clerk->gradient, DIMENSION);
    for (int i = 0; i < DIMENSION; i++) {
        double lambda = pow(CONDITION, (double)i / (DIMENSION - 1) - 1), target = i % 2 == 0 ? 1 : -1;
        clerk->gradient[i] = (float)(lambda * (x[i] - target) + clerk->gradient[i] / sqrt(BATCH));
    }
    clerk->k = k;
}

static void descend(float *x, const float *gradient) {
    for (int i = 0; i < DIMENSION; i++)
        x[i] -= RATE * gradient[i];
}

/* The iterate after update k is that of the run, to `most`. */
static void expect_iterate(const struct tape *tape, const float *x, uint64_t k, double most) {
    for (int i = 0; i < DIMENSION; i++)
        if (k > tape->update_count || !(fabs((double)x[i] - (double)tape->iterates[k][i]) <= most))
            fail_msg("parameter %d is %.9g after update %llu of %llu, the transcript says %.9g", i,
                     tape->iterates[k][i], (unsigned long long)k, (unsigned long long)tape->update_count, x[i]);
}

/* Ringmaster ASGD, algorithm 1 (arXiv 2501.16168): a gradient with delay < R makes x(k+1) = x(k) - gamma g, and the
 * worker goes on at x(k+1); any other is ignored, and the worker goes on at x(k). Returns how many were ignored. */
static uint64_t transcribe_ringmaster(const struct tape *tape, uint64_t limit) {
    struct clerk clerks[WORKERS] = {0};
    float x[DIMENSION] = {0};
    uint64_t k = 0, ignored = 0;
    for (int i = 0; i < WORKERS; i++)
        compute(&clerks[i], i, x, k);
    for (uint64_t t = 0; t < tape->arrival_count; t++) {
        struct clerk *clerk = &clerks[tape->arrivals[t]];
        if (k - clerk->k < limit) {
            descend(x, clerk->gradient);
            expect_iterate(tape, x, ++k, 0);
        } else {
            ignored++;
        }
        compute(clerk, tape->arrivals[t], x, k);
    }
    assert_int_equal(k, tape->update_count);
    return ignored;
}

static void cutoff_is_ringmaster_to_the_last_bit(void **state) {
    struct tape *tape = *state;
    play(tape, "cutoff,limit=1", ENGINE_MEAN);
    assert_true(transcribe_ringmaster(tape, 1) > MOST_ARRIVALS / 4);
    play(tape, "cutoff,limit=4", ENGINE_MEAN);
    assert_true(transcribe_ringmaster(tape, 4) > MOST_ARRIVALS / 10);
    play(tape, "cutoff,limit=9", ENGINE_SUM);
    assert_true(transcribe_ringmaster(tape, 9) > MOST_ARRIVALS / 50);
}

static void async_is_ringmaster_without_a_threshold_to_the_last_bit(void **state) {
    struct tape *tape = *state;
    play(tape, "async", ENGINE_MEAN);
    assert_int_equal(transcribe_ringmaster(tape, UINT64_MAX), 0);
}

/* Rennala SGD, algorithm 2 (arXiv 2305.12387): of the gradients that arrive, those of the present iteration are
 * averaged, the others are ignored, and every worker that has delivered goes on; after S of them x(k+1) = x(k) -
 * gamma g. Whoever delivers the last of the S goes on at x(k+1): to let it begin one more gradient at x(k) would
 * waste it. Returns how many were ignored. */
static uint64_t transcribe_rennala(const struct tape *tape, int size) {
    struct clerk clerks[WORKERS] = {0};
    float x[DIMENSION] = {0}, g[DIMENSION] = {0};
    uint64_t k = 0, ignored = 0;
    int s = 0;
    for (int i = 0; i < WORKERS; i++)
        compute(&clerks[i], i, x, k);
    for (uint64_t t = 0; t < tape->arrival_count; t++) {
        struct clerk *clerk = &clerks[tape->arrivals[t]];
        bool is_present = clerk->k == k;
        for (int i = 0; is_present && i < DIMENSION; i++)
            g[i] += clerk->gradient[i] / (float)size;
        ignored += !is_present;
        if (is_present && ++s == size) {
            descend(x, g);
            expect_iterate(tape, x, ++k, 1e-6);
            memset(g, 0, sizeof g);
            s = 0;
        }
        compute(clerk, tape->arrivals[t], x, k);
    }
    assert_int_equal(k, tape->update_count);
    return ignored;
}

static void batch_sync_is_rennala(void **state) {
    struct tape *tape = *state;
    play(tape, "batch-sync,size=1", ENGINE_MEAN);
    assert_true(transcribe_rennala(tape, 1) > MOST_ARRIVALS / 4);
    play(tape, "batch-sync,size=5", ENGINE_MEAN);
    assert_true(transcribe_rennala(tape, 5) > MOST_ARRIVALS / 10);
    play(tape, "batch-sync,size=20", ENGINE_MEAN);
    assert_true(transcribe_rennala(tape, 20) > MOST_ARRIVALS / 50);
}

/* FedBuff, algorithm 1 (arXiv 2106.06639), with one local step: as Rennala, but whatever arrives is averaged. */
static void transcribe_fedbuff(const struct tape *tape, int size) {
    struct clerk clerks[WORKERS] = {0};
    float x[DIMENSION] = {0}, g[DIMENSION] = {0};
    uint64_t k = 0;
    for (int i = 0; i < WORKERS; i++)
        compute(&clerks[i], i, x, k);
    for (uint64_t t = 0; t < tape->arrival_count; t++) {
        struct clerk *clerk = &clerks[tape->arrivals[t]];
        for (int i = 0; i < DIMENSION; i++)
            g[i] += clerk->gradient[i] / (float)size;
        if ((t + 1) % (uint64_t)size == 0) {
            descend(x, g);
            expect_iterate(tape, x, ++k, 1e-6);
            memset(g, 0, sizeof g);
        }
        compute(clerk, tape->arrivals[t], x, k);
    }
    assert_int_equal(k, tape->update_count);
}

static void batch_async_is_fedbuff(void **state) {
    struct tape *tape = *state;
    play(tape, "batch-async,size=4", ENGINE_MEAN);
    transcribe_fedbuff(tape, 4);
    play(tape, "batch-async,size=10", ENGINE_MEAN);
    transcribe_fedbuff(tape, 10);
}

static uint64_t slowest_of(const uint64_t *clocks) {
    uint64_t slowest = UINT64_MAX;
    for (int i = 0; i < WORKERS; i++)
        slowest = clocks[i] < slowest ? clocks[i] : slowest;
    return slowest;
}

/* Stale synchronous parallel (Ho et al., NeurIPS 2013): each gradient is added to x when it arrives and advances
 * its worker's clock; a worker begins its next one while its clock is at most s ahead of the slowest, and else as
 * soon as that is so again, with all that has been added until then. Returns how often someone had to wait. */
static uint64_t transcribe_ssp(const struct tape *tape, uint64_t slack) {
    struct clerk clerks[WORKERS] = {0};
    float x[DIMENSION] = {0};
    uint64_t clocks[WORKERS] = {0}, waits = 0;
    bool is_waiting[WORKERS] = {0};
    for (int i = 0; i < WORKERS; i++)
        compute(&clerks[i], i, x, 0);
    for (uint64_t t = 0; t < tape->arrival_count; t++) {
        int p = tape->arrivals[t];
        if (is_waiting[p])
            fail_msg("arrival %llu is by worker %d, which must wait", (unsigned long long)t, p);
        descend(x, clerks[p].gradient);
        expect_iterate(tape, x, t + 1, 0);
        clocks[p]++;
        is_waiting[p] = true;
        for (int i = 0; i < WORKERS; i++)
            if (is_waiting[i] && clocks[i] - slowest_of(clocks) <= slack) {
                compute(&clerks[i], i, x, t + 1);
                is_waiting[i] = false;
            }
        waits += is_waiting[p];
    }
    return waits;
}

static void bounded_is_ssp_to_the_last_bit(void **state) {
    struct tape *tape = *state;
    play(tape, "bounded,staleness=0", ENGINE_MEAN);
    assert_true(transcribe_ssp(tape, 0) > MOST_ARRIVALS / 2);
    play(tape, "bounded,staleness=3", ENGINE_MEAN);
    assert_true(transcribe_ssp(tape, 3) > MOST_ARRIVALS / 10);
    play(tape, "bounded,staleness=1G", ENGINE_MEAN);
    assert_int_equal(transcribe_ssp(tape, 1000000000), 0);
}

/* Ringleader ASGD, algorithm 1 (arXiv 2509.22860); workers go on by themselves at the point that they were sent
 * last. Single precision in the order of the workers, so that not a bit may differ. */
struct leader {
    struct clerk clerks[WORKERS];
    float points[WORKERS][DIMENSION]; /* what each worker computes at, until it is sent another */
    float x[DIMENSION], sums[WORKERS][DIMENSION], next_sums[WORKERS][DIMENSION]; /* G, G+ */
    int counts[WORKERS], next_counts[WORKERS];                                   /* b, b+ */
    uint64_t k, extras;
};

static void gather(float *sum, int *count, const float *gradient) {
    for (int i = 0; i < DIMENSION; i++)
        sum[i] = *count > 0 ? sum[i] + gradient[i] : gradient[i];
    ++*count;
}

/* x(k+1) = x(k) - gamma / n sum_i G_i / b_i */
static void lead(struct leader *leader, const struct tape *tape) {
    float mean[DIMENSION] = {0};
    for (int w = 0; w < WORKERS; w++)
        for (int i = 0; i < DIMENSION; i++)
            mean[i] += (float)(1.0 / (WORKERS * leader->counts[w])) * leader->sums[w][i];
    descend(leader->x, mean);
    expect_iterate(tape, leader->x, ++leader->k, 0);
}

/* Broadcast x(k+1) to worker j. */
static void send(struct leader *leader, int worker) {
    memcpy(leader->points[worker], leader->x, sizeof leader->x);
}

/* Receive a gradient from worker j. */
static void receive(struct leader *leader, int worker, float *gradient) {
    memcpy(gradient, leader->clerks[worker].gradient, sizeof leader->clerks[worker].gradient);
}

static void restart(struct leader *leader, int worker) {
    compute(&leader->clerks[worker], worker, leader->points[worker], leader->k);
}

static bool are_filled(const struct leader *leader) {
    for (int w = 0; w < WORKERS; w++)
        if (leader->counts[w] == 0)
            return false;
    return true;
}

static void transcribe_ringleader(struct leader *leader, const struct tape *tape) {
    float gradient[DIMENSION];
    uint64_t t = 0;
    *leader = (struct leader){0};
    for (int w = 0; w < WORKERS; w++)
        restart(leader, w);
    for (;;) {
        int j = -1, left = WORKERS - 1;
        bool is_left[WORKERS];        /* the set S */
        while (!are_filled(leader)) { /* phase 1: await a gradient from everyone */
            if (j >= 0)
                restart(leader, j);
            if (t == tape->arrival_count)
                return;
            j = tape->arrivals[t++];
            receive(leader, j, gradient);
            gather(leader->sums[j], &leader->counts[j], gradient);
        }
        lead(leader, tape); /* phase 2: exactly one update for every worker, beginning with j */
        send(leader, j);
        restart(leader, j);
        for (int w = 0; w < WORKERS; w++)
            is_left[w] = w != j;
        while (left > 0) {
            if (t == tape->arrival_count)
                return;
            j = tape->arrivals[t++];
            receive(leader, j, gradient);
            if (is_left[j]) {
                gather(leader->sums[j], &leader->counts[j], gradient);
                lead(leader, tape);
                send(leader, j);
                is_left[j] = false;
                left--;
            } else {
                gather(leader->next_sums[j], &leader->next_counts[j], gradient);
                leader->extras++;
            }
            restart(leader, j);
        }
        memcpy(leader->sums, leader->next_sums, sizeof leader->sums); /* G = G+, b = b+ */
        memcpy(leader->counts, leader->next_counts, sizeof leader->counts);
        memset(leader->next_counts, 0, sizeof leader->next_counts);
    }
}

static void table_is_ringleader_to_the_last_bit(void **state) {
    static struct leader leader;
    static const char *const speeds[] = {"1,1,1,1,1,1", "1,1,0.7,0.5,0.3,0.15", "1,0.01,1,0.3,1,0.002"};
    static const uint64_t least_updates[] = {MOST_ARRIVALS / 5, MOST_ARRIVALS / 10, 3 * WORKERS};
    struct tape *tape = *state;
    for (int i = 0; i < 3; i++) {
        play_at(tape, speeds[i], "table", ENGINE_MEAN);
        transcribe_ringleader(&leader, tape);
        assert_int_equal(leader.k, tape->update_count);
        assert_true(leader.k > least_updates[i]);
        assert_true(leader.extras > MOST_ARRIVALS / 10);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cutoff_is_ringmaster_to_the_last_bit),
        cmocka_unit_test(async_is_ringmaster_without_a_threshold_to_the_last_bit),
        cmocka_unit_test(batch_sync_is_rennala),
        cmocka_unit_test(batch_async_is_fedbuff),
        cmocka_unit_test(table_is_ringleader_to_the_last_bit),
        cmocka_unit_test(bounded_is_ssp_to_the_last_bit),
    };
    return cmocka_run_group_tests_name("transcripts of published algorithms", tests, set_tape, clear_tape);
}
