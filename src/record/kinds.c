/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of what is recorded: see kinds.h. Names are those of logs of any form; what exists already keeps its
 * name and its meaning, for there are logs that have it. */
#include "record/kinds.h"

#define COUNT RECORD_COUNT
#define INT   RECORD_INT
#define FLAG  RECORD_FLAG
#define REAL  RECORD_REAL
#define TEXT  RECORD_TEXT

#define AT(member) offsetof(struct event, member)

/* clang-format off */
static const struct record_field event_fields[] = {
    {"t", REAL, AT(seconds), "s", "when, on the run's clock"},
    {"worker", INT, AT(worker), NULL, "whom it concerns, from 0; none: nobody in particular"},
    {"version", COUNT, AT(version), "updates",
     "start: that was read; arrival: at the verdict; update: after it; else the present one"},
    {0},
};

static const struct record_field start_fields[] = {
    {"draw", COUNT, AT(start.draw), NULL, "the worker's gradients before this one"},
    {0},
};

static const struct record_field arrival_fields[] = {
    {"read", COUNT, AT(arrival.read), "updates", "the version that it was computed at"},
    {"staleness", RECORD_STALENESS, 0, "updates", "version - read"},
    {"weight", REAL, AT(arrival.weight), NULL, "that it counts with; 0: dropped"},
    {"batches", COUNT, AT(arrival.batches), NULL, "behind it: 1, or the local steps"},
    {"loss", REAL, AT(arrival.loss), NULL, "mean over its batches"},
    {"compute_seconds", REAL, AT(arrival.compute_seconds), "s", "computing it"},
    {"transit_seconds", REAL, AT(arrival.transit_seconds), "s", "on the way"},
    {"queue_seconds", REAL, AT(arrival.queue_seconds), "s", "at the server before the verdict"},
    {"data_seconds", REAL, AT(arrival.data_seconds), "s", "of compute_seconds, until it had its samples"},
    {"pull_seconds", REAL, AT(arrival.pull_seconds), "s",
     "of transit_seconds, until the worker had the parameters; none: not known"},
    {"push_seconds", REAL, AT(arrival.push_seconds), "s",
     "of transit_seconds, until all servers had the gradient; the rest: until that was known"},
    {"threshold", COUNT, AT(arrival.threshold), "gradients", "that make an update, at the verdict"},
    {"held", COUNT, AT(arrival.held), "gradients", "held after the verdict, this one included, before any update"},
    {0},
};

static const struct record_field update_fields[] = {
    {"gradients", COUNT, AT(update.gradients), NULL, "applied by it"},
    {"weight", REAL, AT(update.weight), NULL, "their total weight"},
    {"rate", REAL, AT(update.rate), NULL, "the learning rate used"},
    {"service_seconds", REAL, AT(update.service_seconds), "s", "that the server spent on it"},
    {"threshold", COUNT, AT(update.threshold), "gradients", "that was reached, or not where forced"},
    {"forced", FLAG, AT(update.is_forced), NULL, "nobody could have gone on otherwise"},
    {0},
};

static const struct record_field evaluation_fields[] = {
    {"loss", REAL, AT(evaluation.loss), NULL, "mean over the test data"},
    {"accuracy", REAL, AT(evaluation.accuracy), NULL, "0 to 1; none where the model has none"},
    {"epochs", REAL, AT(evaluation.epochs), "epochs", "samples received / size of the training set"},
    {"received", COUNT, AT(evaluation.received), "gradients", "so far"},
    {"checksum", COUNT, AT(evaluation.checksum), NULL,
     "CRC-32 of the parameters and statistics; 0: there are none"},
    {0},
};

static const struct record_field checkpoint_fields[] = {
    {"received", COUNT, AT(checkpoint.received), "gradients", "so far"},
    {0},
};

