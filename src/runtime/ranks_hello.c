/* SPDX-License-Identifier: Apache-2.0 */
/* Each rank tells rank 0 what it is about to run, or why it cannot; rank 0 tells everyone what comes of it. The
 * directory of checkpoints is looked at in a second round: see ranks_hello.h. */
#include "runtime/ranks_hello.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/control.h"
#include "runtime/ranks.h"
#include "runtime/ranks_vigil.h"

/* First in every message: a program that says hello in another way is told from this one. */
#define MARK 0x48530002u

#define MOST_BYTES   ((uint64_t)1 << 30)
#define MOST_PATH    4096
#define MOST_MESSAGE 1536

#define TAG_HEAD (COMM_TAG_END - 1)
#define TAG_TEXT (COMM_TAG_END - 2)

/* What a rank says: this, and then a text, which ends with 0. After HYSGD_OK pairs of key and value, each ending
 * with 0, or from rank 0 the name of a file to look for; else the message of the failure. */
struct speech {
    uint32_t mark;
    int32_t status; /* enum hysgd_status */
    int32_t lost;   /* of rank 0: a rank that it has given up; 0: none */
    uint64_t bytes; /* of the text */
};

struct peer {
    struct hello *hello;
    int rank;
    struct speech speech;
    char *text;   /* [speech.bytes + 2], the last two 0 */
    int pending;  /* requests that are not complete */
    char why[64]; /* it is given up; "": it is not */
};

struct hello {
    struct comm *comm;
    struct ranks_vigil *vigil;
    const char *stage;  /* what a rank does that is late */
    struct peer *peers; /* [size] */
    int rank, size;
};

/* ---- Talking ---- */

static void is_done(void *self, const struct comm_completion *completion, size_t bytes) {
    struct peer *peer = self;
    (void)completion, (void)bytes;
    peer->pending--;
}

static bool is_given_up(const struct peer *peer) {
    return peer->why[0] != '\0';
}

static void give_up(struct peer *peer, const char *why) {
    snprintf(peer->why, sizeof peer->why, "%s", why);
    comm_abandon(peer->hello->comm, peer->rank);
}

static enum hysgd_status receive_text(struct peer *peer) {
    size_t bytes = (size_t)peer->speech.bytes;
    memory_free(peer->text);
    peer->text = NULL;
    HYSGD_TRY(memory_alloc(bytes + 2, 1, &peer->text));
    peer->pending++;
    return comm_receive(peer->hello->comm, peer->rank, TAG_TEXT, peer->text, bytes, is_done, peer);
}

static void head_has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct peer *peer = self;
    (void)completion;
    peer->pending--;
    if (bytes != sizeof peer->speech || peer->speech.mark != MARK || peer->speech.bytes == 0 ||
        peer->speech.bytes > MOST_BYTES)
        give_up(peer, "is another program");
    else if (receive_text(peer) != HYSGD_OK)
        give_up(peer, "says more than there is memory for");
}

static enum hysgd_status listen_to(struct peer *peer) {
    peer->pending++;
    return comm_receive(peer->hello->comm, peer->rank, TAG_HEAD, &peer->speech, sizeof peer->speech, head_has_come,
                        peer);
}

static enum hysgd_status say(struct peer *peer, const struct speech *speech, const char *text) {
    struct comm *comm = peer->hello->comm;
    if (is_given_up(peer))
        return HYSGD_OK;
    peer->pending += 2;
    HYSGD_TRY(comm_send(comm, peer->rank, TAG_HEAD, speech, sizeof *speech, is_done, peer));
    return comm_send(comm, peer->rank, TAG_TEXT, text, (size_t)speech->bytes, is_done, peer);
}

