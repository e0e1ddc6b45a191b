/* SPDX-License-Identifier: Apache-2.0 */
/* Distributions of seconds for modelled times and injected delays: constant, uniform, normal, lognormal,
 * exponential, Pareto, and a recorded trace that is repeated. Parameters are given as mean and spread rather than
 * in each textbook's own letters. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "runtime/timing.h"

#define SECONDS_OPTION(type, field, initial, help)                                                                 \
    { #field, HYSGD_OPTION_REAL, offsetof(struct type, field), initial, 0, 1e9, NULL, help }

struct constant {
    double mean;
};

static const struct hysgd_option constant_options[] = {
    SECONDS_OPTION(constant, mean, "0", "seconds"),
    {0},
};

static double constant_draw(const void *self, struct random *random, uint64_t index) {
    (void)random, (void)index;
    return ((const struct constant *)self)->mean;
}

static const struct distribution_ops distribution_constant = {
    .about = {"constant", NULL, "always the same", NULL, sizeof(struct constant), constant_options},
    .draw = constant_draw,
};

struct uniform {
    double least, most;
};

static const struct hysgd_option uniform_options[] = {
    SECONDS_OPTION(uniform, least, "0", "smallest value, seconds"),
    SECONDS_OPTION(uniform, most, "1", "largest value, seconds"),
    {0},
};

static enum hysgd_status uniform_init(void *self) {
    const struct uniform *uniform = self;
    if (uniform->least <= uniform->most)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "distribution uniform: least=%g is larger than most=%g", uniform->least,
                      uniform->most);
}

static double uniform_draw(const void *self, struct random *random, uint64_t index) {
    const struct uniform *uniform = self;
    (void)index;
    return uniform->least + (uniform->most - uniform->least) * random_uniform(random);
}

static const struct distribution_ops distribution_uniform = {
    .about = {"uniform", NULL, "equally likely between two values", NULL, sizeof(struct uniform), uniform_options},
    .init = uniform_init,
    .draw = uniform_draw,
};

struct normal {
    double mean, std;
};

static const struct hysgd_option normal_options[] = {
    SECONDS_OPTION(normal, mean, "0", "mean before values below 0 are taken as 0, seconds"),
    SECONDS_OPTION(normal, std, "0.25", "standard deviation, seconds"),
    {0},
};

static double normal_draw(const void *self, struct random *random, uint64_t index) {
    const struct normal *normal = self;
    (void)index;
    return normal->mean + normal->std * random_normal(random);
}

static const struct distribution_ops distribution_normal = {
    .about = {"normal", NULL, "Gaussian; a negative value counts as 0", NULL, sizeof(struct normal),
              normal_options},
    .draw = normal_draw,
};

struct lognormal {
    double mean, sigma;
};

static const struct hysgd_option lognormal_options[] = {
    SECONDS_OPTION(lognormal, mean, "0.01", "mean, seconds"),
    {"sigma", HYSGD_OPTION_REAL, offsetof(struct lognormal, sigma), "1", 0, 10, NULL,
     "standard deviation of the logarithm; 1 is a heavy tail"},
    {0},
};

static double lognormal_draw(const void *self, struct random *random, uint64_t index) {
    const struct lognormal *lognormal = self;
    (void)index;
    double sigma = lognormal->sigma; /* exp(mu + sigma z) has the mean exp(mu + sigma^2 / 2) */
    return lognormal->mean * exp(sigma * random_normal(random) - sigma * sigma / 2);
}

static const struct distribution_ops distribution_lognormal = {
    .about = {"lognormal", NULL, "heavy tail of machines that share their cores", NULL, sizeof(struct lognormal),
              lognormal_options},
    .draw = lognormal_draw,
};

static const struct hysgd_option exponential_options[] = {
    SECONDS_OPTION(constant, mean, "0.01", "mean, seconds"),
    {0},
};

static double exponential_draw(const void *self, struct random *random, uint64_t index) {
    (void)index;
    return -((const struct constant *)self)->mean * log(random_uniform(random));
}

