/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a run goes on in another process, after the one that kept it is lost: its log is gone on with where
 * it is whole, and what else is written is made again from it. */
#ifndef HYSGD_TRAIN_SUCCESSION_H
#define HYSGD_TRAIN_SUCCESSION_H

#include "record/tally.h"
#include "runtime/training.h"
#include "train/recording.h"

/* Who goes on. */
struct succession {
    const struct description *words; /* of the run */
    int rank, workers;
    const struct run_sink *sinks; /* [sink_count] not yet begun */
    size_t sink_count;
    struct event_account *accounts; /* [workers] whose `undone` the log may tell */
    uint64_t returns, undone;       /* that it tells; else 0 */
    char log[4096];                 /* where the log goes on, or another begins; "": nowhere */
};

/* Opens the recording for what comes after. Where the log of `record->place` cannot be gone on with, files of this
 * process begin beside those of the other, or none, and record->warning says so: a run is not ended by its record.
 * HYSGD_MEMORY. Safe to close when it fails. */
HYSGD_MUST_CHECK enum hysgd_status recording_succeed(struct recording *recording, struct succession *succession,
                                                     struct training_record *record);

#endif
