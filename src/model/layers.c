/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the text of a network into layers. Knows the words and their arguments, not the shapes that result
 * (layers_graph.c). */
#include "model/layers.h"

#include <ctype.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"

#define MOST_WORDS  8
#define MOST_UNITS  (1 << 20)
#define MOST_KERNEL 1024

const char *const layers_words[] = {
#define X(kind, word, usage) word,
    LAYERS_LIST(X)
#undef X
};
const size_t layers_word_count = sizeof(layers_words) / sizeof(*layers_words);

static const char *const usages[] = {
#define X(kind, word, usage) usage,
    LAYERS_LIST(X)
#undef X
};

/* A piece of the text. */
struct word {
    const char *start;
    size_t length;
};

/* A layer's words while they are read. */
struct reader {
    struct layer *layer;
    struct word words[MOST_WORDS];
    int count, next;
};

static bool word_is(struct word word, const char *text) {
    return strlen(text) == word.length && memcmp(word.start, text, word.length) == 0;
}

bool layers_has_word(const char *word, size_t length) {
    for (size_t i = 0; i < layers_word_count; i++)
        if (word_is((struct word){word, length}, layers_words[i]))
            return true;
    return false;
}

/* Copies a word for a message: cut to the room there is, unprintable bytes replaced. */
static const char *word_text(struct word word, char *room, size_t size) {
    size_t length = word.length < size - 1 ? word.length : size - 1;
    for (size_t i = 0; i < length; i++)
        room[i] = isprint((unsigned char)word.start[i]) ? word.start[i] : '?';
    room[length] = '\0';
    return room;
}

/* The layer as its message shows it. */
static void layer_show(struct layer *layer, const struct reader *reader) {
    size_t used = 0;
    for (int i = 0; i < reader->count && used + 2 < sizeof(layer->text); i++) {
        if (i > 0)
            layer->text[used++] = ' ';
        word_text(reader->words[i], layer->text + used, sizeof(layer->text) - used);
        used += strlen(layer->text + used);
    }
    layer->text[used] = '\0';
}

/* Fails at the word that is next, or after the last one. */
static enum hysgd_status fail_at(const struct reader *reader, const char *expected) {
    const struct layer *layer = reader->layer;
    char room[40];
    if (reader->next < reader->count)
        return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": word %d is \"%s\", expected %s", layer->number,
                          layer->text, reader->next + 1, word_text(reader->words[reader->next], room, sizeof(room)),
                          expected);
    return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": ends after word %d, expected %s", layer->number,
                      layer->text, reader->count, expected);
}

/* Digits at *at, before `end`, as a number from `least` to `most`; moves *at behind them. */
static bool read_digits(const char **at, const char *end, int least, int most, int *value_out) {
    const char *start = *at;
    int value = 0;
    while (*at < end && isdigit((unsigned char)**at) && value <= most)
        value = value * 10 + (*(*at)++ - '0');
    if (*at == start || value < least || value > most)
        return false;
    *value_out = value;
    return true;
}

static bool word_number(struct word word, int least, int most, int *value_out) {
    const char *at = word.start, *end = at + word.length;
    int value;
    if (!read_digits(&at, end, least, most, &value) || at != end)
        return false;
    *value_out = value;
    return true;
}

/* HxWxN. */
static bool word_kernel(struct word word, struct layer *layer) {
    const char *at = word.start, *end = at + word.length;
    return read_digits(&at, end, 1, MOST_KERNEL, &layer->kernel_h) && at < end && *at++ == 'x' &&
           read_digits(&at, end, 1, MOST_KERNEL, &layer->kernel_w) && at < end && *at++ == 'x' &&
           read_digits(&at, end, 1, MOST_UNITS, &layer->units) && at == end;
}

static bool next_is(struct reader *reader, const char *text) {
    if (reader->next == reader->count || !word_is(reader->words[reader->next], text))
        return false;
    reader->next++;
    return true;
}

/* [stride S] [pad P|same] [nobias] in any order, each at most once. */
static enum hysgd_status read_details(struct reader *reader, bool has_window) {
    struct layer *layer = reader->layer;
    bool may_bias = layer->kind == LAYER_CONV || layer->kind == LAYER_DENSE, has_stride = false, has_pad = false;
    while (reader->next < reader->count) {
        if (has_window && !has_stride && next_is(reader, "stride")) {
            has_stride = true;
            if (reader->next == reader->count ||
                !word_number(reader->words[reader->next], 1, MOST_KERNEL, &layer->stride))
                return fail_at(reader, "a stride from 1 to 1024");
            reader->next++;
        } else if (has_window && !has_pad && next_is(reader, "pad")) {
            has_pad = true;
            if (layer->kind == LAYER_CONV && next_is(reader, "same")) {
                layer->pad = LAYER_SAME;
                continue;
            }
            if (reader->next == reader->count ||
                !word_number(reader->words[reader->next], 0, MOST_KERNEL, &layer->pad))
                return fail_at(reader, layer->kind == LAYER_CONV ? "a padding from 0 to 1024, or same"
                                                                 : "a padding from 0 to 1024");
            reader->next++;
        } else if (may_bias && layer->has_bias && next_is(reader, "nobias")) {
            layer->has_bias = false;
        } else {
            char expected[128] = "the end of: ";
            strncat(expected, usages[layer->kind], sizeof(expected) - strlen(expected) - 1);
            return fail_at(reader, expected);
        }
    }
    return HYSGD_OK;
}

