/* SPDX-License-Identifier: Apache-2.0 */
/* The vectors in a checkpoint: see snapshot_vectors.h. */
#include "runtime/snapshot_vectors.h"

#include <stdio.h>

#include "base/memory.h"
#include "linalg/vector.h"
#include "runtime/worker.h"

enum hysgd_status snapshot_tensors_init(struct snapshot_tensors *list, const struct training *training,
                                        size_t others) {
    size_t workers = (size_t)training->setup->workers;
    size_t names =
        5 * workers + OPTIMIZER_MOST_STATES + 2; /* gradients, old versions, states of a correction, rows */
    size_t most = training->layout.tensor_count + names + 4 + others; /* and the sum, what is given, the probe's */
    list->server = training_has_vectors(training) ? &training->server : NULL;
    HYSGD_TRY(memory_alloc(most, sizeof *list->tensors, &list->tensors));
    HYSGD_TRY(memory_alloc(most, sizeof *list->places, &list->places));
    return memory_alloc(names, sizeof *list->names, &list->names);
}

void snapshot_tensors_fini(struct snapshot_tensors *list) {
    memory_free(list->tensors);
    memory_free(list->places);
    memory_free(list->names);
}

void snapshot_add(struct snapshot_tensors *list, const struct safetensors_tensor *tensor,
                  const struct snapshot_place *place) {
    list->tensors[list->count] = *tensor;
    list->places[list->count++] = *place;
}

float *snapshot_vector(const struct server *server, const struct snapshot_place *place) {
    const struct probe *probe = server->probe;
    switch (place->vector) {
    case SNAPSHOT_PARAMETERS:
        return server_vector(server);
    case SNAPSHOT_OPTIMIZER:
        return server->states[place->index];
    case SNAPSHOT_SUM:
        return server->sum;
    case SNAPSHOT_GRADIENT:
        return server->gradients[place->index];
    case SNAPSHOT_READ:
        return server->versions[server->reading[place->index]];
    case SNAPSHOT_OWN:
        return server->worker_states[place->index];
    case SNAPSHOT_ROW:
        return server->rows[place->part][place->index];
    case SNAPSHOT_GIVEN:
        return server->versions[server->given];
    case SNAPSHOT_SHARED:
        return server->shared_state;
    case SNAPSHOT_TOTAL:
        return server->state_total;
    case SNAPSHOT_PROBE:
        return probe->sums[place->part == 0 ? probe->present : !probe->present];
    case SNAPSHOT_NO_VECTOR:
    case SNAPSHOT_OF_WORKER:
        break;
    }
    return NULL;
}

static struct snapshot_place place_of(enum snapshot_vector vector, int index, int part) {
    return (struct snapshot_place){.vector = vector, .index = index, .part = part};
}

static void gather_vector(struct snapshot_tensors *list, const char *name, struct snapshot_place place,
                          size_t count) {
    const struct safetensors_tensor tensor = {.name = name,
                                              .type = SAFETENSORS_F32,
                                              .rank = 1,
                                              .dims = {count},
                                              .data = list->server ? snapshot_vector(list->server, &place) : NULL};
    place.end = count;
    snapshot_add(list, &tensor, &place);
}

static void gather_parameters(struct snapshot_tensors *list, const struct training *training) {
    const float *vector = list->server ? server_vector(list->server) : NULL;
    for (size_t i = 0; i < training->layout.tensor_count; i++) {
        const struct hysgd_tensor *tensor = &training->layout.tensors[i];
        struct safetensors_tensor out = {.name = tensor->name,
                                         .type = SAFETENSORS_F32,
                                         .rank = tensor->rank,
                                         .data = vector ? vector + tensor->first : NULL};
        struct snapshot_place place = place_of(SNAPSHOT_PARAMETERS, 0, 0);
        uint64_t elements = 1;
        for (int k = 0; k < tensor->rank; k++) {
            out.dims[k] = tensor->dims[k];
            elements *= tensor->dims[k];
        }
        place.first = tensor->first;
        place.end = tensor->first + elements;
        snapshot_add(list, &out, &place);
    }
}

static const char *make_name(struct snapshot_tensors *list, const char *prefix, const char *suffix) {
    char *name = list->names[list->name_count++];
    snprintf(name, sizeof list->names[0], "state/%s/%s", prefix, suffix);
    return name;
}

static bool is_in_flight(const struct training *training, int worker, const struct snapshot_flight *flights) {
    return flights && training->engine.workers[worker].activity == ENGINE_COMPUTING &&
           snapshot_has_gradient(&flights[worker]);
}

