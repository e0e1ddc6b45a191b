/* SPDX-License-Identifier: Apache-2.0 */
/* The live view as a sink: what it answers from begin to end, over a socket, and that it leaves nothing behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "record/serve_request.h"
#include "record/sinks.h"
#include "samples.h"

/* A socket that listens at a port of the system's choice; the port, as the text of an address. */
static int occupy(char address[16]) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof any;
    int opened = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(opened >= 0 && bind(opened, (struct sockaddr *)&any, size) == 0 && listen(opened, 1) == 0);
    assert_int_equal(getsockname(opened, (struct sockaddr *)&any, &size), 0);
    snprintf(address, 16, "%d", ntohs(any.sin_port));
    return opened;
}

static void find_port(char address[16]) {
    close(occupy(address));
}

/* A connection on which this was asked for. */
static int ask(const char *address, const char *path) {
    struct serve_address to;
    char request[128];
    assert_int_equal(serve_address_parse(address, &to), HYSGD_OK);
    int opened = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(opened, &to.socket.any, to.size), 0);
    int length =
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(write(opened, request, (size_t)length), length);
    return opened;
}

/* All that comes until the other side closes, which is closed here; the caller frees it. */
static char *take(int opened) {
    FILE *stream = fdopen(opened, "r");
    char *text = NULL;
    size_t size = 0;
    assert_non_null(stream);
    assert_true(getdelim(&text, &size, '\0', stream) > 0);
    fclose(stream);
    return text;
}

static void expect_answer(const char *address, const char *path, const char *part) {
    char *text = take(ask(address, path));
    if (strstr(text, part) == NULL)
        fail_msg("%s: %s is not in: %.300s", path, part, text);
    free(text);
}

static void the_run_is_shown_from_its_beginning_to_its_end(void **state) {
    (void)state;
    char address[16];
    void *serve;
    find_port(address);
    assert_int_equal(sink_serve_alloc(address, &serve), HYSGD_OK);
    expect_answer(address, "/", "503");
    expect_answer(address, "/data", "503");
    assert_int_equal(sink_serve.begin(serve, &sample_run), HYSGD_OK);
    expect_answer(address, "/", "<title>hysgd report</title>");
    expect_answer(address, "/", "connect-src 'self'");
    expect_answer(address, "/data", "\"serial\":1,");
    int waiting = ask(address, "/data?after=1");
    const struct event arrival = sample_arrival(1, 1, 0.5, 0.25, 2);
    assert_int_equal(sink_serve.event(serve, &arrival), HYSGD_OK);
    assert_int_equal(sink_serve.end(serve, &sample_summary), HYSGD_OK);
    char *end = take(waiting);
    assert_non_null(strstr(end, "\"is_running\":false"));
    free(end);
    expect_answer(address, "/metrics", "\nhysgd_running 0\n");
    sink_serve_free(serve);
}

static void the_metrics_are_those_of_the_moment(void **state) {
    (void)state;
    char address[16];
    void *serve;
    struct event_run run = sample_run;
    run.title = "a\\b\"c\nd";
    find_port(address);
    assert_int_equal(sink_serve_alloc(address, &serve), HYSGD_OK);
    assert_int_equal(sink_serve.begin(serve, &run), HYSGD_OK);
    const struct event events[] = {sample_start(1, 0.5, 3), sample_arrival(1, 1.5, 0.5, 0.25, 2)};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(sink_serve.event(serve, &events[i]), HYSGD_OK);
    assert_int_equal(sink_serve.pulse(serve, 2), HYSGD_OK);
    char *text = take(ask(address, "/metrics"));
    static const char *const parts[] = {"policy=\"a\\\\b\\\"c\\nd\"",
                                        "\nhysgd_running 1\n",
                                        "\nhysgd_gradients_received_total{worker=\"1\"} 1\n",
                                        "\nhysgd_gradients_held{worker=\"1\"} 1\n",
                                        "\nhysgd_worker_seconds_total{worker=\"1\",activity=\"waiting\"} 0.5\n",
                                        "\nhysgd_worker_seconds_total{worker=\"0\",activity=\"waiting\"} 1.5\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(text, parts[i]) == NULL)
            fail_msg("%s is not in %s", parts[i], text);
    free(text);
    sink_serve_free(serve);
}

static void a_port_in_use_is_named(void **state) {
    (void)state;
    char address[16];
    void *serve;
    int opened = occupy(address);
    assert_int_equal(sink_serve_alloc(address, &serve), HYSGD_OUTPUT);
    assert_null(serve);
    assert_non_null(strstr(hysgd_error_message(), address));
    assert_non_null(strstr(hysgd_error_message(), "Address already in use"));
    close(opened);
}

/* Readers that wait do not keep it from being freed, and it is silent after that. */
static void it_closes_with_readers_waiting(void **state) {
    (void)state;
    char address[16];
    void *serve;
    find_port(address);
    assert_int_equal(sink_serve_alloc(address, &serve), HYSGD_OK);
    assert_int_equal(sink_serve.begin(serve, &sample_run), HYSGD_OK);
    int waiting[3];
    for (int i = 0; i < 3; i++)
        waiting[i] = ask(address, "/data?after=1");
    expect_answer(address, "/data", "\"is_running\":true");
    sink_serve_free(serve);
    for (int i = 0; i < 3; i++)
        close(waiting[i]);
}

static void memory_failures_leave_nothing_behind(void **state) {
    (void)state;
    size_t before = memory_used();
    const struct event arrival = sample_arrival(1, 1, 0.5, 0.25, 2);
    uint64_t n = 1;
    for (enum hysgd_status status = HYSGD_MEMORY; status != HYSGD_OK; n++) {
        char address[16];
        void *serve;
        find_port(address);
        memory_fail_at(n);
        status = sink_serve_alloc(address, &serve);
        if (status == HYSGD_OK)
            status = sink_serve.begin(serve, &sample_run);
        if (status == HYSGD_OK)
            status = sink_serve.event(serve, &arrival);
        if (status == HYSGD_OK)
            status = sink_serve.end(serve, &sample_summary);
        memory_fail_at(0);
        sink_serve_free(serve);
        assert_int_equal(memory_used(), before);
        assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
    }
    assert_true(n > 10);
}

static void there_is_no_live_view(void **state) {
    (void)state;
    fputs("test_serve skipped because the library was built without libmicrohttpd\n", stderr);
    skip();
}

int main(void) {
    const struct CMUnitTest none[] = {cmocka_unit_test(there_is_no_live_view)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_run_is_shown_from_its_beginning_to_its_end),
        cmocka_unit_test(the_metrics_are_those_of_the_moment),
        cmocka_unit_test(a_port_in_use_is_named),
        cmocka_unit_test(it_closes_with_readers_waiting),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return sink_serve.begin != NULL ? cmocka_run_group_tests(tests, NULL, NULL)
                                    : cmocka_run_group_tests(none, NULL, NULL);
}
