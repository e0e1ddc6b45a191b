/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory whose exhaustion is a status in every build, and whose n-th request can be made to fail by a test. */
#ifndef HYSGD_BASE_MEMORY_H
#define HYSGD_BASE_MEMORY_H

#include "base/status.h"

/* Memory for vectors starts on a cache line and holds a whole number of them. */
#define MEMORY_ALIGNMENT 64

/* Zeroed memory for `count` objects of `size` bytes, aligned to MEMORY_ALIGNMENT; count 0 gives a valid pointer.
 * HYSGD_MEMORY (also when count * size overflows) says how many bytes were wanted. Free with memory_free. */
HYSGD_MUST_CHECK enum hysgd_status memory_alloc(size_t count, size_t size, void *pointer_out);

/* As memory_alloc, not zeroed, on huge pages where the system gives them: for vectors. */
HYSGD_MUST_CHECK enum hysgd_status memory_alloc_vector(size_t count, size_t size, void *pointer_out);

/* Zeroed memory for `capacity` objects in the place of an array, of which the first `used` count: `array` points to
 * the caller's pointer, which may be NULL where none are used. Where it fails nothing has changed. */
HYSGD_MUST_CHECK enum hysgd_status memory_enlarge(void *array, size_t used, size_t capacity, size_t size);

/* Makes room for one more object in an array of `*capacity`, all of which may be used: where it is full it gives
 * way to one twice as long, and the first has `first`. */
HYSGD_MUST_CHECK enum hysgd_status memory_grow(void *array, size_t used, size_t *capacity, size_t first,
                                               size_t size);

/* A copy of a string. */
HYSGD_MUST_CHECK enum hysgd_status memory_copy_text(const char *text, char **text_out);

/* Frees what the functions above gave; NULL is allowed. */
void memory_free(void *pointer);

/* Gives the system what was freed and is kept for later, as far as the C library lets it: between a part of a
 * program with many small objects and one with few large ones. */
void memory_trim(void);

/* Bytes given out and not yet freed, by all threads, and the largest value this ever had. Vectors count with the
 * bytes that fill their last cache line. */
size_t memory_used(void);
size_t memory_peak(void);

/* For tests: the n-th request from now on (1 = the next) fails, once; 0 switches it off. */
void memory_fail_at(uint64_t n);

#endif