static const struct distribution_ops distribution_exponential = {
    .about = {"exponential", NULL, "memoryless, as in the runtime analyses", "Dutta et al. 2018",
              sizeof(struct constant), exponential_options},
    .draw = exponential_draw,
};

struct pareto {
    double least, alpha;
};

static const struct hysgd_option pareto_options[] = {
    SECONDS_OPTION(pareto, least, "0.01", "smallest value, seconds"),
    {"alpha", HYSGD_OPTION_REAL, offsetof(struct pareto, alpha), "2", 0.1, 100, NULL,
     "tail index: the smaller, the heavier; at 1 and below the mean is infinite"},
    {0},
};

static double pareto_draw(const void *self, struct random *random, uint64_t index) {
    const struct pareto *pareto = self;
    (void)index;
    return pareto->least * pow(random_uniform(random), -1 / pareto->alpha);
}

static const struct distribution_ops distribution_pareto = {
    .about = {"pareto", NULL, "power-law tail", NULL, sizeof(struct pareto), pareto_options},
    .draw = pareto_draw,
};

struct trace {
    char *path;
    double *values; /* [count] seconds */
    uint64_t count;
};

static const struct hysgd_option trace_options[] = {
    {"path", HYSGD_OPTION_TEXT, offsetof(struct trace, path), "", 0, 0, NULL,
     "file with one time in seconds a line, repeated when it ends"},
    {0},
};

static enum hysgd_status trace_add(struct trace *trace, size_t *capacity, double value) {
    HYSGD_TRY(memory_grow(&trace->values, trace->count, capacity, 256, sizeof *trace->values));
    trace->values[trace->count++] = value;
    return HYSGD_OK;
}

static enum hysgd_status trace_read(struct trace *trace, FILE *file) {
    char line[256];
    size_t capacity = 0;
    for (unsigned long number = 1; fgets(line, sizeof line, file); number++) {
        double value;
        size_t length = strcspn(line, "\r\n");
        if (length == sizeof line - 1)
            return hysgd_fail(HYSGD_INPUT, "%s:%lu: is longer than %zu characters: expected one time in seconds",
                              trace->path, number, sizeof line - 2);
        line[length] = 0;
        if (line[0] == '#' || line[0] == 0)
            continue;
        if (!options_read_real(line, &value) || value < 0 || value > 1e9)
            return hysgd_fail(HYSGD_INPUT, "%s:%lu: \"%s\" is not a time: expected seconds from 0 to 1e9",
                              trace->path, number, line);
        HYSGD_TRY(trace_add(trace, &capacity, value));
    }
    if (ferror(file))
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be read", trace->path);
    if (trace->count == 0)
        return hysgd_fail(HYSGD_INPUT, "%s: holds no times: expected one number of seconds a line", trace->path);
    return HYSGD_OK;
}

static enum hysgd_status trace_init(void *self) {
    struct trace *trace = self;
    if (trace->path[0] == 0)
        return hysgd_fail(HYSGD_USAGE, "distribution trace: no file given: expected trace:FILE");
    FILE *file = fopen(trace->path, "r");
    if (!file)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", trace->path, strerror(errno));
    enum hysgd_status status = trace_read(trace, file);
    fclose(file);
    return status;
}

static void trace_fini(void *self) {
    struct trace *trace = self;
    memory_free(trace->values);
    trace->values = NULL;
}

static double trace_draw(const void *self, struct random *random, uint64_t index) {
    const struct trace *trace = self;
    (void)random;
    return trace->values[index % trace->count];
}

static const struct distribution_ops distribution_trace = {
    .about = {"trace", NULL, "recorded times from a file", NULL, sizeof(struct trace), trace_options},
    .init = trace_init,
    .fini = trace_fini,
    .draw = trace_draw,
};

static const struct hysgd_plugin *const entries[] = {
    &distribution_constant.about,  &distribution_uniform.about,     &distribution_normal.about,
    &distribution_lognormal.about, &distribution_exponential.about, &distribution_pareto.about,
    &distribution_trace.about,
};

const struct plugin_list distribution_list = {"distribution", entries, sizeof entries / sizeof *entries};
