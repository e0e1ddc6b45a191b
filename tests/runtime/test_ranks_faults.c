/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that are killed or stopped, at moments that a seed decides: nobody hangs, and what is left of the run has
 * exactly the gradients that its account tells. Ranks are threads here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "long.h"
#include "runtime/fixture.h"
#include "runtime/uniform.h"

enum { MOST_RANKS = 6, MOST_DEATHS = 3, PARAMETERS = 3 * SERVER_SHARD + 100 };

/* After so long a trial that has not ended hangs. */
#define TRIAL_SECONDS 60

struct death {
    int rank;
    uint64_t send; /* in which it dies */
};

struct trial {
    const char *name;
    struct run_setup from;
    struct death deaths[MOST_DEATHS];
    int death_count;
    bool hides_deaths;
    struct freezer *freezer; /* is told an end of the group; or NULL */
};

static void tell_freezer(const struct trial *trial, struct comm *end);

struct rank {
    pthread_t thread;
    const struct trial *trial;
    int number;
    struct comm *end;
    sem_t *ended;
    struct run run;
    enum hysgd_status status;
    char message[1024];
};

static void *rank_main(void *argument) {
    struct rank *rank = argument;
    rank->status = run_whole_rank(&rank->run, &rank->trial->from, rank->number, rank->end);
    snprintf(rank->message, sizeof rank->message, "%s", hysgd_error_message());
    if (rank->run.training.setup)
        training_summarize(&rank->run.training, rank->run.seconds, &rank->run.summary);
    if (rank->run.training.status != HYSGD_OK)
        snprintf(rank->message, sizeof rank->message, "%s", rank->run.training.message);
    sem_post(rank->ended);
    return NULL;
}

static int trial_size(const struct trial *trial) {
    return trial->from.workers + trial->from.servers;
}

static void describe(const struct trial *trial, char *text, size_t size) {
    int length = snprintf(text, size, "%s: %s, %s, %d workers, %d servers, seed %llu", trial->name,
                          trial->from.policy, trial->from.runtime, trial->from.workers, trial->from.servers,
                          (unsigned long long)trial->from.chaos);
    for (int i = 0; i < trial->death_count; i++)
        length += snprintf(text + length, size - (size_t)length, ", rank %d at send %llu", trial->deaths[i].rank,
                           (unsigned long long)trial->deaths[i].send);
}

static void await_end(const struct trial *trial, sem_t *ended, int size) {
    struct timespec until;
    char text[512];
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TRIAL_SECONDS;
    describe(trial, text, sizeof text);
    for (int i = 0; i < size; i++)
        if (sem_timedwait(ended, &until) != 0) {
            print_error("%s: %d of %d ranks hang\n", text, size - i, size);
            abort(); /* their threads cannot be ended */
        }
}

static void start_trial(const struct trial *trial, struct rank *ranks, sem_t *ended) {
    int size = trial_size(trial);
    const struct comm_local_setup setup = {
        .size = size, .seed = trial->from.chaos, .most_delay = 3, .hides_deaths = trial->hides_deaths};
    struct comm *ends[MOST_RANKS];
    assert_int_equal(comm_local_open(&setup, ends), HYSGD_OK);
    tell_freezer(trial, ends[0]);
    for (int i = 0; i < trial->death_count; i++)
        comm_local_kill_at(ends[0], trial->deaths[i].rank, trial->deaths[i].send);
    for (int i = 0; i < size; i++) {
        ranks[i] = (struct rank){.trial = trial, .number = i, .end = ends[i], .ended = ended};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, rank_main, &ranks[i]), 0);
    }
}

/* Runs to the end of all ranks; closed with end_trial. */
static void go(const struct trial *trial, struct rank *ranks) {
    sem_t ended;
    sem_init(&ended, 0, 0);
    start_trial(trial, ranks, &ended);
    await_end(trial, &ended, trial_size(trial));
    for (int i = 0; i < trial_size(trial); i++)
        pthread_join(ranks[i].thread, NULL);
    sem_destroy(&ended);
}

static void end_trial(const struct trial *trial, struct rank *ranks) {
    for (int i = 0; i < trial_size(trial); i++)
        run_close(&ranks[i].run);
}

