/* SPDX-License-Identifier: Apache-2.0 */
/* A policy opened from text for so many workers, and what both tests of policies ask of one. */
#ifndef HYSGD_TESTS_POLICY_OPENED_H
#define HYSGD_TESTS_POLICY_OPENED_H

#include <string.h>

#include "policy/policy.h"

static inline void open_policy(const char *text, int workers, struct plugin *policy_out) {
    assert_int_equal(plugin_open(&policy_list, text, policy_out), HYSGD_OK);
    if (policy_ops(policy_out)->init != NULL)
        assert_int_equal(policy_ops(policy_out)->init(policy_out->self, workers), HYSGD_OK);
}

static inline void close_policy(struct plugin *policy) {
    if (policy_ops(policy)->fini != NULL)
        policy_ops(policy)->fini(policy->self);
    plugin_close(policy);
}

static inline uint64_t bound_of(const char *text, int workers) {
    struct plugin policy;
    open_policy(text, workers, &policy);
    uint64_t bound = policy_ops(&policy)->staleness_bound(policy.self, workers);
    close_policy(&policy);
    return bound;
}

/* The options are well-formed by themselves; the policy refuses them, and its message holds every part. */
static inline void expect_refused(const char *text, int workers, const char *part, const char *other_part) {
    struct plugin policy;
    assert_int_equal(plugin_open(&policy_list, text, &policy), HYSGD_OK);
    assert_int_equal(policy_ops(&policy)->init(policy.self, workers), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), policy.ops->name));
    assert_non_null(strstr(hysgd_error_message(), part));
    assert_non_null(strstr(hysgd_error_message(), other_part));
    close_policy(&policy);
}

#endif
