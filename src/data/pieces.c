/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that take numbered pieces of work until there are none left. They are started for each run: that costs
 * less than a page of the memory that the work is about. */
#include "data/pieces.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/machine.h"

#define MESSAGE_BYTES 1024

struct crew {
    pieces_work work;
    void *context;
    size_t count;
    atomic_size_t next; /* the next piece to begin */
    atomic_bool has_failed;

    pthread_mutex_t lock; /* of what follows: the failure with the least number so far */
    enum hysgd_status status;
    size_t failed;
    char message[MESSAGE_BYTES];
};

struct lane {
    struct crew *crew;
    int number;
    pthread_t thread;
};

int pieces_lanes(int wanted, size_t count) {
    int lanes = wanted > 0 ? wanted : machine_cores();
    lanes = lanes < PIECES_MOST_LANES ? lanes : PIECES_MOST_LANES;
    if ((size_t)lanes > count)
        lanes = (int)count;
    return lanes > 0 ? lanes : 1;
}

static void note_failure(struct crew *crew, enum hysgd_status status, size_t k) {
    pthread_mutex_lock(&crew->lock);
    if (crew->status == HYSGD_OK || k < crew->failed) {
        crew->status = status;
        crew->failed = k;
        snprintf(crew->message, sizeof crew->message, "%s", hysgd_error_message());
    }
    pthread_mutex_unlock(&crew->lock);
    atomic_store(&crew->has_failed, true);
}

static void *lane_run(void *argument) {
    const struct lane *lane = argument;
    struct crew *crew = lane->crew;
    while (!atomic_load(&crew->has_failed)) {
        size_t k = atomic_fetch_add(&crew->next, 1);
        if (k >= crew->count)
            break;
        enum hysgd_status status = crew->work(crew->context, lane->number, k);
        if (status != HYSGD_OK)
            note_failure(crew, status, k);
    }
    return NULL;
}

enum hysgd_status pieces_run(size_t count, int lanes, pieces_work work, void *context, size_t *failed_out) {
    struct crew crew = {.work = work, .context = context, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct lane lane[PIECES_MOST_LANES];
    int started = 1;
    for (int i = 0; i < lanes; i++)
        lane[i] = (struct lane){.crew = &crew, .number = i};
    while (started < lanes && pthread_create(&lane[started].thread, NULL, lane_run, &lane[started]) == 0)
        started++;
    lane_run(&lane[0]);
    while (--started > 0)
        pthread_join(lane[started].thread, NULL);
    pthread_mutex_destroy(&crew.lock);
    if (crew.status == HYSGD_OK)
        return HYSGD_OK;
    status_set_message(crew.message);
    if (failed_out != NULL)
        *failed_out = crew.failed;
    return crew.status;
}
