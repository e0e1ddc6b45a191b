/* SPDX-License-Identifier: Apache-2.0 */
/* Counting the samples of applied gradients: see shares.h. */
#include "runtime/shares.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"

static double *delivery_of(const struct shares *shares, int worker) {
    return shares->deliveries + (size_t)worker * (size_t)(1 + shares->classes);
}

void shares_deal(struct shares *shares, const struct partition *partition) {
    double samples = (double)partition->first[partition->workers];
    for (int i = 0; i < shares->workers; i++)
        shares->parts[i] = (double)partition->counts[i] / samples;
}

static enum hysgd_status count_classes(struct shares *shares, const struct plugin *data,
                                       const struct hysgd_data_shape *shape, const struct partition *partition) {
    uint64_t samples = shape->train_count;
    int32_t *labels = NULL;
    if (shares->classes == 0)
        return HYSGD_OK;
    enum hysgd_status status = partition_read_labels(data, shape, partition->indices, samples, &labels);
    for (uint64_t i = 0; status == HYSGD_OK && i < samples; i++) {
        if (labels[i] < 0 || labels[i] >= shares->classes)
            status =
                hysgd_fail(HYSGD_INPUT, "data %s: training sample %" PRIu64 " has the label %d: expected 0 to %d",
                           data->ops->name, i, (int)labels[i], shares->classes - 1);
        else
            shares->of_class[labels[i]].data++;
    }
    for (int i = 0; i < shares->classes; i++)
        shares->of_class[i].data /= (double)samples;
    memory_free(labels);
    return status;
}

enum hysgd_status shares_init(struct shares *shares, const struct partition *partition, const struct plugin *data,
                              const struct hysgd_data_shape *shape) {
    size_t workers = (size_t)partition->workers, classes = (size_t)shape->classes;
    *shares = (struct shares){.workers = partition->workers, .classes = shape->classes};
    HYSGD_TRY(memory_alloc(workers * (1 + classes), sizeof *shares->deliveries, &shares->deliveries));
    HYSGD_TRY(memory_alloc(workers, sizeof *shares->by_worker, &shares->by_worker));
    HYSGD_TRY(memory_alloc(3 * classes, sizeof *shares->by_class, &shares->by_class));
    HYSGD_TRY(memory_alloc(workers, sizeof *shares->holders, &shares->holders));
    HYSGD_TRY(memory_alloc(workers, sizeof *shares->parts, &shares->parts));
    HYSGD_TRY(memory_alloc(classes, sizeof *shares->of_class, &shares->of_class));
    shares_deal(shares, partition);
    return count_classes(shares, data, shape, partition);
}

void shares_fini(struct shares *shares) {
    memory_free(shares->deliveries);
    memory_free(shares->by_worker);
    memory_free(shares->by_class);
    memory_free(shares->holders);
    memory_free(shares->parts);
    memory_free(shares->of_class);
    *shares = (struct shares){0};
}

void shares_begin(struct shares *shares, int worker) {
    memset(delivery_of(shares, worker), 0, (size_t)(1 + shares->classes) * sizeof(double));
}

void shares_add(struct shares *shares, int worker, const int32_t *labels, size_t count) {
    double *delivery = delivery_of(shares, worker);
    delivery[0] += (double)count;
    for (size_t i = 0; labels && i < count; i++)
        delivery[1 + labels[i]]++;
}

void shares_hold(struct shares *shares, int worker, double weight, bool is_later) {
    struct shares_worker *account = &shares->by_worker[worker];
    const double *delivery = delivery_of(shares, worker);
    double *by_class = shares->by_class + (is_later ? 2 * shares->classes : 0);
    if (account->held == 0 && !is_later)
        shares->holders[shares->holder_count++] = worker;
    *(is_later ? &account->later : &account->held) += weight * delivery[0];
    for (int i = 0; i < shares->classes; i++)
        by_class[i] += weight * delivery[1 + i];
}

void shares_apply(struct shares *shares) {
    double *held = shares->by_class, *applied = held + shares->classes;
    for (int i = 0; i < shares->holder_count; i++) {
        struct shares_worker *account = &shares->by_worker[shares->holders[i]];
        account->applied += account->held;
        account->held = 0;
    }
    shares->holder_count = 0;
    for (int i = 0; i < shares->classes; i++) {
        applied[i] += held[i];
        held[i] = 0;
    }
}

void shares_turn(struct shares *shares, uint64_t round) {
    if (round == shares->round)
        return;
    shares->round = round;
    double *held = shares->by_class, *later = held + 2 * shares->classes;
    shares->holder_count = 0;
    for (int i = 0; i < shares->workers; i++) {
        struct shares_worker *account = &shares->by_worker[i];
        account->held += account->later;
        account->later = 0;
        if (account->held > 0)
            shares->holders[shares->holder_count++] = i;
    }
    for (int i = 0; i < shares->classes; i++) {
        held[i] += later[i];
        later[i] = 0;
    }
}

static bool is_amount(double value) {
    return value >= 0 && value <= DBL_MAX;
}

bool shares_restore(struct shares *shares) {
    bool is_valid = true;
    shares->holder_count = 0;
    for (int i = 0; i < shares->workers; i++) {
        const struct shares_worker *account = &shares->by_worker[i];
        is_valid = is_valid && is_amount(account->held) && is_amount(account->applied) && is_amount(account->later);
        if (account->held > 0)
            shares->holders[shares->holder_count++] = i;
    }
    for (int i = 0; i < 3 * shares->classes; i++)
        is_valid = is_valid && is_amount(shares->by_class[i]);
    for (size_t i = 0; i < (size_t)shares->workers * (size_t)(1 + shares->classes); i++)
        is_valid = is_valid && is_amount(shares->deliveries[i]);
    return is_valid;
}

void shares_summarize(struct shares *shares) {
    const double *applied = shares->by_class + shares->classes;
    shares->applied = 0;
    for (int i = 0; i < shares->workers; i++)
        shares->applied += shares->by_worker[i].applied;
    for (int i = 0; i < shares->classes; i++)
        shares->of_class[i].applied = applied[i] / shares->applied;
}

struct event_share shares_of_worker(const struct shares *shares, int worker) {
    if (shares->workers == 0)
        return (struct event_share){(double)NAN, (double)NAN};
    return (struct event_share){shares->parts[worker], shares->by_worker[worker].applied / shares->applied};
}
