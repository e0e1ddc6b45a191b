/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that go back after a loss, and what their record says of it: what they kept, repeated in one process, gives
 * the same bits, and what was undone is in no account. Ranks are threads here, and the first one survives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "long.h"
#include "record/sinks.h"
#include "record/tally.h"
#include "runtime/fixture.h"
#include "runtime/replay.h"

enum { MOST_RANKS = 6, MOST_DEATHS = 3, MOST_EVENTS = 1 << 16 };

struct death {
    int rank;
    uint64_t send; /* in which it dies */
};

/* What the first rank records, whatever comes of it. */
struct notes {
    struct event *events; /* [count] */
    size_t count;
};

struct trial {
    struct run_setup from;
    struct death deaths[MOST_DEATHS];
    int death_count;
    char name[256];
    struct event_run first;  /* where the run began: its first_ fields */
    const char *resume_copy; /* of the checkpoint that it continued, which it may replace; NULL: none */
    struct notes notes;
};

struct rank {
    pthread_t thread;
    const struct trial *trial;
    int number;
    struct comm *end;
    struct run run;
    enum hysgd_status status;
};

static void note(void *self, const struct training *training, const struct event *event) {
    struct notes *notes = self;
    (void)training;
    assert_true(notes->count < MOST_EVENTS);
    notes->events[notes->count++] = *event;
}

static void *rank_main(void *argument) {
    struct rank *rank = argument;
    rank->status = run_whole_rank(&rank->run, &rank->trial->from, rank->number, rank->end);
    return NULL;
}

static int trial_size(const struct trial *trial) {
    return trial->from.workers + trial->from.servers;
}

static void begin(struct trial *trial) {
    assert_int_equal(memory_alloc(MOST_EVENTS, sizeof *trial->notes.events, &trial->notes.events), HYSGD_OK);
    trial->from.watch = note;
    trial->from.watch_self = &trial->notes;
    trial->from.ring = 4096;
}

/* Runs to the end of all ranks. */
static void go(const struct trial *trial, struct rank *ranks) {
    int size = trial_size(trial);
    const struct comm_local_setup setup = {.size = size, .seed = trial->from.chaos, .most_delay = 3};
    struct comm *ends[MOST_RANKS];
    assert_int_equal(comm_local_open(&setup, ends), HYSGD_OK);
    for (int i = 0; i < trial->death_count; i++)
        comm_local_kill_at(ends[0], trial->deaths[i].rank, trial->deaths[i].send);
    for (int i = 0; i < size; i++) {
        ranks[i] = (struct rank){.trial = trial, .number = i, .end = ends[i]};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, rank_main, &ranks[i]), 0);
    }
    for (int i = 0; i < size; i++)
        pthread_join(ranks[i].thread, NULL);
    training_summarize(&ranks[0].run.training, ranks[0].run.seconds, &ranks[0].run.summary);
}

static void end(struct trial *trial, struct rank *ranks) {
    for (int i = 0; i < trial_size(trial); i++)
        run_close(&ranks[i].run);
    memory_free(trial->notes.events);
}

static struct event_run facts_of(const struct trial *trial, const struct rank *leader) {
    const struct training *training = &leader->run.training;
    struct event_run facts = trial->first;
    facts.title = facts.program = "";
    facts.runtime = "mpi";
    facts.workers = training->setup->workers;
    facts.batch = training->setup->batch;
    facts.train_count = training->shape.train_count;
    facts.parameter_count = training->layout.parameter_count;
    return facts;
}

static void write_log(const struct trial *trial, const struct rank *leader, const char *path) {
    const struct event_run facts = facts_of(trial, leader);
    void *sink;
    assert_int_equal(sink_log_alloc(path, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, &facts), HYSGD_OK);
    for (size_t i = 0; i < trial->notes.count; i++)
        assert_int_equal(sink_log.event(sink, &trial->notes.events[i]), HYSGD_OK);
    assert_int_equal(sink_log.end(sink, &leader->run.summary), HYSGD_OK);
    sink_log_free(sink);
}

