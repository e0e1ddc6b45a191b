/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in a run, as a sequence of fixed-size events: the one source of progress lines, logs, tables and
 * the report. */
#ifndef HYSGD_RECORD_EVENT_H
#define HYSGD_RECORD_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_kind {
    EVENT_START,      /* a worker reads a version and begins a gradient */
    EVENT_ARRIVAL,    /* a gradient reached the server and has its verdict */
    EVENT_UPDATE,     /* held gradients were applied */
    EVENT_EVALUATION, /* the parameters were evaluated on the test data; its numbers are of the moment that it
                         began, which may be before that of the event ahead of it */
    EVENT_CHECKPOINT, /* the state was saved */
    EVENT_LOST,       /* a worker left for good */
    EVENT_JOINED,     /* a worker joined, for the first time or again; its start follows */
    EVENT_ABANDONED,  /* a worker gave up its gradient, which never arrives */
    EVENT_ESTIMATE,   /* a policy that estimates has new estimates; after the update that completed them */
    EVENT_FOLD,       /* gradients were added to the server's sum, of which a policy that estimates sees the time */
    EVENT_RESTORED,   /* after the loss of a process the run went back to an earlier state */
    EVENT_CLOCK,      /* how far the clock of a rank is from the coordinator's was measured */
    EVENT_COPIED      /* a copy of the state was begun in the memory of the ranks, to which it may go back */
};

/* Of restored.kept. */
#define EVENT_NOT_HERE UINT64_MAX

struct event {
    enum event_kind kind;
    int32_t worker;   /* -1 where none is concerned */
    double seconds;   /* on the run's clock */
    uint64_t version; /* START: that was read; ARRIVAL: at the verdict; UPDATE: after it; else the present one */
    union {
        struct {
            uint64_t draw; /* the worker's gradients before this one */
        } start;
        struct {
            uint64_t read;          /* version that the gradient was computed at; staleness = version - read */
            double weight;          /* admitted weight; 0: dropped */
            uint64_t batches;       /* that it was computed from: 1, or the local steps */
            double loss;            /* of its batches */
            double compute_seconds; /* computing */
            double transit_seconds; /* on the way */
            double pull_seconds;    /* of transit_seconds, from the start until computing began; NaN: not known */
            double push_seconds; /* of transit_seconds, from the end of computing until all servers had it; NaN: not
                                    known. The rest: until the coordinator knew that */
            double queue_seconds; /* at the server before the verdict */
            double data_seconds;  /* of compute_seconds, until it had its samples; 0 where that is not measured */
            uint64_t threshold;   /* K at the verdict */
            uint64_t held;        /* gradients held after the verdict, this one included, before any update */
        } arrival;
        struct {
            uint64_t gradients;     /* applied by it */
            double weight;          /* their total weight */
            double rate;            /* learning rate used */
            double service_seconds; /* that the server spent on it */
            uint64_t threshold;     /* K that was reached, or not when is_forced */
            bool is_forced;         /* nobody could go on otherwise */
        } update;
        struct {
            double loss;       /* mean over the test data */
            double accuracy;   /* 0 to 1; NaN where the model has none */
            double epochs;     /* samples received / size of the training set */
            uint64_t received; /* gradients so far */
            uint64_t checksum; /* CRC-32 of the parameters and statistics evaluated; 0: there are none */
        } evaluation;
        struct {
            uint64_t received;
        } checkpoint;
        struct {
            uint64_t read;        /* version that the gradient was computed at */
            double spent_seconds; /* on it, from its start */
            double queue_seconds; /* from giving up to the verdict */
            bool is_cancelled;    /* the policy had no more use for it; else the worker's patience ended */
        } abandoned;
        struct {
            double noise, signal, agreement;       /* struct hysgd_estimates; NaN: not known yet */
            double receive_seconds, apply_seconds; /* likewise */
            double arrivals_per_second;            /* likewise */
            double gain;                           /* of the update */
            uint64_t threshold;                    /* K at the update */
            double cutoff;                         /* staleness from which on gradients are dropped; NaN: none */
        } estimate;
        struct {
            uint64_t gradients;
            double service_seconds; /* that the server spent on it */
        } fold;
        struct {
            uint64_t received; /* gradients in the state gone back to */
            uint64_t batches;  /* behind them */
            uint64_t undone;   /* gradients received since, as far as is known */
            uint64_t kept;     /* events of this log that led to that state, the first ones; those between them and
                                  this one are undone. EVENT_NOT_HERE: it is of before this log */
            int32_t rank;      /* lost lately */
        } restored;
        struct {
            int32_t rank;
            double offset_seconds; /* the coordinator's clock less that of the rank */
            double error_seconds;  /* at most; 0 of the coordinator itself */
        } clock;
        struct {
            uint64_t received;
        } copied;
    };
};

