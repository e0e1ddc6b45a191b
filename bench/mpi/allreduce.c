/* SPDX-License-Identifier: Apache-2.0 */
/* What MPI itself takes to add up a vector over all ranks: the median of MPI_Allreduce in place, in seconds, as one
 * line of JSON.
 *
 *     mpirun -n RANKS allreduce FLOATS ROUNDS */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define WARM_UP     2
#define MOST_ROUNDS 1000

static int by_value(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Seconds until the last rank has its sum. */
static double measure(float *vector, int count) {
    MPI_Barrier(MPI_COMM_WORLD);
    double begun = MPI_Wtime();
    MPI_Allreduce(MPI_IN_PLACE, vector, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    double seconds = MPI_Wtime() - begun, longest;
    MPI_Allreduce(&seconds, &longest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return longest;
}

int main(int argument_count, char **words) {
    MPI_Init(&argument_count, &words);
    int count = argument_count == 3 ? atoi(words[1]) : 0, rounds = argument_count == 3 ? atoi(words[2]) : 0;
    float *vector = count > 0 ? calloc((size_t)count, sizeof *vector) : NULL;
    if (!vector || rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: allreduce FLOATS ROUNDS, with 1 to %d rounds\n", MOST_ROUNDS);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    double found[MOST_ROUNDS];
    for (int i = -WARM_UP; i < rounds; i++) {
        double seconds = measure(vector, count);
        if (i >= 0)
            found[i] = seconds;
    }
    qsort(found, (size_t)rounds, sizeof *found, by_value);
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        printf("{\"seconds\":%.9f}\n", found[rounds / 2]);
    free(vector);
    MPI_Finalize();
    return 0;
}