static void expect_same_vector(const struct run *one, const struct run *other, const char *what) {
    const float *a = training_vector(&one->training), *b = training_vector(&other->training);
    for (size_t i = 0; i < one->training.server.count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: parameter %zu is %.9g, in the replay %.9g", what, i, (double)a[i], (double)b[i]);
}

/* Repeats the log in one process: every event that stands, the accounts at the end, and the parameters. */
static void expect_replay(const struct trial *trial, const struct rank *leader, const char *path,
                          const char *what) {
    struct replay_plan plan;
    struct log_reader *reader;
    struct run run;
    struct run_setup from = trial->from;
    from.runtime = "threads";
    from.watch = NULL;
    from.servers = 0;
    from.save_path = NULL;
    from.resume_path = trial->resume_copy;
    assert_int_equal(log_reader_open(path, &reader), HYSGD_OK);
    if (replay_plan_init(&plan, path, reader) != HYSGD_OK)
        fail_msg("%s: %s", what, hysgd_error_message());
    log_reader_close(reader);
    struct replay replay = {.path = path, .plan = &plan};
    assert_int_equal(log_reader_open(path, &replay.reader), HYSGD_OK);
    assert_int_equal(run_open(&run, &from), HYSGD_OK);
    assert_int_equal(recorder_add(run.recorder, &replay_sink, &replay), HYSGD_OK);
    if (replay_run(&replay, &run.training, &run.seconds) != HYSGD_OK)
        fail_msg("%s: %s", what, hysgd_error_message());
    assert_true(replay.has_compared_end);
    assert_int_equal(replay.repeated, plan.events - plan.undone);
    expect_same_vector(&leader->run, &run, what);
    run_close(&run);
    log_reader_close(replay.reader);
    replay_plan_fini(&plan);
}

/* The account that the events alone give is the run's. */
static void expect_tally(const struct trial *trial, const struct rank *leader, const char *what) {
    const struct event_run facts = facts_of(trial, leader);
    const struct event_summary *run = &leader->run.summary;
    struct event_summary told;
    struct tally tally;
    uint64_t arrivals = 0, counted = 0;
    bool has_table =
        strcmp(trial->from.policy, "table") == 0; /* what is for the next round is the policy's secret */
    assert_int_equal(tally_init(&tally, &facts), HYSGD_OK);
    for (size_t i = 0; i < trial->notes.count; i++) {
        tally_add(&tally, &trial->notes.events[i]);
        arrivals += trial->notes.events[i].kind == EVENT_ARRIVAL;
    }
    tally_summarize(&tally, "", &told);
    for (int i = 0; i < run->workers; i++) {
        const struct event_account *a = &run->accounts[i], *b = &told.accounts[i];
        bool are_same = a->applied == b->applied && a->dropped == b->dropped;
        assert_int_equal(a->received, a->applied + a->dropped);
        counted += b->received + b->undone;
        if (trial->first.first_received > 0) /* what was before is in the run's account only */
            continue;
        if (a->received != b->received || !(are_same || has_table) || a->undone != b->undone ||
            fabs(a->compute_seconds - b->compute_seconds) > 1e-9)
            fail_msg("%s: worker %d: received %llu, applied %llu, undone %llu; of the events %llu, %llu, %llu",
                     what, i, (unsigned long long)a->received, (unsigned long long)a->applied,
                     (unsigned long long)a->undone, (unsigned long long)b->received, (unsigned long long)b->applied,
                     (unsigned long long)b->undone);
    }
    assert_int_equal(counted, arrivals);
    assert_int_equal(run->returns, told.returns);
    assert_int_equal(run->undone, told.undone);
    assert_int_equal(run->forced_updates, told.forced_updates);
    tally_fini(&tally);
}

static uint64_t returns_in(const struct notes *notes) {
    uint64_t returns = 0;
    for (size_t i = 0; i < notes->count; i++)
        returns += notes->events[i].kind == EVENT_RESTORED;
    return returns;
}

/* One trial with all that must hold; how often it went back. */
static uint64_t try(struct trial *trial, const char *what) {
    char path[] = "/tmp/hysgd-return-XXXXXX";
    struct rank ranks[MOST_RANKS];
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    begin(trial);
    go(trial, ranks);
    if (ranks[0].status != HYSGD_OK)
        fail_msg("%s: %s", what, ranks[0].run.training.message);
    uint64_t returns = returns_in(&trial->notes);
    assert_int_equal(returns, ranks[0].run.summary.returns);
    write_log(trial, &ranks[0], path);
    expect_tally(trial, &ranks[0], what);
    expect_replay(trial, &ranks[0], path, what);
    end(trial, ranks);
    unlink(path);
    return returns;
}

static const char *name_of(struct trial *trial, int number) {
    const struct run_setup *from = &trial->from;
    snprintf(trial->name, sizeof trial->name,
             "trial %d: %s, wire %s, local %s, correction %s, %d servers, rank %d at send %llu", number,
             from->policy, run_text(from->wire, "-"), run_text(from->local, "-"), run_text(from->correction, "-"),
             from->servers, trial->deaths[0].rank, (unsigned long long)trial->deaths[0].send);
    return trial->name;
}

static struct trial trial_of(const char *policy) {
    return (struct trial){.from = {.data = "digits,train=300,test=50",
                                   .model = "dense 80, relu, dense 10",
                                   .optimizer = "adam,rate=0.01",
                                   .policy = policy,
                                   .runtime = "mpi,tolerate=3,copies=4",
                                   .workers = 4,
                                   .batch = 4,
                                   .limits = {.gradients = 160},
                                   .evaluate_every = {TRAINING_UPDATES, 7}}};
}

/* The same with random deaths of ranks that hold parameters. */
static void try_at_random(struct trial (*make)(int number), int deaths, int least_returns) {
    uint64_t returns = 0;
    int trials = long_count(6, 60);
    for (int i = 0; i < trials; i++) {
        struct trial trial = make(i);
        struct random random;
        random_init(&random, (uint64_t)i, 0, RANDOM_TEST, 1);
        trial.from.chaos = (uint64_t)i + 1;
        for (; trial.death_count < deaths; trial.death_count++)
            trial.deaths[trial.death_count] = (struct death){
                1 + (int)random_below(&random, (uint64_t)trial_size(&trial) - 1), 20 + random_below(&random, 300)};
        returns += try(&trial, name_of(&trial, i));
    }
    assert_true(returns >= (uint64_t)least_returns);
}

static struct trial any_policy(int number) {
    static const char *const policies[] = {"async",
                                           "sync",
                                           "threshold,start=1,step=20",
                                           "bounded,staleness=2",
                                           "adaptive",
                                           "table",
                                           "batch-async,size=3",
                                           "backup,spare=1",
                                           "cyclic,sync=3,async=5"};
    struct trial trial = trial_of(policies[(size_t)number % (sizeof policies / sizeof *policies)]);
    trial.from.servers = number % 3 == 2 ? 2 : 0;
    return trial;
}

static void what_a_run_has_undone_is_left_out_of_its_replay(void **state) {
    (void)state;
    try_at_random(any_policy, 1, 3);
}

static struct trial with_vectors_of_workers(int number) {
    static const struct {
        const char *policy, *wire, *local, *local_optimizer, *correction;
    } kinds[] = {{"async", "int8", NULL, NULL, NULL},
                 {"sync", "bf16,feedback=yes", NULL, NULL, NULL},
                 {"async", "int8,sparse=yes", "fixed,steps=3", "momentum,rate=0.01", NULL},
                 {"elastic", NULL, "fixed,steps=2", NULL, NULL},
                 {"threshold,start=1,step=20", NULL, "proportional,steps=3", "adam,rate=0.001", NULL},
                 {"async", NULL, NULL, NULL, "dana"},
                 {"batch-async,size=3", NULL, NULL, NULL, "delay-compensation"}};
    size_t kind = (size_t)number % (sizeof kinds / sizeof *kinds);
    struct trial trial = trial_of(kinds[kind].policy);
    trial.from.wire = kinds[kind].wire;
    trial.from.local = kinds[kind].local;
    trial.from.local_optimizer = kinds[kind].local_optimizer;
    trial.from.correction = kinds[kind].correction;
    trial.from.limits.gradients = 120;
    return trial;
}

static void what_workers_keep_goes_back_with_the_run(void **state) {
    (void)state;
    try_at_random(with_vectors_of_workers, 1, 3);
}

static void a_run_may_go_back_several_times(void **state) {
    (void)state;
    try_at_random(any_policy, 3, 6);
}

static void stop_at_return(void *self, const struct training *training, const struct event *event) {
    note(self, training, event);
    if (event->kind == EVENT_RESTORED)
        training_stop((struct training *)(uintptr_t)training);
}

/* The run was in that state before, too. */
static void what_is_gone_back_to_may_be_evaluated(void **state) {
    (void)state;
    for (uint64_t send = 100; send < 200; send += 20) {
        char path[] = "/tmp/hysgd-return-XXXXXX";
        struct rank ranks[MOST_RANKS];
        struct trial trial = trial_of("async");
        close(mkstemp(path));
        trial.from.limits.gradients = 100000000;
        trial.from.evaluate_every = (struct training_cadence){TRAINING_NEVER, 0};
        trial.deaths[trial.death_count++] = (struct death){2, send};
        begin(&trial);
        trial.from.watch = stop_at_return;
        go(&trial, ranks);
        assert_int_equal(ranks[0].status, HYSGD_INTERRUPTED);
        assert_int_equal(returns_in(&trial.notes), 1);
        write_log(&trial, &ranks[0], path);
        expect_replay(&trial, &ranks[0], path, "evaluated");
        end(&trial, ranks);
        unlink(path);
    }
}

static void a_return_to_the_beginning_keeps_nothing(void **state) {
    (void)state;
    struct trial trial = trial_of("async");
    trial.from.runtime =
        "mpi,tolerate=3,copies=1000000"; /* the first copy, before the first update, is the only one */
    trial.deaths[trial.death_count++] = (struct death){2, 160};
    assert_int_equal(try(&trial, "beginning"), 1);
}

/* The ranks that have both copies of a slice. */
static struct trial without_copies(int number) {
    struct trial trial = trial_of(number % 2 ? "sync" : "async");
    trial.from.runtime = "mpi,tolerate=3,copies=1000000";
    trial.from.wire = number % 3 == 0 ? "int8" : NULL;
    trial.death_count = 2;
    trial.deaths[0] = (struct death){2, 90 + 7 * (uint64_t)number};
    trial.deaths[1] = (struct death){3, 90 + 7 * (uint64_t)number};
    return trial;
}

static void a_return_to_the_checkpoint_has_its_place_in_the_log(void **state) {
    (void)state;
    uint64_t returns = 0;
    char path[] = "/tmp/hysgd-return-save-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    for (int i = 0; i < long_count(6, 60); i++) {
        struct trial trial = without_copies(i);
        trial.from.chaos = (uint64_t)i + 1;
        trial.from.save_path = path;
        trial.from.save_every = (struct training_cadence){TRAINING_UPDATES, 3};
        returns += try(&trial, name_of(&trial, i));
    }
    assert_true(returns > 0);
    unlink(path);
}

