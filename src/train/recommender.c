/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a model of factors with what belongs to it: its options, its ids and, when they are needed, its data. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "base/options.h"
#include "data/data.h"
#include "model/model.h"
#include "train/recommender_model.h"
#include "train/scheduling.h"

static const char *const side_words[SIDE_COUNT] = {"user", "item"};

/* ---- Opening ---- */

/* The options say of what kind the tensors are. */
static enum hysgd_status check_options(const struct recommender *recommender) {
    const struct factors_file *file = &recommender->file;
    if ((uint64_t)recommender->options->rank != file->factors.rank)
        return hysgd_fail(HYSGD_INPUT, "%s: says rank=%" PRId64 " and has %" PRIu32 " factors", recommender->path,
                          recommender->options->rank, file->factors.rank);
    if (factors_model_kernel(recommender->options).has_biases == file->has_biases)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_INPUT, "%s: has %s biases, and its options say %s", recommender->path,
                      file->has_biases ? "tensors of" : "no tensors of", file->has_biases ? "none" : "biases=yes");
}

static enum hysgd_status open_options(struct recommender *recommender) {
    const char *text = safetensors_metadata(recommender->file.file, "model");
    enum hysgd_status status = model_open(text, &recommender->model);
    if (status == HYSGD_OK) {
        recommender->options = scheduling_model(&recommender->model);
        status = factors_model_check(recommender->options);
    }
    if (status != HYSGD_OK)
        return status == HYSGD_USAGE ? status_locate(HYSGD_INPUT, recommender->path) : status;
    return check_options(recommender);
}

/* Whether the file says that it is a model of factors. */
static bool is_factors(const struct safetensors_file *file) {
    const char *model = safetensors_metadata(file, "model");
    size_t length = model != NULL ? strcspn(model, ",") : 0;
    return length > 0 && plugin_is_called(&model_factors.about, model, length);
}

static enum hysgd_status open_model(struct recommender *recommender) {
    HYSGD_TRY(factors_file_open(recommender->path, &recommender->file));
    HYSGD_TRY(open_options(recommender));
    for (int side = 0; recommender->file.has_ids && side < SIDE_COUNT; side++) {
        recommender->ids[side] = &recommender->file.ids[side];
        recommender->trained[side] = recommender->file.counts[side];
    }
    HYSGD_TRY(team_start(machine_cores(), &recommender->team));
    return recommender->file.has_ids ? HYSGD_OK : recommender_load(recommender);
}

enum hysgd_status recommender_open(const char *path, const char *data, struct recommender **recommender_out) {
    struct safetensors_file *file;
    struct recommender *recommender;
    *recommender_out = NULL;
    HYSGD_TRY(safetensors_open(path, &file));
    bool is_ours = is_factors(file);
    safetensors_close(file);
    if (!is_ours)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(1, sizeof *recommender, &recommender));
    recommender->path = path;
    recommender->data_given = data;
    enum hysgd_status status = open_model(recommender);
    if (status != HYSGD_OK) {
        recommender_close(recommender);
        return status;
    }
    *recommender_out = recommender;
    return HYSGD_OK;
}

void recommender_close(struct recommender *recommender) {
    if (recommender == NULL)
        return;
    team_stop(recommender->team);
    if (recommender->data_is_ready)
        data_ops(&recommender->data)->fini(recommender->data.self);
    plugin_close(&recommender->data);
    plugin_close(&recommender->model);
    for (int side = 0; side < SIDE_COUNT; side++) {
        memory_free(recommender->numbers[side]);
        memory_free(recommender->counts[side]);
        ids_fini(&recommender->joined[side]);
    }
    factors_file_close(&recommender->file);
    memory_free(recommender);
}

/* ---- Data ---- */

