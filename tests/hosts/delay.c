/* SPDX-License-Identifier: Apache-2.0 */
/* A long or bad line between two network interfaces: every frame that arrives at one of them leaves at the other
 * after a delay with jitter, in order, or is lost by chance. One thread, idle when nothing is on the way; killing
 * the program cuts the line, and nobody is told. For kernels without netem; the rate of a line is left to tbf.
 *
 *     delay INTERFACE INTERFACE MILLISECONDS [JITTER_MILLISECONDS [LOSS_PER_CENT]]
 *
 * Frames come with the header that tells of pending checksums and segmentation (PACKET_VNET_HDR): what the sending
 * host has left to its hardware, virtual here, would otherwise be lost on the way. */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include <arpa/inet.h>

#define MOST_FRAME  (1 << 17) /* a frame before its segmentation can have 64 KiB, and its headers */
#define MOST_QUEUED (64 << 20)
#define BUFFER      (16 << 20)
#define RETRY       50e-6 /* seconds, where the other side's queue is full */

struct frame {
    struct frame *next;
    double due; /* when it leaves, on the clock of now() */
    size_t size;
    unsigned char bytes[];
};

/* One way of the line. */
struct way {
    int from, to; /* sockets */
    struct frame *first, *last;
    size_t queued; /* bytes */
};

struct line {
    double delay, jitter;  /* seconds; the jitter is uniform, and added */
    double loss;           /* 0 to 1 */
    unsigned char *buffer; /* [MOST_FRAME] */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set(int socket, int level, int option, int value, const char *name) {
    if (setsockopt(socket, level, option, &value, sizeof value))
        fail(name);
}

static int open_interface(const char *name) {
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    address.sll_ifindex = (int)if_nametoindex(name);
    if (!address.sll_ifindex)
        fail(name);
    int opened = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0); /* hears nothing before it is bound */
    if (opened < 0)
        fail("a packet socket");
    set(opened, SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR");
    set(opened, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
    set(opened, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER, "SO_RCVBUFFORCE");
    set(opened, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER, "SO_SNDBUFFORCE");
    struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(opened, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all))
        fail("PACKET_ADD_MEMBERSHIP");
    if (bind(opened, (struct sockaddr *)&address, sizeof address))
        fail(name);
    return opened;
}

/* Puts what has arrived into the queue. */
static void take(struct way *way, const struct line *line) {
    for (;;) {
        ssize_t size = recv(way->from, line->buffer, MOST_FRAME, 0);
        if (size <= 0)
            return; /* nothing more, or an interface that is down: it may come up again */
        if (drand48() < line->loss || way->queued > MOST_QUEUED)
            continue;
        struct frame *frame = malloc(sizeof *frame + (size_t)size);
        if (!frame)
            continue; /* lost, as on any line that is overloaded */
        *frame = (struct frame){.due = now() + line->delay + line->jitter * drand48(), .size = (size_t)size};
        memcpy(frame->bytes, line->buffer, frame->size);
        if (way->last && frame->due < way->last->due)
            frame->due = way->last->due; /* jitter does not overtake */
        *(way->last ? &way->last->next : &way->first) = frame;
        way->last = frame;
        way->queued += frame->size;
    }
}

/* Sends what is due; returns when to look again. */
static double give(struct way *way) {
    double time = now();
    while (way->first && way->first->due <= time) {
        struct frame *frame = way->first;
        if (send(way->to, frame->bytes, frame->size, 0) < 0 && (errno == EAGAIN || errno == ENOBUFS))
            return time + RETRY;
        way->queued -= frame->size;
        way->first = frame->next;
        if (!way->first)
            way->last = NULL;
        free(frame);
    }
    return way->first ? way->first->due : INFINITY;
}

static void carry(struct way ways[2], const struct line *line) {
    struct pollfd sockets[2] = {{.fd = ways[0].from, .events = POLLIN}, {.fd = ways[1].from, .events = POLLIN}};
    for (;;) {
        for (int i = 0; i < 2; i++)
            take(&ways[i], line);
        double next = give(&ways[0]), other = give(&ways[1]);
        double wait = (other < next ? other : next) - now();
        wait = wait < 0 ? 0 : wait;
        struct timespec time = {.tv_sec = (time_t)wait, .tv_nsec = (long)((wait - (double)(time_t)wait) * 1e9)};
        if (ppoll(sockets, 2, wait > 1e6 ? NULL : &time, NULL) < 0 && errno != EINTR)
            fail("ppoll");
    }
}

static double number(const char *text, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= most)) {
        fprintf(stderr, "delay: '%s': expected a number from 0 to %g\n", text, most);
        exit(2);
    }
    return value;
}

int main(int count, char **words) {
    if (count < 4 || count > 6) {
        fputs("usage: delay INTERFACE INTERFACE MILLISECONDS [JITTER_MILLISECONDS [LOSS_PER_CENT]]\n", stderr);
        return 2;
    }
    struct line line = {.delay = number(words[3], 1e5) / 1e3,
                        .jitter = count > 4 ? number(words[4], 1e5) / 1e3 : 0,
                        .loss = count > 5 ? number(words[5], 100) / 100 : 0,
                        .buffer = malloc(MOST_FRAME)};
    if (!line.buffer)
        fail("a frame");
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    int one = open_interface(words[1]), two = open_interface(words[2]);
    struct way ways[2] = {{.from = one, .to = two}, {.from = two, .to = one}};
    puts("ready");
    fflush(stdout);
    carry(ways, &line);
}
