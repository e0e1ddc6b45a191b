/* SPDX-License-Identifier: Apache-2.0 */
/* What every listed policy promises, tried on a small model of the server: it never deadlocks, accounts for each
 * gradient, keeps its staleness bound, survives workers that are lost or give up, repeats itself, and goes on from
 * a saved state. A new policy is tested by being listed; a line in `variants` tests it with other options too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/options.h"
#include "base/random.h"
#include "conformance/policy_model.h"

static const char *const variants[] = {
    "threshold,step=2",
    "threshold,step=2,wait=yes",
    "threshold,start=2,cap=2",
    "threshold,start=3,wait=yes",
    "threshold,start=2,increment=0,cap=5",
    "threshold,step=3,shape=linear,direction=down,wait=yes",
    "threshold,step=0.5,counter=fraction,shape=cosine,wait=yes",
    "threshold,step=1,counter=updates,shape=exponential,cap=9",
    "threshold,step=0.5,counter=seconds,direction=down,wait=yes",
    "cyclic,sync=1,async=1",
    "cyclic,sync=2,async=3,first=async",
    "switch,at=0.5",
    "switch,at=0.5,to=sync",
    "switch,at=3,unit=updates,to=sync",
    "switch,at=2,unit=seconds",
    "switch,at=0,to=sync",
    "bounded,staleness=0",
    "bounded,staleness=1",
    "bounded,staleness=1,dynamic=2",
    "bounded,staleness=0,dynamic=5",
    "bounded,dynamic=12",
    "backup,count=1",
    "backup,count=2",
    "backup,spare=1",
    "backup,spare=2",
    "batch-sync,size=1",
    "batch-sync,size=5",
    "batch-sync,size=40",
    "batch-async,size=1",
    "batch-async,size=3",
    "cutoff,limit=1",
    "cutoff,limit=3",
    "backup,count=2,cancel=yes",
    "backup,spare=1,cancel=yes",
    "timeout,trials=3",
    "timeout,patience=5",
    "timeout,patience=3,trials=2",
};

#define VARIANTS (sizeof variants / sizeof variants[0])

/* A policy under test: a text for the list, or a table of this file. */
struct subject {
    const char *text;
    const struct hysgd_policy_ops *ops;
};

static size_t subject_count(void) {
    return policy_list.count + VARIANTS;
}

/* The listed policies as they are, then the variants. */
static struct subject subject_at(size_t i) {
    return (struct subject){i < policy_list.count ? policy_list.entries[i]->name : variants[i - policy_list.count],
                            NULL};
}

static void close_subject(struct plugin *policy) {
    if (policy->ops != NULL && policy_ops(policy)->fini != NULL)
        policy_ops(policy)->fini(policy->self);
    plugin_close(policy);
}

/* False when the policy refuses so many workers. */
static bool open_subject(struct subject subject, int workers, struct plugin *policy_out) {
    enum hysgd_status status = subject.ops != NULL
                                   ? plugin_adopt("policy", &subject.ops->about, NULL, NULL, policy_out)
                                   : plugin_open(&policy_list, subject.text, policy_out);
    if (status != HYSGD_OK)
        fail_msg("%s", hysgd_error_message());
    if (policy_ops(policy_out)->init == NULL)
        return true;
    status = policy_ops(policy_out)->init(policy_out->self, workers);
    if (status == HYSGD_OK)
        return true;
    assert_int_equal(status, HYSGD_USAGE);
    close_subject(policy_out);
    return false;
}

/* Replaces the policy by a new one that knows only what a checkpoint keeps. */
static void replace_by_saved(struct subject subject, int workers, struct plugin *policy,
                             struct policy_model *model) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    policy_print_saved(policy_ops(policy), policy->self, workers, out);
    fclose(out);
    struct plugin fresh;
    assert_true(open_subject(subject, workers, &fresh));
    assert_int_equal(policy_parse_saved(policy_ops(&fresh), fresh.self, workers, text), HYSGD_OK);
    free(text);
    close_subject(policy);
    *policy = fresh;
    model->self = fresh.self;
}