/* Until everyone has heard and been heard, or is given up. */
static enum hysgd_status wait_for_all(struct hello *hello) {
    for (;;) {
        int completed, pending = 0;
        HYSGD_TRY(ranks_vigil_step(hello->vigil));
        HYSGD_TRY(comm_progress(hello->comm, &completed));
        for (int i = 0; i < hello->size; i++) {
            struct peer *peer = &hello->peers[i];
            if (peer->pending == 0 || is_given_up(peer))
                continue;
            const char *fault = completed == 0 ? ranks_vigil_find_fault(hello->vigil, i) : NULL;
            if (fault != NULL)
                give_up(peer, fault);
            else
                pending++;
        }
        if (pending == 0)
            return HYSGD_OK;
        if (completed == 0)
            comm_rest(hello->comm);
    }
}

/* ---- Judging ---- */

static enum hysgd_status refuse_silent(const struct hello *hello, const struct peer *peer) {
    return hysgd_fail(HYSGD_FAILED, "rank %d on %s %s %s, and the run has not begun", peer->rank,
                      comm_host(hello->comm, peer->rank), peer->why, hello->stage);
}

static const char *after(const char *text) {
    return text + strlen(text) + 1;
}

/* No key is empty. */
static bool is_over(const char *pair, const char *end) {
    return pair >= end || pair[0] == '\0';
}

/* The keys are the same in the same order, unless the programs differ, which shows in the first pair. */
static enum hysgd_status compare(const struct hello *hello, const struct peer *peer, const char *own,
                                 size_t bytes) {
    const char *mine = own, *theirs = peer->text, *end = own + bytes, *their_end = theirs + peer->speech.bytes;
    while (!is_over(mine, end) && !is_over(theirs, their_end) && strcmp(mine, theirs) == 0) {
        const char *value = after(mine), *their_value = after(theirs); /* text has another 0 at its end */
        if (strcmp(value, their_value) != 0)
            return hysgd_fail(
                HYSGD_USAGE,
                "rank %d on %s has %s=%.300s, and rank 0 on %s has %s=%.300s: expected the same on all "
                "ranks",
                peer->rank, comm_host(hello->comm, peer->rank), theirs, their_value, comm_host(hello->comm, 0),
                mine, value);
        mine = after(value);
        theirs = after(their_value);
    }
    if (is_over(mine, end) && is_over(theirs, their_end))
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "rank %d on %s has other options than rank 0 on %s: expected the same program",
                      peer->rank, comm_host(hello->comm, peer->rank), comm_host(hello->comm, 0));
}

static enum hysgd_status status_of(const struct speech *speech) {
    bool is_known = speech->status >= HYSGD_OK && speech->status <= HYSGD_INTERRUPTED;
    return is_known ? (enum hysgd_status)speech->status : HYSGD_FAILED;
}

/* A rank that cannot begin says more than one that differs, whose difference may follow from it. */
static enum hysgd_status judge(const struct hello *hello, const char *own, size_t bytes) {
    for (int i = 1; i < hello->size; i++) {
        const struct peer *peer = &hello->peers[i];
        if (is_given_up(peer))
            return refuse_silent(hello, peer);
        enum hysgd_status status = status_of(&peer->speech);
        if (status != HYSGD_OK)
            return hysgd_fail(status, "rank %d on %s: %s", i, comm_host(hello->comm, i), peer->text);
    }
    for (int i = 1; i < hello->size; i++)
        HYSGD_TRY(compare(hello, &hello->peers[i], own, bytes));
    return HYSGD_OK;
}

/* ---- The directory of checkpoints ---- */

/* A file that only this run has: who sees it sees the directory of rank 0. Made by rank 0, which tells its name. */
struct token {
    const char *save_path; /* NULL: no checkpoints */
    char path[MOST_PATH];
    const char *name; /* its last part; "" while there is no file */
};

static enum hysgd_status beside(const char *save_path, const char *name, char path[MOST_PATH]) {
    const char *slash = strrchr(save_path, '/');
    int length = slash != NULL ? (int)(slash - save_path) + 1 : 0;
    if (snprintf(path, MOST_PATH, "%.*s%s", length, save_path, name) >= MOST_PATH)
        return hysgd_fail(HYSGD_USAGE, "save=%s is too long for a path", save_path);
    return HYSGD_OK;
}

