/* SPDX-License-Identifier: Apache-2.0 */
/* Joins a checkpoint, its model and its data, and runs the evaluator over them. */
#include "train/trained.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "data/data.h"
#include "model/model.h"
#include "runtime/training.h"
#include "train/json.h"
#include "train/resolve.h"

struct trained {
    struct plugin model, data;
    bool model_is_ready, data_is_ready; /* their init has been called */
    struct hysgd_data_shape shape;
    struct hysgd_model_layout layout;
    float *vector; /* [parameter_count + statistic_count] */
    bool has_evaluator;
    struct evaluator evaluator;
    char *data_text;
};

/* The word given by the user, or that of the checkpoint. */
static enum hysgd_status choose_word(const struct safetensors_file *file, const char *path, const char *key,
                                     const char *given, const char **word_out) {
    *word_out = given[0] != '\0' ? given : safetensors_metadata(file, key);
    if (*word_out == NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: does not say its %s: give it as --%s", path, key, key);
    return HYSGD_OK;
}

/* The seed that generated data were made with. */
static uint64_t find_seed(const struct safetensors_file *file) {
    const char *text = safetensors_metadata(file, "seed");
    int64_t seed = 1;
    return text != NULL && options_read_int(text, &seed) && seed >= 0 ? (uint64_t)seed : 1;
}

/* A word of the user's that is wrong is a fault of usage; one of the file's is a fault of the file. */
static enum hysgd_status blame(enum hysgd_status status, const char *path, const char *given) {
    if (status != HYSGD_USAGE || given[0] != '\0')
        return status;
    return status_locate(HYSGD_INPUT, path);
}

static enum hysgd_status open_data(struct trained *trained, const struct safetensors_file *file, const char *path,
                                   const char *given) {
    const char *word;
    HYSGD_TRY(choose_word(file, path, "data", given, &word));
    enum hysgd_status status = plugin_open(&data_list, word, &trained->data);
    if (status != HYSGD_OK)
        return blame(status, path, given);
    HYSGD_TRY(plugin_text(&trained->data, &trained->data_text));
    const struct hysgd_data_ops *ops = data_ops(&trained->data);
    trained->data_is_ready = true;
    if (ops->init != NULL)
        HYSGD_TRY(ops->init(trained->data.self, find_seed(file)));
    ops->describe(trained->data.self, &trained->shape);
    return HYSGD_OK;
}

static enum hysgd_status open_model(struct trained *trained, const struct safetensors_file *file, const char *path,
                                    const char *given) {
    const char *word;
    HYSGD_TRY(choose_word(file, path, "model", given, &word));
    enum hysgd_status status = model_open(word, &trained->model);
    if (status != HYSGD_OK)
        return blame(status, path, given);
    const struct hysgd_model_ops *ops = model_ops(&trained->model);
    trained->model_is_ready = true;
    if (ops->init != NULL)
        HYSGD_TRY(ops->init(trained->model.self, &trained->shape));
    ops->describe(trained->model.self, &trained->layout);
    return HYSGD_OK;
}

static enum hysgd_status open_all(struct trained *trained, const struct safetensors_file *file, const char *path,
                                  const char *model, const char *data, size_t batch) {
    HYSGD_TRY(open_data(trained, file, path, data));
    HYSGD_TRY(open_model(trained, file, path, model));
    size_t count = trained->layout.parameter_count + trained->layout.statistic_count;
    HYSGD_TRY(memory_alloc_vector(count, sizeof(float), &trained->vector));
    HYSGD_TRY(training_read_parameters(file, path, &trained->layout, trained->vector));
    trained->has_evaluator = true;
    return evaluator_init(&trained->evaluator, &trained->model, &trained->data, batch);
}

enum hysgd_status trained_open(const char *path, const char *model, const char *data, int64_t batch,
                               struct trained **trained_out) {
    struct safetensors_file *file;
    struct trained *trained;
    HYSGD_TRY(memory_alloc(1, sizeof *trained, &trained));
    enum hysgd_status status = safetensors_open(path, &file);
    if (status == HYSGD_OK) {
        status = open_all(trained, file, path, model, data, (size_t)batch);
        safetensors_close(file);
    }
    if (status != HYSGD_OK) {
        trained_close(trained);
        return status;
    }
    *trained_out = trained;
    return HYSGD_OK;
}

void trained_close(struct trained *trained) {
    if (trained == NULL)
        return;
    if (trained->has_evaluator)
        evaluator_fini(&trained->evaluator);
    memory_free(trained->vector);
    if (trained->model_is_ready && model_ops(&trained->model)->fini != NULL)
        model_ops(&trained->model)->fini(trained->model.self);
    if (trained->data_is_ready && data_ops(&trained->data)->fini != NULL)
        data_ops(&trained->data)->fini(trained->data.self);
    plugin_close(&trained->model);
    plugin_close(&trained->data);
    memory_free(trained->data_text);
    memory_free(trained);
}

const char *trained_data(const struct trained *trained) {
    return trained->data_text;
}

static uint64_t split_count(const struct trained *trained, enum hysgd_split split) {
    return split == HYSGD_TRAIN ? trained->shape.train_count : trained->shape.test_count;
}

static enum hysgd_status check_split(const struct trained *trained, enum hysgd_split split) {
    if (split_count(trained, split) == 0)
        return hysgd_fail(HYSGD_USAGE, "data %s have no %s samples", trained->data.ops->name,
                          split == HYSGD_TRAIN ? "training" : "test");
    return HYSGD_OK;
}

enum hysgd_status trained_evaluate(struct trained *trained, enum hysgd_split split, int64_t limit,
                                   struct hysgd_metrics *metrics_out) {
    HYSGD_TRY(check_split(trained, split));
    return evaluator_run(&trained->evaluator, split, trained->vector, (uint64_t)limit, metrics_out);
}

enum hysgd_status trained_print_json(const struct trained *trained, const struct hysgd_metrics *metrics,
                                     FILE *out) {
    double count = (double)metrics->count;
    double accuracy = metrics->has_accuracy ? (double)metrics->correct / count : (double)NAN;
    return json_print(json_pack("{s:I, s:o, s:o, s:s}", "samples", (json_int_t)metrics->count, "loss",
                                json_number(metrics->loss / count), "accuracy", json_number(accuracy), "data",
                                trained->data_text),
                      JSON_COMPACT, out);
}

/* ---- Predictions ---- */

struct printer {
    enum trained_format format;
    FILE *out;
    size_t outputs;
    bool has_classes, has_labels;
};

static void print_head(const struct printer *printer) {
    if (printer->format == TRAINED_JSON)
        return;
    fputs("index", printer->out);
    if (printer->has_classes)
        fputs(",class,probability", printer->out);
    for (size_t i = 0; !printer->has_classes && i < printer->outputs; i++)
        fprintf(printer->out, ",output%zu", i);
    fputs(printer->has_labels ? ",label\n" : "\n", printer->out);
}

static size_t find_largest(const float *values, size_t count) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}

