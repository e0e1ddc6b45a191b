/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the model `factors` under a scheduler: lays out the ratings, trains, evaluates, stops early, saves,
 * and brings it all to everyone who looks. The counterpart of run.h, which trains under a policy. */
#ifndef HYSGD_TRAIN_FACTORIZATION_H
#define HYSGD_TRAIN_FACTORIZATION_H

#include "data/ratings.h"
#include "lowrank/factorize.h"
#include "lowrank/figures.h"
#include "model/factors.h"
#include "train/factors_file.h"
#include "train/recording.h"
#include "train/resolve.h"
#include "train/run.h"

/* Of the first so many columns, where ranking is judged. */
#define FACTORIZATION_TOP 10

/* What held-out ratings say; NaN: not judged. */
struct judgement {
    uint64_t count, unseen; /* ratings; of them, those of a row or column without training ratings */
    uint64_t skipped;       /* of those, without a prediction: unseen=error */
    double loss;            /* as factors_model_loss_name says: for squared losses its root */
    double accuracy;        /* as factors_model_accuracy_name says */
    double rmse, mae;
    struct ranking ranking; /* means; rows 0: not judged */
};

/* What there is to tell beside the summary of the events. */
struct factorization_result {
    int epochs;                             /* trained, those before a resumed run included */
    int best_epoch;                         /* whose model was kept; 0: that of the last epoch */
    uint64_t visits;                        /* of ratings, in this process */
    double seconds;                         /* of training, in this process, on the run's clock */
    double waiting_share, scheduling_share; /* of the threads' time, 0 to 1 */
    double imbalance;                       /* the largest block over the mean one */
    int row_groups, column_groups;
    double train_loss; /* of the last epoch, of each rating before its step */
    struct judgement validation, test;
    const char *kernel; /* instructions used */
};

/* A held-out part. */
struct held_out {
    struct ratings_part part; /* by place, once the ratings are laid out; those that are unseen at its end */
    uint64_t unseen;          /* of them, those of a row or column without training ratings */
    struct lists lists;       /* one-class data only */
};

struct factorization {
    const struct resolved *resolved;
    const struct factors_model *model;
    struct description_pairs pairs;
    struct recording recording;
    struct rating *copy;           /* of all entries, where others use the data too; owned */
    const struct ratings *ratings; /* ids and counts of the data */
    struct ratings_part train;
    struct held_out validation, test;
    uint32_t *counts[SIDE_COUNT]; /* of training ratings, by number of the data */
    uint64_t train_checksum;      /* 0: not needed */
    struct lists seen;            /* the training part by place; one-class data only */
    struct team *team;
    struct blocks blocks;
    struct kernel kernel;
    struct kernel_step step;          /* of this epoch */
    struct factors factors, best;     /* by place; best: empty unless the run may stop early */
    struct factors_progress progress; /* so far; goes into checkpoints */
    struct factors_progress best_progress;
    double start_seconds;              /* on the run's clock when this process began */
    double best_measure;               /* on the validation part, less is better; INFINITY: none yet */
    int64_t worse;                     /* evaluations since the best one */
    double next_evaluation, next_save; /* in the unit of their cadence */
    uint64_t evaluated_epoch, saved_epoch;
    bool has_saved;
    double *speeds;                 /* [workers] ratings a second; modelled time only */
    double request_seconds;         /* of a question to the scheduler; modelled time only */
    struct event_account *accounts; /* [workers] */
    double target_seconds;          /* NaN: not reached */
    const char *reason;             /* NULL: none yet */
    char message[1024];             /* of the failure that ended the training */
    double busy_seconds, scheduling_seconds, waiting_seconds; /* of all workers */
    struct factorization_result result;
};

/* Builds everything up to the first epoch. The data are ready. HYSGD_USAGE: the data do not suit the model. Safe to
 * fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status factorization_init(struct factorization *factorization,
                                                      const struct resolved *resolved, const struct run_sink *sinks,
                                                      size_t sink_count, bool wants_history);
void factorization_fini(struct factorization *factorization);

/* As run_train. */
HYSGD_MUST_CHECK enum hysgd_status factorization_train(struct factorization *factorization, struct stopper *stopper,
                                                       struct hysgd_result *result_out, bool *has_begun_out);

/* Judges a part by the present factors. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status factorization_judge(const struct factorization *factorization,
                                                       const struct held_out *held_out,
                                                       struct judgement *judgement_out);

/* The factors as the model `factors` lays them out under a policy: rows, columns, mean, and where there are biases,
 * those of the rows and of the columns; in the order of the data. The caller frees them. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status factorization_parameters(const struct factorization *factorization,
                                                            float **vector_out, size_t *count_out);

/* The result as text, or as one JSON object. HYSGD_MEMORY. */
void factorization_print(const struct factorization *factorization, const struct event_summary *summary, FILE *out);
HYSGD_MUST_CHECK enum hysgd_status factorization_print_json(const struct factorization *factorization,
                                                            const struct event_summary *summary, FILE *out);

#endif
