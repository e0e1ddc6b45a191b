/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded runs repeated from their logs: every policy in both runtimes to the last bit, and what becomes of logs
 * that were changed, cut, or belong to something else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hysgd.h"
#include "long.h"
#include "policy/policy.h"
#include "record/log_reader.h"
#include "record/sinks.h"
#include "train/replay.h"

struct files {
    char folder[64], log[96], other[96], save[96], before[96];
};

static void make_files(struct files *files) {
    strcpy(files->folder, "/tmp/hysgd-replay-XXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->log, sizeof files->log, "%s/run.hylog", files->folder);
    snprintf(files->other, sizeof files->other, "%s/other.hylog", files->folder);
    snprintf(files->save, sizeof files->save, "%s/run.safetensors", files->folder);
    snprintf(files->before, sizeof files->before, "%s/before.safetensors", files->folder);
}

static void remove_files(const struct files *files) {
    unlink(files->log);
    unlink(files->other);
    unlink(files->save);
    unlink(files->before);
    assert_int_equal(rmdir(files->folder), 0);
}

typedef const char *const option[2];

static void set_all(struct hysgd_job *job, option *options) {
    for (; (*options)[0] != NULL; options++) {
        enum hysgd_status status = hysgd_job_set(job, (*options)[0], (*options)[1]);
        assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
    }
}

/* Records a run of `policy` that saves its end. */
static void record(const struct files *files, const char *runtime, const char *policy, option *options) {
    static option common[] = {{"model", "softmax,kernels=reference"},
                              {"data", "digits,train=200,test=50"},
                              {"workers", "4"},
                              {"batch", "8"},
                              {"epochs", "2"},
                              {"eval-every", "updates=7"},
                              {NULL, NULL}};
    option own[] = {
        {"runtime", runtime}, {"policy", policy}, {"log", files->log}, {"save", files->save}, {NULL, NULL}};
    struct hysgd_job *job;
    struct hysgd_result result;
    unlink(files->save);
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    set_all(job, common);
    set_all(job, own);
    set_all(job, options);
    enum hysgd_status status = hysgd_job_run(job, &result);
    assert_string_equal(status != HYSGD_OK ? hysgd_error_message() : "", "");
    hysgd_job_free(job);
}

static option nothing[] = {{NULL, NULL}};

/* What is told of a replay. */
struct told {
    enum hysgd_status status;
    char json[4096];
};

static struct told replay(const char *log, option *options) {
    struct replay_job *job;
    struct told told = {.json = ""};
    assert_int_equal(replay_job_alloc(&job), HYSGD_OK);
    for (; (*options)[0] != NULL; options++)
        assert_int_equal(replay_job_set(job, (*options)[0], (*options)[1]), HYSGD_OK);
    told.status = replay_job_run(job, log);
    if (replay_job_has_begun(job)) {
        FILE *out = fmemopen(told.json, sizeof told.json, "w");
        assert_int_equal(replay_job_print(job, true, 80, out), HYSGD_OK);
        fclose(out);
    }
    replay_job_free(job);
    return told;
}

/* The number that `key` has in what is told. */
static uint64_t number(const struct told *told, const char *key) {
    char pattern[32];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    const char *at = strstr(told->json, pattern);
    assert_non_null(at);
    return strtoull(at + strlen(pattern), NULL, 10);
}

static void assert_repeated(const struct files *files, option *options) {
    struct told told = replay(files->log, options);
    assert_string_equal(told.status != HYSGD_OK ? hysgd_error_message() : "", "");
    assert_int_equal(number(&told, "repeated"), number(&told, "events"));
    assert_non_null(strstr(told.json, "\"end_is_equal\":true"));
    assert_non_null(strstr(told.json, "\"check_is_equal\":true"));
}

static void check_policies(const char *runtime, option *options) {
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < policy_list.count; i++) {
        option check[] = {{"check", files.save}, {NULL, NULL}};
        record(&files, runtime, policy_list.entries[i]->name, options);
        assert_repeated(&files, check);
    }
    remove_files(&files);
}

static void every_policy_in_virtual_time_is_repeated(void **state) {
    (void)state;
    option options[] = {{"compute", "lognormal"},
                        {"delay", "half,exponential"},
                        {"receive", "exponential,mean=0.001"},
                        {"apply", "constant,mean=0.002"},
                        {"lose", "1@0.2"},
                        {"join", "1@0.3,4@0.25"},
                        {"spare", "1"},
                        {"micro-batch", "2"},
                        {NULL, NULL}};
    check_policies("virtual", options);
}

