/* SPDX-License-Identifier: Apache-2.0 */
/* A table of gradients for workers with unequal data: every update takes something of every worker, however unequal
 * their speeds. A. Maranjyan and P. Richtarik, "Ringleader ASGD", arXiv 2509.22860, algorithm 1; row i of the table
 * has the sum G_i of b_i gradients of worker i, n rows.
 *     phase 1  gradients join their rows until none is empty
 *     phase 2  w(v+1) = w(v) - rate / n * (G_1 / b_1 + ... + G_n / b_n)
 *              for the worker that filled the last row and then for each other one as its next gradient joins its
 *              row; each time that worker goes on at w(v+1)
 * Whoever delivers at another time goes on at the version that it has read. After n updates the next round begins;
 * gradients that came from workers that had had their turn make its rows. Nothing is dropped, and no gradient is
 * older than 2 n - 2 updates. A lost worker is not waited for; its row counts to the end of the round. */
#include "base/status.h"

static uint64_t table_threshold(void *self, const struct hysgd_progress *now) {
    (void)self;
    bool is_due = now->empty_rows == 0 && !now->is_extra;
    return is_due ? now->held : now->held + 1;
}

static enum hysgd_release table_release(void *self, const struct hysgd_progress *now, int worker, bool is_held) {
    (void)self, (void)now, (void)worker;
    return is_held ? HYSGD_AGAIN : HYSGD_GO;
}

static uint64_t table_staleness_bound(const void *self, int workers) {
    (void)self;
    return 2 * (uint64_t)workers - 2;
}

const struct hysgd_policy_ops policy_table = {
    .about =
        {
            .name = "table",
            .alias = "ringleader",
            .summary = "every update is the mean over all workers of their gradients of this round; nobody waits",
            .source = "Maranjyan and Richtarik, Ringleader ASGD, ICLR 2026, arXiv 2509.22860",
        },
    .aggregate = HYSGD_TABLE,
    .threshold = table_threshold,
    .release = table_release,
    .staleness_bound = table_staleness_bound,
};
