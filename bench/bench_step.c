/* SPDX-License-Identifier: Apache-2.0 */
/* Speed of whole training: a job as users run it (runtime, engine, server, optimizer, data) on images that lie in
 * memory as floats. Times every gradient call of the model, and so tells samples per second and the share of the
 * time that is spent outside: everything around the kernels. Without arguments it prints a table; --serve answers
 * one request per line of standard input for the scripts beside this file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "core_latency.h"
#include "hysgd.h"
#include "model/model.h"

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_step: %s\n", hysgd_error_message());
    exit(hysgd_status_exit_code(status));
}

/* ---- Data: random images, already in memory ---- */

#define RESIDENT_SAMPLES 4096
#define CLASSES          10

struct resident {
    struct hysgd_data_shape shape;
    size_t width;    /* floats of an image */
    float *images;   /* [RESIDENT_SAMPLES][width] */
    int32_t *labels; /* [RESIDENT_SAMPLES] */
};

static void resident_init(struct resident *resident, int channels, int side) {
    size_t width = (size_t)(channels * side * side);
    resident->width = width;
    resident->shape = (struct hysgd_data_shape){.train_count = RESIDENT_SAMPLES,
                                                .test_count = 1,
                                                .channels = channels,
                                                .height = side,
                                                .width = side,
                                                .classes = CLASSES};
    struct random random;
    random_init(&random, 1, RANDOM_NO_WORKER, RANDOM_TEST, 0);
    check(memory_alloc_vector(RESIDENT_SAMPLES * width, sizeof(float), &resident->images));
    check(memory_alloc(RESIDENT_SAMPLES, sizeof(int32_t), &resident->labels));
    random_fill_normal(&random, resident->images, RESIDENT_SAMPLES * width);
    for (size_t i = 0; i < RESIDENT_SAMPLES; i++)
        resident->labels[i] = (int32_t)random_below(&random, CLASSES);
}

static void resident_describe(const void *self, struct hysgd_data_shape *shape_out) {
    const struct resident *resident = self;
    *shape_out = resident->shape;
}

static void resident_gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count,
                            float *inputs, int32_t *labels, float *targets) {
    const struct resident *resident = self;
    (void)split;
    (void)targets;
    for (size_t i = 0; i < count; i++) {
        memcpy(inputs + i * resident->width, resident->images + indices[i] * resident->width,
               resident->width * sizeof *inputs);
        labels[i] = resident->labels[indices[i]];
    }
}

static const struct hysgd_data_ops data_resident = {
    .about = {.name = "resident", .summary = "random images in memory", .size = sizeof(struct resident)},
    .describe = resident_describe,
    .gather = resident_gather,
};

/* ---- Model: a listed one, its gradient calls timed ---- */

#define MOST_LANES 64
#define MOST_TIMES 16384

/* The gradient calls of one thread, in order. */
struct lane {
    size_t count;
    double begun[MOST_TIMES], ended[MOST_TIMES];
};

struct timed {
    struct plugin model;
    bool has_one_lane;  /* all workers compute in one thread */
    struct lane *lanes; /* [MOST_LANES] by worker; each written by its worker's thread only */
};

static const struct hysgd_model_ops *inner(const void *self) {
    return model_ops(&((const struct timed *)self)->model);
}

static void *inner_self(const void *self) {
    return ((const struct timed *)self)->model.self;
}

static enum hysgd_status timed_init(void *self, const struct hysgd_data_shape *shape) {
    return inner(self)->init(inner_self(self), shape);
}

static void timed_fini(void *self) {
    inner(self)->fini(inner_self(self));
}

static void timed_describe(const void *self, struct hysgd_model_layout *layout_out) {
    inner(self)->describe(inner_self(self), layout_out);
}

static void timed_start(const void *self, uint64_t seed, float *vector_out) {
    inner(self)->start(inner_self(self), seed, vector_out);
}

static enum hysgd_status timed_open(const void *self, size_t batch, void **workspace_out) {
    return inner(self)->open(inner_self(self), batch, workspace_out);
}

static void timed_close(const void *self, void *workspace) {
    inner(self)->close(inner_self(self), workspace);
}