static enum hysgd_status token_make(struct token *token) {
    HYSGD_TRY(beside(token->save_path, ".hysgd-begins-XXXXXX", token->path));
    int file = mkostemp(token->path, O_CLOEXEC);
    if (file < 0)
        return hysgd_fail(HYSGD_USAGE, "save=%s: its directory cannot be written to: %s", token->save_path,
                          strerror(errno));
    close(file);
    token->name = strrchr(token->path, '.');
    return HYSGD_OK;
}

static void token_remove(struct token *token) {
    if (token->name[0] != '\0')
        unlink(token->path);
}

static enum hysgd_status token_look_for(const char *save_path, const char *name) {
    char path[MOST_PATH];
    HYSGD_TRY(beside(save_path, name, path));
    if (access(path, F_OK) != 0)
        return hysgd_fail(HYSGD_USAGE,
                          "save=%s: its directory is not the one of rank 0: expected one that all ranks with "
                          "parameters share",
                          save_path);
    HYSGD_TRY(beside(save_path, ".", path));
    if (access(path, W_OK | X_OK) != 0)
        return hysgd_fail(HYSGD_USAGE, "save=%s: its directory cannot be written to: %s", save_path,
                          strerror(errno));
    return HYSGD_OK;
}

/* ---- A round ---- */

/* What this rank has to say. */
struct saying {
    struct speech speech;
    const char *text; /* [speech.bytes], borrowed */
    char failure[MOST_MESSAGE];
};

/* `text` counts only when all is well. */
static void compose(struct saying *saying, enum hysgd_status status, const char *text, size_t bytes) {
    if (status != HYSGD_OK) {
        snprintf(saying->failure, sizeof saying->failure, "%s", hysgd_error_message());
        text = saying->failure;
        bytes = strlen(text) + 1;
    }
    saying->text = text;
    saying->speech = (struct speech){.mark = MARK, .status = (int32_t)status, .bytes = bytes};
}

static enum hysgd_status fail_as(const struct saying *saying) {
    enum hysgd_status status = status_of(&saying->speech);
    if (status != HYSGD_OK)
        status_set_message(saying->text);
    return status;
}

/* At rank 0. `token`: made when all is well, and its name told to the others; NULL: not wanted. */
static enum hysgd_status lead(struct hello *hello, const struct saying *own, struct token *token) {
    struct saying answer;
    for (int i = 1; i < hello->size; i++)
        HYSGD_TRY(listen_to(&hello->peers[i]));
    HYSGD_TRY(wait_for_all(hello));
    enum hysgd_status status = fail_as(own);
    if (status == HYSGD_OK)
        status = judge(hello, own->text, (size_t)own->speech.bytes);
    if (status == HYSGD_OK && token != NULL && token->save_path != NULL)
        status = token_make(token);
    const char *name = token != NULL ? token->name : "";
    compose(&answer, status, name, strlen(name) + 1);
    for (int i = hello->size - 1; i > 0; i--)
        if (is_given_up(&hello->peers[i]))
            answer.speech.lost = i;
    for (int i = 1; i < hello->size; i++)
        HYSGD_TRY(say(&hello->peers[i], &answer.speech, answer.text));
    HYSGD_TRY(wait_for_all(hello));
    return fail_as(&answer);
}

/* Elsewhere. The answer is what peers[0] has said. */
static enum hysgd_status follow(struct hello *hello, const struct saying *own) {
    struct peer *first = &hello->peers[0];
    HYSGD_TRY(listen_to(first));
    HYSGD_TRY(say(first, &own->speech, own->text));
    HYSGD_TRY(wait_for_all(hello));
    if (is_given_up(first))
        return refuse_silent(hello, first);
    int lost = first->speech.lost;
    if (lost > 0 && lost < hello->size && lost != hello->rank)
        give_up(&hello->peers[lost], "is lost to rank 0"); /* nobody waits for it when the group is left */
    enum hysgd_status status = status_of(&first->speech);
    return status == HYSGD_OK ? HYSGD_OK : hysgd_fail(status, "%s", first->text);
}