static void every_policy_on_threads_is_repeated(void **state) {
    (void)state;
    option options[] = {{"delay", "half,exponential,mean=0.001"},
                        {"micro-batch", "2"},
                        {"lose", "1@0.01"},
                        {"join", "1@0.02,4@0.015"},
                        {"spare", "1"},
                        {NULL, NULL}};
    for (int i = 0; i < long_count(1, 5); i++)
        check_policies("threads", options);
}

static void whatever_changes_the_vectors_is_repeated(void **state) {
    (void)state;
    static const struct {
        const char *policy;
        option options[4];
    } runs[] = {
        {"async", {{"correction", "dana"}, {NULL, NULL}}},
        {"batch-async,size=6", {{"correction", "delay-compensation"}, {NULL, NULL}}},
        {"batch-async,size=6", {{"optimizer", "adam,schedule=cosine,clip=1"}, {"combine", "sum"}, {NULL, NULL}}},
        {"async",
         {{"partition", "dirichlet,alpha=0.3"},
          {"worker-weights", "samples"},
          {"staleness-weight", "polynomial"},
          {NULL, NULL}}},
        {"threshold,step=10", {{"model", "dense 20, norm, relu, dropout 0.5, dense 10"}, {NULL, NULL}}},
        {"async", {{"lose", "1@0.005,2@0.01"}, {"eval-every", "seconds=0.001"}, {NULL, NULL}}},
        {"adaptive", {{"deadline", "0.1"}, {"epochs", "50"}, {NULL, NULL}}},
        {"threshold,step=10",
         {{"local", "proportional,steps=3"}, {"delay", "half,exponential,mean=0.001"}, {NULL, NULL}}},
        {"elastic", {{"local", "fixed,steps=3"}, {NULL, NULL}}},
        {"async", {{"wire", "int8"}, {"model", "dense 20, norm, relu, dense 10"}, {NULL, NULL}}},
        {"backup,count=2,cancel=yes",
         {{"wire", "bf16,feedback=yes,sparse=yes"}, {"micro-batch", "2"}, {NULL, NULL}}},
        {"batch-async,size=6", {{"wire", "int8,sparse=yes"}, {"local", "fixed,steps=3"}, {NULL, NULL}}},
        {"async", {{"target", "accuracy=0.5"}, {"epochs", "50"}, {NULL, NULL}}},
    };
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        option check[] = {{"check", files.save}, {NULL, NULL}};
        record(&files, "threads", runs[i].policy, runs[i].options);
        assert_repeated(&files, check);
    }
    remove_files(&files);
}

static void a_run_that_continued_needs_its_checkpoint(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < 2; i++) {
        option continued[] = {{"resume", files.before}, {"epochs", "4"}, {NULL, NULL}};
        option given[] = {{"resume", files.before}, {"check", files.save}, {NULL, NULL}};
        option wrong[] = {{"resume", files.save}, {NULL, NULL}};
        record(&files, runtimes[i], "async", nothing);
        assert_int_equal(replay(files.log, wrong).status, HYSGD_USAGE);
        assert_non_null(strstr(hysgd_error_message(), "continued no checkpoint"));
        assert_int_equal(rename(files.save, files.before), 0);
        record(&files, runtimes[i], "async", continued);
        assert_repeated(&files, given);
        assert_int_equal(replay(files.log, nothing).status, HYSGD_USAGE);
        assert_non_null(strstr(hysgd_error_message(), "expected resume=FILE"));
        assert_int_equal(replay(files.log, wrong).status, HYSGD_INPUT);
        assert_non_null(strstr(hysgd_error_message(), "is of update 100"));
    }
    remove_files(&files);
}

/* Copies the log with event number `number` changed by `change`; where that is NULL, exchanged with the next one,
 * at the first one's time. */
static void rewrite(const struct files *files, uint64_t number, void (*change)(struct event *)) {
    struct log_reader *reader;
    struct event event, other;
    bool has_event;
    void *sink;
    assert_int_equal(log_reader_open(files->log, &reader), HYSGD_OK);
    assert_int_equal(sink_log_alloc(files->other, &sink), HYSGD_OK);
    assert_int_equal(sink_log.begin(sink, log_reader_run(reader)), HYSGD_OK);
    for (uint64_t i = 1;; i++) {
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
        if (!has_event)
            break;
        if (i == number && change != NULL)
            change(&event);
        if (i == number && change == NULL) {
            assert_int_equal(log_reader_next(reader, &other, &has_event), HYSGD_OK);
            other.seconds = event.seconds;
            assert_int_equal(sink_log.event(sink, &other), HYSGD_OK);
        }
        assert_int_equal(sink_log.event(sink, &event), HYSGD_OK);
    }
    assert_int_equal(sink_log.end(sink, log_reader_summary(reader)), HYSGD_OK);
    sink_log_free(sink);
    log_reader_close(reader);
}

