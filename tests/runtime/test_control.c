/* SPDX-License-Identifier: Apache-2.0 */
/* The door of a run: who asks is heard and answered, and does not wait for one who cannot answer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "runtime/control.h"

struct place {
    char folder[32], path[64];
};

static struct place make_place(void) {
    struct place place = {.folder = "/tmp/hysgd-control-XXXXXX"};
    assert_non_null(mkdtemp(place.folder));
    snprintf(place.path, sizeof place.path, "%s/door", place.folder);
    return place;
}

static void remove_place(const struct place *place) {
    unlink(place->path);
    rmdir(place->folder);
}

/* Somebody who asks. */
struct asking {
    const char *path, *host;
    pthread_t thread;
    enum hysgd_status status;
    char answer[CONTROL_LINE], message[1024];
};

static void *asking_main(void *argument) {
    struct asking *asking = argument;
    asking->status = control_ask(asking->path, asking->host, asking->answer);
    snprintf(asking->message, sizeof asking->message, "%s", hysgd_error_message());
    return NULL;
}

static void who_asks_is_heard_and_answered(void **state) {
    (void)state;
    for (int is_yes = 0; is_yes < 2; is_yes++) {
        struct place place = make_place();
        struct control *control;
        struct asking asking = {.path = place.path, .host = "node7"};
        char host[256];
        assert_int_equal(control_open(place.path, false, &control), HYSGD_OK);
        pthread_create(&asking.thread, NULL, asking_main, &asking);
        while (!control_hear(control, host))
            sched_yield();
        assert_string_equal(host, "node7");
        control_answer(control, is_yes, "because");
        pthread_join(asking.thread, NULL);
        assert_int_equal(asking.status, is_yes ? HYSGD_OK : HYSGD_FAILED);
        assert_non_null(strstr(is_yes ? asking.answer : asking.message, "because"));
        control_close(control);
        assert_int_equal(access(place.path, F_OK), -1);
        remove_place(&place);
    }
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int asking = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(connect(asking, (const struct sockaddr *)&address, sizeof address), 0);
    return asking;
}

static void who_has_gone_away_is_not_heard(void **state) {
    (void)state;
    struct place place = make_place();
    struct control *control;
    struct asking asking = {.path = place.path, .host = "there"};
    static const char line[] = "hysgd 1 join gone\n";
    char host[256];
    assert_int_equal(control_open(place.path, false, &control), HYSGD_OK);
    int gone = connect_to(place.path);
    assert_int_equal(send(gone, line, sizeof line - 1, 0), sizeof line - 1);
    close(gone);
    pthread_create(&asking.thread, NULL, asking_main, &asking);
    while (!control_hear(control, host))
        sched_yield();
    assert_string_equal(host, "there");
    control_answer(control, true, "joins");
    pthread_join(asking.thread, NULL);
    control_close(control);
    remove_place(&place);
}

/* A process that makes the door, hears a request and is stopped then. */
static pid_t start_stopper(const char *path) {
    struct control *control;
    char host[256];
    pid_t child = fork();
    if (child != 0)
        return child;
    if (control_open(path, false, &control) != HYSGD_OK)
        _exit(1);
    while (!control_hear(control, host))
        sched_yield();
    raise(SIGSTOP);
    _exit(1);
}

static void who_waits_for_one_that_is_stopped_learns_of_the_next(void **state) {
    (void)state;
    struct place place = make_place();
    struct control *control;
    struct asking asking = {.path = place.path, .host = ""};
    int status;
    pid_t child = start_stopper(place.path);
    while (access(place.path, F_OK) != 0)
        sched_yield();
    pthread_create(&asking.thread, NULL, asking_main, &asking);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(control_open(place.path, true, &control), HYSGD_OK);
    pthread_join(asking.thread, NULL);
    assert_int_equal(asking.status, HYSGD_FAILED);
    assert_non_null(strstr(asking.message, "another rank leads the run by now: ask again"));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    control_close(control);
    remove_place(&place);
}

static void a_door_with_a_crowd_before_it_is_not_waited_at(void **state) {
    (void)state;
    struct place place = make_place();
    struct control *control;
    char answer[CONTROL_LINE];
    int crowd[16], count = 0;
    assert_int_equal(control_open(place.path, false, &control), HYSGD_OK);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, place.path);
    do
        crowd[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    while (connect(crowd[count], (const struct sockaddr *)&address, sizeof address) == 0 && ++count < 15);
    assert_true(count < 15);
    assert_int_equal(control_ask(place.path, "", answer), HYSGD_FAILED);
    assert_non_null(strstr(hysgd_error_message(), "as many as can already wait for it"));
    struct control *other;
    assert_int_equal(control_open(place.path, false, &other), HYSGD_USAGE);
    assert_non_null(strstr(hysgd_error_message(), "another run listens there"));
    for (int i = 0; i <= count; i++)
        close(crowd[i]);
    control_close(control);
    remove_place(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_is_heard_and_answered),
        cmocka_unit_test(who_has_gone_away_is_not_heard),
        cmocka_unit_test(who_waits_for_one_that_is_stopped_learns_of_the_next),
        cmocka_unit_test(a_door_with_a_crowd_before_it_is_not_waited_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
