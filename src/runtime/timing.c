/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the texts that say how long things take, and drawing the times: see timing.h. */
#include "runtime/timing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "runtime/worker_list.h"

static const struct distribution_ops *distribution_of(const struct plugin *plugin) {
    return (const struct distribution_ops *)plugin->ops;
}

static enum hysgd_status open_distribution(const char *key, const char *text, struct plugin *plugin) {
    enum hysgd_status status = plugin_open(&distribution_list, text, plugin);
    if (status == HYSGD_OK && distribution_of(plugin)->init)
        status = distribution_of(plugin)->init(plugin->self);
    return status == HYSGD_OK ? status : status_locate(status, key);
}

static void close_distribution(struct plugin *plugin) {
    if (plugin->ops && distribution_of(plugin)->fini)
        distribution_of(plugin)->fini(plugin->self);
    plugin_close(plugin);
}

/* Cuts the next item off a text at `separator`, outside parentheses; NULL at the end. */
static char *cut_item(char **rest, char separator) {
    char *item = *rest;
    if (!item)
        return NULL;
    int depth = 0;
    for (char *at = item; *at; at++) {
        depth += (*at == '(') - (*at == ')');
        if (*at == separator && depth == 0) {
            *at = 0;
            *rest = at + 1;
            return item;
        }
    }
    *rest = NULL;
    return item;
}

static enum hysgd_status read_speeds(struct timing *timing, char *text) {
    int filled = 0;
    HYSGD_TRY(worker_list_read("speeds", "speed", text, timing->workers, timing->speeds, &filled));
    for (int i = filled; i < timing->workers; i++)
        timing->speeds[i] = timing->speeds[i - filled];
    return HYSGD_OK;
}

/* The workers that "all", "half" (the second half), "one" (the last), "3" or "2-5" names; false when it is none of
 * these. */
static bool read_who(const char *who, int workers, int *first_out, int *end_out) {
    char *after;
    *first_out = 0;
    *end_out = workers;
    if (strcmp(who, "all") == 0)
        return true;
    if (strcmp(who, "half") == 0) {
        *first_out = workers - workers / 2;
        return true;
    }
    if (strcmp(who, "one") == 0) {
        *first_out = workers - 1;
        return true;
    }
    if (who[0] < '0' || who[0] > '9')
        return false;
    long first = strtol(who, &after, 10), last = first;
    if (after[0] == '-' && after[1] >= '0' && after[1] <= '9')
        last = strtol(after + 1, &after, 10);
    if (*after || first > last || last >= workers)
        return false;
    *first_out = (int)first;
    *end_out = (int)last + 1;
    return true;
}

/* One group of delays: "[WHO,]DISTRIBUTION". */
static enum hysgd_status read_delay(struct timing *timing, char *group) {
    char *comma = strchr(group, ',');
    int first = 0, end = timing->workers;
    if (comma)
        *comma = 0;
    const struct hysgd_plugin *found;
    bool has_who = read_who(group, timing->workers, &first, &end);
    if (!has_who && (group[0] >= '0' && group[0] <= '9'))
        return hysgd_fail(HYSGD_USAGE, "delay: \"%s\": expected workers from 0 to %d, as in 3 or 2-5", group,
                          timing->workers - 1);
    if (!has_who && !strchr(group, ':') && plugin_find(&distribution_list, group, &found) != HYSGD_OK)
        return hysgd_fail(HYSGD_USAGE,
                          "delay: \"%s\": expected all, half, one, a worker (3 or 2-5) or a distribution (normal, "
                          "constant, ...)",
                          group);
    if (has_who && !comma)
        return hysgd_fail(HYSGD_USAGE, "delay: \"%s\": a distribution must follow, as in half,normal,std=0.25",
                          group);
    if (comma && !has_who)
        *comma = ',';
    for (int i = first; i < end; i++)
        timing->group_of[i] = timing->group_count;
    timing->group_count++;
    return open_distribution("delay", has_who ? comma + 1 : group, &timing->groups[timing->group_count - 1]);
}

static enum hysgd_status read_delays(struct timing *timing, char *text) {
    size_t groups = 1;
    for (const char *at = text; *at; at++)
        groups += *at == ';';
    HYSGD_TRY(memory_alloc(groups, sizeof *timing->groups, &timing->groups));
    for (char *rest = text, *group; (group = cut_item(&rest, ';'));)
        HYSGD_TRY(read_delay(timing, group));
    return HYSGD_OK;
}

static enum hysgd_status read_moments(const struct timing *timing, const char *key, char *text, double *moments) {
    for (char *rest = text, *item; (item = cut_item(&rest, ','));) {
        char *at = strchr(item, '@');
        int64_t worker = -1;
        double seconds = -1;
        if (at)
            *at = 0;
        if (!at || !options_read_int(item, &worker) || worker < 0 || worker >= timing->workers ||
            !options_read_real(at + 1, &seconds) || seconds < 0)
            return hysgd_fail(HYSGD_USAGE,
                              "%s: \"%s%s%s\": expected WORKER@SECONDS with a worker from 0 to %d, as in 3@1.5",
                              key, item, at ? "@" : "", at ? at + 1 : "", timing->workers - 1);
        moments[worker] = seconds;
    }
    return HYSGD_OK;
}

