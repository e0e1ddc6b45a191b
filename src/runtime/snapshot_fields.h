/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a checkpoint's tables, in their order. One function visits those of a row for both directions, so
 * that what is written and what is read cannot differ. Numbers are doubles: every count stays below 2^53. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_FIELDS_H
#define HYSGD_RUNTIME_SNAPSHOT_FIELDS_H

#include "runtime/training.h"

#define SNAPSHOT_MOST_COUNT ((uint64_t)1 << 53)

enum { SNAPSHOT_WORKER_FIELDS = 31, SNAPSHOT_RUN_FIELDS = 31, SNAPSHOT_PLACE_FIELDS = 3 };

/* Walks over a row of a table, reading it or writing it. */
struct snapshot_row {
    double *values;
    int at;
    bool is_reading;
    bool is_bad; /* a value read was out of range */
};

/* `rank`: its place among those that wait. */
void snapshot_visit_worker(struct training *training, int index, struct snapshot_row *row, uint64_t *rank);

/* `has_flights` and what follows it as in struct snapshot. */
void snapshot_visit_run(struct training *training, double *seconds, struct snapshot_row *row, uint64_t *has_flights,
                        double *server_free_at, double *next_order);

/* The account of a policy's table, in one row of so many numbers. */
void snapshot_visit_table(struct engine_table *table, int workers, struct snapshot_row *row);
size_t snapshot_table_size(int workers);

void snapshot_visit_place(struct snapshot_row *row, struct training_place *place);

#endif
