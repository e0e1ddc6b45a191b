/* SPDX-License-Identifier: Apache-2.0 */
/* Reads addresses and requests: see serve_request.h. */
#include "record/serve_request.h"

#include <arpa/inet.h>
#include <string.h>

#define MOST_DIGITS 19 /* fit into 64 bits */

/* All of `text` as a number without sign, at most MOST_DIGITS digits. */
static bool read_count(const char *text, uint64_t *count_out) {
    uint64_t count = 0;
    size_t length = strspn(text, "0123456789");
    if (length == 0 || length > MOST_DIGITS || text[length] != '\0')
        return false;
    for (size_t i = 0; i < length; i++)
        count = 10 * count + (uint64_t)(text[i] - '0');
    *count_out = count;
    return true;
}

/* ---- Address ---- */

static bool read_host(const char *host, in_port_t port, struct serve_address *address) {
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &address->socket.four.sin_addr) == 1) {
        address->socket.four.sin_family = AF_INET;
        address->socket.four.sin_port = port;
        address->size = sizeof address->socket.four;
        address->is_loopback = ntohl(address->socket.four.sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    size_t length = strlen(host);
    char inner[INET6_ADDRSTRLEN];
    if (length < 2 || length - 2 >= sizeof inner || host[0] != '[' || host[length - 1] != ']')
        return false;
    memcpy(inner, host + 1, length - 2);
    inner[length - 2] = '\0';
    if (inet_pton(AF_INET6, inner, &address->socket.six.sin6_addr) != 1)
        return false;
    address->socket.six.sin6_family = AF_INET6;
    address->socket.six.sin6_port = port;
    address->size = sizeof address->socket.six;
    address->is_loopback = IN6_IS_ADDR_LOOPBACK(&address->socket.six.sin6_addr);
    return true;
}

enum hysgd_status serve_address_parse(const char *text, struct serve_address *address_out) {
    struct serve_address address = {0};
    char host[64] = "localhost";
    const char *colon = strrchr(text, ':'), *port_text = colon != NULL ? colon + 1 : text;
    uint64_t port;
    if (colon != NULL && (size_t)(colon - text) < sizeof host) {
        memcpy(host, text, (size_t)(colon - text));
        host[colon - text] = '\0';
    } else if (colon != NULL) {
        host[0] = '\0';
    }
    if (!read_count(port_text, &port) || port == 0 || port > 65535 ||
        !read_host(host, htons((in_port_t)port), &address))
        return hysgd_fail(HYSGD_USAGE,
                          "serve=%s is not valid: expected [ADDRESS:]PORT with a port from 1 to 65535, as in 8080, "
                          "0.0.0.0:8080 or [::1]:8080",
                          text);
    *address_out = address;
    return HYSGD_OK;
}

/* ---- Requests ---- */

/* "localhost" or an address of the loopback, before the end or a port. */
static bool is_own_host(const char *host) {
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        size_t length = strlen(own[i]);
        if (strncmp(host, own[i], length) == 0 && (host[length] == '\0' || host[length] == ':'))
            return true;
    }
    struct in_addr address;
    char text[INET_ADDRSTRLEN];
    size_t length = strcspn(host, ":");
    if (length >= sizeof text)
        return false;
    memcpy(text, host, length);
    text[length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

enum serve_answer serve_request_read(const struct serve_request *request, bool is_loopback, uint64_t *after_out) {
    static const struct {
        const char *path;
        enum serve_answer answer;
    } pages[] = {{"/", SERVE_PAGE}, {"/data", SERVE_DATA}, {"/metrics", SERVE_METRICS}};
    *after_out = 0;
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        return SERVE_NOT_ALLOWED;
    if (is_loopback && request->host != NULL && !is_own_host(request->host))
        return SERVE_FORBIDDEN;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (strcmp(request->path, pages[i].path) == 0) {
            if (request->after != NULL && !read_count(request->after, after_out))
                return SERVE_BAD_REQUEST;
            return pages[i].answer;
        }
    return SERVE_NOT_FOUND;
}
