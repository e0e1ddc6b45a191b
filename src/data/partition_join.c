/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of a worker that joins, taken from those that are there: see partition.h. */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "data/partition.h"

/* What is needed while all is dealt anew. */
struct deal {
    const struct partition *partition;
    int worker;         /* that joins */
    uint64_t samples;   /* of all workers */
    uint64_t *before;   /* [samples] those of worker w from start[w] on, */
    uint64_t *start;    /* [workers + 1] */
    bool *moves;        /* [samples] at these places: they go to who joins */
    uint64_t *left;     /* [workers] samples that stay */
    bool *had;          /* [samples] by index: who joins had them when it was lost */
    uint64_t *row_size; /* [row_count] samples of the row, */
    uint64_t *rows;     /* [workers] rows that the worker has, where rows stay with one; */
    bool *row_moves;    /* [row_count] */
    uint64_t *cursors;  /* [2][workers] all rows from there on that it had have been given, and all others */
};

static enum hysgd_status alloc_deal(struct deal *deal) {
    const struct partition *partition = deal->partition;
    size_t workers = (size_t)partition->workers;
    HYSGD_TRY(memory_alloc(deal->samples, sizeof *deal->before, &deal->before));
    HYSGD_TRY(memory_alloc(workers + 1, sizeof *deal->start, &deal->start));
    HYSGD_TRY(memory_alloc(deal->samples, sizeof *deal->moves, &deal->moves));
    HYSGD_TRY(memory_alloc(workers, sizeof *deal->left, &deal->left));
    HYSGD_TRY(memory_alloc(partition->first[workers], sizeof *deal->had, &deal->had));
    if (!partition->rows)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(partition->row_count, sizeof *deal->row_size, &deal->row_size));
    HYSGD_TRY(memory_alloc(partition->row_count, sizeof *deal->row_moves, &deal->row_moves));
    HYSGD_TRY(memory_alloc(2 * workers, sizeof *deal->cursors, &deal->cursors));
    return memory_alloc(workers, sizeof *deal->rows, &deal->rows);
}

static void free_deal(struct deal *deal) {
    memory_free(deal->before);
    memory_free(deal->start);
    memory_free(deal->moves);
    memory_free(deal->left);
    memory_free(deal->had);
    memory_free(deal->row_size);
    memory_free(deal->row_moves);
    memory_free(deal->rows);
    memory_free(deal->cursors);
}

static void count_rows(struct deal *deal) {
    const struct partition *partition = deal->partition;
    for (int w = 0; w < partition->workers; w++) {
        deal->cursors[2 * w] = deal->cursors[2 * w + 1] = deal->start[w + 1];
        for (uint64_t i = deal->start[w]; i < deal->start[w + 1]; i++)
            deal->rows[w] += deal->row_size[partition->rows[deal->before[i]]]++ == 0;
    }
}

static void gather_all(struct deal *deal) {
    const struct partition *partition = deal->partition;
    for (int w = 0; w < partition->workers; w++) {
        deal->left[w] = partition->counts[w];
        deal->start[w + 1] = deal->start[w] + partition->counts[w];
        if (partition->counts[w] > 0)
            partition_gather(partition, w, partition->change_count, deal->before + deal->start[w]);
    }
    if (partition->rows)
        count_rows(deal);
}

/* How many samples who joins is to get: as many as it had when it was lost, which are marked; else a fair share. */
static uint64_t find_share(struct deal *deal) {
    const struct partition *partition = deal->partition;
    uint64_t present = 1;
    for (int i = partition->change_count; i-- > 0;) {
        const struct partition_change *loss = &partition->changes[i];
        if (loss->worker != deal->worker)
            continue;
        uint64_t count = loss->first[partition->workers];
        for (uint64_t k = 0; k < count; k++)
            deal->had[loss->indices[k]] = true;
        return count;
    }
    for (int w = 0; w < partition->workers; w++)
        present += partition->counts[w] > 0;
    return deal->samples / present;
}

/* Who has the most, the lowest number of several; with more than one row, where rows stay together. -1: nobody. */
static int find_richest(const struct deal *deal) {
    int richest = -1;
    for (int w = 0; w < deal->partition->workers; w++) {
        uint64_t units = deal->rows ? deal->rows[w] : deal->left[w];
        if (units > 1 && (richest < 0 || deal->left[w] > deal->left[richest]))
            richest = w;
    }
    return richest;
}

/* The last row of a worker that it still has, first of those that who joins had. */
static uint64_t take_row(struct deal *deal, int from) {
    const uint32_t *rows = deal->partition->rows;
    for (int only_had = 1; only_had >= 0; only_had--)
        for (uint64_t *cursor = &deal->cursors[2 * from + only_had]; *cursor > deal->start[from];) {
            uint64_t sample = deal->before[--*cursor];
            uint32_t row = rows[sample];
            if (deal->row_moves[row] || (only_had && !deal->had[sample]))
                continue;
            deal->row_moves[row] = true;
            deal->rows[from]--;
            deal->left[from] -= deal->row_size[row];
            return deal->row_size[row];
        }
    return 0; /* never: it has more than one */
}

