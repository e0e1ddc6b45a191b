/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and prints configuration files line by line. Knows no option: keys and values go to the caller's function.
 */
#include "train/config.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"

/* A configuration is a page of text; anything larger is another file given by mistake. */
#define MOST_BYTES (1 << 20)
#define MOST_KEYS  256

struct reader {
    const char *name;
    config_set *set;
    void *self;
    char *keys[MOST_KEYS]; /* [count] seen so far, owned */
    size_t lines[MOST_KEYS];
    size_t count;
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static char *trim(char *text) {
    while (is_blank(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        text[--length] = '\0';
    return text;
}

static const char codes[] = "\"\\nrt", meanings[] = "\"\\\n\r\t";

/* Replaces a value in double quotes by what it stands for. NULL when it is malformed. */
static char *unquote(char *text) {
    if (text[0] != '"')
        return text;
    char *to = text;
    for (const char *from = text + 1; *from != '\0'; from++) {
        if (*from == '"') {
            *to = '\0';
            return from[1] == '\0' ? text : NULL;
        }
        char c = *from;
        if (c == '\\') {
            const char *code = *++from != '\0' ? strchr(codes, *from) : NULL;
            if (code == NULL)
                return NULL;
            c = meanings[code - codes];
        }
        *to++ = c;
    }
    return NULL;
}

static enum hysgd_status note_key(struct reader *reader, const char *key, size_t number) {
    for (size_t i = 0; i < reader->count; i++)
        if (strcmp(reader->keys[i], key) == 0)
            return hysgd_fail(HYSGD_USAGE, "%s:%zu: %s was given before, at line %zu", reader->name, number, key,
                              reader->lines[i]);
    if (reader->count == MOST_KEYS)
        return hysgd_fail(HYSGD_USAGE, "%s:%zu: more than %d options", reader->name, number, MOST_KEYS);
    HYSGD_TRY(memory_copy_text(key, &reader->keys[reader->count]));
    reader->lines[reader->count++] = number;
    return HYSGD_OK;
}

static enum hysgd_status read_line(struct reader *reader, char *line, size_t number) {
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return HYSGD_OK;
    char *equals = strchr(line, '=');
    if (equals == NULL || equals == line)
        return hysgd_fail(HYSGD_USAGE, "%s:%zu: \"%.60s\" is not of the form key = value", reader->name, number,
                          line);
    *equals = '\0';
    const char *key = trim(line);
    const char *value = unquote(trim(equals + 1));
    if (value == NULL)
        return hysgd_fail(HYSGD_USAGE,
                          "%s:%zu: the value of %s begins with a quote and does not end with its closing one; "
                          "expected \"...\" with \\\" \\\\ \\n \\r \\t inside",
                          reader->name, number, key);
    HYSGD_TRY(note_key(reader, key, number));
    enum hysgd_status status = reader->set(reader->self, key, value);
    if (status == HYSGD_OK)
        return HYSGD_OK;
    char where[300];
    snprintf(where, sizeof where, "%s:%zu", reader->name, number);
    return status_locate(status, where);
}

enum hysgd_status config_read_text(const char *name, const char *text, size_t length, config_set *set, void *self) {
    struct reader reader = {.name = name, .set = set, .self = self};
    if (memchr(text, '\0', length) != NULL)
        return hysgd_fail(HYSGD_USAGE, "%s: is not a text file (it holds a zero byte)", name);
    char *lines;
    HYSGD_TRY(memory_alloc(length + 1, 1, &lines));
    memcpy(lines, text, length);
    enum hysgd_status status = HYSGD_OK;
    char *line = lines;
    for (size_t number = 1; line != NULL && status == HYSGD_OK; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        status = read_line(&reader, line, number);
        line = end != NULL ? end + 1 : NULL;
    }
    for (size_t i = 0; i < reader.count; i++)
        memory_free(reader.keys[i]);
    memory_free(lines);
    return status;
}

static enum hysgd_status read_bytes(const char *path, FILE *file, char *bytes, size_t *length_out) {
    size_t length = fread(bytes, 1, MOST_BYTES + 1, file);
    if (ferror(file))
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    if (length > MOST_BYTES)
        return hysgd_fail(HYSGD_INPUT, "%s: is larger than 1 MiB, so not a configuration file", path);
    *length_out = length;
    return HYSGD_OK;
}

enum hysgd_status config_read(const char *path, config_set *set, void *self) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    char *bytes = NULL;
    size_t length = 0;
    enum hysgd_status status = memory_alloc(MOST_BYTES + 1, 1, &bytes);
    if (status == HYSGD_OK)
        status = read_bytes(path, file, bytes, &length);
    if (status == HYSGD_OK)
        status = config_read_text(path, bytes, length, set, self);
    memory_free(bytes);
    fclose(file);
    return status;
}

static bool needs_quotes(const char *value) {
    size_t length = strlen(value);
    return length > 0 && (value[0] == '"' || is_blank(value[0]) || is_blank(value[length - 1]) ||
                          strpbrk(value, "\n\r\t") != NULL);
}

void config_print(const char *key, const char *value, FILE *out) {
    if (!needs_quotes(value)) {
        fprintf(out, "%s =%s%s\n", key, value[0] != '\0' ? " " : "", value);
        return;
    }
    fprintf(out, "%s = \"", key);
    for (const char *c = value; *c != '\0'; c++) {
        const char *special = strchr(meanings, *c);
        if (special != NULL)
            fprintf(out, "\\%c", codes[special - meanings]);
        else
            fputc(*c, out);
    }
    fputs("\"\n", out);
}
