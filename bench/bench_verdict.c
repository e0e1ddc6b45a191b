/* SPDX-License-Identifier: Apache-2.0 */
/* The price of a decision: nanoseconds that the engine and the policy take for one gradient, from its arrival to
 * the release of whoever goes on, updates included and without any vector. For every listed policy with 1,000
 * workers whose compute times are exponential (the next to deliver is any of those that compute). Medians of
 * several runs; the first line is the loop alone. Words choose other policies, for example "bounded,dynamic=12". */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policy/policy.h"
#include "runtime/engine.h"

enum { WORKERS = 1000, GRADIENTS = 200000, RUNS = 11 };

/* Who computes, in no order. */
struct crowd {
    int workers[WORKERS];
    int count;
    uint32_t random; /* xorshift: as cheap as it gets */
};

static int take_one(struct crowd *crowd) {
    crowd->random ^= crowd->random << 13;
    crowd->random ^= crowd->random >> 17;
    crowd->random ^= crowd->random << 5;
    int place = (int)((uint64_t)crowd->random * (uint64_t)crowd->count >> 32);
    int worker = crowd->workers[place];
    crowd->workers[place] = crowd->workers[--crowd->count];
    return worker;
}

static void put_released(struct crowd *crowd, const struct engine *engine) {
    for (int i = 0; i < engine->released_count; i++)
        crowd->workers[crowd->count++] = engine->released[i];
}

static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static enum hysgd_status serve(struct engine *engine, struct crowd *crowd) {
    for (int i = 0; i < GRADIENTS; i++) {
        double seconds = 1e-3 * i, fraction = (double)i / GRADIENTS;
        struct engine_verdict verdict;
        HYSGD_TRY(engine_arrive(engine, take_one(crowd), seconds, fraction, &verdict));
        put_released(crowd, engine);
        if (verdict.action == ENGINE_UPDATE) {
            HYSGD_TRY(engine_updated(engine, seconds, fraction));
            put_released(crowd, engine);
        }
    }
    return HYSGD_OK;
}

static enum hysgd_status time_engine(struct engine *engine, double *nanoseconds_out) {
    struct crowd crowd = {.random = 1};
    engine_begin(engine);
    put_released(&crowd, engine);
    double start = now_seconds();
    HYSGD_TRY(serve(engine, &crowd));
    *nanoseconds_out = (now_seconds() - start) / GRADIENTS * 1e9;
    return HYSGD_OK;
}

static enum hysgd_status time_once(const char *text, double *nanoseconds_out) {
    struct plugin policy;
    struct engine engine;
    HYSGD_TRY(plugin_open(&policy_list, text, &policy));
    const struct hysgd_policy_ops *ops = policy_ops(&policy);
    enum hysgd_status status = ops->init != NULL ? ops->init(policy.self, WORKERS) : HYSGD_OK;
    if (status == HYSGD_OK) {
        status = engine_init(&engine, &policy, ENGINE_MEAN, WORKERS);
        if (status == HYSGD_OK)
            status = time_engine(&engine, nanoseconds_out);
        engine_fini(&engine);
    }
    if (ops->fini != NULL)
        ops->fini(policy.self);
    plugin_close(&policy);
    return status;
}

static enum hysgd_status time_loop(const char *text, double *nanoseconds_out) {
    (void)text;
    struct crowd crowd = {.random = 1};
    int released = 0;
    struct engine engine = {.released = &released, .released_count = 1};
    for (int i = 0; i < WORKERS; i++)
        crowd.workers[crowd.count++] = i;
    double start = now_seconds();
    for (int i = 0; i < GRADIENTS; i++) {
        released = take_one(&crowd);
        put_released(&crowd, &engine);
    }
    *nanoseconds_out = (now_seconds() - start) / GRADIENTS * 1e9;
    int sum = 0; /* nothing of the loop may be left out */
    for (int i = 0; i < WORKERS; i++)
        sum += (i & 1 ? 1 : -1) * crowd.workers[i];
    return sum != INT_MIN ? HYSGD_OK : hysgd_fail(HYSGD_FAILED, "the workers are gone");
}

static int compare(const void *left, const void *right) {
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static bool print_median(const char *name, enum hysgd_status (*measure)(const char *, double *)) {
    double runs[RUNS];
    for (int i = 0; i < RUNS; i++)
        if (measure(name, &runs[i]) != HYSGD_OK) {
            fprintf(stderr, "bench_verdict: %s\n", hysgd_error_message());
            return false;
        }
    qsort(runs, RUNS, sizeof runs[0], compare);
    printf("%-28s %8.1f ns  (%.1f to %.1f)\n", name, runs[RUNS / 2], runs[0], runs[RUNS - 1]);
    return true;
}

int main(int argc, char **argv) {
    bool is_good = print_median("(the loop alone)", time_loop);
    for (int i = 1; i < argc && is_good; i++)
        is_good = print_median(argv[i], time_once);
    for (size_t i = 0; i < policy_list.count && argc < 2 && is_good; i++)
        is_good = print_median(policy_list.entries[i]->name, time_once);
    return is_good ? 0 : 1;
}
