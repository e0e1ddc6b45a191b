/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a run of the model `factors` under a scheduler, from the words up to the first epoch: see factorization.h.
 * The epochs are in factorization_train.c. */
#include "train/factorization.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "train/scheduling.h"

/* ---- The data ---- */

static enum hysgd_status check_values(const struct factorization *run) {
    const struct factors_model *model = run->model;
    const struct ratings_part *train = &run->train;
    uint32_t rows = run->ratings->rows.count, columns = run->ratings->columns.count;
    uint32_t least = rows < columns ? rows : columns;
    if (train->count == 0)
        return hysgd_fail(HYSGD_USAGE, "data %s: no rating is left to train on", run->resolved->data.ops->name);
    if (model->rank > least)
        return hysgd_fail(HYSGD_USAGE,
                          "model factors: rank=%" PRId64 " is larger than the data: expected at most %" PRIu32
                          ", for they have %" PRIu32 " rows and %" PRIu32 " columns",
                          model->rank, least, rows, columns);
    if (model->loss == FIT_KL && train->least < 0)
        return hysgd_fail(HYSGD_USAGE, "model factors: loss=kl: the least rating is %g: expected none below 0",
                          (double)train->least);
    if (run->resolved->description.stop_early > 0 && run->validation.part.count == 0)
        return hysgd_fail(HYSGD_USAGE, "run: stop-early needs a validation part: add validation=0.1 or the like to "
                                       "the data");
    return HYSGD_OK;
}

/* A target must be one that the evaluations can show. */
static enum hysgd_status check_target(const struct factorization *run) {
    const struct training_limits *limits = &run->resolved->limits;
    const char *target = run->resolved->description.target;
    bool is_one_class = factors_model_is_one_class(run->model);
    bool has_accuracy = is_one_class || factors_model_has_signs(run->model);
    if (target[0] == '\0')
        return HYSGD_OK;
    if (run->test.part.count + run->validation.part.count == 0)
        return hysgd_fail(HYSGD_USAGE, "run: target=%s: the data %s have no test part to show it", target,
                          run->resolved->data.ops->name);
    if ((limits->loss > 0 && is_one_class) || (limits->accuracy > 0 && !has_accuracy))
        return hysgd_fail(HYSGD_USAGE, "run: target=%s: expected %s, for test ratings are judged by %s", target,
                          is_one_class ? "accuracy=A" : "loss=L",
                          is_one_class ? factors_model_accuracy_name(run->model)
                                       : factors_model_loss_name(run->model));
    return HYSGD_OK;
}

/* The entries are put into another order, which others who use the data must not see. */
static enum hysgd_status copy_entries(struct factorization *run, const struct ratings_split *split) {
    if (!run->resolved->data_is_shared)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc_vector((size_t)split->all.count, sizeof *run->copy, &run->copy));
    memcpy(run->copy, split->all.entries, (size_t)split->all.count * sizeof *run->copy);
    struct ratings_part *const parts[] = {&run->train, &run->validation.part, &run->test.part};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i]->count > 0)
            parts[i]->entries = run->copy + (parts[i]->entries - split->all.entries);
    return HYSGD_OK;
}

static enum hysgd_status count_training(struct factorization *run) {
    HYSGD_TRY(memory_alloc(run->ratings->rows.count, sizeof(uint32_t), &run->counts[SIDE_ROWS]));
    HYSGD_TRY(memory_alloc(run->ratings->columns.count, sizeof(uint32_t), &run->counts[SIDE_COLUMNS]));
    for (uint64_t i = 0; i < run->train.count; i++) {
        run->counts[SIDE_ROWS][run->train.entries[i].row]++;
        run->counts[SIDE_COLUMNS][run->train.entries[i].column]++;
    }
    return HYSGD_OK;
}

static bool is_unseen(const struct factorization *run, const struct rating *rating) {
    return run->counts[SIDE_ROWS][rating->row] == 0 || run->counts[SIDE_COLUMNS][rating->column] == 0;
}

