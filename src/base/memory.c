/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory: aligned, counted, and able to fail on demand. A block carries its size in a header of one cache
 * line, which is not counted. */
#include "base/memory.h"

#include <stdatomic.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define HEADER_BYTES    MEMORY_ALIGNMENT

/* The heap is one for the whole process, and so is its account. */
static struct {
    atomic_size_t used, peak;     /* bytes */
    atomic_uint_fast64_t fail_at; /* requests until one fails; 0: none will */
} account;

#ifdef HYSGD_SANITIZE
/* The sanitizers end the process when a request is too large, unless told that NULL is understood. */
HYSGD_API const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
HYSGD_API const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}
#endif

static bool is_to_fail(void) {
    uint_fast64_t left = atomic_load_explicit(&account.fail_at, memory_order_relaxed);
    while (left > 0)
        if (atomic_compare_exchange_weak_explicit(&account.fail_at, &left, left - 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return left == 1;
    return false;
}

static void add_to_account(size_t bytes) {
    size_t used = atomic_fetch_add_explicit(&account.used, bytes, memory_order_relaxed) + bytes;
    size_t peak = atomic_load_explicit(&account.peak, memory_order_relaxed);
    while (peak < used && !atomic_compare_exchange_weak_explicit(&account.peak, &peak, used, memory_order_relaxed,
                                                                 memory_order_relaxed))
        ;
}

/* A block of `bytes` whose header begins at a multiple of `alignment`; NULL when there is no memory. */
static void *request(size_t alignment, size_t bytes) {
    void *header = NULL;
    if (is_to_fail() || posix_memalign(&header, alignment, HEADER_BYTES + bytes) != 0)
        return NULL;
    memcpy(header, &bytes, sizeof bytes);
    add_to_account(bytes);
    return (char *)header + HEADER_BYTES;
}

static enum hysgd_status exhausted(size_t count, size_t size) {
    return hysgd_fail(HYSGD_MEMORY, "out of memory: %zu objects of %zu bytes were wanted, %zu bytes are in use",
                      count, size, memory_used());
}

/* The product; false when no block can be that large even with its header and rounded up. */
static bool find_bytes(size_t count, size_t size, size_t *bytes_out) {
    return !__builtin_mul_overflow(count, size, bytes_out) && *bytes_out <= PTRDIFF_MAX - 2 * MEMORY_ALIGNMENT;
}

enum hysgd_status memory_alloc(size_t count, size_t size, void *pointer_out) {
    size_t bytes;
    void *pointer = find_bytes(count, size, &bytes) ? request(MEMORY_ALIGNMENT, bytes) : NULL;
    if (pointer == NULL)
        return exhausted(count, size);
    memset(pointer, 0, bytes);
    memcpy(pointer_out, &pointer, sizeof pointer); /* the target is a pointer of the caller's own type */
    return HYSGD_OK;
}

enum hysgd_status memory_alloc_vector(size_t count, size_t size, void *pointer_out) {
    size_t bytes;
    if (!find_bytes(count, size, &bytes))
        return exhausted(count, size);
    bytes = (bytes + MEMORY_ALIGNMENT - 1) / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
    size_t huge_bytes = (HEADER_BYTES + bytes) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    void *pointer = request(huge_bytes > 0 ? HUGE_PAGE_BYTES : MEMORY_ALIGNMENT, bytes);
    if (pointer == NULL)
        return exhausted(count, size);
    if (huge_bytes > 0) /* only advice: a system without huge pages refuses it, and the vector is as good without */
        (void)madvise((char *)pointer - HEADER_BYTES, huge_bytes, MADV_HUGEPAGE);
    memcpy(pointer_out, &pointer, sizeof pointer);
    return HYSGD_OK;
}

enum hysgd_status memory_enlarge(void *array, size_t used, size_t capacity, size_t size) {
    void *old, *larger = NULL;
    memcpy(&old, array, sizeof old); /* a pointer of the caller's own type */
    HYSGD_TRY(memory_alloc(capacity, size, &larger));
    if (used > 0)
        memcpy(larger, old, used * size);
    memory_free(old);
    memcpy(array, &larger, sizeof larger);
    return HYSGD_OK;
}

enum hysgd_status memory_grow(void *array, size_t used, size_t *capacity, size_t first, size_t size) {
    size_t larger = *capacity > 0 ? 2 * *capacity : first;
    if (used < *capacity)
        return HYSGD_OK;
    HYSGD_TRY(memory_enlarge(array, used, larger, size));
    *capacity = larger;
    return HYSGD_OK;
}

enum hysgd_status memory_copy_text(const char *text, char **text_out) {
    size_t bytes = strlen(text) + 1;
    char *copy = NULL;
    HYSGD_TRY(memory_alloc(bytes, 1, &copy));
    memcpy(copy, text, bytes);
    *text_out = copy;
    return HYSGD_OK;
}

void memory_free(void *pointer) {
    if (pointer == NULL)
        return;
    void *header = (char *)pointer - HEADER_BYTES;
    size_t bytes;
    memcpy(&bytes, header, sizeof bytes);
    atomic_fetch_sub_explicit(&account.used, bytes, memory_order_relaxed);
    free(header);
}

void memory_trim(void) {
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

size_t memory_used(void) {
    return atomic_load_explicit(&account.used, memory_order_relaxed);
}

size_t memory_peak(void) {
    return atomic_load_explicit(&account.peak, memory_order_relaxed);
}

void memory_fail_at(uint64_t n) {
    atomic_store_explicit(&account.fail_at, n, memory_order_relaxed);
}