/* Who leads at the end: the first that was not killed. */
static struct rank *survivor(const struct trial *trial, struct rank *ranks) {
    for (int i = 0; i < trial_size(trial); i++)
        if (strstr(ranks[i].message, "was killed") == NULL)
            return &ranks[i];
    return NULL;
}

static void expect_account(const struct trial *trial, struct rank *ranks) {
    const struct rank *leader = survivor(trial, ranks);
    char text[512];
    describe(trial, text, sizeof text);
    if (leader == NULL)
        fail_msg("%s: nobody is left", text);
    if (leader->status != HYSGD_OK)
        fail_msg("%s: rank %d: %s", text, leader->number, leader->message);
    if (leader->run.training.engine.progress.version != trial->from.limits.updates)
        fail_msg("%s: rank %d ended after %llu updates", text, leader->number,
                 (unsigned long long)leader->run.training.engine.progress.version);
    run_expect_balance(&leader->run);
}

static struct trial trial_of(struct uniform_model *model, const char *name, const char *policy) {
    struct trial trial = {.name = name, .from = uniform_setup(model, PARAMETERS)};
    trial.from.policy = policy;
    trial.from.workers = 4;
    trial.from.runtime = "mpi,tolerate=3,copies=3";
    trial.from.limits.updates = 40;
    trial.from.ring = 4096;
    return trial;
}

/* How many random trials of each kind; more by hand, with HYSGD_FAULT_TRIALS. */
static int trial_count(void) {
    const char *text = getenv("HYSGD_FAULT_TRIALS");
    return text ? atoi(text) : 12;
}

static void kill_at_random(const char *name, const char *policy, int servers, int deaths, bool is_exact) {
    for (int i = 0; i < trial_count(); i++) {
        struct uniform_model model;
        struct rank ranks[MOST_RANKS];
        struct random random;
        struct trial trial = trial_of(&model, name, policy);
        random_init(&random, (uint64_t)i, 0, RANDOM_TEST, 0);
        trial.from.servers = servers;
        trial.from.chaos = (uint64_t)i + 1;
        for (trial.death_count = 0; trial.death_count < deaths; trial.death_count++)
            trial.deaths[trial.death_count] = (struct death){
                (int)random_below(&random, (uint64_t)trial_size(&trial)), 1 + random_below(&random, 400)};
        go(&trial, ranks);
        expect_account(&trial, ranks);
        if (is_exact)
            uniform_check(&model, &survivor(&trial, ranks)->run);
        end_trial(&trial, ranks);
    }
}

static void one_death_leaves_the_exact_sum(void **state) {
    (void)state;
    kill_at_random("one death", "sync", 0, 1, true);
    kill_at_random("one death", "async", 0, 1, true);
    kill_at_random("one death", "threshold,start=2,cap=4", 0, 1, true);
    kill_at_random("one death", "bounded,staleness=2", 0, 1, true);
}

static void a_dedicated_server_may_die(void **state) {
    (void)state;
    kill_at_random("dedicated", "sync", 2, 1, true);
    kill_at_random("dedicated", "async", 2, 1, true);
}

static void several_ranks_may_die(void **state) {
    (void)state;
    kill_at_random("two deaths", "async", 0, 2, true);
    kill_at_random("two deaths", "sync", 2, 2, true);
    kill_at_random("three deaths", "sync", 0, 3, true);
}

/* What a rank that leads records, in the order of its events. */
struct notes {
    uint64_t version;
    int restored, wrong;
};

static void note_versions(void *self, const struct training *training, const struct event *event) {
    struct notes *notes = self;
    (void)training;
    notes->restored += event->kind == EVENT_RESTORED;
    if (event->kind == EVENT_UPDATE)
        notes->wrong += event->version != notes->version + 1;
    if (event->kind == EVENT_UPDATE || event->kind == EVENT_RESTORED)
        notes->version = event->version;
}

static void what_is_recorded_goes_back_once_and_forward_by_one(void **state) {
    (void)state;
    struct uniform_model model;
    struct notes notes = {0};
    struct rank ranks[MOST_RANKS];
    struct trial trial = trial_of(&model, "recorded", "sync");
    trial.from.servers = 2;
    trial.from.watch = note_versions;
    trial.from.watch_self = &notes;
    trial.deaths[trial.death_count++] = (struct death){5, 150};
    go(&trial, ranks);
    expect_account(&trial, ranks);
    assert_int_equal(notes.restored, 1);
    assert_int_equal(notes.wrong, 0);
    assert_int_equal(notes.version, 40);
    end_trial(&trial, ranks);
}

