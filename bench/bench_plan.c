/* SPDX-License-Identifier: Apache-2.0 */
/* Training speed of the oneDNN plan on one thread: samples per second of gradient and momentum step for four preset
 * networks in fp32 and bf16, beside the speed of dnnl_sgemm in the same minute, which tells what the machine gives.
 * `--profile` adds where the time goes, `--steps` each step; `--cpu` counts processor time, for machines that have
 * other work too; `--fp32` and `--bf16` choose a precision, other words choose networks. */
#include <stdio.h>

#ifdef HYSGD_HAVE_ONEDNN

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <dnnl.h>

#include "base/memory.h"
#include "base/random.h"
#include "linalg/onednn_profile.h"
#include "linalg/plan.h"
#include "model/model.h"
#include "model/network.h"
#include "optimizer/optimizer.h"

/* CLOCK_MONOTONIC, or the thread's own processor time on a machine that has other work too. */
static clockid_t clock_used = CLOCK_MONOTONIC;

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(clock_used, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_plan: %s\n", hysgd_error_message());
    exit(hysgd_status_exit_code(status));
}

/* ---- One network in training ---- */

static const struct network_case {
    const char *name;
    int channels, side; /* of an input */
    size_t batch;
    int steps; /* of a round: about a tenth of a second */
} cases[] = {
    {"mlp", 1, 28, 64, 100}, {"lenet", 1, 28, 64, 10}, {"cifar-cnn", 3, 32, 128, 3}, {"resnet20", 3, 32, 128, 1}};

struct trial {
    struct plugin model, optimizer;
    const struct graph *graph;
    struct plan *plan;
    float *vector, *gradient, *velocity, *inputs;
    int32_t *labels;
};

static float *vector_of(size_t count) {
    float *values;
    check(memory_alloc_vector(count, sizeof *values, &values));
    memset(values, 0, count * sizeof *values);
    return values;
}

static void trial_open(struct trial *trial, const struct network_case *chosen, enum plan_precision precision) {
    const struct hysgd_data_shape shape = {.train_count = 1,
                                           .test_count = 1,
                                           .channels = chosen->channels,
                                           .height = chosen->side,
                                           .width = chosen->side,
                                           .classes = 10};
    const size_t width = (size_t)(chosen->channels * chosen->side * chosen->side);
    check(model_open(chosen->name, &trial->model));
    check(model_ops(&trial->model)->init(trial->model.self, &shape));
    check(plugin_open(&optimizer_list, "momentum,rate=0.001", &trial->optimizer));
    trial->graph = &((const struct network *)trial->model.self)->fitted.graph;
    const size_t all = trial->graph->parameter_count + trial->graph->statistic_count;
    trial->vector = vector_of(all);
    trial->gradient = vector_of(all);
    trial->velocity = vector_of(all);
    trial->inputs = vector_of(chosen->batch * width);
    check(memory_alloc(chosen->batch, sizeof *trial->labels, &trial->labels));
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    random_fill_normal(&random, trial->inputs, chosen->batch * width);
    for (size_t i = 0; i < chosen->batch; i++)
        trial->labels[i] = (int32_t)random_below(&random, 10);
    model_ops(&trial->model)->start(trial->model.self, 1, trial->vector);
    check(plan_onednn.open(trial->graph, chosen->batch, precision, true, &trial->plan));
}

static void trial_close(struct trial *trial) {
    plan_onednn.close(trial->plan);
    model_ops(&trial->model)->fini(trial->model.self);
    plugin_close(&trial->model);
    plugin_close(&trial->optimizer);
    memory_free(trial->vector);
    memory_free(trial->gradient);
    memory_free(trial->velocity);
    memory_free(trial->inputs);
    memory_free(trial->labels);
}

/* Seconds of one step: the gradient of a batch and the update with it. */
static double step_seconds(struct trial *trial, int steps) {
    const struct plan_stream stream = {.seed = 1};
    const struct optimizer_step step = {.rate = 0.001, .scale = 1, .number = 1};
    double loss, began = seconds_now();
    for (int i = 0; i < steps; i++) {
        check(plan_onednn.gradient(trial->plan, trial->vector, trial->inputs, trial->labels, NULL, &stream,
                                   trial->gradient, &loss));
        optimizer_ops(&trial->optimizer)
            ->step(trial->optimizer.self, &step, trial->vector, trial->gradient, &trial->velocity, trial->vector,
                   trial->graph->parameter_count);
    }
    return (seconds_now() - began) / steps;
}

