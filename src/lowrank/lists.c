/* SPDX-License-Identifier: Apache-2.0 */
/* Columns by row: a counting sort of the entries, then a sort of each short list. See lists.h. */
#include "lowrank/lists.h"

#include <stdlib.h>

#include "base/memory.h"
#include "data/ratings.h"

static int compare_columns(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

/* Sorts each list and closes the gaps that repetitions leave. */
static void sort_lists(struct lists *lists) {
    uint64_t end = 0, first = 0;
    for (uint32_t row = 0; row < lists->row_count; row++) {
        uint64_t next = lists->firsts[row + 1];
        uint32_t *columns = lists->columns + first;
        qsort(columns, (size_t)(next - first), sizeof *columns, compare_columns);
        lists->firsts[row] = end;
        for (uint64_t i = 0; i < next - first; i++)
            if (i == 0 || columns[i] != columns[i - 1])
                lists->columns[end++] = columns[i];
        first = next;
    }
    lists->firsts[lists->row_count] = end;
}

enum hysgd_status lists_init(struct lists *lists, const struct rating *entries, uint64_t count,
                             uint32_t row_count) {
    *lists = (struct lists){.row_count = row_count};
    HYSGD_TRY(memory_alloc((size_t)row_count + 1, sizeof *lists->firsts, &lists->firsts));
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *lists->columns, &lists->columns));
    for (uint64_t i = 0; i < count; i++)
        lists->firsts[entries[i].row]++;
    for (uint64_t first = 0, row = 0; row <= row_count; row++) { /* counts become ends */
        first += lists->firsts[row];
        lists->firsts[row] = first;
    }
    for (uint64_t i = count; i > 0; i--) /* ends move back to firsts */
        lists->columns[--lists->firsts[entries[i - 1].row]] = entries[i - 1].column;
    sort_lists(lists);
    return HYSGD_OK;
}

enum hysgd_status lists_renumber(struct lists *lists, const uint32_t *rows, const uint32_t *columns) {
    struct lists moved = {.row_count = lists->row_count};
    uint64_t total = lists->firsts[lists->row_count];
    enum hysgd_status status = memory_alloc((size_t)moved.row_count + 1, sizeof *moved.firsts, &moved.firsts);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)total, sizeof *moved.columns, &moved.columns);
    if (status != HYSGD_OK) {
        lists_fini(&moved);
        return status;
    }
    for (uint32_t row = 0; row < lists->row_count; row++)
        moved.firsts[rows[row] + 1] = lists->firsts[row + 1] - lists->firsts[row];
    for (uint32_t row = 0; row < lists->row_count; row++)
        moved.firsts[row + 1] += moved.firsts[row];
    for (uint32_t row = 0; row < lists->row_count; row++)
        for (uint64_t i = lists->firsts[row], to = moved.firsts[rows[row]]; i < lists->firsts[row + 1]; i++)
            moved.columns[to++] = columns[lists->columns[i]];
    sort_lists(&moved);
    lists_fini(lists);
    *lists = moved;
    return HYSGD_OK;
}

void lists_fini(struct lists *lists) {
    memory_free(lists->firsts);
    memory_free(lists->columns);
    *lists = (struct lists){0};
}

const uint32_t *lists_row(const struct lists *lists, uint32_t row, uint32_t *count_out) {
    *count_out = 0;
    if (row >= lists->row_count)
        return NULL;
    *count_out = (uint32_t)(lists->firsts[row + 1] - lists->firsts[row]);
    return lists->columns + lists->firsts[row];
}
