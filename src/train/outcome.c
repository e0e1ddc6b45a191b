/* SPDX-License-Identifier: Apache-2.0 */
/* Means and standard deviations over the seeds of a comparison, and printing them. */
#include "train/outcome.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/option_text.h"
#include "train/json.h"

/* Those from EPOCHS on are of fits only, and shown where there are some. */
enum quantity {
    SECONDS,
    GRADIENTS,
    UPDATES,
    STALENESS,
    WAITING,
    TEST_LOSS,
    ACCURACY,
    TARGET,
    EPOCHS,
    MAE,
    SPEED,
    SCHEDULING,
    IMBALANCE,
    QUANTITY_COUNT
};

/* The name in CSV and JSON. */
static const char *const names[QUANTITY_COUNT] = {"seconds",
                                                  "gradients",
                                                  "updates",
                                                  "mean_staleness",
                                                  "waiting_share",
                                                  "test_loss",
                                                  "test_accuracy",
                                                  "target_seconds",
                                                  "epochs",
                                                  "mae",
                                                  "ratings_per_second",
                                                  "scheduling_share",
                                                  "imbalance"};

/* The title of a column of the table, and how much it is missed: the smallest goes first where space is short. */
static const struct {
    const char *title;
    int importance;
} columns_of[QUANTITY_COUNT] = {
    [SECONDS] = {"seconds", 6},     [GRADIENTS] = {"gradients", 2},
    [UPDATES] = {"updates", 5},     [STALENESS] = {"staleness", 4},
    [WAITING] = {"wait %", 3},      [TEST_LOSS] = {"test loss", 1},
    [ACCURACY] = {"accuracy %", 8}, [TARGET] = {"target s", 7},
    [EPOCHS] = {"epochs", 3},       [MAE] = {"MAE", 5},
    [SPEED] = {"M ratings/s", 6},   [SCHEDULING] = {"scheduler %", 2},
    [IMBALANCE] = {"imbalance", 1},
};

enum hysgd_status outcome_init(struct outcome *outcome, const char *policy, size_t repeat) {
    memset(outcome, 0, sizeof *outcome);
    outcome->repeat = repeat;
    HYSGD_TRY(memory_copy_text(policy, &outcome->policy));
    HYSGD_TRY(memory_alloc(repeat, sizeof *outcome->ends, &outcome->ends));
    HYSGD_TRY(memory_alloc(repeat, sizeof *outcome->fits, &outcome->fits));
    return memory_alloc(repeat, sizeof *outcome->results, &outcome->results);
}

void outcome_fini(struct outcome *outcome) {
    memory_free(outcome->policy);
    memory_free(outcome->ends);
    memory_free(outcome->fits);
    memory_free(outcome->results);
    memset(outcome, 0, sizeof *outcome);
}

size_t outcome_count(const struct outcome *outcome, enum outcome_end end) {
    size_t count = 0;
    for (size_t i = 0; i < outcome->repeat; i++)
        count += outcome->ends[i] == end;
    return count;
}

/* ---- Statistics ---- */

static double value_of_fit(const struct outcome_fit *fit, enum quantity quantity) {
    switch (quantity) {
    case EPOCHS:
        return fit->epochs;
    case MAE:
        return fit->mae;
    case SPEED:
        return fit->ratings_per_second;
    case SCHEDULING:
        return fit->scheduling_share;
    case IMBALANCE:
        return fit->imbalance;
    default:
        return (double)NAN;
    }
}

static double value_of(const struct hysgd_result *result, enum quantity quantity) {
    switch (quantity) {
    case SECONDS:
        return result->seconds;
    case GRADIENTS:
        return (double)result->received;
    case UPDATES:
        return (double)result->updates;
    case STALENESS:
        return result->mean_staleness;
    case WAITING:
        return result->waiting_share;
    case TEST_LOSS:
        return result->test_loss;
    case ACCURACY:
        return result->test_accuracy;
    case TARGET:
        return result->target_seconds;
    default:
        return (double)NAN;
    }
}

