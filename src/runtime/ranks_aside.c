/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a rank that evaluates and writes, so that neither holds its messages up. See ranks.h. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/ranks.h"

/* Nanoseconds between two looks of one who waits. */
#define NAP_NANOSECONDS 100000

static void *aside_main(void *argument) {
    struct ranks_aside *aside = argument;
    pthread_mutex_lock(&aside->lock);
    for (;;) {
        while (!aside->work && !aside->is_ending)
            pthread_cond_wait(&aside->wake, &aside->lock);
        if (!aside->work)
            break;
        pthread_mutex_unlock(&aside->lock);
        enum hysgd_status status = aside->work(aside->self);
        if (status != HYSGD_OK)
            snprintf(aside->message, sizeof aside->message, "%s", hysgd_error_message());
        pthread_mutex_lock(&aside->lock);
        aside->status = status;
        aside->work = NULL;
        aside->is_done = true;
        comm_wake(aside->ranks->comm);
    }
    pthread_mutex_unlock(&aside->lock);
    return NULL;
}

enum hysgd_status ranks_aside_start(struct ranks *ranks) {
    struct ranks_aside *aside = &ranks->aside;
    aside->ranks = ranks;
    pthread_mutex_init(&aside->lock, NULL);
    pthread_cond_init(&aside->wake, NULL);
    int fault = pthread_create(&aside->thread, NULL, aside_main, aside);
    if (fault != 0)
        return hysgd_fail(HYSGD_FAILED, "a thread cannot be started: %s", strerror(fault));
    aside->is_started = true;
    return HYSGD_OK;
}

void ranks_aside_stop(struct ranks_aside *aside) {
    if (!aside->is_started)
        return;
    pthread_mutex_lock(&aside->lock);
    aside->is_ending = true;
    pthread_cond_signal(&aside->wake);
    pthread_mutex_unlock(&aside->lock);
    pthread_join(aside->thread, NULL);
    pthread_cond_destroy(&aside->wake);
    pthread_mutex_destroy(&aside->lock);
}

void ranks_set_aside(struct ranks *ranks, enum hysgd_status (*work)(void *), void *self) {
    struct ranks_aside *aside = &ranks->aside;
    pthread_mutex_lock(&aside->lock);
    aside->work = work;
    aside->self = self;
    aside->is_done = false;
    pthread_cond_signal(&aside->wake);
    pthread_mutex_unlock(&aside->lock);
}

bool ranks_aside_is_done(struct ranks *ranks, enum hysgd_status *status_out) {
    struct ranks_aside *aside = &ranks->aside;
    pthread_mutex_lock(&aside->lock);
    bool is_done = aside->is_done;
    aside->is_done = false;
    pthread_mutex_unlock(&aside->lock);
    if (is_done) {
        *status_out = aside->status;
        if (aside->status != HYSGD_OK)
            status_set_message(aside->message);
    }
    return is_done;
}

bool ranks_aside_is_idle(struct ranks *ranks) {
    struct ranks_aside *aside = &ranks->aside;
    pthread_mutex_lock(&aside->lock);
    bool is_idle = aside->work == NULL;
    pthread_mutex_unlock(&aside->lock);
    return is_idle;
}

void ranks_aside_wait(struct ranks *ranks, enum hysgd_status *status_out) {
    while (!ranks_aside_is_idle(ranks))
        nanosleep(&(struct timespec){0, NAP_NANOSECONDS}, NULL);
    *status_out = HYSGD_OK;
    ranks_aside_is_done(ranks, status_out);
}
