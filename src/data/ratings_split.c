/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting ratings into parts, in place: what is chosen is swapped to the end, the rest keeps its order. Whether an
 * entry is chosen is asked once, in the order of the entries, so that nothing has to be kept for each. */
#include "data/ratings_split.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "base/random.h"

#define DIGITS       ((size_t)1 << 16) /* of a time stamp, which has four of them */
#define MOST_FOLDS   10000
#define TEXT_BYTES   64
#define ALL_WORDS    0x1p32
#define IS_NOT_DRAWN UINT64_MAX

/* Streams of random numbers, one for each decision. */
enum { STREAM_TEST, STREAM_VALIDATION, STREAM_LEAVE_ONE };

/* Who is chosen. */
struct choice {
    enum { BY_DRAW, BY_TIME, BY_ROW } kind;
    struct random random; /* by draw: a word from `least` to `end` - 1 */
    uint64_t least, end;
    int64_t time; /* by time: later ones, and of this time those after the first `ties` */
    uint64_t ties;
    uint64_t *positions; /* by row: [rows] the position of the chosen one; owned */
};

/* ---- The plan ---- */

static bool read_share(const char *text, double *share_out) {
    return options_read_real(text, share_out) && *share_out > 0 && *share_out < 1;
}

static bool read_fold(const char *text, struct ratings_split_plan *plan) {
    char folds[TEXT_BYTES];
    int64_t most, fold;
    const char *slash = strchr(text, '/');
    if (slash == NULL || (size_t)(slash - text) >= sizeof folds)
        return false;
    memcpy(folds, text, (size_t)(slash - text));
    folds[slash - text] = '\0';
    if (!options_read_int(folds, &most) || !options_read_int(slash + 1, &fold) || most < 2 || most > MOST_FOLDS ||
        fold < 0 || fold >= most)
        return false;
    plan->folds = (int)most;
    plan->fold = (int)fold;
    return true;
}

enum hysgd_status ratings_split_parse(const char *what, const char *text, struct ratings_split_plan *plan_out) {
    static const struct {
        const char *word;
        enum ratings_split_kind kind;
    } words[] = {{"none", RATINGS_SPLIT_NONE},
                 {"fraction:", RATINGS_SPLIT_FRACTION},
                 {"time:", RATINGS_SPLIT_TIME},
                 {"leave-one-out:latest", RATINGS_SPLIT_LEAVE_LATEST},
                 {"leave-one-out", RATINGS_SPLIT_LEAVE_ONE},
                 {"kfold:", RATINGS_SPLIT_FOLD}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i].word);
        struct ratings_split_plan plan = {.kind = words[i].kind};
        if (strncmp(text, words[i].word, length) != 0)
            continue;
        const char *rest = text + length;
        bool is_share = plan.kind == RATINGS_SPLIT_FRACTION || plan.kind == RATINGS_SPLIT_TIME;
        if (is_share ? !read_share(rest, &plan.share)
                     : (plan.kind == RATINGS_SPLIT_FOLD ? !read_fold(rest, &plan) : *rest != '\0'))
            break;
        *plan_out = plan;
        return HYSGD_OK;
    }
    return hysgd_fail(
        HYSGD_USAGE,
        "%s: split=%s is not valid: expected none, fraction:SHARE or time:SHARE with a share above 0 and "
        "below 1, leave-one-out, leave-one-out:latest, or kfold:FOLDS/FOLD such as kfold:5/0",
        what, text);
}

bool ratings_split_wants_times(const struct ratings_split_plan *plan) {
    return plan->kind == RATINGS_SPLIT_TIME || plan->kind == RATINGS_SPLIT_LEAVE_LATEST;
}

/* ---- Choosing ---- */

