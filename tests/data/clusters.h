/* SPDX-License-Identifier: Apache-2.0 */
/* Small labelled data for tests of partitions and samplers. */
#ifndef HYSGD_TESTS_DATA_CLUSTERS_H
#define HYSGD_TESTS_DATA_CLUSTERS_H

#include <stdio.h>

#include "data/data.h"

/* Opens `count` training samples of `kind` ("none", without labels, "random", with ten classes, or "planted",
 * ratings). */
static inline void samples_open(struct plugin *data, const char *kind, int count) {
    char text[64];
    /* "random" keeps a fifth for testing */
    snprintf(text, sizeof text, "%s,samples=%d", kind, kind[0] == 'r' ? count * 5 / 4 : count);
    if (kind[0] == 'p')
        snprintf(text, sizeof text, "planted,users=80,items=60,ratings=%d,split=none", count);
    assert_int_equal(plugin_open(&data_list, text, data), HYSGD_OK);
    assert_int_equal(data_ops(data)->init(data->self, 3), HYSGD_OK);
}

static inline void samples_close(struct plugin *data) {
    if (data_ops(data)->fini)
        data_ops(data)->fini(data->self);
    plugin_close(data);
}

#endif