/* Shortens the part to the limit, and puts what is unseen at its end. */
static void sort_unseen(const struct factorization *run, struct held_out *held_out) {
    struct ratings_part *part = &held_out->part;
    uint64_t limit = (uint64_t)run->resolved->description.eval_limit;
    if (limit > 0 && part->count > limit)
        part->count = limit;
    for (uint64_t i = 0; i + held_out->unseen < part->count;) {
        if (!is_unseen(run, &part->entries[i])) {
            i++;
            continue;
        }
        struct rating *last = &part->entries[part->count - 1 - held_out->unseen++];
        struct rating unseen = part->entries[i];
        part->entries[i] = *last;
        *last = unseen;
    }
}

static enum hysgd_status prepare_data(struct factorization *run) {
    const struct description *words = &run->resolved->description;
    const struct ratings_split *split = data_ratings(&run->resolved->data);
    if (split == NULL)
        return hysgd_fail(HYSGD_USAGE, "model factors: data %s are no ratings: expected data such as ratings:FILE",
                          run->resolved->data.ops->name);
    if (!run->resolved->data_is_shared)
        data_ratings_stop_finding(&run->resolved->data);
    run->ratings = &split->all;
    run->train = split->train;
    run->validation.part = split->validation;
    run->test.part = split->test;
    HYSGD_TRY(check_values(run));
    HYSGD_TRY(check_target(run));
    HYSGD_TRY(copy_entries(run, split));
    HYSGD_TRY(count_training(run));
    sort_unseen(run, &run->validation);
    sort_unseen(run, &run->test);
    if (words->save[0] != '\0' || words->resume[0] != '\0')
        run->train_checksum = factors_file_checksum(run->train.entries, run->train.count);
    return HYSGD_OK;
}

/* ---- Layout ---- */

static enum hysgd_status make_blocks(struct factorization *run) {
    const struct description *words = &run->resolved->description;
    uint32_t rows = run->ratings->rows.count, columns = run->ratings->columns.count;
    int groups = factorize_groups(&run->resolved->scheduler, (int)words->workers, words->is_deterministic,
                                  run->train.count, rows < columns ? rows : columns);
    const struct blocks_setup setup = {
        .row_groups = groups,
        .column_groups = groups,
        .balance = words->balance,
        .vector_bytes = factors_bytes_each(run->kernel.setup.rank, kernel_state(run->kernel.setup.rule)),
        .seed = (uint64_t)words->seed,
        .team = run->team};
    if (words->layout[0] != '\0')
        HYSGD_TRY(blocks_make_cached(run->train.entries, run->train.count, rows, columns, &setup, words->layout,
                                     words->is_streamed, &run->blocks));
    else
        HYSGD_TRY(blocks_make(run->train.entries, run->train.count, rows, columns, &setup, &run->blocks));
    blocks_renumber(&run->blocks, run->validation.part.entries, run->validation.part.count);
    blocks_renumber(&run->blocks, run->test.part.entries, run->test.part.count);
    run->result.row_groups = run->blocks.row_groups;
    run->result.column_groups = run->blocks.column_groups;
    run->result.imbalance = blocks_imbalance(&run->blocks);
    return HYSGD_OK;
}

/* Ranking needs to know what each row has; of the training part before it is laid out. */
static enum hysgd_status list_training(struct factorization *run) {
    if (!factors_model_is_one_class(run->model))
        return HYSGD_OK;
    return lists_init(&run->seen, run->train.entries, run->train.count, run->ratings->rows.count);
}

static enum hysgd_status list_held_out(struct factorization *run) {
    uint32_t rows = run->ratings->rows.count;
    struct held_out *const parts[] = {&run->validation, &run->test};
    if (!factors_model_is_one_class(run->model))
        return HYSGD_OK;
    HYSGD_TRY(lists_renumber(&run->seen, run->blocks.row_places, run->blocks.column_places));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        HYSGD_TRY(lists_init(&parts[i]->lists, parts[i]->part.entries, parts[i]->part.count, rows));
    return HYSGD_OK;
}

/* ---- Factors ---- */

static enum hysgd_status open_kernel(struct factorization *run) {
    const struct kernel_setup setup = factors_model_kernel(run->model);
    HYSGD_TRY(kernel_init(&run->kernel, &setup));
    run->result.kernel = kernel_isa_name(run->kernel.setup.isa);
    return HYSGD_OK;
}

