/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile configuration files: what is accepted must print to a file that reads back to the same options; what is
 * refused must have a message and leave nothing behind. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "train/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Prints every option that is read. */
static enum hysgd_status print_option(void *self, const char *key, const char *value) {
    config_print(key, value, self);
    return HYSGD_OK;
}

/* The options of the text as a file, to be freed; NULL when it is refused. */
static char *print_all(const char *text, size_t length, size_t *printed_out) {
    char *printed = NULL;
    FILE *out = open_memstream(&printed, printed_out);
    enum hysgd_status status = config_read_text("fuzz", text, length, print_option, out);
    fclose(out);
    if (status == HYSGD_OK)
        return printed;
    if (hysgd_error_message()[0] == '\0')
        abort();
    free(printed);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t before = memory_used(), first_length, second_length;
    char *first = print_all((const char *)bytes, size, &first_length);
    if (first != NULL) {
        char *second = print_all(first, first_length, &second_length);
        if (second == NULL || first_length != second_length || memcmp(first, second, first_length) != 0)
            abort();
        free(second);
    }
    free(first);
    if (memory_used() != before)
        abort();
    return 0;
}
