/* SPDX-License-Identifier: Apache-2.0 */
/* The words around the question of control.h: see join.h. */
#include "train/join.h"

#include "runtime/control.h"

enum hysgd_status join_run(const char *path, const char *host, FILE *out) {
    char answer[CONTROL_LINE] = "";
    HYSGD_TRY(control_ask(path, host, answer));
    fprintf(out, "%s\n", answer);
    return HYSGD_OK;
}