/* Over the finished runs in which the quantity exists. */
struct statistic {
    size_t count;
    double mean, deviation; /* NaN: of none; of fewer than two */
};

static struct statistic measure(const struct outcome *outcome, enum quantity quantity) {
    struct statistic statistic = {0};
    double mean = 0, squares = 0;
    for (size_t i = 0; i < outcome->repeat; i++) {
        double value = quantity < EPOCHS            ? value_of(&outcome->results[i], quantity)
                       : outcome->loss_name != NULL ? value_of_fit(&outcome->fits[i], quantity)
                                                    : (double)NAN;
        if (outcome->ends[i] != OUTCOME_FINISHED || !isfinite(value))
            continue;
        double distance = value - mean;
        mean += distance / (double)++statistic.count;
        squares += distance * (value - mean);
    }
    statistic.mean = statistic.count > 0 ? mean : (double)NAN;
    statistic.deviation = statistic.count > 1 ? sqrt(squares / (double)(statistic.count - 1)) : (double)NAN;
    return statistic;
}

static bool exists(const struct outcome *outcomes, size_t count, enum quantity quantity) {
    for (size_t i = 0; i < count; i++)
        if (measure(&outcomes[i], quantity).count > 0)
            return true;
    return false;
}

/* ---- The table ---- */

#define CELL_BYTES 64
#define LEAST_NAME 12

struct row {
    const char *policy;
    char cells[QUANTITY_COUNT][CELL_BYTES];
    char note[CELL_BYTES]; /* "" or what is to be said about runs that are missing */
};

static int decimals_of(double value) {
    double size = fabs(value);
    return size >= 1000 ? 0 : size >= 10 ? 1 : 2;
}

/* The mean, with the standard deviation where there are several runs and it matters. */
static void print_cell(const struct outcome *outcome, enum quantity quantity, char cell[CELL_BYTES]) {
    struct statistic statistic = measure(outcome, quantity);
    bool is_share = quantity == ACCURACY || quantity == WAITING || quantity == SCHEDULING;
    double scale = is_share ? 100 : quantity == SPEED ? 1e-6 : 1;
    double mean = scale * statistic.mean, deviation = scale * statistic.deviation;
    int decimals = quantity == GRADIENTS || quantity == UPDATES ? 0
                   : quantity == ACCURACY                       ? 2
                   : quantity == WAITING                        ? 1
                   : quantity == TEST_LOSS || quantity == MAE   ? 4
                                                                : decimals_of(mean);
    bool shows_deviation = quantity == ACCURACY || quantity == TEST_LOSS || quantity == TARGET;
    if (statistic.count == 0) {
        snprintf(cell, CELL_BYTES, "-");
        return;
    }
    int used = snprintf(cell, CELL_BYTES, "%.*f", decimals, mean);
    if (shows_deviation && isfinite(deviation) && used < CELL_BYTES)
        used += snprintf(cell + used, (size_t)(CELL_BYTES - used), "+-%.*f", decimals, deviation);
    size_t finished = outcome_count(outcome, OUTCOME_FINISHED);
    if (quantity == TARGET && statistic.count < finished && used < CELL_BYTES)
        snprintf(cell + used, (size_t)(CELL_BYTES - used), " (%zu/%zu)", statistic.count, finished);
}

static void fill_row(const struct outcome *outcome, struct row *row) {
    size_t diverged = outcome_count(outcome, OUTCOME_DIVERGED), missing = outcome_count(outcome, OUTCOME_MISSING);
    row->policy = outcome->policy;
    row->note[0] = '\0';
    for (int i = 0; i < QUANTITY_COUNT; i++)
        print_cell(outcome, (enum quantity)i, row->cells[i]);
    if (diverged > 0)
        snprintf(row->note, CELL_BYTES, "%zu of %zu diverged", diverged, outcome->repeat);
    else if (missing > 0)
        snprintf(row->note, CELL_BYTES, "%zu of %zu not finished", missing, outcome->repeat);
}

