/* SPDX-License-Identifier: Apache-2.0 */
/* The samples of lost workers, dealt to those that are left: see partition.h. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/partition.h"

/* One of those that are left. */
struct heir {
    uint64_t count; /* of its samples before the loss */
    int worker;
};

static int compare_heirs(const void *left, const void *right) {
    const struct heir *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return a->worker - b->worker;
}

/* Those that are left, who has the fewest samples first. */
static int find_heirs(const struct partition *partition, int lost, struct heir *heirs) {
    int count = 0;
    for (int w = 0; w < partition->workers; w++)
        if (w != lost && partition->counts[w] > 0)
            heirs[count++] = (struct heir){partition->counts[w], w};
    qsort(heirs, (size_t)count, sizeof *heirs, compare_heirs);
    return count;
}

/* The n-th sample goes to the heir n modulo their number, so that what lies together, such as a class, is spread.
 */
static void deal_in_turn(const struct heir *heirs, int heir_count, uint64_t count, int *owners) {
    for (uint64_t n = 0; n < count; n++)
        owners[n] = heirs[n % (uint64_t)heir_count].worker;
}

/* Of a row that is dealt: its samples among the orphans, and who has it. */
struct orphan_row {
    uint64_t count;
    int owner; /* -1: nobody yet */
};

/* A row goes, with its first sample, to the heir with the fewest samples by then. */
static void deal_by_rows(const struct partition *partition, struct heir *heirs, int heir_count,
                         const uint64_t *orphans, uint64_t count, struct orphan_row *rows, int *owners) {
    for (uint64_t n = 0; n < count; n++) {
        rows[partition->rows[orphans[n]]].count++;
        rows[partition->rows[orphans[n]]].owner = -1;
    }
    for (uint64_t n = 0; n < count; n++) {
        struct orphan_row *row = &rows[partition->rows[orphans[n]]];
        int least = 0;
        for (int i = 1; row->owner < 0 && i < heir_count; i++)
            least = heirs[i].count < heirs[least].count ? i : least;
        if (row->owner < 0) {
            row->owner = heirs[least].worker;
            heirs[least].count += row->count;
        }
        owners[n] = row->owner;
    }
}

/* Puts the samples into the order of their owners, and otherwise leaves it. */
static void group(const uint64_t *orphans, const int *owners, uint64_t count, int workers,
                  struct partition_change *loss) {
    uint64_t *first = loss->first;
    for (uint64_t n = 0; n < count; n++)
        first[owners[n] + 1]++;
    for (int w = 0; w < workers; w++)
        first[w + 1] += first[w];
    for (uint64_t n = count; n-- > 0;) /* backwards, with each end as a cursor */
        loss->indices[--first[owners[n] + 1]] = orphans[n];
    for (int w = 0; w < workers; w++) /* the cursors now stand at the beginnings */
        first[w] = first[w + 1];
    first[workers] = count;
}

static void free_loss(struct partition_change *loss) {
    memory_free(loss->indices);
    memory_free(loss->first);
    *loss = (struct partition_change){0};
}

/* What is needed while a loss is dealt. */
struct dealing {
    struct heir *heirs;      /* [workers] */
    uint64_t *orphans;       /* [count] */
    int *owners;             /* [count] */
    struct orphan_row *rows; /* [row_count], where rows stay with one worker */
};

static enum hysgd_status alloc_dealing(const struct partition *partition, uint64_t count, struct dealing *dealing) {
    HYSGD_TRY(memory_alloc((size_t)partition->workers, sizeof *dealing->heirs, &dealing->heirs));
    HYSGD_TRY(memory_alloc(count, sizeof *dealing->orphans, &dealing->orphans));
    HYSGD_TRY(memory_alloc(count, sizeof *dealing->owners, &dealing->owners));
    if (partition->rows)
        HYSGD_TRY(memory_alloc(partition->row_count, sizeof *dealing->rows, &dealing->rows));
    return HYSGD_OK;
}

static void free_dealing(struct dealing *dealing) {
    memory_free(dealing->heirs);
    memory_free(dealing->orphans);
    memory_free(dealing->owners);
    memory_free(dealing->rows);
}

static enum hysgd_status make_loss(const struct partition *partition, int lost, struct dealing *dealing,
                                   struct partition_change *loss) {
    uint64_t count = partition->counts[lost];
    HYSGD_TRY(alloc_dealing(partition, count, dealing));
    HYSGD_TRY(memory_alloc((size_t)partition->workers + 1, sizeof *loss->first, &loss->first));
    HYSGD_TRY(memory_alloc(count, sizeof *loss->indices, &loss->indices));
    int heir_count = find_heirs(partition, lost, dealing->heirs);
    if (heir_count == 0)
        return HYSGD_OK;
    partition_gather(partition, lost, partition->change_count, dealing->orphans);
    if (partition->rows)
        deal_by_rows(partition, dealing->heirs, heir_count, dealing->orphans, count, dealing->rows,
                     dealing->owners);
    else
        deal_in_turn(dealing->heirs, heir_count, count, dealing->owners);
    group(dealing->orphans, dealing->owners, count, partition->workers, loss);
    return HYSGD_OK;
}

enum hysgd_status partition_lose(struct partition *partition, int lost) {
    struct partition_change *loss = &partition->changes[partition->change_count];
    struct dealing dealing = {0};
    if (partition->counts[lost] == 0)
        return HYSGD_OK;
    *loss = (struct partition_change){.worker = lost};
    enum hysgd_status status = make_loss(partition, lost, &dealing, loss);
    free_dealing(&dealing);
    if (status != HYSGD_OK) {
        free_loss(loss);
        return status;
    }
    for (int w = 0; w < partition->workers; w++)
        partition->counts[w] += loss->first[w + 1] - loss->first[w];
    partition->counts[lost] = 0;
    partition->change_count++;
    return HYSGD_OK;
}

void partition_restore(struct partition *partition) {
    for (; partition->change_count > 0; partition->change_count--)
        free_loss(&partition->changes[partition->change_count - 1]);
    partition->join_count = 0;
    for (int w = 0; w < partition->workers; w++)
        partition->counts[w] = partition->first[w + 1] - partition->first[w];
}

/* Of the first so many changes, the latest after which all samples were dealt anew; -1: none. */
static int find_deal(const struct partition *partition, int changes) {
    int found = changes - 1;
    while (found >= 0 && !partition->changes[found].is_join)
        found--;
    return found;
}

uint64_t partition_count(const struct partition *partition, int worker, int changes) {
    int deal = find_deal(partition, changes);
    const uint64_t *first = deal < 0 ? partition->first : partition->changes[deal].first;
    uint64_t count = first[worker + 1] - first[worker];
    for (int i = deal + 1; i < changes; i++)
        count += partition->changes[i].first[worker + 1] - partition->changes[i].first[worker];
    return count;
}

static uint64_t *copy_part(const uint64_t *indices, const uint64_t *first, int worker, uint64_t *to) {
    uint64_t count = first[worker + 1] - first[worker];
    memcpy(to, indices + first[worker], count * sizeof *to);
    return to + count;
}

void partition_gather(const struct partition *partition, int worker, int changes, uint64_t *indices_out) {
    int deal = find_deal(partition, changes);
    const uint64_t *first = deal < 0 ? partition->first : partition->changes[deal].first;
    uint64_t *to =
        copy_part(deal < 0 ? partition->indices : partition->changes[deal].indices, first, worker, indices_out);
    for (int i = deal + 1; i < changes; i++)
        to = copy_part(partition->changes[i].indices, partition->changes[i].first, worker, to);
}
