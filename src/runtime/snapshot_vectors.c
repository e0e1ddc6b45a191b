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
    HYSGD_TRY(memory_alloc(most, sizeof *list->tensors, &list->tensors));
    return memory_alloc(names, sizeof *list->names, &list->names);
}

void snapshot_tensors_fini(struct snapshot_tensors *list) {
    memory_free(list->tensors);
    memory_free(list->names);
}

static void gather_vector(struct snapshot_tensors *list, const char *name, const float *data, size_t count) {
    list->tensors[list->count++] = (struct safetensors_tensor){
        .name = name, .type = SAFETENSORS_F32, .rank = 1, .dims = {count}, .data = data};
}

static void gather_parameters(struct snapshot_tensors *list, const struct training *training) {
    const float *vector = server_vector(&training->server);
    for (size_t i = 0; i < training->layout.tensor_count; i++) {
        const struct hysgd_tensor *tensor = &training->layout.tensors[i];
        struct safetensors_tensor *out = &list->tensors[list->count++];
        *out = (struct safetensors_tensor){
            .name = tensor->name, .type = SAFETENSORS_F32, .rank = tensor->rank, .data = vector + tensor->first};
        for (int k = 0; k < tensor->rank; k++)
            out->dims[k] = tensor->dims[k];
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
    const struct server *server = &training->server;
    char number[24];
    for (int i = 0; i < server->workers; i++) {
        if (!keeps_old_read(training, i, flights) || same_old_read(training, i, flights) >= 0)
            continue;
        snprintf(number, sizeof number, "%llu", (unsigned long long)training->engine.workers[i].read);
        gather_vector(list, make_name(list, "read", number), server_read_vector(server, i), server->count);
    }
    if (server->given != server->current)
        gather_vector(list, "state/given", server->versions[server->given], server->count);
}

static void gather_table(struct snapshot_tensors *list, const struct training *training) {
    const struct engine_table *table = &training->engine.table;
    char suffix[31];
    for (int i = 0; table->rows && i < 2 * training->server.workers; i++) {
        int worker = i / 2, parity = i % 2;
        if (table->rows[worker].divisor[parity] <= 0)
            continue;
        snprintf(suffix, sizeof suffix, "%d/%d", parity, worker);
        gather_vector(list, make_name(list, "row", suffix), training->server.rows[parity][worker],
                      training->server.count);
    }
}

static void gather_correction(struct snapshot_tensors *list, const struct server *server) {
    char suffix[31];
    if (server->shared_state)
        gather_vector(list,
                      make_name(list, "correction", server->correction->shared_state(server->correction_self)),
                      server->shared_state, server->parameter_count);
    if (!server->worker_states)
        return;
    const char *name = server->correction->worker_state;
    gather_vector(list, make_name(list, "correction", name), server->state_total, server->parameter_count);
    for (int i = 0; i < server->workers; i++) {
        snprintf(suffix, sizeof suffix, "%.18s/%d", name, i);
        gather_vector(list, make_name(list, "correction", suffix), server->worker_states[i],
                      server->parameter_count);
    }
}

static void gather_probe(struct snapshot_tensors *list, const struct probe *probe) {
    if (probe && !probe->is_empty)
        gather_vector(list, "state/probe/present", probe->sums[probe->present], probe->count);
    if (probe && probe->has_before)
        gather_vector(list, "state/probe/before", probe->sums[!probe->present], probe->count);
}

void snapshot_gather_vectors(struct snapshot_tensors *list, const struct training *training,
                             const struct snapshot_flight *flights) {
    const struct server *server = &training->server;
    gather_parameters(list, training);
    for (int i = 0; i < server->optimizer->states; i++)
        gather_vector(list, make_name(list, "optimizer", server->optimizer->state_names[i]), server->states[i],
                      server->parameter_count);
    if (!server->sum_is_empty)
        gather_vector(list, "state/sum", server->sum, server->count);
    for (int i = 0; i < server->workers; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        if (training->engine.workers[i].is_in_buffer || is_in_flight(training, i, flights))
            gather_vector(list, make_name(list, "gradient", number), server->gradients[i], server->count);
    }
    gather_reads(list, training, flights);
    gather_correction(list, server);
    gather_table(list, training);
    gather_probe(list, server->probe);
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

static const struct snapshot_flight *resumed_flights(const struct training *training) {
    return training->resumed->has_flights ? training->resumed->flights : NULL;
}

/* The estimator's own state has been read. */
static enum hysgd_status read_probe(struct probe *probe, const struct estimator *estimator,
                                    const struct safetensors_file *file) {
    if (!probe)
        return HYSGD_OK;
    probe->is_empty = estimator->is_empty;
    probe->has_before = estimator->has_before;
    if (!probe->is_empty)
        HYSGD_TRY(safetensors_read(file, "state/probe/present", SAFETENSORS_F32, probe->count,
                                   probe->sums[probe->present]));
    if (probe->has_before)
        HYSGD_TRY(safetensors_read(file, "state/probe/before", SAFETENSORS_F32, probe->count,
                                   probe->sums[!probe->present]));
    return HYSGD_OK;
}

/* What a worker has read and still needs. */
static enum hysgd_status read_old_read(struct training *training, const struct safetensors_file *file, int worker) {
    struct server *server = &training->server;
    const struct snapshot_flight *flights = resumed_flights(training);
    char name[64];
    float *vector;
    if (!keeps_old_read(training, worker, flights)) {
        server_read(server, worker);
        return HYSGD_OK;
    }
    int same = same_old_read(training, worker, flights);
    HYSGD_TRY(server_read_old(server, worker, same, &vector));
    if (same >= 0)
        return HYSGD_OK;
    snprintf(name, sizeof name, "state/read/%llu", (unsigned long long)training->engine.workers[worker].read);
    return safetensors_read(file, name, SAFETENSORS_F32, server->count, vector);
}

/* The workers' gradients, whether held or under way, and what they were computed at. */
static enum hysgd_status read_gradients(struct training *training, const struct safetensors_file *file) {
    struct server *server = &training->server;
    char name[64];
    for (int i = 0; i < server->workers; i++) {
        const struct engine_worker *worker = &training->engine.workers[i];
        worker_seek(training, i, worker->received_batches + worker->abandoned_batches);
        if (server->keeps_reads)
            HYSGD_TRY(read_old_read(training, file, i));
        if (!worker->is_in_buffer && !is_in_flight(training, i, resumed_flights(training)))
            continue;
        snprintf(name, sizeof name, "state/gradient/%d", i);
        HYSGD_TRY(safetensors_read(file, name, SAFETENSORS_F32, server->count, server->gradients[i]));
    }
    return HYSGD_OK;
}

static enum hysgd_status read_rows(struct training *training, const struct safetensors_file *file) {
    const struct engine_table *table = &training->engine.table;
    char name[64];
    float *row;
    for (int i = 0; table->rows && i < 2 * training->server.workers; i++) {
        int worker = i / 2, parity = i % 2;
        if (table->rows[worker].divisor[parity] <= 0)
            continue;
        snprintf(name, sizeof name, "state/row/%d/%d", parity, worker);
        HYSGD_TRY(server_row(&training->server, parity, worker, &row));
        HYSGD_TRY(safetensors_read(file, name, SAFETENSORS_F32, training->server.count, row));
    }
    return HYSGD_OK;
}

static enum hysgd_status read_state(const struct server *server, const struct safetensors_file *file,
                                    const char *name, float *state) {
    char full[64];
    snprintf(full, sizeof full, "state/correction/%s", name);
    return safetensors_read(file, full, SAFETENSORS_F32, server->parameter_count, state);
}

static enum hysgd_status read_correction(struct training *training, const struct safetensors_file *file) {
    struct server *server = &training->server;
    const struct correction_ops *correction = server->correction;
    char name[40];
    float *given;
    if (correction && correction->look_ahead && training->engine.progress.version > 0) {
        HYSGD_TRY(server_give_other(server, &given));
        HYSGD_TRY(safetensors_read(file, "state/given", SAFETENSORS_F32, server->count, given));
    }
    if (server->shared_state)
        HYSGD_TRY(
            read_state(server, file, correction->shared_state(server->correction_self), server->shared_state));
    if (!server->worker_states)
        return HYSGD_OK;
    HYSGD_TRY(read_state(server, file, correction->worker_state, server->state_total));
    for (int i = 0; i < server->workers; i++) {
        snprintf(name, sizeof name, "%.18s/%d", correction->worker_state, i);
        HYSGD_TRY(read_state(server, file, name, server->worker_states[i]));
    }
    return HYSGD_OK;
}

enum hysgd_status snapshot_read_vectors(struct training *training, const struct safetensors_file *file,
                                        const char *path) {
    struct server *server = &training->server;
    char name[64];
    HYSGD_TRY(training_read_parameters(file, path, &training->layout, server_vector(server)));
    for (int i = 0; i < server->optimizer->states; i++) {
        snprintf(name, sizeof name, "state/optimizer/%s", server->optimizer->state_names[i]);
        HYSGD_TRY(safetensors_read(file, name, SAFETENSORS_F32, server->parameter_count, server->states[i]));
    }
    if (training->engine.held_folded > 0) {
        HYSGD_TRY(server_require_sum(server));
        HYSGD_TRY(safetensors_read(file, "state/sum", SAFETENSORS_F32, server->count, server->sum));
        server->sum_is_empty = false;
    }
    HYSGD_TRY(read_gradients(training, file));
    HYSGD_TRY(read_rows(training, file));
    HYSGD_TRY(read_probe(server->probe, &training->estimator, file));
    return read_correction(training, file);
}
