/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile option texts: what is accepted must print to a text that gives the same state and prints the same again;
 * what is refused must have a message and leave nothing behind. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"

struct fields {
    bool flag;
    int64_t integer, bounded;
    double real, share;
    int choice;
    char *text, *other;
};

static const struct hysgd_option table[] = {
    {.key = "flag", .type = HYSGD_OPTION_BOOL, .offset = offsetof(struct fields, flag), .initial = "no"},
    {.key = "integer", .type = HYSGD_OPTION_INT, .offset = offsetof(struct fields, integer), .initial = "0"},
    {.key = "bounded",
     .type = HYSGD_OPTION_INT,
     .offset = offsetof(struct fields, bounded),
     .initial = "1",
     .least = 1,
     .most = 1e9},
    {.key = "real", .type = HYSGD_OPTION_REAL, .offset = offsetof(struct fields, real), .initial = "0"},
    {.key = "share",
     .type = HYSGD_OPTION_REAL,
     .offset = offsetof(struct fields, share),
     .initial = "1",
     .least = 0,
     .most = 1},
    {.key = "choice",
     .type = HYSGD_OPTION_CHOICE,
     .offset = offsetof(struct fields, choice),
     .initial = "mean",
     .words = "mean|sum|median"},
    {.key = "text", .type = HYSGD_OPTION_TEXT, .offset = offsetof(struct fields, text), .initial = ""},
    {.key = "other", .type = HYSGD_OPTION_TEXT, .offset = offsetof(struct fields, other), .initial = "a,b"},
    {0}};

static void expect(bool is_true) {
    if (!is_true)
        abort();
}

static char *print_all(const struct fields *fields) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    expect(out != NULL);
    options_print(table, fields, out);
    expect(fclose(out) == 0);
    return text;
}

static void expect_valid(const struct fields *fields) {
    expect(fields->bounded >= 1 && fields->bounded <= 1000000000);
    expect(isfinite(fields->real) && fields->share >= 0 && fields->share <= 1);
    expect(fields->choice >= 0 && fields->choice < 3);
    expect(fields->text != NULL && fields->other != NULL);
}

static void expect_same(const struct fields *a, const struct fields *b) {
    expect(a->flag == b->flag && a->integer == b->integer && a->bounded == b->bounded && a->choice == b->choice);
    expect(memcmp(&a->real, &b->real, sizeof a->real) == 0 && memcmp(&a->share, &b->share, sizeof a->share) == 0);
    expect(strcmp(a->text, b->text) == 0 && strcmp(a->other, b->other) == 0);
}

static void expect_read_back(const struct fields *fields) {
    struct fields copy = {0};
    char *printed = print_all(fields);
    expect(options_init(table, &copy) == HYSGD_OK);
    expect(options_parse(table, &copy, "copy", printed) == HYSGD_OK);
    expect_same(fields, &copy);
    char *again = print_all(&copy);
    expect(strcmp(printed, again) == 0);
    free(again);
    free(printed);
    options_fini(table, &copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fields fields = {0};
    char *text = malloc(size + 1);
    expect(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    expect(options_init(table, &fields) == HYSGD_OK);
    status_set_message("");
    if (options_parse(table, &fields, "fuzz", text) != HYSGD_OK)
        expect(*hysgd_error_message() != '\0');
    expect_valid(&fields);
    expect_read_back(&fields); /* also what a refused text had set before its fault */
    options_fini(table, &fields);
    free(text);
    expect(memory_used() == 0);
    return 0;
}
