/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to gradients on their way out of a worker: what is lost comes later, nothing is lost of statistics,
 * what is given up leaves nothing behind, and bytes are counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "runtime/fixture.h"

#include "checkpoint/folder.h"

/* ---- A model whose first parameter drowns the others ---- */

/* The gradient of parameter 0 goes to and fro between +-100 without end; those of the others lead from 0 to their
 * targets 0.01 i. In bytes their block has a scale of 100 / 127. */
#define DROWNED 30

static void drowned_describe(const void *self, struct hysgd_model_layout *layout_out) {
    (void)self;
    static const struct hysgd_tensor tensor = {.name = "w", .rank = 1, .dims = {DROWNED}};
    *layout_out = (struct hysgd_model_layout){.parameter_count = DROWNED, .tensors = &tensor, .tensor_count = 1};
}

static enum hysgd_status drowned_gradient(const void *self, void *workspace, const float *vector,
                                          const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self, (void)workspace;
    for (int i = 1; i < DROWNED; i++)
        gradient_out[i] = vector[i] - 0.01f * (float)i;
    gradient_out[0] = batch->draw % 2 ? 100 : -100;
    *loss_out = 1;
    return HYSGD_OK;
}

static const struct hysgd_model_ops drowned_ops = {
    .about = {.name = "drowned"}, .describe = drowned_describe, .gradient = drowned_gradient};

/* How far the drowned parameters are from their targets at the end, at most. */
static double error_with(const char *wire, const char *policy, const char *runtime) {
    const struct run_setup from = {.own_model = &drowned_ops,
                                   .policy = policy,
                                   .runtime = runtime,
                                   .wire = wire,
                                   .optimizer = "sgd,rate=0.01",
                                   .workers = 2,
                                   .limits.gradients = 6000};
    struct run run;
    double most = 0;
    run_expect(&run, &from, HYSGD_OK);
    for (int i = 1; i < DROWNED; i++)
        most = fmax(most, fabs((double)server_vector(&run.training.server)[i] - 0.01 * i));
    run_close(&run);
    return most;
}

static void what_rounding_swallows_arrives_later_with_feedback(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "async", "batch-async,size=3"};
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        for (int threads = 0; threads < 2; threads++) {
            const char *runtime = threads ? "threads" : "virtual";
            assert_true(error_with("fp32", policies[i], runtime) < 1e-3);
            assert_true(error_with("int8", policies[i], runtime) < 0.02);
            assert_true(error_with("int8,feedback=no", policies[i], runtime) > 0.28);
        }
}

/* ---- Threads and virtual time ---- */

static struct run_setup trained(const char *runtime, const char *wire) {
    return (struct run_setup){.policy = "sync",
                              .runtime = runtime,
                              .wire = wire,
                              .data = "random,samples=400,dimensions=9,classes=4",
                              .model = "dense 7, norm, relu, dense",
                              .optimizer = "momentum,rate=0.02",
                              .limits.gradients = 200};
}

static void the_runtimes_lose_the_same(void **state) {
    (void)state;
    static const char *const wires[] = {"bf16", "bf16,feedback=yes", "int8", "int8,feedback=no,sparse=yes"};
    const struct run_setup exact = trained("virtual", "fp32");
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        const struct run_setup modelled = trained("virtual", wires[i]), real = trained("threads", wires[i]);
        assert_true(run_result(&modelled) == run_result(&real));
        assert_true(run_result(&modelled) != run_result(&exact));
    }
}

static void zeros_that_are_left_out_change_nothing(void **state) {
    (void)state;
    const struct run_setup plain = trained("virtual", NULL), sparse = trained("threads", "fp32,sparse=yes");
    assert_true(run_result(&plain) == run_result(&sparse));
}

/* ---- One gradient ---- */

static void open_one(struct run *run, const char *wire) {
    const struct run_setup from = trained("virtual", wire);
    assert_int_equal(run_open(run, &from), HYSGD_OK);
    assert_int_equal(worker_open(&run->training, 0), HYSGD_OK);
}

