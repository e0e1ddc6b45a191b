/* SPDX-License-Identifier: Apache-2.0 */
/* A thread takes a few rows at a time, scores all columns for them at once, and then ranks row by row while the
 * scores are in its cache; see recommend.h. */
#include "lowrank/recommend.h"

#include "base/memory.h"

struct work {
    const struct recommend_setup *setup;
    uint32_t first, end;
    float *scores; /* [threads][SCORER_ROWS][width] */
    struct ranking_entry *entries;
    uint32_t *counts;
};

static void rank_row(const struct work *work, uint32_t row, const float *scores) {
    const struct recommend_setup *setup = work->setup;
    struct ranking_row ranked = {.scores = scores, .count = setup->scorer->columns};
    if (setup->seen)
        ranked.seen = lists_row(setup->seen, row, &ranked.seen_count);
    const size_t place = row - work->first;
    work->counts[place] = ranking_top(&ranked, setup->k, work->entries + place * setup->k);
}

static void take_rows(const struct work *work, uint32_t first, uint32_t count, float *scores) {
    const struct factors *factors = work->setup->factors;
    const float *rows[SCORER_ROWS];
    float bases[SCORER_ROWS];
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = factors_row(factors, first + i);
        bases[i] = factors->mean + factors->sides[SIDE_ROWS].extra[first + i].bias;
    }
    scorer_run(work->setup->scorer, rows, bases, count, scores);
    for (uint32_t i = 0; i < count; i++)
        rank_row(work, first + i, scores + (size_t)i * work->setup->scorer->width);
}

static void work_run(void *context, int thread) {
    const struct work *work = context;
    float *scores = work->scores + (size_t)thread * SCORER_ROWS * work->setup->scorer->width;
    uint64_t row, end;
    team_share(work->setup->team, thread, work->end - work->first, &row, &end);
    for (; row < end; row += SCORER_ROWS)
        take_rows(work, work->first + (uint32_t)row, end - row < SCORER_ROWS ? (uint32_t)(end - row) : SCORER_ROWS,
                  scores);
}

enum hysgd_status recommend_rows(const struct recommend_setup *setup, uint32_t first, uint32_t end,
                                 struct ranking_entry *entries_out, uint32_t *counts_out) {
    struct work work = {setup, first, end, NULL, entries_out, counts_out};
    const size_t threads = (size_t)team_threads(setup->team);
    HYSGD_TRY(memory_alloc(threads * SCORER_ROWS * setup->scorer->width, sizeof *work.scores, &work.scores));
    team_run(setup->team, work_run, &work);
    memory_free(work.scores);
    return HYSGD_OK;
}