/* The number of the n-th event of this kind. */
static uint64_t find(const char *log, enum event_kind kind, int n) {
    struct log_reader *reader;
    struct event event;
    bool has_event = true;
    uint64_t number = 0;
    assert_int_equal(log_reader_open(log, &reader), HYSGD_OK);
    while (n > 0) {
        assert_int_equal(log_reader_next(reader, &event, &has_event), HYSGD_OK);
        assert_true(has_event);
        number++;
        n -= event.kind == kind;
    }
    log_reader_close(reader);
    return number;
}

static void flip_loss(struct event *event) {
    uint64_t bits;
    memcpy(&bits, &event->arrival.loss, sizeof bits);
    bits ^= 1;
    memcpy(&event->arrival.loss, &bits, sizeof bits);
}

static void flip_worker(struct event *event) {
    event->worker ^= 1;
}

static void change_read(struct event *event) {
    event->arrival.read = event->arrival.read > 0 ? event->arrival.read - 1 : 1;
    event->version += event->arrival.read > event->version;
}

static void change_rate(struct event *event) {
    event->update.rate *= 2;
}

static void change_draw(struct event *event) {
    event->start.draw++;
}

static void change_checksum(struct event *event) {
    event->evaluation.checksum ^= 1;
}

static void make_estimate(struct event *event) {
    event->kind = EVENT_ESTIMATE;
    event->worker = -1;
}

static void make_lost(struct event *event) {
    event->kind = EVENT_LOST;
}

static void make_update(struct event *event) {
    event->kind = EVENT_UPDATE;
    event->worker = -1;
}

static void make_joined(struct event *event) {
    event->kind = EVENT_JOINED;
}

static void make_evaluation(struct event *event) {
    event->kind = EVENT_EVALUATION;
}

static void make_arrival(struct event *event) {
    event->kind = EVENT_ARRIVAL;
    event->worker = 0;
    event->arrival.read = event->version;
}

static void a_changed_log_ends_at_the_first_difference(void **state) {
    (void)state;
    static const struct {
        enum event_kind kind; /* of the 20th event of this kind */
        void (*change)(struct event *);
        const char *message; /* NULL: it depends on the run */
    } changes[] = {
        {EVENT_ARRIVAL, flip_loss, "loss is "},
        {EVENT_ARRIVAL, flip_worker, NULL},
        {EVENT_ARRIVAL, change_read, "read is "},
        {EVENT_ARRIVAL, make_estimate, "nothing brings it about here"},
        {EVENT_ARRIVAL, make_joined, "the worker has been there before"},
        {EVENT_ARRIVAL, make_update, "none is due here"},
        {EVENT_ARRIVAL, make_evaluation, "the run was never in the state that was evaluated"},
        {EVENT_UPDATE, change_rate, "rate is "},
        {EVENT_UPDATE, make_arrival, "an update is due here before it"},
        {EVENT_START, change_draw, "draw is "},
        {EVENT_START, flip_worker, "the worker has not been released"},
        {EVENT_START, make_lost, NULL},
        {EVENT_EVALUATION, change_checksum, "checksum is "},
    };
    struct files files;
    make_files(&files);
    record(&files, "virtual", "async", (option[]){{"eval-every", "updates=2"}, {NULL, NULL}});
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        uint64_t number_changed = find(files.log, changes[i].kind, 20);
        rewrite(&files, number_changed, changes[i].change);
        struct told told = replay(files.other, nothing);
        assert_int_equal(told.status, HYSGD_FAILED);
        if (changes[i].message != NULL) {
            char event[32];
            snprintf(event, sizeof event, ": event %llu, ", (unsigned long long)number_changed);
            assert_non_null(strstr(hysgd_error_message(), event));
            assert_non_null(strstr(hysgd_error_message(), changes[i].message));
            assert_int_equal(number(&told, "repeated"), number_changed - 1);
        }
    }
    remove_files(&files);
}