enum speeds { EQUAL, UNEQUAL, STALLED, SPEEDS };

/* How one run goes. */
struct scene {
    int workers;
    enum speeds speeds;
    uint64_t gradients, seed;
    uint64_t lose_every; /* a worker is lost at each multiple of so many gradients; 0: never */
    uint64_t replace_at; /* the policy is replaced by a saved copy after so many gradients; 0: never */
};

static double compute_time(const struct scene *scene, int worker, struct random *random) {
    if (scene->speeds == EQUAL)
        return 1;
    double seconds = (1 + worker % 5) * (0.5 + random_uniform(random));
    if (scene->speeds == STALLED && worker == 0 && random_below(random, 4) == 0)
        seconds *= 100;
    return seconds;
}

static int next_arrival(const struct policy_model *model, const double *times) {
    int next = -1;
    for (int w = 0; w < model->known; w++)
        if (model->workers[w].activity == MODEL_COMPUTING && (next < 0 || times[w] < times[next]))
            next = w;
    return next;
}

/* One of those that take part: a waiting one rather than a computing one, as that is harder to survive. */
static int next_to_lose(const struct policy_model *model) {
    int last = -1;
    for (int w = 0; w < model->known; w++) {
        if (model->workers[w].activity == MODEL_WAITING)
            return w;
        if (model->workers[w].activity == MODEL_COMPUTING)
            last = w;
    }
    return last;
}

/* The stage of all scenes: one for the program, as it is large; every scene clears it first. */
struct stage {
    struct policy_model model;
    double times[MODEL_MOST_WORKERS];  /* of the arrivals to come; INFINITY where there is none */
    bool gives_up[MODEL_MOST_WORKERS]; /* by then, instead */
    struct random streams[MODEL_MOST_WORKERS];
};

static int set_stage(void **state) {
    return memory_alloc(1, sizeof(struct stage), state) == HYSGD_OK ? 0 : -1;
}

static int clear_stage(void **state) {
    memory_free(*state);
    return 0;
}

/* Workers that compute now and whose arrival is not yet fixed start at `seconds`. */
static void start_workers(struct stage *stage, const struct scene *scene, double seconds) {
    for (int w = 0; w < scene->workers; w++) {
        if (stage->model.workers[w].activity != MODEL_COMPUTING)
            stage->times[w] = INFINITY;
        else if (stage->times[w] == INFINITY) {
            double needed = compute_time(scene, w, &stage->streams[w]), patience = stage->model.workers[w].patience;
            stage->gives_up[w] = needed > patience;
            stage->times[w] = seconds + fmin(needed, patience);
        }
    }
}

/* The next delivery, or the next worker whose patience ends; and at once those whose gradients are of no more use.
 * Returns whether a gradient arrived. */
static bool play_next(struct stage *stage, const struct scene *scene, double *seconds_out) {
    struct policy_model *model = &stage->model;
    int w = next_arrival(model, stage->times);
    bool arrives = !stage->gives_up[w];
    *seconds_out = stage->times[w];
    stage->times[w] = INFINITY;
    if (arrives)
        model_arrive(model, w, *seconds_out);
    else
        model_abandon(model, w, *seconds_out);
    for (w = 0; w < scene->workers && model->fault == NULL; w++)
        if (model->workers[w].activity == MODEL_COMPUTING && model->workers[w].is_cancelled) {
            stage->times[w] = INFINITY;
            model_abandon(model, w, *seconds_out);
        }
    return arrives;
}