static void compute_one(struct run *run) {
    run->training.engine.workers[0].batches = 1;
    assert_int_equal(worker_compute(&run->training, 0, server_vector(&run->training.server), NULL), HYSGD_OK);
}

static void a_gradient_that_is_given_up_leaves_nothing_behind(void **state) {
    (void)state;
    struct run run;
    open_one(&run, "int8");
    const struct outgoing_worker *worker = &run.training.outgoing.workers[0];
    compute_one(&run);
    float lost = worker->working[1], first = run.training.server.gradients[0][1];
    worker_seek(&run.training, 0, 0);
    compute_one(&run); /* the first was never delivered */
    assert_true(worker->settled[1] == 0 && worker->working[1] == lost && lost != 0);
    assert_true(run.training.server.gradients[0][1] == first);
    outgoing_settle(&run.training, 0);
    assert_true(worker->settled[1] == lost);
    run_close(&run);
}

static void statistics_travel_as_they_are(void **state) {
    (void)state;
    struct run exact, rounded;
    open_one(&exact, "fp32");
    open_one(&rounded, "int8");
    compute_one(&exact);
    compute_one(&rounded);
    const struct server *server = &exact.training.server;
    const float *there = server->gradients[0], *here = rounded.training.server.gradients[0];
    assert_true(server->count > server->parameter_count);
    assert_memory_equal(there + server->parameter_count, here + server->parameter_count,
                        (server->count - server->parameter_count) * sizeof *there);
    assert_memory_not_equal(there, here, server->parameter_count * sizeof *there);
    run_close(&exact);
    run_close(&rounded);
}

static enum hysgd_status bad_gradient(const void *self, void *workspace, const float *vector,
                                      const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    HYSGD_TRY(drowned_gradient(self, workspace, vector, batch, gradient_out, loss_out));
    if (batch->draw == 5)
        gradient_out[3] = (float)NAN;
    return HYSGD_OK;
}

static void a_gradient_that_is_not_finite_ends_the_run(void **state) {
    (void)state;
    static const char *const wires[] = {"fp32,sparse=yes", "bf16", "int8", "int8,feedback=no"};
    struct hysgd_model_ops ops = drowned_ops;
    ops.gradient = bad_gradient;
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
        const struct run_setup from = {.own_model = &ops, .wire = wires[i], .limits.gradients = 100};
        struct run run;
        run_expect(&run, &from, HYSGD_DIVERGED);
        assert_non_null(strstr(hysgd_error_message(), "is not finite"));
        run_close(&run);
    }
}

/* ---- Bytes ---- */

static uint64_t bytes_per_gradient(const struct run_setup *from) {
    struct run run;
    run_expect(&run, from, HYSGD_OK);
    const struct event_account *account = &run.summary.accounts[0];
    uint64_t bytes = account->traffic.sent / account->received;
    assert_true(account->traffic.received % ((uint64_t)run.training.layout.parameter_count * 4) == 0);
    run_close(&run);
    return bytes;
}

static void bytes_are_those_of_the_format(void **state) {
    (void)state;
    struct run_setup from = {.model = "quadratic,dimension=5000", .limits.gradients = 40};
    from.wire = "fp32";
    assert_int_equal(bytes_per_gradient(&from), 20000);
    from.wire = "bf16";
    assert_int_equal(bytes_per_gradient(&from), 10000);
    from.wire = "int8";
    assert_int_equal(bytes_per_gradient(&from), 5020);
    from.without_gradients = true;
    assert_int_equal(bytes_per_gradient(&from), 5020);
}

/* A batch touches one row of 16. */
#define ROWS 5000

static void rows_describe(const void *self, struct hysgd_model_layout *layout_out) {
    static const struct hysgd_tensor tensor = {.name = "rows", .rank = 2, .dims = {ROWS, 16}};
    const bool *says_so = self;
    *layout_out = (struct hysgd_model_layout){
        .parameter_count = ROWS * 16, .tensors = &tensor, .tensor_count = 1, .has_sparse_gradients = *says_so};
}

