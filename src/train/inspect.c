/* SPDX-License-Identifier: Apache-2.0 */
/* Reads every tensor of a file once and prints what it is like. Knows the format's types, not what the tensors
 * mean. */
#include "train/inspect.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "checkpoint/safetensors.h"
#include "train/json.h"

#define CELL_BYTES  32
#define SHAPE_BYTES 128

/* Of the finite elements; NaN where there are none. */
struct statistics {
    uint64_t elements, not_finite;
    double mean, deviation, least, most;
};

/* ---- Numbers ---- */

/* IEEE binary16 to double. */
static double half_value(uint16_t bits) {
    int exponent = (bits >> 10) & 31;
    double fraction = bits & 1023;
    double magnitude = exponent == 31 ? (fraction > 0 ? (double)NAN : (double)INFINITY)
                       : exponent > 0 ? ldexp(1 + fraction / 1024, exponent - 15)
                                      : ldexp(fraction / 1024, -14);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

/* bfloat16 is the upper half of a float. */
static double bfloat_value(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

/* The element at `at`, which need not be aligned. */
static double element_value(enum safetensors_type type, size_t size, const char *at) {
    union {
        double f64;
        float f32;
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        int32_t i32;
        uint16_t u16;
        int16_t i16;
        uint8_t u8;
        int8_t i8;
    } bits;
    memcpy(&bits, at, size);
    switch (type) {
    case SAFETENSORS_F64:
        return bits.f64;
    case SAFETENSORS_F32:
        return (double)bits.f32;
    case SAFETENSORS_F16:
        return half_value(bits.u16);
    case SAFETENSORS_BF16:
        return bfloat_value(bits.u16);
    case SAFETENSORS_I64:
        return (double)bits.i64;
    case SAFETENSORS_I32:
        return bits.i32;
    case SAFETENSORS_I16:
        return bits.i16;
    case SAFETENSORS_I8:
        return bits.i8;
    case SAFETENSORS_U64:
        return (double)bits.u64;
    case SAFETENSORS_U32:
        return bits.u32;
    case SAFETENSORS_U16:
        return bits.u16;
    case SAFETENSORS_U8:
    case SAFETENSORS_BOOL:
        return bits.u8;
    }
    return (double)NAN;
}

/* Welford's recurrence: one pass, no cancellation. */
static struct statistics measure(const struct safetensors_tensor *tensor) {
    struct statistics statistics = {.elements = 1, .least = (double)INFINITY, .most = -(double)INFINITY};
    size_t size = safetensors_type_size(tensor->type);
    double mean = 0, squares = 0;
    uint64_t finite = 0;
    for (int i = 0; i < tensor->rank; i++)
        statistics.elements *= tensor->dims[i];
    for (uint64_t i = 0; i < statistics.elements; i++) {
        double value = element_value(tensor->type, size, (const char *)tensor->data + i * size);
        if (!isfinite(value)) {
            statistics.not_finite++;
            continue;
        }
        double distance = value - mean;
        mean += distance / (double)++finite;
        squares += distance * (value - mean);
        statistics.least = fmin(statistics.least, value);
        statistics.most = fmax(statistics.most, value);
    }
    statistics.mean = finite > 0 ? mean : (double)NAN;
    statistics.deviation = finite > 0 ? sqrt(squares / (double)finite) : (double)NAN;
    if (finite == 0)
        statistics.least = statistics.most = (double)NAN;
    return statistics;
}

/* ---- Text ---- */

/* "32x1x5x5"; "scalar" without dimensions. */
static void print_shape(const struct safetensors_tensor *tensor, char text[SHAPE_BYTES]) {
    size_t used = 0;
    snprintf(text, SHAPE_BYTES, "scalar");
    for (int i = 0; i < tensor->rank && used < SHAPE_BYTES; i++)
        used += (size_t)snprintf(text + used, SHAPE_BYTES - used, "%s%" PRIu64, i > 0 ? "x" : "", tensor->dims[i]);
}

/* Names come from a file that need not be ours: nothing in them may steer the terminal. */
static void print_plain(const char *text, FILE *out) {
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, out);
}

enum { NAME, SHAPE, TYPE, MEAN, DEVIATION, LEAST, MOST, NOT_FINITE, COLUMN_COUNT };

static const char *const titles[COLUMN_COUNT] = {"tensor", "shape", "type", "mean",
                                                 "std",    "min",   "max",  "not finite"};

struct row {
    const char *cells[COLUMN_COUNT];
    char shape[SHAPE_BYTES];
    char numbers[COLUMN_COUNT][CELL_BYTES];
};

static struct statistics fill_row(const struct safetensors_tensor *tensor, struct row *row) {
    struct statistics statistics = measure(tensor);
    const double values[] = {statistics.mean, statistics.deviation, statistics.least, statistics.most};
    print_shape(tensor, row->shape);
    row->cells[NAME] = tensor->name;
    row->cells[SHAPE] = row->shape;
    row->cells[TYPE] = safetensors_type_name(tensor->type);
    for (int i = MEAN; i <= MOST; i++) {
        snprintf(row->numbers[i], CELL_BYTES, isfinite(values[i - MEAN]) ? "%.4g" : "-", values[i - MEAN]);
        row->cells[i] = row->numbers[i];
    }
    snprintf(row->numbers[NOT_FINITE], CELL_BYTES, "%" PRIu64, statistics.not_finite);
    row->cells[NOT_FINITE] = row->numbers[NOT_FINITE];
    return statistics;
}

static void print_row(const char *const cells[COLUMN_COUNT], const int *widths, int shown, FILE *out) {
    for (int i = 0; i < shown; i++) {
        int padding = widths[i] - (int)strlen(cells[i]);
        fprintf(out, "%s%*s", i > 0 ? "  " : "", i >= MEAN ? padding : 0, "");
        print_plain(cells[i], out);
        if (i < MEAN && i + 1 < shown)
            fprintf(out, "%*s", padding, "");
    }
    fputc('\n', out);
}

/* How many columns fit, those on the left being the more important ones. */
static int fit(const struct row *rows, size_t count, int columns, int widths[COLUMN_COUNT]) {
    int total = 0, shown = 0;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        widths[i] = (int)strlen(titles[i]);
        for (size_t j = 0; j < count; j++) {
            int width = (int)strlen(rows[j].cells[i]);
            widths[i] = width > widths[i] ? width : widths[i];
        }
        total += widths[i] + (i > 0 ? 2 : 0);
        if (total <= columns || i <= TYPE)
            shown = i + 1;
    }
    return shown;
}