static void events_in_another_order_are_a_difference(void **state) {
    (void)state;
    struct files files;
    make_files(&files);
    record(&files, "threads", "sync", nothing);
    for (int n = 1; n <= 10; n++) {
        uint64_t at = find(files.log, EVENT_UPDATE, n) - 1; /* the arrival that completed it */
        rewrite(&files, at, NULL);
        struct told told = replay(files.other, nothing);
        assert_int_equal(told.status, HYSGD_FAILED);
        assert_int_equal(number(&told, "repeated"), at - 1);
    }
    remove_files(&files);
}

static void a_log_that_was_cut_is_repeated_up_to_the_cut(void **state) {
    (void)state;
    struct files files;
    make_files(&files);
    record(&files, "threads", "threshold,step=20", (option[]){{"epochs", "8"}, {NULL, NULL}});
    FILE *whole = fopen(files.log, "rb");
    assert_non_null(whole);
    char *bytes = malloc(1 << 20);
    size_t size = fread(bytes, 1, 1 << 20, whole), refused = 0, repeated = 0;
    fclose(whole);
    for (size_t cut = 0; cut < size; cut += size / 23) {
        FILE *part = fopen(files.other, "wb");
        assert_int_equal(fwrite(bytes, 1, cut, part), cut);
        fclose(part);
        struct told told = replay(files.other, nothing);
        if (told.status == HYSGD_INPUT) {
            assert_string_equal(told.json, "");
            refused++;
            continue;
        }
        assert_string_equal(told.status != HYSGD_OK ? hysgd_error_message() : "", "");
        assert_int_equal(number(&told, "repeated"), number(&told, "events"));
        assert_non_null(strstr(told.json, "\"is_cut\":true"));
        repeated += number(&told, "repeated") > 0;
    }
    assert_in_range(refused, 1, 8); /* before the run is described */
    assert_in_range(repeated, 1, 23);
    free(bytes);
    remove_files(&files);
}

static void other_data_models_and_programs_are_refused(void **state) {
    (void)state;
    static const struct {
        option options[2];
        const char *message;
    } others[] = {
        {{{"data", "digits,train=201,test=50"}, {NULL, NULL}}, "other training data"},
        {{{"data", "digits,train=200,test=51"}, {NULL, NULL}}, "other test data"},
        {{{"model", "dense 10, relu, dense 10"}, {NULL, NULL}}, "other parameters"},
    };
    struct files files;
    make_files(&files);
    record(&files, "threads", "async", nothing);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct told told = replay(files.log, others[i].options);
        assert_int_equal(told.status, HYSGD_INPUT);
        assert_non_null(strstr(hysgd_error_message(), others[i].message));
    }
    remove_files(&files);
}

static void a_replay_stops_where_it_is_told(void **state) {
    (void)state;
    static const struct {
        const char *until, *key;
        uint64_t value;
    } stops[] = {{"updates=13", "updates", 13}, {"gradients=21", "received", 21}, {"epochs=1", "received", 25}};
    struct files files;
    make_files(&files);
    record(&files, "threads", "async", nothing);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        struct told told = replay(files.log, (option[]){{"until", stops[i].until}, {NULL, NULL}});
        assert_int_equal(told.status, HYSGD_OK);
        assert_int_equal(number(&told, stops[i].key), stops[i].value);
        assert_non_null(strstr(told.json, "\"is_stopped\":true"));
    }
    assert_int_equal(replay(files.log, (option[]){{"until", "updates"}, {NULL, NULL}}).status, HYSGD_USAGE);
    assert_int_equal(replay(files.log, (option[]){{"until", "hours=1"}, {NULL, NULL}}).status, HYSGD_USAGE);
    remove_files(&files);
}

static void a_stopped_replay_in_modelled_time_goes_on_as_recorded(void **state) {
    (void)state;
    static const char *const policies[] = {"async", "backup,count=2,cancel=yes", "timeout", "adaptive", "table"};
    static const char *const stops[] = {"updates=3", "gradients=17", "seconds=0.05", "epochs=1"};
    option options[] = {{"compute", "lognormal"},        {"micro-batch", "2"},
                        {"delay", "half,exponential"},   {"receive", "constant,mean=0.001"},
                        {"apply", "constant,mean=0.01"}, {NULL, NULL}};
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        for (size_t k = 0; k < sizeof stops / sizeof *stops; k++) {
            option stop[] = {{"until", stops[k]}, {"save", files.before}, {NULL, NULL}};
            option rest[] = {{"resume", files.before}, {"log", ""}, {NULL, NULL}};
            option check[] = {{"check", files.save}, {NULL, NULL}};
            record(&files, "virtual", policies[i], options);
            assert_int_equal(replay(files.log, stop).status, HYSGD_OK);
            record(&files, "virtual", policies[i], rest);
            assert_repeated(&files, check);
        }
    remove_files(&files);
}