/* Plays a scene into `model`. False when the policy refuses so many workers. */
static bool play(struct stage *stage, struct subject subject, const struct scene *scene) {
    struct plugin policy;
    if (!open_subject(subject, scene->workers, &policy))
        return false;
    model_begin(&stage->model, policy_ops(&policy), policy.self, scene->workers, scene->gradients);
    for (int w = 0; w < scene->workers; w++) {
        random_init(&stage->streams[w], scene->seed, (uint32_t)w, RANDOM_TEST, 0);
        stage->times[w] = INFINITY;
    }
    start_workers(stage, scene, 0);
    while (stage->model.now.received < scene->gradients && stage->model.now.workers > 0 &&
           stage->model.fault == NULL) {
        double seconds;
        if (!play_next(stage, scene, &seconds)) {
            start_workers(stage, scene, seconds);
            continue;
        }
        if (scene->lose_every != 0 && stage->model.now.received % scene->lose_every == 0)
            model_lose(&stage->model, next_to_lose(&stage->model));
        if (scene->replace_at == stage->model.now.received)
            replace_by_saved(subject, scene->workers, &policy, &stage->model);
        start_workers(stage, scene, seconds);
    }
    model_end(&stage->model);
    close_subject(&policy);
    return true;
}

static void expect_no_fault(struct stage *stage, struct subject subject, int workers) {
    if (stage->model.fault != NULL)
        fail_msg("%s with %d workers broke a promise after %d gradients: %s", subject.text, workers,
                 (int)stage->model.now.received, stage->model.fault);
}

static const int worker_counts[] = {1, 2, 3, 8, 25};

#define WORKER_COUNTS (sizeof worker_counts / sizeof worker_counts[0])

/* Plays every subject with every number of workers and all speeds; each must accept one number at least. */
static void play_all(struct stage *stage, struct scene scene) {
    for (size_t i = 0; i < subject_count(); i++) {
        size_t accepted = 0;
        for (size_t j = 0; j < WORKER_COUNTS * SPEEDS; j++) {
            scene.workers = worker_counts[j / SPEEDS];
            scene.speeds = (enum speeds)(j % SPEEDS);
            if (!play(stage, subject_at(i), &scene))
                continue;
            accepted++;
            expect_no_fault(stage, subject_at(i), scene.workers);
        }
        assert_true(accepted >= SPEEDS);
    }
}

static void equal_unequal_and_stalled_workers_never_deadlock(void **state) {
    struct stage *stage = *state;
    play_all(stage, (struct scene){.gradients = 400, .seed = 1});
}

static void lost_workers_do_not_stop_the_others(void **state) {
    struct stage *stage = *state;
    play_all(stage, (struct scene){.gradients = 400, .seed = 2, .lose_every = 19});
}

static void defaults_accept_any_number_of_workers(void **state) {
    (void)state;
    for (size_t i = 0; i < policy_list.count; i++)
        for (size_t j = 0; j < WORKER_COUNTS; j++) {
            struct plugin policy;
            assert_true(open_subject(subject_at(i), worker_counts[j], &policy));
            close_subject(&policy);
        }
}

static void a_thousand_workers_are_served(void **state) {
    struct stage *stage = *state;
    for (size_t i = 0; i < policy_list.count; i++) {
        struct scene scene = {.workers = 1000, .speeds = UNEQUAL, .gradients = 3000, .seed = 3};
        assert_true(play(stage, subject_at(i), &scene));
        expect_no_fault(stage, subject_at(i), 1000);
        assert_int_equal(stage->model.now.received, 3000);
    }
}

static void the_same_seed_gives_the_same_trace(void **state) {
    struct stage *stage = *state;
    for (size_t i = 0; i < subject_count(); i++) {
        struct scene scene = {.workers = 8, .speeds = UNEQUAL, .gradients = 300, .seed = 4};
        if (!play(stage, subject_at(i), &scene))
            continue;
        uint64_t trace = stage->model.trace;
        play(stage, subject_at(i), &scene);
        assert_true(stage->model.trace == trace);
        scene.seed = 5;
        play(stage, subject_at(i), &scene);
        assert_false(stage->model.trace == trace);
    }
}

