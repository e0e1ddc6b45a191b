/* SPDX-License-Identifier: Apache-2.0 */
/* The plug-in `planted`: generated ratings whose truth is known. A value is the mean, plus the product of two
 * planted vectors with independent normal entries, plus normal noise; how many ratings users give and items get is
 * lognormal, as in real data. Every user is drawn from a stream of random numbers of its own, so threads change
 * nothing. */
#include "data/ratings_data.h"

#include <inttypes.h>
#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/pieces.h"
#include "data/popularity.h"

/* Users that a thread generates at a time. */
#define PIECE_ROWS 128
/* Collisions with items that the user has already, before the next free one is taken. */
#define MOST_TRIES 32

struct planted {
    struct ratings_data data; /* the first member */
    int shape;
    int64_t rows, columns, ratings; /* 0: those of the shape */
    double row_skew, column_skew;   /* below 0: those of the shape */
    int64_t rank;
    double mean, signal, noise, step;
    struct ratings_parts parts;
};

struct shape {
    int64_t rows, columns, ratings;
    double row_skew, column_skew;
};

/* The numbers are those of the data sets; the skews give about their medians. */
#define SHAPE_WORDS "ml-100k|ml-1m|ml-10m|epinions"
static const struct shape shapes[] = {{943, 1682, 100000, 1.0, 1.25},
                                      {6040, 3706, 1000209, 1.0, 1.25},
                                      {69878, 10677, 10000054, 1.2, 1.7},
                                      {40163, 139738, 664824, 1.5, 1.7}};

/* Streams of random numbers are named by one of these and a number below 2^56. */
enum { STREAM_ACTIVITY, STREAM_POPULARITY, STREAM_ROW, STREAM_COLUMN };

struct planting {
    const struct planted *planted;
    struct shape shape;
    uint64_t seed;
    float deviation;        /* of an entry of a planted vector */
    float *factors;         /* [columns][rank] */
    uint64_t *firsts;       /* [rows + 1] the first rating of each user */
    struct popularity draw; /* of items */
    struct rating *entries; /* [ratings] */
    double *errors;         /* [pieces] sum of squares of the noise */
    struct lane {
        uint32_t *marks;       /* [columns] row + 1 of the user who has it */
        float *noise, *factor; /* [columns], [rank] */
    } lanes[PIECES_MOST_LANES];
};

static struct random stream(const struct planting *planting, int which, uint64_t number) {
    struct random random;
    random_init(&random, planting->seed, RANDOM_NO_WORKER, RANDOM_DATA, (uint64_t)which << 56 | number);
    return random;
}

static void draw_vector(struct random *random, float deviation, float *values, size_t count) {
    random_fill_normal(random, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] *= deviation;
}

/* ---- Ratings ---- */

/* An item that the user does not have yet. */
static uint32_t draw_column(const struct popularity *popularity, struct random *random, const uint32_t *marks,
                            uint32_t mark) {
    uint32_t column = popularity_draw(popularity, random);
    for (int i = 0; marks[column] == mark && i < MOST_TRIES; i++)
        column = popularity_draw(popularity, random);
    while (marks[column] == mark)
        column = column + 1 < popularity->count ? column + 1 : 0;
    return column;
}

