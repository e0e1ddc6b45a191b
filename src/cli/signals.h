/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the first interrupt (SIGINT, SIGTERM, SIGHUP) into a polite request to stop; the second one kills as usual.
 */
#ifndef HYSGD_CLI_SIGNALS_H
#define HYSGD_CLI_SIGNALS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/status.h"

/* Writes to closed pipes and beyond the file size limit become errors of the writing call. */
void signals_ignore_write_faults(void);

/* A thread that waits for signals, so that no signal handler and no global state is needed. */
struct signals {
    void (*stop)(void *self); /* called in the waiting thread */
    void *self;
    sigset_t set, before;
    pthread_t thread;
    bool is_started;
};

/* Call before any other thread is made, for they must leave the signals to this one. Signals that are ignored
 * already (nohup, background jobs) stay so. HYSGD_FAILED. */
HYSGD_MUST_CHECK enum hysgd_status signals_start(struct signals *signals, void (*stop)(void *self), void *self);

/* Safe on zeroed signals. */
void signals_stop(struct signals *signals);

#endif
