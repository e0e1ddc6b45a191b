/* SPDX-License-Identifier: Apache-2.0 */
/* The live view: a server of HTTP, by libmicrohttpd, in a thread of its own. The draining thread renders a moment
 * of the run now and then and hangs it out as an immutable response, which the library counts the readers of; it
 * never waits for the lock that the exchange takes, but tries again at the next drain. */
#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"
#include "base/memory.h"
#include "record/metrics.h"
#include "record/serve_request.h"
#include "record/sinks.h"
#include "record/tally.h"

#define MOST_CONNECTIONS 64
#define IDLE_SECONDS     10      /* after which a connection on which nothing moves is closed */
#define REQUEST_BYTES    (32768) /* for the lines of a request and the state of its connection */
#define STACK_BYTES      (256 * 1024)
#define END_SECONDS      1 /* at most, for readers to fetch the end of the run */

#define PERIOD_SECONDS 1.0
#define MOST_SECONDS   10.0
#define LEAST_PAUSE    200 /* times what a rendering took: half a percent of one core at most, within MOST_SECONDS */

enum { DATA, METRICS, KINDS };

static const char *const types[KINDS] = {"application/json", "text/plain; version=0.0.4; charset=utf-8"};

/* What is hung out of one kind. */
struct exhibit {
    struct MHD_Response *response; /* under the lock; NULL: nothing yet */
    atomic_bool is_wanted;         /* somebody has asked since it was hung out */
    double due_seconds;            /* draining thread: not rendered before, on the monotonic clock */
};

struct serve {
    struct MHD_Daemon *daemon;
    struct serve_address address;

    /* Of the draining thread. */
    struct history *history;
    struct tally tally;
    struct event_account *accounts; /* [tally.workers] as they stand */

    pthread_mutex_t lock;
    pthread_cond_t is_idle;    /* under_way has become 0 */
    struct MHD_Response *page; /* under the lock, as all that follows; NULL: the run has not begun */
    struct exhibit exhibits[KINDS];
    uint64_t serial;                                  /* of the data; 0: none yet */
    struct MHD_Connection *waiting[MOST_CONNECTIONS]; /* suspended until there are later data */
    size_t waiting_count;
    size_t followers; /* that were asleep before the latest data */
    size_t ends_told; /* answers with data after the end */
    size_t under_way; /* requests that are not answered to the end */
    bool is_ending;   /* nobody waits any more */
};

/* That this thread has spent on a processor. */
static double spent_seconds(void) {
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + 1e-9 * (double)spent.tv_nsec;
}

/* ---- The thread of the library ---- */

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code, const char *text) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_shared(struct MHD_Connection *connection, struct MHD_Response *response) {
    if (response == NULL)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "the run has not begun\n");
    return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

/* Data later than `after`, or none yet: the connection is asleep until they are hung out. */
static enum MHD_Result answer_data(struct serve *serve, struct MHD_Connection *connection, uint64_t after) {
    bool is_news = serve->serial > after || serve->exhibits[DATA].response == NULL;
    serve->ends_told += serve->is_ending;
    if (is_news || serve->is_ending)
        return answer_shared(connection, serve->exhibits[DATA].response);
    if (serve->waiting_count == MOST_CONNECTIONS)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many readers\n");
    MHD_suspend_connection(connection);
    serve->waiting[serve->waiting_count++] = connection;
    return MHD_YES;
}

static enum MHD_Result answer(struct serve *serve, struct MHD_Connection *connection, enum serve_answer answer,
                              uint64_t after) {
    switch (answer) {
    case SERVE_PAGE:
        return answer_shared(connection, serve->page);
    case SERVE_DATA:
        atomic_store(&serve->exhibits[DATA].is_wanted, true);
        return answer_data(serve, connection, after);
    case SERVE_METRICS:
        atomic_store(&serve->exhibits[METRICS].is_wanted, true);
        return answer_shared(connection, serve->exhibits[METRICS].response);
    case SERVE_BAD_REQUEST:
        return answer_text(connection, MHD_HTTP_BAD_REQUEST, "after= is not a number\n");
    case SERVE_FORBIDDEN:
        return answer_text(connection, MHD_HTTP_FORBIDDEN, "this is not the host that you asked for\n");
    case SERVE_NOT_ALLOWED:
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "there is nothing to change here\n");
    case SERVE_NOT_FOUND:
        break;
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "there are /, /data and /metrics\n");
}

/* Answers as soon as the head of a request is there; what follows it is not read. Called again for a connection
 * that was asleep. `mark` is not NULL from the first call of a request on. */
