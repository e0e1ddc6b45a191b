/* SPDX-License-Identifier: Apache-2.0 */
/* What a run that goes back to an earlier state does and records, whatever clock drives it: see drive.h. */
#include "base/memory.h"
#include "runtime/drive.h"
#include "runtime/snapshot.h"
#include "runtime/worker.h"

void drive_count_received(const struct training *training, uint64_t *received) {
    for (int i = 0; i < training->setup->workers; i++) {
        const struct engine_worker *worker = &training->engine.workers[i];
        received[i] = worker->applied + worker->dropped + worker->held;
    }
}

void drive_go_back(struct training *training, double seconds) {
    struct hysgd_progress *progress = &training->engine.progress;
    training->start_seconds = seconds;
    training->evaluated_version = UINT64_MAX;
    progress->seconds = seconds;
    progress->fraction = drive_fraction(training, seconds);
    for (int i = 0; i < training->setup->workers; i++)
        training->workers[i].is_under_way = false;
}

uint64_t drive_undone(const struct training *training, const struct drive_return *back) {
    uint64_t received = 0;
    for (int i = 0; back->received && i < training->setup->workers; i++)
        received += back->received[i];
    if (!back->received)
        return back->undone;
    return received > training->engine.progress.received ? received - training->engine.progress.received : 0;
}

/* Counts what is undone, of each worker where that is known; returns how much more that is. Less, where the run
 * went back too far before, because somebody else was lost meanwhile. */
static int64_t count_undone(struct training *training, const struct drive_return *back) {
    int64_t undone = 0;
    if (!back->received)
        return (int64_t)back->undone;
    for (int i = 0; i < training->setup->workers; i++) {
        const struct engine_worker *worker = &training->engine.workers[i];
        int64_t more = (int64_t)(back->received[i] - (worker->applied + worker->dropped + worker->held));
        training->accounts[i].undone += (uint64_t)more;
        undone += more;
    }
    return undone;
}

void drive_note_restored(struct training *training, const struct drive_return *back) {
    const struct hysgd_progress *progress = &training->engine.progress;
    bool is_here = back->place.log == training->place.log;
    int64_t undone = count_undone(training, back);
    training->returns++;
    training->undone += (uint64_t)undone;
    drive_emit(training, &(struct event){.kind = EVENT_RESTORED,
                                         .worker = -1,
                                         .seconds = training->start_seconds,
                                         .version = progress->version,
                                         .restored = {.received = progress->received,
                                                      .batches = training->engine.received_batches,
                                                      .undone = undone > 0 ? (uint64_t)undone : 0,
                                                      .kept = is_here ? back->place.events : EVENT_NOT_HERE,
                                                      .rank = back->rank}});
}

void drive_note_copied(struct training *training, double seconds) {
    const struct hysgd_progress *progress = &training->engine.progress;
    drive_emit(training, &(struct event){.kind = EVENT_COPIED,
                                         .worker = -1,
                                         .seconds = seconds,
                                         .version = progress->version,
                                         .copied = {.received = progress->received}});
}

enum hysgd_status drive_copy_and_restore(struct training *training) {
    struct snapshot_image *image;
    unsigned char *bytes = NULL;
    size_t length = 0;
    HYSGD_TRY(snapshot_take(training, 0, NULL, &image));
    enum hysgd_status status = snapshot_store_state(image, training->setup, &bytes, &length);
    snapshot_discard(image);
    if (status == HYSGD_OK)
        status = snapshot_restore_state(training, bytes, length);
    memory_free(bytes);
    return status;
}