static void without_tolerance_a_death_ends_the_run_of_all(void **state) {
    (void)state;
    for (int i = 0; i < trial_count(); i++) {
        struct uniform_model model;
        struct rank ranks[MOST_RANKS];
        struct trial trial = trial_of(&model, "no tolerance", i % 2 ? "sync" : "adaptive");
        trial.from.runtime = "mpi";
        trial.from.chaos = (uint64_t)i / 2 + 1;
        trial.deaths[trial.death_count++] = (struct death){i % 4, 20 + 7 * ((uint64_t)i % 20)};
        go(&trial, ranks);
        for (int k = 0; k < 4; k++)
            if (k != i % 4 && (ranks[k].status == HYSGD_OK || !strstr(ranks[k].message, "rank")))
                fail_msg("trial %d: rank %d: status %d: %s", i, k, (int)ranks[k].status, ranks[k].message);
        end_trial(&trial, ranks);
    }
}

/* Stops a rank at an update, and lets it go on when the others have done without it. */
struct freezer {
    struct comm *end;
    int rank;
    bool is_frozen, is_thawed;
};

static void tell_freezer(const struct trial *trial, struct comm *end) {
    if (trial->freezer)
        trial->freezer->end = end;
}

static void freeze_and_thaw(void *self, const struct training *training, const struct event *event) {
    struct freezer *freezer = self;
    (void)training;
    bool is_late = event->kind == EVENT_UPDATE && event->version >= 30; /* all know that it is lost */
    if (freezer->is_frozen && !freezer->is_thawed && is_late) {
        comm_local_freeze(freezer->end, freezer->rank, false);
        freezer->is_thawed = true;
    }
    if (!freezer->is_frozen && event->kind == EVENT_UPDATE && event->version >= 8) {
        comm_local_freeze(freezer->end, freezer->rank, true);
        freezer->is_frozen = true;
    }
}

/* A rank that was only asleep: its late gradient counts for nothing. */
static void a_rank_that_sleeps_too_long_is_dismissed(void **state) {
    (void)state;
    for (int servers = 0; servers <= 2; servers += 2) {
        struct uniform_model model;
        struct freezer freezer = {.rank = 1};
        struct rank ranks[MOST_RANKS];
        struct trial trial = trial_of(&model, "frozen", servers == 0 ? "sync" : "bounded,staleness=2");
        trial.from.runtime = "mpi,tolerate=3,copies=3,patience=4"; /* neither policy goes far without it */
        trial.from.servers = servers;
        trial.from.watch = freeze_and_thaw;
        trial.from.watch_self = &freezer;
        trial.freezer = &freezer;
        go(&trial, ranks);
        assert_true(freezer.is_thawed);
        expect_account(&trial, ranks);
        uniform_check(&model, &ranks[0].run);
        assert_int_equal(ranks[1].status, HYSGD_FAILED);
        /* A frozen rank is not asleep itself: where that takes long it gives up by itself. */
        if (!strstr(ranks[1].message, "given up by the others") && !strstr(ranks[1].message, "is cut off"))
            fail_msg("rank 1: %s", ranks[1].message);
        end_trial(&trial, ranks);
    }
}

/* Cuts the line between two ranks, or freezes some, at an update, and undoes it when the others have done without.
 */
struct breaker {
    struct freezer freezer; /* is told an end of the group */
    int one, other;         /* between which the line is cut; the same: no line is */
    int frozen;             /* so many ranks, the first ones, stop */
    bool is_broken, is_mended;
};

static void break_or_mend(struct breaker *breaker, bool is_broken) {
    struct comm *end = breaker->freezer.end;
    if (breaker->one != breaker->other)
        comm_local_cut(end, breaker->one, breaker->other, is_broken);
    for (int i = 0; i < breaker->frozen; i++)
        comm_local_freeze(end, i, is_broken);
}

