/* SPDX-License-Identifier: Apache-2.0 */
/* What every listed policy promises, in every listed runtime: runs finish, account for each gradient, keep the
 * bound of the staleness, need no forced updates, survive the loss of workers, and repeat themselves where time is
 * modelled. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/fixture.h"

#include "runtime/list.h"
#include "runtime/uniform.h"

static const char *const variants[] = {
    "threshold,step=2",
    "threshold,step=2,wait=yes",
    "threshold,start=3,wait=yes",
    "threshold,start=2,increment=0,cap=5",
    "threshold,step=3,shape=linear,direction=down,wait=yes",
    "threshold,step=0.5,counter=fraction,shape=cosine,wait=yes",
    "threshold,step=1,counter=updates,shape=exponential,cap=9",
    "threshold,step=0.005,counter=seconds,direction=down,wait=yes",
    "cyclic,sync=1,async=1",
    "cyclic,sync=2,async=3,first=async",
    "switch,at=0.5",
    "switch,at=0.5,to=sync",
    "switch,at=3,unit=updates,to=sync",
    "switch,at=0.02,unit=seconds",
    "bounded,staleness=0",
    "bounded,staleness=1",
    "bounded,staleness=1,dynamic=2",
    "bounded,dynamic=12",
    "backup,count=2",
    "backup,spare=1",
    "batch-sync,size=5",
    "batch-sync,size=40",
    "batch-async,size=1",
    "batch-async,size=3",
    "cutoff,limit=1",
    "cutoff,limit=3",
    "backup,count=2,cancel=yes",
    "backup,spare=1,cancel=yes",
    "timeout,trials=3",
    "timeout,patience=0.0015",
    "timeout,patience=0.0008,trials=2",
    "elastic,order=sync",
    "elastic,alpha=0.3",
};

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static size_t subject_count(void) {
    return policy_list.count + COUNT(variants);
}

static const char *subject_at(size_t i) {
    return i < policy_list.count ? policy_list.entries[i]->name : variants[i - policy_list.count];
}

/* A limit of modelled time is none for a loaded machine, where every gradient might take longer. */
static const char *policy_for(const char *subject, const char *runtime) {
    bool has_limit = strncmp(subject, "timeout,patience=", 17) == 0;
    return has_limit && strcmp(runtime, "virtual") != 0 ? "timeout,patience=2,trials=2" : subject;
}

/* Unequal workers that share few samples; threads get true delays instead of modelled compute times, and ranks
 * slices of the parameters and messages that overtake each other. */
static struct run_setup scene(struct uniform_model *model, size_t subject, size_t runtime, int workers) {
    bool is_spread = strcmp(runtime_list.entries[runtime]->name, "mpi") == 0;
    struct run_setup from = uniform_setup(model, is_spread ? 2 * SERVER_SHARD + 50 : 50);
    from.runtime = runtime_list.entries[runtime]->name;
    from.policy = policy_for(subject_at(subject), from.runtime);
    from.chaos = workers == 3 ? subject + 1 : 0;
    from.workers = workers;
    from.timing =
        (struct timing_texts){.compute = "exponential,mean=0.001", .delay = "half,exponential,mean=0.0003"};
    from.timing.speeds = workers < 3 ? NULL : "1,0.8,0.5";
    from.limits.gradients = 120;
    return from;
}

/* A policy may refuse a number of workers, but only with words about itself. */
static bool is_refused(struct run *run, const struct run_setup *from) {
    if (run_open(run, from) == HYSGD_OK)
        return false;
    if (strncmp(hysgd_error_message(), "policy ", 7) != 0)
        fail_msg("%s: %s", from->policy, hysgd_error_message());
    run_close(run);
    return true;
}

static void expect_success(struct run *run) {
    if (run_go(run) != HYSGD_OK)
        fail_msg("%s on %s with %d workers: %s", run->from.policy, run->from.runtime, run->setup.workers,
                 hysgd_error_message());
    assert_int_equal(run->training.engine.progress.received, run->from.limits.gradients);
    run_expect_balance(run);
}

/* Whether every worker's first gradients are applied, once each. */
static bool sums_gradients(const struct run *run) {
    const struct hysgd_policy_ops *policy = policy_ops(&run->policy);
    return !policy->admit && policy->aggregate == HYSGD_HELD;
}

static void expect_bound(const struct run *run) {
    const struct hysgd_policy_ops *policy = policy_ops(&run->policy);
    uint64_t bound =
        policy->staleness_bound ? policy->staleness_bound(run->policy.self, run->setup.workers) : UINT64_MAX;
    for (int w = 0; w < run->summary.workers; w++)
        if (run->summary.accounts[w].most_staleness > bound)
            fail_msg("%s on %s: staleness %d above its bound", run->from.policy, run->from.runtime,
                     (int)run->summary.accounts[w].most_staleness);
    if (run->summary.forced_updates > 0)
        fail_msg("%s on %s: %d updates were forced", run->from.policy, run->from.runtime,
                 (int)run->summary.forced_updates);
}

