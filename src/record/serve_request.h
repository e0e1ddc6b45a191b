/* SPDX-License-Identifier: Apache-2.0 */
/* What a live view understands: the address that it listens at, and the requests that it answers. Opens nothing. */
#ifndef HYSGD_RECORD_SERVE_REQUEST_H
#define HYSGD_RECORD_SERVE_REQUEST_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/status.h"

struct serve_address {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } socket;
    socklen_t size;
    bool is_loopback; /* only this machine can reach it */
};

/* Reads "[ADDRESS:]PORT": a port from 1 to 65535 after an IPv4 address, an IPv6 address in brackets, "localhost",
 * or nothing, which is 127.0.0.1. HYSGD_USAGE says what was expected. */
HYSGD_MUST_CHECK enum hysgd_status serve_address_parse(const char *text, struct serve_address *address_out);

enum serve_answer {
    SERVE_PAGE,        /* the report */
    SERVE_DATA,        /* a moment of the run later than `after` */
    SERVE_METRICS,     /* for Prometheus */
    SERVE_BAD_REQUEST, /* `after` is not a number */
    SERVE_FORBIDDEN,   /* the name of another host */
    SERVE_NOT_FOUND,
    SERVE_NOT_ALLOWED /* neither GET nor HEAD */
};

/* One request; texts as they came, NULL where there is none. */
struct serve_request {
    const char *method, *path, *after, *host;
};

/* What to answer. `is_loopback` refuses hosts that are not this machine's own: a page of another site, whose name
 * was made to lead here, must not read the run. `after_out` is 0 where the request names none. */
enum serve_answer serve_request_read(const struct serve_request *request, bool is_loopback, uint64_t *after_out);

#endif