static void a_saved_policy_goes_on_as_if_never_stopped(void **state) {
    struct stage *stage = *state;
    for (size_t i = 0; i < subject_count(); i++) {
        struct scene scene = {.workers = 8, .speeds = STALLED, .gradients = 300, .seed = 6};
        if (!play(stage, subject_at(i), &scene))
            continue;
        uint64_t trace = stage->model.trace;
        for (scene.replace_at = 1; scene.replace_at < 300; scene.replace_at += 41) {
            play(stage, subject_at(i), &scene);
            if (stage->model.trace != trace)
                fail_msg("%s goes on differently when saved after %d gradients", subject_at(i).text,
                         (int)scene.replace_at);
        }
    }
}

#define MOST_STEPS 9

/* What may still go wrong on a path: so many workers may be lost, so many gradients given up. */
struct mishaps {
    int losses, abandons;
};

/* What happens next, by number: the n-th computing worker delivers, or gives up, or the n-th that takes part is
 * lost.
 */
static int count_choices(const struct stage *stage, const struct mishaps *left) {
    int computing = model_computing(&stage->model);
    return computing + (left->abandons > 0 ? computing : 0) + (left->losses > 0 ? stage->model.now.workers : 0);
}

/* The n-th worker that computes, or that takes part. */
static int find_worker(const struct policy_model *model, int n, bool computes) {
    for (int w = 0;; w++) {
        enum model_activity activity = model->workers[w].activity;
        if (activity != MODEL_LOST && (!computes || activity == MODEL_COMPUTING) && n-- == 0)
            return w;
    }
}

static void choose(struct stage *stage, int choice, int step, struct mishaps *left) {
    struct policy_model *model = &stage->model;
    int computing = model_computing(model);
    if (choice < computing) {
        model_arrive(model, find_worker(model, choice, true), step);
    } else if (left->abandons > 0 && choice < 2 * computing) {
        left->abandons--;
        model_abandon(model, find_worker(model, choice - computing, true), step);
    } else {
        model_lose(model, find_worker(model, choice - (left->abandons > 0 ? 2 : 1) * computing, false));
        left->losses--;
    }
}

/* Tries every order in which `workers` can deliver `gradients`, with the mishaps at any moment or none of them.
 * Each path is played from the beginning; choices[] counts through them like an odometer. Returns how many there
 * were.
 */
static size_t explore(struct stage *stage, struct subject subject, int workers, uint64_t gradients,
                      struct mishaps most, uint64_t *most_staleness) {
    int choices[MOST_STEPS] = {0}, options[MOST_STEPS], depth, last;
    size_t paths = 0;
    *most_staleness = 0;
    do {
        struct plugin policy;
        if (!open_subject(subject, workers, &policy))
            return 0;
        struct mishaps left = most;
        model_begin(&stage->model, policy_ops(&policy), policy.self, workers, gradients);
        for (depth = 0;
             stage->model.now.received < gradients && stage->model.now.workers > 0 && stage->model.fault == NULL;
             depth++) {
            options[depth] = count_choices(stage, &left);
            choose(stage, choices[depth], depth, &left);
        }
        model_end(&stage->model);
        close_subject(&policy);
        expect_no_fault(stage, subject, workers);
        *most_staleness =
            stage->model.most_staleness > *most_staleness ? stage->model.most_staleness : *most_staleness;
        paths++;
        for (last = depth - 1; last >= 0 && choices[last] + 1 == options[last]; last--)
            choices[last] = 0;
        if (last >= 0)
            choices[last]++;
    } while (last >= 0);
    return paths;
}

static void every_order_of_deliveries_losses_and_giving_up_is_survived(void **state) {
    struct stage *stage = *state;
    for (size_t i = 0; i < subject_count(); i++) {
        size_t paths = 0;
        uint64_t most;
        for (int workers = 1; workers <= 3; workers++)
            paths += explore(stage, subject_at(i), workers, 6, (struct mishaps){0, 0}, &most) +
                     explore(stage, subject_at(i), workers, 6, (struct mishaps){1, 0}, &most) +
                     explore(stage, subject_at(i), workers, 6, (struct mishaps){0, 1}, &most) +
                     explore(stage, subject_at(i), workers, 4, (struct mishaps){1, 2}, &most);
        assert_true(paths > 300);
    }
}

