/* SPDX-License-Identifier: Apache-2.0 */
/* The events as an event file of TensorBoard: scalars and histograms over the number of gradients received. A file
 * is a sequence of TFRecords (length, masked CRC-32C of the length, bytes, masked CRC-32C of the bytes), each a
 * message of tensorboard.proto. */
#include <errno.h>
#include <inttypes.h>
#include <isa-l/crc.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "record/histogram.h"
#include "record/log_format.h"
#include "record/output.h"
#include "record/sinks.h"
#include "record/tensorboard.pb-c.h"

/* A row of scalars each so many gradients, and at each evaluation. */
#define GRADIENTS_PER_ROW 100

/* Of more workers the first so many have a histogram of their own. */
#define MOST_WORKERS_SHOWN 64

#define TAG_BYTES 48

struct board_worker {
    double delivered; /* when its latest gradient reached the server or was given up, or the run began; run clock */
    struct histogram compute;
};

struct board {
    struct output output;
    double begun;       /* when the run's clock stood at 0, in seconds since 1970 */
    uint64_t received;  /* gradients */
    double rate;        /* of the latest update; NaN: none yet */
    uint64_t threshold; /* 0: none yet */
    struct histogram staleness;
    struct board_worker *workers; /* [worker_count] */
    int worker_count;
    uint8_t *bytes; /* [capacity] of a message */
    size_t capacity;
    /* Since the row before: */
    uint64_t gradients, losses, admitted;
    double loss_sum, staleness_sum, busy_seconds, waiting_seconds;
};

/* The file's name must have "tfevents" in it, and be another one for every run in the folder. */
static enum hysgd_status open_file(struct board *board, const char *folder) {
    char name[256], *path;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return hysgd_fail(HYSGD_OUTPUT, "%s: the directory cannot be made: %s", folder, strerror(errno));
    size_t size = strlen(folder) + sizeof name + 1;
    HYSGD_TRY(memory_alloc(size, 1, &path));
    snprintf(path, size, "%s/events.out.tfevents.%010" PRId64 ".hysgd.%ld", folder, (int64_t)time(NULL),
             (long)getpid());
    enum hysgd_status status = output_open(&board->output, path);
    memory_free(path);
    return status;
}

enum hysgd_status sink_tensorboard_alloc(const char *path, void **self_out) {
    struct board *board;
    HYSGD_TRY(memory_alloc(1, sizeof *board, &board));
    enum hysgd_status status = open_file(board, path);
    if (status != HYSGD_OK) {
        sink_tensorboard_free(board);
        return status;
    }
    *self_out = board;
    return HYSGD_OK;
}

void sink_tensorboard_free(void *self) {
    struct board *board = self;
    if (board == NULL)
        return;
    output_fini(&board->output);
    memory_free(board->workers);
    memory_free(board->bytes);
    memory_free(board);
}

/* ---- Records ---- */

/* A checksum as TFRecords have it: changed, so that checksums of data with checksums in them stay good. */
static uint32_t masked_checksum(uint8_t *bytes, size_t size) {
    uint32_t checksum = ~crc32_iscsi(bytes, (int)size, UINT32_MAX);
    return (checksum >> 15 | checksum << 17) + UINT32_C(0xa282ead8);
}

static enum hysgd_status require(struct board *board, size_t size) {
    if (board->capacity >= size)
        return HYSGD_OK;
    HYSGD_TRY(memory_enlarge(&board->bytes, 0, size, 1));
    board->capacity = size;
    return HYSGD_OK;
}

static enum hysgd_status write_message(struct board *board, const Board__Event *event) {
    FILE *stream = board->output.stream;
    size_t size = board__event__get_packed_size(event);
    uint8_t head[12] = {0}, tail[4];
    HYSGD_TRY(require(board, size));
    board__event__pack(event, board->bytes);
    log_put_word(head, (uint32_t)size); /* its upper half stays 0 */
    log_put_word(head + 8, masked_checksum(head, 8));
    log_put_word(tail, masked_checksum(board->bytes, size));
    errno = 0;
    fwrite(head, 1, sizeof head, stream);
    fwrite(board->bytes, 1, size, stream);
    fwrite(tail, 1, sizeof tail, stream);
    return output_check(&board->output);
}

