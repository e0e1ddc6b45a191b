/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of ranks tells of its losses: who is gone, how that is known, and what it costs, in one line each. By
 * the coordinator. See ranks.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/ranks.h"

void ranks_describe_loss(const struct ranks *ranks, int rank, char *text, size_t size) {
    const char *host = comm_host(ranks->comm, rank);
    if (ranks->members[rank].loss == LOSS_ENDED)
        snprintf(text, size, "rank %d on %s has ended", rank, host);
    else
        snprintf(text, size, "rank %d on %s has been silent for %g s", rank, host, ranks->options->patience);
}

static bool hosts_servers(const struct ranks *ranks, int rank) {
    for (int i = 0; i < ranks->servers; i++)
        if (ranks->server_ranks[i] == rank)
            return true;
    return false;
}

static bool is_computing(const struct ranks *ranks, int worker) {
    return ranks->training->engine.workers[worker].activity == ENGINE_COMPUTING;
}

void ranks_tell_lost_worker(struct ranks *ranks, int worker) {
    int rank = ranks->worker_ranks[worker];
    bool is_lost = rank < 0 || ranks->members[rank].is_lost;
    const char *cost = is_lost && is_computing(ranks, worker) ? " (its gradient counts as lost)" : "";
    char text[RANKS_LINE], why[RANKS_LINE / 2] = "no rank of this run computes for it";
    if (rank >= 0 && is_lost)
        ranks_describe_loss(ranks, rank, why, sizeof why);
    else if (rank >= 0 && ranks_coordinator_was_told(ranks, worker))
        snprintf(why, sizeof why, "rank %d on %s was told to end (SIGTERM)%s", rank, comm_host(ranks->comm, rank),
                 hosts_servers(ranks, rank) ? ", and goes on as a server until the end" : "");
    else if (rank >= 0)
        snprintf(why, sizeof why, "so the run's speeds say, of rank %d on %s", rank, comm_host(ranks->comm, rank));
    snprintf(text, sizeof text, "worker %d %s%s: %s", worker, is_lost ? "is lost" : "leaves", cost, why);
    drive_notice(ranks->training, text);
}

void ranks_tell_staying(struct ranks *ranks, int rank) {
    char text[RANKS_LINE];
    snprintf(text, sizeof text, "rank %d on %s was told to end (SIGTERM): it goes on as a server until the end",
             rank, comm_host(ranks->comm, rank));
    drive_notice(ranks->training, text);
}

/* Appends to a line. */
__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *format, ...) {
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + length, size - length, format, arguments);
    va_end(arguments);
}

/* "the coordinator and server 2"; returns how many things it was. */
static int add_roles(const struct ranks *ranks, int rank, bool has_led, char *text, size_t size) {
    int count = has_led;
    add(text, size, "%s", has_led ? "the coordinator" : "");
    for (int i = 0; i < ranks->servers; i++)
        if (ranks->server_ranks[i] == rank)
            add(text, size, "%sserver %d", count++ > 0 ? " and " : "", i);
    return count;
}

void ranks_begin_telling(struct ranks *ranks, int former_leader, char *text, size_t size) {
    text[0] = '\0';
    if (ranks->rank != ranks->leader)
        return;
    for (int i = 0; i < ranks->count; i++) {
        char roles[RANKS_LINE / 4] = "", why[RANKS_LINE / 2];
        int count = ranks->members[i].is_lost ? add_roles(ranks, i, i == former_leader, roles, sizeof roles) : 0;
        if (count == 0)
            continue;
        if (text[0] != '\0')
            drive_notice(ranks->training, text);
        ranks_describe_loss(ranks, i, why, sizeof why);
        snprintf(text, size, "%s %s lost: %s", roles, count > 1 ? "are" : "is", why);
    }
}

void ranks_tell_restored(struct ranks *ranks, char *text, size_t size, uint64_t undone) {
    if (text[0] == '\0')
        add(text, size, "ranks disagreed about who leads");
    add(text, size, "; back to update %llu, %llu gradients undone",
        (unsigned long long)ranks->training->engine.progress.version, (unsigned long long)undone);
    drive_notice(ranks->training, text);
}