static const struct record_field abandoned_fields[] = {
    {"read", COUNT, AT(abandoned.read), "updates", "the version that it was computed at"},
    {"spent_seconds", REAL, AT(abandoned.spent_seconds), "s", "on it, from its start"},
    {"queue_seconds", REAL, AT(abandoned.queue_seconds), "s", "from giving up to the verdict"},
    {"cancelled", FLAG, AT(abandoned.is_cancelled), NULL,
     "the policy had no more use for it; else the worker's patience ended"},
    {0},
};

static const struct record_field estimate_fields[] = {
    {"noise", REAL, AT(estimate.noise), NULL, "E||g - E g||^2 of the gradient g of a batch"},
    {"signal", REAL, AT(estimate.signal), NULL, "||E g||^2"},
    {"agreement", REAL, AT(estimate.agreement), NULL, "<g, h> of gradients h that have seen the steps that g led to"},
    {"receive_seconds", REAL, AT(estimate.receive_seconds), "s", "that the server spends on a gradient"},
    {"apply_seconds", REAL, AT(estimate.apply_seconds), "s", "that the server spends on an update"},
    {"arrival_rate", REAL, AT(estimate.arrivals_per_second), "gradients/s", "if no worker had to wait"},
    {"gain", REAL, AT(estimate.gain), NULL, "what the policy multiplied the learning rate with"},
    {"threshold", COUNT, AT(estimate.threshold), "gradients", "that make an update"},
    {"cutoff", REAL, AT(estimate.cutoff), "updates", "the staleness from which on gradients are dropped"},
    {0},
};

static const struct record_field fold_fields[] = {
    {"gradients", COUNT, AT(fold.gradients), NULL, "added"},
    {"service_seconds", REAL, AT(fold.service_seconds), "s", "that the server spent on it"},
    {0},
};

static const struct record_field restored_fields[] = {
    {"received", COUNT, AT(restored.received), "gradients", "in the state gone back to"},
    {"batches", COUNT, AT(restored.batches), NULL, "behind them"},
    {"undone", COUNT, AT(restored.undone), "gradients", "received since then, as far as is known"},
    {"rank", INT, AT(restored.rank), NULL, "that was lost"},
    {"kept", COUNT, AT(restored.kept), "events",
     "of this log, the first ones, which led to that state: those between them and this one are undone; 2^64 - 1: the state is of before "
     "this log"},
    {0},
};

static const struct record_field copied_fields[] = {
    {"received", COUNT, AT(copied.received), "gradients", "so far"},
    {0},
};

static const struct record_field clock_fields[] = {
    {"rank", INT, AT(clock.rank), NULL, "whose clock it is"},
    {"offset_seconds", REAL, AT(clock.offset_seconds), "s", "that it is behind the coordinator's"},
    {"error_seconds", REAL, AT(clock.error_seconds), "s", "that it may be off at most, by the time that asking took"},
    {0},
};

static const struct record_field no_fields[] = {{0}};

const struct record_kind record_event = {"event", "what every event begins with", event_fields, false, false};

const struct record_kind record_events[] = {
    [EVENT_START] = {"start", "a worker reads a version and begins a gradient", start_fields, true, false},
    [EVENT_ARRIVAL] = {"arrival", "a gradient reached the server and has its verdict", arrival_fields, true, false},
    [EVENT_UPDATE] = {"update", "held gradients were applied", update_fields, false, false},
    [EVENT_EVALUATION] = {"evaluation", "the parameters were evaluated; of the moment that it began",
                          evaluation_fields, false, true},
    [EVENT_CHECKPOINT] = {"checkpoint", "the state was saved; of the moment that it was taken", checkpoint_fields,
                          false, true},
    [EVENT_LOST] = {"lost", "a worker left for good", no_fields, true, false},
    [EVENT_JOINED] = {"joined", "a worker joined, or joined again", no_fields, true, false},
    [EVENT_ABANDONED] = {"abandoned", "a worker gave up its gradient, which never arrives", abandoned_fields, true,
                         false},
    [EVENT_ESTIMATE] = {"estimate", "what the policy knows of the gradients and of the server", estimate_fields,
                        false, false},
    [EVENT_FOLD] = {"fold", "gradients were added to the server's sum; where the policy sees how long that takes", fold_fields, false,
                    false},
    [EVENT_RESTORED] = {"restored", "a rank was lost, and the run went back to an earlier state", restored_fields,
                        false, false},
    [EVENT_CLOCK] = {"clock", "the clock of a rank was compared with the coordinator's; times in the log are the latter's",
                     clock_fields, false, false},
    [EVENT_COPIED] = {"copy", "a copy of the state was begun in the ranks' memory, to which the run may go back", copied_fields, false,
                      false},
};
const size_t record_event_count = sizeof record_events / sizeof record_events[0];