static void break_and_mend(void *self, const struct training *training, const struct event *event) {
    struct breaker *breaker = self;
    (void)training;
    if (breaker->is_broken && !breaker->is_mended && event->kind == EVENT_UPDATE && event->version >= 30) {
        breaker->is_mended = true;
        break_or_mend(breaker, false);
    }
    if (!breaker->is_broken && event->kind == EVENT_UPDATE && event->version >= 8) {
        breaker->is_broken = true;
        break_or_mend(breaker, true);
    }
}

static void go_broken(struct breaker *breaker, struct trial *trial, struct rank *ranks) {
    trial->from.runtime = "mpi,tolerate=3,copies=3,patience=4";
    trial->from.watch = break_and_mend;
    trial->from.watch_self = breaker;
    trial->freezer = &breaker->freezer;
    trial->hides_deaths = true;
    go(trial, ranks);
}

/* The next in line hears nothing of the coordinator, but the others do: it must not take its place. */
static void a_rank_that_is_cut_off_does_not_take_over(void **state) {
    (void)state;
    for (int cut_off = 1; cut_off <= 2; cut_off++) {
        struct uniform_model model;
        struct breaker breaker = {.other = cut_off};
        struct rank ranks[MOST_RANKS];
        struct trial trial = trial_of(&model, "cut off", "sync");
        go_broken(&breaker, &trial, ranks);
        assert_true(breaker.is_mended);
        expect_account(&trial, ranks);
        assert_int_equal(ranks[0].status, HYSGD_OK);
        uniform_check(&model, &ranks[0].run);
        assert_int_equal(ranks[cut_off].status, HYSGD_FAILED);
        assert_int_equal(ranks[3].status, HYSGD_OK);
        end_trial(&trial, ranks);
    }
}

/* Where processes cannot be seen the others agree that it is silent. With it, the one after it may be asleep too.
 * Those who hear nobody do not go on by themselves. */
static void a_coordinator_that_falls_silent_is_replaced(void **state) {
    (void)state;
    for (int frozen = 1; frozen <= 2; frozen++) {
        struct uniform_model model;
        struct breaker breaker = {.frozen = frozen};
        struct rank ranks[MOST_RANKS];
        struct trial trial = trial_of(&model, "replaced", "sync");
        trial.from.servers = 2;
        go_broken(&breaker, &trial, ranks);
        assert_true(breaker.is_broken);
        for (int i = 0; i < trial_size(&trial); i++)
            if (ranks[i].status != (i < frozen ? HYSGD_FAILED : HYSGD_OK))
                fail_msg("%d frozen: rank %d: status %d: %s", frozen, i, (int)ranks[i].status, ranks[i].message);
        assert_int_equal(ranks[frozen].run.training.engine.progress.version, 40);
        uniform_check(&model, &ranks[frozen].run);
        end_trial(&trial, ranks);
    }
}

/* A signal to a rank: its worker leaves, the others go on. */
static void leave_at_update(void *self, const struct training *training, const struct event *event) {
    struct rank *leaver = *(struct rank **)self;
    (void)training;
    if (event->kind == EVENT_UPDATE && event->version == 10)
        training_stop(&leaver->run.training);
}

static void a_rank_that_is_asked_to_leave_takes_nothing_along(void **state) {
    (void)state;
    static const char *const policies[] = {"sync", "async"};
    for (size_t i = 0; i < 2; i++) {
        struct uniform_model model;
        struct rank ranks[MOST_RANKS], *leaver = &ranks[2];
        struct trial trial = trial_of(&model, "leaving", policies[i]);
        trial.from.watch = leave_at_update;
        trial.from.watch_self = &leaver;
        trial.from.limits.updates = 200;
        go(&trial, ranks);
        expect_account(&trial, ranks);
        uniform_check(&model, &ranks[0].run);
        assert_int_equal(ranks[0].run.losses, 1);
        assert_int_equal(ranks[0].run.training.engine.progress.workers, 3);
        end_trial(&trial, ranks);
    }
}

/* The lines that say that rank 0 is lost. */
struct told {
    int coordinators;
};

static enum hysgd_status hear_line(void *self, const char *text) {
    struct told *told = self;
    told->coordinators += strncmp(text, "the coordinator and server 0 are lost", 37) == 0;
    return HYSGD_OK;
}

static const struct sink_ops told_sink = {.notice = hear_line};

