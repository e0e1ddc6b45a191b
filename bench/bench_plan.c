/* SPDX-License-Identifier: Apache-2.0 */
/* Training speed of the plan on one thread: samples per second of gradient and momentum step for four networks in
 * fp32 and bf16, beside the speed of dnnl_sgemm in the same minute, which tells what the machine gives. `--profile`
 * adds where the time goes, `--steps` each step; `--cpu` counts the processor's time, for machines that have other
 * work too; `--fp32` and `--bf16` choose a precision, other words choose networks. */
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
#include "linalg/vector.h"

/* ---- Networks ---- */

#define MOST_NODES 128

struct net {
    struct graph_node nodes[MOST_NODES];
    struct graph graph;
};

static struct graph_node *add(struct net *net, enum graph_kind kind, int input) {
    struct graph_node *node = &net->nodes[net->graph.count++];
    *node = net->nodes[input];
    node->kind = kind;
    node->inputs[0] = input;
    node->inputs[1] = 0;
    return node;
}

static int last(const struct net *net) {
    return net->graph.count - 1;
}

static void start(struct net *net, int channels, int side) {
    memset(net, 0, sizeof *net);
    net->graph.nodes = net->nodes;
    net->graph.count = 1;
    net->nodes[0] = (struct graph_node){.kind = GRAPH_INPUT, .channels = channels, .height = side, .width = side};
}

static size_t take(struct net *net, size_t count) {
    net->graph.parameter_count += count;
    return net->graph.parameter_count - count;
}

static void window(struct graph_node *node, int kernel, int stride, int pad) {
    node->height = (node->height + 2 * pad - kernel) / stride + 1;
    node->width = (node->width + 2 * pad - kernel) / stride + 1;
    node->kernel_h = node->kernel_w = kernel;
    node->stride = stride;
    node->pad = pad;
}

static int conv(struct net *net, int input, int units, int kernel, int stride, int pad, bool has_bias) {
    struct graph_node *node = add(net, GRAPH_CONV, input);
    node->weight = take(net, (size_t)(units * node->channels * kernel * kernel));
    node->has_bias = has_bias;
    if (has_bias)
        node->bias = take(net, (size_t)units);
    node->channels = units;
    window(node, kernel, stride, pad);
    return last(net);
}

static int dense(struct net *net, int units) {
    struct graph_node *node = add(net, GRAPH_DENSE, last(net));
    node->weight = take(net, (size_t)(units * node->channels * node->height * node->width));
    node->bias = take(net, (size_t)units);
    node->has_bias = true;
    node->channels = units;
    node->height = node->width = 1;
    return last(net);
}

static int norm(struct net *net, int input) {
    struct graph_node *node = add(net, GRAPH_NORM, input);
    node->rate = 1e-5;
    node->weight = take(net, (size_t)node->channels);
    node->bias = take(net, (size_t)node->channels);
    return last(net);
}

static int relu(struct net *net) {
    add(net, GRAPH_RELU, last(net));
    return last(net);
}

static void max_pool(struct net *net) {
    window(add(net, GRAPH_MAX_POOL, last(net)), 2, 2, 0);
}

static void finish(struct net *net) {
    add(net, GRAPH_SOFTMAX_LOSS, last(net));
    for (int i = 0; i < net->graph.count; i++) {
        struct graph_node *node = &net->nodes[i];
        if (node->kind != GRAPH_NORM)
            continue;
        node->mean = net->graph.parameter_count + net->graph.statistic_count;
        node->variance = node->mean + (size_t)node->channels;
        net->graph.statistic_count += 2 * (size_t)node->channels;
    }
}

static void build_mlp(struct net *net) {
    start(net, 784, 1);
    net->nodes[0].height = net->nodes[0].width = 1;
    dense(net, 256);
    relu(net);
    dense(net, 128);
    relu(net);
    dense(net, 10);
    finish(net);
}

static void build_lenet(struct net *net) {
    start(net, 1, 28);
    for (int units = 32; units <= 64; units *= 2) {
        conv(net, last(net), units, 5, 1, 0, true);
        relu(net);
        max_pool(net);
    }
    dense(net, 10);
    finish(net);
}

static void build_cifar(struct net *net) {
    start(net, 3, 32);
    for (int units = 32; units <= 128; units *= 2) {
        conv(net, last(net), units, 3, 1, 1, true);
        relu(net);
        max_pool(net);
    }
    dense(net, 10);
    finish(net);
}

static void build_resnet(struct net *net) {
    start(net, 3, 32);
    norm(net, conv(net, 0, 16, 3, 1, 1, false));
    int block = relu(net);
    for (int i = 0; i < 9; i++) {
        int units = 16 << i / 3, stride = i > 0 && i % 3 == 0 ? 2 : 1;
        norm(net, conv(net, block, units, 3, stride, 1, false));
        int branch = norm(net, conv(net, relu(net), units, 3, 1, 1, false));
        if (stride == 2)
            block = norm(net, conv(net, block, units, 1, 2, 0, false));
        add(net, GRAPH_ADD, branch)->inputs[1] = block;
        block = relu(net);
    }
    window(add(net, GRAPH_AVG_POOL, last(net)), 8, 1, 0);
    dense(net, 10);
    finish(net);
}

/* ---- Measuring ---- */

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

static float *vector_of(size_t count) {
    float *values;
    check(memory_alloc_vector(count, sizeof *values, &values));
    memset(values, 0, count * sizeof *values);
    return values;
}