static enum hysgd_status print_tensors(const struct safetensors_file *file, int columns, FILE *out) {
    size_t count = safetensors_count(file);
    int widths[COLUMN_COUNT];
    struct row *rows;
    HYSGD_TRY(memory_alloc(count, sizeof *rows, &rows));
    uint64_t bad = 0, elements = 0;
    for (size_t i = 0; i < count; i++) {
        struct statistics statistics = fill_row(safetensors_at(file, i), &rows[i]);
        bad += statistics.not_finite;
        elements += statistics.elements;
    }
    int shown = fit(rows, count, columns, widths);
    print_row(titles, widths, shown, out);
    for (size_t i = 0; i < count; i++)
        print_row(rows[i].cells, widths, shown, out);
    fprintf(out, "%zu tensors, %" PRIu64 " elements, %" PRIu64 " of them not finite\n", count, elements, bad);
    memory_free(rows);
    return HYSGD_OK;
}

static void print_metadata(const struct safetensors_file *file, FILE *out) {
    for (size_t i = 0; i < safetensors_metadata_count(file); i++) {
        const char *key, *value;
        safetensors_metadata_at(file, i, &key, &value);
        print_plain(key, out);
        fputs(" = ", out);
        print_plain(value, out);
        fputc('\n', out);
    }
    if (safetensors_metadata_count(file) > 0)
        fputc('\n', out);
}

/* ---- JSON ---- */

static json_t *tensor_json(const struct safetensors_tensor *tensor) {
    struct statistics statistics = measure(tensor);
    json_t *shape = json_array();
    int failed = shape == NULL;
    for (int i = 0; !failed && i < tensor->rank; i++)
        failed = json_array_append_new(shape, json_integer((json_int_t)tensor->dims[i]));
    if (failed)
        return json_drop(shape);
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:I}", "name", tensor->name, "shape", shape, "type",
                     safetensors_type_name(tensor->type), "mean", json_number(statistics.mean), "std",
                     json_number(statistics.deviation), "min", json_number(statistics.least), "max",
                     json_number(statistics.most), "not_finite", (json_int_t)statistics.not_finite);
}

static json_t *file_json(const struct safetensors_file *file) {
    json_t *metadata = json_object(), *tensors = json_array();
    int failed = metadata == NULL || tensors == NULL;
    for (size_t i = 0; !failed && i < safetensors_metadata_count(file); i++) {
        const char *key, *value;
        safetensors_metadata_at(file, i, &key, &value);
        failed = json_object_set_new(metadata, key, json_string(value));
    }
    for (size_t i = 0; !failed && i < safetensors_count(file); i++)
        failed = json_array_append_new(tensors, tensor_json(safetensors_at(file, i)));
    if (failed) {
        json_decref(metadata);
        return json_drop(tensors);
    }
    return json_pack("{s:o, s:o}", "metadata", metadata, "tensors", tensors);
}

enum hysgd_status inspect_print(const char *path, bool is_json, int columns, FILE *out) {
    struct safetensors_file *file;
    HYSGD_TRY(safetensors_open(path, &file));
    enum hysgd_status status = HYSGD_OK;
    if (is_json) {
        status = json_print(file_json(file), JSON_INDENT(2), out);
    } else {
        print_metadata(file, out);
        status = print_tensors(file, columns, out);
    }
    safetensors_close(file);
    return status;
}
