/* SPDX-License-Identifier: Apache-2.0 */
/* The option table of a run, and keeping, copying and printing the words that it reads. Knows no word's meaning. */
#include "train/description.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "lowrank/blocks.h"

#define AT(field) offsetof(struct description, field)
#define TEXT      HYSGD_OPTION_TEXT
#define INT       HYSGD_OPTION_INT
#define REAL      HYSGD_OPTION_REAL
#define CHOICE    HYSGD_OPTION_CHOICE

/* clang-format off */
const struct hysgd_option description_options[] = {
    {"data", TEXT, AT(data), "digits", 0, 0, NULL, "what to train on (hysgd list data)"},
    {"model", TEXT, AT(model), "lenet", 0, 0, NULL,
     "a model (hysgd list models), or layers: \"dense 100, relu, dense 10\""},
    {"scheduler", TEXT, AT(scheduler), "", 0, 0, NULL,
     "model factors: which thread works on which block of the ratings, a rating at a time (hysgd list schedulers); a2psgd "
     "unless a policy is given; none: a policy trains, on batches"},
    {"balance", CHOICE, AT(balance), "heaviest", 0, 0, BLOCKS_BALANCE_WORDS,
     "with a scheduler: how rows and columns are dealt to blocks: equal numbers in natural or random order; a block is closed "
     "when it has its share of the ratings; the heaviest to the lightest block"},
    {"deterministic", HYSGD_OPTION_BOOL, AT(is_deterministic), "no", 0, 0, NULL,
     "with a scheduler: the same result, to the last bit, with any number of workers"},
    {"layout", TEXT, AT(layout), "", 0, 0, NULL,
     "with a scheduler: keep the ratings as they are laid out in this file, and read them from there the next time that the "
     "data, the blocks and the rank are the same"},
    {"stream", HYSGD_OPTION_BOOL, AT(is_streamed), "no", 0, 0, NULL,
     "with a scheduler: leave the ratings in the file of layout and read them from there in every epoch"},
    {"stop-early", INT, AT(stop_early), "0", 0, 1e6, NULL,
     "with a scheduler: stop when so many evaluations on the validation part of the data were no better than the best, and "
     "keep the model of the best; 0: never"},
    {"policy", TEXT, AT(policy), "sync", 0, 0, NULL,
     "when gradients are applied and who waits for whom (hysgd list policies)"},
    {"optimizer", TEXT, AT(optimizer), "sgd", 0, 0, NULL,
     "how an update changes the parameters, with its learning rate (hysgd list optimizers)"},
    {"correction", TEXT, AT(correction), "none", 0, 0, NULL,
     "what is done to a gradient that comes late before it counts (hysgd list corrections)"},
    {"local", TEXT, AT(local), "off", 0, 0, NULL,
     "steps that a worker takes with an optimizer of its own before it delivers the difference (hysgd list local)"},
    {"local-optimizer", TEXT, AT(local_optimizer), "", 0, 0, NULL,
     "of the workers' local steps; optimizer is then the server's, with sgd,rate=1 (averaging) as its default. Where it "
     "is not given, the workers take optimizer, and the server averages"},
    {"wire", TEXT, AT(wire), "fp32", 0, 0, NULL,
     "what gradients travel as, in every runtime: fp32; bf16; or int8, whose losses a worker adds to its next gradient "
     "(hysgd list wires)"},
    {"runtime", TEXT, AT(runtime), "threads", 0, 0, NULL,
     "threads: real time on this machine; virtual: modelled time, repeatable (hysgd list runtimes)"},
    {"servers", TEXT, AT(servers), "", 0, 0, NULL,
     "runtime mpi: so many ranks, the last ones, hold the parameters and compute nothing; by default every rank does both"},
    {"tolerate", TEXT, AT(tolerate), "", 0, 0, NULL,
     "runtime mpi: so many ranks may be lost before the run fails; 0 by default; Open MPI's mpirun then needs "
     "--enable-recovery"},
    {"patience", TEXT, AT(patience), "", 0, 0, NULL,
     "runtime mpi: seconds of silence after which a rank counts as lost; 10 by default"},
    {"copies", TEXT, AT(copies), "", 0, 0, NULL,
     "runtime mpi, with tolerate: updates from one copy of the parameters in the memory of other ranks to the next; 100 by "
     "default"},
    {"control", TEXT, AT(control), "", 0, 0, NULL,
     "runtime mpi: the run makes a socket at this path, where `hysgd join` asks for one more worker; needs Open MPI and "
     "mpirun --enable-recovery"},
    {"combine", HYSGD_OPTION_CHOICE, AT(combine), "mean", 0, 0, "mean|sum",
     "mean: the gradients of an update are averaged, the step is the learning rate however many there are; sum: they "
     "are added up, which multiplies the effective learning rate by their number"},
    {"staleness-weight", HYSGD_OPTION_CHOICE, AT(staleness_weight), "none", 0, 0, "none|inverse|polynomial",
     "what the staleness T of a gradient, in versions, multiplies it with: 1; 1 / max(1, T); or (1 + T) to the power of "
     "minus staleness-exponent; combine=mean divides by the number of gradients all the same"},
    {"staleness-exponent", REAL, AT(staleness_exponent), "0.5", 0, 100, NULL,
     "of staleness-weight=polynomial; 0 is none"},
    {"workers", INT, AT(workers), "0", 0, 65536, NULL,
     "how many compute gradients; 0: one per core, or 8 in modelled time"},
    {"spare", INT, AT(spare), "0", 0, 65536, NULL,
     "places for workers that are not there at the beginning and may join, with the numbers after those of workers; for "
     "policies they are workers that are lost. Who joins gets training samples from those who have the most: on the place "
     "of a lost worker as many as that had, first of all the same ones, else a fair share"},
    {"batch", INT, AT(batch), "32", 1, 1e9, NULL, "samples per gradient"},
    {"micro-batch", INT, AT(micro_batch), "0", 0, 1e9, NULL,
     "samples of a gradient computed at a time, of which batch is a multiple: needs less memory, and a worker can give up "
     "a gradient in between (policies backup,cancel=yes and timeout); 0: the whole batch"},
    {"partition", TEXT, AT(partition), "iid", 0, 0, NULL,
     "which worker has which training samples: iid, contiguous, or dirichlet,alpha=A for unequal classes (hysgd list "
     "partitions)"},
    {"orphans", HYSGD_OPTION_CHOICE, AT(orphans), "share", 0, 0, "share|skip",
     "what becomes of the training samples of a worker that is lost: share: those that are left take them over, in "
     "equal parts, from their next batch on; skip: nobody trains on them any more"},
    {"worker-weights", TEXT, AT(worker_weights), "none", 0, 0, NULL,
     "what the gradients of each worker are multiplied with: none; samples: in proportion to its number of training "
     "samples, so that the mean over all workers is the gradient of the whole training data; or a weight for each, "
     "\"2,1,1\" or \"2x2,4x1\", relative to their mean; combine=mean divides by the number of gradients all the same"},
    {"epochs", REAL, AT(epochs), "0", 0, 1e9, NULL,
     "stop after so many passes over the training data; 0: no such limit, but 3 where no limit at all is given, and 20 under a "
     "scheduler (200 with stop-early)"},
    {"deadline", REAL, AT(deadline), "0", 0, 1e12, NULL,
     "stop after so many seconds on the run's clock; 0: no such limit"},
    {"updates", INT, AT(updates), "0", 0, 1e15, NULL, "stop after so many updates; 0: no such limit"},
    {"gradients", INT, AT(gradients), "0", 0, 1e15, NULL, "stop after so many gradients; 0: no such limit"},
    {"target", TEXT, AT(target), "", 0, 0, NULL,
     "stop when the test data show accuracy=A (0 to 1) or loss=L; of both, the one that is reached first"},
    {"goes-on-at-target", HYSGD_OPTION_BOOL, AT(goes_on_at_target), "no", 0, 0, NULL,
     "only note when the target was reached, and go on to the limit"},
    {"eval-every", TEXT, AT(eval_every), "epochs=1", 0, 0, NULL,
     "how often to evaluate on the test data: epochs=N (or just N), seconds=N, updates=N, gradients=N; never: at the "
     "end only"},
    {"eval-limit", INT, AT(eval_limit), "0", 0, 1e12, NULL, "evaluate on the first so many test samples; 0: all"},
    {"eval-batch", INT, AT(eval_batch), "256", 1, 1e6, NULL, "samples evaluated at a time"},
    {"seed", INT, AT(seed), "1", 0, 9007199254740992.0, NULL, "names every random choice of the run"},
    {"speeds", TEXT, AT(speeds), "", 0, 0, NULL,
     "relative speeds of the workers, \"1,1,0.5\" or \"4x1,4x0.25\"; by default all 1"},
    {"compute", TEXT, AT(compute), "", 0, 0, NULL,
     "modelled time only: seconds per gradient at speed 1, a distribution (hysgd list distributions)"},
    {"delay", TEXT, AT(delay), "", 0, 0, NULL,
     "network delay of a gradient: [WHO,]DISTRIBUTION, several joined by ';', WHO being all, half, one or workers such "
     "as 3 or 2-5"},
    {"receive", TEXT, AT(receive), "", 0, 0, NULL,
     "modelled time only: seconds of the server per gradient, a distribution"},
    {"apply", TEXT, AT(apply), "", 0, 0, NULL,
     "modelled time only: seconds of the server per update, a distribution"},
    {"lose", TEXT, AT(lose), "", 0, 0, NULL, "workers that leave, to try out faults: WORKER@SECONDS,..."},
    {"join", TEXT, AT(join), "", 0, 0, NULL,
     "workers that take part again after they left, or for the first time on one of the spare places, to try that out: "
     "WORKER@SECONDS,...; under runtime=mpi `hysgd join` does it instead"},
    {"save", TEXT, AT(save), "", 0, 0, NULL, "write a checkpoint to this file at the end"},
    {"save-every", TEXT, AT(save_every), "never", 0, 0, NULL, "also on the way, as often as this (see eval-every)"},
    {"resume", TEXT, AT(resume), "", 0, 0, NULL,
     "continue from this checkpoint; data, model, policy, optimizer, runtime, seed and the like are those of the "
     "checkpoint unless given, limits and files are not"},
    {"log", TEXT, AT(log), "", 0, 0, NULL, "write every event to this file: compact, for replay, advise and export; as JSON lines where its name ends in .jsonl"},
    {"csv", TEXT, AT(csv), "", 0, 0, NULL, "write a row per evaluation to this file"},
    {"tensorboard", TEXT, AT(tensorboard), "", 0, 0, NULL,
     "write curves and histograms to a new file in this directory, for TensorBoard"},
    {"trace", TEXT, AT(trace), "", 0, 0, NULL,
     "write what every worker and the server did when to this file, for ui.perfetto.dev"},
    {"report", TEXT, AT(report), "", 0, 0, NULL, "write curves and timelines to this HTML file"},
    {"serve", TEXT, AT(serve), "", 0, 0, NULL,
     "show the same report while the run goes on, at http://127.0.0.1:PORT/, and metrics for Prometheus at /metrics: "
     "[ADDRESS:]PORT"},
    {0},
};
/* clang-format on */

