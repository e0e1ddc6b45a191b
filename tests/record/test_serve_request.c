/* SPDX-License-Identifier: Apache-2.0 */
/* The addresses and requests that the live view understands. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/serve_request.h"

#include <string.h>

static void an_address_has_a_port_and_is_the_loopback_by_default(void **state) {
    (void)state;
    static const struct {
        const char *text;
        sa_family_t family;
        in_port_t port;
        bool is_loopback;
    } good[] = {{"8080", AF_INET, 8080, true},
                {"127.0.0.1:1", AF_INET, 1, true},
                {"localhost:65535", AF_INET, 65535, true},
                {"127.9.9.9:80", AF_INET, 80, true},
                {"0.0.0.0:8080", AF_INET, 8080, false},
                {"192.168.1.2:8080", AF_INET, 8080, false},
                {"[::1]:8080", AF_INET6, 8080, true},
                {"[::]:8080", AF_INET6, 8080, false}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct serve_address address;
        assert_int_equal(serve_address_parse(good[i].text, &address), HYSGD_OK);
        assert_int_equal(address.socket.any.sa_family, good[i].family);
        assert_int_equal(address.is_loopback, good[i].is_loopback);
        in_port_t port = good[i].family == AF_INET ? address.socket.four.sin_port : address.socket.six.sin6_port;
        assert_int_equal(ntohs(port), good[i].port);
    }
}

static void other_addresses_are_refused_with_what_was_expected(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",           "0",           "65536",       "-1",         " 80",
        "80 ",        "8080x",       ":8080",       "example:80", "256.0.0.1:80",
        "::1:8080",   "[::1]",       "[::1]:",      "[]:80",      "[::1:80",
        "127.0.0.1:", "127.0.0.1:0", "a:b:c",       "1e3",        "99999999999999999999",
        "0x50",       "127.1:80",    "[1.2.3.4]:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct serve_address address = {.size = 7};
        assert_int_equal(serve_address_parse(bad[i], &address), HYSGD_USAGE);
        assert_int_equal(address.size, 7);
        assert_non_null(strstr(hysgd_error_message(), "expected [ADDRESS:]PORT"));
    }
}

static enum serve_answer ask(const char *method, const char *path, const char *after, const char *host,
                             uint64_t *after_out) {
    const struct serve_request request = {.method = method, .path = path, .after = after, .host = host};
    return serve_request_read(&request, true, after_out);
}

static void three_pages_are_answered(void **state) {
    (void)state;
    uint64_t after;
    assert_int_equal(ask("GET", "/", NULL, NULL, &after), SERVE_PAGE);
    assert_int_equal(ask("HEAD", "/metrics", NULL, "localhost:8080", &after), SERVE_METRICS);
    assert_int_equal(ask("GET", "/data", "9999999999999999999", NULL, &after), SERVE_DATA);
    assert_true(after == UINT64_C(9999999999999999999));
    assert_int_equal(ask("GET", "/data", NULL, NULL, &after), SERVE_DATA);
    assert_int_equal(after, 0);
    assert_int_equal(ask("GET", "", NULL, NULL, &after), SERVE_NOT_FOUND);
    assert_int_equal(ask("GET", "/data/../data", NULL, NULL, &after), SERVE_NOT_FOUND);
    assert_int_equal(ask("get", "/", NULL, NULL, &after), SERVE_NOT_ALLOWED);
    assert_int_equal(ask("POST", "/data", NULL, NULL, &after), SERVE_NOT_ALLOWED);
}

static void what_is_not_a_count_is_a_bad_request(void **state) {
    (void)state;
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "99999999999999999999", "one"};
    uint64_t after = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(ask("GET", "/data", bad[i], NULL, &after), SERVE_BAD_REQUEST);
        assert_int_equal(after, 0);
    }
}

static void on_the_loopback_only_its_own_names_are_answered(void **state) {
    (void)state;
    static const char *const own[] = {"localhost", "localhost:8080", "127.0.0.1:1", "127.8.8.8", "[::1]:80"};
    static const char *const others[] = {
        "",         "example.org",          "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1:8080",
        "[::2]:80", "127.0.0.1@example.org"};
    uint64_t after;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        assert_int_equal(ask("GET", "/", NULL, own[i], &after), SERVE_PAGE);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(ask("GET", "/", NULL, others[i], &after), SERVE_FORBIDDEN);
        const struct serve_request request = {.method = "GET", .path = "/", .host = others[i]};
        assert_int_equal(serve_request_read(&request, false, &after), SERVE_PAGE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_a_port_and_is_the_loopback_by_default),
        cmocka_unit_test(other_addresses_are_refused_with_what_was_expected),
        cmocka_unit_test(three_pages_are_answered),
        cmocka_unit_test(what_is_not_a_count_is_a_bad_request),
        cmocka_unit_test(on_the_loopback_only_its_own_names_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
