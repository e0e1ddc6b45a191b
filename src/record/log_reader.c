/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the records of a log back into the structs of event.h. Whatever the bytes say, nothing is read or written
 * outside of what they belong to, and no more memory is taken than the file is long. */
#include "record/log_reader.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "record/log_source.h"

#define MOST_KINDS   64
#define MOST_OPTIONS 4096
#define MOST_CLASSES INT32_MAX
#define MOST_WORKERS ((1 << 24) - 1) /* as in base/random.h */
#define MOST_NAME    64

/* What a record of the log is for. */
enum role { ROLE_UNKNOWN, ROLE_RUN, ROLE_OPTION, ROLE_ACCOUNT, ROLE_CLASS, ROLE_END, ROLE_COMMON, ROLE_EVENT };

struct stored_field {
    enum log_coding coding;
    const struct record_field *field; /* NULL: not known here */
};

/* A kind as the log describes it. */
struct stored_kind {
    bool is_there;
    enum role role;
    enum event_kind event;          /* of ROLE_EVENT */
    const struct record_kind *kind; /* NULL: not known here */
    size_t count;
    struct stored_field fields[RECORD_MOST_FIELDS];
    uint64_t previous[RECORD_MOST_FIELDS];
};

/* An array that grows. */
struct growing {
    void *items;
    size_t count, capacity;
};

struct log_reader {
    struct log_source source;
    struct stored_kind kinds[MOST_KINDS];
    const struct stored_kind *common; /* of ROLE_COMMON; NULL: not described yet */
    struct event_run run;
    bool has_run, head_is_read;
    struct growing texts;    /* char *; owned */
    struct growing options;  /* const char *[2] */
    struct growing accounts; /* struct event_account */
    struct growing classes;  /* struct event_share */
    struct event_summary summary;
    bool has_ended;
    double seconds;    /* of the latest event that must not be earlier than the one before */
    uint64_t event_at; /* byte of the latest event */
    char unknown[2 * MOST_NAME + 2];
};

/* ---- Memory ---- */

/* Room for one more item of `size` bytes at the end. */
static enum hysgd_status grow(struct growing *growing, size_t size) {
    return memory_grow(&growing->items, growing->count, &growing->capacity, 16, size);
}

/* A text of the log, owned by the reader. */
static enum hysgd_status keep_text(struct log_reader *reader, const uint8_t *bytes, size_t length,
                                   const char **text_out) {
    char *text;
    HYSGD_TRY(grow(&reader->texts, sizeof text));
    HYSGD_TRY(memory_alloc(length + 1, 1, &text));
    memcpy(text, bytes, length);
    ((char **)reader->texts.items)[reader->texts.count++] = text;
    *text_out = text;
    return HYSGD_OK;
}

void log_reader_close(struct log_reader *reader) {
    if (reader == NULL)
        return;
    for (size_t i = 0; i < reader->texts.count; i++)
        memory_free(((char **)reader->texts.items)[i]);
    memory_free(reader->texts.items);
    memory_free(reader->options.items);
    memory_free(reader->accounts.items);
    memory_free(reader->classes.items);
    log_source_fini(&reader->source);
    memory_free(reader);
}

/* ---- Values ---- */

static enum hysgd_status fail_value(const struct log_reader *reader) {
    return log_source_fail(&reader->source, log_source_byte(&reader->source),
                           "the log is damaged: a value ends with its block or is not coded as one");
}

static enum hysgd_status get_varint(struct log_reader *reader, uint64_t *value_out) {
    return log_get_varint(&reader->source.cursor, value_out) ? HYSGD_OK : fail_value(reader);
}

/* The bytes of a text, in the block. */
static enum hysgd_status get_text(struct log_reader *reader, const uint8_t **bytes_out, size_t *length_out) {
    struct log_cursor *cursor = &reader->source.cursor;
    uint64_t length = 0;
    HYSGD_TRY(get_varint(reader, &length));
    if (length > (uint64_t)(cursor->end - cursor->at) || memchr(cursor->at, '\0', length) != NULL)
        return fail_value(reader);
    *bytes_out = cursor->at;
    *length_out = (size_t)length;
    cursor->at += length;
    return HYSGD_OK;
}

