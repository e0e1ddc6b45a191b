/* SPDX-License-Identifier: Apache-2.0 */
/* Events a second of the virtual runtime when nothing is computed: 1,000 unequal workers under every listed policy,
 * an event being an arrival with all that follows from it. The peer beside each policy is the agenda alone, which
 * any discrete-event simulation needs: the same number of arrivals with no engine behind them. Medians of several
 * runs; words on the command line choose other policies. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/data.h"
#include "model/model.h"
#include "policy/policy.h"
#include "runtime/agenda.h"
#include "runtime/runtime.h"

enum { WORKERS = 1000, EVENTS = 500000, RUNS = 5 };

/* What every run shares. */
struct shared {
    struct plugin data, model, optimizer, runtime;
};

/* Of this thread: other work on the machine does not count. */
static double now_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int compare_reals(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double values[RUNS]) {
    qsort(values, RUNS, sizeof values[0], compare_reals);
    return values[RUNS / 2];
}

static enum hysgd_status open_shared(struct shared *shared) {
    struct hysgd_data_shape shape;
    HYSGD_TRY(plugin_open(&data_list, "none,samples=1M", &shared->data));
    HYSGD_TRY(data_ops(&shared->data)->init(shared->data.self, 1));
    data_ops(&shared->data)->describe(shared->data.self, &shape);
    HYSGD_TRY(model_open("quadratic,dimension=1", &shared->model));
    HYSGD_TRY(model_ops(&shared->model)->init(shared->model.self, &shape));
    HYSGD_TRY(plugin_open(&optimizer_list, "sgd", &shared->optimizer));
    return plugin_open(&runtime_list, "virtual", &shared->runtime);
}

static void close_shared(struct shared *shared) {
    if (shared->model.ops && model_ops(&shared->model)->fini)
        model_ops(&shared->model)->fini(shared->model.self);
    plugin_close(&shared->data);
    plugin_close(&shared->model);
    plugin_close(&shared->optimizer);
    plugin_close(&shared->runtime);
}

static enum hysgd_status time_training(const struct shared *shared, const struct plugin *policy,
                                       double *seconds_out) {
    struct timing timing;
    struct training training = {0};
    double clock, begun = 0;
    enum hysgd_status status =
        timing_init(&timing, &(struct timing_texts){.speeds = "1,0.7,0.5", .compute = "exponential"}, WORKERS, 1);
    struct training_setup setup = {.policy = policy,
                                   .model = &shared->model,
                                   .data = &shared->data,
                                   .optimizer = &shared->optimizer,
                                   .workers = WORKERS,
                                   .batch = 1,
                                   .seed = 1,
                                   .timing = &timing,
                                   .limits = {.gradients = EVENTS},
                                   .evaluate_batch = 1};
    if (status == HYSGD_OK)
        status = training_init(&training, &setup);
    if (status == HYSGD_OK) {
        begun = now_seconds();
        status = runtime_ops(&shared->runtime)->run(shared->runtime.self, &training, &clock);
        *seconds_out = now_seconds() - begun;
    }
    training_fini(&training);
    timing_fini(&timing);
    return status;
}

static enum hysgd_status time_policy(const struct shared *shared, const char *text, double *seconds_out) {
    struct plugin policy;
    double seconds[RUNS];
    HYSGD_TRY(plugin_open(&policy_list, text, &policy));
    const struct hysgd_policy_ops *ops = policy_ops(&policy);
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < RUNS && status == HYSGD_OK; i++) {
        status = ops->init ? ops->init(policy.self, WORKERS) : HYSGD_OK;
        if (status == HYSGD_OK)
            status = time_training(shared, &policy, &seconds[i]);
        if (ops->fini)
            ops->fini(policy.self);
    }
    plugin_close(&policy);
    if (status == HYSGD_OK)
        *seconds_out = median(seconds);
    return status;
}

/* The same arrivals with nobody to decide about them. */
static enum hysgd_status time_agenda(double *seconds_out) {
    double seconds[RUNS];
    for (int run = 0; run < RUNS; run++) {
        struct agenda agenda;
        struct timing timing;
        HYSGD_TRY(timing_init(&timing, &(struct timing_texts){.compute = "exponential"}, WORKERS, 1));
        HYSGD_TRY(agenda_init(&agenda, WORKERS));
        double begun = now_seconds();
        for (uint64_t i = 0; i < WORKERS; i++)
            agenda_add(&agenda, &(struct agenda_entry){timing_compute(&timing, (int)i, 0), i, (int)i, false});
        for (uint64_t i = WORKERS; i < EVENTS + WORKERS; i++) {
            struct agenda_entry entry = *agenda_first(&agenda);
            agenda_remove_first(&agenda);
            entry.seconds += timing_compute(&timing, entry.worker, i);
            entry.order = i;
            agenda_add(&agenda, &entry);
        }
        seconds[run] = now_seconds() - begun;
        agenda_fini(&agenda);
        timing_fini(&timing);
    }
    *seconds_out = median(seconds);
    return HYSGD_OK;
}

static enum hysgd_status print_row(const struct shared *shared, const char *policy, double alone) {
    double seconds = 0;
    HYSGD_TRY(time_policy(shared, policy, &seconds));
    printf("%-28s %10.2f %12.0f %10.2f\n", policy, EVENTS / seconds / 1e6, 1e9 * seconds / EVENTS, seconds / alone);
    return HYSGD_OK;
}

int main(int argc, char **argv) {
    struct shared shared = {0};
    double alone = 0;
    enum hysgd_status status = open_shared(&shared);
    if (status == HYSGD_OK)
        status = time_agenda(&alone);
    printf("%-28s %10s %12s %10s\n", "", "M events/s", "ns an event", "x agenda");
    printf("%-28s %10.2f %12.0f %10.2f\n", "the agenda alone", EVENTS / alone / 1e6, 1e9 * alone / EVENTS, 1.0);
    for (int i = 1; i < argc && status == HYSGD_OK; i++)
        status = print_row(&shared, argv[i], alone);
    for (size_t i = 0; argc == 1 && i < policy_list.count && status == HYSGD_OK; i++)
        status = print_row(&shared, policy_list.entries[i]->name, alone);
    if (status != HYSGD_OK)
        fprintf(stderr, "bench_events: %s\n", hysgd_error_message());
    close_shared(&shared);
    return hysgd_status_exit_code(status);
}