static float product(const float *a, const float *b, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Generates the ratings of a user and returns the sum of the squares of their noise. */
static double plant_row(struct planting *planting, struct lane *lane, uint32_t row) {
    const struct planted *planted = planting->planted;
    struct random random = stream(planting, STREAM_ROW, row);
    size_t rank = (size_t)planted->rank, count = (size_t)(planting->firsts[row + 1] - planting->firsts[row]);
    struct rating *entries = planting->entries + planting->firsts[row];
    double error = 0;
    draw_vector(&random, planting->deviation, lane->factor, rank);
    random_fill_normal(&random, lane->noise, count);
    for (size_t i = 0; i < count; i++) {
        uint32_t column = draw_column(&planting->draw, &random, lane->marks, row + 1);
        lane->marks[column] = row + 1;
        double truth = planted->mean + (double)product(lane->factor, planting->factors + column * rank, rank);
        double value = truth + planted->noise * (double)lane->noise[i];
        if (planted->step > 0)
            value = rint(value / planted->step) * planted->step;
        entries[i] = (struct rating){.row = row, .column = column, .value = (float)value};
        error += (value - truth) * (value - truth);
    }
    return error;
}

static enum hysgd_status plant_rows(void *context, int lane_number, size_t k) {
    struct planting *planting = context;
    struct lane *lane = &planting->lanes[lane_number];
    uint64_t end = (k + 1) * PIECE_ROWS, rows = (uint64_t)planting->shape.rows;
    for (uint64_t row = k * PIECE_ROWS; row < (end < rows ? end : rows); row++)
        planting->errors[k] += plant_row(planting, lane, (uint32_t)row);
    return HYSGD_OK;
}

static enum hysgd_status plant_all(struct planting *planting, double *oracle_out) {
    size_t pieces = ((size_t)planting->shape.rows + PIECE_ROWS - 1) / PIECE_ROWS;
    size_t columns = (size_t)planting->shape.columns;
    int lanes = pieces_lanes(0, pieces);
    double error = 0;
    HYSGD_TRY(memory_alloc(pieces, sizeof *planting->errors, &planting->errors));
    for (int i = 0; i < lanes; i++) {
        struct lane *lane = &planting->lanes[i];
        HYSGD_TRY(memory_alloc(columns, sizeof *lane->marks, &lane->marks));
        HYSGD_TRY(memory_alloc(columns, sizeof *lane->noise, &lane->noise));
        HYSGD_TRY(memory_alloc((size_t)planting->planted->rank, sizeof *lane->factor, &lane->factor));
    }
    HYSGD_TRY(pieces_run(pieces, lanes, plant_rows, planting, NULL));
    for (size_t k = 0; k < pieces; k++)
        error += planting->errors[k];
    *oracle_out = sqrt(error / (double)planting->shape.ratings);
    return HYSGD_OK;
}

/* ---- Setting up ---- */

static enum hysgd_status find_shape(const struct planted *planted, struct shape *shape_out) {
    struct shape shape = shapes[planted->shape];
    shape.rows = planted->rows > 0 ? planted->rows : shape.rows;
    shape.columns = planted->columns > 0 ? planted->columns : shape.columns;
    shape.ratings = planted->ratings > 0 ? planted->ratings : shape.ratings;
    shape.row_skew = planted->row_skew >= 0 ? planted->row_skew : shape.row_skew;
    shape.column_skew = planted->column_skew >= 0 ? planted->column_skew : shape.column_skew;
    if ((double)shape.ratings > (double)shape.rows * (double)shape.columns)
        return hysgd_fail(HYSGD_USAGE,
                          "data planted: %" PRId64 " ratings of %" PRId64 " items by %" PRId64
                          " users: expected at most one for each pair",
                          shape.ratings, shape.columns, shape.rows);
    *shape_out = shape;
    return HYSGD_OK;
}

static enum hysgd_status add_ids(struct ids *ids, int64_t count) {
    uint32_t index;
    for (int64_t number = 1; number <= count; number++)
        HYSGD_TRY(ids_add_number(ids, number, &index));
    return HYSGD_OK;
}

static enum hysgd_status prepare(struct planting *planting) {
    const struct shape *shape = &planting->shape;
    size_t rank = (size_t)planting->planted->rank;
    struct random activity = stream(planting, STREAM_ACTIVITY, 0), popular = stream(planting, STREAM_POPULARITY, 0);
    planting->deviation = (float)sqrt(planting->planted->signal / sqrt((double)rank));
    HYSGD_TRY(memory_alloc((size_t)shape->columns * rank, sizeof(float), &planting->factors));
    for (int64_t column = 0; column < shape->columns; column++) {
        struct random random = stream(planting, STREAM_COLUMN, (uint64_t)column);
        draw_vector(&random, planting->deviation, planting->factors + (size_t)column * rank, rank);
    }
    HYSGD_TRY(memory_alloc((size_t)shape->rows + 1, sizeof *planting->firsts, &planting->firsts));
    HYSGD_TRY(popularity_share(&activity, shape->row_skew, (uint64_t)shape->ratings, (uint64_t)shape->columns,
                               (uint32_t)shape->rows, planting->firsts));
    return popularity_init(&planting->draw, &popular, shape->column_skew, (uint32_t)shape->columns);
}

static void planting_fini(struct planting *planting) {
    for (int i = 0; i < PIECES_MOST_LANES; i++) {
        memory_free(planting->lanes[i].marks);
        memory_free(planting->lanes[i].noise);
        memory_free(planting->lanes[i].factor);
    }
    popularity_fini(&planting->draw);
    memory_free(planting->factors);
    memory_free(planting->firsts);
    memory_free(planting->errors);
}

static enum hysgd_status plant(const struct planted *planted, const struct shape *shape, uint64_t seed,
                               struct ratings_split *split) {
    struct planting planting = {.planted = planted, .shape = *shape, .seed = seed};
    struct ratings *all = &split->all;
    HYSGD_TRY(memory_alloc_vector((size_t)shape->ratings, sizeof *all->entries, &all->entries));
    all->count = (uint64_t)shape->ratings;
    planting.entries = all->entries;
    HYSGD_TRY(add_ids(&all->rows, shape->rows));
    HYSGD_TRY(add_ids(&all->columns, shape->columns));
    enum hysgd_status status = prepare(&planting);
    if (status == HYSGD_OK)
        status = plant_all(&planting, &split->oracle);
    planting_fini(&planting);
    return status;
}

static enum hysgd_status planted_init(void *self, uint64_t seed) {
    struct planted *planted = self;
    struct ratings_split_plan plan;
    struct shape shape;
    seed = ratings_parts_seed(&planted->parts, seed);
    HYSGD_TRY(find_shape(planted, &shape));
    HYSGD_TRY(ratings_parts_plan(&planted->parts, "data planted", false, &plan));
    if (ratings_split_wants_times(&plan))
        return hysgd_fail(HYSGD_USAGE, "data planted: split=%s: generated ratings have no time stamps",
                          planted->parts.split);
    HYSGD_TRY(plant(planted, &shape, seed, &planted->data.split));
    return ratings_split_make(&planted->data.split, &plan, (uint64_t)shape.ratings, planted->parts.validation, seed,
                              "data planted");
}

static const struct hysgd_option options[] = {
    {"shape", HYSGD_OPTION_CHOICE, offsetof(struct planted, shape), "ml-100k", 0, 0, SHAPE_WORDS,
     "the data set whose numbers and skews are taken where the next five options are not set"},
    {"users", HYSGD_OPTION_INT, offsetof(struct planted, rows), "0", 0, 1e8, NULL, "users; 0: as in the shape"},
    {"items", HYSGD_OPTION_INT, offsetof(struct planted, columns), "0", 0, 1e8, NULL, "items; 0: as in the shape"},
    {"ratings", HYSGD_OPTION_INT, offsetof(struct planted, ratings), "0", 0, 1e11, NULL,
     "ratings in all parts together; 0: as in the shape"},
    {"user-skew", HYSGD_OPTION_REAL, offsetof(struct planted, row_skew), "-1", -1, 4, NULL,
     "standard deviation of the logarithm of how many ratings users give; 0: all alike; -1: as in the shape"},
    {"item-skew", HYSGD_OPTION_REAL, offsetof(struct planted, column_skew), "-1", -1, 4, NULL,
     "the same of how many ratings items get"},
    {"rank", HYSGD_OPTION_INT, offsetof(struct planted, rank), "16", 1, 4096, NULL, "entries of a planted vector"},
    {"mean", HYSGD_OPTION_REAL, offsetof(struct planted, mean), "3.58", -1e6, 1e6, NULL, "mean of the values"},
    {"signal", HYSGD_OPTION_REAL, offsetof(struct planted, signal), "0.78", 0, 1e6, NULL,
     "standard deviation of the part of a value that can be learnt"},
    {"noise", HYSGD_OPTION_REAL, offsetof(struct planted, noise), "0.8", 0, 1e6, NULL,
     "standard deviation of the part that cannot: the root mean square error of whoever knows the truth"},
    {"step", HYSGD_OPTION_REAL, offsetof(struct planted, step), "0", 0, 1e6, NULL,
     "values are rounded to multiples of this, such as 0.5 for half stars; 0: not rounded"},
    {"split", HYSGD_OPTION_TEXT, offsetof(struct planted, parts.split), "auto", 0, 0, NULL, RATINGS_SPLIT_HELP},
    {"validation", HYSGD_OPTION_REAL, offsetof(struct planted, parts.validation), "0", 0, RATINGS_MOST_VALIDATION,
     NULL, RATINGS_VALIDATION_HELP},
    {"seed", HYSGD_OPTION_INT, offsetof(struct planted, parts.seed), "0", 0, 9007199254740992, NULL,
     RATINGS_SEED_HELP},
    {0}};

const struct hysgd_data_ops data_planted = {
    .about = {.name = "planted",
              .summary =
                  "generated ratings: planted factors and noise, with the numbers and skews of a real data set",
              .size = sizeof(struct planted),
              .options = options},
    .init = planted_init,
    .fini = ratings_data_fini,
    .describe = ratings_data_describe,
    .gather = ratings_data_gather,
};
