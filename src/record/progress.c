/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a person how a run is doing. The times and rates shown are those of the run's own clock, which may be
 * modelled; how often a line is shown, and the time left, follow the real clock. A display that cannot be written
 * is given up: that is no failure of the run. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "record/kinds.h"
#include "record/sinks.h"
#include "record/straggler.h"
#include "record/tally.h"

#define SECONDS_BETWEEN_LINES 1.0
#define SMOOTHED_OVER         50 /* gradients */
#define LINE_SIZE             320
#define FIELD_SIZE            48

enum activity { ABSENT, COMPUTING, WAITING };

struct progress_worker {
    enum activity activity;
    double since; /* run clock */
};

struct progress {
    FILE *out; /* borrowed */
    enum progress_level level;
    bool is_terminal, is_broken;
    bool has_notices;                     /* whoever runs it tells of losses itself */
    struct event_run run;                 /* its strings are not used after begin */
    struct progress_worker *workers;      /* [run.workers] */
    struct tally tally;                   /* who held whom up */
    double busy_seconds, waiting_seconds; /* of all workers, up to their `since` */

    double seconds; /* the run's clock at the latest event or pulse */
    uint64_t received, batches, version, threshold, admitted;
    double loss, staleness;     /* smoothed; NaN: none yet */
    double test_loss, accuracy; /* of the latest evaluation; NaN: none yet */

    double begun_real, shown_real; /* the run and its latest line of a pulse, on the system's monotonic clock */
    double shown_seconds;          /* run clock and batches when a line was last written */
    uint64_t shown_batches;
};

enum hysgd_status sink_progress_alloc(FILE *out, enum progress_level level, void **self_out) {
    struct progress *progress;
    HYSGD_TRY(memory_alloc(1, sizeof *progress, &progress));
    progress->out = out;
    progress->level = level;
    progress->is_terminal = isatty(fileno(out)) == 1;
    *self_out = progress;
    return HYSGD_OK;
}

void sink_progress_free(void *self) {
    struct progress *progress = self;
    if (progress == NULL)
        return;
    tally_fini(&progress->tally);
    memory_free(progress->workers);
    memory_free(progress);
}

static enum hysgd_status progress_begin(void *self, const struct event_run *run) {
    struct progress *progress = self;
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *progress->workers, &progress->workers));
    HYSGD_TRY(tally_init(&progress->tally, run));
    progress->run = *run;
    progress->received = run->first_received;
    progress->batches = progress->shown_batches = run->first_batches;
    progress->version = run->first_version;
    progress->seconds = progress->shown_seconds = run->first_seconds;
    progress->loss = progress->staleness = progress->test_loss = progress->accuracy = (double)NAN;
    progress->begun_real = machine_seconds();
    progress->shown_real = -INFINITY;
    return HYSGD_OK;
}

/* ---- What the events say ---- */

/* Books the time from the worker's last change of activity to this one. */
static void turn(struct progress *progress, int32_t index, double seconds, enum activity activity) {
    if (index < 0 || index >= progress->run.workers)
        return;
    struct progress_worker *worker = &progress->workers[index];
    double span = fmax(seconds - worker->since, 0);
    if (worker->activity == COMPUTING)
        progress->busy_seconds += span;
    if (worker->activity == WAITING)
        progress->waiting_seconds += span;
    worker->activity = activity;
    worker->since = seconds;
}

/* Gradients that a mean reaches back over; half an epoch where a worker delivers at most one in an epoch. */
static double span(const struct progress *progress) {
    double gradients = (double)(progress->received - progress->run.first_received);
    double batches = (double)(progress->batches - progress->run.first_batches);
    double in_epoch = gradients * (double)progress->run.train_count / (batches * (double)progress->run.batch);
    return in_epoch > progress->run.workers ? SMOOTHED_OVER : fmax(in_epoch / 2, 1);
}

/* A mean that forgets: the n-th value counts 1/n, at least 1/reach. */
static double smooth(double mean, double value, double n, double reach) {
    if (isnan(mean) || isnan(value))
        return isnan(value) ? mean : value;
    return mean + (value - mean) / fmin(n, reach);
}

