/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of one run meet before it begins, where a runtime spreads it over several: each tells the others
 * what it is about to run, or that it cannot. */
#ifndef HYSGD_TRAIN_MEETING_H
#define HYSGD_TRAIN_MEETING_H

#include "train/run.h"

/* `status`: of the run's preparation in this process, with the calling thread's message where it failed. HYSGD_OK
 * when all processes are prepared, and for the same run: program, words, data, and where it begins. Otherwise the
 * same status and message in all of them. Blocks until all have called, so a process that fails has to as well. */
HYSGD_MUST_CHECK enum hysgd_status meeting_compare(const struct run *run, enum hysgd_status status);

/* The same once more, without anything to compare: after what only one of them does. */
HYSGD_MUST_CHECK enum hysgd_status meeting_confirm(const struct plugin *runtime, enum hysgd_status status);

/* The same for a process that has failed so early that the runtime may not even be open (`runtime` empty): then
 * the words tell where the others are. Never HYSGD_OK. */
HYSGD_MUST_CHECK enum hysgd_status meeting_decline(const struct plugin *runtime, const struct description *words,
                                                   enum hysgd_status status);

/* Whether this is the process that reports for all of the run; also when the runtime is not open. */
bool meeting_is_first(const struct plugin *runtime, const struct description *words);

#endif