struct layout {
    bool are_fits;      /* a row has fits */
    bool are_scheduled; /* all rows are of schedulers */
    int widths[QUANTITY_COUNT];
    bool shows[QUANTITY_COUNT];
    int name;     /* width of the first column */
    int name_max; /* that it would like */
};

static int total_width(const struct layout *layout) {
    int total = layout->name;
    for (int i = 0; i < QUANTITY_COUNT; i++)
        total += layout->shows[i] ? 2 + layout->widths[i] : 0;
    return total;
}

/* Of a fit nothing is missed as much as the loss. */
static int importance_of(const struct layout *layout, int quantity) {
    return layout->are_fits && quantity == TEST_LOSS ? INT_MAX : columns_of[quantity].importance;
}

static void drop_least(struct layout *layout) {
    int least = -1;
    for (int i = 0; i < QUANTITY_COUNT; i++)
        if (layout->shows[i] && (least < 0 || importance_of(layout, i) < importance_of(layout, least)))
            least = i;
    layout->shows[least] = false;
}

static int shown_count(const struct layout *layout) {
    int count = 0;
    for (int i = 0; i < QUANTITY_COUNT; i++)
        count += layout->shows[i];
    return count;
}

static void fit(struct layout *layout, const struct row *head, const struct row *rows, size_t count, int columns) {
    layout->name_max = (int)strlen(head->policy);
    for (size_t j = 0; j < count; j++) {
        int length = (int)strlen(rows[j].policy);
        layout->name_max = length > layout->name_max ? length : layout->name_max;
    }
    for (int i = 0; i < QUANTITY_COUNT; i++) {
        layout->widths[i] = (int)strlen(head->cells[i]);
        for (size_t j = 0; j < count; j++) {
            int length = (int)strlen(rows[j].cells[i]);
            layout->widths[i] = length > layout->widths[i] ? length : layout->widths[i];
        }
    }
    layout->name = layout->name_max < LEAST_NAME ? layout->name_max : LEAST_NAME;
    while (total_width(layout) > columns && shown_count(layout) > 1)
        drop_least(layout);
    int spare = columns - total_width(layout);
    layout->name += spare > 0 ? spare : 0;
    layout->name = layout->name > layout->name_max ? layout->name_max : layout->name;
}

static void print_row(const struct layout *layout, const struct row *row, FILE *out) {
    bool is_cut = (int)strlen(row->policy) > layout->name;
    fprintf(out, "%-*.*s%s", is_cut ? 0 : layout->name, is_cut ? layout->name - 2 : layout->name, row->policy,
            is_cut ? ".." : "");
    for (int i = 0; i < QUANTITY_COUNT; i++)
        if (layout->shows[i])
            fprintf(out, "  %*s", layout->widths[i], row->cells[i]);
    fputc('\n', out);
}

static size_t count_fits(const struct outcome *outcomes, size_t count) {
    size_t fits = 0;
    for (size_t i = 0; i < count; i++)
        fits += outcomes[i].loss_name != NULL;
    return fits;
}

/* Which columns there are, space aside, and what they are called. */
static void choose_columns(const struct outcome *outcomes, size_t count, struct layout *layout, struct row *head) {
    const char *loss_name = columns_of[TEST_LOSS].title;
    layout->are_fits = count_fits(outcomes, count) > 0;
    layout->are_scheduled = count > 0;
    for (size_t i = 0; i < count; i++) {
        layout->are_scheduled = layout->are_scheduled && outcomes[i].is_scheduled;
        loss_name = outcomes[i].loss_name != NULL ? outcomes[i].loss_name : loss_name;
    }
    *head = (struct row){.policy = layout->are_scheduled ? "scheduler" : "policy"};
    for (int i = 0; i < QUANTITY_COUNT; i++) {
        bool is_optional = i == TARGET || i == ACCURACY || i >= EPOCHS;
        bool is_of_policies = i == GRADIENTS || i == UPDATES || i == STALENESS;
        layout->shows[i] = (!is_optional || exists(outcomes, count, (enum quantity)i)) &&
                           !(is_of_policies && layout->are_scheduled);
        snprintf(head->cells[i], CELL_BYTES, "%s", i == TEST_LOSS ? loss_name : columns_of[i].title);
    }
    layout->shows[TEST_LOSS] = layout->are_fits ? exists(outcomes, count, TEST_LOSS) : !layout->shows[ACCURACY];
}

