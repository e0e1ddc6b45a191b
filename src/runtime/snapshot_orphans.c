/* SPDX-License-Identifier: Apache-2.0 */
/* The order of losses and joins in a checkpoint, from which the samples are dealt again: see snapshot_orphans.h. */
#include "runtime/snapshot_orphans.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "runtime/worker.h"
#include "runtime/worker_list.h"

/* A row of the table. */
enum { LOST_AS, LOSSES, FROM_DRAW };

void snapshot_store_orphans(const struct training *training, double *table) {
    const struct partition *partition = &training->partition;
    for (int i = 0; i < partition->workers; i++) {
        double *row = table + (size_t)i * SNAPSHOT_ORPHAN_FIELDS;
        row[LOST_AS] = 0; /* not at all, as far as samples go */
        row[LOSSES] = training->workers[i].taken.changes;
        row[FROM_DRAW] = (double)training->workers[i].taken.draw;
    }
    if (partition->join_count > 0)
        return; /* there is another table for that */
    for (int i = 0; i < partition->change_count; i++)
        table[(size_t)partition->changes[i].worker * SNAPSHOT_ORPHAN_FIELDS + LOST_AS] = i + 1;
}

void snapshot_store_changes(const struct training *training, double *table) {
    const struct partition *partition = &training->partition;
    for (int i = 0; i < partition->change_count; i++) {
        table[(size_t)i * SNAPSHOT_CHANGE_FIELDS] = partition->changes[i].worker;
        table[(size_t)i * SNAPSHOT_CHANGE_FIELDS + 1] = partition->changes[i].is_join;
    }
}

static bool is_count(double value, double most) {
    return value >= 0 && value <= most && value == floor(value);
}

/* The worker that was lost as number `number`; -1: none, or several. */
static int find_lost(const double *table, int workers, int number) {
    int found = -1;
    for (int i = 0; i < workers; i++)
        if (table[(size_t)i * SNAPSHOT_ORPHAN_FIELDS + LOST_AS] == number) {
            if (found >= 0)
                return -1;
            found = i;
        }
    return found;
}

static enum hysgd_status lose_again(struct training *training, const double *table, int losses, const char *path) {
    for (int i = 1; i <= losses; i++) {
        int worker = find_lost(table, training->partition.workers, i);
        if (worker < 0)
            return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: loss %d of %d is that of no worker",
                              path, i, losses);
        HYSGD_TRY(training_orphan(training, worker));
    }
    return HYSGD_OK;
}

static enum hysgd_status change_again(struct training *training, const double *table, int changes,
                                      const char *path) {
    struct partition *partition = &training->partition;
    for (int i = 0; i < changes; i++) {
        const double *row = table + (size_t)i * SNAPSHOT_CHANGE_FIELDS;
        if (!is_count(row[0], partition->workers - 1) || !is_count(row[1], 1))
            return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: change %d of %d is that of worker %g",
                              path, i + 1, changes, row[0]);
        HYSGD_TRY(row[1] > 0 ? training_adopt(training, (int)row[0]) : training_orphan(training, (int)row[0]));
        if (partition->change_count != i + 1)
            return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: change %d of %d changes nothing", path,
                              i + 1, changes);
    }
    return HYSGD_OK;
}

/* Where somebody has joined. */
static enum hysgd_status read_changes(struct training *training, const struct safetensors_file *file,
                                      const char *path) {
    const struct safetensors_tensor *tensor = safetensors_find(file, "state/changes");
    double *table;
    uint64_t rows = tensor && tensor->rank == 2 ? tensor->dims[0] : 0;
    if (!tensor)
        return HYSGD_OK;
    if (rows < 1 || rows > (uint64_t)training->partition.change_room)
        return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: expected 1 to %d changes of who takes part",
                          path, training->partition.change_room);
    HYSGD_TRY(memory_alloc(rows * SNAPSHOT_CHANGE_FIELDS, sizeof *table, &table));
    enum hysgd_status status =
        safetensors_read(file, "state/changes", SAFETENSORS_F64, rows * SNAPSHOT_CHANGE_FIELDS, table);
    if (status == HYSGD_OK)
        status = change_again(training, table, (int)rows, path);
    memory_free(table);
    return status;
}

static enum hysgd_status take_table(struct training *training, const double *table, const char *path) {
    int losses = 0, workers = training->partition.workers;
    for (int i = 0; i < workers; i++)
        losses += table[(size_t)i * SNAPSHOT_ORPHAN_FIELDS + LOST_AS] != 0;
    if (training->partition.change_count == 0)
        HYSGD_TRY(lose_again(training, table, losses, path));
    losses = training->partition.change_count;
    for (int i = 0; i < workers; i++) {
        const double *row = table + (size_t)i * SNAPSHOT_ORPHAN_FIELDS;
        const struct engine_worker *worker = &training->engine.workers[i];
        double draws = (double)(worker->received_batches + worker->abandoned_batches);
        if (!is_count(row[LOSSES], losses) || !is_count(row[FROM_DRAW], draws))
            return hysgd_fail(
                HYSGD_INPUT,
                "%s: the saved state is damaged: worker %d goes by %g of %d changes of who takes part "
                "from batch %g of %g on",
                path, i, row[LOSSES], losses, row[FROM_DRAW], draws);
        training->workers[i].taken = (struct worker_taken){(int)row[LOSSES], (uint64_t)row[FROM_DRAW]};
    }
    return HYSGD_OK;
}

/* As it is at the beginning of a run, whatever has been lost in this process meanwhile. */
static void forget(struct training *training) {
    partition_restore(&training->partition);
    for (int i = 0; i < training->partition.workers; i++) {
        training->workers[i].taken = (struct worker_taken){0};
        training->workers[i].sampler.pass = UINT64_MAX;
    }
    shares_deal(&training->shares, &training->partition);
    worker_weights_deal(training->setup->worker_weights, &training->partition, training->worker_weights);
}

/* Those on spare places have samples from when they join. */
static bool has_been_there(const struct training *training, int worker) {
    return training->partition.first[worker] < training->partition.first[worker + 1];
}

/* Where the option was not known, nobody took over anything. */
static bool must_have_table(const struct training *training, const struct safetensors_file *file) {
    const char *orphans = safetensors_metadata(file, "orphans");
    bool has_lost = false;
    for (int i = 0; i < training->engine.worker_count; i++)
        has_lost = has_lost || (training->engine.workers[i].activity == ENGINE_LOST && has_been_there(training, i));
    return has_lost && orphans && strcmp(orphans, "share") == 0;
}

enum hysgd_status snapshot_read_orphans(struct training *training, const struct safetensors_file *file,
                                        const char *path) {
    uint64_t count = (uint64_t)training->partition.workers * SNAPSHOT_ORPHAN_FIELDS;
    double *table;
    forget(training);
    if (!must_have_table(training, file) && !safetensors_find(file, "state/orphans"))
        return HYSGD_OK;
    HYSGD_TRY(read_changes(training, file, path));
    HYSGD_TRY(memory_alloc(count, sizeof *table, &table));
    enum hysgd_status status = safetensors_read(file, "state/orphans", SAFETENSORS_F64, count, table);
    if (status == HYSGD_OK)
        status = take_table(training, table, path);
    memory_free(table);
    return status;
}