#undef AT
#define AT(member) offsetof(struct event_run, member)

static const struct record_field run_fields[] = {
    {"title", TEXT, AT(title), NULL, "the policy with the options that were set"},
    {"runtime", TEXT, AT(runtime), NULL, "where the workers live"},
    {"workers", INT, AT(workers), NULL, "that take part at the beginning, and places for more"},
    {"batch", COUNT, AT(batch), "samples", "in a batch"},
    {"train_count", COUNT, AT(train_count), "samples", "in the training set"},
    {"parameter_count", COUNT, AT(parameter_count), NULL, "that the optimizer changes"},
    {"limit_epochs", RECORD_BOUND, AT(limit_epochs), "epochs", "of the run"},
    {"limit_seconds", RECORD_BOUND, AT(limit_seconds), "s", "of the run"},
    {"limit_updates", RECORD_LIMIT, AT(limit_updates), "updates", "of the run"},
    {"limit_gradients", RECORD_LIMIT, AT(limit_gradients), "gradients", "of the run"},
    {"target_accuracy", RECORD_BOUND, AT(target_accuracy), NULL, "that ends the run"},
    {"target_loss", RECORD_BOUND, AT(target_loss), NULL, "that ends the run"},
    {"first_received", COUNT, AT(first_received), "gradients", "before a resumed run began here"},
    {"first_batches", COUNT, AT(first_batches), NULL, "behind them"},
    {"first_version", COUNT, AT(first_version), "updates", "before a resumed run began here"},
    {"first_seconds", REAL, AT(first_seconds), "s", "where a resumed run's clock stood"},
    {"program", TEXT, AT(program), NULL, "with the version of the kernels that it computes with"},
    {"train_checksum", COUNT, AT(train_checksum), NULL, "CRC-32 of samples of the training data"},
    {"test_checksum", COUNT, AT(test_checksum), NULL, "CRC-32 of samples of the test data"},
    {"start_checksum", COUNT, AT(start_checksum), NULL,
     "CRC-32 of the parameters and statistics at the beginning; 0: there are none"},
    {"loss_name", TEXT, AT(loss_name), NULL, "what the losses are, as RMSE; none: the model's loss"},
    {"accuracy_name", TEXT, AT(accuracy_name), NULL, "what the accuracies are; none: the share of right classes"},
    {"spare", COUNT, AT(spare), NULL, "of workers, places of those who are not there at the beginning, the last ones"},
    {0},
};

const struct record_kind record_run = {"run", "what is fixed for the run; comes first", run_fields, false, false};

static const struct record_field option_fields[] = {
    {"key", TEXT, 0, NULL, "of an option of the run, as on the command line"},
    {"value", TEXT, sizeof(const char *), NULL, "as resolved, defaults included"},
    {0},
};

const struct record_kind record_option = {"option", "an option of the run; they follow the run", option_fields,
                                          false, false};

#undef AT
#define AT(member) offsetof(struct event_account, member)