/* What is fixed for a run; given to every sink before the first event. Strings are borrowed for the length of the
 * run. */
struct event_run {
    const char *title;                   /* short: the policy with the options that were set */
    const char *const (*description)[2]; /* [description_count] resolved options of the run: key, value */
    int description_count;
    const char *runtime; /* "virtual", "threads" */
    int workers;
    uint64_t spare;       /* the last so many of them are not there at the beginning */
    uint64_t batch;       /* samples in a batch */
    uint64_t train_count; /* samples in the training set */
    uint64_t parameter_count;
    double limit_epochs, limit_seconds;      /* of the run; 0: none */
    uint64_t limit_updates, limit_gradients; /* 0: none */
    double target_accuracy, target_loss;     /* 0: none */
    uint64_t first_received;                 /* of a resumed run: the gradients before it began here; else 0 */
    uint64_t first_batches;                  /* likewise, the batches behind them */
    uint64_t first_version;                  /* likewise, the updates */
    double first_seconds;                    /* likewise, where the run's clock stood */
    uint64_t first_event; /* events of the log that sinks begun later are not given; not recorded */
    const char *program;  /* version of the program and of the kernels that it computes with */
    uint64_t train_checksum, test_checksum; /* of the data, see train/identity.h; 0: not looked at */
    uint64_t start_checksum;   /* of the parameters and statistics at the beginning; 0: not looked at */
    const char *loss_name;     /* what the losses are, as "RMSE"; NULL or "": the model's loss */
    const char *accuracy_name; /* what the accuracies are, as "AUC"; NULL or "": the share of right classes */
};

/* What views call the losses and the accuracies of the run. */
static inline const char *event_loss_name(const struct event_run *run) {
    return run->loss_name != NULL && run->loss_name[0] != '\0' ? run->loss_name : "loss";
}

static inline const char *event_accuracy_name(const struct event_run *run) {
    return run->accuracy_name != NULL && run->accuracy_name[0] != '\0' ? run->accuracy_name : "accuracy";
}

/* The share of one worker or one class, 0 to 1; NaN: not known. */
struct event_share {
    double data;    /* in the samples of the training set */
    double applied; /* in the samples of applied gradients, each counted with the weight of its gradient */
};

/* Bytes of gradients and parameters between a worker and the servers; where they share memory, those that would
 * travel. */
struct event_traffic {
    uint64_t sent;     /* of the gradients received from it, as they are encoded */
    uint64_t received; /* of the versions of the parameters that it was sent, each once */
};

/* The account of one worker. received = applied + dropped + held; what was abandoned was begun and never received,
 * and what was undone, because the run went back, is in no other number. */
struct event_account {
    uint64_t received, applied, dropped, held;
    uint64_t batches; /* behind the gradients received: more than those where a worker takes local steps */
    double compute_seconds, transit_seconds, waiting_seconds;
    uint64_t most_staleness;
    double staleness_sum; /* over the applied gradients */
    uint64_t abandoned;
    double abandoned_seconds; /* spent on the abandoned gradients */
    double data_seconds;      /* of compute_seconds, until it had its samples; 0 where that is not measured */
    double caused_seconds;    /* of the other workers' waiting, for this one; see attribution.h */
    uint64_t delays;          /* updates that others waited for it to complete */
    uint64_t undone;          /* gradients received and then undone, as far as is known */
    struct event_share share;
    struct event_traffic traffic;
};

/* The end of a run. */
struct event_summary {
    const char *reason; /* "epochs", "deadline", "target", "interrupted", "diverged: ..." */
    double seconds;
    uint64_t updates, forced_updates, unfinished;
    uint64_t returns, undone; /* times that the run went back after a loss; gradients undone, as far as is known */
    double server_seconds;    /* in which the server was busy */
    double server_waiting_seconds; /* of the workers' waiting, for the server and not for each other */
    double open_waiting_seconds;   /* of the workers' waiting, not over at the end */
    double train_loss, test_loss, test_accuracy, target_seconds; /* NaN where there is none */
    uint64_t checksum; /* CRC-32 of the parameters and statistics at the end; 0: there are none */
    const struct event_account *accounts; /* [workers] */
    int workers;
    const struct event_share *classes; /* [class_count] */
    int class_count;                   /* 0: not known, or the data have no labels */
};

#endif