static enum hysgd_status write_value(struct board *board, double seconds, uint64_t step, Board__Value *value) {
    Board__Summary summary = BOARD__SUMMARY__INIT;
    Board__Event event = BOARD__EVENT__INIT;
    summary.n_value = 1;
    summary.value = &value;
    event.has_wall_time = event.has_step = true;
    event.wall_time = board->begun + seconds;
    event.step = (int64_t)step;
    event.summary = &summary;
    return write_message(board, &event);
}

/* Nothing where the value is not finite. */
static enum hysgd_status write_scalar(struct board *board, double seconds, uint64_t step, const char *tag,
                                      double number) {
    char name[TAG_BYTES];
    Board__Value value = BOARD__VALUE__INIT;
    if (!isfinite(number))
        return HYSGD_OK;
    snprintf(name, sizeof name, "%s", tag);
    value.tag = name;
    value.has_simple_value = true;
    value.simple_value = (float)number;
    return write_value(board, seconds, step, &value);
}

/* Writes the histogram, unless it is empty, and empties it. */
static enum hysgd_status write_histogram(struct board *board, double seconds, char *tag, enum histogram_scale scale,
                                         struct histogram *histogram) {
    double bounds[HISTOGRAM_BUCKETS], counts[HISTOGRAM_BUCKETS];
    Board__Histogram message = BOARD__HISTOGRAM__INIT;
    Board__Value value = BOARD__VALUE__INIT;
    size_t first, end;
    if (histogram->count == 0)
        return HYSGD_OK;
    histogram_range(histogram, &first, &end);
    for (size_t i = first; i < end; i++) {
        bounds[i] = fmin(histogram_bound(scale, i), 1e308);
        counts[i] = (double)histogram->buckets[i];
    }
    message.has_min = message.has_max = message.has_num = message.has_sum = message.has_sum_squares = true;
    message.min = histogram->least;
    message.max = histogram->most;
    message.num = (double)histogram->count;
    message.sum = histogram->sum;
    message.sum_squares = histogram->squares;
    message.n_bucket_limit = message.n_bucket = end - first;
    message.bucket_limit = bounds + first;
    message.bucket = counts + first;
    value.tag = tag;
    value.histo = &message;
    *histogram = (struct histogram){0};
    return write_value(board, seconds, board->received, &value);
}

/* ---- Rows ---- */

static double ratio(double part, double whole) {
    return whole > 0 ? part / whole : (double)NAN;
}

static enum hysgd_status write_row(struct board *board, double seconds) {
    const struct {
        const char *tag;
        double value;
    } scalars[] = {
        {"train/loss", ratio(board->loss_sum, (double)board->losses)},
        {"policy/threshold", board->threshold > 0 ? (double)board->threshold : (double)NAN},
        {"policy/staleness", ratio(board->staleness_sum, (double)board->admitted)},
        {"optimizer/rate", board->rate},
        {"workers/waiting_share", ratio(board->waiting_seconds, board->waiting_seconds + board->busy_seconds)},
    };
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
        HYSGD_TRY(write_scalar(board, seconds, board->received, scalars[i].tag, scalars[i].value));
    board->gradients = board->losses = board->admitted = 0;
    board->loss_sum = board->staleness_sum = board->busy_seconds = board->waiting_seconds = 0;
    return HYSGD_OK;
}

static enum hysgd_status write_histograms(struct board *board, double seconds) {
    char tag[TAG_BYTES] = "staleness";
    HYSGD_TRY(write_histogram(board, seconds, tag, HISTOGRAM_COUNTS, &board->staleness));
    for (int i = 0; i < board->worker_count && i < MOST_WORKERS_SHOWN; i++) {
        snprintf(tag, sizeof tag, "compute_seconds/worker_%d", i);
        HYSGD_TRY(write_histogram(board, seconds, tag, HISTOGRAM_SECONDS, &board->workers[i].compute));
    }
    return HYSGD_OK;
}

