/* SPDX-License-Identifier: Apache-2.0 */
/* Small additions to jansson. */
#include "train/json.h"

#include <math.h>

json_t *json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_text(const char *text) {
    return text != NULL ? json_string(text) : json_null();
}

json_t *json_drop(json_t *json) {
    json_decref(json);
    return NULL;
}

enum hysgd_status json_print(json_t *json, size_t flags, FILE *out) {
    if (json == NULL)
        return hysgd_fail(HYSGD_MEMORY, "no memory for the result as JSON");
    /* A fault of the stream stays noted in it, for whoever closes it. */
    json_dumpf(json, out, flags | JSON_REAL_PRECISION(15));
    fputc('\n', out);
    json_decref(json);
    return HYSGD_OK;
}