/* The number in the model of every row or column of the data. */
static enum hysgd_status map_ids(struct recommender *recommender, enum factors_side_name side,
                                 const struct ids *ids) {
    HYSGD_TRY(memory_alloc(ids->count, sizeof(uint32_t), &recommender->numbers[side]));
    for (uint32_t i = 0; i < ids->count; i++)
        recommender->numbers[side][i] = recommender->file.has_ids ? recommender_find(recommender, side, ids, i) : i;
    return HYSGD_OK;
}

/* A model of training under a policy knows its rows and columns by the order of its data only. */
static enum hysgd_status take_ids(struct recommender *recommender) {
    const struct ids *const ids[] = {&recommender->split->all.rows, &recommender->split->all.columns};
    const struct ratings_part *train = &recommender->split->train;
    for (int side = 0; side < SIDE_COUNT; side++) {
        uint32_t count = recommender->file.factors.sides[side].count;
        if (ids[side]->count != count)
            return hysgd_fail(HYSGD_INPUT,
                              "%s: is a model of other data: it has %" PRIu32 " %ss and the data have %" PRIu32,
                              recommender->path, count, side_words[side], ids[side]->count);
        recommender->ids[side] = ids[side];
        HYSGD_TRY(memory_alloc(count, sizeof(uint32_t), &recommender->counts[side]));
        recommender->trained[side] = recommender->counts[side];
    }
    for (uint64_t i = 0; i < train->count; i++) {
        recommender->counts[SIDE_ROWS][train->entries[i].row]++;
        recommender->counts[SIDE_COLUMNS][train->entries[i].column]++;
    }
    return HYSGD_OK;
}

static uint64_t find_seed(const struct safetensors_file *file) {
    const char *text = safetensors_metadata(file, "seed");
    int64_t seed = 1;
    return text != NULL && options_read_int(text, &seed) && seed >= 0 ? (uint64_t)seed : 1;
}