/* ---- Events ---- */

static enum hysgd_status take_arrival(struct board *board, const struct event *event) {
    struct board_worker *worker = &board->workers[event->worker];
    double staleness = (double)(event->version - event->arrival.read);
    board->received++;
    board->threshold = event->arrival.threshold;
    board->busy_seconds += event->arrival.compute_seconds + event->arrival.transit_seconds;
    worker->delivered = event->seconds - event->arrival.queue_seconds;
    histogram_add(&worker->compute, HISTOGRAM_SECONDS, event->arrival.compute_seconds);
    if (isfinite(event->arrival.loss)) {
        board->losses++;
        board->loss_sum += event->arrival.loss;
    }
    if (event->arrival.weight > 0) {
        board->admitted++;
        board->staleness_sum += staleness;
        histogram_add(&board->staleness, HISTOGRAM_COUNTS, staleness);
    }
    return ++board->gradients < GRADIENTS_PER_ROW ? HYSGD_OK : write_row(board, event->seconds);
}

static enum hysgd_status take_evaluation(struct board *board, const struct event *event) {
    uint64_t step = event->evaluation.received;
    HYSGD_TRY(write_scalar(board, event->seconds, step, "test/loss", event->evaluation.loss));
    HYSGD_TRY(write_scalar(board, event->seconds, step, "test/accuracy", event->evaluation.accuracy));
    if (board->gradients > 0)
        HYSGD_TRY(write_row(board, event->seconds));
    return write_histograms(board, event->seconds);
}

static enum hysgd_status board_begin(void *self, const struct event_run *run) {
    static char version[] = "brain.Event:2";
    struct board *board = self;
    Board__Event event = BOARD__EVENT__INIT;
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *board->workers, &board->workers));
    board->worker_count = run->workers;
    board->begun = (double)time(NULL) - run->first_seconds;
    board->received = run->first_received;
    board->rate = (double)NAN;
    for (int i = 0; i < run->workers; i++)
        board->workers[i].delivered = run->first_seconds;
    event.has_wall_time = true;
    event.wall_time = board->begun + run->first_seconds;
    event.file_version = version;
    return write_message(board, &event);
}

static enum hysgd_status board_event(void *self, const struct event *event) {
    struct board *board = self;
    switch (event->kind) {
    case EVENT_START:
        board->waiting_seconds += event->seconds - board->workers[event->worker].delivered;
        break;
    case EVENT_ARRIVAL:
        return take_arrival(board, event);
    case EVENT_ABANDONED: /* worked, though in vain */
        board->busy_seconds += event->abandoned.spent_seconds;
        board->workers[event->worker].delivered = event->seconds - event->abandoned.queue_seconds;
        break;
    case EVENT_UPDATE:
        board->rate = event->update.rate;
        board->threshold = event->update.threshold;
        break;
    case EVENT_EVALUATION:
        return take_evaluation(board, event);
    case EVENT_CHECKPOINT:
    case EVENT_LOST:
    case EVENT_JOINED:
    case EVENT_ESTIMATE:
    case EVENT_FOLD:
    case EVENT_RESTORED:
    case EVENT_CLOCK:
    case EVENT_COPIED:
        break;
    }
    return HYSGD_OK;
}

static enum hysgd_status board_pulse(void *self, double seconds) {
    (void)seconds;
    struct board *board = self;
    return output_pulse(&board->output);
}

static enum hysgd_status board_end(void *self, const struct event_summary *summary) {
    struct board *board = self;
    if (board->gradients > 0)
        HYSGD_TRY(write_row(board, summary->seconds));
    HYSGD_TRY(write_histograms(board, summary->seconds));
    return output_close(&board->output);
}

const struct sink_ops sink_tensorboard = {
    .begin = board_begin, .event = board_event, .pulse = board_pulse, .end = board_end};