VECTOR_CODE static void momentum_step(float *restrict vector, const float *restrict gradient,
                                      float *restrict moment, size_t count) {
    for (size_t i = 0; i < count; i++) {
        moment[i] = 0.9f * moment[i] + gradient[i];
        vector[i] -= 1e-4f * moment[i];
    }
}

struct trial {
    struct plan *plan;
    const struct graph *graph;
    float *vector, *gradient, *moment, *inputs;
    int32_t *labels;
};

static void trial_open(struct trial *trial, const struct graph *graph, size_t batch,
                       enum plan_precision precision) {
    const size_t all = graph->parameter_count + graph->statistic_count;
    const size_t width = (size_t)(graph->nodes[0].channels * graph->nodes[0].height * graph->nodes[0].width);
    struct random random;
    random_init(&random, 1, 0, RANDOM_TEST, 0);
    *trial = (struct trial){.graph = graph,
                            .vector = vector_of(all),
                            .gradient = vector_of(all),
                            .moment = vector_of(all),
                            .inputs = vector_of(batch * width)};
    check(memory_alloc(batch, sizeof *trial->labels, &trial->labels));
    random_fill_normal(&random, trial->inputs, batch * width);
    random_fill_normal(&random, trial->vector, all);
    for (size_t i = 0; i < all; i++)
        trial->vector[i] *= 0.05f;
    for (size_t i = 0; i < batch; i++)
        trial->labels[i] = (int32_t)random_below(&random, 10);
    check(plan_onednn.open(graph, batch, precision, true, &trial->plan));
}

static void trial_close(struct trial *trial) {
    plan_onednn.close(trial->plan);
    memory_free(trial->vector);
    memory_free(trial->gradient);
    memory_free(trial->moment);
    memory_free(trial->inputs);
    memory_free(trial->labels);
}

static double steps_seconds(struct trial *trial, int steps) {
    struct plan_stream stream = {.seed = 1};
    double loss, began = seconds_now();
    for (int i = 0; i < steps; i++) {
        check(plan_onednn.gradient(trial->plan, trial->vector, trial->inputs, trial->labels, NULL, &stream,
                                   trial->gradient, &loss));
        momentum_step(trial->vector, trial->gradient, trial->moment, trial->graph->parameter_count);
    }
    return (seconds_now() - began) / steps;
}

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

static void measure(const char *name, const struct graph *graph, size_t batch, enum plan_precision precision,
                    int steps, int detail) {
    struct trial trial;
    double opened = seconds_now(), rounds[ROUNDS], gemm = 0;
    size_t used = memory_used();
    trial_open(&trial, graph, batch, precision);
    opened = seconds_now() - opened;
    used = memory_used() - used;
    steps_seconds(&trial, 2);
    for (int i = 0; i < ROUNDS; i++) {
        double speed = gemm_speed();
        gemm = speed > gemm ? speed : gemm;
        rounds[i] = steps_seconds(&trial, steps);
    }
    qsort(rounds, ROUNDS, sizeof *rounds, compare_doubles);
    printf("%-8s batch %3zu  %s  median %8.0f  best %8.0f samples/s  sgemm %5.1f GFLOP/s  open %.2f s  %5.1f MiB\n",
           name, batch, precision == PLAN_BF16 ? "bf16" : "fp32", (double)batch / rounds[ROUNDS / 2],
           (double)batch / rounds[0], gemm, opened, (double)used / 1048576);
    if (detail > 0) {
        onednn_profile_start(trial.plan);
        steps_seconds(&trial, ROUNDS * steps);
        onednn_profile_print(trial.plan, detail > 1, stdout);
    }
    fflush(stdout);
    trial_close(&trial);
}

static const struct {
    const char *name;
    void (*build)(struct net *);
    size_t batch;
    int steps; /* of a round: about a tenth of a second */
} networks[] = {{"mlp", build_mlp, 64, 100},
                {"lenet", build_lenet, 64, 10},
                {"cifar", build_cifar, 128, 3},
                {"resnet20", build_resnet, 128, 1}};

int main(int count, char **words) {
    int detail = 0, chosen = 0;
    bool is_precision[2] = {true, true};
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--profile") == 0)
            detail = 1;
        else if (strcmp(words[i], "--steps") == 0)
            detail = 2;
        else if (strcmp(words[i], "--cpu") == 0)
            clock_used = CLOCK_THREAD_CPUTIME_ID;
        else if (strcmp(words[i], "--fp32") == 0)
            is_precision[PLAN_BF16] = false;
        else if (strcmp(words[i], "--bf16") == 0)
            is_precision[PLAN_FP32] = false;
        else
            chosen++;
    }
    for (size_t n = 0; n < sizeof networks / sizeof *networks; n++) {
        bool is_chosen = chosen == 0;
        for (int i = 1; i < count; i++)
            is_chosen = is_chosen || strcmp(words[i], networks[n].name) == 0;
        static struct net net;
        networks[n].build(&net);
        for (int precision = PLAN_FP32; is_chosen && precision <= PLAN_BF16; precision++)
            if (is_precision[precision])
                measure(networks[n].name, &net.graph, networks[n].batch, (enum plan_precision)precision,
                        networks[n].steps, detail);
    }
    return 0;
}

#else

int main(void) {
    puts("bench_plan needs a library built with oneDNN");
    return 0;
}

#endif
