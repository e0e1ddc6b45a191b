/* SPDX-License-Identifier: Apache-2.0 */
/* Advice as a table with a recommendation, and as JSON. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/advice.h"
#include "train/json.h"

/* ---- The table ---- */

#define CELL_BYTES 48
#define LEAST_NAME 10

enum cell { UPDATES, WAITING, STALENESS, REACHED, MERIT, INTERVAL, BEST, CELL_COUNT };

struct row {
    const char *name;
    char cells[CELL_COUNT][CELL_BYTES];
};

/* Four digits at least, and no exponent where that can be helped. */
static void print_number(double value, char cell[CELL_BYTES]) {
    if (!isfinite(value))
        snprintf(cell, CELL_BYTES, isnan(value) ? "-" : "never");
    else if (value >= 1000)
        snprintf(cell, CELL_BYTES, value < 1e12 ? "%.0f" : "%.4g", value);
    else
        snprintf(cell, CELL_BYTES, "%.4g", value);
}

static void print_interval(const struct advice_estimate *estimate, char cell[CELL_BYTES]) {
    char low[CELL_BYTES], high[CELL_BYTES];
    print_number(estimate->low, low);
    print_number(estimate->high, high);
    snprintf(cell, CELL_BYTES, isnan(estimate->low) ? "-" : "%.20s - %.20s", low, high);
}

static bool has_accuracy(const struct advice *advice, size_t policy) {
    return !isnan(advice->policies[policy].samples[0].values[ADVICE_ACCURACY]);
}

static void fill_row(const struct advice *advice, size_t policy, struct row *row) {
    const double *values = advice->policies[policy].samples[0].values;
    struct advice_estimate merit =
        advice_estimate(advice, policy, advice->has_gradients ? ADVICE_TARGET : ADVICE_USEFUL);
    bool shows_accuracy = has_accuracy(advice, policy);
    row->name = advice->policies[policy].name;
    print_number(values[ADVICE_UPDATES], row->cells[UPDATES]);
    snprintf(row->cells[WAITING], CELL_BYTES, "%.1f", 100 * values[ADVICE_WAITING]);
    print_number(values[ADVICE_STALENESS], row->cells[STALENESS]);
    print_number(shows_accuracy ? 100 * values[ADVICE_ACCURACY] : values[ADVICE_LOSS], row->cells[REACHED]);
    print_number(merit.value, row->cells[MERIT]);
    print_interval(&merit, row->cells[INTERVAL]);
    print_number(100 * advice_best_share(advice, policy), row->cells[BEST]);
}

static void fill_head(const struct advice *advice, size_t best, struct row *row) {
    const char *const titles[CELL_COUNT] = {[UPDATES] = "updates/s",
                                            [WAITING] = "wait %",
                                            [STALENESS] = "staleness",
                                            [REACHED] = has_accuracy(advice, best) ? "acc. %" : "loss",
                                            [MERIT] = advice->has_gradients ? "target s" : "useful/s",
                                            [INTERVAL] = "90 % interval",
                                            [BEST] = "best %"};
    row->name = "policy";
    for (int i = 0; i < CELL_COUNT; i++)
        snprintf(row->cells[i], CELL_BYTES, "%s", titles[i]);
}

/* Fits the rows [count] to the columns: what matters less is left out, then names are cut. */
static void print_rows(const struct row *rows, size_t count, int columns, bool has_gradients, FILE *out) {
    static const enum cell least_first[] = {WAITING, STALENESS, REACHED, UPDATES, INTERVAL};
    bool shows[CELL_COUNT] = {true, true, true, has_gradients, true, true, true};
    int widths[CELL_COUNT] = {0}, longest = 0, total = 0;
    for (size_t i = 0; i < count; i++) {
        int length = (int)strlen(rows[i].name);
        longest = length > longest ? length : longest;
        for (int j = 0; j < CELL_COUNT; j++) {
            int width = (int)strlen(rows[i].cells[j]);
            widths[j] = width > widths[j] ? width : widths[j];
        }
    }
    for (int i = 0; i < CELL_COUNT; i++)
        total += shows[i] ? 2 + widths[i] : 0;
    int least = longest < LEAST_NAME ? longest : LEAST_NAME;
    for (size_t i = 0; i < sizeof least_first / sizeof *least_first && total + least > columns; i++) {
        total -= shows[least_first[i]] ? 2 + widths[least_first[i]] : 0;
        shows[least_first[i]] = false;
    }
    int name = columns - total < longest ? columns - total : longest;
    name = name < least ? least : name;
    for (size_t i = 0; i < count; i++) {
        bool is_cut = (int)strlen(rows[i].name) > name;
        fprintf(out, "%-*.*s%s", is_cut ? 0 : name, is_cut ? name - 2 : name, rows[i].name, is_cut ? ".." : "");
        for (int j = 0; j < CELL_COUNT; j++)
            if (shows[j])
                fprintf(out, "  %*s", widths[j], rows[i].cells[j]);
        fputc('\n', out);
    }
}

