/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over pieces of fixed size, which are added up in their order: so the result does not depend on the threads.
 * See figures.h. */
#include "lowrank/figures.h"

#include <math.h>

#include "base/memory.h"
#include "data/ratings.h"
#include "lowrank/loss.h"
#include "lowrank/predict.h"

#define PIECE_RATINGS 16384
#define PIECE_ROWS    64
#define CHUNK_RATINGS 256 /* predicted at a time */

/* ---- Ratings ---- */

struct rating_work {
    struct team *team;
    const struct factors *factors;
    enum fit_loss loss;
    const struct rating *entries;
    uint64_t count;
    struct figures *pieces; /* [one for each PIECE_RATINGS] */
};

void figures_merge(struct figures *figures, const struct figures *other) {
    figures->count += other->count;
    figures->loss += other->loss;
    figures->squared += other->squared;
    figures->absolute += other->absolute;
    figures->correct += other->correct;
}

void figures_add(struct figures *figures, enum fit_loss loss, float rating, float prediction) {
    double error = (double)rating - (double)prediction;
    figures->count++;
    figures->squared += error * error;
    figures->absolute += fabs(error);
    figures->correct += (prediction > 0) == (rating > 0);
    if (loss == FIT_SQUARED)
        figures->loss += error * error;
    else if (loss < FIT_BPR_ROWS)
        figures->loss += (double)fit_rating(loss, rating, prediction).loss;
}

static struct figures sum_piece(const struct rating_work *work, uint64_t first, uint64_t end) {
    struct figures sum = {0};
    float predictions[CHUNK_RATINGS];
    for (uint64_t i = first; i < end; i += CHUNK_RATINGS) {
        const uint64_t count = end - i < CHUNK_RATINGS ? end - i : CHUNK_RATINGS;
        predict_ratings(work->factors, work->entries + i, count, predictions);
        for (uint64_t n = 0; n < count; n++)
            figures_add(&sum, work->loss, work->entries[i + n].value, predictions[n]);
    }
    return sum;
}

static uint64_t pieces_of(uint64_t count, uint64_t size) {
    return (count + size - 1) / size;
}

static void sum_pieces(void *context, int thread) {
    const struct rating_work *work = context;
    uint64_t first, end;
    team_share(work->team, thread, pieces_of(work->count, PIECE_RATINGS), &first, &end);
    for (uint64_t piece = first; piece < end; piece++) {
        uint64_t last = (piece + 1) * PIECE_RATINGS;
        work->pieces[piece] = sum_piece(work, piece * PIECE_RATINGS, last < work->count ? last : work->count);
    }
}

enum hysgd_status figures_of_ratings(struct team *team, const struct factors *factors, enum fit_loss loss,
                                     const struct rating *entries, uint64_t count, struct figures *figures_out) {
    struct rating_work work = {team, factors, loss, entries, count, NULL};
    uint64_t pieces = pieces_of(count, PIECE_RATINGS);
    struct figures sum = {0};
    HYSGD_TRY(memory_alloc((size_t)pieces, sizeof *work.pieces, &work.pieces));
    team_run(team, sum_pieces, &work);
    for (uint64_t i = 0; i < pieces; i++)
        figures_merge(&sum, &work.pieces[i]);
    memory_free(work.pieces);
    *figures_out = sum;
    return HYSGD_OK;
}

double figures_rmse(const struct figures *figures) {
    return sqrt(figures->squared / (double)figures->count);
}

double figures_mae(const struct figures *figures) {
    return figures->absolute / (double)figures->count;
}

/* ---- Ranking ---- */

struct ranking_work {
    struct team *team;
    const struct factors *factors;
    struct scorer scorer;
    const struct lists *seen, *relevant;
    uint32_t k;
    size_t width;           /* floats of a thread's scratch: scores, then those of the relevant columns */
    float *scratch;         /* [threads][width] */
    struct ranking *pieces; /* [one for each PIECE_ROWS] */
};

static void rank_row(const struct ranking_work *work, uint32_t row, float *scores, struct ranking *sum) {
    const struct factors *factors = work->factors;
    uint32_t columns = factors->sides[SIDE_COLUMNS].count, relevant_count, seen_count;
    const uint32_t *relevant = lists_row(work->relevant, row, &relevant_count);
    const uint32_t *seen = lists_row(work->seen, row, &seen_count);
    if (relevant_count == 0)
        return;
    const float base = factors->mean + factors->sides[SIDE_ROWS].extra[row].bias;
    scorer_run(&work->scorer, (const float *[]){factors_row(factors, row)}, &base, 1, scores);
    const struct ranking_row judged = {scores, columns, seen, seen_count, relevant, relevant_count};
    ranking_add(sum, &judged, work->k, scores + work->scorer.width);
}

static void rank_pieces(void *context, int thread) {
    const struct ranking_work *work = context;
    uint64_t first, end, rows = work->relevant->row_count;
    team_share(work->team, thread, pieces_of(rows, PIECE_ROWS), &first, &end);
    for (uint64_t piece = first; piece < end; piece++) {
        uint64_t last = (piece + 1) * PIECE_ROWS;
        for (uint64_t row = piece * PIECE_ROWS; row < last && row < rows; row++)
            rank_row(work, (uint32_t)row, work->scratch + (size_t)thread * work->width, &work->pieces[piece]);
    }
}

enum hysgd_status figures_of_ranking(struct team *team, const struct factors *factors, const struct lists *seen,
                                     const struct lists *relevant, uint32_t k, struct ranking *ranking_out) {
    struct ranking_work work = {.team = team, .factors = factors, .seen = seen, .relevant = relevant, .k = k};
    uint64_t pieces = pieces_of(relevant->row_count, PIECE_ROWS);
    *ranking_out = (struct ranking){0};
    enum hysgd_status status = scorer_init(&work.scorer, factors, KERNEL_BEST);
    work.width = 2 * ((size_t)work.scorer.width + MEMORY_ALIGNMENT);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)team_threads(team) * work.width, sizeof *work.scratch, &work.scratch);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)pieces, sizeof *work.pieces, &work.pieces);
    if (status == HYSGD_OK) {
        team_run(team, rank_pieces, &work);
        for (uint64_t i = 0; i < pieces; i++)
            ranking_merge(ranking_out, &work.pieces[i]);
    }
    scorer_fini(&work.scorer);
    memory_free(work.scratch);
    memory_free(work.pieces);
    return status;
}
