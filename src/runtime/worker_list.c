/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a number for each worker: see worker_list.h. */
#include "runtime/worker_list.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"

/* One item: "0.5", or "4x0.5" for four workers. */
static enum hysgd_status read_item(const char *key, const char *noun, const char *item, int *count_out,
                                   double *value_out) {
    const char *cross = strchr(item, 'x');
    int64_t count = 1;
    double value;
    if (cross) {
        char number[16];
        size_t length = (size_t)(cross - item);
        snprintf(number, sizeof number, "%.*s", (int)(length < 15 ? length : 15), item);
        if (!options_read_int(number, &count) || count < 1 || count > 1000000)
            return hysgd_fail(HYSGD_USAGE, "%s: \"%s\": expected a number of workers before the x", key, item);
    }
    if (!options_read_real(cross ? cross + 1 : item, &value) || value < 1e-6 || value > 1e6)
        return hysgd_fail(HYSGD_USAGE,
                          "%s: \"%s\": expected a relative %s from 1e-6 to 1e6, as in 1,0.5 or 4x1,4x0.25", key,
                          item, noun);
    *count_out = (int)count;
    *value_out = value;
    return HYSGD_OK;
}

static enum hysgd_status read_items(const char *key, const char *noun, char *text, int workers, double *values,
                                    int *count_out) {
    int filled = 0;
    while (text) {
        char *item = text, *comma = strchr(text, ',');
        int count = 0;
        double value = 1;
        if (comma)
            *comma = '\0';
        text = comma ? comma + 1 : NULL;
        HYSGD_TRY(read_item(key, noun, item, &count, &value));
        if (count > workers - filled)
            return hysgd_fail(HYSGD_USAGE, "%s: more %ss are given than the %d workers", key, noun, workers);
        while (count-- > 0)
            values[filled++] = value;
    }
    *count_out = filled;
    return HYSGD_OK;
}

enum hysgd_status worker_list_read(const char *key, const char *noun, const char *text, int workers,
                                   double *values_out, int *count_out) {
    char *copy;
    HYSGD_TRY(memory_copy_text(text, &copy));
    enum hysgd_status status = read_items(key, noun, copy, workers, values_out, count_out);
    memory_free(copy);
    return status;
}

static enum hysgd_status read_weights(const char *text, int workers, double *weights) {
    int count = 0;
    HYSGD_TRY(worker_list_read("worker-weights", "weight", text, workers, weights, &count));
    if (count < workers)
        return hysgd_fail(HYSGD_USAGE, "worker-weights: %d weights are given for %d workers", count, workers);
    return HYSGD_OK;
}

/* To the mean 1, so that the effective learning rate stays what it is. */
static void scale_weights(double *weights, int workers) {
    double sum = 0;
    for (int i = 0; i < workers; i++)
        sum += weights[i];
    for (int i = 0; i < workers; i++)
        weights[i] = weights[i] * workers / sum;
}

static bool is_by_samples(const char *text) {
    return text && strcmp(text, "samples") == 0;
}

/* Those of the lost stay above 0: a gradient of theirs may still be held. */
void worker_weights_deal(const char *text, const struct partition *partition, double *weights) {
    double sum = (double)partition->first[partition->workers];
    int left = 0;
    if (!is_by_samples(text))
        return;
    for (int i = 0; i < partition->workers; i++)
        left += partition->counts[i] > 0;
    for (int i = 0; i < partition->workers; i++)
        if (partition->counts[i] > 0)
            weights[i] = (double)partition->counts[i] * left / sum;
}

enum hysgd_status worker_weights_read(const char *text, int workers, const struct partition *partition,
                                      double **weights_out) {
    bool by_samples = is_by_samples(text);
    double *weights;
    *weights_out = NULL;
    if (!text || !text[0] || strcmp(text, "none") == 0 || (by_samples && !partition))
        return HYSGD_OK;
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *weights, &weights));
    enum hysgd_status status = HYSGD_OK;
    if (by_samples)
        worker_weights_deal(text, partition, weights);
    else
        status = read_weights(text, workers, weights);
    if (status != HYSGD_OK) {
        memory_free(weights);
        return status;
    }
    if (!by_samples)
        scale_weights(weights, workers);
    *weights_out = weights;
    return HYSGD_OK;
}
