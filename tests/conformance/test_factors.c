/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of ratings under every policy, with virtual and with real workers that hold a block of rows each: what
 * they share is aggregated and is learnt, and what is a worker's own is nobody else's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "data/partition.h"
#include "model/factors.h"
#include "policy/policy.h"
#include "train/job.h"
#include "train/job_words.h"

#define DATA    "planted,users=60,items=60,ratings=2000,signal=1.5,noise=0.3,rank=2"
#define RANK    3
#define WORKERS 3
#define USERS   60

static const char *const runtimes[] = {"virtual", "threads"};

static struct hysgd_job *open_job(const char *policy, const char *runtime, const char *const *more) {
    const char *const common[] = {"data",      DATA,
                                  "model",     "factors,rank=3,scale=1",
                                  "partition", "rows",
                                  "workers",   "3",
                                  "policy",    policy,
                                  "runtime",   runtime,
                                  "optimizer", "sgd,rate=0.03",
                                  NULL};
    return job_of_words(common, more);
}

static struct hysgd_result run(struct hysgd_job *job, const char *what) {
    struct hysgd_result result;
    if (hysgd_job_run(job, &result) != HYSGD_OK)
        fail_msg("%s: %s", what, hysgd_error_message());
    assert_int_equal(result.received, result.applied + result.dropped);
    return result;
}

static void every_policy_learns_factors(void **state) {
    (void)state;
    static const char *const until[] = {"epochs", "40", "batch", "8", "combine", "mean", NULL};
    static const char *const elastic[] = {"epochs", "40", "batch", "8", NULL}; /* its updates are sums */
    for (size_t p = 0; p < policy_list.count; p++)
        for (size_t r = 0; r < sizeof runtimes / sizeof *runtimes; r++) {
            const char *policy = policy_list.entries[p]->name;
            bool is_elastic = strcmp(policy, "elastic") == 0;
            struct hysgd_job *job = open_job(policy, runtimes[r], is_elastic ? elastic : until);
            struct hysgd_result result = run(job, policy);
            /* The mean squared error, with penalties: 2.3 for the mean of all ratings. How much real threads learn
             * depends on their timing. */
            if (!(result.train_loss < (r == 0 ? 2.2 : 5)))
                fail_msg("%s, %s: loss %g", policy, runtimes[r], result.train_loss);
            hysgd_job_free(job);
        }
}

/* Whether a row is of the worker, by user. */
static void find_owned(int worker, bool owned_out[USERS]) {
    struct plugin data, dealer;
    struct partition partition;
    memset(owned_out, 0, USERS * sizeof *owned_out);
    assert_int_equal(plugin_open(&data_list, DATA, &data), HYSGD_OK);
    assert_int_equal(data_ops(&data)->init(data.self, 1), HYSGD_OK);
    assert_int_equal(plugin_open(&partition_list, "rows", &dealer), HYSGD_OK);
    assert_int_equal(partition_init(&partition, &dealer, &data, WORKERS, 1), HYSGD_OK);
    for (uint64_t i = partition.first[worker]; i < partition.first[worker + 1]; i++) {
        float input[2], target;
        uint32_t row;
        data_ops(&data)->gather(data.self, HYSGD_TRAIN, &partition.indices[i], 1, input, NULL, &target);
        memcpy(&row, input, sizeof row);
        owned_out[row] = true;
    }
    partition_fini(&partition);
    plugin_close(&dealer);
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
}

/* How many rows, of a worker that is lost before its first gradient and of the others, change in a run. */
struct moved {
    size_t lost, others;
};

static struct moved count_moved(const char *policy, const char *orphans, const bool is_lost[USERS]) {
    const char *const lost[] = {"epochs", "4", "lose", "2@0", "orphans", orphans, NULL};
    struct hysgd_job *job = open_job(policy, "virtual", lost);
    struct moved moved = {0};
    size_t count;
    run(job, policy);
    const float *rows = hysgd_job_parameters(job, &count);
    float *start = malloc(count * sizeof *start);
    struct factors_model model = {.rank = RANK, .scale = 1, .has_biases = true, .start = FACTORS_NORMAL};
    const struct hysgd_data_shape shape = {.row_count = USERS, .column_count = 60};
    model.unseen = (char[]){"mean"};
    assert_int_equal(model_factors.init(&model, &shape), HYSGD_OK);
    model_factors.start(&model, 1, start);
    for (size_t user = 0; user < USERS; user++)
        *(is_lost[user] ? &moved.lost : &moved.others) +=
            memcmp(rows + user * RANK, start + user * RANK, RANK * sizeof *rows) != 0;
    free(start);
    hysgd_job_free(job);
    return moved;
}

static void the_rows_of_a_worker_change_by_its_own_gradients_only(void **state) {
    (void)state;
    bool is_lost[USERS];
    find_owned(2, is_lost);
    for (size_t p = 0; p < policy_list.count; p++) {
        const char *policy = policy_list.entries[p]->name;
        struct moved skipped = count_moved(policy, "skip", is_lost), shared = count_moved(policy, "share", is_lost);
        if (skipped.lost > 0)
            fail_msg("%s: %zu rows of a lost worker have changed", policy, skipped.lost);
        if (shared.lost == 0)
            fail_msg("%s: nobody has taken over the rows of a lost worker", policy);
        assert_true(skipped.others > USERS / 3 && shared.others > USERS / 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_learns_factors),
        cmocka_unit_test(the_rows_of_a_worker_change_by_its_own_gradients_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
