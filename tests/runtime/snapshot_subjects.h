/* SPDX-License-Identifier: Apache-2.0 */
/* The runs whose checkpoints are tested: what can hide state. */
#ifndef HYSGD_TESTS_RUNTIME_SNAPSHOT_SUBJECTS_H
#define HYSGD_TESTS_RUNTIME_SNAPSHOT_SUBJECTS_H

#include "runtime/fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

/* What can hide state: unequal speeds, delays, a busy server, statistics, dropout, momentum, losses of workers. */
static const struct run_setup subjects[] = {
    {.policy = "sync", .optimizer = "momentum,rate=0.02", .model = "dense 7, norm, relu, dropout 0.3, dense"},
    {.policy = "async", .optimizer = "adam,rate=0.01", .model = "dense 7, norm, tanh, dense"},
    {.policy = "threshold,step=40,wait=no", .optimizer = "momentum,rate=0.02,clip=0.3", .model = "softmax"},
    {.policy = "threshold,step=40,wait=yes", .optimizer = "adam,rate=0.01", .model = "dense 7, dropout 0.5, dense"},
    {.policy = "threshold,start=7,cap=9",
     .optimizer = "nesterov,rate=0.01",
     .combine = ENGINE_SUM,
     .model = "softmax"},
    {.policy = "cyclic,sync=3,async=5", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "switch,at=15,unit=updates", .optimizer = "adamw,rate=0.01", .model = "softmax"},
    {.policy = "async", .optimizer = "delayed-nesterov,rate=0.05,period=7", .model = "softmax"},
    {.policy = "adaptive", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "adaptive", .optimizer = "momentum,rate=0.02,clip=0.3", .model = "softmax"},
    {.policy = "async", .correction = "delay-compensation", .model = "dense 7, norm, relu, dense"},
    {.policy = "batch-async,size=3", .correction = "delay-compensation,adaptive=yes", .model = "softmax"},
    {.policy = "threshold,step=40,wait=yes", .correction = "distance,scale=1e-6", .model = "softmax"},
    {.policy = "batch-async,size=3", .correction = "dana", .model = "dense 7, norm, relu, dense"},
    {.policy = "table", .optimizer = "sgd,rate=0.05", .model = "dense 7, norm, relu, dense"},
    {.policy = "table", .correction = "delay-compensation", .model = "softmax"},
    {.policy = "bounded,staleness=1", .correction = "dana,momentum=0.5", .model = "softmax"},
    {.policy = "async", .wire = "int8", .model = "dense 7, norm, relu, dense"},
    {.policy = "backup,count=2,cancel=yes", .wire = "bf16,feedback=yes", .micro_batch = 2, .model = "softmax"},
    {.policy = "batch-async,size=3",
     .wire = "int8,sparse=yes",
     .local = "fixed,steps=3",
     .local_optimizer = "momentum,rate=0.05",
     .optimizer = "sgd,rate=1",
     .model = "dense 7, norm, relu, dense"},
    {.policy = "switch,at=0.5", .optimizer = "momentum,rate=0.02,schedule=cosine", .model = "softmax"},
};

static inline struct run_setup subject_at(size_t i) {
    struct run_setup from = subjects[i];
    from.data = "random,samples=400,dimensions=9,classes=4";
    from.timing = (struct timing_texts){.speeds = "1,0.6,1,0.3",
                                        .compute = "lognormal,mean=0.01,sigma=0.4",
                                        .delay = "half,normal,std=0.01",
                                        .receive = "exponential,mean=0.001",
                                        .apply = "uniform,least=0.0005,most=0.002",
                                        .lose = i % 2 ? "1@0.25" : NULL};
    from.limits = (struct training_limits){.gradients = 120};
    from.evaluate_every = (struct training_cadence){TRAINING_GRADIENTS, 25};
    from.batch = 6;
    return from;
}

/* Saves a run of the subject into the file; returns the rest of it. */
static inline struct run_setup save_subject(const char *path, size_t subject) {
    struct run_setup from = subject_at(subject);
    from.limits.gradients = 61;
    from.save_path = path;
    struct run run;
    run_expect(&run, &from, HYSGD_OK);
    run_close(&run);
    from.save_path = NULL;
    from.resume_path = path;
    return from;
}

static inline struct run_setup save_one(const char *path) {
    return save_subject(path, 2);
}

#endif
