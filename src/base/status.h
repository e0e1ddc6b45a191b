/* SPDX-License-Identifier: Apache-2.0 */
/* Passing a failure on: whoever finds a fault calls hysgd_fail with the complete line, callers use HYSGD_TRY. */
#ifndef HYSGD_BASE_STATUS_H
#define HYSGD_BASE_STATUS_H

#include "hysgd.h"

/* Returns from the calling function with the status of `call` unless it is HYSGD_OK. The only macro that hides a
 * return. */
#define HYSGD_TRY(call)                                                                                            \
    do {                                                                                                           \
        enum hysgd_status status_of_call = (call);                                                                 \
        if (status_of_call != HYSGD_OK)                                                                            \
            return status_of_call;                                                                                 \
    } while (0)

/* Puts "WHERE: " before the message of the calling thread's latest failure and returns `status`. */
HYSGD_MUST_CHECK enum hysgd_status status_locate(enum hysgd_status status, const char *where);

/* Replaces the calling thread's message; used to carry a failure from one thread to another. */
void status_set_message(const char *message);

#endif
