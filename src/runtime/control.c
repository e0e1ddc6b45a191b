/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of the door of a run: see control.h. */
#include "runtime/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"

#define GREETING "hysgd 1 join"

/* Seconds that a request may take to come in. */
#define MOST_SECONDS 1.0

/* How often who asks looks whether the run is stopped, and for how many looks it may be. */
#define LOOK_MILLISECONDS  500
#define MOST_STOPPED_LOOKS 60

struct control {
    int listening, asking; /* -1: nobody asks */
    struct sockaddr_un address;
    dev_t device; /* of the file, which another run may replace */
    ino_t number;
    char line[CONTROL_LINE]; /* what has come of the request */
    size_t length;
    bool is_heard;
    double begun;
};

static enum hysgd_status make_address(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] == '\0' || strlen(path) + 4 >= sizeof address->sun_path)
        return hysgd_fail(HYSGD_USAGE, "control=%s: expected a path of 1 to %zu characters", path,
                          sizeof address->sun_path - 5);
    strcpy(address->sun_path, path);
    return HYSGD_OK;
}

/* Connecting to who is stopped does not wait either. */
static int open_socket(void) {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Whether nobody is in the way, or only what is left of a run that is over. */
static enum hysgd_status check_place(const struct sockaddr_un *address) {
    struct stat found;
    if (lstat(address->sun_path, &found) != 0)
        return HYSGD_OK;
    if (!S_ISSOCK(found.st_mode))
        return hysgd_fail(HYSGD_USAGE, "control=%s: there is a file that is no socket: expected a path of its own",
                          address->sun_path);
    int probe = open_socket();
    bool is_alive =
        probe >= 0 && (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);
    if (probe >= 0)
        close(probe);
    return is_alive ? hysgd_fail(HYSGD_USAGE, "control=%s: another run listens there: expected a path of its own",
                                 address->sun_path)
                    : HYSGD_OK;
}

/* Under another name first, so that there is never a moment without. */
static enum hysgd_status listen_at(struct control *control) {
    struct sockaddr_un beside = control->address;
    struct stat made;
    strcat(beside.sun_path, ".new");
    unlink(beside.sun_path);
    control->listening = open_socket();
    if (control->listening < 0 || bind(control->listening, (const struct sockaddr *)&beside, sizeof beside) != 0 ||
        listen(control->listening, 8) != 0 || lstat(beside.sun_path, &made) != 0 ||
        rename(beside.sun_path, control->address.sun_path) != 0) {
        int fault = errno;
        unlink(beside.sun_path);
        return hysgd_fail(HYSGD_OUTPUT, "control=%s: no socket can be made there: %s", control->address.sun_path,
                          strerror(fault));
    }
    control->device = made.st_dev;
    control->number = made.st_ino;
    return HYSGD_OK;
}

enum hysgd_status control_open(const char *path, bool takes_over, struct control **control_out) {
    struct control *control;
    struct sockaddr_un address;
    HYSGD_TRY(make_address(path, &address));
    if (!takes_over)
        HYSGD_TRY(check_place(&address));
    HYSGD_TRY(memory_alloc(1, sizeof *control, &control));
    *control = (struct control){.listening = -1, .asking = -1, .address = address};
    enum hysgd_status status = listen_at(control);
    if (status == HYSGD_OK) {
        *control_out = control;
        return HYSGD_OK;
    }
    if (control->listening >= 0)
        close(control->listening);
    memory_free(control);
    return status;
}

static void hang_up(struct control *control) {
    if (control->asking >= 0)
        close(control->asking);
    control->asking = -1;
    control->length = 0;
    control->is_heard = false;
}

void control_answer(struct control *control, bool is_yes, const char *text) {
    char line[CONTROL_LINE];
    int length = snprintf(line, sizeof line, "%s %.500s\n", is_yes ? "yes" : "no", text);
    if (control->asking >= 0) {
        ssize_t sent = send(control->asking, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* whoever does not take it does not want to know any more */
    }
    hang_up(control);
}

void control_close(struct control *control) {
    struct stat found;
    if (control == NULL)
        return;
    if (control->asking >= 0)
        control_answer(control, false, "the run is over");
    if (lstat(control->address.sun_path, &found) == 0 && found.st_dev == control->device &&
        found.st_ino == control->number)
        unlink(control->address.sun_path);
    close(control->listening);
    memory_free(control);
}

static bool is_host(const char *name) {
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return strlen(name) < 256 && name[strspn(name, known)] == '\0';
}

/* Who was not answered for long may wait no more, and whom he asked for must not join then. */
static bool has_gone(const struct control *control) {
    char byte;
    return recv(control->asking, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* A whole line. */
static bool take_request(struct control *control, char host[256]) {
    const char *rest = control->line + sizeof GREETING - 1;
    bool is_greeting = strncmp(control->line, GREETING, sizeof GREETING - 1) == 0;
    if (!is_greeting || (rest[0] != '\0' && (rest[0] != ' ' || rest[1] == '\0' || !is_host(rest + 1)))) {
        control_answer(control, false, "expected a request of `hysgd join` of the same version");
        return false;
    }
    snprintf(host, 256, "%s", rest[0] != '\0' ? rest + 1 : "");
    control->is_heard = true;
    return true;
}

bool control_hear(struct control *control, char host[256]) {
    if (control->asking < 0) {
        control->asking = accept4(control->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        control->begun = machine_seconds();
    }
    if (control->asking < 0 || control->is_heard)
        return false;
    size_t room = sizeof control->line - 1 - control->length;
    ssize_t count = recv(control->asking, control->line + control->length, room, MSG_DONTWAIT);
    bool is_late = machine_seconds() - control->begun > MOST_SECONDS;
    if (count < 0 && (errno == EAGAIN || errno == EINTR) && !is_late)
        return false;
    control->length += count > 0 ? (size_t)count : 0;
    control->line[control->length] = '\0';
    char *end = memchr(control->line, '\n', control->length);
    if (end != NULL) {
        *end = '\0';
        if (!has_gone(control))
            return take_request(control, host);
        hang_up(control);
        return false;
    }
    if (count <= 0 || is_late || control->length == sizeof control->line - 1)
        control_answer(control, false, "expected a request of `hysgd join`: one line");
    return false;
}

/* ---- The other end ---- */

static enum hysgd_status fail_connect(const char *path, int fault) {
    struct stat found;
    if (fault == ECONNREFUSED && stat(path, &found) == 0 && S_ISSOCK(found.st_mode))
        return hysgd_fail(HYSGD_INPUT,
                          "%s: nobody listens there: the run is over, or has just lost the rank that led it", path);
    if (fault == EAGAIN)
        return hysgd_fail(HYSGD_FAILED, "%s: the run does not listen, and as many as can already wait for it",
                          path);
    if (fault == ECONNREFUSED || fault == ENOTSOCK || fault == EPROTOTYPE)
        return hysgd_fail(HYSGD_INPUT, "%s: is no socket of a run: expected the control=PATH of one", path);
    return hysgd_fail(HYSGD_INPUT, "%s: there is no run: %s", path, strerror(fault));
}

/* Whether the process at the other end is stopped, as by SIGSTOP; what is not on this machine never is. */
static bool is_stopped(int asking) {
    struct ucred other;
    socklen_t size = sizeof other;
    char path[64], line[512] = "";
    if (getsockopt(asking, SOL_SOCKET, SO_PEERCRED, &other, &size) != 0)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)other.pid);
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return false;
    const char *name_end = fgets(line, sizeof line, stream) != NULL ? strrchr(line, ')') : NULL;
    fclose(stream);
    return name_end != NULL && (strncmp(name_end, ") T", 3) == 0 || strncmp(name_end, ") t", 3) == 0);
}

/* Waits until there is something to read. A rank that is stopped does not answer; whoever takes its place then has
 * made another door. */
static enum hysgd_status await_answer(const char *path, int asking, const struct stat *door) {
    struct pollfd handle = {.fd = asking, .events = POLLIN};
    int looks = 0, ready;
    while ((ready = poll(&handle, 1, LOOK_MILLISECONDS)) == 0 || (ready < 0 && errno == EINTR)) {
        struct stat found;
        looks = is_stopped(asking) ? looks + 1 : 0;
        if (looks > 0 && stat(path, &found) == 0 && (found.st_dev != door->st_dev || found.st_ino != door->st_ino))
            return hysgd_fail(HYSGD_FAILED, "%s: another rank leads the run by now: ask again", path);
        if (looks == MOST_STOPPED_LOOKS)
            return hysgd_fail(HYSGD_FAILED, "%s: the rank that leads the run is stopped, and does not answer",
                              path);
    }
    return HYSGD_OK;
}

static enum hysgd_status read_answer(const char *path, int asking, const struct stat *door,
                                     char answer[CONTROL_LINE]) {
    char line[CONTROL_LINE] = "";
    size_t length = 0;
    ssize_t count = 1;
    while (count > 0 && length < sizeof line - 1 && memchr(line, '\n', length) == NULL) {
        HYSGD_TRY(await_answer(path, asking, door));
        count = recv(asking, line + length, sizeof line - 1 - length, 0);
        length += count > 0 ? (size_t)count : 0;
    }
    line[length] = '\0';
    if (memchr(line, '\n', length) == NULL)
        return hysgd_fail(HYSGD_FAILED, "%s: the run, or the rank that led it, was lost before it answered", path);
    line[strcspn(line, "\n")] = '\0';
    bool is_yes = strncmp(line, "yes ", 4) == 0;
    if (!is_yes && strncmp(line, "no ", 3) != 0)
        return hysgd_fail(HYSGD_INPUT, "%s: what listens there is no run of this version", path);
    snprintf(answer, CONTROL_LINE, "%s", line + (is_yes ? 4 : 3));
    return is_yes ? HYSGD_OK : hysgd_fail(HYSGD_FAILED, "%s: %s", path, answer);
}

enum hysgd_status control_ask(const char *path, const char *host, char answer[CONTROL_LINE]) {
    struct sockaddr_un address;
    char line[CONTROL_LINE];
    if (!is_host(host))
        return hysgd_fail(HYSGD_USAGE, "join: host=%.300s: expected the name of a host", host);
    HYSGD_TRY(make_address(path, &address));
    struct stat door = {0};
    int asking = stat(path, &door) == 0 ? open_socket() : -1;
    if (asking < 0 || connect(asking, (const struct sockaddr *)&address, sizeof address) != 0) {
        int fault = errno;
        if (asking >= 0)
            close(asking);
        return fail_connect(path, fault);
    }
    int length = snprintf(line, sizeof line, GREETING "%s%s\n", host[0] != '\0' ? " " : "", host);
    enum hysgd_status status = HYSGD_OK;
    if (send(asking, line, (size_t)length, MSG_NOSIGNAL) != length)
        status = hysgd_fail(HYSGD_FAILED, "%s: the run cannot be asked: %s", path, strerror(errno));
    if (status == HYSGD_OK)
        status = read_answer(path, asking, &door, answer);
    close(asking);
    return status;
}
