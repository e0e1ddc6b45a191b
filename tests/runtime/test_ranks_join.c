/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that join a run that goes on. Ranks are threads here; the door is a real one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "runtime/comm_local.h"
#include "runtime/control.h"
#include "runtime/fixture.h"

enum { RANKS = 3, PLACES = 4, MOST = 8, ENOUGH = 20, SEEDS = 4 };

/* A run of three ranks, and who joins. */
struct scene {
    char folder[32], path[64], runtime[128];
    struct run_setup from;
    struct comm *ends[RANKS];
    struct run_rank ranks[MOST];
    int count;
    struct run run; /* of rank 0 */
    enum hysgd_status status;
    int delivered, enough; /* gradients by worker 3, and of how many the run ends */
    bool holds_back;       /* who is admitted is never started, and the run ends meanwhile */
    struct comm *_Atomic held;
    int refusals; /* that rank 0 tells of */
};

static void start_newcomer(void *self, struct comm *end) {
    struct scene *scene = self;
    if (scene->holds_back) {
        scene->held = end;
        return;
    }
    struct run_rank *rank = &scene->ranks[scene->count++];
    *rank = (struct run_rank){.from = scene->from, .rank = comm_rank(end), .end = end};
    pthread_create(&rank->thread, NULL, run_rank_main, rank);
}

static void watch(void *self, const struct training *training, const struct event *event) {
    struct scene *scene = self;
    scene->delivered += event->kind == EVENT_ARRIVAL && event->worker == PLACES - 1;
    if (scene->delivered > scene->enough || scene->held != NULL)
        training_stop((struct training *)(uintptr_t)training);
}

static enum hysgd_status hear_refusal(void *self, const char *text) {
    struct scene *scene = self;
    scene->refusals += strcmp(text, "no worker joins: the run is over") == 0;
    return HYSGD_OK;
}

static const struct sink_ops refusal_sink = {.notice = hear_refusal};

static void *first_main(void *argument) {
    struct scene *scene = argument;
    scene->status = run_open(&scene->run, &scene->from);
    if (scene->status == HYSGD_OK)
        scene->status = recorder_add(scene->run.recorder, &refusal_sink, scene);
    if (scene->status == HYSGD_OK)
        scene->status = run_go_rank(&scene->run, scene->ends[0]);
    training_summarize(&scene->run.training, scene->run.seconds, &scene->run.summary);
    return NULL;
}

static void open_scene(struct scene *scene, const char *policy, const char *wire, uint64_t seed) {
    *scene = (struct scene){.enough = seed > 0 ? 1 : ENOUGH};
    strcpy(scene->folder, "/tmp/hysgd-join-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof scene->path, "%s/door", scene->folder);
    snprintf(scene->runtime, sizeof scene->runtime, "mpi,control=%s", scene->path);
    scene->from = (struct run_setup){.policy = policy,
                                     .wire = wire,
                                     .runtime = scene->runtime,
                                     .has_remote_vectors = true,
                                     .data = "random,samples=400,dimensions=9,classes=4",
                                     .model = "softmax",
                                     .workers = PLACES,
                                     .spare = PLACES - RANKS,
                                     .limits = {.gradients = 100000000},
                                     .ring = 1024,
                                     .watch = watch,
                                     .watch_self = scene};
    const struct comm_local_setup setup = {
        .size = RANKS, .most = MOST, .seed = seed, .most_delay = 400, .start = start_newcomer, .start_self = scene};
    assert_int_equal(comm_local_open(&setup, scene->ends), HYSGD_OK);
    for (int i = 1; i < RANKS; i++) {
        scene->ranks[scene->count] = (struct run_rank){.from = scene->from, .rank = i, .end = scene->ends[i]};
        pthread_create(&scene->ranks[scene->count].thread, NULL, run_rank_main, &scene->ranks[scene->count]);
        scene->count++;
    }
}

static void close_scene(struct scene *scene, pthread_t first) {
    pthread_join(first, NULL);
    for (int i = 0; i < scene->count; i++)
        pthread_join(scene->ranks[i].thread, NULL);
    assert_int_equal(scene->status, HYSGD_INTERRUPTED);
    run_expect_balance(&scene->run);
    assert_int_equal(scene->run.training.engine.progress.workers, PLACES);
    assert_true(scene->run.summary.accounts[PLACES - 1].share.data > 0.2);
    run_close(&scene->run);
    assert_int_equal(access(scene->path, F_OK), -1); /* the door is gone with the run */
    rmdir(scene->folder);
}

static void ask_and_join(const char *policy, const char *wire, uint64_t seed) {
    struct scene scene;
    pthread_t first;
    char answer[CONTROL_LINE];
    open_scene(&scene, policy, wire, seed);
    pthread_create(&first, NULL, first_main, &scene);
    while (access(scene.path, F_OK) != 0)
        sched_yield();
    enum hysgd_status status = control_ask(scene.path, "", answer);
    if (status != HYSGD_OK)
        fail_msg("%s: %s", policy, hysgd_error_message());
    assert_string_equal(answer, "worker 3 joins as rank 3 on local");
    close_scene(&scene, first);
}

static void who_asks_at_the_door_joins(void **state) {
    (void)state;
    ask_and_join("async", "fp32", 0);
    ask_and_join("sync", "int8", 0);
    ask_and_join("threshold,step=40,wait=no", "fp32", 0);
    ask_and_join("table", "fp32", 0);
}

/* Signs of life of the leader overtake its welcome, and are answered. */
static void a_newcomer_bears_messages_in_any_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        ask_and_join("async", "fp32", seed);
}

/* Nobody waits for a process that is about to join, and may be long in reading its data. */
static void the_end_of_a_run_waits_for_nobody_who_would_join(void **state) {
    (void)state;
    struct scene scene;
    pthread_t first;
    char answer[CONTROL_LINE];
    open_scene(&scene, "async", "fp32", 0);
    scene.holds_back = true;
    pthread_create(&first, NULL, first_main, &scene);
    while (access(scene.path, F_OK) != 0)
        sched_yield();
    assert_int_equal(control_ask(scene.path, "", answer), HYSGD_FAILED);
    assert_non_null(strstr(hysgd_error_message(), "the run is over"));
    pthread_join(first, NULL);
    for (int i = 0; i < scene.count; i++)
        pthread_join(scene.ranks[i].thread, NULL);
    assert_int_equal(scene.status, HYSGD_INTERRUPTED);
    assert_int_equal(scene.refusals, 1);
    comm_close(scene.held, false);
    run_close(&scene.run);
    rmdir(scene.folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(who_asks_at_the_door_joins),
                                       cmocka_unit_test(a_newcomer_bears_messages_in_any_order),
                                       cmocka_unit_test(the_end_of_a_run_waits_for_nobody_who_would_join)};
    return cmocka_run_group_tests_name("ranks that join", tests, NULL, NULL);
}
