/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a checkpoint's tables: see snapshot_fields.h. */
#include "runtime/snapshot_fields.h"

#include <float.h>
#include <math.h>

#include "runtime/worker.h"

/* Of a worker, in the account of a policy's table. */
#define TABLE_FIELDS 6

static void visit_real(struct snapshot_row *row, double *field) {
    double *value = &row->values[row->at++];
    if (row->is_reading)
        *field = *value;
    else
        *value = *field;
}

/* Seconds, and sums of counts: finite and not negative. */
static void visit_amount(struct snapshot_row *row, double *field) {
    double value = row->values[row->at];
    if (row->is_reading && !(value >= 0 && value <= DBL_MAX))
        row->is_bad = true;
    else
        visit_real(row, field);
}

static void visit_count(struct snapshot_row *row, uint64_t *field, uint64_t most) {
    double *value = &row->values[row->at++];
    if (!row->is_reading)
        *value = (double)*field;
    else if (*value >= 0 && *value <= (double)most && *value == floor(*value))
        *field = (uint64_t)*value;
    else
        row->is_bad = true;
}

/* A field of another type, by way of a count. */
#define VISIT_SMALL(row, type, field, most)                                                                        \
    do {                                                                                                           \
        uint64_t count_of_field = (uint64_t)(field);                                                               \
        visit_count(row, &count_of_field, most);                                                                   \
        (field) = (type)count_of_field;                                                                            \
    } while (0)

void snapshot_visit_worker(struct training *training, int index, struct snapshot_row *row, uint64_t *rank) {
    struct engine_worker *worker = &training->engine.workers[index];
    struct event_account *account = &training->accounts[index];
    double weight = (double)worker->weight;
    double patience =
        isfinite(worker->patience) ? worker->patience : 0; /* 0 stands for INFINITY, which it cannot be */
    VISIT_SMALL(row, enum engine_activity, worker->activity, ENGINE_LOST);
    VISIT_SMALL(row, enum hysgd_release, worker->wait, HYSGD_AGAIN);
    VISIT_SMALL(row, bool, worker->is_in_buffer, 1);
    visit_count(row, &worker->read, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->held, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->applied, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->dropped, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->most_staleness, SNAPSHOT_MOST_COUNT);
    visit_count(row, &training->engine.clocks[index], SNAPSHOT_MOST_COUNT);
    visit_count(row, rank, SNAPSHOT_MOST_COUNT);
    visit_amount(row, &weight);
    visit_amount(row, &worker->staleness_sum);
    visit_amount(row, &worker->held_staleness);
    visit_amount(row, &account->compute_seconds);
    visit_amount(row, &account->transit_seconds);
    visit_amount(row, &account->waiting_seconds);
    visit_amount(row, &training->workers[index].delivered_seconds);
    visit_count(row, &worker->most_held_staleness, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->abandoned, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->batches, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->received_batches, SNAPSHOT_MOST_COUNT);
    visit_count(row, &worker->abandoned_batches, SNAPSHOT_MOST_COUNT);
    visit_amount(row, &patience);
    visit_amount(row, &account->abandoned_seconds);
    visit_count(row, &training->attribution.states[index].version, SNAPSHOT_MOST_COUNT);
    visit_amount(row, &account->data_seconds);
    visit_amount(row, &account->caused_seconds);
    visit_count(row, &account->delays, SNAPSHOT_MOST_COUNT);
    visit_count(row, &account->traffic.sent, SNAPSHOT_MOST_COUNT);
    visit_count(row, &account->traffic.received, SNAPSHOT_MOST_COUNT);
    visit_count(row, &training->workers[index].has_read, SNAPSHOT_MOST_COUNT);
    worker->patience = patience > 0 ? patience : (double)INFINITY;
    if (weight > (double)FLT_MAX)
        row->is_bad = true;
    else
        worker->weight = (float)weight;
}

/* What has been attributed, and the trigger of the present version: workers may be about to start from it. */
static void visit_attribution(struct snapshot_row *row, struct attribution *attribution, uint64_t version) {
    struct attribution_trigger *trigger = &attribution->triggers[version % attribution->trigger_count];
    uint64_t worker = (uint64_t)(trigger->worker + 1), has_delayed = trigger->has_delayed;
    visit_amount(row, &attribution->server_seconds);
    visit_count(row, &worker, (uint64_t)attribution->workers);
    visit_count(row, &has_delayed, 1);
    visit_amount(row, &trigger->delivered);
    if (row->is_reading)
        *trigger = (struct attribution_trigger){version, (int)worker - 1, trigger->delivered, has_delayed > 0};
}

void snapshot_visit_run(struct training *training, double *seconds, struct snapshot_row *row, uint64_t *has_flights,
                        double *server_free_at, double *next_order) {
    struct engine *engine = &training->engine;
    visit_count(row, &engine->progress.version, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->progress.received, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->applied, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->dropped, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->received_batches, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->applied_batches, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->held_batches, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->threshold, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->forced, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->lost, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->abandoned, SNAPSHOT_MOST_COUNT);
    visit_count(row, &engine->in_vain, ENGINE_MOST_IN_VAIN);
    visit_count(row, &training->setup->timing->received, SNAPSHOT_MOST_COUNT);
    visit_count(row, &training->setup->timing->applied, SNAPSHOT_MOST_COUNT);
    visit_count(row, &training->loss_count, SNAPSHOT_MOST_COUNT);
    visit_count(row, has_flights, 1);
    visit_amount(row, seconds);
    visit_amount(row, &engine->held_weight);
    visit_amount(row, &engine->held_divisor);
    visit_amount(row, &training->server_seconds);
    visit_attribution(row, &training->attribution, engine->progress.version);
    visit_real(row, &training->loss_sum);
    visit_real(row, &training->train_loss);
    visit_real(row, &training->test_loss);
    visit_real(row, &training->test_accuracy);
    visit_real(row, &training->target_seconds);
    visit_amount(row, server_free_at);
    visit_amount(row, next_order);
}

void snapshot_visit_table(struct engine_table *table, int workers, struct snapshot_row *row) {
    for (int i = 0; i < workers; i++)
        for (int parity = 0; parity < 2; parity++) {
            struct engine_row *of = &table->rows[i];
            visit_amount(row, &of->divisor[parity]);
            visit_amount(row, &of->weight[parity]);
            visit_count(row, &of->held[parity], SNAPSHOT_MOST_COUNT);
        }
    visit_count(row, &table->round, SNAPSHOT_MOST_COUNT);
    visit_count(row, &table->first, SNAPSHOT_MOST_COUNT);
    visit_count(row, &table->later_batches, SNAPSHOT_MOST_COUNT);
}

void snapshot_visit_place(struct snapshot_row *row, struct training_place *place) {
    visit_count(row, &place->log, SNAPSHOT_MOST_COUNT);
    visit_count(row, &place->events, SNAPSHOT_MOST_COUNT);
    visit_amount(row, &place->seconds);
}

size_t snapshot_table_size(int workers) {
    return (size_t)workers * TABLE_FIELDS + 3;
}
