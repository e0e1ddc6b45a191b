/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for signals in a thread of its own. */
#include "cli/signals.h"

#include <string.h>
#include <unistd.h>

void signals_ignore_write_faults(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static void add_unless_ignored(sigset_t *set, int number) {
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

static void *wait_for_signals(void *argument) {
    struct signals *signals = argument;
    int number;
    if (sigwait(&signals->set, &number) != 0)
        return NULL;
    signals->stop(signals->self);
    if (sigwait(&signals->set, &number) != 0)
        return NULL;
    /* The user insists: die of this signal, so that the shell sees it. */
    signal(number, SIG_DFL);
    kill(getpid(), number);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    return NULL;
}

enum hysgd_status signals_start(struct signals *signals, void (*stop)(void *self), void *self) {
    *signals = (struct signals){.stop = stop, .self = self};
    sigemptyset(&signals->set);
    add_unless_ignored(&signals->set, SIGINT);
    add_unless_ignored(&signals->set, SIGTERM);
    add_unless_ignored(&signals->set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals->set, &signals->before);
    int fault = pthread_create(&signals->thread, NULL, wait_for_signals, signals);
    if (fault != 0) {
        pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
        return hysgd_fail(HYSGD_FAILED, "no thread to wait for signals: %s", strerror(fault));
    }
    signals->is_started = true;
    return HYSGD_OK;
}

void signals_stop(struct signals *signals) {
    if (!signals->is_started)
        return;
    pthread_cancel(signals->thread);
    pthread_join(signals->thread, NULL);
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
    signals->is_started = false;
}
