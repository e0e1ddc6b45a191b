/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions for pairs, and the best columns of rows, known ones or folded in: see recommender.h. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "lowrank/recommend.h"
#include "train/recommender_model.h"

/* Rows that are answered and printed at a time. */
#define PIECE_ROWS 1024

#define SHOWN_BYTES 160

/* ---- Predicting ---- */

/* What one line is about. */
struct line {
    const struct ids *rows, *columns; /* that name them */
    uint32_t row, column;             /* in these ids */
    float prediction;
    float rating; /* NaN: there is none */
};

static void print_head(enum recommender_format format, const char *head, FILE *out) {
    if (format == RECOMMENDER_CSV)
        fprintf(out, "%s\n", head);
}

static void print_line(const struct line *line, enum recommender_format format, FILE *out) {
    bool is_json = format == RECOMMENDER_JSON;
    if (is_json)
        fputs("{\"user\":", out);
    recommender_print_id(line->rows, line->row, format, out);
    fputs(is_json ? ",\"item\":" : ",", out);
    recommender_print_id(line->columns, line->column, format, out);
    fprintf(out, is_json ? ",\"prediction\":%.6g" : ",%.6g", (double)line->prediction);
    if (!isnan(line->rating))
        fprintf(out, is_json ? ",\"rating\":%.6g" : ",%.6g", (double)line->rating);
    fputs(is_json ? "}\n" : "\n", out);
}

/* Predicts for a pair that the ids name, and prints it. */
static enum hysgd_status answer(const struct recommender *recommender, struct line *line,
                                enum recommender_format format, FILE *out) {
    enum hysgd_status status = recommender_pair(
        recommender, recommender_find(recommender, SIDE_ROWS, line->rows, line->row),
        recommender_find(recommender, SIDE_COLUMNS, line->columns, line->column), &line->prediction);
    if (status == HYSGD_OK) {
        print_line(line, format, out);
        return HYSGD_OK;
    }
    char row_buffer[IDS_NUMBER_BYTES], column_buffer[IDS_NUMBER_BYTES], shown[SHOWN_BYTES];
    size_t row_length, column_length;
    const char *row = ids_text(line->rows, line->row, row_buffer, &row_length);
    const char *column = ids_text(line->columns, line->column, column_buffer, &column_length);
    snprintf(shown, sizeof shown, "user %.*s, item %.*s", (int)(row_length < 60 ? row_length : 60), row,
             (int)(column_length < 60 ? column_length : 60), column);
    return status_locate(status, shown);
}

static enum hysgd_status answer_all(const struct recommender *recommender, const struct ratings *pairs,
                                    enum recommender_format format, FILE *out) {
    print_head(format, "user,item,prediction", out);
    for (uint64_t i = 0; i < pairs->count && !ferror(out); i++) {
        struct line line = {&pairs->rows, &pairs->columns, pairs->entries[i].row, pairs->entries[i].column, 0, NAN};
        HYSGD_TRY(answer(recommender, &line, format, out));
    }
    return HYSGD_OK;
}

/* The pair of the command line as if it stood in a file. */
static enum hysgd_status read_pair(const char *row, const char *column, struct ratings *pairs) {
    uint32_t index;
    HYSGD_TRY(ids_add(&pairs->rows, row, strlen(row), &index));
    HYSGD_TRY(ids_add(&pairs->columns, column, strlen(column), &index));
    HYSGD_TRY(memory_alloc(1, sizeof *pairs->entries, &pairs->entries));
    pairs->count = 1;
    return HYSGD_OK;
}

enum hysgd_status recommender_predict(struct recommender *recommender, const char *pairs, const char *row,
                                      const char *column, enum recommender_format format, FILE *out) {
    const struct ratings_format file_format = {.are_pairs = true};
    struct ratings read = {0};
    enum hysgd_status status =
        pairs[0] != '\0' ? ratings_read(pairs, &file_format, &read) : read_pair(row, column, &read);
    if (status == HYSGD_OK)
        status = answer_all(recommender, &read, format, out);
    ratings_fini(&read);
    return status;
}

