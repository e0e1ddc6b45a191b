/* SPDX-License-Identifier: Apache-2.0 */
/* Adds up the accounts of a run's workers. */
#include "train/result.h"

#include "record/bias.h"
#include "record/straggler.h"
#include "train/json.h"

void result_fill(const struct event_summary *summary, struct hysgd_result *result_out) {
    struct hysgd_result *result = result_out;
    double staleness = 0, waiting = 0, total = 0;
    *result = (struct hysgd_result){.seconds = summary->seconds,
                                    .updates = summary->updates,
                                    .undone = summary->undone,
                                    .train_loss = summary->train_loss,
                                    .test_loss = summary->test_loss,
                                    .test_accuracy = summary->test_accuracy,
                                    .target_seconds = summary->target_seconds};
    result->worker_bias = bias_of_workers(summary).distance;
    result->class_bias = bias_of_classes(summary).distance;
    struct straggler straggler = straggler_find(summary);
    result->straggler = straggler.worker;
    result->straggler_share = straggler.share;
    for (int i = 0; i < summary->workers; i++) {
        const struct event_account *account = &summary->accounts[i];
        result->received += account->received;
        result->applied += account->applied;
        result->dropped += account->dropped + account->held;
        result->abandoned += account->abandoned;
        result->sent_bytes += account->traffic.sent;
        result->received_bytes += account->traffic.received;
        if (account->most_staleness > result->most_staleness)
            result->most_staleness = account->most_staleness;
        staleness += account->staleness_sum;
        waiting += account->waiting_seconds;
        total += account->compute_seconds + account->transit_seconds + account->waiting_seconds +
                 account->abandoned_seconds;
    }
    result->mean_staleness = result->applied > 0 ? staleness / (double)result->applied : 0;
    result->waiting_share = total > 0 ? waiting / total : 0;
    result->server_share = summary->seconds > 0 ? summary->server_seconds / summary->seconds : 0;
}

enum hysgd_status result_print_json(const struct event_summary *summary, FILE *out) {
    struct hysgd_result result;
    result_fill(summary, &result);
    json_t *json =
        json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "reason", summary->reason,
                  "seconds", json_number(result.seconds), "received", (json_int_t)result.received, "applied",
                  (json_int_t)result.applied, "dropped", (json_int_t)result.dropped, "unfinished",
                  (json_int_t)summary->unfinished, "abandoned", (json_int_t)result.abandoned, "undone",
                  (json_int_t)result.undone, "sent_bytes", (json_int_t)result.sent_bytes, "received_bytes",
                  (json_int_t)result.received_bytes, "updates", (json_int_t)result.updates, "most_staleness",
                  (json_int_t)result.most_staleness, "straggler", result.straggler);
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"mean_staleness", result.mean_staleness},
                   {"waiting_share", result.waiting_share},
                   {"server_share", result.server_share},
                   {"train_loss", result.train_loss},
                   {"test_loss", result.test_loss},
                   {"test_accuracy", result.test_accuracy},
                   {"worker_bias", result.worker_bias},
                   {"class_bias", result.class_bias},
                   {"straggler_share", result.straggler_share},
                   {"target_seconds", result.target_seconds}};
    int failed = json == NULL;
    for (size_t i = 0; !failed && i < sizeof numbers / sizeof numbers[0]; i++)
        failed = json_object_set_new(json, numbers[i].key, json_number(numbers[i].value));
    return json_print(failed ? json_drop(json) : json, JSON_COMPACT, out);
}