/* ---- What it says ---- */

static size_t find_recorded(const struct advice *advice) {
    for (size_t i = 0; i < advice->count && advice->recorded != NULL; i++)
        if (strcmp(advice->policies[i].name, advice->recorded) == 0 && advice->policies[i].fault == NULL)
            return i;
    return advice->count;
}

static void print_source(const struct advice *advice, FILE *out) {
    fprintf(out, "%s: times of %" PRIu64 " gradients of %d workers\n", advice->source, advice->times,
            advice->workers);
    if (advice->is_cut)
        fprintf(out, "  the log is cut before the end of its run\n");
    if (advice->estimated > 0)
        fprintf(out, "  %" PRIu64 " of them were not delivered: their times are estimates\n", advice->estimated);
    if (advice->lost > 0)
        fprintf(out, "  %" PRIu64 " workers left the run: here they stay\n", advice->lost);
    size_t recorded = find_recorded(advice);
    if (recorded < advice->count && advice->recorded_updates > 0) {
        double simulated = advice->policies[recorded].samples[0].values[ADVICE_UPDATES];
        fprintf(out, "  recorded: %s, %.4g updates/s; simulated: %.4g, %+.1f %%\n", advice->recorded,
                advice->recorded_updates, simulated, 100 * (simulated / advice->recorded_updates - 1));
    }
    fputc('\n', out);
}

/* A share as a per cent number. */
static const char *per_cent(double share, char text[CELL_BYTES]) {
    snprintf(text, CELL_BYTES, fabs(share) >= 1 ? "%.0f" : "%.3g", 100 * share);
    return text;
}

static void print_margin(const struct advice *advice, size_t best, size_t second, FILE *out) {
    struct advice_estimate margin = advice_margin(advice, best, second);
    char value[CELL_BYTES], low[CELL_BYTES], high[CELL_BYTES];
    fprintf(out, "  %s %% %s than the second, %s", per_cent(margin.value, value),
            advice->has_gradients ? "faster" : "more", advice->policies[second].name);
    if (isfinite(margin.low) && isfinite(margin.high))
        fprintf(out, " (90 %%: %s to %s %%)", per_cent(margin.low, low), per_cent(margin.high, high));
    fputc('\n', out);
}

static void print_recommendation(const struct advice *advice, const size_t *order, size_t count, FILE *out) {
    size_t best = order[0];
    char merit[CELL_BYTES];
    if (!(advice_merit(advice, best) > 0)) {
        fprintf(out, "\nno policy reached %s within the limits: no recommendation\n", advice->target);
        return;
    }
    print_number(advice_estimate(advice, best, advice->has_gradients ? ADVICE_TARGET : ADVICE_USEFUL).value, merit);
    fprintf(out, "\nrecommended: %s\n", advice->policies[best].name);
    if (advice->has_gradients)
        fprintf(out, "  %s seconds to %s\n", merit, advice->target);
    else
        fprintf(out, "  %s useful gradients/s, each counting (1 + lag)^-%g\n", merit, advice->discount);
    if (count > 1 && advice_merit(advice, order[1]) > 0)
        print_margin(advice, best, order[1], out);
    if (advice->replicates > 0)
        fprintf(out, "  the best in %.4g %% of %zu resamplings of the times\n",
                100 * advice_best_share(advice, best), advice->replicates);
    if (advice->has_gradients)
        return;
    fprintf(out, "  if gradients are mostly noise (discount 0): %s; if hardly (discount 1): %s\n",
            advice->policies[advice_most(advice, ADVICE_GRADIENTS)].name,
            advice->policies[advice_most(advice, ADVICE_USEFUL_LEAST)].name);
    fprintf(out, "Times alone do not tell how much staleness and large updates harm this job:\n"
                 "--true-gradients computes it.\n");
}

static void print_faults(const struct advice *advice, FILE *out) {
    for (size_t i = 0; i < advice->count; i++)
        if (advice->policies[i].fault != NULL)
            fprintf(out, "left out: %s: %s\n", advice->policies[i].name, advice->policies[i].fault);
}

