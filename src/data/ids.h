/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of users or of items: what a file calls them, numbered in the order in which they first occur. Ids that
 * are all whole numbers below 2^63 as a computer would write them (no sign plus, no leading zeros) are kept as
 * numbers, else all are kept as texts, so that each id is given back exactly as it was written. */
#ifndef HYSGD_DATA_IDS_H
#define HYSGD_DATA_IDS_H

#include "base/status.h"

#define IDS_NONE UINT32_MAX
/* Enough for ids_text of any number. */
#define IDS_NUMBER_BYTES 24

/* Zeroed: no ids. */
struct ids {
    uint32_t count;
    bool are_texts;
    int64_t *numbers; /* [count], unless they are texts */
    char *texts;      /* [ends[count - 1]] the texts, one after another */
    uint64_t *ends;   /* [count] where each text ends */

    /* For finding them; none where ids_stop_finding gave it back. */
    uint64_t *slots;   /* [slot_count] open hash table: half the hash, then index + 1; 0: free */
    uint32_t *direct;  /* [direct_count] index + 1 of small numbers; 0: none, or it is in the hash table */
    size_t slot_count; /* 0 or a power of two */
    size_t direct_count;
    size_t hashed;   /* ids in the hash table */
    size_t capacity; /* of numbers or ends */
    size_t text_capacity;
};

/* The index of the id that is written so; IDS_NONE: there is none. */
uint32_t ids_find(const struct ids *ids, const char *text, size_t length);

/* The same; an id that is not there yet gets the next index. HYSGD_MEMORY; HYSGD_INPUT when there are 2^32 - 2
 * already. Either leaves the ids as they were. Numbers must not be added to texts, and ids_add_rare_number, which
 * does what ids_add_number does, is for the latter only. */
HYSGD_MUST_CHECK enum hysgd_status ids_add(struct ids *ids, const char *text, size_t length, uint32_t *index_out);
HYSGD_MUST_CHECK enum hysgd_status ids_add_rare_number(struct ids *ids, int64_t number, uint32_t *index_out);
HYSGD_MUST_CHECK static inline enum hysgd_status ids_add_number(struct ids *ids, int64_t number,
                                                                uint32_t *index_out) {
    if ((uint64_t)number >= ids->direct_count || ids->direct[number] == 0)
        return ids_add_rare_number(ids, number, index_out);
    *index_out = ids->direct[number] - 1;
    return HYSGD_OK;
}

/* The id of an index below count; numbers are written to `buffer`. Not terminated: the length is stored. */
const char *ids_text(const struct ids *ids, uint32_t index, char buffer[IDS_NUMBER_BYTES], size_t *length_out);

/* Turns numbers into texts, with the same indices. HYSGD_MEMORY leaves them as they were. */
HYSGD_MUST_CHECK enum hysgd_status ids_become_texts(struct ids *ids);

/* Gives back the memory that was taken in advance, when no more ids are expected; they may come all the same.
 * HYSGD_MEMORY leaves the ids as they were. */
HYSGD_MUST_CHECK enum hysgd_status ids_shrink(struct ids *ids);

/* Gives back what is for finding ids, when none will be looked for. Where one is all the same, ids_find looks
 * through all of them, and the first that is added makes it again. */
void ids_stop_finding(struct ids *ids);

void ids_fini(struct ids *ids);

/* Whether the text is a whole number in its only spelling; writes it. */
bool ids_read_number(const char *text, size_t length, int64_t *number_out);

#endif
