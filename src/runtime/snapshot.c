/* SPDX-License-Identifier: Apache-2.0 */
/* Writing and reading the state of a run: see snapshot.h. What is in a row of a table is in snapshot_fields.h, once
 * for both directions. */
#include "runtime/snapshot.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "policy/policy.h"
#include "runtime/drive.h"
#include "runtime/snapshot_check.h"
#include "runtime/snapshot_fields.h"
#include "runtime/snapshot_orphans.h"
#include "runtime/snapshot_vectors.h"
#include "runtime/worker.h"

#define FORMAT_KEY     "hysgd_checkpoint"
#define FORMAT_VERSION "4"
#define POLICY_KEY     "state/policy"

/* Tables in a checkpoint, at most. */
#define MOST_TABLES 11

enum {
    FLIGHT_FIELDS = sizeof(struct snapshot_flight) / sizeof(double),
    SHARES_FIELDS = sizeof(struct shares_worker) / sizeof(double)
};

/* The tensors of a checkpoint, and the memory behind those that are not vectors of the server. */
struct snapshot_image {
    struct snapshot_tensors list;
    double *workers, *flights, *table, *estimates, *orphans, *changes;
    double run[SNAPSHOT_RUN_FIELDS], place[SNAPSHOT_PLACE_FIELDS];
    struct local_image local;
    struct outgoing_image outgoing;
    char *policy; /* by open_memstream */
};

static void gather_table(struct snapshot_image *image, const char *name, const double *data, size_t rows,
                         size_t columns) {
    const struct safetensors_tensor tensor = {
        .name = name, .type = SAFETENSORS_F64, .rank = 2, .dims = {rows, columns}, .data = data};
    snapshot_add(&image->list, &tensor, &(struct snapshot_place){.vector = SNAPSHOT_NO_VECTOR});
}

static uint64_t rank_of(const struct engine *engine, int worker) {
    for (int i = 0; i < engine->waiting_count; i++)
        if (engine->waiting[i] == worker)
            return (uint64_t)i;
    return 0;
}

/* The samples behind the gradients. What is under way is counted again where it is computed again. */
static void gather_shares(struct snapshot_image *image, const struct training *training,
                          const struct snapshot_in_flight *in_flight) {
    const struct shares *shares = &training->shares;
    size_t workers = (size_t)shares->workers, classes = (size_t)shares->classes;
    gather_table(image, "state/samples", (const double *)shares->by_worker, workers, SHARES_FIELDS);
    if (classes > 0)
        gather_table(image, "state/classes", shares->by_class, 3, classes);
    if (in_flight)
        gather_table(image, "state/batches", shares->deliveries, workers, 1 + classes);
}

static void gather_tables(struct snapshot_image *image, struct training *training, double seconds,
                          const struct snapshot_in_flight *in_flight) {
    size_t workers = (size_t)training->setup->workers;
    for (int i = 0; i < training->setup->workers; i++) {
        uint64_t rank = rank_of(&training->engine, i);
        snapshot_visit_worker(training, i,
                              &(struct snapshot_row){.values = image->workers + (size_t)i * SNAPSHOT_WORKER_FIELDS},
                              &rank);
    }
    uint64_t has_flights = in_flight != NULL;
    double free_at = in_flight ? in_flight->server_free_at : 0, order = in_flight ? in_flight->next_order : 0;
    snapshot_visit_run(training, &seconds, &(struct snapshot_row){.values = image->run}, &has_flights, &free_at,
                       &order);
    gather_table(image, "state/workers", image->workers, workers, SNAPSHOT_WORKER_FIELDS);
    gather_table(image, "state/run", image->run, 1, SNAPSHOT_RUN_FIELDS);
    if (in_flight) {
        memcpy(image->flights, in_flight->flights, workers * sizeof *in_flight->flights);
        gather_table(image, "state/flights", image->flights, workers, FLIGHT_FIELDS);
    }
    if (image->table) {
        snapshot_visit_table(&training->engine.table, training->setup->workers,
                             &(struct snapshot_row){.values = image->table});
        gather_table(image, "state/table", image->table, 1, snapshot_table_size(training->setup->workers));
    }
    gather_shares(image, training, in_flight);
    if (training->keeps_place) {
        snapshot_visit_place(&(struct snapshot_row){.values = image->place}, &training->place);
        gather_table(image, "state/place", image->place, 1, SNAPSHOT_PLACE_FIELDS);
    }
    if (image->orphans) {
        snapshot_store_orphans(training, image->orphans);
        gather_table(image, "state/orphans", image->orphans, workers, SNAPSHOT_ORPHAN_FIELDS);
    }
    if (image->changes) {
        snapshot_store_changes(training, image->changes);
        gather_table(image, "state/changes", image->changes, (size_t)training->partition.change_count,
                     SNAPSHOT_CHANGE_FIELDS);
    }
    if (training->estimator.is_wanted) {
        estimate_store(&training->estimator, image->estimates);
        gather_table(image, "state/estimates", image->estimates, 1, estimate_fields(&training->estimator));
    }
}