static enum MHD_Result take_request(void *self, struct MHD_Connection *connection, const char *path,
                                    const char *method, const char *version, const char *body, size_t *body_bytes,
                                    void **mark) {
    struct serve *serve = self;
    const struct serve_request request = {
        .method = method,
        .path = path,
        .after = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "after"),
        .host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST)};
    uint64_t after;
    (void)version, (void)body, (void)body_bytes;
    enum serve_answer kind = serve_request_read(&request, serve->address.is_loopback, &after);
    pthread_mutex_lock(&serve->lock);
    if (*mark == NULL) {
        *mark = serve;
        serve->under_way++;
    }
    enum MHD_Result result = answer(serve, connection, kind, after);
    pthread_mutex_unlock(&serve->lock);
    return result;
}

static void end_request(void *self, struct MHD_Connection *connection, void **mark,
                        enum MHD_RequestTerminationCode reason) {
    struct serve *serve = self;
    (void)connection, (void)reason;
    if (*mark == NULL)
        return;
    pthread_mutex_lock(&serve->lock);
    *mark = NULL;
    if (--serve->under_way == 0) /* nobody looks before the end */
        pthread_cond_signal(&serve->is_idle);
    pthread_mutex_unlock(&serve->lock);
}

/* ---- The draining thread ---- */

static void free_text(void *text) {
    free(text);
}

/* Takes over `text`, which a memory stream made; NULL stands for lack of memory. */
static enum hysgd_status make_response(char *text, size_t size, const char *type,
                                       struct MHD_Response **response_out) {
    struct MHD_Response *response =
        text != NULL ? MHD_create_response_from_buffer_with_free_callback(size, text, free_text) : NULL;
    if (response == NULL) {
        free(text);
        return hysgd_fail(HYSGD_MEMORY, "no memory for the live view");
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    *response_out = response;
    return HYSGD_OK;
}

/* What a kind of exhibit, or the page for KINDS, looks like at this moment. */
static enum hysgd_status render(struct serve *serve, int kind, const struct report_moment *moment,
                                struct MHD_Response **response_out) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return hysgd_fail(HYSGD_MEMORY, "no memory for the live view");
    enum hysgd_status status = HYSGD_OK;
    if (kind == DATA)
        status = report_print_data(stream, moment);
    else if (kind == METRICS)
        metrics_print(stream, moment);
    else
        status = report_print_page(stream, serve->history->run.title);
    bool has_failed = ferror(stream) != 0;
    if (fclose(stream) != 0 || has_failed || status != HYSGD_OK) {
        free(text);
        return status != HYSGD_OK ? status : hysgd_fail(HYSGD_MEMORY, "no memory for the live view");
    }
    return make_response(text, size, kind < KINDS ? types[kind] : "text/html; charset=utf-8", response_out);
}

/* Under the lock. */
static void wake_readers(struct serve *serve) {
    for (size_t i = 0; i < serve->waiting_count; i++)
        MHD_resume_connection(serve->waiting[i]);
    serve->waiting_count = 0;
}

/* Under the lock. */
static void hang_out(struct serve *serve, int kind, struct MHD_Response *response, uint64_t serial) {
    struct exhibit *exhibit = &serve->exhibits[kind];
    if (exhibit->response != NULL)
        MHD_destroy_response(exhibit->response);
    exhibit->response = response;
    if (kind != DATA)
        return;
    serve->serial = serial;
    /* At the end those that were about to ask again count too. */
    if (!serve->history->has_ended || serve->waiting_count > serve->followers)
        serve->followers = serve->waiting_count;
    serve->is_ending = serve->history->has_ended;
    wake_readers(serve);
}

/* Renders and hangs out; the lock is tried, or taken where the run has ended. */
static enum hysgd_status show(struct serve *serve, int kind, bool may_wait) {
    struct event_summary summary;
    struct MHD_Response *response;
    tally_now(&serve->tally, serve->accounts, &summary);
    /* The serial is written by this thread alone. */
    const struct report_moment moment = {serve->history, &summary, serve->serial + 1};
    atomic_store(&serve->exhibits[kind].is_wanted, false);
    HYSGD_TRY(render(serve, kind, &moment, &response));
    if (may_wait) {
        pthread_mutex_lock(&serve->lock);
    } else if (pthread_mutex_trylock(&serve->lock) != 0) {
        atomic_store(&serve->exhibits[kind].is_wanted, true);
        MHD_destroy_response(response);
        return HYSGD_OK;
    }
    hang_out(serve, kind, response, moment.serial);
    pthread_mutex_unlock(&serve->lock);
    return HYSGD_OK;
}

static enum hysgd_status serve_begin(void *self, const struct event_run *run) {
    struct serve *serve = self;
    struct MHD_Response *page;
    HYSGD_TRY(sink_history.begin(serve->history, run));
    HYSGD_TRY(tally_init(&serve->tally, run));
    HYSGD_TRY(memory_alloc((size_t)run->workers, sizeof *serve->accounts, &serve->accounts));
    HYSGD_TRY(render(serve, KINDS, NULL, &page));
    pthread_mutex_lock(&serve->lock);
    serve->page = page;
    pthread_mutex_unlock(&serve->lock);
    HYSGD_TRY(show(serve, DATA, true));
    return show(serve, METRICS, true);
}

