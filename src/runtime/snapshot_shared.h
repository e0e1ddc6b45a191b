/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of a run whose vectors are in several processes: each writes and reads what it has, and the file is
 * byte for byte that of a run in one process.
 *
 * The process with the engine takes the image (drive_begin_save), begins the file and tells the others its
 * temporary path and its places. Each takes its part at the same point of the run, writes it, and answers. When all
 * have answered well the file is committed, else it is aborted and the old one stays as it is. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_SHARED_H
#define HYSGD_RUNTIME_SNAPSHOT_SHARED_H

#include "runtime/snapshot.h"

struct snapshot_file; /* that is being written */

/* Writes the tables, and makes room for the vectors. HYSGD_OUTPUT names the path; nothing is left then. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_begin(const struct snapshot_image *image,
                                                  const struct training_setup *setup,
                                                  struct snapshot_file **file_out);
const char *snapshot_temporary(const struct snapshot_file *file);
const struct snapshot_place *snapshot_places(const struct snapshot_file *file, size_t *count_out);

/* Both free the file. HYSGD_OUTPUT: the old one is whole. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_commit(struct snapshot_file *file);
void snapshot_abort(struct snapshot_file *file);

/* A server that has a slice of the vectors, from element `first`. */
struct snapshot_slice {
    struct server *server;
    size_t first;
};

/* What a process has of a run. */
struct snapshot_holdings {
    const struct snapshot_slice *slices; /* [slice_count] */
    int slice_count;
    const struct training *training; /* that computes for `worker`, whose deliveries are settled; -1: for none */
    int worker;
    bool is_before; /* its latest delivery does not count yet */
};

/* What a process writes: references to vectors that must not change until it is written, or, with `copies`, memory
 * of its own. HYSGD_MEMORY; HYSGD_DIVERGED: a parameter is not finite, and must not replace one that is. */
struct snapshot_part;
HYSGD_MUST_CHECK enum hysgd_status snapshot_take_part(const struct snapshot_holdings *holdings,
                                                      const struct snapshot_place *places, size_t count,
                                                      bool copies, struct snapshot_part **part_out);
void snapshot_discard_part(struct snapshot_part *part);

/* By any thread. HYSGD_OUTPUT names the path. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_write_part(const struct snapshot_part *part, const char *temporary);

/* After training_resume of the same path: fills servers that have just been made. HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_read_slices(const struct training *training, const char *path,
                                                        const struct snapshot_slice *slices, int slice_count);

/* After training_resume of the same path, or where the state is that which the file had: fills what the worker of
 * this process keeps. HYSGD_INPUT, HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_read_own(struct training *training, const char *path);

/* ---- The same vectors without a file ---- */

/* The places of what the servers have at this point of the run, for memory_free. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_plan(const struct training *training,
                                                 struct snapshot_place **places_out, size_t *count_out);

/* The elements of all of them in the slice [first, end), and the elements themselves, one place after the other. */
size_t snapshot_packed_count(const struct snapshot_place *places, size_t count, size_t first, size_t end);
void snapshot_pack(const struct snapshot_slice *slice, const struct snapshot_place *places, size_t count,
                   float *packed_out);

/* Fills a server that has just been made, where the engine's state is that of the plan. HYSGD_MEMORY. */
HYSGD_MUST_CHECK enum hysgd_status snapshot_unpack(const struct snapshot_slice *slice,
                                                   const struct training *training,
                                                   const struct snapshot_place *places, size_t count,
                                                   const float *packed);

#endif