/* The policy's changing fields as text. */
static enum hysgd_status print_policy(struct snapshot_image *image, const struct training *training) {
    size_t length;
    FILE *out = open_memstream(&image->policy, &length);
    if (!out)
        return hysgd_fail(HYSGD_MEMORY, "out of memory for a checkpoint");
    policy_print_saved(training->engine.policy, training->engine.policy_self, training->setup->workers, out);
    return fclose(out) == 0 ? HYSGD_OK : hysgd_fail(HYSGD_MEMORY, "out of memory for a checkpoint");
}

static enum hysgd_status take_image(struct snapshot_image *image, struct training *training, double seconds,
                                    const struct snapshot_in_flight *in_flight) {
    size_t workers = (size_t)training->setup->workers;
    HYSGD_TRY(local_take(training, in_flight ? in_flight->flights : NULL, &image->local));
    HYSGD_TRY(outgoing_take(training, in_flight ? in_flight->flights : NULL, &image->outgoing));
    HYSGD_TRY(
        snapshot_tensors_init(&image->list, training, MOST_TABLES + image->local.count + image->outgoing.count));
    HYSGD_TRY(memory_alloc(workers * SNAPSHOT_WORKER_FIELDS, sizeof(double), &image->workers));
    HYSGD_TRY(memory_alloc(workers * FLIGHT_FIELDS, sizeof(double), &image->flights));
    if (training->engine.table.rows)
        HYSGD_TRY(memory_alloc(snapshot_table_size(training->setup->workers), sizeof(double), &image->table));
    if (training->partition.change_count > 0)
        HYSGD_TRY(memory_alloc(workers * SNAPSHOT_ORPHAN_FIELDS, sizeof(double), &image->orphans));
    if (training->partition.join_count > 0)
        HYSGD_TRY(memory_alloc((size_t)training->partition.change_count * SNAPSHOT_CHANGE_FIELDS, sizeof(double),
                               &image->changes));
    HYSGD_TRY(memory_alloc(estimate_fields(&training->estimator), sizeof(double), &image->estimates));
    snapshot_gather_vectors(&image->list, training, in_flight ? in_flight->flights : NULL);
    gather_tables(image, training, seconds, in_flight);
    for (size_t i = 0; i < image->local.count; i++)
        snapshot_add(&image->list, &image->local.tensors[i], &image->local.places[i]);
    for (size_t i = 0; i < image->outgoing.count; i++)
        snapshot_add(&image->list, &image->outgoing.tensors[i], &image->outgoing.places[i]);
    return print_policy(image, training);
}

enum hysgd_status snapshot_take(struct training *training, double seconds,
                                const struct snapshot_in_flight *in_flight, struct snapshot_image **image_out) {
    struct snapshot_image *image;
    HYSGD_TRY(memory_alloc(1, sizeof *image, &image));
    enum hysgd_status status = take_image(image, training, seconds, in_flight);
    if (status == HYSGD_OK)
        *image_out = image;
    else
        snapshot_discard(image);
    return status;
}

void snapshot_discard(struct snapshot_image *image) {
    if (!image)
        return;
    snapshot_tensors_fini(&image->list);
    memory_free(image->workers);
    memory_free(image->flights);
    memory_free(image->table);
    memory_free(image->estimates);
    memory_free(image->orphans);
    memory_free(image->changes);
    local_discard(&image->local);
    outgoing_discard(&image->outgoing);
    free(image->policy);
    memory_free(image);
}

enum hysgd_status snapshot_describe(const struct snapshot_image *image, const struct training_setup *setup,
                                    struct snapshot_content *content) {
    size_t count = setup->metadata_count + 2;
    *content = (struct snapshot_content){
        .tensors = image->list.tensors, .places = image->list.places, .count = image->list.count};
    HYSGD_TRY(memory_alloc(count, sizeof *content->metadata, &content->metadata));
    content->metadata_count = count;
    content->metadata[0][0] = FORMAT_KEY, content->metadata[0][1] = FORMAT_VERSION;
    content->metadata[1][0] = POLICY_KEY, content->metadata[1][1] = image->policy;
    for (size_t i = 2; i < count; i++)
        memcpy(content->metadata[i], setup->metadata[i - 2], sizeof content->metadata[i]);
    return HYSGD_OK;
}