/* In the table of what is told, the recorded run and what might have been have the same text after `key`. */
static void assert_same_numbers(const struct told *told, const char *key) {
    const char *first = strstr(told->json, key);
    assert_non_null(first);
    const char *second = strstr(first + 1, key);
    assert_non_null(second);
    assert_memory_equal(first, second, strcspn(first, "}"));
}

static void the_same_policy_would_have_done_the_same(void **state) {
    (void)state;
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < policy_list.count; i++) {
        const char *name = policy_list.entries[i]->name;
        option what_if[] = {{"policy", name}, {NULL, NULL}};
        record(&files, "virtual", name,
               (option[]){{"compute", "lognormal"}, {"apply", "exponential,mean=0.002"}, {NULL, NULL}});
        struct told told = replay(files.log, what_if);
        assert_string_equal(told.status != HYSGD_OK ? hysgd_error_message() : "", "");
        assert_same_numbers(&told, "\"updates\":");
        assert_same_numbers(&told, "\"test_loss\":");
    }
    remove_files(&files);
}

static void another_policy_goes_on_from_anywhere(void **state) {
    (void)state;
    static const char *const runtimes[] = {"virtual", "threads"};
    static const char *const recorded[] = {"threshold,step=10",
                                           "sync"}; /* every worker delivers, whatever the load */
    struct files files;
    make_files(&files);
    for (size_t i = 0; i < policy_list.count; i++) {
        const struct hysgd_policy_ops *ops = (const struct hysgd_policy_ops *)policy_list.entries[i];
        bool is_elastic = ops->worker_ops != NULL && ops->worker_ops->elasticity != NULL;
        bool may_not = ops->aggregate == HYSGD_TABLE || is_elastic;
        option what_if[] = {{"policy", policy_list.entries[i]->name}, {"until", "gradients=18"}, {NULL, NULL}};
        option log[] = {{"policy", policy_list.entries[i]->name}, {"log", files.other}, {NULL, NULL}};
        record(&files, runtimes[i % 2], recorded[i % 2], nothing);
        enum hysgd_status status = replay(files.log, what_if).status;
        assert_string_equal(status != HYSGD_OK && !may_not ? hysgd_error_message() : "", "");
        assert_int_equal(status, may_not ? HYSGD_USAGE : HYSGD_OK);
        assert_int_equal(replay(files.log, log).status,
                         is_elastic ? HYSGD_USAGE : HYSGD_OK); /* without local steps */
    }
    remove_files(&files);
}

static void what_might_have_been_is_not_saved(void **state) {
    (void)state;
    struct files files;
    make_files(&files);
    record(&files, "threads", "async", nothing);
    option saved[] = {{"policy", "sync"}, {"save", files.before}, {NULL, NULL}};
    option unknown[] = {{"policy", "sink"}, {"until", "updates=3"}, {NULL, NULL}};
    assert_int_equal(replay(files.log, saved).status, HYSGD_USAGE);
    assert_int_equal(replay(files.log, unknown).status, HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "sink"));
    remove_files(&files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_policy_in_virtual_time_is_repeated),
        cmocka_unit_test(every_policy_on_threads_is_repeated),
        cmocka_unit_test(whatever_changes_the_vectors_is_repeated),
        cmocka_unit_test(a_run_that_continued_needs_its_checkpoint),
        cmocka_unit_test(a_changed_log_ends_at_the_first_difference),
        cmocka_unit_test(events_in_another_order_are_a_difference),
        cmocka_unit_test(a_log_that_was_cut_is_repeated_up_to_the_cut),
        cmocka_unit_test(other_data_models_and_programs_are_refused),
        cmocka_unit_test(a_replay_stops_where_it_is_told),
        cmocka_unit_test(a_stopped_replay_in_modelled_time_goes_on_as_recorded),
        cmocka_unit_test(the_same_policy_would_have_done_the_same),
        cmocka_unit_test(another_policy_goes_on_from_anywhere),
        cmocka_unit_test(what_might_have_been_is_not_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
