/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs from lists of "key", "value", ..., NULL. Include cmocka first. */
#ifndef HYSGD_TESTS_TRAIN_JOB_WORDS_H
#define HYSGD_TESTS_TRAIN_JOB_WORDS_H

#include "hysgd.h"

/* A job with these options and then more. */
static inline struct hysgd_job *job_of_words(const char *const *words, const char *const *more) {
    const char *const *const lists[] = {words, more};
    struct hysgd_job *job;
    assert_int_equal(hysgd_job_alloc(&job), HYSGD_OK);
    for (size_t i = 0; i < 2; i++)
        for (const char *const *word = lists[i]; *word != NULL; word += 2)
            if (hysgd_job_set(job, word[0], word[1]) != HYSGD_OK)
                fail_msg("%s", hysgd_error_message());
    return job;
}

#endif
