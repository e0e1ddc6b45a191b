/* SPDX-License-Identifier: Apache-2.0 */
/* Places buffers with known life spans in one block of memory: large ones first, each at the lowest offset where it
 * is apart from every placed buffer that lives at the same time. */
#include "linalg/onednn.h"

#include <stdlib.h>

#include "base/memory.h"

static int compare_bytes(const void *a, const void *b) {
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x > y) - (x < y);
}

static size_t round_up(size_t bytes) {
    return (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
}

/* `placed` is sorted by offset. */
static void place_one(struct buffer *buffer, struct buffer *const *placed, int count) {
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const struct buffer *other = placed[i];
        bool is_together = other->first <= buffer->last && buffer->first <= other->last;
        if (!is_together || other->offset + round_up(other->bytes) <= offset)
            continue;
        if (other->offset >= offset + round_up(buffer->bytes))
            break;
        offset = other->offset + round_up(other->bytes);
    }
    buffer->offset = offset;
}

enum hysgd_status arena_place(struct buffer *buffers, int count, size_t *bytes_out) {
    struct buffer **order;
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *order, &order));
    int used = 0;
    for (int i = 0; i < count; i++)
        if (buffers[i].place == PLACE_ARENA && buffers[i].last >= 0)
            order[used++] = &buffers[i];
    qsort(order, (size_t)used, sizeof *order, compare_bytes);
    size_t bytes = 0;
    for (int i = 0; i < used; i++) {
        place_one(order[i], order, i);
        if (order[i]->offset + round_up(order[i]->bytes) > bytes)
            bytes = order[i]->offset + round_up(order[i]->bytes);
        /* The placed ones stay in the order of their offsets. */
        for (int k = i; k > 0 && order[k - 1]->offset > order[k]->offset; k--) {
            struct buffer *larger = order[k - 1];
            order[k - 1] = order[k];
            order[k] = larger;
        }
    }
    memory_free(order);
    *bytes_out = bytes;
    return HYSGD_OK;
}