static enum hysgd_status rows_gradient(const void *self, void *workspace, const float *vector,
                                       const struct hysgd_batch *batch, float *gradient_out, double *loss_out) {
    (void)self, (void)workspace;
    size_t first = (size_t)batch->draw * 37 % ROWS * 16;
    memset(gradient_out, 0, ROWS * 16 * sizeof *gradient_out);
    for (size_t i = first; i < first + 16; i++)
        gradient_out[i] = vector[i] - 1;
    *loss_out = 1;
    return HYSGD_OK;
}

static const struct hysgd_model_ops rows_ops = {
    .about = {.name = "rows"}, .describe = rows_describe, .gradient = rows_gradient};

static void a_sparse_model_sends_what_it_touches(void **state) {
    (void)state;
    bool says_so = true;
    struct run_setup from = {.own_model = &rows_ops, .own_model_self = &says_so, .limits.gradients = 300};
    assert_in_range(bytes_per_gradient(&from), 64, 100);
    from.wire = "int8"; /* the residual of a row waits until it is touched again */
    assert_in_range(bytes_per_gradient(&from), 16, 50);
    from.wire = "fp32,sparse=no";
    assert_int_equal(bytes_per_gradient(&from), ROWS * 64);
    says_so = false;
    from.wire = NULL;
    assert_int_equal(bytes_per_gradient(&from), ROWS * 64);
    from.wire = "fp32,sparse=yes";
    assert_in_range(bytes_per_gradient(&from), 64, 100);
}

/* Under batch-sync all gradients of a round are of one version. */
static void a_version_that_a_worker_has_is_not_sent_again(void **state) {
    (void)state;
    const struct run_setup from = {
        .policy = "batch-sync,size=8", .model = "quadratic,dimension=50", .workers = 1, .limits.updates = 10};
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    assert_int_equal(run.summary.accounts[0].received, 80);
    assert_int_equal(run.summary.accounts[0].traffic.sent, 80 * 200);
    assert_int_equal(run.summary.accounts[0].traffic.received, 10 * 200);
    run_close(&run);
}

/* ---- Refusals ---- */

static void elastic_averaging_takes_nothing_that_loses(void **state) {
    (void)state;
    const struct run_setup from = {.policy = "elastic", .wire = "int8"};
    struct run run;
    assert_int_equal(run_open(&run, &from), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "wire=int8 contradicts it"));
    run_close(&run);
}

static void a_run_goes_on_with_the_wire_that_it_had(void **state) {
    const struct folder *folder = *state;
    struct run_setup from = trained("virtual", "int8"), rest = trained("virtual", "bf16");
    struct run run;
    from.save_path = rest.resume_path = folder->file;
    run_expect(&run, &from, HYSGD_OK);
    run_close(&run);
    assert_int_equal(run_open(&run, &rest), HYSGD_INPUT);
    assert_non_null(strstr(hysgd_error_message(), "was saved with wire = int8: this run has bf16"));
    run_close(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_rounding_swallows_arrives_later_with_feedback),
        cmocka_unit_test(the_runtimes_lose_the_same),
        cmocka_unit_test(zeros_that_are_left_out_change_nothing),
        cmocka_unit_test(a_gradient_that_is_given_up_leaves_nothing_behind),
        cmocka_unit_test(statistics_travel_as_they_are),
        cmocka_unit_test(a_gradient_that_is_not_finite_ends_the_run),
        cmocka_unit_test(bytes_are_those_of_the_format),
        cmocka_unit_test(a_sparse_model_sends_what_it_touches),
        cmocka_unit_test(a_version_that_a_worker_has_is_not_sent_again),
        cmocka_unit_test(elastic_averaging_takes_nothing_that_loses),
        cmocka_unit_test_setup_teardown(a_run_goes_on_with_the_wire_that_it_had, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
