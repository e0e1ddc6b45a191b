/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of this process: see comm_identity.h. */
#include "runtime/comm_identity.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t namespace_number(const char *path) {
    struct stat found;
    return stat(path, &found) == 0 ? (uint64_t)found.st_ino : 0;
}

struct comm_identity comm_identity_here(int bell) {
    struct comm_identity own = {.process = getpid(),
                                .bell = bell,
                                .process_space = namespace_number("/proc/self/ns/pid"),
                                .network = namespace_number("/proc/self/ns/net")};
    if (gethostname(own.host, sizeof own.host - 1) != 0)
        strcpy(own.host, "unknown");
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        if (fgets(own.boot, sizeof own.boot, file) == NULL)
            own.boot[0] = '\0';
        fclose(file);
    }
    return own;
}

/* Without a boot's name nothing is known to be near. */
bool comm_identity_is_near(const struct comm_identity *a, const struct comm_identity *b) {
    return a->boot[0] != '\0' && strcmp(a->boot, b->boot) == 0 && strcmp(a->host, b->host) == 0 &&
           a->process_space == b->process_space && a->network == b->network;
}

int comm_identity_watch(const struct comm_identity *identity) {
    return (int)syscall(SYS_pidfd_open, (pid_t)identity->process, 0);
}
