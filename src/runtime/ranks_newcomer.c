/* SPDX-License-Identifier: Apache-2.0 */
/* A rank that joins a run that goes on, from its first word to its place among the others; what they do meanwhile
 * is in ranks_join.c. */
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/memory.h"
#include "runtime/ranks.h"

/* Seconds that the run may take to answer; and to take note that the process cannot join. */
#define MOST_SECONDS         120.0
#define MOST_REFUSAL_SECONDS 10.0

enum hysgd_status ranks_newcomer_enter(struct ranks_options *options) {
    size_t bytes;
    if (!comm_is_admitted() || options->comm)
        return HYSGD_OK;
    HYSGD_TRY(comm_open(true, &options->comm));
    comm_welcome(options->comm, &bytes);
    return bytes == sizeof(struct ranks_invitation)
               ? HYSGD_OK
               : hysgd_fail(HYSGD_FAILED, "the run that has started this process is of another version");
}

const struct ranks_invitation *ranks_newcomer_invitation(const struct ranks_options *options) {
    size_t bytes;
    const void *welcome = options->comm ? comm_welcome(options->comm, &bytes) : NULL;
    return welcome && bytes == sizeof(struct ranks_invitation) ? welcome : NULL;
}

/* ---- Waiting ---- */

struct awaited {
    int missing;
    size_t bytes;
};

static void has_come(void *self, const struct comm_completion *completion, size_t bytes) {
    struct awaited *awaited = self;
    (void)completion;
    awaited->missing--;
    awaited->bytes = bytes;
}

static enum hysgd_status wait_for(struct comm *comm, int leader, double seconds, const struct awaited *awaited) {
    double until = machine_seconds() + seconds;
    while (awaited->missing > 0) {
        int completed;
        HYSGD_TRY(comm_progress(comm, &completed));
        if (completed > 0)
            continue;
        if (comm_peer_has_died(comm, leader) || machine_seconds() > until)
            return hysgd_fail(HYSGD_FAILED, "the run does not answer: rank %d on %s is lost", leader,
                              comm_host(comm, leader));
        comm_rest(comm);
    }
    return HYSGD_OK;
}

/* ---- Hello ---- */

static enum hysgd_status make_hello(enum hysgd_status status, const char *text, size_t bytes,
                                    struct message_hello **hello_out) {
    HYSGD_TRY(memory_alloc(sizeof **hello_out + bytes, 1, hello_out));
    **hello_out = (struct message_hello){(int32_t)status, (uint32_t)bytes};
    if (bytes > 0)
        memcpy(*hello_out + 1, text, bytes);
    return HYSGD_OK;
}

static enum hysgd_status say_hello(struct comm *comm, int leader, const struct message_hello *hello) {
    struct awaited awaited = {.missing = 1};
    HYSGD_TRY(comm_send(comm, leader, ranks_tag_of(0, CHANNEL_HELLO, 0), hello, sizeof *hello + hello->bytes,
                        has_come, &awaited));
    return wait_for(comm, leader, MOST_SECONDS, &awaited);
}

/* Those who have other things to do are not waited for when the group is left. */
static void abandon_all(struct comm *comm) {
    for (int i = 0; i < comm_size(comm); i++)
        if (i != comm_rank(comm))
            comm_abandon(comm, i);
}

/* Says why it cannot join, and stays until that is heard: of one that has ended it would only be known that it has.
 * `answer`: to be kept until the group is left. */
static enum hysgd_status say_why(struct comm *comm, int leader, const struct message_hello *hello,
                                 struct message_welcome *answer) {
    struct awaited awaited = {.missing = 1};
    HYSGD_TRY(say_hello(comm, leader, hello));
    HYSGD_TRY(comm_receive(comm, leader, ranks_tag_of(0, CHANNEL_WELCOME, 0), answer, sizeof *answer, has_come,
                           &awaited));
    return wait_for(comm, leader, MOST_REFUSAL_SECONDS, &awaited);
}

static void decline(struct ranks_options *options, enum hysgd_status status) {
    const struct ranks_invitation *invitation = ranks_newcomer_invitation(options);
    struct message_hello *hello;
    struct message_welcome welcome;
    char message[1024];
    snprintf(message, sizeof message, "%s", hysgd_error_message());
    if (invitation && make_hello(status, message, strlen(message) + 1, &hello) == HYSGD_OK) {
        enum hysgd_status ignored = say_why(options->comm, invitation->leader, hello, &welcome);
        (void)ignored;
        memory_free(hello);
    }
    abandon_all(options->comm);
    comm_close(options->comm, false);
    memory_free(options->facts);
    options->facts = NULL;
    options->comm = NULL;
    status_set_message(message);
}

