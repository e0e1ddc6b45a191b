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

static const char *separator(int number, int count) {
    if (number == 0)
        return "";
    return number == count - 1 ? " and " : ", ";
}

/* "the coordinator, server 1 and server 2"; returns how many things it was. */
static int add_roles(const struct ranks *ranks, int rank, const struct ranks_former *former, char *text,
                     size_t size) {
    bool has_led = rank == former->leader;
    int count = has_led, number = has_led;
    for (int i = 0; i < ranks->servers; i++)
        count += former->hosts[i] == rank;
    add(text, size, "%s", has_led ? "the coordinator" : "");
    for (int i = 0; i < ranks->servers; i++)
        if (former->hosts[i] == rank)
            add(text, size, "%sserver %d", separator(number++, count), i);
    return count;
}

void ranks_tell_return(const struct ranks *ranks, const struct ranks_former *former, uint64_t undone) {
    char text[RANKS_LINE] = "";
    for (int i = 0; i < ranks->count; i++) {
        char roles[RANKS_LINE / 4] = "", why[RANKS_LINE / 2];
        int count = ranks->members[i].is_lost ? add_roles(ranks, i, former, roles, sizeof roles) : 0;
        if (count == 0)
            continue;
        if (text[0] != '\0')
            drive_notice(ranks->training, text);
        ranks_describe_loss(ranks, i, why, sizeof why);
        snprintf(text, sizeof text, "%s %s lost: %s", roles, count > 1 ? "are" : "is", why);
    }
    if (text[0] == '\0')
        add(text, sizeof text, "ranks disagreed about who leads");
    add(text, sizeof text, "; back to update %llu, %llu gradients undone",
        (unsigned long long)ranks->training->engine.progress.version, (unsigned long long)undone);
    drive_notice(ranks->training, text);
}