static enum hysgd_status read_losses(struct timing *timing, char *text) {
    return read_moments(timing, "lose", text, timing->lost_at);
}

static enum hysgd_status read_joins(struct timing *timing, char *text) {
    return read_moments(timing, "join", text, timing->joins_at);
}

/* Gives a reader a copy of the text that it may cut into pieces; nothing to do for an empty text. */
static enum hysgd_status read_text(struct timing *timing, const char *text,
                                   enum hysgd_status (*reader)(struct timing *, char *)) {
    char *copy;
    if (!text || !text[0])
        return HYSGD_OK;
    HYSGD_TRY(memory_copy_text(text, &copy));
    enum hysgd_status status = reader(timing, copy);
    memory_free(copy);
    return status;
}

static const char *text_or(const char *text, const char *otherwise) {
    return text && text[0] ? text : otherwise;
}

enum hysgd_status timing_init(struct timing *timing, const struct timing_texts *texts, int workers, uint64_t seed) {
    *timing = (struct timing){.workers = workers, .seed = seed};
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *timing->speeds, &timing->speeds));
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *timing->lost_at, &timing->lost_at));
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *timing->joins_at, &timing->joins_at));
    HYSGD_TRY(memory_alloc((size_t)workers, sizeof *timing->group_of, &timing->group_of));
    for (int i = 0; i < workers; i++) {
        timing->speeds[i] = 1;
        timing->lost_at[i] = timing->joins_at[i] = INFINITY;
        timing->group_of[i] = -1;
    }
    HYSGD_TRY(open_distribution("compute", text_or(texts->compute, "constant,mean=0.01"), &timing->compute));
    HYSGD_TRY(open_distribution("receive", text_or(texts->receive, "constant,mean=0"), &timing->receive));
    HYSGD_TRY(open_distribution("apply", text_or(texts->apply, "constant,mean=0"), &timing->apply));
    HYSGD_TRY(read_text(timing, texts->speeds, read_speeds));
    HYSGD_TRY(read_text(timing, texts->delay, read_delays));
    HYSGD_TRY(read_text(timing, texts->lose, read_losses));
    return read_text(timing, texts->join, read_joins);
}

void timing_fini(struct timing *timing) {
    close_distribution(&timing->compute);
    close_distribution(&timing->receive);
    close_distribution(&timing->apply);
    for (int i = 0; i < timing->group_count; i++)
        close_distribution(&timing->groups[i]);
    memory_free(timing->groups);
    memory_free(timing->speeds);
    memory_free(timing->lost_at);
    memory_free(timing->joins_at);
    memory_free(timing->group_of);
    *timing = (struct timing){0};
}

/* Whether the later of two moments has come by then, and with it the earlier one. */
static bool is_over(double earlier, double later, double seconds) {
    return earlier < later && later <= seconds;
}

bool timing_will_lose(const struct timing *timing, int worker, double seconds) {
    return isfinite(timing->lost_at[worker]) &&
           !is_over(timing->lost_at[worker], timing->joins_at[worker], seconds);
}

bool timing_will_join(const struct timing *timing, int worker, double seconds) {
    return isfinite(timing->joins_at[worker]) &&
           !is_over(timing->joins_at[worker], timing->lost_at[worker], seconds);
}

static double draw(const struct timing *timing, const struct plugin *distribution, uint32_t worker,
                   enum random_purpose purpose, uint64_t index) {
    struct random random;
    random_init(&random, timing->seed, worker, purpose, index);
    double seconds = distribution_of(distribution)->draw(distribution->self, &random, index);
    return seconds > 0 ? seconds : 0;
}

double timing_compute(const struct timing *timing, int worker, uint64_t index) {
    if (timing->measured)
        return measured_at(timing->measured, worker, index)->compute_seconds;
    return draw(timing, &timing->compute, (uint32_t)worker, RANDOM_COMPUTE, index) / timing->speeds[worker];
}

double timing_delay(const struct timing *timing, int worker, uint64_t index) {
    if (timing->measured)
        return measured_at(timing->measured, worker, index)->transit_seconds;
    int group = timing->group_of[worker];
    return group < 0 ? 0 : draw(timing, &timing->groups[group], (uint32_t)worker, RANDOM_DELAY, index);
}

double timing_receive(struct timing *timing) {
    uint64_t index = timing->received++;
    if (timing->measured && timing->measured->receive.count > 0)
        return timing->measured->receive.seconds[index % timing->measured->receive.count];
    return draw(timing, &timing->receive, RANDOM_NO_WORKER, RANDOM_SERVICE, index);
}

double timing_apply(struct timing *timing) {
    uint64_t index = timing->applied++;
    if (timing->measured && timing->measured->apply.count > 0)
        return timing->measured->apply.seconds[index % timing->measured->apply.count];
    return draw(timing, &timing->apply, RANDOM_NO_WORKER - 1, RANDOM_SERVICE, index);
}
