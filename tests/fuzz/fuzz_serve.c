/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile requests to the live view, and hostile addresses: up to four lines are method, path, after and host, the
 * whole is an address. Only the three pages are ever answered, and only to the methods that read. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "record/serve_request.h"

static void expect(bool is_true) {
    if (!is_true)
        abort();
}

/* The first line, ended in place; `*rest` goes behind it, or becomes NULL at the end. */
static char *take_line(char **rest) {
    char *line = *rest;
    if (line == NULL)
        return NULL;
    char *end = strchr(line, '\n');
    *rest = end != NULL ? end + 1 : NULL;
    if (end != NULL)
        *end = '\0';
    return line;
}

static bool is_one_of(const char *text, const char *const *words) {
    while (*words != NULL && strcmp(*words, text) != 0)
        words++;
    return *words != NULL;
}

static void check_request(char *text, bool is_loopback) {
    static const char *const methods[] = {"GET", "HEAD", NULL}, *const paths[] = {"/", "/data", "/metrics", NULL};
    struct serve_request request = {0};
    char *rest = text;
    uint64_t after = 1;
    request.method = take_line(&rest);
    request.path = rest != NULL ? take_line(&rest) : "";
    request.after = take_line(&rest);
    request.host = take_line(&rest);
    enum serve_answer answer = serve_request_read(&request, is_loopback, &after);
    expect(is_one_of(request.method, methods) == (answer != SERVE_NOT_ALLOWED));
    if (answer == SERVE_PAGE || answer == SERVE_DATA || answer == SERVE_METRICS)
        expect(is_one_of(request.path, paths) && (request.after == NULL || request.after[0] != '\0'));
    else
        expect(after == 0);
    expect(is_loopback || answer != SERVE_FORBIDDEN);
}

static void check_address(const char *text) {
    struct serve_address address = {0};
    status_set_message("");
    if (serve_address_parse(text, &address) != HYSGD_OK) {
        expect(*hysgd_error_message() != '\0' && address.size == 0);
        return;
    }
    bool is_six = address.socket.any.sa_family == AF_INET6;
    expect(is_six || address.socket.any.sa_family == AF_INET);
    expect(address.size == (is_six ? sizeof address.socket.six : sizeof address.socket.four));
    expect((is_six ? address.socket.six.sin6_port : address.socket.four.sin_port) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int is_loopback = 0; is_loopback < 2; is_loopback++) {
        char *text = malloc(size + 1);
        expect(text != NULL);
        memcpy(text, data, size);
        text[size] = '\0';
        check_address(text);
        check_request(text, is_loopback);
        free(text);
    }
    expect(memory_used() == 0);
    return 0;
}
