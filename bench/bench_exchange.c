/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to hand a vector from one core to another, over and over: the writer's time for lines that the
 * reader has in its cache, and the reader's time for fresh ones, with usual stores and with streams. Half a vector
 * of the mlp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "core_latency.h"
#include "linalg/vector.h"

#define COUNT 117760
#define TURNS 300

struct exchange {
    float *shared, *values, *sum; /* [COUNT] each; the latter two of the writer and of the reader alone */
    bool streams;
    _Alignas(128) atomic_int turn; /* even: the writer's */
    _Alignas(128) double write_seconds, read_seconds;
};

static void await(struct exchange *exchange, int turn) {
    for (unsigned i = 0; atomic_load_explicit(&exchange->turn, memory_order_acquire) != turn; i++)
        if (i > 100000)
            sched_yield();
}

static void *write_turns(void *argument) {
    struct exchange *exchange = argument;
    core_latency_pin(0);
    for (int turn = 0; turn < 2 * TURNS; turn += 2) {
        await(exchange, turn);
        double begun = core_latency_now();
        if (exchange->streams)
            vector_stream(exchange->shared, exchange->values, COUNT);
        else
            memcpy(exchange->shared, exchange->values, COUNT * sizeof(float));
        vector_end_stream();
        exchange->write_seconds += core_latency_now() - begun;
        atomic_store_explicit(&exchange->turn, turn + 1, memory_order_release);
    }
    return NULL;
}

static void *read_turns(void *argument) {
    struct exchange *exchange = argument;
    core_latency_pin(1);
    for (int turn = 1; turn < 2 * TURNS; turn += 2) {
        await(exchange, turn);
        double begun = core_latency_now();
        vector_accumulate(exchange->sum, exchange->shared, 0.5f, 1, COUNT);
        exchange->read_seconds += core_latency_now() - begun;
        atomic_store_explicit(&exchange->turn, turn + 1, memory_order_release);
    }
    return NULL;
}

static bool measure(struct exchange *exchange, bool streams) {
    pthread_t writer, reader;
    atomic_store(&exchange->turn, 0);
    exchange->streams = streams;
    exchange->write_seconds = exchange->read_seconds = 0;
    if (pthread_create(&writer, NULL, write_turns, exchange) != 0)
        return false;
    if (pthread_create(&reader, NULL, read_turns, exchange) != 0)
        exit(1); /* the writer waits for ever */
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    double lines = (double)TURNS * COUNT / 16;
    printf("  %-14s write %5.1f ns, read %5.1f ns a line of 64 bytes\n", streams ? "streams" : "usual stores",
           exchange->write_seconds / lines * 1e9, exchange->read_seconds / lines * 1e9);
    return true;
}

int main(void) {
    static struct exchange exchange;
    double latency = core_latency();
    if (isnan(latency) || memory_alloc(COUNT, sizeof(float), &exchange.shared) != HYSGD_OK ||
        memory_alloc(COUNT, sizeof(float), &exchange.values) != HYSGD_OK ||
        memory_alloc(COUNT, sizeof(float), &exchange.sum) != HYSGD_OK) {
        fprintf(stderr, "bench_exchange: two cores and some memory are needed\n");
        return 1;
    }
    printf("handing a vector from core to core, %.0f ns apart\n", latency);
    bool is_done = measure(&exchange, false) && measure(&exchange, true);
    memory_free(exchange.shared);
    memory_free(exchange.values);
    memory_free(exchange.sum);
    return is_done ? 0 : 1;
}