/* Draws each with a probability: the part of the words from `least` to `end`, both 0 to 1. */
static struct choice choose_by_draw(uint64_t seed, uint64_t stream, double least, double end) {
    struct choice choice = {
        .kind = BY_DRAW, .least = (uint64_t)rint(least * ALL_WORDS), .end = (uint64_t)rint(end * ALL_WORDS)};
    random_init(&choice.random, seed, RANDOM_NO_WORKER, RANDOM_SPLIT, stream);
    return choice;
}

/* The order of the times as unsigned numbers is theirs. */
static uint64_t key_of(int64_t time) {
    return (uint64_t)time ^ UINT64_C(1) << 63;
}

/* Chooses the share of the first `count` entries that were given last; of those of one moment, the ones further
 * down. Their time is found digit by digit, from the first. */
static enum hysgd_status choose_by_time(const struct ratings *ratings, uint64_t count, double share,
                                        struct choice *choice_out) {
    uint64_t *counts, wanted = (uint64_t)rint(share * (double)count), prefix = 0;
    HYSGD_TRY(memory_alloc(DIGITS, sizeof *counts, &counts));
    for (int shift = 48; shift >= 0; shift -= 16) {
        memset(counts, 0, DIGITS * sizeof *counts);
        for (uint64_t i = 0; i < count; i++) {
            uint64_t key = key_of(ratings->times[i]);
            if (shift == 48 || key >> (shift + 16) == prefix)
                counts[key >> shift & (DIGITS - 1)]++;
        }
        uint64_t digit = DIGITS - 1;
        for (; digit > 0 && counts[digit] < wanted; digit--)
            wanted -= counts[digit];
        prefix = prefix << 16 | digit;
    }
    /* `wanted` of the entries with this time are chosen. */
    uint64_t there = counts[prefix & (DIGITS - 1)];
    *choice_out =
        (struct choice){.kind = BY_TIME, .time = (int64_t)(prefix ^ UINT64_C(1) << 63), .ties = there - wanted};
    memory_free(counts);
    return HYSGD_OK;
}

/* Stores for each row the position of its latest entry. */
static void find_latest(const struct ratings *ratings, uint64_t *positions) {
    for (uint64_t i = 0; i < ratings->count; i++) {
        uint64_t *position = &positions[ratings->entries[i].row];
        if (*position == IS_NOT_DRAWN || ratings->times[i] >= ratings->times[*position])
            *position = i;
    }
}

/* Stores for each row the position of an entry that is drawn. */
static void draw_one_each(const struct ratings *ratings, const uint64_t *counts, uint64_t seed, uint64_t *left,
                          uint64_t *positions) {
    struct random random;
    random_init(&random, seed, RANDOM_NO_WORKER, RANDOM_SPLIT, STREAM_LEAVE_ONE);
    for (uint32_t row = 0; row < ratings->rows.count; row++)
        left[row] = counts[row] > 0 ? random_below(&random, counts[row]) : 0;
    for (uint64_t i = 0; i < ratings->count; i++)
        if (left[ratings->entries[i].row]-- == 0)
            positions[ratings->entries[i].row] = i;
}

/* [3][rows]: positions, which are left to the choice, counts, and what is left to count. */
static enum hysgd_status choose_by_row(const struct ratings *ratings, bool is_latest, uint64_t seed,
                                       struct choice *choice_out) {
    uint64_t *positions;
    size_t rows = ratings->rows.count;
    HYSGD_TRY(memory_alloc(3 * rows, sizeof *positions, &positions));
    uint64_t *counts = positions + rows;
    for (size_t row = 0; row < rows; row++)
        positions[row] = IS_NOT_DRAWN;
    for (uint64_t i = 0; i < ratings->count; i++)
        counts[ratings->entries[i].row]++;
    if (is_latest)
        find_latest(ratings, positions);
    else
        draw_one_each(ratings, counts, seed, counts + rows, positions);
    for (size_t row = 0; row < rows; row++)
        if (counts[row] < 2)
            positions[row] = IS_NOT_DRAWN;
    *choice_out = (struct choice){.kind = BY_ROW, .positions = positions};
    return HYSGD_OK;
}