static enum hysgd_status open_factors(struct factorization *run) {
    const struct factors_shape shape = {.row_count = run->ratings->rows.count,
                                        .column_count = run->ratings->columns.count,
                                        .rank = (uint32_t)run->model->rank,
                                        .state = kernel_state(run->kernel.setup.rule)};
    HYSGD_TRY(factors_init(&run->factors, &shape));
    return run->resolved->description.stop_early > 0 ? factors_init(&run->best, &shape) : HYSGD_OK;
}

/* What is never trained predicts nothing of its own: its prediction is the mean, with the other side's bias. */
static void clear_unseen(struct factorization *run, enum factors_side_name side, const uint32_t *places) {
    struct factors_side *factors = &run->factors.sides[side];
    for (uint32_t i = 0; i < factors->count; i++)
        if (run->counts[side][i] == 0)
            memset(factors->values + (size_t)places[i] * run->factors.stride, 0,
                   run->factors.stride * sizeof *factors->values);
}

/* Of sums of squared gradients, at the beginning; LIBMF's. */
#define SUM_START 1.0f

static enum hysgd_status check_same(const struct factorization *run, const struct factors_file *file,
                                    const char *path) {
    const struct ids *const ids[] = {&run->ratings->rows, &run->ratings->columns};
    static const char *const words[] = {"row", "column"};
    if (!file->has_ids)
        return hysgd_fail(HYSGD_INPUT, "%s: is of training under a policy, which a scheduler cannot go on with",
                          path);
    for (int side = 0; side < SIDE_COUNT; side++)
        if (file->factors.sides[side].count != ids[side]->count)
            return hysgd_fail(HYSGD_INPUT,
                              "%s: is a model of other data: it has %" PRIu32 " %ss and the data have %" PRIu32,
                              path, file->factors.sides[side].count, words[side], ids[side]->count);
    if (file->train_checksum != run->train_checksum)
        return hysgd_fail(HYSGD_INPUT, "%s: is a model of other data: its training ratings were others", path);
    if (file->factors.rank != run->factors.rank)
        return hysgd_fail(HYSGD_INPUT, "%s: has rank %" PRIu32 ", and the run rank=%" PRIu32, path,
                          file->factors.rank, run->factors.rank);
    if (file->has_biases != run->kernel.setup.has_biases)
        return hysgd_fail(HYSGD_INPUT, "%s: has %s, and the run has %s", path,
                          file->has_biases ? "biases" : "no biases", file->has_biases ? "none" : "some");
    for (int side = 0; side < SIDE_COUNT; side++)
        if (memcmp(file->counts[side], run->counts[side], ids[side]->count * sizeof *file->counts[side]) != 0)
            return hysgd_fail(HYSGD_INPUT, "%s: its %s_counts are not those of the training ratings", path,
                              words[side]);
    return HYSGD_OK;
}

static enum hysgd_status take_from_file(struct factorization *run, struct factors_file *file, const char *path) {
    HYSGD_TRY(check_same(run, file, path));
    for (int side = 0; side < SIDE_COUNT; side++)
        memcpy(run->factors.sides[side].values, file->factors.sides[side].values,
               (size_t)run->factors.sides[side].count * run->factors.stride * sizeof(float));
    run->factors.mean = file->factors.mean;
    run->progress = file->progress;
    run->start_seconds = file->progress.seconds;
    return factors_file_read_state(file, path, &run->factors);
}

static enum hysgd_status resume(struct factorization *run) {
    const char *path = run->resolved->description.resume;
    struct factors_file file;
    enum hysgd_status status = factors_file_open(path, &file);
    if (status == HYSGD_OK)
        status = take_from_file(run, &file, path);
    factors_file_close(&file);
    HYSGD_TRY(status);
    HYSGD_TRY(factors_to_places(&run->factors, SIDE_ROWS, run->blocks.row_places));
    return factors_to_places(&run->factors, SIDE_COLUMNS, run->blocks.column_places);
}