enum hysgd_status description_init(struct description *description) {
    memset(description, 0, sizeof *description);
    return options_init(description_options, description);
}

void description_fini(struct description *description) {
    options_fini(description_options, description);
}

/* The bit of the option in `given`; 0 when there is no such option. */
static uint64_t bit_of(const char *key) {
    for (size_t i = 0; description_options[i].key != NULL; i++)
        if (strcmp(description_options[i].key, key) == 0)
            return UINT64_C(1) << i;
    return 0;
}

enum hysgd_status description_set(struct description *description, const char *key, const char *value) {
    HYSGD_TRY(options_set(description_options, description, "run", key, value));
    description->given |= bit_of(key);
    return HYSGD_OK;
}

bool description_is_given(const struct description *description, const char *key) {
    return (description->given & bit_of(key)) != 0;
}

enum hysgd_status description_set_default(struct description *description, const char *key, const char *value) {
    if (description_is_given(description, key))
        return HYSGD_OK;
    return options_set(description_options, description, "run", key, value);
}

enum hysgd_status description_clear(struct description *description, const char *key) {
    const struct hysgd_option *option = description_options;
    while (option->key != NULL && strcmp(option->key, key) != 0)
        option++;
    description->given &= ~bit_of(key);
    return option->key != NULL ? options_set(description_options, description, "run", key, option->initial)
                               : HYSGD_OK;
}