enum hysgd_status advice_print_text(const struct advice *advice, int columns, FILE *out) {
    struct row *rows;
    size_t *order;
    HYSGD_TRY(memory_alloc(advice->count, sizeof *order, &order));
    enum hysgd_status status = memory_alloc(advice->count + 1, sizeof *rows, &rows);
    if (status == HYSGD_OK) {
        size_t count = advice_rank(advice, order);
        fill_head(advice, order[0], &rows[0]);
        for (size_t i = 0; i < count; i++)
            fill_row(advice, order[i], &rows[i + 1]);
        print_source(advice, out);
        print_rows(rows, count + 1, columns, advice->has_gradients, out);
        print_faults(advice, out);
        print_recommendation(advice, order, count, out);
        memory_free(rows);
    }
    memory_free(order);
    return status;
}

/* ---- JSON ---- */

static const char *const names[ADVICE_QUANTITIES] = {
    [ADVICE_UPDATES] = "updates_per_second",
    [ADVICE_GRADIENTS] = "gradients_per_second",
    [ADVICE_USEFUL] = "useful_gradients_per_second",
    [ADVICE_USEFUL_LEAST] = "useful_gradients_per_second_at_discount_1",
    [ADVICE_WAITING] = "waiting_share",
    [ADVICE_STALENESS] = "mean_staleness",
    [ADVICE_TARGET] = "target_seconds",
    [ADVICE_LOSS] = "test_loss",
    [ADVICE_ACCURACY] = "test_accuracy",
};

static json_t *estimate_json(struct advice_estimate estimate) {
    return json_pack("{s:o, s:o, s:o}", "value", json_number(estimate.value), "low", json_number(estimate.low),
                     "high", json_number(estimate.high));
}

static json_t *policy_json(const struct advice *advice, size_t policy) {
    const char *fault = advice->policies[policy].fault;
    json_t *json = json_pack("{s:s, s:o}", "policy", advice->policies[policy].name, "left_out", json_text(fault));
    int failed = json == NULL;
    for (int i = 0; !failed && fault == NULL && i < ADVICE_QUANTITIES; i++)
        failed = json_object_set_new(json, names[i],
                                     estimate_json(advice_estimate(advice, policy, (enum advice_quantity)i)));
    if (!failed && fault == NULL)
        failed = json_object_set_new(json, "best_share", json_number(advice_best_share(advice, policy)));
    return failed ? json_drop(json) : json;
}

static json_t *policies_json(const struct advice *advice, const size_t *order, size_t count) {
    json_t *json = json_array();
    int failed = json == NULL;
    for (size_t i = 0; !failed && i < count; i++)
        failed = json_array_append_new(json, policy_json(advice, order[i]));
    for (size_t i = 0; !failed && i < advice->count; i++)
        if (advice->policies[i].fault != NULL)
            failed = json_array_append_new(json, policy_json(advice, i));
    return failed ? json_drop(json) : json;
}

static json_t *recommendation_json(const struct advice *advice, const size_t *order, size_t count) {
    if (!(advice_merit(advice, order[0]) > 0))
        return json_null();
    bool has_second = count > 1 && advice_merit(advice, order[1]) > 0;
    return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s}", "policy", advice->policies[order[0]].name, "second",
                     json_text(has_second ? advice->policies[order[1]].name : NULL), "margin",
                     has_second ? estimate_json(advice_margin(advice, order[0], order[1])) : json_null(),
                     "best_share", json_number(advice_best_share(advice, order[0])), "most_gradients",
                     advice->policies[advice_most(advice, ADVICE_GRADIENTS)].name, "most_at_discount_1",
                     advice->policies[advice_most(advice, ADVICE_USEFUL_LEAST)].name);
}

static json_t *recorded_json(const struct advice *advice) {
    if (advice->recorded == NULL)
        return json_null();
    return json_pack("{s:s, s:o, s:b}", "policy", advice->recorded, "updates_per_second",
                     json_number(advice->recorded_updates), "is_cut", advice->is_cut);
}

enum hysgd_status advice_print_json(const struct advice *advice, FILE *out) {
    size_t *order;
    HYSGD_TRY(memory_alloc(advice->count, sizeof *order, &order));
    size_t count = advice_rank(advice, order);
    json_t *json = json_pack(
        "{s:s, s:i, s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:I, s:o, s:o}", "times", advice->source, "workers",
        advice->workers, "gradients", (json_int_t)advice->times, "estimated", (json_int_t)advice->estimated, "lost",
        (json_int_t)advice->lost, "recorded", recorded_json(advice), "best_by",
        advice->has_gradients ? names[ADVICE_TARGET] : names[ADVICE_USEFUL], "target", json_text(advice->target),
        "discount", json_number(advice->discount), "replicates", (json_int_t)advice->replicates, "policies",
        policies_json(advice, order, count), "recommendation", recommendation_json(advice, order, count));
    memory_free(order);
    return json_print(json, JSON_INDENT(2), out);
}