/* Where every gradient counts in full, the parameters show each of them. */
static void check_sum(struct uniform_model *model, const struct run *run) {
    if (sums_gradients(run) && !run_is_elastic(run))
        uniform_check(model, run);
}

static void every_policy_keeps_its_promises_in_every_runtime(void **state) {
    (void)state;
    static const int workers[] = {1, 3, 8};
    for (size_t i = 0; i < subject_count() * runtime_list.count * COUNT(workers); i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / (runtime_list.count * COUNT(workers)),
                                      i / COUNT(workers) % runtime_list.count, workers[i % COUNT(workers)]);
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        expect_bound(&run);
        assert_int_equal(model.mixed, 0);
        check_sum(&model, &run);
        run_close(&run);
    }
}

static void every_policy_keeps_them_with_local_steps(void **state) {
    (void)state;
    static const int workers[] = {1, 3, 8};
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < subject_count() * runtime_list.count * COUNT(workers); i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / (runtime_list.count * COUNT(workers)),
                                      i / COUNT(workers) % runtime_list.count, workers[i % COUNT(workers)]);
        from.local = i % 2 ? "fixed,steps=3" : "proportional,steps=5,state=reset";
        from.local_optimizer = "sgd,rate=1";
        from.save_path = i % 4 < 2 ? path : NULL;
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        expect_bound(&run);
        assert_int_equal(model.mixed, 0);
        check_sum(&model, &run);
        run_close(&run);
    }
    unlink(path);
}

static void every_policy_survives_lost_workers_in_every_runtime(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count() * runtime_list.count; i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / runtime_list.count, i % runtime_list.count, 6);
        from.timing.lose = "0@0.002,3@0.004,5@0.009";
        from.timing.delay = "all,exponential,mean=0.001";
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        assert_int_equal(model.mixed, 0);
        check_sum(&model, &run);
        run_close(&run);
    }
}

static void one_worker_that_is_left_goes_on_under_every_policy(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count() * runtime_list.count; i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / runtime_list.count, i % runtime_list.count, 3);
        from.timing.lose = "1@0.002,0@0.004";
        from.timing.delay = "all,exponential,mean=0.001";
        from.limits.gradients = 60;
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        run_close(&run);
    }
}

static void every_policy_ends_with_one_line_when_no_worker_is_left(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count() * runtime_list.count; i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / runtime_list.count, i % runtime_list.count, 3);
        from.timing.lose = "1@0.002,0@0.004,2@0.006";
        from.timing.delay = "all,exponential,mean=0.001";
        from.limits.gradients = 1000000;
        if (is_refused(&run, &from))
            continue;
        assert_int_equal(run_go(&run), HYSGD_FAILED);
        if (strstr(hysgd_error_message(), "all workers are lost after update") == NULL)
            fail_msg("%s on %s: %s", from.policy, from.runtime, hysgd_error_message());
        run_expect_balance(&run);
        run_close(&run);
    }
}

static void every_policy_repeats_itself_in_modelled_time(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count(); i++) {
        uint64_t traces[3];
        for (int k = 0; k < 3; k++) {
            struct uniform_model model;
            struct run run;
            struct run_setup from = scene(&model, i, 0, 7);
            from.runtime = "virtual";
            from.timing.receive = "exponential,mean=0.0001";
            from.timing.lose = "2@0.02";
            from.seed = k < 2 ? 5 : 6;
            from.ring = 32;
            if (is_refused(&run, &from)) {
                traces[k] = (uint64_t)(k == 2);
                continue;
            }
            expect_success(&run);
            assert_int_equal(recorder_end(run.recorder, &run.summary), HYSGD_OK);
            traces[k] = run.trace ^ run_hash(&run) ^ run_account(&run);
            run_close(&run);
        }
        assert_true(traces[0] == traces[1] && traces[0] != traces[2]);
    }
}

/* Stops at the arrivals `first_stop`, `first_stop` + `step`, ... of 120, each time in a run of its own that is
 * continued to the end, and compares with one that was not stopped. */
static void expect_resumable(const struct run_setup *setup, const char *path, uint64_t first_stop, uint64_t step) {
    struct run whole, first, second;
    if (is_refused(&whole, setup))
        return;
    expect_success(&whole);
    for (uint64_t stop = first_stop; stop < 120; stop += step) {
        struct run_setup from = *setup, rest = *setup;
        from.ring = 64;
        from.stop_at = stop;
        from.save_path = path;
        run_expect(&first, &from, HYSGD_INTERRUPTED);
        run_close(&first);
        rest.resume_path = path;
        assert_int_equal(run_open(&second, &rest), HYSGD_OK);
        expect_success(&second);
        if (run_hash(&second) != run_hash(&whole) || run_account(&second) != run_account(&whole))
            fail_msg("%s goes on differently after %d gradients", setup->policy, (int)stop);
        run_close(&second);
    }
    run_close(&whole);
}

