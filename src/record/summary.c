/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run as text: how it went, and where every worker's gradients and time went. Checks that the accounts
 * add up and says so loudly where they do not. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "record/bias.h"
#include "record/sinks.h"
#include "record/straggler.h"

#define MOST_ROWS   24 /* with more workers, only the extreme ones are shown */
#define LEAST_WIDTH 40
#define CELL_SIZE   24

/* The account of a worker or of all, with what the table prints of it. */
struct row {
    struct event_account account;
    int worker; /* -1: all of them */
};

static double share(double part, const struct event_account *account) {
    double total =
        account->compute_seconds + account->transit_seconds + account->waiting_seconds + account->abandoned_seconds;
    return total > 0 ? 100 * part / total : (double)NAN;
}

/* ---- Cells ---- */

/* Exact up to seven digits; `is_short`: three digits or so and a power of 1000. */
static void print_count(uint64_t count, bool is_short, char cell[CELL_SIZE]) {
    static const char suffixes[] = " kMGTPE";
    double value = (double)count;
    int power = 0;
    while (is_short && value >= 999.5) {
        value /= 1000;
        power++;
    }
    if (power == 0)
        snprintf(cell, CELL_SIZE, "%" PRIu64, count);
    else
        snprintf(cell, CELL_SIZE, "%.*f%c", value < 99.95 ? 1 : 0, value, suffixes[power]);
}

static void print_seconds(double seconds, char cell[CELL_SIZE]) {
    if (!isfinite(seconds))
        snprintf(cell, CELL_SIZE, "-");
    else if (fabs(seconds) < 1)
        snprintf(cell, CELL_SIZE, "%.3g", seconds);
    else if (fabs(seconds) < 1e7)
        snprintf(cell, CELL_SIZE, "%.*f", fabs(seconds) < 1000 ? 2 : 0, seconds);
    else
        snprintf(cell, CELL_SIZE, "%.3e", seconds);
}

static void print_real(double value, char cell[CELL_SIZE]) {
    if (isfinite(value))
        snprintf(cell, CELL_SIZE, "%.1f", value);
    else
        snprintf(cell, CELL_SIZE, "-");
}

static void print_worker(int worker, char cell[CELL_SIZE]) {
    if (worker < 0)
        snprintf(cell, CELL_SIZE, "all");
    else
        snprintf(cell, CELL_SIZE, "%d", worker);
}

/* In the order of importance: what does not fit is left out from the right. */
enum column {
    WORKER,
    RECEIVED,
    APPLIED,
    DROPPED,
    HELD,
    WAITING_SHARE,
    STALENESS,
    MOST_STALENESS,
    ABANDONED,
    UNDONE,
    COMPUTE_SECONDS,
    TRANSIT_SECONDS,
    WAITING_SECONDS,
    CAUSED_SECONDS,
    ABANDONED_SECONDS,
    COMPUTE_SHARE,
    TRANSIT_SHARE,
    SENT_BYTES,
    READ_BYTES,
    COLUMN_COUNT
};

enum shape {
    SHAPE_WORKER,
    SHAPE_COUNT,
    SHAPE_BYTES, /* a count that nobody adds up: always short */
    SHAPE_SECONDS,
    SHAPE_SHARE, /* of the worker's time, in percent */
    SHAPE_MEAN   /* over the applied gradients */
};

#define AT(field) offsetof(struct event_account, field)

static const struct {
    const char *title;
    enum shape shape;
    size_t at; /* of the number, in the account */
} kinds[COLUMN_COUNT] = {
    [WORKER] = {"worker", SHAPE_WORKER, 0},
    [RECEIVED] = {"received", SHAPE_COUNT, AT(received)},
    [APPLIED] = {"applied", SHAPE_COUNT, AT(applied)},
    [DROPPED] = {"dropped", SHAPE_COUNT, AT(dropped)},
    [HELD] = {"held", SHAPE_COUNT, AT(held)},
    [WAITING_SHARE] = {"waiting %", SHAPE_SHARE, AT(waiting_seconds)},
    [STALENESS] = {"staleness", SHAPE_MEAN, AT(staleness_sum)},
    [MOST_STALENESS] = {"most", SHAPE_COUNT, AT(most_staleness)},
    [ABANDONED] = {"given up", SHAPE_COUNT, AT(abandoned)},
    [UNDONE] = {"undone", SHAPE_COUNT, AT(undone)},
    [COMPUTE_SECONDS] = {"compute s", SHAPE_SECONDS, AT(compute_seconds)},
    [TRANSIT_SECONDS] = {"transit s", SHAPE_SECONDS, AT(transit_seconds)},
    [WAITING_SECONDS] = {"waiting s", SHAPE_SECONDS, AT(waiting_seconds)},
    [CAUSED_SECONDS] = {"caused s", SHAPE_SECONDS, AT(caused_seconds)},
    [ABANDONED_SECONDS] = {"given up s", SHAPE_SECONDS, AT(abandoned_seconds)},
    [COMPUTE_SHARE] = {"compute %", SHAPE_SHARE, AT(compute_seconds)},
    [TRANSIT_SHARE] = {"transit %", SHAPE_SHARE, AT(transit_seconds)},
    [SENT_BYTES] = {"sent B", SHAPE_BYTES, AT(traffic.sent)},
    [READ_BYTES] = {"read B", SHAPE_BYTES, AT(traffic.received)},
};

