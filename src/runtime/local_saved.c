/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint keeps of the local steps: each worker's pace, and the vectors that live from one round to the
 * next, with what a round under way has made of them. Nothing where local steps are off. */
#include <float.h>
#include <stdio.h>

#include "base/memory.h"
#include "runtime/local.h"
#include "runtime/snapshot.h"

#define TABLE "state/local"

/* Columns of the table, a row for each worker. */
enum { HAS_OWN, COMPUTE_SECONDS, TRANSIT_SECONDS, COLUMNS };

static bool is_in_flight(const struct training *training, const struct snapshot_flight *flights, int index) {
    return flights && training->engine.workers[index].activity == ENGINE_COMPUTING &&
           snapshot_has_gradient(&flights[index]);
}

/* Before its first delivery nothing that lives on has changed. */
static bool has_delivered(const struct training *training, int index) {
    return training->setup->computes_gradients && training->engine.workers[index].received_batches > 0;
}

static void name_vector(const struct training *training, int index, int vector, bool is_working, char *name) {
    const struct optimizer_ops *optimizer = optimizer_ops(training->setup->local_optimizer);
    snprintf(name, LOCAL_NAME_SIZE, "state/local/%d/%.18s%s", index,
             vector < optimizer->states ? optimizer->state_names[vector] : "parameters", is_working ? "/next" : "");
}

static void take_vectors(const struct training *training, int index, bool is_working, struct local_image *image) {
    for (int i = 0; i < training->local.kept; i++) {
        const struct local_vector *vector = &training->local.workers[index].kept[i];
        char *name = image->names[image->count];
        bool is_here = training_has_vectors(training);
        size_t count = training->server.count;
        name_vector(training, index, i, is_working, name);
        image->places[image->count] =
            (struct snapshot_place){.vector = SNAPSHOT_OF_WORKER, .index = index, .part = i, .end = count};
        image->tensors[image->count++] = (struct safetensors_tensor){.name = name,
                                                                     .type = SAFETENSORS_F32,
                                                                     .rank = 1,
                                                                     .dims = {count},
                                                                     .data = !is_here     ? NULL
                                                                             : is_working ? vector->working
                                                                                          : vector->settled};
    }
}

static void fill_row(const struct local *local, int index, double *row) {
    row[HAS_OWN] = local->workers[index].has_own;
    row[COMPUTE_SECONDS] = local->paces[index].compute_seconds;
    row[TRANSIT_SECONDS] = local->paces[index].transit_seconds;
}

enum hysgd_status local_take(const struct training *training, const struct snapshot_flight *flights,
                             struct local_image *image) {
    size_t workers = (size_t)training->setup->workers;
    size_t most = 2 * workers * (size_t)training->local.kept + 1;
    *image = (struct local_image){0};
    if (!training->local.ops)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(most, sizeof *image->tensors, &image->tensors));
    HYSGD_TRY(memory_alloc(most, sizeof *image->places, &image->places));
    HYSGD_TRY(memory_alloc(most, sizeof *image->names, &image->names));
    HYSGD_TRY(memory_alloc(workers * COLUMNS, sizeof *image->table, &image->table));
    for (int i = 0; i < training->setup->workers; i++) {
        fill_row(&training->local, i, image->table + (size_t)i * COLUMNS);
        if (has_delivered(training, i))
            take_vectors(training, i, false, image);
        if (is_in_flight(training, flights, i))
            take_vectors(training, i, true, image);
    }
    image->tensors[image->count++] = (struct safetensors_tensor){
        .name = TABLE, .type = SAFETENSORS_F64, .rank = 2, .dims = {workers, COLUMNS}, .data = image->table};
    return HYSGD_OK;
}

void local_discard(struct local_image *image) {
    memory_free(image->tensors);
    memory_free(image->places);
    memory_free(image->names);
    memory_free(image->table);
}

static bool is_amount(double value) {
    return value >= 0 && value <= DBL_MAX;
}

static bool take_row(struct local *local, int index, const double *row) {
    if (!(row[HAS_OWN] == 0 || (row[HAS_OWN] == 1 && local->is_elastic)) || !is_amount(row[COMPUTE_SECONDS]) ||
        !is_amount(row[TRANSIT_SECONDS]))
        return false;
    local->workers[index].has_own = row[HAS_OWN] > 0;
    local->paces[index] = (struct local_pace){row[COMPUTE_SECONDS], row[TRANSIT_SECONDS]};
    return true;
}

static bool takes_so_many(const struct training *training, uint64_t batches) {
    const struct local *local = &training->local;
    return batches >= 1 &&
           batches <= (local->ops ? (uint64_t)((const struct local_common *)local->self)->steps : 1);
}

enum hysgd_status local_read_table(struct training *training, const struct safetensors_file *file,
                                   const char *path) {
    size_t workers = (size_t)training->setup->workers;
    double *table;
    for (size_t i = 0; i < workers; i++)
        if (!takes_so_many(training, training->engine.workers[i].batches))
            return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: worker %zu takes %llu local steps",
                              path, i, (unsigned long long)training->engine.workers[i].batches);
    if (!training->local.ops)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(workers * COLUMNS, sizeof *table, &table));
    enum hysgd_status status = safetensors_read(file, TABLE, SAFETENSORS_F64, workers * COLUMNS, table);
    for (size_t i = 0; status == HYSGD_OK && i < workers; i++)
        if (!take_row(&training->local, (int)i, table + i * COLUMNS))
            status = hysgd_fail(
                HYSGD_INPUT, "%s: the saved state is damaged: a number of the local steps is out of range", path);
    memory_free(table);
    return status;
}

static enum hysgd_status read_vectors(struct training *training, const struct safetensors_file *file, int index,
                                      bool is_working) {
    char name[LOCAL_NAME_SIZE];
    HYSGD_TRY(local_open(training, index));
    for (int i = 0; i < training->local.kept; i++) {
        const struct local_vector *vector = &training->local.workers[index].kept[i];
        name_vector(training, index, i, is_working, name);
        HYSGD_TRY(safetensors_read(file, name, SAFETENSORS_F32, training->server.count,
                                   is_working ? vector->working : vector->settled));
    }
    return HYSGD_OK;
}

enum hysgd_status local_read_vectors(struct training *training, const struct safetensors_file *file) {
    const struct snapshot *snapshot = training->resumed;
    const struct snapshot_flight *flights = snapshot->has_flights ? snapshot->flights : NULL;
    for (int i = 0; training->local.ops && i < training->setup->workers; i++) {
        if (!training_computes(training, i))
            continue;
        if (has_delivered(training, i))
            HYSGD_TRY(read_vectors(training, file, i, false));
        if (is_in_flight(training, flights, i))
            HYSGD_TRY(read_vectors(training, file, i, true));
    }
    return HYSGD_OK;
}