enum hysgd_status ranks_newcomer_agree(struct ranks_options *options, enum hysgd_status status) {
    if (status != HYSGD_OK)
        decline(options, status);
    return status;
}

/* ---- Welcome ---- */

static enum hysgd_status receive(struct ranks *ranks, uint32_t tag, size_t bytes, unsigned char **content_out) {
    struct awaited awaited = {.missing = 1};
    HYSGD_TRY(memory_alloc(bytes, 1, content_out));
    HYSGD_TRY(comm_receive(ranks->comm, ranks->leader, tag, *content_out, bytes, has_come, &awaited));
    HYSGD_TRY(wait_for(ranks->comm, ranks->leader, MOST_SECONDS, &awaited));
    return awaited.bytes == bytes ? HYSGD_OK
                                  : hysgd_fail(HYSGD_FAILED, "rank %d tells of another run", ranks->leader);
}

static enum hysgd_status take_place(struct ranks *ranks, const struct message_welcome *welcome) {
    const int32_t *server_ranks = (const void *)(welcome + 1), *worker_ranks = server_ranks + ranks->servers;
    const unsigned char *is_lost = (const unsigned char *)(worker_ranks + ranks->workers);
    ranks->incarnation = welcome->incarnation;
    ranks->renewed_by = welcome->renewed_by;
    ranks->leader = welcome->leader;
    ranks->latest = welcome->latest;
    ranks->has_saved = welcome->has_saved;
    ranks->confirms = welcome->confirms;
    ranks->received = welcome->received;
    ranks->generation = welcome->generation;
    ranks->begun = welcome->begun;
    ranks_members_expect(ranks, welcome->count);
    for (int i = 0; i < ranks->servers; i++)
        ranks->server_ranks[i] = server_ranks[i];
    for (int i = 0; i < ranks->workers; i++) {
        ranks->worker_ranks[i] = worker_ranks[i];
        ranks->has_joined[i] = worker_ranks[i] >= ranks->first_count;
    }
    for (int i = 0; i < welcome->count; i++) {
        struct ranks_member *member = &ranks->members[i];
        member->heard = machine_seconds();
        if (!is_lost[i] || i == ranks->rank)
            continue;
        member->is_lost = member->is_settled = true;
        comm_abandon(ranks->comm, i);
    }
    return HYSGD_OK;
}

static enum hysgd_status take_state(struct ranks *ranks, const struct message_welcome *welcome) {
    unsigned char *content;
    HYSGD_TRY(receive(ranks, ranks_tag(ranks, CHANNEL_STATE, 0), welcome->state_bytes, &content));
    const struct ranks_state *state = (const void *)content;
    enum hysgd_status status = snapshot_restore_state(ranks->training, ranks_state_rest(state), state->bytes);
    memory_free(content);
    HYSGD_TRY(status);
    ranks->clock = ranks->training->start_seconds - machine_seconds();
    if (welcome->beginning_bytes == 0)
        return HYSGD_OK;
    return receive(ranks, ranks_tag(ranks, CHANNEL_BEGINNING, 0), welcome->beginning_bytes, &ranks->beginning);
}

enum hysgd_status ranks_newcomer_begin(struct ranks *ranks) {
    const struct ranks_options *options = ranks->options;
    const struct ranks_invitation *invitation = ranks_newcomer_invitation(options);
    struct message_hello *hello;
    unsigned char *content = NULL;
    ranks->leader = invitation->leader;
    HYSGD_TRY(make_hello(HYSGD_OK, options->facts, options->facts_bytes, &hello));
    enum hysgd_status status = say_hello(ranks->comm, ranks->leader, hello);
    memory_free(hello);
    if (status == HYSGD_OK)
        status = receive(ranks, ranks_tag_of(0, CHANNEL_WELCOME, 0), ranks_welcome_bytes(ranks), &content);
    const struct message_welcome *welcome = (const void *)content;
    if (status == HYSGD_OK && welcome->status != HYSGD_OK)
        status = hysgd_fail(HYSGD_FAILED, "the run refuses: %.400s", welcome->why);
    if (status == HYSGD_OK)
        status = take_place(ranks, welcome);
    if (status == HYSGD_OK)
        status = take_state(ranks, welcome);
    memory_free(content);
    if (status != HYSGD_OK)
        abandon_all(ranks->comm);
    return status;
}