static void orders_are_counted_completely(void **state) {
    struct stage *stage = *state;
    uint64_t most;
    struct subject async = {"async", NULL}, sync = {"sync", NULL};
    assert_int_equal(explore(stage, async, 3, 6, (struct mishaps){0, 0}, &most), 729); /* 3^6 */
    assert_int_equal(most, 5);
    assert_int_equal(explore(stage, sync, 3, 6, (struct mishaps){0, 0}, &most),
                     36); /* 3! orders of each of two updates */
    assert_int_equal(most, 0);
    assert_int_equal(explore(stage, async, 1, 1, (struct mishaps){1, 0}, &most), 2); /* delivered or lost */
    assert_int_equal(explore(stage, async, 1, 2, (struct mishaps){0, 1}, &most), 3); /* never, first or second */
}

static void finite_staleness_bounds_are_reached(void **state) {
    struct stage *stage = *state;
    uint64_t most;
    explore(stage, (struct subject){"cyclic,sync=1,async=2", NULL}, 3, 6, (struct mishaps){0, 0}, &most);
    assert_int_equal(most, 2);
    explore(stage, (struct subject){"cyclic,sync=1,async=3,first=async", NULL}, 2, 6, (struct mishaps){0, 0},
            &most);
    assert_int_equal(most, 3);
    explore(stage, (struct subject){"switch,at=1.5,unit=updates,to=sync", NULL}, 3, 6, (struct mishaps){0, 0},
            &most);
    assert_int_equal(most, 2);
    explore(stage, (struct subject){"bounded,staleness=0", NULL}, 3, 6, (struct mishaps){0, 0}, &most);
    assert_int_equal(most, 2);
    explore(stage, (struct subject){"bounded,staleness=1", NULL}, 2, 6, (struct mishaps){0, 0}, &most);
    assert_int_equal(most, 3);
    explore(stage, (struct subject){"cutoff,limit=3", NULL}, 2, 6, (struct mishaps){0, 0}, &most);
    assert_int_equal(most, 2);
}

static void expect_equal_traces(struct stage *stage, const char *one, const char *other, int workers) {
    for (int speeds = 0; speeds < SPEEDS; speeds++) {
        struct scene scene = {.workers = workers, .speeds = (enum speeds)speeds, .gradients = 300, .seed = 7};
        assert_true(play(stage, (struct subject){one, NULL}, &scene));
        uint64_t trace = stage->model.trace;
        assert_true(play(stage, (struct subject){other, NULL}, &scene));
        assert_true(stage->model.trace == trace);
    }
}

static void a_hybrid_at_one_end_is_that_end(void **state) {
    struct stage *stage = *state;
    expect_equal_traces(stage, "threshold,start=1,cap=1", "async", 8);
    expect_equal_traces(stage, "threshold,start=1,cap=1,wait=yes", "async", 8);
    expect_equal_traces(stage, "threshold,start=8,cap=8,wait=yes", "sync", 8);
    expect_equal_traces(stage, "threshold,start=25,wait=yes", "sync", 25);
    expect_equal_traces(stage, "switch,at=0", "async", 8);
    expect_equal_traces(stage, "switch,at=0,to=sync", "sync", 8);
    expect_equal_traces(stage, "cyclic,sync=100M", "sync", 8);
    expect_equal_traces(stage, "cyclic,async=100M,first=async", "async", 8);
    expect_equal_traces(stage, "backup,count=8", "sync", 8);
    expect_equal_traces(stage, "batch-async,size=1", "async", 8);
    expect_equal_traces(stage, "batch-async,size=5", "threshold,start=5,cap=5", 8);
    expect_equal_traces(stage, "cutoff,limit=1G", "async", 8);
}

/* Bad policies, to see that the model catches what it is there to catch. */

