/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of training in parameter vectors: how many vectors of the model's size a run holds at its peak, beyond
 * data and activations, for several policies and optimizers. The bar is for a model of one huge vector that
 * computes next to nothing, where every byte is the runtime's. A network of one wide layer is shown beside it:
 * there each worker's kernels, and the evaluation's, may keep the weights once more in the layout that they compute
 * with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "hysgd.h"

#define PARAMETERS ((size_t)4 << 20)
#define WORKERS    2
#define STEPS      60

/* ---- A model whose gradient is its vector ---- */

static const struct hysgd_tensor bulk_tensor = {.name = "bulk", .rank = 1, .dims = {PARAMETERS}};

static enum hysgd_status bulk_init(void *self, const struct hysgd_data_shape *shape) {
    (void)self;
    (void)shape;
    return HYSGD_OK;
}

static void bulk_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    *layout_out =
        (struct hysgd_model_layout){.parameter_count = PARAMETERS, .tensors = &bulk_tensor, .tensor_count = 1};
}

static enum hysgd_status bulk_gradient(const void *self, void *workspace, const float *vector,
                                       const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self;
    (void)workspace;
    (void)batch;
    memcpy(gradient_out, vector, PARAMETERS * sizeof *gradient_out);
    *loss_out = 1;
    return HYSGD_OK;
}

static const struct hysgd_model_ops model_bulk = {
    .about = {.name = "bulk", .summary = "one vector"},
    .init = bulk_init,
    .describe = bulk_describe,
    .gradient = bulk_gradient,
};

/* ---- Measuring ---- */

struct peak {
    double counted;  /* vectors by the library's account of memory */
    double resident; /* vectors by the system's, which sees the libraries' own too */
};

static void check(enum hysgd_status status) {
    if (status == HYSGD_OK)
        return;
    fprintf(stderr, "bench_memory: %s\n", hysgd_error_message());
    exit(hysgd_status_exit_code(status));
}

static void set(struct hysgd_job *job, const char *key, const char *value) {
    check(hysgd_job_set(job, key, value));
}

static size_t resident_bytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

/* One run in a process of its own, whose peak is then that of the run alone. */
static struct peak run(const char *policy, const char *optimizer, const char *network) {
    struct hysgd_job *job;
    struct hysgd_result result;
    char workers[16], gradients[16];
    size_t before = resident_bytes();
    snprintf(workers, sizeof workers, "%d", WORKERS);
    snprintf(gradients, sizeof gradients, "%d", WORKERS * STEPS);
    check(hysgd_job_alloc(&job));
    set(job, "policy", policy);
    set(job, "optimizer", optimizer);
    set(job, "workers", workers);
    set(job, "gradients", gradients);
    set(job, "batch", "4");
    set(job, "eval-every", "gradients=4");
    set(job, "eval-batch", "1");
    set(job, "eval-limit", "1");
    if (network) {
        set(job, "model", network);
        set(job, "data", "random,dimensions=2048,samples=50");
    } else {
        set(job, "data", "none,samples=100");
        check(hysgd_job_use_model(job, &model_bulk, NULL, NULL));
    }
    check(hysgd_job_run(job, &result));
    size_t count;
    (void)hysgd_job_parameters(job, &count);
    double bytes = (double)(count * sizeof(float));
    struct peak peak = {(double)memory_peak() / bytes, (double)(resident_bytes() - before) / bytes};
    hysgd_job_free(job);
    return peak;
}

static struct peak run_apart(const char *policy, const char *optimizer, const char *network) {
    struct peak peak;
    int ends[2], status;
    if (pipe(ends) != 0) {
        perror("bench_memory: pipe");
        exit(1);
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        peak = run(policy, optimizer, network);
        _exit(write(ends[1], &peak, sizeof peak) == sizeof peak ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &peak, sizeof peak) != sizeof peak || waitpid(child, &status, 0) != child) {
        fprintf(stderr, "bench_memory: %s, %s: the run failed\n", policy, optimizer);
        exit(1);
    }
    close(ends[0]);
    return peak;
}

/* Whether the run kept to the bar; NULL for the network: the model of one vector. */
static bool print_row(const char *policy, const char *optimizer, const char *network) {
    struct peak peak = run_apart(policy, optimizer, network);
    double most = peak.resident > peak.counted ? peak.resident : peak.counted;
    int bar = 2 * WORKERS + 4;
    bool is_reached = most <= bar + 0.2; /* code, stacks and batches */
    printf("  %-8s %-24s %-9s %6.2f counted %6.2f resident", network ? "network" : "vector", policy, optimizer,
           peak.counted, peak.resident);
    if (!network)
        printf("   <= %d   %s", bar, is_reached ? "PASS" : "MISS");
    printf("\n");
    return is_reached || network;
}

int main(void) {
    static const char *const policies[] = {"sync", "async", "threshold,start=3,cap=3"};
    static const char *const optimizers[] = {"sgd", "momentum", "adam"};
    int missed = 0;
    printf("memory at the peak in parameter vectors, %d workers, evaluations on the way\n", WORKERS);
    for (size_t p = 0; p < sizeof policies / sizeof *policies; p++)
        for (size_t o = 0; o < sizeof optimizers / sizeof *optimizers; o++) {
            missed += !print_row(policies[p], optimizers[o], NULL);
            print_row(policies[p], optimizers[o], "dense 2048, relu, dense");
        }
    printf("  %d missed\n", missed);
    return missed > 0;
}