static void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    int byte;
    assert_true(in != NULL && out != NULL);
    while ((byte = fgetc(in)) != EOF)
        fputc(byte, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Where the checkpoint that is continued is the one that is written, too. */
static void a_run_that_was_resumed_may_go_back_to_where_it_began(void **state) {
    (void)state;
    uint64_t returns = 0;
    char path[] = "/tmp/hysgd-return-save-XXXXXX", copy[] = "/tmp/hysgd-return-copy-XXXXXX";
    close(mkstemp(path));
    close(mkstemp(copy));
    for (int i = 0; i < long_count(6, 60); i++) {
        struct trial trial = without_copies(i);
        struct run_setup before = trial.from;
        struct run run;
        before.runtime = "virtual";
        before.limits.gradients = 61;
        before.save_path = path;
        run_expect(&run, &before, HYSGD_OK);
        trial.first = (struct event_run){.first_received = run.training.engine.progress.received,
                                         .first_batches = run.training.engine.received_batches,
                                         .first_version = run.training.engine.progress.version,
                                         .first_seconds = run.seconds};
        run_close(&run);
        copy_file(path, copy);
        trial.from.resume_path = path;
        trial.resume_copy = copy;
        if (i % 2 == 0) {
            trial.from.save_path = path;
            trial.from.save_every = (struct training_cadence){TRAINING_UPDATES, 20};
        }
        trial.from.chaos = (uint64_t)i + 1;
        returns += try(&trial, name_of(&trial, i));
    }
    assert_true(returns > 0);
    unlink(path);
    unlink(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_run_has_undone_is_left_out_of_its_replay),
        cmocka_unit_test(what_workers_keep_goes_back_with_the_run),
        cmocka_unit_test(a_run_may_go_back_several_times),
        cmocka_unit_test(what_is_gone_back_to_may_be_evaluated),
        cmocka_unit_test(a_return_to_the_beginning_keeps_nothing),
        cmocka_unit_test(a_return_to_the_checkpoint_has_its_place_in_the_log),
        cmocka_unit_test(a_run_that_was_resumed_may_go_back_to_where_it_began),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