static enum hysgd_status timed_gradient(const void *self, void *workspace, const float *vector,
                                        const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    const struct timed *timed = self;
    struct lane *lane = &timed->lanes[timed->has_one_lane ? 0 : batch->worker];
    double begun = core_latency_now();
    HYSGD_TRY(inner(self)->gradient(inner_self(self), workspace, vector, batch, gradient_out, loss_out));
    if (lane->count < MOST_TIMES) {
        lane->begun[lane->count] = begun;
        lane->ended[lane->count++] = core_latency_now();
    }
    return HYSGD_OK;
}

static enum hysgd_status timed_evaluate(const void *self, void *workspace, const float *vector,
                                        const struct hysgd_batch *batch, struct hysgd_metrics *metrics) {
    return inner(self)->evaluate(inner_self(self), workspace, vector, batch, metrics);
}

static const struct hysgd_model_ops model_timed = {
    .about = {.name = "timed", .summary = "a model whose gradients are timed", .size = sizeof(struct timed)},
    .init = timed_init,
    .fini = timed_fini,
    .describe = timed_describe,
    .start = timed_start,
    .open = timed_open,
    .close = timed_close,
    .gradient = timed_gradient,
    .evaluate = timed_evaluate,
};

/* ---- One run ---- */

/* What is measured; the networks that the others are compared with, and a round of some 0.7 s on one core. */
static const struct network {
    const char *name;
    int channels, side, batch;
    int steps; /* of a worker in a round */
} networks[] = {
    {"mlp", 1, 28, 64, 1000}, {"lenet", 1, 28, 64, 50}, {"cifar-cnn", 3, 32, 128, 14}, {"resnet20", 3, 32, 128, 5}};

#define NETWORKS (sizeof networks / sizeof *networks)

/* Gradients of a lane before the measured ones: caches, pages and the processor's clock settle. */
#define WARM_UP 2

struct request {
    const struct network *network;
    const char *precision, *policy, *optimizer, *runtime;
    int workers;
    int steps; /* per worker */
};

struct answer {
    double rate;    /* samples per second, of all workers */
    double outside; /* share of the workers' time outside the model's gradient */
};

static const struct network *find_network(const char *name) {
    for (size_t i = 0; i < NETWORKS; i++)
        if (strcmp(networks[i].name, name) == 0)
            return &networks[i];
    fprintf(stderr, "bench_step: %s: expected mlp, lenet, cifar-cnn or resnet20\n", name);
    exit(2);
}

/* From the beginning of the first measured gradient to the beginning of the last one: whole steps. */
static struct answer summarize(const struct timed *timed, int lanes, int batch) {
    struct answer answer = {0};
    for (int i = 0; i < lanes; i++) {
        const struct lane *lane = &timed->lanes[i];
        if (lane->count < WARM_UP + 2) {
            fprintf(stderr, "bench_step: a worker computed %zu gradients; expected %d or more\n", lane->count,
                    WARM_UP + 2);
            exit(1);
        }
        size_t last = lane->count - 1;
        double busy = 0, seconds = lane->begun[last] - lane->begun[WARM_UP];
        for (size_t k = WARM_UP; k < last; k++)
            busy += lane->ended[k] - lane->begun[k];
        answer.rate += (double)(last - WARM_UP) * batch / seconds;
        answer.outside += (1 - busy / seconds) / lanes;
    }
    return answer;
}

static void set(struct hysgd_job *job, const char *key, const char *value) {
    check(hysgd_job_set(job, key, value));
}

static void set_number(struct hysgd_job *job, const char *key, long long value) {
    char text[32];
    snprintf(text, sizeof text, "%lld", value);
    set(job, key, text);
}

static void describe(struct hysgd_job *job, const struct request *request) {
    set(job, "policy", request->policy);
    set(job, "optimizer", request->optimizer);
    set(job, "runtime", request->runtime);
    set(job, "eval-every", "never");
    set(job, "eval-limit", "1");
    set(job, "eval-batch", "1");
    set_number(job, "workers", request->workers);
    set_number(job, "batch", request->network->batch);
    set_number(job, "gradients", (long long)request->workers * (request->steps + WARM_UP + 1));
}