static char **text_field(const struct hysgd_option *option, struct description *description) {
    return (char **)((char *)description + option->offset);
}

static const char *text_value(const struct hysgd_option *option, const struct description *description) {
    return *(char *const *)((const char *)description + option->offset);
}

enum hysgd_status description_copy(const struct description *description, struct description *copy_out) {
    *copy_out = *description;
    /* No text may be shared from here on, so that the copy can be freed however far this comes. */
    for (const struct hysgd_option *option = description_options; option->key != NULL; option++)
        if (option->type == HYSGD_OPTION_TEXT)
            *text_field(option, copy_out) = NULL;
    for (const struct hysgd_option *option = description_options; option->key != NULL; option++)
        if (option->type == HYSGD_OPTION_TEXT)
            HYSGD_TRY(memory_copy_text(text_value(option, description), text_field(option, copy_out)));
    return HYSGD_OK;
}

void description_replace(char **field, char *text) {
    memory_free(*field);
    *field = text;
}

/* The value as description_set reads it: texts as they are, without the quotes that a list of options needs. */
static enum hysgd_status copy_value(const struct hysgd_option *option, const struct description *description,
                                    char **text_out) {
    if (option->type == HYSGD_OPTION_TEXT)
        return memory_copy_text(text_value(option, description), text_out);
    char buffer[128] = "";
    FILE *out = fmemopen(buffer, sizeof buffer, "w");
    if (out == NULL)
        return hysgd_fail(HYSGD_MEMORY, "no memory to print the option %s", option->key);
    options_print_value(option, description, out);
    fclose(out);
    return memory_copy_text(buffer, text_out);
}

