/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap: see agenda.h. */
#include "runtime/agenda.h"

#include "base/memory.h"

enum hysgd_status agenda_init(struct agenda *agenda, int capacity) {
    *agenda = (struct agenda){.capacity = capacity};
    return memory_alloc((size_t)capacity, sizeof *agenda->entries, &agenda->entries);
}

void agenda_fini(struct agenda *agenda) {
    memory_free(agenda->entries);
    *agenda = (struct agenda){0};
}

static bool is_before(const struct agenda_entry *left, const struct agenda_entry *right) {
    return left->seconds < right->seconds || (left->seconds == right->seconds && left->order < right->order);
}

/* Puts the entry where it belongs between the hole, which may be filled, and the first. */
static void rise(struct agenda *agenda, int hole, const struct agenda_entry *entry) {
    while (hole > 0 && is_before(entry, &agenda->entries[(hole - 1) / 2])) {
        agenda->entries[hole] = agenda->entries[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    agenda->entries[hole] = *entry;
}

void agenda_add(struct agenda *agenda, const struct agenda_entry *entry) {
    rise(agenda, agenda->count++, entry);
}

void agenda_hasten(struct agenda *agenda, const struct agenda_entry *entry) {
    int place = 0;
    while (agenda->entries[place].order != entry->order)
        place++;
    rise(agenda, place, entry);
}

const struct agenda_entry *agenda_first(const struct agenda *agenda) {
    return agenda->count > 0 ? agenda->entries : NULL;
}

void agenda_remove_first(struct agenda *agenda) {
    const struct agenda_entry last = agenda->entries[--agenda->count];
    int hole = 0;
    for (int child; (child = 2 * hole + 1) < agenda->count; hole = child) {
        if (child + 1 < agenda->count && is_before(&agenda->entries[child + 1], &agenda->entries[child]))
            child++;
        if (!is_before(&agenda->entries[child], &last))
            break;
        agenda->entries[hole] = agenda->entries[child];
    }
    agenda->entries[hole] = last;
}