static enum hysgd_status get_name(struct log_reader *reader, char name_out[MOST_NAME]) {
    const uint8_t *bytes = NULL;
    size_t length = 0;
    HYSGD_TRY(get_text(reader, &bytes, &length));
    if (length == 0 || length >= MOST_NAME)
        return fail_value(reader);
    memcpy(name_out, bytes, length);
    name_out[length] = '\0';
    return HYSGD_OK;
}

static enum hysgd_status get_text_field(struct log_reader *reader, const struct record_field *field, void *self) {
    const uint8_t *bytes = NULL;
    size_t length = 0;
    HYSGD_TRY(get_text(reader, &bytes, &length));
    return field != NULL ? keep_text(reader, bytes, length, (const char **)((char *)self + field->offset))
                         : HYSGD_OK;
}

/* Reads the fields of a record into `self`; those not known here are passed over. */
static enum hysgd_status get_fields(struct log_reader *reader, const struct stored_kind *kind_of, void *self) {
    struct stored_kind *kind = &reader->kinds[kind_of - reader->kinds];
    struct log_cursor *cursor = &reader->source.cursor;
    for (size_t i = 0; i < kind->count; i++) {
        const struct record_field *field = kind->fields[i].field;
        if (kind->fields[i].coding == LOG_TEXT) {
            HYSGD_TRY(get_text_field(reader, field, self));
            continue;
        }
        bool is_read = kind->fields[i].coding == LOG_INTEGER ? log_get_integer(cursor, &kind->previous[i])
                                                             : log_get_real(cursor, &kind->previous[i]);
        if (!is_read)
            return fail_value(reader);
        if (field != NULL && !log_store(field, self, kind->previous[i]))
            return log_source_fail(&reader->source, log_source_byte(&reader->source), "%s.%s is out of range",
                                   kind->kind->name, field->name);
    }
    return HYSGD_OK;
}

/* What fields have that an older log lacks. */
static void set_defaults(const struct record_kind *kind, void *self) {
    for (const struct record_field *field = kind->fields; field->name != NULL; field++) {
        char *at = (char *)self + field->offset;
        if (field->type == RECORD_REAL)
            *(double *)at = (double)NAN;
        else if (field->type == RECORD_INT)
            *(int32_t *)at = -1;
        else if (field->type == RECORD_TEXT)
            *(const char **)at = "";
    }
}

/* ---- Kinds ---- */

static void note_unknown(struct log_reader *reader, const char *kind, const char *field) {
    if (reader->unknown[0] == '\0')
        snprintf(reader->unknown, sizeof reader->unknown, "%s%s%s", kind, field != NULL ? "." : "",
                 field != NULL ? field : "");
}

static void find_kind(struct stored_kind *stored, const char *name) {
    const struct record_kind *const others[] = {
        [ROLE_RUN] = &record_run,     [ROLE_OPTION] = &record_option, [ROLE_ACCOUNT] = &record_account,
        [ROLE_CLASS] = &record_class, [ROLE_END] = &record_end,       [ROLE_COMMON] = &record_event,
    };
    for (enum role role = ROLE_RUN; role <= ROLE_COMMON; role++)
        if (strcmp(others[role]->name, name) == 0) {
            stored->role = role;
            stored->kind = others[role];
        }
    for (size_t i = 0; i < record_event_count; i++)
        if (strcmp(record_events[i].name, name) == 0) {
            stored->role = ROLE_EVENT;
            stored->event = (enum event_kind)i;
            stored->kind = &record_events[i];
        }
}

static enum hysgd_status find_field(struct log_reader *reader, const struct stored_kind *stored, const char *kind,
                                    const char *name, struct stored_field *field) {
    const struct record_field *known = stored->kind != NULL ? stored->kind->fields : NULL;
    while (known != NULL && known->name != NULL && strcmp(known->name, name) != 0)
        known++;
    if (known == NULL || known->name == NULL) {
        if (known != NULL)
            note_unknown(reader, kind, name);
        return HYSGD_OK;
    }
    for (size_t i = 0; i < stored->count; i++)
        if (stored->fields[i].field == known)
            return log_source_fail(&reader->source, log_source_byte(&reader->source), "%s.%s is described twice",
                                   kind, name);
    if (log_coding(known->type) != field->coding)
        return log_source_fail(&reader->source, log_source_byte(&reader->source),
                               "%s.%s is coded as %d: expected %d", kind, name, (int)field->coding,
                               (int)log_coding(known->type));
    field->field = known;
    return HYSGD_OK;
}