static const struct record_field account_fields[] = {
    {"received", COUNT, AT(received), "gradients", "of the worker"},
    {"applied", COUNT, AT(applied), "gradients", "of them, part of an update"},
    {"dropped", COUNT, AT(dropped), "gradients", "of them, refused, or held when the run ended"},
    {"held", COUNT, AT(held), "gradients", "of them, neither"},
    {"batches", COUNT, AT(batches), NULL, "behind those received"},
    {"compute_seconds", REAL, AT(compute_seconds), "s", "computing"},
    {"transit_seconds", REAL, AT(transit_seconds), "s", "with gradients on the way"},
    {"waiting_seconds", REAL, AT(waiting_seconds), "s", "waiting"},
    {"most_staleness", COUNT, AT(most_staleness), "updates", "of its applied gradients"},
    {"staleness_sum", REAL, AT(staleness_sum), "updates", "over its applied gradients"},
    {"abandoned", COUNT, AT(abandoned), "gradients", "begun, given up and never received"},
    {"abandoned_seconds", REAL, AT(abandoned_seconds), "s", "spent on those"},
    {"data_share", REAL, AT(share.data), NULL, "of the training samples, 0 to 1"},
    {"applied_share", REAL, AT(share.applied), NULL, "of the samples of applied gradients, by weight"},
    {"data_seconds", REAL, AT(data_seconds), "s", "of compute_seconds, until it had its samples"},
    {"caused_seconds", REAL, AT(caused_seconds), "s", "of the other workers' waiting, for this one"},
    {"delays", COUNT, AT(delays), "updates", "that others waited for it to complete"},
    {"sent_bytes", COUNT, AT(traffic.sent), "B", "of its gradients, as encoded for the wire"},
    {"received_bytes", COUNT, AT(traffic.received), "B", "of the parameters that it was sent"},
    {"undone", COUNT, AT(undone), "gradients", "received, and undone when the run went back; in no other number"},
    {0},
};

const struct record_kind record_account = {"account", "of a worker, in their order; at the end", account_fields,
                                           false, false};

#undef AT
#define AT(member) offsetof(struct event_share, member)

static const struct record_field class_fields[] = {
    {"data_share", REAL, AT(data), NULL, "of the training samples, 0 to 1"},
    {"applied_share", REAL, AT(applied), NULL, "of the samples of applied gradients, by weight"},
    {0},
};

const struct record_kind record_class = {"class", "of the data, in their order; at the end", class_fields, false,
                                         false};

#undef AT
#define AT(member) offsetof(struct event_summary, member)

static const struct record_field end_fields[] = {
    {"t", REAL, AT(seconds), "s", "the run's clock at its end"},
    {"reason", TEXT, AT(reason), NULL, "why it ended"},
    {"updates", COUNT, AT(updates), NULL, "applied"},
    {"forced_updates", COUNT, AT(forced_updates), "updates", "of them, forced"},
    {"unfinished", COUNT, AT(unfinished), "gradients", "begun and never delivered"},
    {"server_seconds", REAL, AT(server_seconds), "s", "in which the server was busy"},
    {"server_waiting_seconds", REAL, AT(server_waiting_seconds), "s", "of the workers' waiting, for the server"},
    {"open_waiting_seconds", REAL, AT(open_waiting_seconds), "s", "of the workers' waiting, not over at the end"},
    {"train_loss", REAL, AT(train_loss), NULL, "mean over the batches since the evaluation before the last"},
    {"test_loss", REAL, AT(test_loss), NULL, "at the latest evaluation"},
    {"test_accuracy", REAL, AT(test_accuracy), NULL, "at the latest evaluation, 0 to 1"},
    {"target_seconds", REAL, AT(target_seconds), "s", "when the target was first seen reached"},
    {"checksum", COUNT, AT(checksum), NULL, "CRC-32 of the parameters and statistics; 0: there are none"},
    {"returns", COUNT, AT(returns), NULL, "times that the run went back after a loss"},
    {"undone", COUNT, AT(undone), "gradients", "received, and undone by that"},
    {0},
};
/* clang-format on */

const struct record_kind record_end = {"end", "the end of the run; comes last", end_fields, false, false};