enum hysgd_status description_is_changed(const struct description *description, const char *key,
                                         bool *is_changed_out) {
    const struct hysgd_option *option = description_options;
    char *text;
    while (option->key != NULL && strcmp(option->key, key) != 0)
        option++;
    *is_changed_out = false;
    if (option->key == NULL || !description_is_given(description, key))
        return HYSGD_OK;
    HYSGD_TRY(copy_value(option, description, &text));
    *is_changed_out = strcmp(text, option->initial) != 0;
    memory_free(text);
    return HYSGD_OK;
}

static bool is_file(const char *key) {
    static const char *const files[] = {"save", "resume", "log", "csv", "tensorboard", "trace", "report", "serve"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (strcmp(files[i], key) == 0)
            return true;
    return false;
}

static enum hysgd_status add_pairs(struct description_pairs *pairs, const struct description *description,
                                   bool are_files) {
    for (const struct hysgd_option *option = description_options; option->key != NULL; option++) {
        char *text = NULL;
        if (is_file(option->key) != are_files)
            continue;
        HYSGD_TRY(copy_value(option, description, &text));
        pairs->pairs[pairs->count][0] = option->key;
        pairs->pairs[pairs->count++][1] = text;
    }
    return HYSGD_OK;
}

enum hysgd_status description_pairs_init(struct description_pairs *pairs, const struct description *description) {
    memset(pairs, 0, sizeof *pairs);
    HYSGD_TRY(memory_alloc(options_count(description_options), sizeof *pairs->pairs, &pairs->pairs));
    HYSGD_TRY(add_pairs(pairs, description, false));
    pairs->lasting = pairs->count;
    return add_pairs(pairs, description, true);
}

void description_pairs_fini(struct description_pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++)
        memory_free((void *)(uintptr_t)pairs->pairs[i][1]);
    memory_free(pairs->pairs);
    memset(pairs, 0, sizeof *pairs);
}
