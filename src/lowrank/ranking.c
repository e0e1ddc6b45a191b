/* SPDX-License-Identifier: Apache-2.0 */
/* Judges an order by scores: see ranking.h. Sorts the few relevant scores and passes once over all others. */
#include "lowrank/ranking.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static float score_of(const struct ranking_row *row, uint32_t column) {
    float score = row->scores[column];
    return isnan(score) ? -INFINITY : score;
}

/* Goes through an ascending list beside the columns: is the column, not below the one asked before, in it? */
struct cursor {
    const uint32_t *columns;
    uint32_t count, next;
};

static bool cursor_meets(struct cursor *cursor, uint32_t column) {
    while (cursor->next < cursor->count && cursor->columns[cursor->next] < column)
        cursor->next++;
    return cursor->next < cursor->count && cursor->columns[cursor->next] == column;
}

/* ---- The first k ---- */

static bool comes_before(struct ranking_entry one, struct ranking_entry other) {
    return one.score > other.score || (one.score == other.score && one.column < other.column);
}

/* A heap with the entry that comes last at its root, so that it is the one to be replaced. */
static void sift_down(struct ranking_entry *heap, uint32_t count, uint32_t place) {
    struct ranking_entry moving = heap[place];
    while (2 * place + 1 < count) {
        uint32_t child = 2 * place + 1;
        if (child + 1 < count && comes_before(heap[child], heap[child + 1]))
            child++;
        if (!comes_before(moving, heap[child]))
            break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = moving;
}

static void sift_up(struct ranking_entry *heap, uint32_t place) {
    struct ranking_entry moving = heap[place];
    while (place > 0 && comes_before(heap[(place - 1) / 2], moving)) {
        heap[place] = heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap[place] = moving;
}

uint32_t ranking_top(const struct ranking_row *row, uint32_t k, struct ranking_entry *top_out) {
    struct cursor seen = {row->seen, row->seen_count, 0};
    uint32_t held = 0;
    for (uint32_t column = 0; k > 0 && column < row->count; column++) {
        const struct ranking_entry entry = {column, score_of(row, column)};
        if (held == k && !comes_before(entry, top_out[0]))
            continue;
        if (cursor_meets(&seen, column))
            continue;
        if (held < k) {
            top_out[held] = entry;
            sift_up(top_out, held++);
        } else {
            top_out[0] = entry;
            sift_down(top_out, k, 0);
        }
    }
    for (uint32_t end = held; end > 1; end--) { /* the last of the rest goes behind it */
        struct ranking_entry last = top_out[0];
        top_out[0] = top_out[end - 1];
        sift_down(top_out, end - 1, 0);
        top_out[end - 1] = last;
    }
    return held;
}

/* ---- The sums ---- */

static int compare_scores(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

/* How many of the ascending scores are below `score`, or not above it. */
static uint32_t count_below(const float *scores, uint32_t count, float score, bool or_equal) {
    uint32_t first = 0, end = count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (scores[middle] < score || (or_equal && scores[middle] == score))
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

/* The scores of the relevant candidates, ascending, to `scores_out`; returns their number. */
static uint32_t sort_relevant(const struct ranking_row *row, float *scores_out) {
    struct cursor seen = {row->seen, row->seen_count, 0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->relevant_count; i++)
        if (!cursor_meets(&seen, row->relevant[i]))
            scores_out[count++] = score_of(row, row->relevant[i]);
    qsort(scores_out, count, sizeof *scores_out, compare_scores);
    return count;
}

/* Of all pairs of a relevant and another candidate, those in the right order; the number of others is stored. */
static double count_pairs(const struct ranking_row *row, const float *relevant, uint32_t relevant_count,
                          uint32_t *others_out) {
    struct cursor seen = {row->seen, row->seen_count, 0}, chosen = {row->relevant, row->relevant_count, 0};
    uint64_t twice = 0;
    uint32_t others = 0;
    for (uint32_t column = 0; column < row->count; column++) {
        bool is_seen = cursor_meets(&seen, column), is_chosen = cursor_meets(&chosen, column);
        if (is_seen || is_chosen)
            continue;
        float score = score_of(row, column);
        others++;
        twice += 2 * (uint64_t)relevant_count - count_below(relevant, relevant_count, score, false) -
                 count_below(relevant, relevant_count, score, true);
    }
    *others_out = others;
    return (double)twice / 2;
}

static bool is_relevant(const struct ranking_row *row, uint32_t column) {
    uint32_t first = 0, end = row->relevant_count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (row->relevant[middle] < column)
            first = middle + 1;
        else
            end = middle;
    }
    return first < row->relevant_count && row->relevant[first] == column;
}

static double gain_at(uint32_t place) {
    return 1 / log2(2 + (double)place);
}

void ranking_add(struct ranking *ranking, const struct ranking_row *row, uint32_t k, float *scratch) {
    struct ranking_entry top[RANKING_MOST_K];
    uint32_t others, hits = 0;
    double gain = 0, best = 0;
    uint32_t relevant = sort_relevant(row, scratch);
    if (relevant == 0)
        return;
    double pairs = count_pairs(row, scratch, relevant, &others);
    if (others == 0)
        return;
    uint32_t held = ranking_top(row, k, top);
    for (uint32_t i = 0; i < held; i++)
        if (is_relevant(row, top[i].column)) {
            hits++;
            gain += gain_at(i);
        }
    for (uint32_t i = 0; i < k && i < relevant; i++)
        best += gain_at(i);
    ranking->rows++;
    ranking->auc += pairs / ((double)relevant * (double)others);
    ranking->precision += (double)hits / k;
    ranking->recall += (double)hits / relevant;
    ranking->ndcg += gain / best;
    ranking->hits += hits > 0;
}

void ranking_merge(struct ranking *ranking, const struct ranking *other) {
    ranking->rows += other->rows;
    ranking->auc += other->auc;
    ranking->precision += other->precision;
    ranking->recall += other->recall;
    ranking->ndcg += other->ndcg;
    ranking->hits += other->hits;
}

struct ranking ranking_mean(const struct ranking *ranking) {
    double rows = ranking->rows > 0 ? (double)ranking->rows : (double)NAN;
    return (struct ranking){.rows = ranking->rows,
                            .auc = ranking->auc / rows,
                            .precision = ranking->precision / rows,
                            .recall = ranking->recall / rows,
                            .ndcg = ranking->ndcg / rows,
                            .hits = ranking->hits / rows};
}