static enum hysgd_status take_round(struct hello *hello, const struct saying *own, struct token *token) {
    return hello->rank == 0 ? lead(hello, own, token) : follow(hello, own);
}

/* ---- The whole ---- */

/* Pairs of key and value, each ending with 0; of none, an empty text. To be freed. */
static enum hysgd_status pack(const struct runtime_facts *facts, char **text_out, size_t *bytes_out) {
    size_t bytes = 0, count = facts != NULL ? facts->count : 0;
    char *text;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(facts->pairs[i][0]) + strlen(facts->pairs[i][1]) + 2;
    HYSGD_TRY(memory_alloc(bytes + 1, 1, &text));
    char *at = text;
    for (size_t i = 0; i < count; i++)
        for (int j = 0; j < 2; j++)
            at = stpcpy(at, facts->pairs[i][j]) + 1;
    *text_out = text;
    *bytes_out = bytes > 0 ? bytes : 1;
    return HYSGD_OK;
}

static bool writes_checkpoints(const struct hello *hello, const struct ranks_options *options) {
    return options->servers == 0 || hello->rank >= hello->size - options->servers;
}

static enum hysgd_status look_for_directory(struct hello *hello, const struct ranks_options *options,
                                            const struct token *token) {
    struct saying own;
    const char *name = hello->rank == 0 ? token->name : hello->peers[0].text;
    enum hysgd_status status = HYSGD_OK;
    if (name[0] == '\0')
        return HYSGD_OK;
    if (writes_checkpoints(hello, options))
        status = token_look_for(token->save_path, name);
    compose(&own, status, "", 1);
    return take_round(hello, &own, NULL);
}

static enum hysgd_status meet(struct hello *hello, const struct ranks_options *options, enum hysgd_status status,
                              const struct runtime_facts *facts) {
    struct saying own;
    struct token token = {.save_path = facts != NULL ? facts->save_path : NULL, .name = ""};
    char *text = NULL;
    size_t bytes = 0;
    if (status == HYSGD_OK)
        status = pack(facts, &text, &bytes);
    compose(&own, status, text, bytes);
    status = take_round(hello, &own, &token);
    if (status == HYSGD_OK)
        status = look_for_directory(hello, options, &token);
    token_remove(&token);
    memory_free(text);
    return status;
}

static enum hysgd_status check_recovery(const struct ranks_options *options) {
    if (comm_outlives_deaths())
        return HYSGD_OK;
    if (ranks_may_grow(options))
        return hysgd_fail(
            HYSGD_USAGE,
            "runtime mpi: control=%s: mpirun ends all ranks with a process that cannot join: expected "
            "mpirun --enable-recovery",
            options->control);
    if (options->tolerate == 0)
        return HYSGD_OK;
    return hysgd_fail(
        HYSGD_USAGE,
        "runtime mpi: tolerate=%lld: mpirun ends all ranks with the first that is lost: expected mpirun "
        "--enable-recovery",
        (long long)options->tolerate);
}

/* A group of its own for this thread, unless the run has one already. */
static enum hysgd_status open_group(struct ranks_options *options, enum hysgd_status status) {
    char message[MOST_MESSAGE];
    if (options->comm != NULL)
        return status;
    if (status == HYSGD_OK)
        status = check_recovery(options);
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    enum hysgd_status opened = comm_open(ranks_may_grow(options), &options->comm);
    if (opened != HYSGD_OK)
        options->comm = NULL;
    if (status != HYSGD_OK)
        status_set_message(message);
    return status != HYSGD_OK ? status : opened;
}