static uint64_t one_too_many(void *self, const struct hysgd_progress *now) {
    (void)self;
    return (uint64_t)now->workers + 1;
}

static uint64_t just_one(void *self, const struct hysgd_progress *now) {
    (void)self, (void)now;
    return 1;
}

static enum hysgd_release while_held(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_UNTIL_UPDATE : HYSGD_GO;
}

static enum hysgd_release never(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker, (void)is_held;
    return HYSGD_UNTIL_CLOCK;
}

static uint64_t no_staleness(const void *self, int workers) {
    (void)self, (void)workers;
    return 0;
}

/* Keeps a count of its own of the updates, which K follows. */
static void count_update(void *self, const struct hysgd_progress *now) {
    (void)now;
    ++*(int64_t *)self;
}

static uint64_t by_own_count(void *self, const struct hysgd_progress *now) {
    (void)now;
    return 1 + (uint64_t)(*(int64_t *)self % 5);
}

static const struct hysgd_option count_row[] = {
    {"count", HYSGD_OPTION_INT, 0, "0", 0, 1e15, NULL, "updates"},
    {.key = NULL},
};

static const char *fault_of(struct stage *stage, const struct hysgd_policy_ops *ops) {
    struct scene scene = {.workers = 4, .speeds = UNEQUAL, .gradients = 100, .seed = 8};
    assert_true(play(stage, (struct subject){"a bad policy", ops}, &scene));
    return stage->model.fault == NULL ? "" : stage->model.fault;
}

static void the_model_catches_bad_policies(void **state) {
    struct stage *stage = *state;
    struct hysgd_policy_ops bad = {.about.name = "bad", .threshold = one_too_many, .release = while_held};
    assert_string_equal(fault_of(stage, &bad), "no update has to be forced");
    bad.threshold = just_one;
    assert_string_equal(fault_of(stage, &bad), "");
    bad.staleness_bound = no_staleness;
    assert_string_equal(fault_of(stage, &bad), "the staleness keeps its bound");
    bad = (struct hysgd_policy_ops){.about.name = "bad", .threshold = just_one, .release = never};
    assert_string_equal(fault_of(stage, &bad), "someone is always computing");
}

static void the_model_catches_a_state_that_is_not_saved(void **state) {
    struct stage *stage = *state;
    struct hysgd_policy_ops counting = {.about = {.name = "counting", .size = sizeof(int64_t)},
                                        .saved = count_row,
                                        .threshold = by_own_count,
                                        .release = while_held,
                                        .updated = count_update};
    struct scene scene = {.workers = 8, .speeds = UNEQUAL, .gradients = 100, .seed = 9};
    play(stage, (struct subject){"counting", &counting}, &scene);
    uint64_t trace = stage->model.trace;
    scene.replace_at = 50;
    play(stage, (struct subject){"counting", &counting}, &scene);
    assert_true(stage->model.trace == trace);
    counting.saved = NULL;
    play(stage, (struct subject){"counting", &counting}, &scene);
    assert_false(stage->model.trace == trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_unequal_and_stalled_workers_never_deadlock),
        cmocka_unit_test(lost_workers_do_not_stop_the_others),
        cmocka_unit_test(defaults_accept_any_number_of_workers),
        cmocka_unit_test(a_thousand_workers_are_served),
        cmocka_unit_test(the_same_seed_gives_the_same_trace),
        cmocka_unit_test(a_saved_policy_goes_on_as_if_never_stopped),
        cmocka_unit_test(every_order_of_deliveries_losses_and_giving_up_is_survived),
        cmocka_unit_test(orders_are_counted_completely),
        cmocka_unit_test(finite_staleness_bounds_are_reached),
        cmocka_unit_test(a_hybrid_at_one_end_is_that_end),
        cmocka_unit_test(the_model_catches_bad_policies),
        cmocka_unit_test(the_model_catches_a_state_that_is_not_saved),
    };
    return cmocka_run_group_tests_name("policy conformance", tests, set_stage, clear_stage);
}
