/* SPDX-License-Identifier: Apache-2.0 */
/* A model and data of one's own, with the public header only: a cubic is fitted to noisy points by least squares.
 * The model is a flat vector of parameters and a function that writes the gradient; hysgd brings the workers, the
 * policy and the optimizer. Checks that the coefficients are found. */
#include <math.h>
#include <stdio.h>

#include "hysgd.h"

#define COEFFICIENTS 4

static const float truth[COEFFICIENTS] = {0.5F, -1, 0.25F, 2};

/* 1, x, x^2, x^3 and the value of the cubic. */
static float cubic(const float *coefficients, float x, float powers_out[COEFFICIENTS]) {
    float value = 0, power = 1;
    for (int i = 0; i < COEFFICIENTS; i++, power *= x) {
        powers_out[i] = power;
        value += coefficients[i] * power;
    }
    return value;
}

/* ---- Data: points on the cubic, a little beside it ---- */

static void describe_data(const void *self, struct hysgd_data_shape *shape_out) {
    (void)self;
    *shape_out = (struct hysgd_data_shape){
        .train_count = 4000, .test_count = 1000, .channels = 1, .height = 1, .width = 1, .targets = 1};
}

/* A sample is a function of its index alone, so that nothing needs to be stored. */
static void gather(const void *self, enum hysgd_split split, const uint64_t *indices, size_t count, float *inputs,
                   int32_t *labels, float *targets) {
    (void)self, (void)labels;
    for (size_t i = 0; i < count; i++) {
        double phase = (double)indices[i] * 0.61803398875 + (split == HYSGD_TEST ? 0.5 : 0);
        float powers[COEFFICIENTS];
        inputs[i] = (float)(2 * (phase - floor(phase)) - 1);
        targets[i] = cubic(truth, inputs[i], powers) + 0.1F * (float)sin(12.9898 * (double)indices[i]);
    }
}

static const struct hysgd_data_ops points = {
    .about = {.name = "points", .summary = "points near a cubic"}, .describe = describe_data, .gather = gather};

/* ---- Model: the coefficients of the cubic ---- */

static void describe_model(const void *self, struct hysgd_model_layout *layout_out) {
    static const struct hysgd_tensor tensors[] = {{.name = "coefficients", .rank = 1, .dims = {COEFFICIENTS}}};
    (void)self;
    *layout_out =
        (struct hysgd_model_layout){.parameter_count = COEFFICIENTS, .tensors = tensors, .tensor_count = 1};
}

/* Loss: half the mean squared error; its gradient: the mean of error times power. Several workers are in here at
 * once, each with its own batch. */
static enum hysgd_status gradient(const void *self, void *workspace, const float *vector,
                                  const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self, (void)workspace;
    double sums[COEFFICIENTS] = {0}, loss = 0;
    for (size_t i = 0; i < batch->count; i++) {
        float powers[COEFFICIENTS];
        double error = (double)(cubic(vector, batch->inputs[i], powers) - batch->targets[i]);
        loss += 0.5 * error * error;
        for (int j = 0; j < COEFFICIENTS; j++)
            sums[j] += error * (double)powers[j];
    }
    for (int j = 0; j < COEFFICIENTS; j++)
        gradient_out[j] = (float)(sums[j] / (double)batch->count);
    *loss_out = loss / (double)batch->count;
    return HYSGD_OK;
}

static const struct hysgd_model_ops model = {
    .about = {.name = "cubic", .summary = "a polynomial of degree three"},
    .describe = describe_model,
    .gradient = gradient,
};

/* ---- Training ---- */

/* Plain steps, and nobody far ahead: momentum would amplify what the workers' stale gradients overshoot. */
static const char *const settings[][2] = {
    {"policy", "bounded,staleness=3"},
    {"optimizer", "sgd,rate=0.1"},
    {"workers", "2"},
    {"batch", "20"},
    {"epochs", "30"},
    {"eval-every", "never"},
};

static enum hysgd_status train(struct hysgd_job *job, struct hysgd_result *result) {
    enum hysgd_status status = hysgd_job_use_model(job, &model, NULL, NULL);
    if (status == HYSGD_OK)
        status = hysgd_job_use_data(job, &points, NULL, NULL);
    for (size_t i = 0; status == HYSGD_OK && i < sizeof settings / sizeof settings[0]; i++)
        status = hysgd_job_set(job, settings[i][0], settings[i][1]);
    return status == HYSGD_OK ? hysgd_job_run(job, result) : status;
}

static bool is_found(const struct hysgd_job *job) {
    size_t count;
    const float *found = hysgd_job_parameters(job, &count);
    bool all_near = count == COEFFICIENTS;
    for (size_t i = 0; all_near && i < count; i++) {
        printf("coefficient %zu: %.3f, sought %.3f\n", i, (double)found[i], (double)truth[i]);
        all_near = fabsf(found[i] - truth[i]) < 0.05F;
    }
    return all_near;
}

int main(void) {
    struct hysgd_job *job;
    struct hysgd_result result;
    enum hysgd_status status = hysgd_job_alloc(&job);
    bool is_right = false;
    if (status == HYSGD_OK) {
        status = train(job, &result);
        is_right = status == HYSGD_OK && is_found(job);
        hysgd_job_free(job);
    }
    if (status != HYSGD_OK) {
        fprintf(stderr, "own_model: %s\n", hysgd_error_message());
        return hysgd_status_exit_code(status);
    }
    printf("%llu updates in %.3f s, test loss %.6f\n", (unsigned long long)result.updates, result.seconds,
           result.test_loss);
    return is_right && result.test_loss < 0.006 ? 0 : 1;
}
