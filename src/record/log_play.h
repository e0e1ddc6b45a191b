/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a recorded log to the sinks of a recorder. */
#ifndef HYSGD_RECORD_LOG_PLAY_H
#define HYSGD_RECORD_LOG_PLAY_H

#include "record/log_reader.h"
#include "record/recorder.h"

/* The reason of the end that the sinks are told where the log was cut before it. */
#define LOG_PLAY_CUT "the log was cut"

/* Begins, drains and ends the recorder with what is left in the log; where the log was cut, with the account of
 * what it has. Events are counted up to a failure of the log or of a sink, which is returned. */
HYSGD_MUST_CHECK enum hysgd_status log_play(struct log_reader *reader, struct recorder *recorder,
                                            uint64_t *events_out);

#endif