enum hysgd_status snapshot_write(const struct snapshot_image *image, const struct training_setup *setup) {
    struct snapshot_content content;
    HYSGD_TRY(snapshot_describe(image, setup, &content));
    enum hysgd_status status = safetensors_write(setup->save_path, content.tensors, content.count,
                                                 (const char *const(*)[2])content.metadata, content.metadata_count);
    memory_free(content.metadata);
    return status;
}

enum hysgd_status snapshot_store_state(const struct snapshot_image *image, const struct training_setup *setup,
                                       void *bytes_out, size_t *length_out) {
    struct snapshot_content content;
    struct safetensors_tensor *tables;
    size_t count = 0;
    HYSGD_TRY(snapshot_describe(image, setup, &content));
    enum hysgd_status status = memory_alloc(content.count, sizeof *tables, &tables);
    for (size_t i = 0; status == HYSGD_OK && i < content.count; i++)
        if (content.places[i].vector == SNAPSHOT_NO_VECTOR)
            tables[count++] = content.tensors[i];
    if (status == HYSGD_OK) {
        status = safetensors_store(tables, count, (const char *const(*)[2])content.metadata, content.metadata_count,
                                   bytes_out, length_out);
        memory_free(tables);
    }
    memory_free(content.metadata);
    return status;
}

static const char *setup_value(const struct training_setup *setup, const char *key) {
    for (size_t i = 0; i < setup->metadata_count; i++)
        if (strcmp(setup->metadata[i][0], key) == 0)
            return setup->metadata[i][1];
    return NULL;
}

static enum hysgd_status check_description(const struct training *training, const struct safetensors_file *file,
                                           const char *path) {
    static const char *const keys[] = {
        "data",        "model",          "optimizer",  "policy", "combine",          "workers",
        "batch",       "partition",      "orphans",    "seed",   "staleness-weight", "staleness-exponent",
        "micro-batch", "worker-weights", "correction", "local",  "local-optimizer",  "wire",
        "spare"};
    const char *version = safetensors_metadata(file, FORMAT_KEY);
    if (!version)
        return hysgd_fail(HYSGD_INPUT, "%s: is no checkpoint of hysgd: metadata \"%s\" is missing", path,
                          FORMAT_KEY);
    if (strcmp(version, FORMAT_VERSION) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: has checkpoint format %s: expected %s", path, version, FORMAT_VERSION);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *there = safetensors_metadata(file, keys[i]), *here = setup_value(training->setup, keys[i]);
        if (there && here && strcmp(there, here) != 0)
            return hysgd_fail(HYSGD_INPUT, "%s: was saved with %s = %s: this run has %s", path, keys[i], there,
                              here);
    }
    return HYSGD_OK;
}

static enum hysgd_status fail_state(const char *path, const char *what) {
    return hysgd_fail(HYSGD_INPUT, "%s: the saved state is damaged: %s", path, what);
}

/* Puts the waiting workers into the order of their ranks. */
static enum hysgd_status restore_waiting(struct engine *engine, const uint64_t *ranks, const char *path) {
    engine->waiting_count = 0;
    for (int i = 0; i < engine->worker_count; i++)
        engine->waiting_count += engine->workers[i].activity == ENGINE_WAITING;
    for (int i = 0; i < engine->waiting_count; i++)
        engine->waiting[i] = -1;
    for (int i = 0; i < engine->worker_count; i++) {
        if (engine->workers[i].activity != ENGINE_WAITING)
            continue;
        if (ranks[i] >= (uint64_t)engine->waiting_count || engine->waiting[ranks[i]] >= 0)
            return fail_state(path, "two workers wait in the same place");
        engine->waiting[ranks[i]] = i;
    }
    return HYSGD_OK;
}

static enum hysgd_status read_workers(struct training *training, const struct safetensors_file *file,
                                      const char *path, double *table, uint64_t *ranks) {
    int workers = training->setup->workers;
    HYSGD_TRY(safetensors_read(file, "state/workers", SAFETENSORS_F64, (uint64_t)workers * SNAPSHOT_WORKER_FIELDS,
                               table));
    for (int i = 0; i < workers; i++) {
        struct snapshot_row row = {.values = table + (size_t)i * SNAPSHOT_WORKER_FIELDS, .is_reading = true};
        snapshot_visit_worker(training, i, &row, &ranks[i]);
        if (row.is_bad)
            return fail_state(path, "a number of a worker is out of range");
    }
    return restore_waiting(&training->engine, ranks, path);
}

