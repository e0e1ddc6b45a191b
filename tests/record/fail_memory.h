/* SPDX-License-Identifier: Apache-2.0 */
/* Making a sink that writes a file, with every allocation failing in turn. Include cmocka first. */
#ifndef HYSGD_TESTS_RECORD_FAIL_MEMORY_H
#define HYSGD_TESTS_RECORD_FAIL_MEMORY_H

#include "base/memory.h"

/* A sink's alloc whose n-th allocation fails leaves nothing behind, for every n. */
static inline void fail_memory(enum hysgd_status (*alloc)(const char *path, void **self_out),
                               void (*release)(void *self)) {
    size_t before = memory_used();
    void *sink = NULL;
    uint64_t n = 1;
    for (;; n++) {
        memory_fail_at(n);
        enum hysgd_status status = alloc("/dev/null", &sink);
        memory_fail_at(0);
        if (status == HYSGD_OK)
            break;
        assert_int_equal(status, HYSGD_MEMORY);
        assert_int_equal(memory_used(), before);
    }
    assert_true(n > 1);
    release(sink);
    assert_int_equal(memory_used(), before);
}

#endif