/* The log describes a kind. */
static enum hysgd_status take_kind(struct log_reader *reader) {
    uint64_t number, count, coding;
    char kind[MOST_NAME], name[MOST_NAME];
    HYSGD_TRY(get_varint(reader, &number));
    HYSGD_TRY(get_name(reader, kind));
    HYSGD_TRY(get_varint(reader, &count));
    if (number == LOG_KIND || number >= MOST_KINDS || reader->kinds[number].is_there || count > RECORD_MOST_FIELDS)
        return log_source_fail(&reader->source, log_source_byte(&reader->source),
                               "the kind %s has number %" PRIu64 " and %" PRIu64
                               " fields: expected a new number below %d and at most %d fields",
                               kind, number, count, MOST_KINDS, RECORD_MOST_FIELDS);
    struct stored_kind *stored = &reader->kinds[number];
    find_kind(stored, kind);
    for (size_t i = 0; stored->kind != NULL && i < MOST_KINDS; i++)
        if (reader->kinds[i].is_there && reader->kinds[i].kind == stored->kind)
            return log_source_fail(&reader->source, log_source_byte(&reader->source),
                                   "the kind %s is described twice", kind);
    if (stored->kind == NULL)
        note_unknown(reader, kind, NULL);
    for (size_t i = 0; i < count; i++) {
        struct stored_field field = {0};
        HYSGD_TRY(get_varint(reader, &coding));
        HYSGD_TRY(get_name(reader, name));
        if (coding < LOG_INTEGER || coding > LOG_TEXT)
            return log_source_fail(&reader->source, log_source_byte(&reader->source),
                                   "%s.%s has the coding %" PRIu64 ", which is not known", kind, name, coding);
        field.coding = (enum log_coding)coding;
        HYSGD_TRY(find_field(reader, stored, kind, name, &field));
        stored->fields[stored->count++] = field;
    }
    stored->is_there = true;
    if (stored->role == ROLE_COMMON)
        reader->common = stored;
    return HYSGD_OK;
}

/* ---- Records ---- */

static enum hysgd_status fail_record(const struct log_reader *reader, const char *what) {
    return log_source_fail(&reader->source, reader->event_at, "%s", what);
}

static enum hysgd_status take_run(struct log_reader *reader, const struct stored_kind *kind) {
    struct event_run *run = &reader->run;
    if (reader->has_run)
        return fail_record(reader, "a second run begins: expected one run in a log");
    set_defaults(&record_run, run);
    HYSGD_TRY(get_fields(reader, kind, run));
    if (run->workers < 1 || run->workers > MOST_WORKERS)
        return log_source_fail(&reader->source, reader->event_at, "the run has %d workers: expected 1 to %d",
                               run->workers, MOST_WORKERS);
    if (!(run->first_seconds >= 0 && isfinite(run->first_seconds)))
        return fail_record(reader, "the run does not say when it begins");
    reader->seconds = run->first_seconds;
    reader->has_run = true;
    return HYSGD_OK;
}

static enum hysgd_status take_option(struct log_reader *reader, const struct stored_kind *kind) {
    const char *option[2];
    if (!reader->has_run || reader->head_is_read || reader->options.count == MOST_OPTIONS)
        return log_source_fail(&reader->source, reader->event_at,
                               "an option stands before the run, after an event, or after %d others", MOST_OPTIONS);
    HYSGD_TRY(grow(&reader->options, sizeof option));
    set_defaults(&record_option, option);
    HYSGD_TRY(get_fields(reader, kind, option));
    memcpy((char *)reader->options.items + reader->options.count++ * sizeof option, option, sizeof option);
    reader->run.description = reader->options.items;
    reader->run.description_count = (int)reader->options.count;
    return HYSGD_OK;
}

static enum hysgd_status take_account(struct log_reader *reader, const struct stored_kind *kind) {
    if (!reader->has_run || reader->accounts.count == (size_t)reader->run.workers)
        return fail_record(reader, "there are more accounts than workers");
    struct event_account account = {0};
    HYSGD_TRY(grow(&reader->accounts, sizeof account));
    set_defaults(&record_account, &account);
    HYSGD_TRY(get_fields(reader, kind, &account));
    ((struct event_account *)reader->accounts.items)[reader->accounts.count++] = account;
    return HYSGD_OK;
}

