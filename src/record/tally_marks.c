/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts that are kept for going back: see tally_marks.h. Memory is taken once, so that going back cannot fail.
 */
#include "record/tally_marks.h"

#include <string.h>

#include "base/memory.h"

/* The run goes back to one of the latest copies that all ranks had, or to its latest checkpoint. */
enum { BEGINNING, FIRST_COPY, MOST_COPIES = 8, FIRST_CHECKPOINT = FIRST_COPY + MOST_COPIES, MOST_CHECKPOINTS = 2 };
enum { MOST_MARKS = FIRST_CHECKPOINT + MOST_CHECKPOINTS };

struct mark {
    bool is_set;
    uint64_t events;
    struct tally tally; /* without marks of its own */
};

struct tally_marks {
    struct mark marks[MOST_MARKS];
    size_t copies, checkpoints; /* set so far; the oldest gives way */
};

/* What was undone stays so. */
static void copy_tally(struct tally *to, const struct tally *from) {
    struct tally kept = *to;
    size_t workers = (size_t)from->workers;
    for (size_t i = 0; i < workers; i++) {
        uint64_t undone = kept.accounts[i].undone;
        kept.accounts[i] = from->accounts[i];
        kept.accounts[i].undone = undone;
    }
    memcpy(kept.states, from->states, workers * sizeof *kept.states);
    memcpy(kept.contributors, from->contributors, workers * sizeof *kept.contributors);
    attribution_copy(&kept.attribution, &from->attribution);
    *to = *from;
    to->accounts = kept.accounts;
    to->states = kept.states;
    to->contributors = kept.contributors;
    to->attribution = kept.attribution;
    to->marks = kept.marks;
}

static void set(struct mark *mark, const struct tally *tally, uint64_t events) {
    copy_tally(&mark->tally, tally);
    mark->events = events;
    mark->is_set = true;
}

enum hysgd_status tally_marks_alloc(const struct event_run *run, struct tally_marks **marks_out) {
    struct tally_marks *marks;
    HYSGD_TRY(memory_alloc(1, sizeof *marks, &marks));
    enum hysgd_status status = HYSGD_OK;
    for (int i = 0; i < MOST_MARKS && status == HYSGD_OK; i++)
        status = tally_init_unmarked(&marks->marks[i].tally, run);
    if (status != HYSGD_OK) {
        tally_marks_free(marks);
        return status;
    }
    marks->marks[BEGINNING].is_set = run->first_event == 0;
    for (int i = 0; i < run->workers; i++)
        marks->marks[BEGINNING].tally.states[i].is_under_way = true; /* all begin */
    *marks_out = marks;
    return HYSGD_OK;
}

void tally_marks_free(struct tally_marks *marks) {
    if (marks == NULL)
        return;
    for (int i = 0; i < MOST_MARKS; i++)
        tally_fini(&marks->marks[i].tally);
    memory_free(marks);
}

void tally_marks_set(struct tally_marks *marks, const struct tally *tally, bool is_copy) {
    size_t place = is_copy ? FIRST_COPY + marks->copies++ % MOST_COPIES
                           : FIRST_CHECKPOINT + marks->checkpoints++ % MOST_CHECKPOINTS;
    set(&marks->marks[place], tally, tally->events - 1);
}

bool tally_marks_go_back(const struct tally_marks *marks, uint64_t events, struct tally *tally) {
    for (int i = 0; i < MOST_MARKS; i++)
        if (marks->marks[i].is_set && marks->marks[i].events == events) {
            copy_tally(tally, &marks->marks[i].tally);
            return true;
        }
    return false;
}