static void print_cell(const struct row *row, enum column column, bool is_short, char cell[CELL_SIZE]) {
    const struct event_account *account = &row->account;
    const void *number = (const char *)account + kinds[column].at;
    switch (kinds[column].shape) {
    case SHAPE_WORKER:
        print_worker(row->worker, cell);
        break;
    case SHAPE_COUNT:
        print_count(*(const uint64_t *)number, is_short, cell);
        break;
    case SHAPE_BYTES:
        print_count(*(const uint64_t *)number, true, cell);
        break;
    case SHAPE_SECONDS:
        print_seconds(*(const double *)number, cell);
        break;
    case SHAPE_SHARE:
        print_real(share(*(const double *)number, account), cell);
        break;
    case SHAPE_MEAN:
        print_real(*(const double *)number / (double)account->applied, cell);
        break;
    }
}

#define COLUMNS_NEEDED 5 /* those that must add up; shortened rather than left out */

/* ---- The table ---- */

/* What is shown: a choice of rows, the totals last, and how wide each column is. */
struct table {
    struct row rows[MOST_ROWS + 1];
    int row_count;
    enum column columns[COLUMN_COUNT]; /* [column_count] */
    int widths[COLUMN_COUNT];          /* of those columns */
    int column_count;
    bool is_short;
};

static struct row total(const struct event_summary *summary) {
    struct row sum = {.worker = -1};
    for (int i = 0; i < summary->workers; i++) {
        const struct event_account *account = &summary->accounts[i];
        sum.account.received += account->received;
        sum.account.applied += account->applied;
        sum.account.dropped += account->dropped;
        sum.account.held += account->held;
        sum.account.abandoned += account->abandoned;
        sum.account.undone += account->undone;
        sum.account.abandoned_seconds += account->abandoned_seconds;
        sum.account.compute_seconds += account->compute_seconds;
        sum.account.transit_seconds += account->transit_seconds;
        sum.account.waiting_seconds += account->waiting_seconds;
        sum.account.caused_seconds += account->caused_seconds;
        sum.account.staleness_sum += account->staleness_sum;
        sum.account.traffic.sent += account->traffic.sent;
        sum.account.traffic.received += account->traffic.received;
        if (account->most_staleness > sum.account.most_staleness)
            sum.account.most_staleness = account->most_staleness;
    }
    return sum;
}

static bool adds_up(const struct event_account *account) {
    return account->received == account->applied + account->dropped + account->held;
}

/* Ways of being extreme. A larger value is more so; NaN is not. */
static double extremity(const struct event_account *account, int way) {
    switch (way) {
    case 0:
        return (double)account->received;
    case 1:
        return -(double)account->received;
    case 2:
        return share(account->waiting_seconds, account);
    case 3:
        return -share(account->waiting_seconds, account);
    case 4:
        return (double)account->dropped;
    case 5:
        return (double)account->most_staleness;
    default:
        return account->compute_seconds / (double)account->received; /* slowest */
    }
}

#define EXTREMITY_COUNT 7

static bool is_shown(const struct table *table, int worker) {
    for (int i = 0; i < table->row_count; i++)
        if (table->rows[i].worker == worker)
            return true;
    return false;
}

static void add_row(struct table *table, const struct event_summary *summary, int worker) {
    int place = table->row_count++;
    for (; place > 0 && table->rows[place - 1].worker > worker; place--)
        table->rows[place] = table->rows[place - 1];
    table->rows[place] = (struct row){.account = summary->accounts[worker], .worker = worker};
}