/* Each row begins with numbers of its own, whatever its place. */
static enum hysgd_status start_factors(struct factorization *run) {
    const struct description *words = &run->resolved->description;
    const uint32_t *const places[SIDE_COUNT] = {run->blocks.row_places, run->blocks.column_places};
    if (words->resume[0] != '\0')
        return resume(run);
    run->factors.mean = factors_model_has_mean(run->model) ? (float)run->train.mean : 0;
    for (int i = 0; i < SIDE_COUNT; i++) {
        enum factors_side_name side = (enum factors_side_name)i;
        factors_start_part(&run->factors, side, 0, run->factors.sides[side].count, places[side],
                           factors_model_start(run->model), (float)factors_model_scale(run->model, run->train.mean),
                           SUM_START, (uint64_t)words->seed);
        clear_unseen(run, side, places[side]);
    }
    return HYSGD_OK;
}

/* ---- The whole ---- */

static enum hysgd_status prepare_workers(struct factorization *run) {
    const struct resolved *resolved = run->resolved;
    size_t workers = (size_t)resolved->description.workers;
    HYSGD_TRY(team_start(resolved->is_modelled ? machine_cores() : (int)workers, &run->team));
    HYSGD_TRY(memory_alloc(workers, sizeof *run->accounts, &run->accounts));
    if (!resolved->is_modelled)
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc(workers, sizeof *run->speeds, &run->speeds));
    for (size_t i = 0; i < workers; i++) {
        double seconds = timing_compute(&resolved->timing, (int)i, 0);
        if (!(seconds > 0))
            return hysgd_fail(HYSGD_USAGE, "run: compute=%s: expected more than 0 seconds for a million ratings",
                              resolved->description.compute);
        run->speeds[i] = 1e6 / seconds;
    }
    /* The draws advance the timing, which belongs to this run alone. */
    run->request_seconds = timing_receive((struct timing *)(uintptr_t)&resolved->timing);
    return HYSGD_OK;
}

static void start_cadences(struct factorization *run) {
    const struct training_cadence *const cadences[] = {&run->resolved->evaluate_every, &run->resolved->save_every};
    double *const next[] = {&run->next_evaluation, &run->next_save};
    for (int i = 0; i < 2; i++) {
        double now = cadences[i]->unit == TRAINING_SECONDS ? run->progress.seconds : (double)run->progress.epochs;
        *next[i] = cadences[i]->unit == TRAINING_NEVER ? (double)INFINITY
                                                       : (floor(now / cadences[i]->every) + 1) * cadences[i]->every;
    }
}

/* The start and the end of each worker's part in an epoch, and what there is beside them: a small ring, for the
 * thread that fills it empties it too, after every epoch. */
static size_t epoch_events(const struct factorization *run) {
    return 2 * (size_t)run->resolved->description.workers + 8;
}

enum hysgd_status factorization_init(struct factorization *run, const struct resolved *resolved,
                                     const struct run_sink *sinks, size_t sink_count, bool wants_history) {
    memset(run, 0, sizeof *run);
    run->resolved = resolved;
    run->model = scheduling_model(&resolved->model);
    run->target_seconds = (double)NAN;
    run->best_measure = (double)INFINITY;
    run->saved_epoch = run->evaluated_epoch = UINT64_MAX;
    HYSGD_TRY(description_pairs_init(&run->pairs, &resolved->description));
    HYSGD_TRY(prepare_data(run));
    HYSGD_TRY(prepare_workers(run));
    HYSGD_TRY(open_kernel(run));
    HYSGD_TRY(list_training(run));
    HYSGD_TRY(make_blocks(run));
    memory_trim(); /* the ratings have given up a third of their memory, and reading them the rest */
    HYSGD_TRY(open_factors(run));
    HYSGD_TRY(list_held_out(run));
    HYSGD_TRY(start_factors(run));
    start_cadences(run);
    /* The files last, so that a run that cannot begin leaves those of an earlier one alone. */
    return recording_open(&run->recording, &resolved->description, epoch_events(run), sinks, sink_count,
                          wants_history);
}

void factorization_fini(struct factorization *run) {
    recording_close(&run->recording);
    blocks_fini(&run->blocks);
    team_stop(run->team);
    factors_fini(&run->factors);
    factors_fini(&run->best);
    lists_fini(&run->seen);
    lists_fini(&run->validation.lists);
    lists_fini(&run->test.lists);
    for (int side = 0; side < SIDE_COUNT; side++)
        memory_free(run->counts[side]);
    memory_free(run->copy);
    memory_free(run->speeds);
    memory_free(run->accounts);
    description_pairs_fini(&run->pairs);
    memset(run, 0, sizeof *run);
}