static enum hysgd_status read_table(struct training *training, const struct safetensors_file *file,
                                    const char *path) {
    double *values;
    size_t size = snapshot_table_size(training->setup->workers);
    if (!training->engine.table.rows)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(size, sizeof *values, &values));
    struct snapshot_row row = {.values = values, .is_reading = true};
    enum hysgd_status status = safetensors_read(file, "state/table", SAFETENSORS_F64, size, values);
    if (status == HYSGD_OK)
        snapshot_visit_table(&training->engine.table, training->setup->workers, &row);
    memory_free(values);
    return status == HYSGD_OK && row.is_bad ? fail_state(path, "a number of the table is out of range") : status;
}

static bool flight_is_valid(const struct snapshot_flight *flight) {
    const double amounts[] = {flight->started, flight->arrives, flight->compute_seconds, flight->transit_seconds,
                              flight->gives_up};
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        if (!(amounts[i] >= 0 && amounts[i] <= DBL_MAX))
            return false;
    return flight->order >= 0 && flight->order <= (double)SNAPSHOT_MOST_COUNT &&
           (flight->is_computed == 0 || flight->is_computed == 1);
}

static enum hysgd_status read_flights(struct snapshot *snapshot, const struct safetensors_file *file,
                                      const char *path, int workers) {
    uint64_t count = (uint64_t)workers;
    HYSGD_TRY(memory_alloc(count, sizeof *snapshot->flights, &snapshot->flights));
    if (!snapshot->has_flights)
        return HYSGD_OK;
    HYSGD_TRY(safetensors_read(file, "state/flights", SAFETENSORS_F64, count * FLIGHT_FIELDS, snapshot->flights));
    for (uint64_t i = 0; i < count; i++)
        if (!flight_is_valid(&snapshot->flights[i]))
            return fail_state(path, "a number of a gradient under way is out of range");
    return HYSGD_OK;
}

static enum hysgd_status read_shares(struct training *training, const struct safetensors_file *file,
                                     const char *path) {
    struct shares *shares = &training->shares;
    shares->round = training->engine.table.round;
    uint64_t workers = (uint64_t)shares->workers, classes = (uint64_t)shares->classes;
    HYSGD_TRY(safetensors_read(file, "state/samples", SAFETENSORS_F64, workers * SHARES_FIELDS, shares->by_worker));
    if (classes > 0)
        HYSGD_TRY(safetensors_read(file, "state/classes", SAFETENSORS_F64, 3 * classes, shares->by_class));
    if (training->resumed->has_flights)
        HYSGD_TRY(
            safetensors_read(file, "state/batches", SAFETENSORS_F64, workers * (1 + classes), shares->deliveries));
    return shares_restore(shares) ? HYSGD_OK : fail_state(path, "a count of samples is out of range");
}

static enum hysgd_status read_place(struct training *training, const struct safetensors_file *file,
                                    const char *path) {
    double values[SNAPSHOT_PLACE_FIELDS];
    struct snapshot_row row = {.values = values, .is_reading = true};
    if (!safetensors_find(file, "state/place"))
        return HYSGD_OK;
    HYSGD_TRY(safetensors_read(file, "state/place", SAFETENSORS_F64, SNAPSHOT_PLACE_FIELDS, values));
    snapshot_visit_place(&row, &training->resumed->place);
    return row.is_bad ? fail_state(path, "the place in the log is out of range") : HYSGD_OK;
}