static void take_arrival(struct progress *progress, const struct event *event) {
    /* As in the account at the end, a worker waits from its delivery, also while the server has others to serve. */
    turn(progress, event->worker, event->seconds - fmax(event->arrival.queue_seconds, 0), WAITING);
    progress->received++;
    progress->batches += event->arrival.batches;
    progress->threshold = event->arrival.threshold;
    double reach = span(progress), count = (double)(progress->received - progress->run.first_received);
    progress->loss = smooth(progress->loss, event->arrival.loss, count, reach);
    if (event->arrival.weight > 0)
        progress->staleness = smooth(progress->staleness, (double)(event->version - event->arrival.read),
                                     (double)++progress->admitted, reach);
}

static double waiting_share(const struct progress *progress) {
    double busy = progress->busy_seconds, waiting = progress->waiting_seconds;
    for (int i = 0; i < progress->run.workers; i++) {
        const struct progress_worker *worker = &progress->workers[i];
        double span = fmax(progress->seconds - worker->since, 0);
        busy += worker->activity == COMPUTING ? span : 0;
        waiting += worker->activity == WAITING ? span : 0;
    }
    return waiting / (busy + waiting); /* NaN before anything took time */
}

static double epochs(const struct progress *progress) {
    return (double)progress->batches * (double)progress->run.batch / (double)progress->run.train_count;
}

/* How much of the run is done, 0 to 1, by the limit that is nearest. */
static double fraction(const struct progress *progress) {
    const struct event_run *run = &progress->run;
    double most = 0;
    if (run->limit_epochs > 0)
        most = fmax(most, epochs(progress) / run->limit_epochs);
    if (run->limit_updates > 0)
        most = fmax(most, (double)progress->version / (double)run->limit_updates);
    if (run->limit_gradients > 0)
        most = fmax(most, (double)progress->received / (double)run->limit_gradients);
    if (run->limit_seconds > 0)
        most = fmax(most, progress->seconds / run->limit_seconds);
    return fmin(most, 1);
}

/* What was done when this process began it: a resumed run does not begin at 0. */
static double first_fraction(const struct progress *progress) {
    struct progress first = {.run = progress->run,
                             .received = progress->run.first_received,
                             .batches = progress->run.first_batches,
                             .version = progress->run.first_version,
                             .seconds = progress->run.first_seconds};
    return fraction(&first);
}

/* Real seconds until the nearest limit; NaN where there is none or it cannot be told yet. */
static double seconds_left(const struct progress *progress, double now_real) {
    double before = first_fraction(progress), now = fraction(progress);
    return now > before ? (now_real - progress->begun_real) * (1 - now) / (now - before) : (double)NAN;
}

/* ---- The line ---- */

