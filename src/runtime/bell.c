/* SPDX-License-Identifier: Apache-2.0 */
/* A bell is a futex in memory that other processes map through /proc, so that nothing of it is left behind, whoever
 * dies. See futex(2), memfd_create(2). */
#include "runtime/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

#define MAGIC 0x6c6c6562u

enum { AWAKE, ASLEEP, RUNG };

/* What processes share. */
struct page {
    uint32_t magic;
    _Atomic uint32_t state; /* the futex */
    _Atomic int32_t ringers;
};

_Static_assert(sizeof(_Atomic uint32_t) == 4, "a futex has 32 bits");

struct bell {
    struct page *page;
    int handle; /* of the memory; -1: it is another process's */
};

static struct page *map(int handle) {
    void *found = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
    return found == MAP_FAILED ? NULL : found;
}

enum hysgd_status bell_make(struct bell **bell_out) {
    struct bell *bell;
    HYSGD_TRY(memory_alloc(1, sizeof *bell, &bell));
    bell->handle = memfd_create("bell", MFD_CLOEXEC);
    if (bell->handle >= 0 && ftruncate(bell->handle, sizeof(struct page)) == 0)
        bell->page = map(bell->handle);
    if (!bell->page) {
        enum hysgd_status status =
            hysgd_fail(HYSGD_FAILED, "no memory can be shared between processes: %s", strerror(errno));
        bell_close(bell);
        return status;
    }
    bell->page->magic = MAGIC;
    *bell_out = bell;
    return HYSGD_OK;
}

int bell_handle(const struct bell *bell) {
    return bell->handle;
}

/* A handle may be of something else by now, where its process has ended. */
static struct page *map_other(int handle) {
    struct stat found;
    if (fstat(handle, &found) != 0 || !S_ISREG(found.st_mode) || found.st_size != sizeof(struct page))
        return NULL;
    struct page *page = map(handle);
    if (page && page->magic != MAGIC) {
        munmap(page, sizeof *page);
        return NULL;
    }
    return page;
}

struct bell *bell_find(int64_t process, int handle) {
    char path[64];
    struct bell *bell;
    snprintf(path, sizeof path, "/proc/%lld/fd/%d", (long long)process, handle);
    int other = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (other < 0)
        return NULL;
    struct page *page = map_other(other);
    close(other);
    if (!page)
        return NULL;
    if (memory_alloc(1, sizeof *bell, &bell) != HYSGD_OK) {
        munmap(page, sizeof *page);
        return NULL;
    }
    *bell = (struct bell){page, -1};
    bell_add_ringer(bell);
    return bell;
}

int bell_ringers(const struct bell *bell) {
    return atomic_load_explicit(&bell->page->ringers, memory_order_relaxed);
}

void bell_add_ringer(struct bell *bell) {
    atomic_fetch_add(&bell->page->ringers, 1);
}

void bell_ring(struct bell *bell) {
    struct page *page = bell->page;
    atomic_thread_fence(memory_order_seq_cst); /* what was sent is there before the state is looked at */
    if (atomic_load_explicit(&page->state, memory_order_relaxed) == RUNG)
        return;
    if (atomic_exchange(&page->state, RUNG) == ASLEEP)
        (void)syscall(SYS_futex, &page->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void bell_sleep(struct bell *bell, double seconds) {
    struct page *page = bell->page;
    uint32_t expected = AWAKE;
    const struct timespec most = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    if (atomic_compare_exchange_strong(&page->state, &expected, ASLEEP))
        (void)syscall(SYS_futex, &page->state, FUTEX_WAIT, ASLEEP, &most, NULL, 0);
    atomic_exchange(&page->state, AWAKE);
    atomic_thread_fence(memory_order_seq_cst); /* who looks from now on sees all that was rung for */
}

void bell_close(struct bell *bell) {
    if (!bell)
        return;
    if (bell->page)
        munmap(bell->page, sizeof *bell->page);
    if (bell->handle >= 0)
        close(bell->handle);
    memory_free(bell);
}