/* Whether what the worker has read is still needed and is not the present version: to correct its gradient, or
 * because it computes there again. */
static bool keeps_old_read(const struct training *training, int worker, const struct snapshot_flight *flights) {
    const struct engine_worker *of = &training->engine.workers[worker];
    return training->server.keeps_reads && of->read != training->engine.progress.version &&
           (of->is_in_buffer || (flights && of->activity == ENGINE_COMPUTING));
}

/* The worker before this one that has read the same old version; -1: none. */
static int same_old_read(const struct training *training, int worker, const struct snapshot_flight *flights) {
    for (int i = 0; i < worker; i++)
        if (keeps_old_read(training, i, flights) &&
            training->engine.workers[i].read == training->engine.workers[worker].read)
            return i;
    return -1;
}

static void gather_reads(struct snapshot_tensors *list, const struct training *training,
                         const struct snapshot_flight *flights) {
    char number[24];
    for (int i = 0; i < training->server.workers; i++) {
        if (!keeps_old_read(training, i, flights) || same_old_read(training, i, flights) >= 0)
            continue;
        snprintf(number, sizeof number, "%llu", (unsigned long long)training->engine.workers[i].read);
        gather_vector(list, make_name(list, "read", number), place_of(SNAPSHOT_READ, i, 0), training->server.count);
    }
}

/* Whether workers are given other parameters than the present ones: from the first update on. */
static bool gives_other(const struct training *training) {
    const struct correction_ops *correction = training->server.correction;
    return correction && correction->look_ahead && training->engine.progress.version > 0;
}

static void gather_table(struct snapshot_tensors *list, const struct training *training) {
    const struct engine_table *table = &training->engine.table;
    char suffix[31];
    for (int i = 0; table->rows && i < 2 * training->server.workers; i++) {
        int worker = i / 2, parity = i % 2;
        if (table->rows[worker].divisor[parity] <= 0)
            continue;
        snprintf(suffix, sizeof suffix, "%d/%d", parity, worker);
        gather_vector(list, make_name(list, "row", suffix), place_of(SNAPSHOT_ROW, worker, parity),
                      training->server.count);
    }
}

static void gather_correction(struct snapshot_tensors *list, const struct server *server) {
    const struct correction_ops *correction = server->correction;
    size_t count = server->parameter_count;
    char suffix[31];
    if (!correction)
        return;
    const char *shared = correction->shared_state ? correction->shared_state(server->correction_self) : NULL;
    if (shared)
        gather_vector(list, make_name(list, "correction", shared), place_of(SNAPSHOT_SHARED, 0, 0), count);
    const char *name = correction->worker_state;
    if (!name)
        return;
    gather_vector(list, make_name(list, "correction", name), place_of(SNAPSHOT_TOTAL, 0, 0), count);
    for (int i = 0; i < server->workers; i++) {
        snprintf(suffix, sizeof suffix, "%.18s/%d", name, i);
        gather_vector(list, make_name(list, "correction", suffix), place_of(SNAPSHOT_OWN, i, 0), count);
    }
}

static void gather_probe(struct snapshot_tensors *list, const struct training *training) {
    const struct estimator *estimator = &training->estimator;
    size_t count = training->server.parameter_count;
    if (estimator->has_probe && !estimator->is_empty)
        gather_vector(list, "state/probe/present", place_of(SNAPSHOT_PROBE, 0, 0), count);
    if (estimator->has_probe && estimator->has_before)
        gather_vector(list, "state/probe/before", place_of(SNAPSHOT_PROBE, 0, 1), count);
}

void snapshot_gather_vectors(struct snapshot_tensors *list, const struct training *training,
                             const struct snapshot_flight *flights) {
    const struct server *server = &training->server;
    gather_parameters(list, training);
    for (int i = 0; i < server->optimizer->states; i++)
        gather_vector(list, make_name(list, "optimizer", server->optimizer->state_names[i]),
                      place_of(SNAPSHOT_OPTIMIZER, i, 0), server->parameter_count);
    if (training->engine.held_folded > 0)
        gather_vector(list, "state/sum", place_of(SNAPSHOT_SUM, 0, 0), server->count);
    for (int i = 0; i < server->workers; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        if (training->engine.workers[i].is_in_buffer || is_in_flight(training, i, flights))
            gather_vector(list, make_name(list, "gradient", number), place_of(SNAPSHOT_GRADIENT, i, 0),
                          server->count);
    }
    gather_reads(list, training, flights);
    if (gives_other(training))
        gather_vector(list, "state/given", place_of(SNAPSHOT_GIVEN, 0, 0), server->count);
    gather_correction(list, server);
    gather_table(list, training);
    gather_probe(list, training);
}

