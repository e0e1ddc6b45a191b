/* SPDX-License-Identifier: Apache-2.0 */
/* The description of a run: one struct, whose option table is at once the long options of the command, the keys of
 * hysgd_job_set, the lines of a configuration file and the metadata of a checkpoint. Words only; resolve.h turns
 * them into objects. */
#ifndef HYSGD_TRAIN_DESCRIPTION_H
#define HYSGD_TRAIN_DESCRIPTION_H

#include "base/options.h"

/* Texts are never NULL; "" stands for the default or for none. */
struct description {
    char *data, *model, *policy, *optimizer, *correction, *runtime, *partition, *local, *local_optimizer, *wire;
    char *servers, *tolerate, *patience; /* options of the runtime; once resolved "", and part of it */
    char *copies, *control;              /* likewise */
    char *worker_weights;
    char *scheduler; /* of the model factors; "none": a policy trains */
    int balance;     /* enum blocks_balance */
    bool is_deterministic;
    char *layout; /* file */
    bool is_streamed;
    int64_t stop_early;   /* evaluations without a better one; 0: never */
    int orphans;          /* enum training_orphans */
    int combine;          /* enum engine_combine */
    int staleness_weight; /* enum engine_weight */
    double staleness_exponent;
    int64_t workers;            /* 0: chosen by the runtime's kind */
    int64_t spare;              /* places for more */
    int64_t batch;              /* samples per gradient */
    int64_t micro_batch;        /* samples of a piece of it; 0: all */
    double epochs, deadline;    /* limits; 0: none */
    int64_t updates, gradients; /* limits; 0: none */
    char *target;               /* "accuracy=0.98", "loss=0.1" or both */
    bool goes_on_at_target;
    char *eval_every;   /* "epochs=1", "seconds=2", "never", ... */
    int64_t eval_limit; /* test samples; 0: all */
    int64_t eval_batch;
    int64_t seed;
    char *speeds, *compute, *delay, *receive, *apply, *lose, *join; /* as in struct timing_texts */
    char *save, *save_every, *resume;
    char *log, *csv, *tensorboard, *trace, *report; /* output files */
    char *serve;                                    /* address of the live view */
    uint64_t given;                                 /* bit i: row i of the table was set, not left at its default */
};

extern const struct hysgd_option description_options[];

HYSGD_MUST_CHECK enum hysgd_status description_init(struct description *description);
void description_fini(struct description *description);

/* As options_set; notes that the option was given. */
HYSGD_MUST_CHECK enum hysgd_status description_set(struct description *description, const char *key,
                                                   const char *value);

/* `copy_out` becomes an equal description with texts of its own; safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status description_copy(const struct description *description,
                                                    struct description *copy_out);

/* Sets the option unless it was given; it does not count as given then. */
HYSGD_MUST_CHECK enum hysgd_status description_set_default(struct description *description, const char *key,
                                                           const char *value);

/* Takes back that the option was given: it is at its default. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status description_clear(struct description *description, const char *key);

/* Whether the option was given, not left at its default. */
bool description_is_given(const struct description *description, const char *key);

/* Whether the option was given and is not what it would be without that. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status description_is_changed(const struct description *description, const char *key,
                                                          bool *is_changed_out);

/* Puts `text`, which the description then owns, in the place of one of its texts. */
void description_replace(char **field, char *text);

/* The words of a run as pairs of key and value, in the order of the table but with the names of files last. */
struct description_pairs {
    const char *(*pairs)[2]; /* [count]; the values are owned */
    size_t count;
    size_t lasting; /* pairs before the names of files: what a checkpoint tells of its run, wherever it lies */
};

/* HYSGD_MEMORY. Safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status description_pairs_init(struct description_pairs *pairs,
                                                          const struct description *description);
void description_pairs_fini(struct description_pairs *pairs);

#endif