/* What a worker gives: the last that who joins had, then the last. */
static void mark_given(struct deal *deal, int from) {
    uint64_t first = deal->start[from], end = deal->start[from + 1], missing = end - first - deal->left[from];
    for (int only_had = 1; only_had >= 0; only_had--)
        for (uint64_t i = end; missing > 0 && i-- > first;) {
            if (deal->moves[i] || (only_had && !deal->had[deal->before[i]]))
                continue;
            deal->moves[i] = true;
            missing--;
        }
}

/* From those who have the most. */
static uint64_t take_share(struct deal *deal) {
    const struct partition *partition = deal->partition;
    uint64_t taken = 0, share = find_share(deal);
    for (int from; taken < share && (from = find_richest(deal)) >= 0;) {
        if (deal->rows)
            taken += take_row(deal, from);
        else
            taken++, deal->left[from]--;
    }
    for (int w = 0; !deal->rows && w < partition->workers; w++)
        mark_given(deal, w);
    for (uint64_t i = 0; deal->rows && i < deal->samples; i++)
        deal->moves[i] = deal->row_moves[partition->rows[deal->before[i]]];
    return taken;
}

/* Who joins has its samples in the order of those that it has them from. */
static void write_change(const struct deal *deal, uint64_t taken, struct partition_change *change) {
    const struct partition *partition = deal->partition;
    for (int w = 0; w < partition->workers; w++)
        change->first[w + 1] = change->first[w] + (w == deal->worker ? taken : deal->left[w]);
    uint64_t *joined = change->indices + change->first[deal->worker];
    for (int w = 0; w < partition->workers; w++) {
        uint64_t *stays = change->indices + change->first[w];
        for (uint64_t i = deal->start[w]; i < deal->start[w + 1]; i++)
            *(deal->moves[i] ? joined++ : stays++) = deal->before[i];
    }
}

static enum hysgd_status make_change(struct deal *deal, struct partition_change *change) {
    const struct partition *partition = deal->partition;
    HYSGD_TRY(alloc_deal(deal));
    HYSGD_TRY(memory_alloc((size_t)partition->workers + 1, sizeof *change->first, &change->first));
    HYSGD_TRY(memory_alloc(deal->samples, sizeof *change->indices, &change->indices));
    gather_all(deal);
    uint64_t taken = take_share(deal);
    if (taken == 0)
        return hysgd_fail(HYSGD_FAILED, "worker %d cannot join: the others have no training sample to spare",
                          deal->worker);
    write_change(deal, taken, change);
    return HYSGD_OK;
}

enum hysgd_status partition_join(struct partition *partition, int worker) {
    struct partition_change *change = &partition->changes[partition->change_count];
    struct deal deal = {.partition = partition, .worker = worker};
    if (partition->counts[worker] > 0)
        return HYSGD_OK;
    if (partition->join_count == PARTITION_MOST_JOINS)
        return hysgd_fail(HYSGD_FAILED, "worker %d cannot join: %d have joined, which is all that can", worker,
                          PARTITION_MOST_JOINS);
    for (int w = 0; w < partition->workers; w++)
        deal.samples += partition->counts[w];
    *change = (struct partition_change){.worker = worker, .is_join = true};
    enum hysgd_status status = make_change(&deal, change);
    free_deal(&deal);
    if (status != HYSGD_OK) {
        memory_free(change->indices);
        memory_free(change->first);
        *change = (struct partition_change){0};
        return status;
    }
    for (int w = 0; w < partition->workers; w++)
        partition->counts[w] = change->first[w + 1] - change->first[w];
    partition->join_count++;
    partition->change_count++;
    return HYSGD_OK;
}

/* Adds `places` elements, which repeat `last`, to an array of `count`. */
static enum hysgd_status extend(uint64_t **array, size_t count, size_t places, uint64_t last) {
    HYSGD_TRY(memory_enlarge(array, count, count + places, sizeof **array));
    for (size_t i = count; i < count + places; i++)
        (*array)[i] = last;
    return HYSGD_OK;
}

enum hysgd_status partition_add_places(struct partition *partition, int places) {
    size_t workers = (size_t)partition->workers;
    if (places == 0)
        return HYSGD_OK;
    HYSGD_TRY(extend(&partition->first, workers + 1, (size_t)places, partition->first[workers]));
    HYSGD_TRY(extend(&partition->counts, workers, (size_t)places, 0));
    partition->workers += places;
    return HYSGD_OK;
}
