/* SPDX-License-Identifier: Apache-2.0 */
/* What an account was at the places of a log to which its run may go back: at its beginning, its latest copies and
 * its latest checkpoints. */
#ifndef HYSGD_RECORD_TALLY_MARKS_H
#define HYSGD_RECORD_TALLY_MARKS_H

#include "record/tally.h"

/* Zeroed: there are none. */
struct tally_marks; /* opaque */

/* For the accounts of this run. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status tally_marks_alloc(const struct event_run *run, struct tally_marks **marks_out);
void tally_marks_free(struct tally_marks *marks);

/* Keeps what `tally` is before its latest event, a copy or a checkpoint, which changes nothing of it. */
void tally_marks_set(struct tally_marks *marks, const struct tally *tally, bool is_copy);

/* Goes back to where the first `events` events had led, but for what accounts have as undone; false: it is not
 * known any more. */
bool tally_marks_go_back(const struct tally_marks *marks, uint64_t events, struct tally *tally);

#endif