enum hysgd_status recommender_predict_part(struct recommender *recommender, enum recommender_part part,
                                           uint64_t first, uint64_t count, enum recommender_format format,
                                           FILE *out) {
    HYSGD_TRY(recommender_load(recommender));
    const struct ratings *all = &recommender->split->all;
    const struct ratings_part *entries = recommender_part(recommender, part);
    if (first >= entries->count)
        return hysgd_fail(HYSGD_USAGE,
                          "predict: first=%" PRIu64 " is out of range: that part has %" PRIu64
                          " ratings, counted from 0",
                          first, entries->count);
    uint64_t end = count == 0 || count > entries->count - first ? entries->count : first + count;
    print_head(format, "user,item,prediction,rating", out);
    for (uint64_t i = first; i < end && !ferror(out); i++) {
        const struct rating *rating = &entries->entries[i];
        struct line line = {&all->rows, &all->columns, rating->row, rating->column, 0, rating->value};
        HYSGD_TRY(answer(recommender, &line, format, out));
    }
    return HYSGD_OK;
}

/* ---- Recommending ---- */

/* Who is offered something. */
struct audience {
    struct factors factors; /* rows of the model, or those that were folded in; the columns are the model's */
    const struct ids *rows; /* that name them */
    struct lists seen;      /* empty: everything is offered */
    struct recommender_folded folded; /* zeroed: none was folded in */
};

static void audience_fini(struct audience *audience) {
    lists_fini(&audience->seen);
    recommender_folded_fini(&audience->folded);
}

static enum hysgd_status fold_audience(const struct recommender *recommender, const struct recommender_wish *wish,
                                       struct audience *audience) {
    struct recommender_folded *folded = &audience->folded;
    HYSGD_TRY(recommender_fold(recommender, SIDE_ROWS, wish->ratings, folded));
    audience->rows = folded->ids;
    audience->factors.sides[SIDE_ROWS] = folded->factors;
    return wish->skips_seen ? lists_init(&audience->seen, folded->known, folded->known_count, folded->factors.count)
                            : HYSGD_OK;
}

/* Leaving out what is in a file that is no longer the one of the training would leave out too little. */
static enum hysgd_status check_seen(const struct recommender *recommender) {
    if (recommender->data_given[0] != '\0' || !recommender->file.has_ids || recommender_has_trained(recommender))
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT,
                      "%s: the data are not those that it was trained on: give --data to say what users have seen",
                      recommender->path);
}

/* What the rows have in the data; of one row only, where one is asked for. */
static enum hysgd_status find_seen(struct recommender *recommender, uint32_t wanted, struct audience *audience) {
    struct rating *known;
    uint64_t count, kept = 0;
    HYSGD_TRY(recommender_load(recommender));
    HYSGD_TRY(check_seen(recommender));
    const struct ratings *all = &recommender->split->all;
    HYSGD_TRY(recommender_known(recommender, all->entries, all->count, &known, &count));
    for (uint64_t i = 0; i < count; i++)
        if (wanted == IDS_NONE || known[i].row == wanted)
            known[kept++] = known[i];
    enum hysgd_status status = lists_init(&audience->seen, known, kept, audience->factors.sides[SIDE_ROWS].count);
    memory_free(known);
    return status;
}

static enum hysgd_status gather(struct recommender *recommender, const struct recommender_wish *wish,
                                struct audience *audience, uint32_t *wanted_out) {
    *audience = (struct audience){.factors = recommender->file.factors, .rows = recommender->ids[SIDE_ROWS]};
    if (wish->ratings[0] != '\0')
        HYSGD_TRY(fold_audience(recommender, wish, audience));
    *wanted_out = wish->row[0] != '\0' ? ids_find(audience->rows, wish->row, strlen(wish->row)) : IDS_NONE;
    if (wish->row[0] != '\0' && *wanted_out == IDS_NONE)
        return hysgd_fail(HYSGD_USAGE, "recommend: user '%s' is unknown to %s%s", wish->row,
                          wish->ratings[0] != '\0' ? wish->ratings : recommender->path,
                          wish->ratings[0] != '\0' ? "" : ": --ratings FILE with ratings of this user folds it in");
    if (wish->skips_seen && wish->ratings[0] == '\0')
        HYSGD_TRY(find_seen(recommender, *wanted_out, audience));
    return HYSGD_OK;
}

