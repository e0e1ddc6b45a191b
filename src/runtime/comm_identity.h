/* SPDX-License-Identifier: Apache-2.0 */
/* By which processes see which of them are near, and whether those live. */
#ifndef HYSGD_RUNTIME_COMM_IDENTITY_H
#define HYSGD_RUNTIME_COMM_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* As it lies in memory it travels to the others. */
struct comm_identity {
    char host[256];
    char boot[40];                   /* of the kernel; processes can only be seen within one */
    uint64_t process_space, network; /* namespaces */
    int64_t process;                 /* number in that space */
    int64_t bell;                    /* its handle there */
};

/* Of this process, with the handle of its bell. */
struct comm_identity comm_identity_here(int bell);

/* Whether both share memory and process numbers. */
bool comm_identity_is_near(const struct comm_identity *a, const struct comm_identity *b);

/* A descriptor that is ready for reading once the process, which is near, has ended; -1: there is none. */
int comm_identity_watch(const struct comm_identity *identity);

#endif