static enum hysgd_status read_tables(struct training *training, const struct safetensors_file *file,
                                     const char *path) {
    double run[SNAPSHOT_RUN_FIELDS], *table = NULL;
    uint64_t *ranks = NULL, has_flights = 0;
    int workers = training->setup->workers;
    HYSGD_TRY(safetensors_read(file, "state/run", SAFETENSORS_F64, SNAPSHOT_RUN_FIELDS, run));
    HYSGD_TRY(memory_alloc(1, sizeof *training->resumed, &training->resumed));
    struct snapshot_row row = {.values = run, .is_reading = true};
    snapshot_visit_run(training, &training->start_seconds, &row, &has_flights, &training->resumed->server_free_at,
                       &training->resumed->next_order);
    training->resumed->has_flights = has_flights;
    if (row.is_bad || !isfinite(training->loss_sum) || training->resumed->next_order > (double)SNAPSHOT_MOST_COUNT)
        return fail_state(path, "a number of the run is out of range");
    enum hysgd_status status = memory_alloc((size_t)workers * SNAPSHOT_WORKER_FIELDS, sizeof *table, &table);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)workers, sizeof *ranks, &ranks);
    if (status == HYSGD_OK)
        status = read_workers(training, file, path, table, ranks);
    memory_free(table);
    memory_free(ranks);
    HYSGD_TRY(status);
    HYSGD_TRY(read_table(training, file, path));
    HYSGD_TRY(local_read_table(training, file, path));
    engine_restore(&training->engine);
    if (!snapshot_engine_is_valid(&training->engine))
        return fail_state(path, "its accounts contradict each other");
    for (int i = 0; i < workers; i++)
        attribution_restore(&training->attribution, i, training->workers[i].delivered_seconds,
                            training->attribution.states[i].version);
    HYSGD_TRY(read_flights(training->resumed, file, path, workers));
    HYSGD_TRY(snapshot_read_orphans(training, file, path));
    HYSGD_TRY(read_place(training, file, path));
    return read_shares(training, file, path);
}

static enum hysgd_status read_estimates(struct training *training, const struct safetensors_file *file,
                                        const char *path) {
    struct estimator *estimator = &training->estimator;
    size_t count = estimate_fields(estimator);
    double *table;
    if (!estimator->is_wanted)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(count, sizeof *table, &table));
    enum hysgd_status status = safetensors_read(file, "state/estimates", SAFETENSORS_F64, count, table);
    if (status == HYSGD_OK && !estimate_restore(estimator, table))
        status = fail_state(path, "a number of the estimates is out of range");
    memory_free(table);
    return status;
}

static enum hysgd_status read_policy(struct training *training, const struct safetensors_file *file,
                                     const char *path) {
    const char *text = safetensors_metadata(file, POLICY_KEY);
    if (!text)
        return fail_state(path, "that of the policy is missing");
    enum hysgd_status status =
        policy_parse_saved(training->engine.policy, training->engine.policy_self, training->setup->workers, text);
    if (status == HYSGD_OK)
        return status;
    return status_locate(status == HYSGD_USAGE ? HYSGD_INPUT : status, path);
}

static enum hysgd_status read_all(struct training *training, const struct safetensors_file *file,
                                  const char *path) {
    HYSGD_TRY(check_description(training, file, path));
    HYSGD_TRY(read_tables(training, file, path));
    HYSGD_TRY(read_estimates(training, file, path));
    HYSGD_TRY(snapshot_read_vectors(training, file, path));
    HYSGD_TRY(local_read_vectors(training, file));
    HYSGD_TRY(outgoing_read(training, file, path));
    HYSGD_TRY(read_policy(training, file, path));
    drive_plan_milestones(training, training->start_seconds);
    return HYSGD_OK;
}

static enum hysgd_status read_state(struct training *training, const struct safetensors_file *file,
                                    const char *path) {
    HYSGD_TRY(read_tables(training, file, path));
    HYSGD_TRY(read_estimates(training, file, path));
    for (int i = 0; i < training->setup->workers; i++) {
        const struct engine_worker *worker = &training->engine.workers[i];
        worker_seek(training, i, worker->received_batches + worker->abandoned_batches);
    }
    HYSGD_TRY(read_policy(training, file, path));
    drive_plan_milestones(training, training->start_seconds);
    return HYSGD_OK;
}

enum hysgd_status snapshot_restore_state(struct training *training, const void *bytes, size_t length) {
    static const char name[] = "copy of the state";
    struct safetensors_file *file;
    snapshot_free(training->resumed);
    training->resumed = NULL;
    HYSGD_TRY(safetensors_open_bytes(name, bytes, length, &file));
    enum hysgd_status status = read_state(training, file, name);
    safetensors_close(file);
    return status;
}

enum hysgd_status training_resume(struct training *training, const char *path) {
    struct safetensors_file *file;
    if (!training->setup->computes_gradients)
        return hysgd_fail(HYSGD_USAGE, "%s: a run without gradients cannot be resumed", path);
    HYSGD_TRY(training_has_vectors(training) ? safetensors_open(path, &file)
                                             : safetensors_open_header(path, &file));
    enum hysgd_status status = read_all(training, file, path);
    safetensors_close(file);
    return status;
}

void snapshot_free(struct snapshot *snapshot) {
    if (snapshot)
        memory_free(snapshot->flights);
    memory_free(snapshot);
}
