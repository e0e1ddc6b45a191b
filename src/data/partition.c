/* SPDX-License-Identifier: Apache-2.0 */
/* Dealing the training set to the workers: at random in equal parts, in the order of the data, class by class in
 * proportions drawn from a Dirichlet distribution, which is how unequal data are modelled in the literature, or row
 * by row of ratings. The part of a lost worker is dealt to the others in partition_lose.c; one that joins gets
 * its part in partition_join.c. */
#include "data/partition.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/data.h"

/* Sizes that differ by at most one. */
static void cut_equally(const struct partition_input *input, struct partition *partition) {
    uint64_t each = input->samples / (uint64_t)input->workers, rest = input->samples % (uint64_t)input->workers;
    for (int w = 0; w < input->workers; w++)
        partition->first[w + 1] = partition->first[w] + each + ((uint64_t)w < rest);
}

static enum hysgd_status iid_deal(const void *self, const struct partition_input *input,
                                  struct partition *partition) {
    struct random random;
    (void)self;
    random_init(&random, input->seed, RANDOM_NO_WORKER, RANDOM_PARTITION, 0);
    random_shuffle(&random, partition->indices, input->samples);
    cut_equally(input, partition);
    return HYSGD_OK;
}

static const struct partition_ops partition_iid = {
    .about = {.name = "iid", .summary = "at random, in equal parts: every worker sees the same distribution"},
    .deal = iid_deal,
};

static enum hysgd_status contiguous_deal(const void *self, const struct partition_input *input,
                                         struct partition *partition) {
    (void)self;
    cut_equally(input, partition);
    return HYSGD_OK;
}

static const struct partition_ops partition_contiguous = {
    .about = {.name = "contiguous", .summary = "equal parts in the order of the data, as files on machines are"},
    .deal = contiguous_deal,
};

struct dirichlet {
    double alpha;
};

static const struct hysgd_option dirichlet_options[] = {
    {"alpha", HYSGD_OPTION_REAL, offsetof(struct dirichlet, alpha), "0.5", 1e-3, 1e6, NULL,
     "concentration: the smaller, the more a class is with few workers; large is like iid"},
    {.key = NULL},
};

/* A gamma variate of the given shape and scale 1 (Marsaglia and Tsang 2000; below 1 boosted by U^(1/shape)). Its
 * logarithm, since small shapes give values that a double cannot hold. */
static double draw_log_gamma(struct random *random, double shape) {
    double boost = 0;
    if (shape < 1) {
        boost = log(random_uniform(random)) / shape;
        shape += 1;
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = random_normal(random), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(random_uniform(random)) < x * x / 2 + d - d * v + d * log(v))
            return log(d * v) + boost;
    }
}

/* The workers' shares of one class: a draw from the symmetric Dirichlet distribution. */
static void draw_shares(struct random *random, double alpha, int workers, double *shares) {
    double largest = -INFINITY, sum = 0;
    for (int w = 0; w < workers; w++) {
        shares[w] = draw_log_gamma(random, alpha);
        largest = fmax(largest, shares[w]);
    }
    for (int w = 0; w < workers; w++) {
        shares[w] = exp(shares[w] - largest);
        sum += shares[w];
    }
    for (int w = 0; w < workers; w++)
        shares[w] /= sum;
}

/* Gives each sample of a class, in random order, to a worker: those of worker w follow those of w - 1. */
static void deal_class(struct random *random, double alpha, uint64_t *members, uint64_t count, int workers,
                       double *shares, int *owners) {
    double upto = 0;
    uint64_t given = 0;
    draw_shares(random, alpha, workers, shares);
    random_shuffle(random, members, count);
    for (int w = 0; w < workers; w++) {
        upto += shares[w];
        uint64_t end = w == workers - 1 ? count : (uint64_t)(upto * (double)count + 0.5);
        for (; given < end && given < count; given++)
            owners[members[given]] = w;
    }
}

/* Puts the samples into the order of their owners; `hint` is what may help where one has none. */
static enum hysgd_status group_by_owner(const struct partition_input *input, const int *owners, const char *dealer,
                                        const char *hint, struct partition *partition) {
    uint64_t *first = partition->first;
    for (uint64_t i = 0; i < input->samples; i++)
        first[owners[i] + 1]++;
    for (int w = 0; w < input->workers; w++) {
        if (first[w + 1] == 0)
            return hysgd_fail(HYSGD_USAGE, "partition %s: worker %d of %d is left without a sample; expected %s",
                              dealer, w, input->workers, hint);
        first[w + 1] += first[w];
    }
    for (uint64_t i = input->samples; i-- > 0;) /* backwards, with each end as a cursor */
        partition->indices[--first[owners[i] + 1]] = i;
    for (int w = 0; w < input->workers; w++) /* the cursors now stand at the beginnings */
        first[w] = first[w + 1];
    first[input->workers] = input->samples;
    return HYSGD_OK;
}

