/* SPDX-License-Identifier: Apache-2.0 */
/* Says what a run is in pairs of key and value, for the runtime to compare: see meeting.h. */
#include "train/meeting.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/memory.h"
#include "runtime/comm.h"
#include "runtime/runtime.h"
#include "train/identity.h"

/* Pairs besides the words of the run. */
#define OWN_PAIRS 4

/* What the own pairs point to. */
struct facts {
    char program[IDENTITY_PROGRAM_BYTES], data[64], start[80];
    const char *(*pairs)[2]; /* [count] */
    size_t count;
};

static void add(struct facts *facts, const char *key, const char *value) {
    facts->pairs[facts->count][0] = key;
    facts->pairs[facts->count++][1] = value;
}

/* The program first: keys of the rest are those of equal programs. Files that are read or written are found by what
 * they are, except where a checkpoint goes. */
static enum hysgd_status collect(const struct run *run, struct facts *facts) {
    const struct hysgd_progress *progress = &run->training.engine.progress;
    struct identity identity;
    HYSGD_TRY(memory_alloc(run->pairs.lasting + OWN_PAIRS, sizeof *facts->pairs, &facts->pairs));
    HYSGD_TRY(identity_of_data(&run->resolved->data, &identity));
    identity_of_program(facts->program);
    snprintf(facts->data, sizeof facts->data, "%08" PRIx64 "/%08" PRIx64, identity.train, identity.test);
    snprintf(facts->start, sizeof facts->start, "version %" PRIu64 " after %" PRIu64 " gradients",
             progress->version, progress->received);
    add(facts, "program", facts->program);
    for (size_t i = 0; i < run->pairs.lasting; i++)
        add(facts, run->pairs.pairs[i][0], run->pairs.pairs[i][1]);
    add(facts, "data checksum", facts->data);
    add(facts, "start", facts->start);
    add(facts, "save", run->resolved->description.save);
    return HYSGD_OK;
}

enum hysgd_status meeting_compare(const struct run *run, enum hysgd_status status) {
    const struct plugin *runtime = &run->runtime;
    const char *save_path = run->resolved->description.save;
    struct facts facts = {.pairs = NULL};
    if (runtime_ops(runtime)->agree == NULL)
        return status;
    if (status == HYSGD_OK)
        status = collect(run, &facts);
    const struct runtime_facts told = {.pairs = (const char *const(*)[2])facts.pairs,
                                       .count = facts.count,
                                       .save_path = save_path[0] != '\0' ? save_path : NULL};
    status = runtime_ops(runtime)->agree(runtime->self, status, &told);
    memory_free(facts.pairs);
    return status;
}

enum hysgd_status meeting_confirm(const struct plugin *runtime, enum hysgd_status status) {
    const struct runtime_ops *ops = runtime_ops(runtime);
    return ops->agree != NULL ? ops->agree(runtime->self, status, NULL) : status;
}

/* The runtime that this process would have had. Keeps the calling thread's message. */
static bool open_runtime(const struct description *words, struct plugin *runtime_out) {
    char message[1536];
    int ranks;
    if (!comm_is_admitted() && (!comm_is_launched(NULL, &ranks) || ranks < 2))
        return false;
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    const char *word = description_is_given(words, "runtime") ? words->runtime : "mpi";
    bool is_open = plugin_open(&runtime_list, word, runtime_out) == HYSGD_OK ||
                   plugin_open(&runtime_list, "mpi", runtime_out) == HYSGD_OK;
    status_set_message(message);
    return is_open;
}

enum hysgd_status meeting_decline(const struct plugin *runtime, const struct description *words,
                                  enum hysgd_status status) {
    struct plugin opened = {.ops = NULL};
    if (runtime->ops != NULL)
        return meeting_confirm(runtime, status);
    if (!open_runtime(words, &opened))
        return status;
    status = meeting_confirm(&opened, status);
    plugin_close(&opened);
    return status;
}

bool meeting_is_first(const struct plugin *runtime, const struct description *words) {
    struct runtime_place place = {.reports = true};
    struct plugin opened = {.ops = NULL};
    if (runtime->ops == NULL && open_runtime(words, &opened))
        runtime = &opened;
    if (runtime->ops != NULL && runtime_ops(runtime)->place != NULL)
        runtime_ops(runtime)->place(runtime->self, &place);
    plugin_close(&opened);
    return place.reports;
}
