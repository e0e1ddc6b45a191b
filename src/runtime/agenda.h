/* SPDX-License-Identifier: Apache-2.0 */
/* The agenda of a discrete-event simulation: what happens next, by time and then by the order of insertion. */
#ifndef HYSGD_RUNTIME_AGENDA_H
#define HYSGD_RUNTIME_AGENDA_H

#include "base/status.h"

enum agenda_kind {
    AGENDA_ARRIVES,  /* the worker's gradient, at the server */
    AGENDA_GIVES_UP, /* the worker, its gradient */
    AGENDA_LOST,     /* the worker leaves */
    AGENDA_JOINS     /* it takes part again, or for the first time */
};

struct agenda_entry {
    double seconds;
    uint64_t order; /* unique; breaks ties */
    int worker;
    enum agenda_kind kind;
};

struct agenda {
    struct agenda_entry *entries; /* a binary heap with the earliest first */
    int count, capacity;
};

/* Room for `capacity` entries at a time. HYSGD_MEMORY; safe to fini when it fails. */
HYSGD_MUST_CHECK enum hysgd_status agenda_init(struct agenda *agenda, int capacity);
void agenda_fini(struct agenda *agenda);

/* Adds an entry; there must be room. */
void agenda_add(struct agenda *agenda, const struct agenda_entry *entry);

/* Puts an entry that is no later in the place of the one with the same order, which must be there. */
void agenda_hasten(struct agenda *agenda, const struct agenda_entry *entry);

/* The earliest entry, or NULL; and its removal. */
const struct agenda_entry *agenda_first(const struct agenda *agenda);
void agenda_remove_first(struct agenda *agenda);

#endif
