/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the list of corrections from list.h; what a correction demands of the run. */
#include "correction/correction.h"

#include <string.h>

#define X(name) extern const struct correction_ops correction_##name;
#include "correction/list.h"
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &correction_##name.about,
#include "correction/list.h"
#undef X
};

const struct plugin_list correction_list = {
    .kind = "correction",
    .entries = entries,
    .count = sizeof entries / sizeof entries[0],
};

enum hysgd_status correction_check(const struct correction_ops *ops, const char *optimizer) {
    if (ops->optimizer == NULL || strcmp(ops->optimizer, optimizer) == 0)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "correction %s: is defined for optimizer %s: optimizer %s is not valid with it",
                      ops->about.name, ops->optimizer, optimizer);
}

double correction_vectors(const struct plugin *correction, int workers) {
    const struct correction_ops *ops = correction_ops(correction);
    double count = 0;
    if (ops->needs_read)
        count += workers;
    if (ops->worker_state)
        count += workers + 1;
    if (ops->shared_state && ops->shared_state(correction->self))
        count += 1;
    if (ops->look_ahead)
        count += 1;
    return count;
}