/* Prints up to k entries of a row; columns that were not trained have no score. */
static void print_entries(const struct recommender *recommender, const struct audience *audience, uint32_t row,
                          const struct ranking_entry *entries, uint32_t count, enum recommender_format format,
                          FILE *out) {
    bool is_json = format == RECOMMENDER_JSON;
    for (uint32_t i = 0; i < count && isfinite(entries[i].score); i++) {
        if (is_json)
            fputs("{\"user\":", out);
        recommender_print_id(audience->rows, row, format, out);
        fprintf(out, is_json ? ",\"place\":%" PRIu32 ",\"item\":" : ",%" PRIu32 ",", i + 1);
        recommender_print_id(recommender->ids[SIDE_COLUMNS], entries[i].column, format, out);
        fprintf(out, is_json ? ",\"prediction\":%.6g}\n" : ",%.6g\n", (double)entries[i].score);
    }
}

static enum hysgd_status print_rows(const struct recommender *recommender, const struct audience *audience,
                                    const struct scorer *scorer, uint32_t k, uint32_t first, uint32_t end,
                                    enum recommender_format format, FILE *out) {
    const struct recommend_setup setup = {.team = recommender->team,
                                          .factors = &audience->factors,
                                          .scorer = scorer,
                                          .seen = audience->seen.firsts != NULL ? &audience->seen : NULL,
                                          .k = k};
    struct ranking_entry *entries;
    uint32_t counts[PIECE_ROWS];
    HYSGD_TRY(memory_alloc((size_t)PIECE_ROWS * k, sizeof *entries, &entries));
    enum hysgd_status status = HYSGD_OK;
    for (; status == HYSGD_OK && first < end && !ferror(out); first += PIECE_ROWS) {
        uint32_t last = end - first < PIECE_ROWS ? end : first + PIECE_ROWS;
        status = recommend_rows(&setup, first, last, entries, counts);
        for (uint32_t row = first; status == HYSGD_OK && row < last; row++)
            print_entries(recommender, audience, row, entries + (size_t)(row - first) * k, counts[row - first],
                          format, out);
    }
    memory_free(entries);
    return status;
}

static enum hysgd_status print_audience(const struct recommender *recommender, const struct audience *audience,
                                        uint32_t wanted, uint32_t k, enum recommender_format format, FILE *out) {
    uint32_t columns = recommender->file.factors.sides[SIDE_COLUMNS].count;
    bool is_one = wanted != IDS_NONE;
    struct scorer scorer = {0};
    enum hysgd_status status = scorer_init(&scorer, &recommender->file.factors, KERNEL_BEST);
    for (uint32_t column = 0; status == HYSGD_OK && column < columns; column++)
        if (!recommender_is_trained(recommender, SIDE_COLUMNS, column))
            scorer.biases[column] = -INFINITY;
    if (status == HYSGD_OK) {
        print_head(format, "user,place,item,prediction", out);
        status = print_rows(recommender, audience, &scorer, k < columns ? k : columns, is_one ? wanted : 0,
                            is_one ? wanted + 1 : audience->factors.sides[SIDE_ROWS].count, format, out);
    }
    scorer_fini(&scorer);
    return status;
}

enum hysgd_status recommender_recommend(struct recommender *recommender, const struct recommender_wish *wish,
                                        enum recommender_format format, FILE *out) {
    struct audience audience;
    uint32_t wanted = IDS_NONE;
    enum hysgd_status status = gather(recommender, wish, &audience, &wanted);
    if (status == HYSGD_OK)
        status = print_audience(recommender, &audience, wanted, wish->top, format, out);
    audience_fini(&audience);
    return status;
}