enum hysgd_status training_read_parameters(const struct safetensors_file *file, const char *path,
                                           const struct hysgd_model_layout *layout, float *vector_out) {
    for (size_t i = 0; i < layout->tensor_count; i++) {
        const struct hysgd_tensor *tensor = &layout->tensors[i];
        const struct safetensors_tensor *found = safetensors_find(file, tensor->name);
        uint64_t elements = 1;
        bool fits = found && found->rank == tensor->rank;
        for (int k = 0; k < tensor->rank; k++) {
            fits = fits && found->dims[k] == tensor->dims[k];
            elements *= tensor->dims[k];
        }
        if (!found)
            return hysgd_fail(HYSGD_INPUT, "%s: has no tensor \"%s\": it is a checkpoint of another model", path,
                              tensor->name);
        if (!fits)
            return hysgd_fail(HYSGD_INPUT,
                              "%s: tensor \"%s\" has another shape: it is a checkpoint of another model", path,
                              tensor->name);
        HYSGD_TRY(safetensors_read(file, tensor->name, SAFETENSORS_F32, elements, vector_out + tensor->first));
        if (!vector_is_finite(vector_out + tensor->first, elements)) /* oneDNN's relu would hide a NaN */
            return hysgd_fail(HYSGD_INPUT, "%s: tensor \"%s\" has values that are not finite numbers", path,
                              tensor->name);
    }
    return HYSGD_OK;
}

const struct snapshot_flight *snapshot_resumed_flights(const struct training *training) {
    return training->resumed && training->resumed->has_flights ? training->resumed->flights : NULL;
}

/* What a worker has read and still needs. */
static enum hysgd_status shape_read(struct server *server, const struct training *training, int worker,
                                    const struct snapshot_flight *flights) {
    float *vector;
    if (keeps_old_read(training, worker, flights))
        return server_read_old(server, worker, same_old_read(training, worker, flights), &vector);
    server_read(server, worker);
    return HYSGD_OK;
}

static enum hysgd_status shape_rows(struct server *server, const struct engine_table *table) {
    float *row;
    for (int i = 0; table->rows && i < 2 * server->workers; i++)
        if (table->rows[i / 2].divisor[i % 2] > 0)
            HYSGD_TRY(server_row(server, i % 2, i / 2, &row));
    return HYSGD_OK;
}

enum hysgd_status snapshot_shape(struct server *server, const struct training *training,
                                 const struct snapshot_flight *flights) {
    float *given;
    if (training->engine.held_folded > 0) {
        HYSGD_TRY(server_require_sum(server));
        server->sum_is_empty = false;
    }
    for (int i = 0; server->keeps_reads && i < server->workers; i++)
        HYSGD_TRY(shape_read(server, training, i, flights));
    HYSGD_TRY(shape_rows(server, &training->engine.table));
    if (server->probe) {
        server->probe->is_empty = training->estimator.is_empty;
        server->probe->has_before = training->estimator.has_before;
    }
    return gives_other(training) ? server_give_other(server, &given) : HYSGD_OK;
}

/* All that is not parameters. */
static enum hysgd_status read_vectors(const struct training *training, struct snapshot_tensors *list,
                                      const struct safetensors_file *file) {
    HYSGD_TRY(snapshot_tensors_init(list, training, 0));
    snapshot_gather_vectors(list, training, snapshot_resumed_flights(training));
    for (size_t i = 0; i < list->count; i++) {
        const struct snapshot_place *place = &list->places[i];
        if (place->vector != SNAPSHOT_PARAMETERS)
            HYSGD_TRY(safetensors_read(file, list->tensors[i].name, SAFETENSORS_F32, place->end - place->first,
                                       snapshot_vector(list->server, place)));
    }
    return HYSGD_OK;
}

enum hysgd_status snapshot_read_vectors(struct training *training, const struct safetensors_file *file,
                                        const char *path) {
    struct snapshot_tensors list = {0};
    float *vector = training->whole ? training->whole : server_vector(&training->server);
    for (int i = 0; i < training->setup->workers; i++) {
        const struct engine_worker *worker = &training->engine.workers[i];
        worker_seek(training, i, worker->received_batches + worker->abandoned_batches);
    }
    HYSGD_TRY(training_read_parameters(file, path, &training->layout, vector));
    if (!training_has_vectors(training))
        return HYSGD_OK;
    HYSGD_TRY(snapshot_shape(&training->server, training, snapshot_resumed_flights(training)));
    enum hysgd_status status = read_vectors(training, &list, file);
    snapshot_tensors_fini(&list);
    return status;
}