static enum hysgd_status dirichlet_deal(const void *self, const struct partition_input *input,
                                        struct partition *partition) {
    const struct dirichlet *dirichlet = self;
    int *owners = NULL;
    double *shares = NULL;
    struct random random;
    random_init(&random, input->seed, RANDOM_NO_WORKER, RANDOM_PARTITION, 1);
    enum hysgd_status status = memory_alloc(input->samples, sizeof *owners, &owners);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)input->workers, sizeof *shares, &shares);
    for (int label = 0; status == HYSGD_OK && label < input->classes; label++) {
        uint64_t count = 0;
        for (uint64_t i = 0; i < input->samples; i++)
            if (input->labels[i] == label)
                partition->indices[count++] = i;
        deal_class(&random, dirichlet->alpha, partition->indices, count, input->workers, shares, owners);
    }
    if (status == HYSGD_OK)
        status =
            group_by_owner(input, owners, "dirichlet", "a larger alpha, fewer workers or another seed", partition);
    memory_free(owners);
    memory_free(shares);
    return status;
}

static const struct partition_ops partition_dirichlet = {
    .about = {.name = "dirichlet",
              .summary = "unequal classes: each class is shared out in proportions from a Dirichlet distribution",
              .source = "Hsu, Qi and Brown, arXiv 1909.06335",
              .size = sizeof(struct dirichlet),
              .options = dirichlet_options},
    .needs_labels = true,
    .deal = dirichlet_deal,
};

/* A row of ratings with its number of them, and a random number for ties. */
struct weighted_row {
    uint64_t weight;
    uint32_t row, tie;
};

static int compare_weights(const void *one, const void *other) {
    const struct weighted_row *a = one, *b = other;
    if (a->weight != b->weight)
        return a->weight < b->weight ? 1 : -1;
    return (a->tie > b->tie) - (a->tie < b->tie);
}

/* The heaviest row to the worker with the fewest ratings so far: workers get equal numbers of them. */
static void deal_rows(struct weighted_row *rows, uint32_t count, int workers, uint64_t *loads, int *owners) {
    qsort(rows, count, sizeof *rows, compare_weights);
    for (uint32_t i = 0; i < count; i++) {
        int least = 0;
        for (int w = 1; w < workers; w++)
            least = loads[w] < loads[least] ? w : least;
        loads[least] += rows[i].weight;
        owners[rows[i].row] = least;
    }
}

static enum hysgd_status own_samples(const struct partition_input *input, struct weighted_row *rows,
                                     uint64_t *loads, int *row_owners, int *owners, struct partition *partition) {
    struct random random;
    random_init(&random, input->seed, RANDOM_NO_WORKER, RANDOM_PARTITION, 2);
    for (uint32_t row = 0; row < input->row_count; row++)
        rows[row] = (struct weighted_row){.row = row, .tie = random_bits(&random)};
    for (uint64_t i = 0; i < input->samples; i++)
        rows[input->rows[i]].weight++;
    deal_rows(rows, input->row_count, input->workers, loads, row_owners);
    for (uint64_t i = 0; i < input->samples; i++)
        owners[i] = row_owners[input->rows[i]];
    return group_by_owner(input, owners, "rows", "fewer workers", partition);
}

static enum hysgd_status rows_deal(const void *self, const struct partition_input *input,
                                   struct partition *partition) {
    struct weighted_row *rows = NULL;
    uint64_t *loads = NULL;
    int *row_owners = NULL, *owners = NULL;
    (void)self;
    enum hysgd_status status = memory_alloc(input->row_count, sizeof *rows, &rows);
    if (status == HYSGD_OK)
        status = memory_alloc((size_t)input->workers, sizeof *loads, &loads);
    if (status == HYSGD_OK)
        status = memory_alloc(input->row_count, sizeof *row_owners, &row_owners);
    if (status == HYSGD_OK)
        status = memory_alloc(input->samples, sizeof *owners, &owners);
    if (status == HYSGD_OK)
        status = own_samples(input, rows, loads, row_owners, owners, partition);
    memory_free(rows);
    memory_free(loads);
    memory_free(row_owners);
    memory_free(owners);
    return status;
}

static const struct partition_ops partition_rows = {
    .about = {.name = "rows",
              .summary =
                  "ratings: each worker has all ratings of a block of users, and so their factors to itself"},
    .needs_rows = true,
    .deal = rows_deal,
};

