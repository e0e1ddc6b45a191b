/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints that several processes write and read: see snapshot_shared.h. */
#include "runtime/snapshot_shared.h"

#include <string.h>

#include "base/memory.h"
#include "linalg/vector.h"
#include "runtime/snapshot_vectors.h"

/* ---- The file ---- */

struct snapshot_file {
    struct safetensors_writer *writer;
    struct snapshot_place *places; /* [count] without the tables */
    size_t count;
};

static void take_places(struct snapshot_file *file, const struct snapshot_content *content) {
    for (size_t i = 0; i < content->count; i++) {
        struct snapshot_place *place = &file->places[file->count];
        if (content->places[i].vector == SNAPSHOT_NO_VECTOR)
            continue;
        *place = content->places[i];
        place->offset = safetensors_offset(file->writer, i);
        file->count++;
    }
}

static enum hysgd_status begin(struct snapshot_file *file, const struct snapshot_content *content,
                               const char *path) {
    HYSGD_TRY(memory_alloc(content->count, sizeof *file->places, &file->places));
    HYSGD_TRY(safetensors_begin(path, content->tensors, content->count, (const char *const(*)[2])content->metadata,
                                content->metadata_count, &file->writer));
    take_places(file, content);
    return HYSGD_OK;
}

static void free_file(struct snapshot_file *file) {
    memory_free(file->places);
    memory_free(file);
}

enum hysgd_status snapshot_begin(const struct snapshot_image *image, const struct training_setup *setup,
                                 struct snapshot_file **file_out) {
    struct snapshot_file *file;
    struct snapshot_content content = {0};
    HYSGD_TRY(memory_alloc(1, sizeof *file, &file));
    enum hysgd_status status = snapshot_describe(image, setup, &content);
    if (status == HYSGD_OK)
        status = begin(file, &content, setup->save_path);
    memory_free(content.metadata);
    if (status == HYSGD_OK)
        *file_out = file;
    else
        free_file(file);
    return status;
}

const char *snapshot_temporary(const struct snapshot_file *file) {
    return safetensors_temporary(file->writer);
}

const struct snapshot_place *snapshot_places(const struct snapshot_file *file, size_t *count_out) {
    *count_out = file->count;
    return file->places;
}

enum hysgd_status snapshot_commit(struct snapshot_file *file) {
    enum hysgd_status status = safetensors_commit(file->writer);
    free_file(file);
    return status;
}

void snapshot_abort(struct snapshot_file *file) {
    safetensors_abort(file->writer);
    free_file(file);
}

/* ---- Places and slices ---- */

/* The elements of a place that a slice [first, end) has. False: none. */
static bool overlap(const struct snapshot_place *place, size_t first, size_t end, uint64_t *from_out,
                    uint64_t *until_out) {
    *from_out = place->first > first ? place->first : first;
    *until_out = place->end < end ? place->end : end;
    return place->vector != SNAPSHOT_OF_WORKER && *from_out < *until_out;
}

static size_t slice_end(const struct snapshot_slice *slice) {
    return slice->first + slice->server->count;
}

/* A worker's own vector, as it was after its latest delivery, or the one before. */
static const float *worker_vector(const struct snapshot_holdings *holdings, const struct snapshot_place *place) {
    const struct outgoing_worker *outgoing = &holdings->training->outgoing.workers[place->index];
    if (place->part == SNAPSHOT_RESIDUAL)
        return holdings->is_before ? outgoing->working : outgoing->settled;
    const struct local_vector *kept = &holdings->training->local.workers[place->index].kept[place->part];
    return holdings->is_before ? kept->working : kept->settled;
}

/* ---- A part ---- */

struct snapshot_part {
    struct safetensors_piece *pieces; /* [count] */
    size_t count;
    float *copies; /* of what the pieces had been; NULL: they refer to vectors */
};

static enum hysgd_status add_piece(struct snapshot_part *part, const struct snapshot_place *place,
                                   const float *elements, uint64_t from, uint64_t until) {
    if (place->vector == SNAPSHOT_PARAMETERS && !vector_is_finite(elements, (size_t)(until - from)))
        return hysgd_fail(HYSGD_DIVERGED, "a parameter is not a finite number");
    part->pieces[part->count++] =
        (struct safetensors_piece){.offset = place->offset + (from - place->first) * sizeof(float),
                                   .bytes = (until - from) * sizeof(float),
                                   .data = elements};
    return HYSGD_OK;
}

static enum hysgd_status add_place(struct snapshot_part *part, const struct snapshot_holdings *holdings,
                                   const struct snapshot_place *place) {
    uint64_t from, until;
    if (place->vector == SNAPSHOT_OF_WORKER && place->index == holdings->worker)
        return add_piece(part, place, worker_vector(holdings, place), place->first, place->end);
    for (int i = 0; i < holdings->slice_count; i++) {
        const struct snapshot_slice *slice = &holdings->slices[i];
        if (!overlap(place, slice->first, slice_end(slice), &from, &until))
            continue;
        const float *vector = snapshot_vector(slice->server, place);
        HYSGD_TRY(add_piece(part, place, vector + (from - slice->first), from, until));
    }
    return HYSGD_OK;
}

static enum hysgd_status copy_pieces(struct snapshot_part *part) {
    size_t elements = 0, first = 0;
    for (size_t i = 0; i < part->count; i++)
        elements += part->pieces[i].bytes / sizeof(float);
    HYSGD_TRY(memory_alloc_vector(elements, sizeof *part->copies, &part->copies));
    for (size_t i = 0; i < part->count; i++) {
        struct safetensors_piece *piece = &part->pieces[i];
        memcpy(part->copies + first, piece->data, piece->bytes);
        piece->data = part->copies + first;
        first += piece->bytes / sizeof(float);
    }
    return HYSGD_OK;
}