static enum hysgd_status check_window(const struct layer *layer) {
    const char *what = NULL;
    if (layer->pad == LAYER_SAME && (layer->kernel_h != layer->kernel_w || layer->kernel_h % 2 == 0))
        what = "pad same needs a square kernel of odd size";
    else if (layer->pad >= layer->kernel_h || layer->pad >= layer->kernel_w)
        what = "the padding must be smaller than the kernel";
    if (what)
        return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": %s", layer->number, layer->text, what);
    return HYSGD_OK;
}

static enum hysgd_status read_conv(struct reader *reader) {
    struct layer *layer = reader->layer;
    if (reader->next == reader->count || !word_kernel(reader->words[reader->next], layer))
        return fail_at(reader,
                       "HxWxN, such as 5x5x32: height and width of the kernel (1 to 1024) and output channels");
    reader->next++;
    HYSGD_TRY(read_details(reader, true));
    return check_window(layer);
}

static enum hysgd_status read_dense(struct reader *reader) {
    struct layer *layer = reader->layer;
    if (reader->next < reader->count && !word_is(reader->words[reader->next], "nobias")) {
        if (!word_number(reader->words[reader->next], 1, MOST_UNITS, &layer->units))
            return fail_at(reader, "a number of units from 1 to 1048576");
        reader->next++;
    }
    return read_details(reader, false);
}

static enum hysgd_status read_pool(struct reader *reader) {
    struct layer *layer = reader->layer;
    if (layer->kind == LAYER_AVGPOOL && reader->next == reader->count)
        return HYSGD_OK;
    if (reader->next == reader->count ||
        !word_number(reader->words[reader->next], 1, MOST_KERNEL, &layer->kernel_h))
        return fail_at(reader, "the size of the window from 1 to 1024");
    reader->next++;
    layer->kernel_w = layer->stride = layer->kernel_h;
    HYSGD_TRY(read_details(reader, true));
    return check_window(layer);
}

static enum hysgd_status read_dropout(struct reader *reader) {
    char room[32];
    double rate;
    if (reader->next == reader->count || reader->words[reader->next].length >= sizeof(room) ||
        !options_read_real(word_text(reader->words[reader->next], room, sizeof(room)), &rate) ||
        !(rate >= 0 && rate < 1))
        return fail_at(reader, "the share to zero, from 0 to less than 1");
    reader->layer->rate = rate;
    reader->next++;
    return read_details(reader, false);
}

static enum hysgd_status read_loss(struct reader *reader) {
    if (next_is(reader, "softmax"))
        reader->layer->loss = LAYER_LOSS_SOFTMAX;
    else if (next_is(reader, "squared"))
        reader->layer->loss = LAYER_LOSS_SQUARED;
    else
        return fail_at(reader, "softmax or squared");
    return read_details(reader, false);
}

static enum hysgd_status fail_unknown(const struct reader *reader) {
    char room[40];
    const char *near =
        options_nearest(word_text(reader->words[0], room, sizeof(room)), layers_words, layers_word_count);
    if (near)
        return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": unknown layer; did you mean %s?",
                          reader->layer->number, reader->layer->text, near);
#define X(kind, word, usage) " " word
    return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": unknown layer; expected one of" LAYERS_LIST(X),
                      reader->layer->number, reader->layer->text);
#undef X
}

/* Reads one layer from its words. */
static enum hysgd_status read_layer(struct reader *reader) {
    struct layer *layer = reader->layer;
    size_t kind = 0;
    while (kind < layers_word_count && !word_is(reader->words[0], layers_words[kind]))
        kind++;
    if (kind == layers_word_count)
        return fail_unknown(reader);
    layer->kind = (enum layer_kind)kind;
    layer->stride = 1;
    layer->has_bias = layer->kind == LAYER_CONV || layer->kind == LAYER_DENSE;
    reader->next = 1;
    switch (layer->kind) {
    case LAYER_CONV:
        return read_conv(reader);
    case LAYER_DENSE:
        return read_dense(reader);
    case LAYER_POOL:
    case LAYER_AVGPOOL:
        return read_pool(reader);
    case LAYER_DROPOUT:
        return read_dropout(reader);
    case LAYER_LOSS:
        return read_loss(reader);
    default:
        return read_details(reader, false);
    }
}

/* Where the parser stands between layers. */
struct parser {
    struct layers *layers;
    int number;                       /* layers so far */
    int depth;                        /* open blocks */
    bool is_split[LAYERS_MOST_DEPTH]; /* [depth] the block's | has been seen */
    char before;                      /* '\0' at the beginning, a bracket, ',', or 'L' after a layer */
};