static enum hysgd_status serve_event(void *self, const struct event *event) {
    struct serve *serve = self;
    tally_add(&serve->tally, event);
    return sink_history.event(serve->history, event);
}

/* Metrics are few, and an outsider asks for them once in a while: they are kept up to date. Data are made for those
 * who look. */
static enum hysgd_status serve_pulse(void *self, double seconds) {
    struct serve *serve = self;
    (void)seconds;
    for (int kind = 0; kind < KINDS; kind++) {
        struct exhibit *exhibit = &serve->exhibits[kind];
        if (machine_seconds() < exhibit->due_seconds || (kind == DATA && !atomic_load(&exhibit->is_wanted)))
            continue;
        double begin = spent_seconds();
        HYSGD_TRY(show(serve, kind, false));
        double pause = LEAST_PAUSE * (spent_seconds() - begin);
        exhibit->due_seconds = machine_seconds() + fmin(fmax(pause, PERIOD_SECONDS), MOST_SECONDS);
    }
    return HYSGD_OK;
}

/* Readers that follow the run get its end, if they take it in time. */
static void wait_for_readers(struct serve *serve) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += END_SECONDS;
    pthread_mutex_lock(&serve->lock);
    serve->is_ending = true;
    wake_readers(serve);
    while ((serve->under_way > 0 || serve->ends_told < serve->followers) &&
           pthread_cond_timedwait(&serve->is_idle, &serve->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&serve->lock);
}

static enum hysgd_status serve_end(void *self, const struct event_summary *summary) {
    struct serve *serve = self;
    enum hysgd_status status = sink_history.end(serve->history, summary);
    for (int kind = KINDS - 1; kind >= 0 && status == HYSGD_OK; kind--)
        status = show(serve, kind, true);
    wait_for_readers(serve);
    return status;
}

/* ---- Opening and closing ---- */

static enum hysgd_status listen_at(const struct serve_address *address, const char *text, int *socket_out) {
    int yes = 1, opened = socket(address->socket.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (opened >= 0)
        setsockopt(opened, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (opened < 0 || bind(opened, &address->socket.any, address->size) != 0 || listen(opened, SOMAXCONN) != 0) {
        int fault = errno;
        if (opened >= 0)
            close(opened);
        return hysgd_fail(HYSGD_OUTPUT, "serve=%s: the port cannot be opened: %s", text, strerror(fault));
    }
    *socket_out = opened;
    return HYSGD_OK;
}

static enum hysgd_status start(struct serve *serve, const char *text) {
    int opened = -1;
    HYSGD_TRY(listen_at(&serve->address, text, &opened));
    serve->daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, take_request, serve,
        MHD_OPTION_LISTEN_SOCKET, opened, MHD_OPTION_NOTIFY_COMPLETED, end_request, serve,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)MOST_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (serve->daemon != NULL)
        return HYSGD_OK;
    close(opened);
    return hysgd_fail(HYSGD_OUTPUT, "serve=%s: the server of the live view cannot be started", text);
}

/* The end of a wait is on the monotonic clock. */
static void init_lock(struct serve *serve) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&serve->is_idle, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&serve->lock, NULL);
}

enum hysgd_status sink_serve_alloc(const char *address, void **self_out) {
    struct serve *serve;
    *self_out = NULL;
    HYSGD_TRY(memory_alloc(1, sizeof *serve, &serve));
    init_lock(serve);
    enum hysgd_status status = serve_address_parse(address, &serve->address);
    if (status == HYSGD_OK)
        status = history_alloc(&serve->history);
    if (status == HYSGD_OK)
        status = start(serve, address);
    if (status == HYSGD_OK)
        *self_out = serve;
    else
        sink_serve_free(serve);
    return status;
}

void sink_serve_free(void *self) {
    struct serve *serve = self;
    if (serve == NULL)
        return;
    if (serve->daemon != NULL) {
        pthread_mutex_lock(&serve->lock);
        serve->is_ending = true;
        wake_readers(serve);
        pthread_mutex_unlock(&serve->lock);
        MHD_stop_daemon(serve->daemon);
    }
    if (serve->page != NULL)
        MHD_destroy_response(serve->page);
    for (int kind = 0; kind < KINDS; kind++)
        if (serve->exhibits[kind].response != NULL)
            MHD_destroy_response(serve->exhibits[kind].response);
    history_free(serve->history);
    tally_fini(&serve->tally);
    memory_free(serve->accounts);
    pthread_cond_destroy(&serve->is_idle);
    pthread_mutex_destroy(&serve->lock);
    memory_free(serve);
}

const struct sink_ops sink_serve = {
    .begin = serve_begin, .event = serve_event, .pulse = serve_pulse, .end = serve_end};
