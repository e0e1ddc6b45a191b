/* SPDX-License-Identifier: Apache-2.0 */
/* Numbering ids. Small numbers that lie densely, the common case, are looked up in a plain array; all others and
 * texts in a hash table with linear probing, whose slots hold half of the hash so that most misses touch no id. */
#include "data/ids.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define LEAST_SLOTS 64
#define LEAST_IDS   64
#define LEAST_BYTES 1024
/* The array holds a number that is below so many times the number of ids, plus a start, and never more than MOST.
 */
#define DIRECT_SPARSITY 16
#define DIRECT_START    4096
#define DIRECT_MOST     ((size_t)1 << 26)
/* Numbers of so many digits are below 2^64. */
#define MOST_DIGITS 19

bool ids_read_number(const char *text, size_t length, int64_t *number_out) {
    bool is_negative = length > 0 && *text == '-';
    const char *digits = text + is_negative;
    size_t count = length - is_negative;
    uint64_t magnitude = 0;
    if (count == 0 || count > MOST_DIGITS || (*digits == '0' && (count > 1 || is_negative)))
        return false;
    for (size_t i = 0; i < count; i++) {
        unsigned digit = (unsigned char)digits[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        magnitude = 10 * magnitude + digit;
    }
    if (magnitude > INT64_MAX)
        return false;
    *number_out = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

/* The finalizer of MurmurHash3: every bit of the key changes every bit of the hash. */
static uint64_t mix(uint64_t key) {
    key = (key ^ key >> 33) * UINT64_C(0xff51afd7ed558ccd);
    key = (key ^ key >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return key ^ key >> 33;
}

static uint64_t hash_text(const char *text, size_t length) {
    uint64_t hash = length, word;
    for (; length >= sizeof word; length -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = mix(hash ^ word);
    }
    word = 0;
    memcpy(&word, text, length);
    return mix(hash ^ word ^ (uint64_t)length << 56);
}

static const char *text_at(const struct ids *ids, uint32_t index, size_t *length_out) {
    uint64_t first = index > 0 ? ids->ends[index - 1] : 0;
    *length_out = ids->ends[index] - first;
    return ids->texts + first;
}

static uint64_t slot_of(uint64_t hash, uint32_t index) {
    return hash >> 32 << 32 | (index + UINT32_C(1));
}

/* A walk over the slots in which a hash may be. */
struct probe {
    size_t position, mask;
};

static struct probe probe_start(const struct ids *ids, uint64_t hash) {
    size_t mask = ids->slot_count - 1;
    return (struct probe){.position = (size_t)hash & mask, .mask = mask};
}

static void probe_step(struct probe *probe) {
    probe->position = (probe->position + 1) & probe->mask;
}

static uint32_t find_hashed_number(const struct ids *ids, int64_t number) {
    if (ids->hashed == 0)
        return IDS_NONE;
    uint64_t hash = mix((uint64_t)number), slot;
    for (struct probe probe = probe_start(ids, hash); (slot = ids->slots[probe.position]) != 0; probe_step(&probe))
        if (slot >> 32 == hash >> 32 && ids->numbers[(uint32_t)slot - 1] == number)
            return (uint32_t)slot - 1;
    return IDS_NONE;
}

/* Whether what is for finding ids was given back. */
static bool has_stopped_finding(const struct ids *ids) {
    return ids->count > 0 && ids->slot_count == 0 && ids->direct_count == 0;
}

static uint32_t search_number(const struct ids *ids, int64_t number) {
    for (uint32_t i = 0; i < ids->count; i++)
        if (ids->numbers[i] == number)
            return i;
    return IDS_NONE;
}

static uint32_t find_number(const struct ids *ids, int64_t number) {
    if (has_stopped_finding(ids))
        return search_number(ids, number);
    if ((uint64_t)number < ids->direct_count && ids->direct[number] != 0)
        return ids->direct[number] - 1;
    return find_hashed_number(ids, number);
}

static uint32_t search_text(const struct ids *ids, const char *text, size_t length) {
    for (uint32_t i = 0; i < ids->count; i++) {
        size_t other_length;
        const char *other = text_at(ids, i, &other_length);
        if (other_length == length && memcmp(other, text, length) == 0)
            return i;
    }
    return IDS_NONE;
}

static uint32_t find_text(const struct ids *ids, uint64_t hash, const char *text, size_t length) {
    uint64_t slot;
    if (has_stopped_finding(ids))
        return search_text(ids, text, length);
    if (ids->hashed == 0)
        return IDS_NONE;
    for (struct probe probe = probe_start(ids, hash); (slot = ids->slots[probe.position]) != 0;
         probe_step(&probe)) {
        if (slot >> 32 != hash >> 32)
            continue;
        size_t other_length;
        const char *other = text_at(ids, (uint32_t)slot - 1, &other_length);
        if (other_length == length && memcmp(other, text, length) == 0)
            return (uint32_t)slot - 1;
    }
    return IDS_NONE;
}

uint32_t ids_find(const struct ids *ids, const char *text, size_t length) {
    int64_t number;
    if (ids->are_texts)
        return find_text(ids, hash_text(text, length), text, length);
    return ids_read_number(text, length, &number) ? find_number(ids, number) : IDS_NONE;
}

static size_t most_of(size_t a, size_t b) {
    return a > b ? a : b;
}

static void put_slot(uint64_t *slots, size_t slot_count, uint64_t hash, uint32_t index) {
    size_t position = (size_t)hash & (slot_count - 1);
    while (slots[position] != 0)
        position = (position + 1) & (slot_count - 1);
    slots[position] = slot_of(hash, index);
}

static uint64_t hash_of(const struct ids *ids, uint32_t index) {
    if (!ids->are_texts)
        return mix((uint64_t)ids->numbers[index]);
    size_t length;
    const char *text = text_at(ids, index, &length);
    return hash_text(text, length);
}

/* Makes sure that one more id leaves a third of the slots free. */
static enum hysgd_status reserve_slot(struct ids *ids) {
    if (3 * (ids->hashed + 1) <= 2 * ids->slot_count)
        return HYSGD_OK;
    size_t wanted = most_of(LEAST_SLOTS, 2 * ids->slot_count);
    uint64_t *slots;
    HYSGD_TRY(memory_alloc(wanted, sizeof *slots, &slots));
    for (size_t i = 0; i < ids->slot_count; i++) {
        uint32_t index = (uint32_t)ids->slots[i] - 1;
        if (ids->slots[i] != 0)
            put_slot(slots, wanted, hash_of(ids, index), index);
    }
    memory_free(ids->slots);
    ids->slots = slots;
    ids->slot_count = wanted;
    return HYSGD_OK;
}

/* Room for one more id in the array of what is kept of each. */
static enum hysgd_status reserve_id(struct ids *ids) {
    if (ids->count == IDS_NONE - 1)
        return hysgd_fail(HYSGD_INPUT, "more than %u different ids of users or items", ids->count);
    if (ids->count < ids->capacity)
        return HYSGD_OK;
    size_t wanted = most_of(LEAST_IDS, 2 * ids->capacity);
    HYSGD_TRY(ids->are_texts ? memory_enlarge(&ids->ends, ids->count, wanted, sizeof *ids->ends)
                             : memory_enlarge(&ids->numbers, ids->count, wanted, sizeof *ids->numbers));
    ids->capacity = wanted;
    return HYSGD_OK;
}

/* Whether the number with this index belongs into the array, which then has a place for it. */
static enum hysgd_status reserve_direct(struct ids *ids, int64_t number, uint32_t index, bool *is_direct_out) {
    uint64_t place = (uint64_t)number; /* negative numbers become too large */
    size_t wanted = most_of(DIRECT_START, ids->direct_count);
    *is_direct_out = place < DIRECT_MOST && place < DIRECT_START + DIRECT_SPARSITY * (uint64_t)index;
    if (!*is_direct_out || place < ids->direct_count)
        return HYSGD_OK;
    while (wanted <= place)
        wanted *= 2;
    HYSGD_TRY(memory_enlarge(&ids->direct, ids->direct_count, wanted, sizeof *ids->direct));
    ids->direct_count = wanted;
    return HYSGD_OK;
}

/* Lets the number, which is not there yet, be found at the index. */
static enum hysgd_status enter_number(struct ids *ids, int64_t number, uint32_t index) {
    bool is_direct;
    HYSGD_TRY(reserve_direct(ids, number, index, &is_direct));
    if (is_direct) {
        ids->direct[number] = index + 1;
        return HYSGD_OK;
    }
    HYSGD_TRY(reserve_slot(ids));
    put_slot(ids->slots, ids->slot_count, mix((uint64_t)number), index);
    ids->hashed++;
    return HYSGD_OK;
}

static enum hysgd_status enter_text(struct ids *ids, uint64_t hash, uint32_t index) {
    HYSGD_TRY(reserve_slot(ids));
    put_slot(ids->slots, ids->slot_count, hash, index);
    ids->hashed++;
    return HYSGD_OK;
}

/* Makes again what is for finding ids, where it was given back. */
static enum hysgd_status resume_finding(struct ids *ids) {
    enum hysgd_status status = HYSGD_OK;
    if (!has_stopped_finding(ids))
        return HYSGD_OK;
    for (uint32_t i = 0; i < ids->count && status == HYSGD_OK; i++)
        status = ids->are_texts ? enter_text(ids, hash_of(ids, i), i) : enter_number(ids, ids->numbers[i], i);
    if (status != HYSGD_OK)
        ids_stop_finding(ids);
    return status;
}

enum hysgd_status ids_add_rare_number(struct ids *ids, int64_t number, uint32_t *index_out) {
    HYSGD_TRY(resume_finding(ids));
    uint32_t index = find_number(ids, number);
    if (index == IDS_NONE) {
        HYSGD_TRY(reserve_id(ids));
        HYSGD_TRY(enter_number(ids, number, ids->count));
        index = ids->count++;
        ids->numbers[index] = number;
    }
    *index_out = index;
    return HYSGD_OK;
}

static enum hysgd_status add_text(struct ids *ids, const char *text, size_t length, uint32_t *index_out) {
    HYSGD_TRY(resume_finding(ids));
    uint64_t hash = hash_text(text, length);
    uint32_t index = find_text(ids, hash, text, length);
    if (index == IDS_NONE) {
        uint64_t used = ids->count > 0 ? ids->ends[ids->count - 1] : 0;
        HYSGD_TRY(reserve_id(ids));
        if (ids->text_capacity - used < length) {
            size_t wanted = most_of(LEAST_BYTES, 2 * ids->text_capacity + length);
            HYSGD_TRY(memory_enlarge(&ids->texts, used, wanted, 1));
            ids->text_capacity = wanted;
        }
        HYSGD_TRY(enter_text(ids, hash, ids->count));
        memcpy(ids->texts + used, text, length);
        index = ids->count++;
        ids->ends[index] = used + length;
    }
    *index_out = index;
    return HYSGD_OK;
}

enum hysgd_status ids_add(struct ids *ids, const char *text, size_t length, uint32_t *index_out) {
    int64_t number;
    if (!ids->are_texts && ids_read_number(text, length, &number))
        return ids_add_number(ids, number, index_out);
    if (!ids->are_texts)
        HYSGD_TRY(ids_become_texts(ids));
    return add_text(ids, text, length, index_out);
}

const char *ids_text(const struct ids *ids, uint32_t index, char buffer[IDS_NUMBER_BYTES], size_t *length_out) {
    if (ids->are_texts)
        return text_at(ids, index, length_out);
    int64_t number = ids->numbers[index];
    uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char *text = buffer + IDS_NUMBER_BYTES;
    do
        *--text = (char)('0' + magnitude % 10);
    while ((magnitude /= 10) > 0);
    if (number < 0)
        *--text = '-';
    *length_out = (size_t)(buffer + IDS_NUMBER_BYTES - text);
    return text;
}

enum hysgd_status ids_become_texts(struct ids *ids) {
    struct ids texts = {.are_texts = true};
    for (uint32_t i = 0; !ids->are_texts && i < ids->count; i++) {
        char buffer[IDS_NUMBER_BYTES];
        size_t length;
        uint32_t index;
        const char *text = ids_text(ids, i, buffer, &length);
        enum hysgd_status status = add_text(&texts, text, length, &index);
        if (status != HYSGD_OK) {
            ids_fini(&texts);
            return status;
        }
    }
    if (!ids->are_texts) {
        ids_fini(ids);
        *ids = texts;
    }
    return HYSGD_OK;
}

/* The array of numbers is cut behind the largest that is in it. */
static enum hysgd_status shrink_direct(struct ids *ids) {
    size_t end = ids->direct_count;
    while (end > 0 && ids->direct[end - 1] == 0)
        end--;
    HYSGD_TRY(memory_enlarge(&ids->direct, end, end, sizeof *ids->direct));
    ids->direct_count = end;
    return HYSGD_OK;
}

enum hysgd_status ids_shrink(struct ids *ids) {
    const size_t count = ids->count;
    if (count == 0)
        return HYSGD_OK;
    if (!ids->are_texts) {
        HYSGD_TRY(memory_enlarge(&ids->numbers, count, count, sizeof *ids->numbers));
        ids->capacity = count;
        return shrink_direct(ids);
    }
    HYSGD_TRY(memory_enlarge(&ids->ends, count, count, sizeof *ids->ends));
    ids->capacity = count;
    size_t bytes = (size_t)ids->ends[count - 1];
    HYSGD_TRY(memory_enlarge(&ids->texts, bytes, bytes, 1));
    ids->text_capacity = bytes;
    return HYSGD_OK;
}

void ids_stop_finding(struct ids *ids) {
    memory_free(ids->slots);
    memory_free(ids->direct);
    ids->slots = NULL;
    ids->direct = NULL;
    ids->slot_count = ids->direct_count = ids->hashed = 0;
}

void ids_fini(struct ids *ids) {
    ids_stop_finding(ids);
    memory_free(ids->numbers);
    memory_free(ids->texts);
    memory_free(ids->ends);
    *ids = (struct ids){0};
}