/* A line of fields; once one did not fit, it takes no more. */
struct line {
    char text[LINE_SIZE];
    size_t length, most; /* most < LINE_SIZE */
    bool is_full;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...) {
    char field[FIELD_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(field, sizeof field, format, arguments);
    va_end(arguments);
    size_t gap = line->length > 0 ? 2 : 0;
    if (length < 0 || (size_t)length >= sizeof field || line->length + gap + (size_t)length > line->most)
        line->is_full = true;
    if (line->is_full)
        return;
    memset(line->text + line->length, ' ', gap);
    memcpy(line->text + line->length + gap, field, (size_t)length + 1);
    line->length += gap + (size_t)length;
}

/* 12.3k: three digits or so and a power of 1000. */
static const char *compact(double value, char text[16]) {
    static const char suffixes[] = " kMGTP";
    int power = 0;
    while (fabs(value) >= 999.5 && power < 5) {
        value /= 1000;
        power++;
    }
    snprintf(text, 16, "%.*f%.*s", power > 0 && fabs(value) < 99.95 ? 1 : 0, value, power > 0, &suffixes[power]);
    return text;
}

#define COMPACT(value) compact((double)(value), (char[16]){0})

/* 1:02:03, or 4:05. */
static const char *duration(double seconds, char text[24]) {
    uint64_t whole = (uint64_t)fmin(fmax(seconds, 0) + 0.5, 1e12);
    if (whole >= 3600)
        snprintf(text, 24, "%" PRIu64 ":%02u:%02u", whole / 3600, (unsigned)(whole / 60 % 60),
                 (unsigned)(whole % 60));
    else
        snprintf(text, 24, "%u:%02u", (unsigned)(whole / 60), (unsigned)(whole % 60));
    return text;
}

#define DURATION(seconds) duration((seconds), (char[24]){0})

static void add_position(struct line *line, const struct progress *progress) {
    const struct event_run *run = &progress->run;
    double seconds = progress->seconds;
    if (seconds < 1000)
        add(line, seconds < 1 ? "%.3g s" : "%.1f s", seconds);
    else
        add(line, "%s", DURATION(seconds));
    if (run->limit_epochs > 0)
        add(line, "epoch %.2f/%g", epochs(progress), run->limit_epochs);
    else if (run->limit_updates > 0)
        add(line, "update %s/%s", COMPACT(progress->version), COMPACT(run->limit_updates));
    else if (run->limit_gradients > 0)
        add(line, "gradient %s/%s", COMPACT(progress->received), COMPACT(run->limit_gradients));
    else if (run->train_count > 0)
        add(line, "epoch %.2f", epochs(progress));
}

/* Names the worker that holds the others up, while there is one. */
static void add_straggler(struct line *line, const struct progress *progress) {
    const struct event_summary summary = {
        .updates = progress->version, .accounts = progress->tally.accounts, .workers = progress->run.workers};
    struct straggler straggler = straggler_find(&summary);
    if (straggler.worker >= 0)
        add(line, "%.0f %% of it for worker %d (%s)", 100 * straggler.share, straggler.worker,
            straggler_cause_name(straggler.cause));
}

static void compose(const struct progress *progress, double now_real, struct line *line) {
    add_position(line, progress);
    if (!isnan(progress->loss))
        add(line, "%s %.4g", event_loss_name(&progress->run), progress->loss);
    if (!isnan(progress->test_loss) && !progress->is_terminal)
        add(line, "test %s %.4g", event_loss_name(&progress->run), progress->test_loss);
    if (!isnan(progress->accuracy))
        add(line, "%s %.2f %%", event_accuracy_name(&progress->run), 100 * progress->accuracy);
    double left = seconds_left(progress, now_real);
    if (!isnan(left) && (progress->is_terminal || progress->level == PROGRESS_VERBOSE))
        add(line, "%s left", DURATION(left));
    double samples = (double)(progress->batches - progress->shown_batches) * (double)progress->run.batch;
    if (samples > 0 && progress->seconds > progress->shown_seconds)
        add(line, "%s samples/s", COMPACT(samples / (progress->seconds - progress->shown_seconds)));
    if (progress->threshold > 0)
        add(line, "K %" PRIu64, progress->threshold);
    if (!isnan(progress->staleness))
        add(line, "staleness %.1f", progress->staleness);
    double waiting = waiting_share(progress);
    if (!isnan(waiting))
        add(line, "waiting %.0f %%", 100 * waiting);
    add_straggler(line, progress);
}

/* One column stays free: writing into the last one makes some terminals wrap. */
static size_t usable_columns(const struct progress *progress) {
    struct winsize size = {0};
    size_t columns = 80;
    if (ioctl(fileno(progress->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        columns = size.ws_col;
    return columns < LINE_SIZE ? columns - 1 : LINE_SIZE - 1;
}

static void flush(struct progress *progress) {
    if (fflush(progress->out) != 0 || ferror(progress->out))
        progress->is_broken = true;
}

/* Writes a line that stays (`is_kept`), or one that the next replaces. On a terminal blanks cover what the line
 * before left. */
static void show(struct progress *progress, bool is_kept) {
    struct line line = {.most = LINE_SIZE - 1};
    if (progress->is_terminal)
        line.most = usable_columns(progress);
    compose(progress, machine_seconds(), &line);
    if (progress->is_terminal)
        fprintf(progress->out, "\r%-*s%s", (int)line.most, line.text, is_kept ? "\n" : "");
    else
        fprintf(progress->out, "%s\n", line.text);
    flush(progress);
    progress->shown_seconds = progress->seconds;
    progress->shown_batches = progress->batches;
}

/* A line that stays, in the place of the one that is being replaced. Longer ones are not cut. */
static void show_text(struct progress *progress, const char *text) {
    if (progress->is_terminal)
        fprintf(progress->out, "\r%-*s\n", (int)usable_columns(progress), text);
    else
        fprintf(progress->out, "%s\n", text);
    flush(progress);
}

/* What an event says, unless whoever runs it has words of its own for that. */
__attribute__((format(printf, 2, 3))) static void tell(struct progress *progress, const char *format, ...) {
    char text[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!progress->has_notices)
        show_text(progress, text);
}

static void take_restored(struct progress *progress, const struct event *event) {
    tell(progress, "rank %" PRId32 " lost at %.1f s: back to update %" PRIu64 ", %" PRIu64 " gradients undone",
         event->restored.rank, event->seconds, event->version, event->restored.undone);
    progress->version = event->version;
    progress->received = event->restored.received;
    if (event->restored.batches > 0 || event->restored.received == 0) /* logs of earlier versions do not tell */
        progress->batches = event->restored.batches;
    if (progress->shown_batches > progress->batches)
        progress->shown_batches = progress->batches;
    for (int i = 0; i < progress->run.workers; i++)
        if (progress->workers[i].activity != ABSENT) /* who was lost before is waited for by nobody */
            turn(progress, i, event->seconds, WAITING);
}

static bool is_silent(const struct progress *progress) {
    return progress->level == PROGRESS_QUIET || progress->is_broken;
}

static void take_evaluation(struct progress *progress, const struct event *event) {
    progress->test_loss = event->evaluation.loss;
    progress->accuracy = event->evaluation.accuracy;
    if (event->evaluation.received > progress->received) { /* less where gradients arrived meanwhile */
        progress->received = event->evaluation.received;
        progress->batches = (uint64_t)llround(event->evaluation.epochs * (double)progress->run.train_count /
                                              (double)progress->run.batch);
    }
    if (!progress->is_terminal || progress->level == PROGRESS_VERBOSE)
        show(progress, true);
}

/* Whether the event concerns no worker, or one of the run's. */
static bool has_account(const struct progress *progress, const struct event *event) {
    bool is_known = event->worker >= 0 && event->worker < progress->run.workers;
    return is_known || !record_events[event->kind].has_worker;
}

static enum hysgd_status progress_event(void *self, const struct event *event) {
    struct progress *progress = self;
    if (is_silent(progress))
        return HYSGD_OK;
    progress->seconds = fmax(progress->seconds, event->seconds);
    if (has_account(progress, event))
        tally_add(&progress->tally, event);
    switch (event->kind) {
    case EVENT_START:
        turn(progress, event->worker, event->seconds, COMPUTING);
        break;
    case EVENT_ARRIVAL:
        take_arrival(progress, event);
        break;
    case EVENT_ABANDONED:
        turn(progress, event->worker, event->seconds - fmax(event->abandoned.queue_seconds, 0), WAITING);
        break;
    case EVENT_UPDATE:
        progress->version = event->version;
        break;
    case EVENT_EVALUATION:
        take_evaluation(progress, event);
        break;
    case EVENT_LOST:
        turn(progress, event->worker, event->seconds, ABSENT);
        tell(progress, "worker %" PRId32 " lost at %.1f s", event->worker, event->seconds);
        break;
    case EVENT_JOINED:
        turn(progress, event->worker, event->seconds, ABSENT);
        tell(progress, "worker %" PRId32 " joined at %.1f s", event->worker, event->seconds);
        break;
    case EVENT_RESTORED:
        take_restored(progress, event);
        break;
    case EVENT_CHECKPOINT:
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_CLOCK:
    case EVENT_COPIED:
        break;
    }
    return HYSGD_OK;
}

static enum hysgd_status progress_notice(void *self, const char *text) {
    struct progress *progress = self;
    progress->has_notices = true;
    if (!is_silent(progress))
        show_text(progress, text);
    return HYSGD_OK;
}

static enum hysgd_status progress_pulse(void *self, double seconds) {
    struct progress *progress = self;
    if (is_silent(progress) || (!progress->is_terminal && progress->level != PROGRESS_VERBOSE))
        return HYSGD_OK;
    progress->seconds = fmax(progress->seconds, seconds);
    double now_real = machine_seconds();
    if (now_real - progress->shown_real < SECONDS_BETWEEN_LINES)
        return HYSGD_OK;
    progress->shown_real = now_real;
    show(progress, !progress->is_terminal);
    return HYSGD_OK;
}

static enum hysgd_status progress_end(void *self, const struct event_summary *summary) {
    struct progress *progress = self;
    if (is_silent(progress) || !progress->is_terminal)
        return HYSGD_OK;
    progress->seconds = fmax(progress->seconds, summary->seconds);
    progress->version = summary->updates;
    show(progress, true);
    return HYSGD_OK;
}

const struct sink_ops sink_progress = {.begin = progress_begin,
                                       .event = progress_event,
                                       .pulse = progress_pulse,
                                       .notice = progress_notice,
                                       .end = progress_end};