static enum hysgd_status take_part(struct snapshot_part *part, const struct snapshot_holdings *holdings,
                                   const struct snapshot_place *places, size_t count, bool copies) {
    size_t most = count * ((size_t)holdings->slice_count + 1);
    HYSGD_TRY(memory_alloc(most, sizeof *part->pieces, &part->pieces));
    for (size_t i = 0; i < count; i++)
        HYSGD_TRY(add_place(part, holdings, &places[i]));
    return copies ? copy_pieces(part) : HYSGD_OK;
}

enum hysgd_status snapshot_take_part(const struct snapshot_holdings *holdings, const struct snapshot_place *places,
                                     size_t count, bool copies, struct snapshot_part **part_out) {
    struct snapshot_part *part;
    HYSGD_TRY(memory_alloc(1, sizeof *part, &part));
    enum hysgd_status status = take_part(part, holdings, places, count, copies);
    if (status == HYSGD_OK)
        *part_out = part;
    else
        snapshot_discard_part(part);
    return status;
}

void snapshot_discard_part(struct snapshot_part *part) {
    if (!part)
        return;
    memory_free(part->pieces);
    memory_free(part->copies);
    memory_free(part);
}

enum hysgd_status snapshot_write_part(const struct snapshot_part *part, const char *temporary) {
    return safetensors_write_pieces(temporary, part->pieces, part->count);
}

/* ---- Reading ---- */

static enum hysgd_status read_place(const struct snapshot_slice *slice, const struct safetensors_file *file,
                                    const char *path, const char *name, const struct snapshot_place *place) {
    uint64_t from, until;
    if (!overlap(place, slice->first, slice_end(slice), &from, &until))
        return HYSGD_OK;
    float *elements = snapshot_vector(slice->server, place) + (from - slice->first);
    HYSGD_TRY(safetensors_read_range(file, name, SAFETENSORS_F32, place->end - place->first, from - place->first,
                                     until - from, elements));
    if (place->vector == SNAPSHOT_PARAMETERS && !vector_is_finite(elements, (size_t)(until - from)))
        return hysgd_fail(HYSGD_INPUT, "%s: tensor \"%s\" has values that are not finite numbers", path, name);
    return HYSGD_OK;
}

static enum hysgd_status read_slice(const struct snapshot_slice *slice, const struct training *training,
                                    const struct snapshot_tensors *list, const struct safetensors_file *file,
                                    const char *path) {
    HYSGD_TRY(snapshot_shape(slice->server, training, snapshot_resumed_flights(training)));
    for (size_t i = 0; i < list->count; i++)
        HYSGD_TRY(read_place(slice, file, path, list->tensors[i].name, &list->places[i]));
    return HYSGD_OK;
}

enum hysgd_status snapshot_read_slices(const struct training *training, const char *path,
                                       const struct snapshot_slice *slices, int slice_count) {
    struct safetensors_file *file;
    struct snapshot_tensors list = {0};
    HYSGD_TRY(safetensors_open_header(path, &file));
    enum hysgd_status status = snapshot_tensors_init(&list, training, 0);
    if (status == HYSGD_OK)
        snapshot_gather_vectors(&list, training, snapshot_resumed_flights(training));
    for (int i = 0; status == HYSGD_OK && i < slice_count; i++)
        status = read_slice(&slices[i], training, &list, file, path);
    snapshot_tensors_fini(&list);
    safetensors_close(file);
    return status;
}

enum hysgd_status snapshot_read_own(struct training *training, const char *path) {
    struct safetensors_file *file;
    HYSGD_TRY(safetensors_open_header(path, &file));
    enum hysgd_status status = local_read_vectors(training, file);
    if (status == HYSGD_OK)
        status = outgoing_read(training, file, path);
    safetensors_close(file);
    return status;
}

/* ---- Without a file ---- */

enum hysgd_status snapshot_plan(const struct training *training, struct snapshot_place **places_out,
                                size_t *count_out) {
    struct snapshot_tensors list = {0};
    enum hysgd_status status = snapshot_tensors_init(&list, training, 0);
    if (status == HYSGD_OK) {
        snapshot_gather_vectors(&list, training, NULL);
        *places_out = list.places;
        *count_out = list.count;
        list.places = NULL;
    }
    snapshot_tensors_fini(&list);
    return status;
}

size_t snapshot_packed_count(const struct snapshot_place *places, size_t count, size_t first, size_t end) {
    uint64_t from, until, elements = 0;
    for (size_t i = 0; i < count; i++)
        if (overlap(&places[i], first, end, &from, &until))
            elements += until - from;
    return (size_t)elements;
}

void snapshot_pack(const struct snapshot_slice *slice, const struct snapshot_place *places, size_t count,
                   float *packed) {
    uint64_t from, until;
    for (size_t i = 0; i < count; i++) {
        if (!overlap(&places[i], slice->first, slice_end(slice), &from, &until))
            continue;
        const float *vector = snapshot_vector(slice->server, &places[i]);
        memcpy(packed, vector + (from - slice->first), (until - from) * sizeof *packed);
        packed += until - from;
    }
}

enum hysgd_status snapshot_unpack(const struct snapshot_slice *slice, const struct training *training,
                                  const struct snapshot_place *places, size_t count, const float *packed) {
    uint64_t from, until;
    HYSGD_TRY(snapshot_shape(slice->server, training, NULL));
    for (size_t i = 0; i < count; i++) {
        if (!overlap(&places[i], slice->first, slice_end(slice), &from, &until))
            continue;
        float *vector = snapshot_vector(slice->server, &places[i]);
        memcpy(vector + (from - slice->first), packed, (until - from) * sizeof *packed);
        packed += until - from;
    }
    return HYSGD_OK;
}