/* ---- Measuring ---- */

#define GEMM_SIDE 512

/* GFLOP/s of one matrix product. */
static double gemm_speed(void) {
    static float a[GEMM_SIDE * GEMM_SIDE], b[GEMM_SIDE * GEMM_SIDE], c[GEMM_SIDE * GEMM_SIDE];
    double best = 0;
    for (int i = 0; i < 4; i++) {
        double began = seconds_now();
        dnnl_sgemm('N', 'N', GEMM_SIDE, GEMM_SIDE, GEMM_SIDE, 1, a, GEMM_SIDE, b, GEMM_SIDE, 0, c, GEMM_SIDE);
        double speed = 2.0 * GEMM_SIDE * GEMM_SIDE * GEMM_SIDE / (seconds_now() - began) * 1e-9;
        best = speed > best ? speed : best;
    }
    return best;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define ROUNDS 15

static void measure(const struct network_case *chosen, enum plan_precision precision, int detail) {
    struct trial trial = {0};
    const double began = seconds_now();
    const size_t used = memory_used();
    double rounds[ROUNDS], gemm = 0;
    trial_open(&trial, chosen, precision);
    const double opened = seconds_now() - began;
    step_seconds(&trial, 2);
    for (int i = 0; i < ROUNDS; i++) {
        double speed = gemm_speed();
        gemm = speed > gemm ? speed : gemm;
        rounds[i] = step_seconds(&trial, chosen->steps);
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare_doubles);
    printf("%-9s batch %3zu  %s  median %8.0f  best %8.0f samples/s  sgemm %5.1f GFLOP/s  open %.2f s  %5.1f MiB\n",
           chosen->name, chosen->batch, precision == PLAN_BF16 ? "bf16" : "fp32",
           (double)chosen->batch / rounds[ROUNDS / 2], (double)chosen->batch / rounds[0], gemm, opened,
           (double)(memory_used() - used) / (1 << 20));
    if (detail > 0) {
        onednn_profile_start(trial.plan);
        step_seconds(&trial, ROUNDS * chosen->steps);
        onednn_profile_print(trial.plan, detail > 1, stdout);
    }
    fflush(stdout);
    trial_close(&trial);
}

/* ---- The command line ---- */

struct wishes {
    int detail;
    bool is_precision[2];
    bool is_case[sizeof cases / sizeof *cases];
    bool is_any_case;
};

static void read_word(const char *word, struct wishes *wishes) {
    if (strcmp(word, "--profile") == 0) {
        wishes->detail = 1;
    } else if (strcmp(word, "--steps") == 0) {
        wishes->detail = 2;
    } else if (strcmp(word, "--cpu") == 0) {
        clock_used = CLOCK_THREAD_CPUTIME_ID;
    } else if (strcmp(word, "--fp32") == 0) {
        wishes->is_precision[PLAN_BF16] = false;
    } else if (strcmp(word, "--bf16") == 0) {
        wishes->is_precision[PLAN_FP32] = false;
    } else {
        size_t n = 0;
        while (n < sizeof cases / sizeof *cases && strcmp(word, cases[n].name) != 0)
            n++;
        if (n == sizeof cases / sizeof *cases) {
            fprintf(stderr, "bench_plan: \"%s\" is neither an option nor one of the networks\n", word);
            exit(2);
        }
        wishes->is_case[n] = true;
        wishes->is_any_case = true;
    }
}

int main(int count, char **words) {
    struct wishes wishes = {.is_precision = {true, true}};
    for (int i = 1; i < count; i++)
        read_word(words[i], &wishes);
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
        for (int precision = PLAN_FP32; precision <= PLAN_BF16; precision++)
            if (wishes.is_precision[precision] && (!wishes.is_any_case || wishes.is_case[n]) &&
                plan_onednn.has_precision((enum plan_precision)precision))
                measure(&cases[n], (enum plan_precision)precision, wishes.detail);
    return 0;
}

#else

int main(void) {
    puts("bench_plan needs a library built with oneDNN");
    return 0;
}

#endif