/* After the group is left, so that nobody writes to this memory any more. */
static void fini(struct hello *hello) {
    for (int i = 0; i < hello->size; i++)
        memory_free(hello->peers[i].text);
    memory_free(hello->peers);
}

/* Whether no rank is left that would report before this one does. */
static bool is_lowest(const struct hello *hello) {
    for (int i = 0; i < hello->rank; i++)
        if (hello->size == 0 || (!is_given_up(&hello->peers[i]) && !comm_peer_has_died(hello->comm, i)))
            return false;
    return true;
}

/* The first to give signs of life, the others to hear them; until then nobody is silent. */
static enum hysgd_status init(struct hello *hello, struct ranks_options *options) {
    hello->comm = options->comm;
    hello->rank = comm_rank(hello->comm);
    if (options->vigil == NULL)
        HYSGD_TRY(ranks_vigil_open(hello->comm, options->patience, &options->vigil));
    hello->vigil = options->vigil;
    HYSGD_TRY(memory_alloc((size_t)comm_size(hello->comm), sizeof *hello->peers, &hello->peers));
    hello->size = comm_size(hello->comm);
    for (int i = 0; i < hello->size; i++)
        hello->peers[i] = (struct peer){.hello = hello, .rank = i};
    return HYSGD_OK;
}

static const char *stage_of(struct ranks_options *options, const struct runtime_facts *facts) {
    const char *stage = options->has_compared ? "before its first gradient" : "when it had just been started";
    if (facts == NULL)
        return stage;
    options->has_compared = true;
    return "while it read its data";
}

/* For those who join later. */
static enum hysgd_status keep_facts(struct ranks_options *options, const struct runtime_facts *facts) {
    if (facts == NULL || !ranks_may_grow(options) || options->facts != NULL)
        return HYSGD_OK;
    return pack(facts, &options->facts, &options->facts_bytes);
}

/* Nothing of it is left open. */
static void leave_group(struct ranks_options *options, bool is_complete) {
    comm_close(options->comm, is_complete);
    ranks_vigil_close(options->vigil);
    control_close(options->door);
    memory_free(options->facts);
    options->comm = NULL;
    options->vigil = NULL;
    options->door = NULL;
    options->facts = NULL;
}

enum hysgd_status ranks_agree(void *self, enum hysgd_status status, const struct runtime_facts *facts) {
    struct ranks_options *options = self;
    struct hello hello = {.stage = stage_of(options, facts)};
    char message[MOST_MESSAGE];
    ranks_vigil_stop(options->vigil);
    if (comm_is_admitted() && options->comm == NULL) { /* nor has it come to what it was started for */
        snprintf(message, sizeof message, "%s", hysgd_error_message());
        if (ranks_newcomer_enter(options) == HYSGD_OK)
            status_set_message(message);
    }
    status = open_group(options, status);
    if (options->comm == NULL)
        return status;
    if (status == HYSGD_OK)
        status = keep_facts(options, facts);
    if (ranks_newcomer_invitation(options) != NULL)
        return ranks_newcomer_agree(options, status);
    if (status == HYSGD_OK && ranks_may_grow(options) && comm_rank(options->comm) == 0 && options->door == NULL)
        status = control_open(options->control, false, &options->door);
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    enum hysgd_status can_talk = init(&hello, options);
    bool is_complete = can_talk == HYSGD_OK;
    if (can_talk == HYSGD_OK) {
        status_set_message(message);
        status = meet(&hello, options, status, facts);
    } else {
        status = can_talk;
    }
    for (int i = 0; i < hello.size; i++)
        is_complete = is_complete && !is_given_up(&hello.peers[i]);
    options->reports = is_complete ? false : is_lowest(&hello);
    if (status == HYSGD_OK)
        status = ranks_vigil_start(options->vigil);
    if (status != HYSGD_OK)
        leave_group(options, is_complete);
    fini(&hello);
    return status;
}