static enum hysgd_status begin_record(void *self, struct training_record *record) {
    struct run *run = self;
    (void)record;
    HYSGD_TRY(recorder_alloc(4096, &run->recorder));
    run->setup.recorder = run->recorder;
    return recorder_add(run->recorder, &told_sink, run->from.watch_self);
}

/* Who comes to lead has no record before it takes that of the others over. */
static void who_comes_to_lead_names_everyone_who_is_lost(void **state) {
    (void)state;
    for (int i = 0; i < trial_count(); i++) {
        struct uniform_model model;
        struct rank ranks[MOST_RANKS];
        struct told told = {0};
        struct trial trial = trial_of(&model, "named", "sync");
        trial.from.chaos = (uint64_t)i + 1;
        trial.from.ring = 0;
        trial.from.take_over = begin_record;
        trial.from.watch_self = &told;
        trial.deaths[trial.death_count++] = (struct death){2, 60};
        trial.deaths[trial.death_count++] = (struct death){0, 150 + 10 * (uint64_t)i};
        go(&trial, ranks);
        expect_account(&trial, ranks);
        assert_int_equal(told.coordinators, 1);
        end_trial(&trial, ranks);
    }
}

/* Deaths while checkpoints are written, while the parameters are evaluated, and at the beginning. */
static void a_death_at_any_time_leaves_a_whole_checkpoint(void **state) {
    (void)state;
    char path[] = "test_ranks_faults.safetensors.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    for (int i = 0; i < trial_count(); i++) {
        struct uniform_model model;
        struct rank ranks[MOST_RANKS];
        struct run resumed;
        struct trial trial = trial_of(&model, "saving", i % 2 ? "sync" : "async");
        trial.from.chaos = (uint64_t)i + 1;
        trial.from.servers = i % 3;
        trial.from.save_path = path;
        trial.from.save_every = (struct training_cadence){TRAINING_UPDATES, 4};
        trial.from.evaluate_every = (struct training_cadence){TRAINING_UPDATES, 5};
        if (i % 4 == 0)
            trial.from.runtime = "mpi,tolerate=3,copies=1000000";
        trial.deaths[trial.death_count++] = (struct death){i % trial_size(&trial), 5 + 31 * (uint64_t)i % 300};
        go(&trial, ranks);
        expect_account(&trial, ranks);
        uniform_check(&model, &survivor(&trial, ranks)->run);
        end_trial(&trial, ranks);
        struct run_setup again = trial.from;
        again.runtime = "threads";
        again.resume_path = path;
        again.servers = 0;
        again.limits.updates = 45;
        run_expect(&resumed, &again, HYSGD_OK);
        uniform_check(&model, &resumed);
        run_close(&resumed);
    }
    unlink(path);
}

static void all_policies_go_on(void **state) {
    (void)state;
    kill_at_random("policies", "adaptive", 0, 1, false);
    kill_at_random("policies", "batch-sync,size=3", 0, 1, false);
    kill_at_random("policies", "backup,spare=1", 1, 1, false);
}

/* What a loaded machine does to the times of these trials must not decide an ordinary run of the tests. */
static void losses_are_tried_in_the_long_run(void **state) {
    (void)state;
    print_message("trials of lost ranks skipped because they take their time: ./test --long runs them\n");
    skip();
}

int main(void) {
    const struct CMUnitTest note[] = {cmocka_unit_test(losses_are_tried_in_the_long_run)};
    if (long_count(0, 1) == 0)
        return cmocka_run_group_tests(note, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_death_leaves_the_exact_sum),
        cmocka_unit_test(a_dedicated_server_may_die),
        cmocka_unit_test(several_ranks_may_die),
        cmocka_unit_test(all_policies_go_on),
        cmocka_unit_test(what_is_recorded_goes_back_once_and_forward_by_one),
        cmocka_unit_test(without_tolerance_a_death_ends_the_run_of_all),
        cmocka_unit_test(a_rank_that_sleeps_too_long_is_dismissed),
        cmocka_unit_test(a_rank_that_is_cut_off_does_not_take_over),
        cmocka_unit_test(a_coordinator_that_falls_silent_is_replaced),
        cmocka_unit_test(a_rank_that_is_asked_to_leave_takes_nothing_along),
        cmocka_unit_test(who_comes_to_lead_names_everyone_who_is_lost),
        cmocka_unit_test(a_death_at_any_time_leaves_a_whole_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
