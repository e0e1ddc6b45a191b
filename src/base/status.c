/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes and the calling thread's latest failure message. The message is one line whatever went into it, so
 * that a hostile file name or value can neither break a log apart nor steer a terminal. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_BYTES 1536

static _Thread_local char latest_message[MESSAGE_BYTES];

const char *hysgd_status_text(enum hysgd_status status) {
    switch (status) {
#define X(name, exit_code, text)                                                                                   \
    case HYSGD_##name:                                                                                             \
        return text;
        HYSGD_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

int hysgd_status_exit_code(enum hysgd_status status) {
    switch (status) {
#define X(name, exit_code, text)                                                                                   \
    case HYSGD_##name:                                                                                             \
        return exit_code;
        HYSGD_STATUS_LIST(X)
#undef X
    }
    return 1;
}

const char *hysgd_error_message(void) {
    return latest_message;
}

static bool is_inside_character(char byte) {
    return ((unsigned char)byte & 0xC0) == 0x80; /* a continuation byte of UTF-8 */
}

/* `line` holds a text of `length` bytes, or its beginning when that exceeds the buffer. */
static void keep_message(char line[MESSAGE_BYTES], size_t length) {
    if (length >= MESSAGE_BYTES) {
        size_t cut = MESSAGE_BYTES - sizeof "...";
        while (cut > 0 && is_inside_character(line[cut]))
            cut--;
        memcpy(line + cut, "...", sizeof "...");
    }
    for (char *at = line; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            *at = '?';
    memcpy(latest_message, line, strlen(line) + 1);
}

enum hysgd_status hysgd_fail(enum hysgd_status status, const char *format, ...) {
    char line[MESSAGE_BYTES]; /* not latest_message, which may be among the arguments */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0)
        length = snprintf(line, sizeof line, "%s", hysgd_status_text(status));
    keep_message(line, (size_t)length);
    return status;
}

enum hysgd_status status_locate(enum hysgd_status status, const char *where) {
    if (status == HYSGD_OK)
        return status;
    return hysgd_fail(status, "%s: %s", where, latest_message);
}

void status_set_message(const char *message) {
    char line[MESSAGE_BYTES];
    int length = snprintf(line, sizeof line, "%s", message);
    keep_message(line, length < 0 ? 0 : (size_t)length);
}
