/* SPDX-License-Identifier: Apache-2.0 */
/* Heap memory: alignment, accounting, exhaustion and injected failures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "base/memory.h"

#define ROUNDS 1000

static bool is_aligned(const void *pointer) {
    return (uintptr_t)pointer % MEMORY_ALIGNMENT == 0;
}

static void memory_is_zeroed_and_aligned(void **state) {
    (void)state;
    for (size_t count = 1; count < 300; count += 7) {
        unsigned char *bytes;
        assert_int_equal(memory_alloc(count, 3, &bytes), HYSGD_OK);
        assert_true(is_aligned(bytes));
        for (size_t i = 0; i < 3 * count; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xFF, 3 * count); /* so that the next block is not zero by chance */
        memory_free(bytes);
    }
}

static void vectors_are_aligned_and_hold_whole_cache_lines(void **state) {
    (void)state;
    for (size_t count = 0; count < (size_t)3 << 20; count = 2 * count + 1) {
        unsigned char *bytes;
        size_t before = memory_used();
        assert_int_equal(memory_alloc_vector(count, 1, &bytes), HYSGD_OK);
        assert_true(is_aligned(bytes));
        size_t whole = memory_used() - before;
        assert_true(whole >= count && whole < count + MEMORY_ALIGNMENT && whole % MEMORY_ALIGNMENT == 0);
        memset(bytes, 0xFF, whole);
        memory_free(bytes);
    }
}

static void no_objects_give_a_valid_pointer(void **state) {
    (void)state;
    void *none = NULL, *vector = NULL;
    assert_int_equal(memory_alloc(0, 8, &none), HYSGD_OK);
    assert_int_equal(memory_alloc_vector(8, 0, &vector), HYSGD_OK);
    assert_non_null(none);
    assert_non_null(vector);
    memory_free(none);
    memory_free(vector);
    memory_free(NULL);
}

static void used_and_peak_follow_the_blocks(void **state) {
    (void)state;
    void *a, *b;
    size_t before = memory_used();
    assert_int_equal(memory_alloc(1000, 10, &a), HYSGD_OK);
    assert_int_equal(memory_used(), before + 10000);
    assert_int_equal(memory_alloc_vector(100, 4, &b), HYSGD_OK);
    assert_int_equal(memory_used(), before + 10000 + 448);
    assert_true(memory_peak() >= memory_used());
    size_t peak = memory_peak();
    memory_free(a);
    memory_free(b);
    assert_int_equal(memory_used(), before);
    assert_int_equal(memory_peak(), peak);
}

static void a_product_that_overflows_is_refused(void **state) {
    (void)state;
    size_t before = memory_used();
    void *pointer = &before;
    assert_int_equal(memory_alloc(SIZE_MAX / 2 + 1, 2, &pointer), HYSGD_MEMORY);
    assert_int_equal(memory_alloc_vector(SIZE_MAX / 4 + 2, 4, &pointer), HYSGD_MEMORY);
    assert_int_equal(memory_alloc(SIZE_MAX, 1, &pointer), HYSGD_MEMORY);
    assert_int_equal(memory_alloc_vector(SIZE_MAX, 1, &pointer), HYSGD_MEMORY);
    assert_int_equal(memory_alloc_vector(PTRDIFF_MAX, 1, &pointer), HYSGD_MEMORY);
    assert_ptr_equal(pointer, &before); /* written only on success */
    assert_int_equal(memory_used(), before);
}

static void an_exhausted_heap_is_a_status_that_names_the_bytes(void **state) {
    (void)state;
    void *pointer;
    assert_int_equal(memory_alloc((size_t)1 << 50, 8, &pointer), HYSGD_MEMORY);
    assert_non_null(strstr(hysgd_error_message(), "1125899906842624 objects of 8 bytes"));
    assert_int_equal(memory_alloc_vector((size_t)1 << 50, 8, &pointer), HYSGD_MEMORY);
}

static void exactly_the_nth_request_fails(void **state) {
    (void)state;
    memory_fail_at(3);
    for (int request = 1; request <= 5; request++) {
        void *pointer = NULL;
        enum hysgd_status status =
            request % 2 == 0 ? memory_alloc(1, 1, &pointer) : memory_alloc_vector(1, 1, &pointer);
        assert_int_equal(status, request == 3 ? HYSGD_MEMORY : HYSGD_OK);
        memory_free(pointer);
    }
    memory_fail_at(1);
    memory_fail_at(0);
    char *copy;
    assert_int_equal(memory_copy_text("on", &copy), HYSGD_OK);
    memory_free(copy);
}

static void a_text_is_copied_whole(void **state) {
    (void)state;
    char text[] = "some text", *copy = NULL;
    assert_int_equal(memory_copy_text(text, &copy), HYSGD_OK);
    text[0] = 'S';
    assert_string_equal(copy, "some text");
    memory_free(copy);
    memory_fail_at(1);
    assert_int_equal(memory_copy_text(text, &copy), HYSGD_MEMORY);
}

static void *take_and_give_back(void *is_done) {
    for (size_t i = 0; i < ROUNDS; i++) {
        void *pointer;
        if (memory_alloc(i, 3, &pointer) != HYSGD_OK)
            return NULL;
        memory_free(pointer);
    }
    *(bool *)is_done = true;
    return NULL;
}

static void threads_share_one_account(void **state) {
    (void)state;
    pthread_t threads[4];
    bool is_done[4] = {false};
    size_t before = memory_used();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give_back, &is_done[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(is_done[i]);
    }
    assert_int_equal(memory_used(), before);
}

static void an_array_grows_and_keeps_what_counts(void **state) {
    (void)state;
    int *numbers = NULL;
    size_t capacity = 0, before = memory_used();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(memory_grow(&numbers, (size_t)i, &capacity, 3, sizeof *numbers), HYSGD_OK);
        assert_true((size_t)i < capacity && numbers[i] == 0);
        numbers[i] = i + 1;
    }
    assert_int_equal(capacity, 192);
    for (int i = 0; i < 100; i++)
        assert_int_equal(numbers[i], i + 1);
    memory_free(numbers);
    assert_int_equal(memory_used(), before);
}

static void an_array_that_cannot_grow_stays(void **state) {
    (void)state;
    int *numbers = NULL, *same;
    size_t capacity = 0;
    assert_int_equal(memory_grow(&numbers, 0, &capacity, 1, sizeof *numbers), HYSGD_OK);
    numbers[0] = 7;
    same = numbers;
    memory_fail_at(1);
    assert_int_equal(memory_grow(&numbers, 1, &capacity, 1, sizeof *numbers), HYSGD_MEMORY);
    memory_fail_at(0);
    assert_true(numbers == same && numbers[0] == 7 && capacity == 1);
    memory_free(numbers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(vectors_are_aligned_and_hold_whole_cache_lines),
        cmocka_unit_test(no_objects_give_a_valid_pointer),
        cmocka_unit_test(used_and_peak_follow_the_blocks),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(an_exhausted_heap_is_a_status_that_names_the_bytes),
        cmocka_unit_test(exactly_the_nth_request_fails),
        cmocka_unit_test(a_text_is_copied_whole),
        cmocka_unit_test(threads_share_one_account),
        cmocka_unit_test(an_array_grows_and_keeps_what_counts),
        cmocka_unit_test(an_array_that_cannot_grow_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