static void choose_rows(struct table *table, const struct event_summary *summary) {
    if (summary->workers <= MOST_ROWS) {
        for (int i = 0; i < summary->workers; i++)
            add_row(table, summary, i);
        return;
    }
    for (int way = 0; way < EXTREMITY_COUNT; way++) {
        int most = -1;
        for (int i = 0; i < summary->workers; i++) {
            double value = extremity(&summary->accounts[i], way);
            if (isfinite(value) && (most < 0 || value > extremity(&summary->accounts[most], way)))
                most = i;
        }
        if (most >= 0 && !is_shown(table, most))
            add_row(table, summary, most);
    }
}

static int total_width(const struct table *table, int count) {
    int width = 0;
    for (int i = 0; i < count; i++)
        width += table->widths[i] + (i > 0);
    return width;
}

static void measure(struct table *table, bool is_short) {
    table->is_short = is_short;
    for (int i = 0; i < table->column_count; i++) {
        table->widths[i] = (int)strlen(kinds[table->columns[i]].title);
        for (int j = 0; j < table->row_count; j++) {
            char cell[CELL_SIZE];
            print_cell(&table->rows[j], table->columns[i], is_short, cell);
            int width = (int)strlen(cell);
            table->widths[i] = width > table->widths[i] ? width : table->widths[i];
        }
    }
}

/* What does not happen under every policy is shown only where it did. */
static bool is_column_shown(enum column column, const struct event_account *sum) {
    if (column == ABANDONED || column == ABANDONED_SECONDS)
        return sum->abandoned > 0;
    if (column == UNDONE)
        return sum->undone > 0;
    if (column == SENT_BYTES || column == READ_BYTES)
        return sum->traffic.sent > 0; /* logs of earlier versions do not tell */
    return column != CAUSED_SECONDS || sum->caused_seconds > 0;
}

static void choose_columns(struct table *table, const struct event_account *sum) {
    for (int i = 0; i < COLUMN_COUNT; i++)
        if (is_column_shown((enum column)i, sum))
            table->columns[table->column_count++] = (enum column)i;
}

static void fit(struct table *table, int columns) {
    measure(table, false);
    if (total_width(table, COLUMNS_NEEDED) > columns)
        measure(table, true);
    while (table->column_count > COLUMNS_NEEDED && total_width(table, table->column_count) > columns)
        table->column_count--;
}

static void print_table(const struct table *table, FILE *out) {
    for (int i = 0; i < table->column_count; i++)
        fprintf(out, "%s%*s", i > 0 ? " " : "", table->widths[i], kinds[table->columns[i]].title);
    fputc('\n', out);
    for (int j = 0; j < table->row_count; j++) {
        for (int i = 0; i < table->column_count; i++) {
            char cell[CELL_SIZE];
            print_cell(&table->rows[j], table->columns[i], table->is_short, cell);
            fprintf(out, "%s%*s", i > 0 ? " " : "", table->widths[i], cell);
        }
        fputc('\n', out);
    }
}

/* ---- The text above the table ---- */

/* Words separated by two blanks, broken into lines of at most `columns`. */
struct paragraph {
    FILE *out;
    int columns, used;
};

__attribute__((format(printf, 2, 3))) static void say(struct paragraph *paragraph, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int length = (int)strlen(text);
    if (paragraph->used > 0 && paragraph->used + 2 + length > paragraph->columns) {
        fputc('\n', paragraph->out);
        paragraph->used = 0;
    }
    paragraph->used += fprintf(paragraph->out, "%s%s", paragraph->used > 0 ? "  " : "", text);
}

/* How many batches were behind the gradients, where that is not one each. */
static void say_batches(const struct event_summary *summary, struct paragraph *paragraph) {
    uint64_t received = 0, batches = 0;
    for (int i = 0; i < summary->workers; i++) {
        received += summary->accounts[i].received;
        batches += summary->accounts[i].batches;
    }
    if (batches > received)
        say(paragraph, "%" PRIu64 " local steps, %.3g a gradient", batches, (double)batches / (double)received);
}