enum hysgd_status outcomes_print_text(const struct outcome *outcomes, size_t count, int columns, FILE *out) {
    struct row *rows, head;
    struct layout layout = {0};
    HYSGD_TRY(memory_alloc(count, sizeof *rows, &rows));
    for (size_t i = 0; i < count; i++)
        fill_row(&outcomes[i], &rows[i]);
    choose_columns(outcomes, count, &layout, &head);
    fit(&layout, &head, rows, count, columns);
    print_row(&layout, &head, out);
    for (size_t i = 0; i < count; i++)
        print_row(&layout, &rows[i], out);
    for (size_t i = 0; i < count; i++)
        if (rows[i].note[0] != '\0')
            fprintf(out, "%s: %s\n", rows[i].policy, rows[i].note);
    memory_free(rows);
    return HYSGD_OK;
}

/* ---- CSV and JSON ---- */

static void print_number(double value, FILE *out) {
    char text[OPTION_REAL_BYTES] = "";
    if (isfinite(value))
        option_format_real(value, text);
    fprintf(out, ",%s", text);
}

void outcomes_print_csv(const struct outcome *outcomes, size_t count, FILE *out) {
    fputs("policy,runs,finished,diverged,target_reached", out);
    int quantities = count_fits(outcomes, count) > 0 ? QUANTITY_COUNT : EPOCHS;
    for (int i = 0; i < quantities; i++)
        fprintf(out, ",%s,%s_std", names[i], names[i]);
    fputc('\n', out);
    for (size_t i = 0; i < count; i++) {
        fputc('"', out);
        for (const char *c = outcomes[i].policy; *c != '\0'; c++)
            fprintf(out, *c == '"' ? "\"\"" : "%c", *c);
        fprintf(out, "\",%zu,%zu,%zu,%zu", outcomes[i].repeat, outcome_count(&outcomes[i], OUTCOME_FINISHED),
                outcome_count(&outcomes[i], OUTCOME_DIVERGED), measure(&outcomes[i], TARGET).count);
        for (int j = 0; j < quantities; j++) {
            struct statistic statistic = measure(&outcomes[i], (enum quantity)j);
            print_number(statistic.mean, out);
            print_number(statistic.deviation, out);
        }
        fputc('\n', out);
    }
}

static json_t *outcome_json(const struct outcome *outcome) {
    json_t *json =
        json_pack("{s:s, s:I, s:I, s:I, s:I}", "policy", outcome->policy, "runs", (json_int_t)outcome->repeat,
                  "finished", (json_int_t)outcome_count(outcome, OUTCOME_FINISHED), "diverged",
                  (json_int_t)outcome_count(outcome, OUTCOME_DIVERGED), "target_reached",
                  (json_int_t)measure(outcome, TARGET).count);
    int failed = json == NULL;
    int quantities = outcome->loss_name != NULL ? QUANTITY_COUNT : EPOCHS;
    for (int i = 0; !failed && i < quantities; i++) {
        struct statistic statistic = measure(outcome, (enum quantity)i);
        failed = json_object_set_new(
            json, names[i],
            json_pack("{s:o, s:o}", "mean", json_number(statistic.mean), "std", json_number(statistic.deviation)));
    }
    return failed ? json_drop(json) : json;
}

enum hysgd_status outcomes_print_json(const struct outcome *outcomes, size_t count, FILE *out) {
    json_t *json = json_array();
    int failed = json == NULL;
    for (size_t i = 0; !failed && i < count; i++)
        failed = json_array_append_new(json, outcome_json(&outcomes[i]));
    return json_print(failed ? json_drop(json) : json, JSON_INDENT(2), out);
}
