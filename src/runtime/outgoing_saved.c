/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint keeps of gradients on their way out: each worker's residual, and that which a gradient under
 * way will leave. Nothing where there is no feedback. */
#include <stdio.h>

#include "base/memory.h"
#include "linalg/vector.h"
#include "runtime/outgoing.h"
#include "runtime/snapshot.h"

static bool is_in_flight(const struct training *training, const struct snapshot_flight *flights, int index) {
    return flights && training->engine.workers[index].activity == ENGINE_COMPUTING &&
           snapshot_has_gradient(&flights[index]);
}

/* Before its first delivery it is zero. */
static bool has_delivered(const struct training *training, int index) {
    return training->engine.workers[index].received_batches > 0;
}

static void name_residual(int index, bool is_working, char name[OUTGOING_NAME_SIZE]) {
    snprintf(name, OUTGOING_NAME_SIZE, "state/residual/%d%s", index, is_working ? "/next" : "");
}

static void take_residual(const struct training *training, int index, bool is_working,
                          struct outgoing_image *image) {
    const struct outgoing_worker *worker = &training->outgoing.workers[index];
    char *name = image->names[image->count];
    size_t count = training->layout.parameter_count;
    name_residual(index, is_working, name);
    image->places[image->count] = (struct snapshot_place){
        .vector = SNAPSHOT_OF_WORKER, .index = index, .part = SNAPSHOT_RESIDUAL, .end = count};
    image->tensors[image->count++] = (struct safetensors_tensor){.name = name,
                                                                 .type = SAFETENSORS_F32,
                                                                 .rank = 1,
                                                                 .dims = {count},
                                                                 .data = !training_has_vectors(training) ? NULL
                                                                         : is_working ? worker->working
                                                                                      : worker->settled};
}

enum hysgd_status outgoing_take(const struct training *training, const struct snapshot_flight *flights,
                                struct outgoing_image *image) {
    size_t most = 2 * (size_t)training->setup->workers;
    *image = (struct outgoing_image){.count = 0};
    if (!training->outgoing.has_feedback)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(most, sizeof *image->tensors, &image->tensors));
    HYSGD_TRY(memory_alloc(most, sizeof *image->places, &image->places));
    HYSGD_TRY(memory_alloc(most, sizeof *image->names, &image->names));
    for (int i = 0; i < training->setup->workers; i++) {
        if (has_delivered(training, i))
            take_residual(training, i, false, image);
        if (is_in_flight(training, flights, i))
            take_residual(training, i, true, image);
    }
    return HYSGD_OK;
}

void outgoing_discard(struct outgoing_image *image) {
    memory_free(image->tensors);
    memory_free(image->places);
    memory_free(image->names);
}

static enum hysgd_status read_residual(struct training *training, const struct safetensors_file *file,
                                       const char *path, int index, bool is_working) {
    char name[OUTGOING_NAME_SIZE];
    size_t count = training->layout.parameter_count;
    HYSGD_TRY(outgoing_open(training, index));
    const struct outgoing_worker *worker = &training->outgoing.workers[index];
    float *vector = is_working ? worker->working : worker->settled;
    name_residual(index, is_working, name);
    HYSGD_TRY(safetensors_read(file, name, SAFETENSORS_F32, count, vector));
    if (!vector_is_finite(vector, count)) /* it would spoil every gradient of the worker */
        return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: the residual of worker %d is not finite",
                          path, index);
    return HYSGD_OK;
}

enum hysgd_status outgoing_read(struct training *training, const struct safetensors_file *file, const char *path) {
    const struct snapshot *snapshot = training->resumed;
    const struct snapshot_flight *flights = snapshot->has_flights ? snapshot->flights : NULL;
    size_t count = training->layout.parameter_count + training->layout.statistic_count;
    for (int i = 0; i < training->setup->workers; i++) {
        bool has_gradient = is_in_flight(training, flights, i) && training_has_vectors(training);
        if (!training_computes(training, i))
            continue;
        if (training->outgoing.has_feedback && has_delivered(training, i))
            HYSGD_TRY(read_residual(training, file, path, i, false));
        if (training->outgoing.has_feedback && has_gradient)
            HYSGD_TRY(read_residual(training, file, path, i, true));
        if (has_gradient)
            training->outgoing.workers[i].bytes =
                wire_size(&training->outgoing.format, 0, count, training->server.gradients[i]);
    }
    return HYSGD_OK;
}