static enum hysgd_status take_class(struct log_reader *reader, const struct stored_kind *kind) {
    struct event_share share;
    if (!reader->has_run || reader->classes.count == MOST_CLASSES)
        return fail_record(reader, "a class stands before the run or after too many others");
    HYSGD_TRY(grow(&reader->classes, sizeof share));
    set_defaults(&record_class, &share);
    HYSGD_TRY(get_fields(reader, kind, &share));
    ((struct event_share *)reader->classes.items)[reader->classes.count++] = share;
    return HYSGD_OK;
}

static enum hysgd_status take_end(struct log_reader *reader, const struct stored_kind *kind) {
    struct event_summary *summary = &reader->summary;
    if (!reader->has_run || reader->accounts.count != (size_t)reader->run.workers)
        return log_source_fail(&reader->source, reader->event_at,
                               "the run ends with the accounts of %zu workers: expected %d", reader->accounts.count,
                               reader->run.workers);
    set_defaults(&record_end, summary);
    HYSGD_TRY(get_fields(reader, kind, summary));
    if (!(summary->seconds >= 0 && isfinite(summary->seconds)))
        return fail_record(reader, "the run does not say when it ended");
    summary->accounts = reader->accounts.items;
    summary->workers = reader->run.workers;
    summary->classes = reader->classes.items;
    summary->class_count = (int)reader->classes.count;
    reader->has_ended = true;
    return HYSGD_OK;
}

/* Whether the event can have happened where it stands. */
static enum hysgd_status check_event(struct log_reader *reader, const struct event *event,
                                     const struct record_kind *kind) {
    const char *name = kind != NULL ? kind->name : "of unknown kind";
    if (event->worker < -1 || event->worker >= reader->run.workers ||
        (event->worker < 0 && kind != NULL && kind->has_worker))
        return log_source_fail(&reader->source, reader->event_at, "event %s of worker %d: expected a worker of %d",
                               name, event->worker, reader->run.workers);
    if (!(event->seconds >= 0 && isfinite(event->seconds)))
        return log_source_fail(&reader->source, reader->event_at, "event %s does not say when it happened", name);
    if (event->kind == EVENT_ARRIVAL && kind != NULL && event->arrival.read > event->version)
        return log_source_fail(&reader->source, reader->event_at,
                               "event arrival is of version %" PRIu64 " when there was %" PRIu64,
                               event->arrival.read, event->version);
    if (kind != NULL && kind->may_be_earlier)
        return HYSGD_OK;
    if (event->seconds < reader->seconds)
        return log_source_fail(&reader->source, reader->event_at,
                               "time runs backwards: event %s at %.17g s follows one at %.17g s", name,
                               event->seconds, reader->seconds);
    reader->seconds = event->seconds;
    return HYSGD_OK;
}

/* `is_known_out`: not of a kind to be passed over. */
static enum hysgd_status take_event(struct log_reader *reader, const struct stored_kind *kind, struct event *event,
                                    bool *is_known_out) {
    if (!reader->has_run || reader->common == NULL)
        return fail_record(reader, "an event stands before the run");
    *event = (struct event){.kind = kind->event};
    set_defaults(&record_event, event);
    HYSGD_TRY(get_fields(reader, reader->common, event));
    if (kind->kind != NULL)
        set_defaults(kind->kind, event);
    HYSGD_TRY(get_fields(reader, kind, event));
    *is_known_out = kind->kind != NULL;
    return check_event(reader, event, kind->kind);
}

/* The number of the next record, or the end of the log. */
static enum hysgd_status next_record(struct log_reader *reader, uint64_t *number_out, bool *has_record_out) {
    struct log_source *source = &reader->source;
    *has_record_out = true;
    if (source->cursor.at == source->cursor.end) {
        HYSGD_TRY(log_source_next(source, has_record_out));
        for (size_t i = 0; i < MOST_KINDS; i++)
            memset(reader->kinds[i].previous, 0, sizeof reader->kinds[i].previous);
    }
    if (!*has_record_out)
        return HYSGD_OK;
    reader->event_at = log_source_byte(source);
    if (reader->has_ended)
        return fail_record(reader, "the log goes on after the end of its run");
    HYSGD_TRY(get_varint(reader, number_out));
    if (*number_out == LOG_KIND || (*number_out < MOST_KINDS && reader->kinds[*number_out].is_there))
        return HYSGD_OK;
    return log_source_fail(source, reader->event_at, "a record of kind %" PRIu64 ", which is not described",
                           *number_out);
}