static void every_policy_goes_on_after_an_interruption(void **state) {
    (void)state;
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < subject_count(); i++) {
        struct uniform_model model;
        struct run_setup from = scene(&model, i, 0, 7);
        from.runtime = "virtual";
        from.timing.lose = "2@0.01";
        expect_resumable(&from, path, 1, 29);
    }
    unlink(path);
}

static void every_policy_goes_on_with_local_steps_after_an_interruption(void **state) {
    (void)state;
    static const char *const locals[] = {"proportional,steps=4", "fixed,steps=3,state=reset", "post-local,steps=3"};
    char path[] = "/tmp/hysgd-save-XXXXXX";
    close(mkstemp(path));
    for (size_t i = 0; i < subject_count(); i++) {
        struct uniform_model model;
        struct run_setup from = scene(&model, i, 0, 7);
        from.runtime = "virtual";
        from.timing.lose = "2@0.01";
        from.local = locals[i % COUNT(locals)];
        from.local_optimizer = i % 2 ? "adamw,rate=0.1" : "momentum,rate=0.1";
        expect_resumable(&from, path, 7, 37);
    }
    unlink(path);
}

/* Gradients do not depend on the parameters here, and every correction acts on each element alike. */
static const char *const corrections[] = {"delay-compensation,lambda=1e-5",
                                          "delay-compensation,adaptive=yes,lambda=0.01", "distance,scale=10",
                                          "dana,momentum=0.5"};

static void every_policy_takes_every_correction_in_every_runtime(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count() * runtime_list.count * COUNT(corrections); i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i / (runtime_list.count * COUNT(corrections)),
                                      i / COUNT(corrections) % runtime_list.count, 5);
        from.correction = corrections[i % COUNT(corrections)];
        from.timing.lose = "2@0.003";
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        assert_int_equal(model.mixed, 0);
        uniform_look(&model, training_vector(&run.training), training_vector(&run.training)[0]);
        assert_int_equal(model.mixed, 0);
        run_close(&run);
    }
}

/* The gradients are small integers, the same in every element: none of these changes them, but for int8, which does
 * the same to each. */
static const char *const wires[] = {"fp32,sparse=yes", "bf16,feedback=yes", "int8", "int8,feedback=no,sparse=yes"};

static void expect_traffic(const struct run *run, const char *wire) {
    size_t count = run->training.server.count, whole = count * sizeof(float), frames = (count + 16383) / 16384;
    size_t bytes = strncmp(wire, "fp32", 4) == 0   ? whole
                   : strncmp(wire, "bf16", 4) == 0 ? whole / 2
                                                   : count + 4 * ((count + 1023) / 1024);
    bytes += strstr(wire, "sparse") ? 2 * frames : 0;
    for (int w = 0; w < run->summary.workers; w++) {
        const struct event_account *account = &run->summary.accounts[w];
        if (frames == 1 || !strstr(wire, "sparse")) /* of a long vector the full frames have longer heads */
            assert_int_equal(account->traffic.sent, account->received * bytes);
        assert_true(account->traffic.sent >= account->received * bytes);
        assert_true(account->traffic.received <= (account->received + account->abandoned + 1) * whole);
        assert_true(account->received == 0 || account->traffic.received >= whole);
    }
}

static void every_policy_takes_every_wire_in_every_runtime(void **state) {
    (void)state;
    for (size_t i = 0; i < subject_count() * runtime_list.count * COUNT(wires); i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from =
            scene(&model, i / (runtime_list.count * COUNT(wires)), i / COUNT(wires) % runtime_list.count, 5);
        from.wire = wires[i % COUNT(wires)];
        if (is_refused(&run, &from))
            continue;
        expect_success(&run);
        assert_int_equal(model.mixed, 0);
        expect_traffic(&run, from.wire);
        if (i % COUNT(wires) < 2)
            check_sum(&model, &run);
        run_close(&run);
    }
}

static void a_thousand_workers_train_under_every_policy(void **state) {
    (void)state;
    for (size_t i = 0; i < policy_list.count; i++) {
        struct uniform_model model;
        struct run run;
        struct run_setup from = scene(&model, i, 0, 1000);
        from.runtime = "virtual";
        from.limits.gradients = 5000;
        from.without_gradients = true;
        assert_false(is_refused(&run, &from));
        expect_success(&run);
        expect_bound(&run);
        run_close(&run);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_keeps_its_promises_in_every_runtime),
        cmocka_unit_test(every_policy_keeps_them_with_local_steps),
        cmocka_unit_test(every_policy_survives_lost_workers_in_every_runtime),
        cmocka_unit_test(one_worker_that_is_left_goes_on_under_every_policy),
        cmocka_unit_test(every_policy_ends_with_one_line_when_no_worker_is_left),
        cmocka_unit_test(every_policy_repeats_itself_in_modelled_time),
        cmocka_unit_test(every_policy_goes_on_after_an_interruption),
        cmocka_unit_test(every_policy_takes_every_correction_in_every_runtime),
        cmocka_unit_test(every_policy_takes_every_wire_in_every_runtime),
        cmocka_unit_test(every_policy_goes_on_with_local_steps_after_an_interruption),
        cmocka_unit_test(a_thousand_workers_train_under_every_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
