/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of serve.c where the library is missing that speaks HTTP. */
#include "record/sinks.h"

enum hysgd_status sink_serve_alloc(const char *address, void **self_out) {
    *self_out = NULL;
    return hysgd_fail(HYSGD_USAGE,
                      "serve=%s: this program was built without libmicrohttpd, which it needs for that", address);
}

void sink_serve_free(void *self) {
    (void)self;
}

const struct sink_ops sink_serve = {0};