static void say_outcome(const struct event_summary *summary, struct paragraph *paragraph) {
    char cell[CELL_SIZE];
    print_seconds(summary->seconds, cell);
    say(paragraph, "ended after %s s", cell);
    say(paragraph, "(%s)", summary->reason);
    say(paragraph, "%" PRIu64 " updates", summary->updates);
    if (summary->forced_updates > 0)
        say(paragraph, "%" PRIu64 " of them forced", summary->forced_updates);
    say_batches(summary, paragraph);
    if (summary->returns > 0)
        say(paragraph, "went back %" PRIu64 " %s after losses, %" PRIu64 " gradients undone", summary->returns,
            summary->returns == 1 ? "time" : "times", summary->undone);
    if (summary->unfinished > 0)
        say(paragraph, "%" PRIu64 " gradients unfinished", summary->unfinished);
    if (summary->seconds > 0)
        say(paragraph, "server busy %.1f %%", 100 * summary->server_seconds / summary->seconds);
    if (!isnan(summary->train_loss))
        say(paragraph, "train loss %.5g", summary->train_loss);
    if (!isnan(summary->test_loss))
        say(paragraph, "test loss %.5g", summary->test_loss);
    if (!isnan(summary->test_accuracy))
        say(paragraph, "accuracy %.2f %%", 100 * summary->test_accuracy);
    print_seconds(summary->target_seconds, cell);
    if (!isnan(summary->target_seconds))
        say(paragraph, "target reached after %s s", cell);
    fputc('\n', paragraph->out);
    paragraph->used = 0;
}

/* Below this the bias is no policy's doing: workers do not stop on the same gradient. */
#define SHOWN_BIAS 0.01

static void say_most(const struct bias *bias, const char *what, struct paragraph *paragraph) {
    say(paragraph, "%s %d has %.1f %% of them", what, bias->most, 100 * bias->share.applied);
    say(paragraph, "and %.1f %% of the data", 100 * bias->share.data);
}

/* Which data the applied gradients were of. */
static void say_bias(const struct event_summary *summary, struct paragraph *paragraph) {
    struct bias workers = bias_of_workers(summary), classes = bias_of_classes(summary);
    if (isnan(workers.distance))
        return;
    bool shows_most = workers.distance >= SHOWN_BIAS; /* what classes lack without it is chance */
    say(paragraph, "samples applied: bias by worker %.1f %%", 100 * workers.distance);
    if (shows_most)
        say_most(&workers, "worker", paragraph);
    if (!isnan(classes.distance))
        say(paragraph, "bias by class %.1f %%", 100 * classes.distance);
    if (!isnan(classes.distance) && shows_most)
        say_most(&classes, "class", paragraph);
    fputc('\n', paragraph->out);
    paragraph->used = 0;
}

/* Who held the others up. */
static void say_straggler(const struct event_summary *summary, struct paragraph *paragraph) {
    struct straggler straggler = straggler_find(summary);
    char cell[CELL_SIZE];
    if (straggler.worker < 0)
        return;
    print_seconds(straggler.seconds, cell);
    say(paragraph, "worker %d held the others up:", straggler.worker);
    say(paragraph, "last in %.0f %% of the updates,", 100 * straggler.last_share);
    say(paragraph, "%.0f %% of all waiting (%s s),", 100 * straggler.share, cell);
    if (isfinite(straggler.ratio))
        say(paragraph, "by %s (%.1f x the others)", straggler_cause_name(straggler.cause), straggler.ratio);
    else
        say(paragraph, "by %s", straggler_cause_name(straggler.cause));
    fputc('\n', paragraph->out);
    paragraph->used = 0;
}

static void report_faults(const struct event_summary *summary, FILE *out) {
    for (int i = 0; i < summary->workers; i++) {
        const struct event_account *account = &summary->accounts[i];
        if (!adds_up(account))
            fprintf(out,
                    "ACCOUNTING ERROR: worker %d: received %" PRIu64 " is not applied %" PRIu64
                    " + dropped %" PRIu64 " + held %" PRIu64 "\n",
                    i, account->received, account->applied, account->dropped, account->held);
    }
}

void summary_print(const struct event_summary *summary, int columns, FILE *out) {
    columns = columns < LEAST_WIDTH ? LEAST_WIDTH : columns;
    struct paragraph paragraph = {.out = out, .columns = columns};
    say_outcome(summary, &paragraph);
    say_bias(summary, &paragraph);
    say_straggler(summary, &paragraph);
    struct table table = {0};
    choose_rows(&table, summary);
    const struct row sum = total(summary);
    int hidden = summary->workers - table.row_count;
    choose_columns(&table, &sum.account);
    table.rows[table.row_count++] = sum;
    fit(&table, columns);
    print_table(&table, out);
    if (hidden > 0)
        fprintf(out, "%d workers not shown\n", hidden);
    report_faults(summary, out);
}