/* "nan" is no JSON. */
static void print_number(const struct printer *printer, double value) {
    if (printer->format == TRAINED_JSON && !isfinite(value))
        fputs("null", printer->out);
    else
        fprintf(printer->out, "%.6g", value);
}

static void print_csv(const struct printer *printer, uint64_t index, const float *outputs, int32_t label) {
    fprintf(printer->out, "%" PRIu64, index);
    if (printer->has_classes) {
        size_t best = find_largest(outputs, printer->outputs);
        fprintf(printer->out, ",%zu,", best);
        print_number(printer, (double)outputs[best]);
    }
    for (size_t i = 0; !printer->has_classes && i < printer->outputs; i++) {
        fputc(',', printer->out);
        print_number(printer, (double)outputs[i]);
    }
    if (printer->has_labels)
        fprintf(printer->out, ",%" PRId32, label);
    fputc('\n', printer->out);
}

static void print_json(const struct printer *printer, uint64_t index, const float *outputs, int32_t label) {
    fprintf(printer->out, "{\"index\":%" PRIu64, index);
    if (printer->has_classes) {
        size_t best = find_largest(outputs, printer->outputs);
        fprintf(printer->out, ",\"class\":%zu,\"probability\":", best);
        print_number(printer, (double)outputs[best]);
    } else {
        fputs(",\"outputs\":[", printer->out);
        for (size_t i = 0; i < printer->outputs; i++) {
            fputs(i > 0 ? "," : "", printer->out);
            print_number(printer, (double)outputs[i]);
        }
        fputc(']', printer->out);
    }
    if (printer->has_labels)
        fprintf(printer->out, ",\"label\":%" PRId32, label);
    fputs("}\n", printer->out);
}

static enum hysgd_status print_batches(struct trained *trained, enum hysgd_split split, uint64_t first,
                                       uint64_t end, const struct printer *printer, float *outputs,
                                       int32_t *labels) {
    size_t batch = trained->evaluator.batch;
    for (; first < end && !ferror(printer->out); first += batch) {
        size_t count = end - first < batch ? (size_t)(end - first) : batch;
        HYSGD_TRY(evaluator_predict(&trained->evaluator, split, trained->vector, first, count, outputs, labels));
        for (size_t i = 0; i < count; i++) {
            const float *of_sample = outputs + i * printer->outputs;
            int32_t label = printer->has_labels ? labels[i] : 0;
            if (printer->format == TRAINED_JSON)
                print_json(printer, first + i, of_sample, label);
            else
                print_csv(printer, first + i, of_sample, label);
        }
    }
    return HYSGD_OK;
}

enum hysgd_status trained_predict(struct trained *trained, enum hysgd_split split, int64_t first, int64_t count,
                                  enum trained_format format, FILE *out) {
    uint64_t samples = split_count(trained, split);
    if (trained->layout.outputs == 0 || model_ops(&trained->model)->predict == NULL)
        return hysgd_fail(HYSGD_USAGE, "model %s cannot predict", trained->model.ops->name);
    HYSGD_TRY(check_split(trained, split));
    if ((uint64_t)first >= samples)
        return hysgd_fail(HYSGD_USAGE,
                          "predict: first=%" PRId64 " is out of range: the data have %" PRIu64
                          " samples, counted from 0",
                          first, samples);
    uint64_t left = samples - (uint64_t)first;
    uint64_t end = (uint64_t)first + (count == 0 || (uint64_t)count > left ? left : (uint64_t)count);
    const struct printer printer = {.format = format,
                                    .out = out,
                                    .outputs = trained->layout.outputs,
                                    .has_classes = trained->shape.classes > 0,
                                    .has_labels = trained->shape.classes > 0};
    size_t batch = trained->evaluator.batch;
    float *outputs = NULL;
    int32_t *labels = NULL;
    enum hysgd_status status = memory_alloc(batch, printer.outputs * sizeof(float), &outputs);
    if (status == HYSGD_OK)
        status = memory_alloc(batch, sizeof *labels, &labels);
    if (status == HYSGD_OK) {
        print_head(&printer);
        status = print_batches(trained, split, (uint64_t)first, end, &printer, outputs,
                               printer.has_labels ? labels : NULL);
    }
    memory_free(outputs);
    memory_free(labels);
    return status;
}