static struct answer train(const struct request *request, const struct resident *resident) {
    struct timed timed = {.has_one_lane = strcmp(request->runtime, "virtual") == 0};
    struct hysgd_job *job;
    struct hysgd_result result;
    char model[64];
    snprintf(model, sizeof model, "%s,precision=%s", request->network->name, request->precision);
    check(memory_alloc(MOST_LANES, sizeof *timed.lanes, &timed.lanes));
    check(model_open(model, &timed.model));
    check(hysgd_job_alloc(&job));
    describe(job, request);
    check(hysgd_job_use_data(job, &data_resident, (void *)(uintptr_t)resident, NULL));
    check(hysgd_job_use_model(job, &model_timed, &timed, NULL));
    check(hysgd_job_run(job, &result));
    struct answer answer = summarize(&timed, timed.has_one_lane ? 1 : request->workers, request->network->batch);
    hysgd_job_free(job);
    plugin_close(&timed.model);
    memory_free(timed.lanes);
    return answer;
}

/* The images of the network, made when first needed. */
static const struct resident *images_of(const struct network *network) {
    static struct resident grey, coloured;
    struct resident *resident = network->channels == 1 ? &grey : &coloured;
    if (!resident->images)
        resident_init(resident, network->channels, network->side);
    return resident;
}

/* ---- Talking ---- */

/* A line "NETWORK PRECISION POLICY OPTIMIZER RUNTIME WORKERS STEPS"; 0 steps: the network's own number. */
static int serve(void) {
    char line[512], name[32], precision[32], policy[128], optimizer[128], runtime[128];
    struct request request;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%31s %31s %127s %127s %127s %d %d", name, precision, policy, optimizer, runtime,
                   &request.workers, &request.steps) != 7 ||
            request.workers < 1 || request.workers > MOST_LANES || request.steps < 0) {
            fprintf(stderr,
                    "bench_step: expected NETWORK PRECISION POLICY OPTIMIZER RUNTIME WORKERS STEPS, got: %s", line);
            return 2;
        }
        request.network = find_network(name);
        request.precision = precision;
        request.policy = policy;
        request.optimizer = optimizer;
        request.runtime = runtime;
        if (request.steps == 0)
            request.steps = request.network->steps;
        struct answer answer = train(&request, images_of(request.network));
        printf("{\"rate\": %.2f, \"outside\": %.6f}\n", answer.rate, answer.outside);
        fflush(stdout);
    }
    return 0;
}

#define ROUNDS 5

static int compare_rates(const void *a, const void *b) {
    double x = ((const struct answer *)a)->rate, y = ((const struct answer *)b)->rate;
    return (x > y) - (x < y);
}

/* The round of the median speed. */
static struct answer measure(const struct request *request) {
    struct answer rounds[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = train(request, images_of(request->network));
    qsort(rounds, ROUNDS, sizeof *rounds, compare_rates);
    return rounds[ROUNDS / 2];
}

static void print_row(const struct network *network, const char *precision) {
    struct request request = {.network = network,
                              .precision = precision,
                              .policy = "sync",
                              .optimizer = "momentum",
                              .runtime = "threads",
                              .workers = 1,
                              .steps = network->steps};
    struct answer one = measure(&request);
    request.workers = 2;
    struct answer sync = measure(&request);
    request.policy = "async";
    struct answer async = measure(&request);
    printf("%-10s %-5s %9.0f %9.1f %% %9.0f %6.2f %9.0f %6.2f %6.0f ns\n", network->name, precision, one.rate,
           100 * one.outside, sync.rate, sync.rate / one.rate, async.rate, async.rate / one.rate, core_latency());
    fflush(stdout);
}

int main(int count, char **words) {
    if (count == 2 && strcmp(words[1], "--serve") == 0)
        return serve();
    printf("samples/s     one worker   outside   two sync  ratio two async  ratio  latency\n");
    for (size_t i = 0; i < NETWORKS; i++) {
        bool is_chosen = count == 1;
        for (int k = 1; k < count; k++)
            is_chosen = is_chosen || find_network(words[k]) == &networks[i];
        if (!is_chosen)
            continue;
        print_row(&networks[i], "fp32");
        print_row(&networks[i], "bf16");
    }
    return 0;
}