/* `has_event_out`: the record is an event, now in `event`. */
static enum hysgd_status take_record(struct log_reader *reader, uint64_t number, struct event *event,
                                     bool *has_event_out) {
    const struct stored_kind *kind = &reader->kinds[number];
    *has_event_out = false;
    if (number == LOG_KIND)
        return take_kind(reader);
    switch (kind->role) {
    case ROLE_RUN:
        return take_run(reader, kind);
    case ROLE_OPTION:
        return take_option(reader, kind);
    case ROLE_ACCOUNT:
        return take_account(reader, kind);
    case ROLE_CLASS:
        return take_class(reader, kind);
    case ROLE_END:
        return take_end(reader, kind);
    case ROLE_COMMON:
        return fail_record(reader, "an event of no kind");
    case ROLE_EVENT:
    case ROLE_UNKNOWN:
        break;
    }
    return take_event(reader, kind, event, has_event_out);
}

/* Reads the records before the first event. */
static enum hysgd_status read_head(struct log_reader *reader) {
    bool has_record, has_event;
    uint64_t number;
    for (;;) {
        HYSGD_TRY(next_record(reader, &number, &has_record));
        if (!has_record)
            break;
        enum role role = reader->kinds[number].role;
        if (number != LOG_KIND && role != ROLE_RUN && role != ROLE_OPTION) {
            reader->source.cursor.at = reader->source.block + (reader->event_at - reader->source.first);
            break;
        }
        HYSGD_TRY(take_record(reader, number, NULL, &has_event));
    }
    if (!reader->has_run)
        return log_source_fail(&reader->source, reader->source.next, "the log is cut before the run is described");
    reader->head_is_read = true;
    return HYSGD_OK;
}

enum hysgd_status log_reader_open_stream(FILE *stream, const char *name, struct log_reader **reader_out) {
    struct log_reader *reader;
    enum hysgd_status status = memory_alloc(1, sizeof *reader, &reader);
    if (status != HYSGD_OK) {
        fclose(stream);
        return status;
    }
    status = log_source_init(&reader->source, stream, name);
    if (status == HYSGD_OK)
        status = read_head(reader);
    if (status != HYSGD_OK) {
        log_reader_close(reader);
        return status;
    }
    *reader_out = reader;
    return HYSGD_OK;
}

enum hysgd_status log_reader_open(const char *path, struct log_reader **reader_out) {
    FILE *stream = fopen(path, "re");
    if (stream == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    return log_reader_open_stream(stream, path, reader_out);
}

enum hysgd_status log_reader_next(struct log_reader *reader, struct event *event_out, bool *has_event_out) {
    bool has_record;
    uint64_t number;
    *has_event_out = false;
    while (!*has_event_out) {
        HYSGD_TRY(next_record(reader, &number, &has_record));
        if (!has_record) {
            reader->event_at = reader->source.next;
            return HYSGD_OK;
        }
        HYSGD_TRY(take_record(reader, number, event_out, has_event_out));
    }
    return HYSGD_OK;
}

const struct event_run *log_reader_run(const struct log_reader *reader) {
    return &reader->run;
}

const struct event_summary *log_reader_summary(const struct log_reader *reader) {
    return reader->has_ended ? &reader->summary : NULL;
}

uint64_t log_reader_byte(const struct log_reader *reader) {
    return reader->event_at;
}

bool log_reader_has(const struct log_reader *reader, const char *kind, const char *field) {
    for (size_t i = 0; i < MOST_KINDS; i++) {
        const struct stored_kind *stored = &reader->kinds[i];
        for (size_t k = 0; stored->kind != NULL && strcmp(stored->kind->name, kind) == 0 && k < stored->count; k++)
            if (stored->fields[k].field != NULL && strcmp(stored->fields[k].field->name, field) == 0)
                return true;
    }
    return false;
}

const char *log_reader_unknown(const struct log_reader *reader) {
    return reader->unknown[0] != '\0' ? reader->unknown : NULL;
}
