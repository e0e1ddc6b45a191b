/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluations of a run of ranks: the coordinator gathers the parameters as they are at one place of the stream of
 * orders, and its aside thread evaluates them. See ranks_coordinator.h. */
#include "runtime/ranks_coordinator.h"

static void slice_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct ranks_coordinator *coordinator = self;
    (void)bytes;
    coordinator->gathering -= !ranks_is_past(coordinator->ranks, completion);
}

/* The parameters as they are after all orders so far. */
enum hysgd_status coordinator_gather(struct ranks_coordinator *self) {
    struct ranks *ranks = self->ranks;
    self->gathering = 0;
    for (int i = 0; i < ranks->servers; i++) {
        const struct ranks_slice *slice = &ranks->slices[i];
        HYSGD_TRY(comm_receive(ranks->comm, ranks->server_ranks[i], ranks_tag(ranks, CHANNEL_EVALUATED, i),
                               self->vector + slice->first, (slice->end - slice->first) * sizeof(float),
                               slice_has_come, self));
        self->gathering++;
    }
    coordinator_begin_order(self)->is_evaluated = true;
    coordinator_send_order(self);
    return HYSGD_OK;
}

static enum hysgd_status evaluate_aside(void *argument) {
    struct ranks_coordinator *self = argument;
    return drive_evaluate(self->ranks->training, self->vector, &self->metrics);
}

enum hysgd_status coordinator_begin_evaluation(struct ranks_coordinator *self) {
    self->is_evaluating = true;
    self->evaluated_seconds = coordinator_moment(self);
    drive_begin_evaluation(self->ranks->training, self->evaluated_seconds);
    return coordinator_gather(self);
}

/* Goes on with what is under way: slices, then the evaluation itself. */
enum hysgd_status coordinator_step_evaluation(struct ranks_coordinator *self, bool *has_acted) {
    struct ranks *ranks = self->ranks;
    enum hysgd_status status;
    if (self->gathering == 0) {
        self->gathering = -1;
        *has_acted = true;
        if (self->is_evaluating)
            ranks_set_aside(ranks, evaluate_aside, self);
    } else if (self->is_evaluating && ranks_aside_is_done(ranks, &status)) {
        self->is_evaluating = false;
        *has_acted = true;
        HYSGD_TRY(status);
        drive_end_evaluation(ranks->training, &self->metrics, self->evaluated_seconds);
        coordinator_note_stop(self);
    }
    return HYSGD_OK;
}

bool coordinator_is_busy(const struct ranks_coordinator *self) {
    return self->is_evaluating || self->gathering >= 0 || coordinator_is_held(self);
}
