/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the list of policies from list.h; writes and reads what a checkpoint keeps of a policy. */
#include "policy/policy.h"

#include <string.h>

#include "base/memory.h"
#include "base/options.h"

#define X(name) extern const struct hysgd_policy_ops policy_##name;
#include "policy/list.h"
#undef X

static const struct hysgd_plugin *const entries[] = {
#define X(name) &policy_##name.about,
#include "policy/list.h"
#undef X
};

const struct plugin_list policy_list = {
    .kind = "policy",
    .entries = entries,
    .count = sizeof entries / sizeof entries[0],
};

#define STATE_NAME_BYTES 96

/* What the policy keeps for each worker; NULL when it keeps nothing. */
static char *saved_array(const struct hysgd_policy_ops *ops, const void *self) {
    return ops->saved_workers != NULL ? *(char *const *)((const char *)self + ops->saved_workers->array) : NULL;
}

void policy_print_saved(const struct hysgd_policy_ops *ops, const void *self, int workers, FILE *out) {
    const char *array = saved_array(ops, self);
    options_print(ops->saved, self, out);
    for (int i = 0; array != NULL && i < workers; i++) {
        fputc('\n', out);
        options_print(ops->saved_workers->fields, array + (size_t)i * ops->saved_workers->size, out);
    }
}

/* `text` is cut into its lines. */
static enum hysgd_status parse_workers(const struct hysgd_policy_ops *ops, void *self, int workers, char *text) {
    char what[STATE_NAME_BYTES], *array = saved_array(ops, self);
    char *line = strchr(text, '\n');
    if (line != NULL)
        *line++ = '\0';
    snprintf(what, sizeof what, "saved state of policy %s", ops->about.name);
    HYSGD_TRY(options_parse(ops->saved, self, what, text));
    int count = 0;
    for (char *next; line != NULL && count < workers; line = next, count++) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        HYSGD_TRY(options_parse(ops->saved_workers->fields, array + (size_t)count * ops->saved_workers->size, what,
                                line));
    }
    if (count == workers && line == NULL)
        return HYSGD_OK;
    return hysgd_fail(HYSGD_USAGE, "%s: has %s than a line for each of %d workers", what,
                      count < workers ? "less" : "more", workers);
}

enum hysgd_status policy_parse_saved(const struct hysgd_policy_ops *ops, void *self, int workers,
                                     const char *text) {
    char what[STATE_NAME_BYTES];
    snprintf(what, sizeof what, "saved state of policy %s", ops->about.name);
    if (saved_array(ops, self) == NULL)
        return options_parse(ops->saved, self, what, text);
    char *copy;
    HYSGD_TRY(memory_copy_text(text, &copy));
    enum hysgd_status status = parse_workers(ops, self, workers, copy);
    memory_free(copy);
    return status;
}