static const struct hysgd_plugin *const entries[] = {
    &partition_iid.about,
    &partition_contiguous.about,
    &partition_dirichlet.about,
    &partition_rows.about,
};

const struct plugin_list partition_list = {"partition", entries, sizeof entries / sizeof *entries};

enum hysgd_status partition_read_labels(const struct plugin *data, const struct hysgd_data_shape *shape,
                                        const uint64_t *indices, uint64_t samples, int32_t **labels_out) {
    float *targets = NULL;
    enum hysgd_status status = memory_alloc(samples, sizeof **labels_out, labels_out);
    if (status == HYSGD_OK && shape->targets > 0)
        status = memory_alloc(samples, (size_t)shape->targets * sizeof *targets, &targets);
    if (status == HYSGD_OK)
        data_ops(data)->gather(data->self, HYSGD_TRAIN, indices, samples, NULL, *labels_out, targets);
    memory_free(targets);
    return status;
}

/* The row of every training sample, to be freed also when it fails. */
static enum hysgd_status read_rows(const struct plugin *data, const struct hysgd_data_shape *shape,
                                   const uint64_t *indices, uint64_t samples, uint32_t **rows_out) {
    size_t width = (size_t)shape->channels * (size_t)shape->height * (size_t)shape->width;
    float *inputs = NULL, *targets = NULL;
    enum hysgd_status status = memory_alloc(samples, sizeof **rows_out, rows_out);
    if (status == HYSGD_OK)
        status = memory_alloc(samples, width * sizeof *inputs, &inputs);
    if (status == HYSGD_OK)
        status = memory_alloc(samples, (size_t)shape->targets * sizeof *targets, &targets);
    if (status == HYSGD_OK)
        data_ops(data)->gather(data->self, HYSGD_TRAIN, indices, samples, inputs, NULL, targets);
    for (uint64_t i = 0; status == HYSGD_OK && i < samples; i++)
        memcpy(&(*rows_out)[i], inputs + i * width, sizeof **rows_out);
    memory_free(inputs);
    memory_free(targets);
    return status;
}

enum hysgd_status partition_init(struct partition *partition, const struct plugin *dealer,
                                 const struct plugin *data, int workers, uint64_t seed) {
    const struct partition_ops *ops = dealer ? (const struct partition_ops *)dealer->ops : &partition_iid;
    struct hysgd_data_shape shape;
    int32_t *labels = NULL;
    data_ops(data)->describe(data->self, &shape);
    *partition = (struct partition){.workers = workers, .row_count = shape.row_count};
    uint64_t samples = shape.train_count;
    if (workers < 1 || (uint64_t)workers > samples)
        return hysgd_fail(HYSGD_USAGE,
                          "%d workers cannot share %" PRIu64 " training samples; expected 1 to %" PRIu64 " workers",
                          workers, samples, samples);
    if (ops->needs_labels && shape.classes == 0)
        return hysgd_fail(HYSGD_USAGE, "partition %s: the data have no labels to go by", ops->about.name);
    if (ops->needs_rows && shape.row_count == 0)
        return hysgd_fail(HYSGD_USAGE, "partition %s: the data are no ratings", ops->about.name);
    HYSGD_TRY(memory_alloc(samples, sizeof *partition->indices, &partition->indices));
    HYSGD_TRY(memory_alloc((size_t)workers + 1, sizeof *partition->first, &partition->first));
    partition->change_room = workers + 2 * PARTITION_MOST_JOINS; /* each who joins may be lost again */
    HYSGD_TRY(memory_alloc((size_t)partition->change_room, sizeof *partition->changes, &partition->changes));
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *partition->counts, &partition->counts));
    for (uint64_t i = 0; i < samples; i++)
        partition->indices[i] = i;
    enum hysgd_status status = HYSGD_OK;
    if (ops->needs_labels)
        status = partition_read_labels(data, &shape, partition->indices, samples, &labels);
    if (ops->needs_rows)
        status = read_rows(data, &shape, partition->indices, samples, &partition->rows);
    struct partition_input input = {.samples = samples,
                                    .seed = seed,
                                    .workers = workers,
                                    .classes = shape.classes,
                                    .labels = labels,
                                    .row_count = shape.row_count,
                                    .rows = partition->rows};
    if (status == HYSGD_OK)
        status = ops->deal(dealer ? dealer->self : NULL, &input, partition);
    memory_free(labels);
    partition_restore(partition);
    return status;
}

void partition_fini(struct partition *partition) {
    if (partition->counts)
        partition_restore(partition);
    memory_free(partition->changes);
    memory_free(partition->counts);
    memory_free(partition->rows);
    memory_free(partition->indices);
    memory_free(partition->first);
    *partition = (struct partition){0};
}