static enum hysgd_status open_data(struct recommender *recommender) {
    const char *word = recommender->data_given;
    if (word[0] == '\0')
        word = safetensors_metadata(recommender->file.file, "data");
    if (word == NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: does not say its data: give them as --data", recommender->path);
    enum hysgd_status status = plugin_open(&data_list, word, &recommender->data);
    if (status != HYSGD_OK)
        return status == HYSGD_USAGE && recommender->data_given[0] == '\0'
                   ? status_locate(HYSGD_INPUT, recommender->path)
                   : status;
    if (data_ratings(&recommender->data) == NULL)
        return hysgd_fail(HYSGD_USAGE, "data %s are no ratings: expected data such as ratings:FILE",
                          recommender->data.ops->name);
    recommender->data_is_ready = true;
    HYSGD_TRY(data_ops(&recommender->data)->init(recommender->data.self, find_seed(recommender->file.file)));
    recommender->split = data_ratings(&recommender->data);
    return HYSGD_OK;
}

bool recommender_has_trained(const struct recommender *recommender) {
    const struct ratings_part *train = &recommender->split->train;
    return recommender->file.train_checksum == 0 ||
           recommender->file.train_checksum == factors_file_checksum(train->entries, train->count);
}

/* A file that the user gives, without a word on its parts, is judged as a whole; but for the one of the training,
 * of which the model knows the most. */
static void choose_parts(struct recommender *recommender) {
    const struct ratings_split *split = recommender->split;
    bool is_other = recommender->data_given[0] != '\0' && recommender->file.has_ids;
    recommender->parts[RECOMMENDER_TRAIN] = split->train;
    recommender->parts[RECOMMENDER_TEST] = split->test;
    recommender->parts[RECOMMENDER_VALIDATION] = split->validation;
    recommender->is_whole = is_other && split->is_by_default && !recommender_has_trained(recommender);
    if (!recommender->is_whole)
        return;
    recommender->parts[RECOMMENDER_TRAIN] = (struct ratings_part){0};
    recommender->parts[RECOMMENDER_TEST] = ratings_part(&split->all, 0, split->all.count);
}

enum hysgd_status recommender_load(struct recommender *recommender) {
    if (recommender->split != NULL)
        return HYSGD_OK;
    HYSGD_TRY(open_data(recommender));
    choose_parts(recommender);
    if (!recommender->file.has_ids)
        HYSGD_TRY(take_ids(recommender));
    HYSGD_TRY(map_ids(recommender, SIDE_ROWS, &recommender->split->all.rows));
    return map_ids(recommender, SIDE_COLUMNS, &recommender->split->all.columns);
}

const struct ratings_part *recommender_part(const struct recommender *recommender, enum recommender_part part) {
    return &recommender->parts[part];
}

enum hysgd_status recommender_known(const struct recommender *recommender, const struct rating *entries,
                                    uint64_t count, struct rating **known_out, uint64_t *known_count_out) {
    struct rating *known;
    uint64_t kept = 0;
    HYSGD_TRY(memory_alloc((size_t)count, sizeof *known, &known));
    for (uint64_t i = 0; i < count; i++) {
        const struct rating rating = {recommender->numbers[SIDE_ROWS][entries[i].row],
                                      recommender->numbers[SIDE_COLUMNS][entries[i].column], entries[i].value};
        if (rating.row != IDS_NONE && rating.column != IDS_NONE)
            known[kept++] = rating;
    }
    *known_out = known;
    *known_count_out = kept;
    return HYSGD_OK;
}

/* ---- Pairs ---- */

uint32_t recommender_find(const struct recommender *recommender, enum factors_side_name side, const struct ids *ids,
                          uint32_t index) {
    char buffer[IDS_NUMBER_BYTES];
    size_t length;
    const char *text = ids_text(ids, index, buffer, &length);
    return ids_find(recommender->ids[side], text, length);
}

bool recommender_is_trained(const struct recommender *recommender, enum factors_side_name side, uint32_t number) {
    return number != IDS_NONE && recommender->trained[side][number] > 0;
}

enum hysgd_status recommender_pair(const struct recommender *recommender, uint32_t row, uint32_t column,
                                   float *prediction_out) {
    const struct factors *factors = &recommender->file.factors;
    bool has_row = recommender_is_trained(recommender, SIDE_ROWS, row);
    bool has_column = recommender_is_trained(recommender, SIDE_COLUMNS, column);
    double value;
    enum factors_unseen unseen = factors_model_unseen(recommender->options, &value);
    if (has_row && has_column)
        *prediction_out = factors_predict(factors, row, column);
    else if (unseen == UNSEEN_VALUE)
        *prediction_out = (float)value;
    else if (unseen == UNSEEN_MEAN)
        *prediction_out = factors->mean + (has_row ? factors->sides[SIDE_ROWS].extra[row].bias : 0) +
                          (has_column ? factors->sides[SIDE_COLUMNS].extra[column].bias : 0);
    else
        return hysgd_fail(HYSGD_USAGE, "has no training ratings, and the model has unseen=error");
    return HYSGD_OK;
}

/* ---- Ids ---- */

static void print_csv(const char *text, size_t length, FILE *out) {
    bool has_blanks = text[0] == ' ' || text[length - 1] == ' ';
    if (!has_blanks && memchr(text, ',', length) == NULL && memchr(text, '"', length) == NULL) {
        fwrite(text, 1, length, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < length; i++)
        fprintf(out, text[i] == '"' ? "\"\"" : "%c", text[i]);
    fputc('"', out);
}

/* What is not ASCII goes through: ids are bytes of the user's file. */
static void print_json(const char *text, size_t length, FILE *out) {
    fputc('"', out);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

void recommender_print_id(const struct ids *ids, uint32_t index, enum recommender_format format, FILE *out) {
    char buffer[IDS_NUMBER_BYTES];
    size_t length;
    const char *text = ids_text(ids, index, buffer, &length);
    if (format == RECOMMENDER_CSV || !ids->are_texts)
        print_csv(text, length, out);
    else
        print_json(text, length, out);
}