/* Whether a layer must follow what was read last. */
static bool needs_layer(const struct parser *parser) {
    return parser->before == '\0' || parser->before == ',' || parser->before == '[' || parser->before == '|';
}

static enum hysgd_status fail_between(const struct parser *parser, const char *found, const char *expected) {
    return hysgd_fail(HYSGD_USAGE, "model: after layer %d: found %s, expected %s", parser->number, found, expected);
}

static enum hysgd_status add_bracket(struct parser *parser, enum layer_kind kind) {
    if (parser->layers->count == LAYERS_MOST)
        return hysgd_fail(HYSGD_USAGE, "model: more than %d layers and brackets", LAYERS_MOST);
    parser->layers->items[parser->layers->count++] = (struct layer){.kind = kind, .number = parser->number};
    return HYSGD_OK;
}

/* One of , [ | ] */
static enum hysgd_status read_mark(struct parser *parser, char mark) {
    char found[] = {'"', mark, '"', '\0'};
    if (mark == '[') {
        if (!needs_layer(parser))
            return fail_between(parser, found, "a comma");
        if (parser->depth == LAYERS_MOST_DEPTH)
            return hysgd_fail(HYSGD_USAGE, "model: after layer %d: blocks nested more than %d deep", parser->number,
                              LAYERS_MOST_DEPTH);
        parser->is_split[parser->depth++] = false;
        HYSGD_TRY(add_bracket(parser, LAYER_OPEN));
    } else if (needs_layer(parser) && !(mark == ']' && parser->before == '|')) {
        return fail_between(parser, found, "a layer");
    } else if (mark == '|') {
        if (parser->depth == 0 || parser->is_split[parser->depth - 1])
            return fail_between(parser, found, "no further | in a block, and none outside");
        parser->is_split[parser->depth - 1] = true;
        HYSGD_TRY(add_bracket(parser, LAYER_SPLIT));
    } else if (mark == ']') {
        if (parser->depth == 0)
            return fail_between(parser, found, "a [ before it");
        parser->depth--;
        HYSGD_TRY(add_bracket(parser, LAYER_CLOSE));
    }
    parser->before = mark;
    return HYSGD_OK;
}

/* Splits the layer's text into words and reads it. */
static enum hysgd_status read_words(struct parser *parser, const char *start, const char *end) {
    if (!needs_layer(parser))
        return fail_between(parser, "another layer", "a comma");
    if (parser->layers->count == LAYERS_MOST)
        return hysgd_fail(HYSGD_USAGE, "model: more than %d layers and brackets", LAYERS_MOST);
    struct layer *layer = &parser->layers->items[parser->layers->count++];
    struct reader reader = {.layer = layer};
    bool has_more = false;
    for (const char *at = start; at < end && !has_more;) {
        const char *word = at;
        while (at < end && !isspace((unsigned char)*at))
            at++;
        if (at > word && reader.count < MOST_WORDS)
            reader.words[reader.count++] = (struct word){word, (size_t)(at - word)};
        else
            has_more = at > word;
        while (at < end && isspace((unsigned char)*at))
            at++;
    }
    layer->number = ++parser->number;
    layer_show(layer, &reader);
    parser->before = 'L';
    if (has_more)
        return hysgd_fail(HYSGD_USAGE, "model: layer %d \"%s\": more than %d words", layer->number, layer->text,
                          MOST_WORDS);
    return read_layer(&reader);
}

static enum hysgd_status parse(struct parser *parser, const char *text) {
    for (const char *at = text; *at;) {
        if (isspace((unsigned char)*at)) {
            at++;
        } else if (strchr(",[|]", *at)) {
            HYSGD_TRY(read_mark(parser, *at++));
        } else {
            size_t length = strcspn(at, ",[|]");
            HYSGD_TRY(read_words(parser, at, at + length));
            at += length;
        }
    }
    if (needs_layer(parser))
        return fail_between(parser, "the end", "a layer");
    if (parser->depth > 0)
        return fail_between(parser, "the end", "a ]");
    return HYSGD_OK;
}

enum hysgd_status layers_parse(const char *text, struct layers *layers_out) {
    *layers_out = (struct layers){0};
    size_t length = strlen(text), room = 1;
    if (length > LAYERS_MOST_TEXT)
        return hysgd_fail(HYSGD_USAGE, "model: a text of %zu bytes, at most %d are allowed", length,
                          LAYERS_MOST_TEXT);
    for (size_t i = 0; i < length && room < LAYERS_MOST; i++)
        room += strchr(",[|]", text[i]) ? 2 : 0; /* a mark, and the layer behind it */
    struct layers layers = {0};
    HYSGD_TRY(memory_alloc(room < LAYERS_MOST ? room : LAYERS_MOST, sizeof(*layers.items), &layers.items));
    struct parser parser = {.layers = &layers};
    enum hysgd_status status = parse(&parser, text);
    if (status == HYSGD_OK)
        *layers_out = layers;
    else
        layers_fini(&layers);
    return status;
}

void layers_fini(struct layers *layers) {
    memory_free(layers->items);
    *layers = (struct layers){0};
}
