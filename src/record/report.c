/* SPDX-License-Identifier: Apache-2.0 */
/* The report: report.html with its script, the chart library and the runs' data put in the places of its markers.
 * What the data look like is report.js's concern; this file writes them as JSON that cannot end the script element.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/assets.h"
#include "record/encode.h"
#include "record/history.h"
#include "record/output.h"
#include "record/report.h"

#define REPORT_VERSION 1

/* Nine digits: what a chart can show, at a third of the size of exact numbers. */
#define NUMBER(value) encode_number((value), 9, "null", (char[ENCODE_NUMBER_SIZE]){0})

/* ---- JSON ---- */

/* "<" occurs in texts only; escaped, the data cannot hold "</script>" or "<!--". */
static int write_escaped(const char *text, size_t size, void *stream) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '<')
            fputs("\\u003c", stream);
        else
            fputc(text[i], stream);
    }
    return 0;
}

/* Takes `value` over; NULL is lack of memory. */
static enum hysgd_status write_value(FILE *stream, json_t *value) {
    int failure = value == NULL;
    if (value != NULL)
        failure = json_dump_callback(value, write_escaped, stream,
                                     JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(value);
    return failure ? hysgd_fail(HYSGD_MEMORY, "no memory for the data of a report") : HYSGD_OK;
}

/* [[seconds, mean, least, most, count], ...] of the buckets that hold something. */
static void write_curve(FILE *stream, const char *name, const struct curve *curve) {
    const char *comma = "";
    fprintf(stream, ",\"%s\":[", name);
    for (size_t i = 0; i < CURVE_BUCKETS; i++) {
        const struct bucket *bucket = &curve->buckets[i];
        if (bucket->count == 0)
            continue;
        double count = (double)bucket->count;
        fprintf(stream, "%s[%s,%s,%s,%s,%" PRIu64 "]", comma, NUMBER(bucket->seconds_sum / count),
                NUMBER(bucket->sum / count), NUMBER(bucket->least), NUMBER(bucket->most), bucket->count);
        comma = ",";
    }
    fputc(']', stream);
}

static void write_steps(FILE *stream, const char *name, const struct steps *steps) {
    fprintf(stream, ",\"%s\":[", name);
    for (size_t i = 0; i < steps->count; i++)
        fprintf(stream, "%s[%s,%s]", i > 0 ? "," : "", NUMBER(steps->steps[i].seconds),
                NUMBER(steps->steps[i].value));
    fputc(']', stream);
}

static void write_point(FILE *stream, const struct point *point) {
    fprintf(stream, "[%s,%s,%s,%s,%" PRIu64 ",%" PRIu64 "]", NUMBER(point->seconds), NUMBER(point->loss),
            NUMBER(point->accuracy), NUMBER(point->epochs), point->received, point->updates);
}

/* [[seconds, loss, accuracy, epochs, received, updates], ...]; the last evaluation is always there. */
static void write_evaluations(FILE *stream, const struct points *points) {
    fputs(",\"evaluations\":[", stream);
    for (size_t i = 0; i < points->count; i++) {
        fputs(i > 0 ? "," : "", stream);
        write_point(stream, &points->points[i]);
    }
    if (points->seen > 0 && (points->seen - 1) % points->stride != 0) {
        fputs(points->count > 0 ? "," : "", stream);
        write_point(stream, &points->last);
    }
    fputc(']', stream);
}

/* ---- Timelines ---- */

/* Records for the whole report: about 80 bytes each, so 4 MB, whatever the number of runs. */
#define MOST_RECORDS 50000

/* Of a run that goes on: they are written again and again while it computes. */
#define MOST_LIVE_RECORDS 4000

static size_t record_count(const struct history *history) {
    size_t count = 0;
    for (int i = 0; i < history->timeline.kept_count; i++)
        count += history->timeline.kept[i].count;
    return count;
}

/* Eleven numbers: begin, end, gradients, seconds of each activity; of `count` records together. */
static void write_records(FILE *stream, const struct timeline_record *records, size_t count) {
    struct timeline_record sum = {.begin = records[0].begin, .end = records[count - 1].end};
    for (size_t i = 0; i < count; i++) {
        sum.gradients += records[i].gradients;
        for (int j = 0; j < TIMELINE_ACTIVITIES; j++)
            sum.seconds[j] += records[i].seconds[j];
    }
    fprintf(stream, "%s,%s,%" PRIu64, NUMBER(sum.begin), NUMBER(sum.end), sum.gradients);
    for (int j = 0; j < TIMELINE_ACTIVITIES; j++)
        fprintf(stream, ",%s", NUMBER(sum.seconds[j]));
}

/* {"stride": s, "workers": [[records of worker 0], [of worker s], ...]} with `group` records in one. */
static void write_timeline(FILE *stream, const struct timeline *timeline, size_t group) {
    fprintf(stream, ",\"timeline\":{\"stride\":%d,\"workers\":[", timeline->stride);
    for (int i = 0; i < timeline->kept_count; i++) {
        const struct timeline_worker *worker = &timeline->kept[i];
        fputs(i > 0 ? ",[" : "[", stream);
        for (size_t j = 0; j < worker->count; j += group) {
            fputs(j > 0 ? "," : "", stream);
            write_records(stream, &worker->records[j], worker->count - j < group ? worker->count - j : group);
        }
        fputc(']', stream);
    }
    fputs("]}", stream);
}

/* ---- The page ---- */

struct report {
    const char *title;
    const struct history *const *histories; /* [count] */
    size_t count;
    const struct report_moment *moment; /* of the only history; NULL: the runs are over */
    bool is_live;                       /* the page looks for data elsewhere */
};

/* What is known of the end: as it was told, or so far. */
static json_t *encode_end(const struct history *history, const struct report_moment *moment) {
    if (history->has_ended)
        return encode_summary(&history->summary);
    return moment != NULL ? encode_summary(moment->summary) : json_null();
}

static enum hysgd_status write_run(FILE *stream, const struct history *history, const struct report_moment *moment,
                                   size_t group) {
    fputs("{\"run\":", stream);
    HYSGD_TRY(write_value(stream, encode_run(&history->run)));
    fputs(",\"summary\":", stream);
    HYSGD_TRY(write_value(stream, encode_end(history, moment)));
    fprintf(stream, ",\"is_running\":%s", moment != NULL && !history->has_ended ? "true" : "false");
    fputs(",\"source\":", stream);
    HYSGD_TRY(write_value(stream, history->source != NULL ? encode_text(history->source) : json_null()));
    fprintf(stream, ",\"seconds\":%s", NUMBER(history->seconds));
    write_curve(stream, "gradients", &history->gradients);
    write_curve(stream, "loss", &history->loss);
    write_curve(stream, "staleness", &history->staleness);
    write_curve(stream, "ratio", &history->ratio);
    write_curve(stream, "gain", &history->gain);
    write_curve(stream, "cutoff", &history->cutoff);
    write_steps(stream, "threshold", &history->threshold);
    write_evaluations(stream, &history->evaluations);
    write_timeline(stream, &history->timeline, group);
    fputc('}', stream);
    return HYSGD_OK;
}

static enum hysgd_status write_data(FILE *stream, const struct report *report) {
    size_t records = 0;
    for (size_t i = 0; i < report->count; i++)
        records += record_count(report->histories[i]);
    size_t group = records / (report->moment != NULL ? MOST_LIVE_RECORDS : MOST_RECORDS) + 1;
    fprintf(stream, "{\"hysgd_report\":%d,\"is_live\":%s,\"serial\":%" PRIu64 ",\"title\":", REPORT_VERSION,
            report->is_live ? "true" : "false", report->moment != NULL ? report->moment->serial : 0);
    HYSGD_TRY(write_value(stream, encode_text(report->title)));
    fputs(",\"runs\":[", stream);
    const char *comma = "";
    for (size_t i = 0; i < report->count; i++) {
        if (!report->histories[i]->has_begun)
            continue;
        fputs(comma, stream);
        HYSGD_TRY(write_run(stream, report->histories[i], report->moment, group));
        comma = ",";
    }
    fputs("]}", stream);
    return HYSGD_OK;
}

/* The library without the reference to a source map that is not there. */
static enum hysgd_status write_dygraphs(FILE *stream, const struct report *report) {
    (void)report;
    const char *end = asset_dygraphs_end, *map = strstr(asset_dygraphs, "//# sourceMappingURL=");
    fwrite(asset_dygraphs, 1, (size_t)((map != NULL ? map : end) - asset_dygraphs), stream);
    return HYSGD_OK;
}

static enum hysgd_status write_timeline_script(FILE *stream, const struct report *report) {
    (void)report;
    fwrite(asset_timeline, 1, (size_t)(asset_timeline_end - asset_timeline), stream);
    return HYSGD_OK;
}

static enum hysgd_status write_charts_script(FILE *stream, const struct report *report) {
    (void)report;
    fwrite(asset_charts, 1, (size_t)(asset_charts_end - asset_charts), stream);
    return HYSGD_OK;
}

static enum hysgd_status write_script(FILE *stream, const struct report *report) {
    (void)report;
    fwrite(asset_script, 1, (size_t)(asset_script_end - asset_script), stream);
    return HYSGD_OK;
}

/* What the page may load: nothing, or from where it came. */
static enum hysgd_status write_sources(FILE *stream, const struct report *report) {
    fputs(report->is_live ? "'self'" : "'none'", stream);
    return HYSGD_OK;
}

static enum hysgd_status write_page(FILE *stream, const struct report *report) {
    static const struct {
        const char *text;
        enum hysgd_status (*write)(FILE *stream, const struct report *report);
    } markers[] = {{"{{SOURCES}}", write_sources},      {"{{DATA}}", write_data},
                   {"{{DYGRAPHS}}", write_dygraphs},    {"{{TIMELINE}}", write_timeline_script},
                   {"{{CHARTS}}", write_charts_script}, {"{{SCRIPT}}", write_script}};
    const char *rest = asset_page;
    for (size_t i = 0; i < sizeof markers / sizeof *markers; i++) {
        const char *place = strstr(rest, markers[i].text);
        if (place == NULL)
            return hysgd_fail(HYSGD_FAILED, "the page of the report has no %s", markers[i].text);
        fwrite(rest, 1, (size_t)(place - rest), stream);
        HYSGD_TRY(markers[i].write(stream, report));
        rest = place + strlen(markers[i].text);
    }
    fputs(rest, stream);
    return HYSGD_OK;
}

enum hysgd_status report_write(const char *path, const char *title, const struct history *const *histories,
                               size_t count) {
    const struct report report = {.title = title, .histories = histories, .count = count};
    struct output *output;
    HYSGD_TRY(memory_alloc(1, sizeof *output, &output));
    errno = 0;
    enum hysgd_status status = output_open_whole(output, path);
    if (status == HYSGD_OK)
        status = write_page(output->stream, &report);
    if (status == HYSGD_OK)
        status = output_check(output);
    if (status == HYSGD_OK)
        status = output_close(output);
    output_fini(output);
    memory_free(output);
    return status;
}

enum hysgd_status report_print_page(FILE *stream, const char *title) {
    const struct report report = {.title = title, .is_live = true};
    return write_page(stream, &report);
}

enum hysgd_status report_print_data(FILE *stream, const struct report_moment *moment) {
    const struct report report = {.title = moment->history->run.title,
                                  .histories = &moment->history,
                                  .count = 1,
                                  .moment = moment,
                                  .is_live = true};
    return write_data(stream, &report);
}