/* Asked once for each entry, in their order. */
static inline bool is_chosen(struct choice *choice, const struct ratings *ratings, uint64_t i) {
    if (choice->kind == BY_DRAW) {
        uint32_t word = random_bits(&choice->random);
        return word >= choice->least && word < choice->end;
    }
    if (choice->kind == BY_ROW)
        return choice->positions[ratings->entries[i].row] == i;
    int64_t time = ratings->times[i];
    if (time != choice->time)
        return time > choice->time;
    if (choice->ties == 0)
        return true;
    choice->ties--;
    return false;
}

/* Puts the chosen ones of the first `end` entries behind the others and returns how many those are. */
static uint64_t divide(struct ratings *ratings, uint64_t end, struct choice *choice) {
    uint64_t rest = 0;
    for (uint64_t i = 0; i < end; i++) {
        if (is_chosen(choice, ratings, i))
            continue;
        struct rating entry = ratings->entries[i];
        ratings->entries[i] = ratings->entries[rest];
        ratings->entries[rest] = entry;
        if (ratings->times) {
            int64_t time = ratings->times[i];
            ratings->times[i] = ratings->times[rest];
            ratings->times[rest] = time;
        }
        rest++;
    }
    return rest;
}

/* ---- The parts ---- */

/* Stores where the test part begins. */
static enum hysgd_status take_test(struct ratings *ratings, const struct ratings_split_plan *plan, uint64_t seed,
                                   uint64_t *end_out) {
    struct choice choice;
    switch (plan->kind) {
    case RATINGS_SPLIT_NONE:
        return HYSGD_OK;
    case RATINGS_SPLIT_FRACTION:
        choice = choose_by_draw(seed, STREAM_TEST, 0, plan->share);
        break;
    case RATINGS_SPLIT_FOLD:
        choice = choose_by_draw(seed, STREAM_TEST, (double)plan->fold / plan->folds,
                                (double)(plan->fold + 1) / plan->folds);
        break;
    case RATINGS_SPLIT_TIME:
        HYSGD_TRY(choose_by_time(ratings, ratings->count, plan->share, &choice));
        break;
    case RATINGS_SPLIT_LEAVE_ONE:
    case RATINGS_SPLIT_LEAVE_LATEST:
        HYSGD_TRY(choose_by_row(ratings, plan->kind == RATINGS_SPLIT_LEAVE_LATEST, seed, &choice));
        break;
    }
    *end_out = divide(ratings, ratings->count, &choice);
    memory_free(choice.positions);
    return HYSGD_OK;
}

static enum hysgd_status take_validation(struct ratings *ratings, uint64_t end, bool is_by_time, double share,
                                         uint64_t seed, uint64_t *end_out) {
    struct choice choice = choose_by_draw(seed, STREAM_VALIDATION, 0, share);
    if (is_by_time)
        HYSGD_TRY(choose_by_time(ratings, end, share, &choice));
    *end_out = divide(ratings, end, &choice);
    return HYSGD_OK;
}

enum hysgd_status ratings_split_make(struct ratings_split *split, const struct ratings_split_plan *plan,
                                     uint64_t test_first, double validation, uint64_t seed, const char *name) {
    struct ratings *all = &split->all;
    uint64_t test_begin = test_first;
    HYSGD_TRY(take_test(all, plan, seed, &test_begin));
    uint64_t train_end = test_begin;
    if (validation > 0)
        HYSGD_TRY(take_validation(all, test_begin, plan->kind == RATINGS_SPLIT_TIME, validation, seed, &train_end));
    memory_free(all->times);
    all->times = NULL;
    if (train_end == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: of %" PRIu64 " ratings none is left to train on", name, all->count);
    split->train = ratings_part(all, 0, train_end);
    split->validation = ratings_part(all, train_end, test_begin);
    split->test = ratings_part(all, test_begin, all->count);
    return HYSGD_OK;
}
