/* SPDX-License-Identifier: Apache-2.0 */
/* The list of models, and opening a model from text that is either a listed name with options or layers with
 * options. */
#include "model/model.h"

#include <ctype.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "model/layers.h"
#include "model/list.h"

static const struct hysgd_plugin *const entries[] = {
#define X(ops) &ops.about,
    MODEL_LIST(X)
#undef X
};

const struct plugin_list model_list = {
    .kind = "model", .entries = entries, .count = sizeof(entries) / sizeof(*entries)};

static const char *skip_blanks(const char *text) {
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

static bool is_listed(const char *name, size_t length) {
    for (size_t i = 0; i < model_list.count; i++)
        if (plugin_is_called(entries[i], name, length))
            return true;
    return false;
}

/* The nearest model or layer to a first word that is neither. */
static enum hysgd_status fail_first_word(const char *word, size_t length) {
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < model_list.count && count < 32; i++)
        names[count++] = entries[i]->name;
    for (size_t i = 0; i < layers_word_count && count < 64; i++)
        names[count++] = layers_words[i];
    char shown[40] = "";
    for (size_t i = 0; i < length && i < sizeof(shown) - 1; i++)
        shown[i] = isprint((unsigned char)word[i]) ? word[i] : '?';
    const char *near = options_nearest(shown, names, count);
    if (near)
        return hysgd_fail(HYSGD_USAGE, "model: \"%s\" is neither a model nor a layer; did you mean %s?", shown,
                          near);
    return hysgd_fail(HYSGD_USAGE,
                      "model: \"%s\" is neither a model nor a layer; expected a model's name or layers such as "
                      "\"dense 128, relu, dense\"",
                      shown);
}

/* The first comma whose next part is key=value; the end of the text when there is none. */
static char *find_options(char *text) {
    for (char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ','))
        if (comma[1 + strcspn(comma + 1, ",=")] == '=')
            return comma;
    return text + strlen(text);
}

/* Removes the blanks behind commas and at the end, which option texts do not have. */
static void close_up(char *text) {
    char *out = text;
    for (const char *in = skip_blanks(text); *in;) {
        *out++ = *in++;
        if (out[-1] == ',')
            in = skip_blanks(in);
    }
    while (out > text && isspace((unsigned char)out[-1]))
        out--;
    *out = '\0';
}

/* Opens a network; `layers` is the user's text and is cut in two at the options. */
static enum hysgd_status open_layers(char *layers, struct plugin *model_out) {
    char *options = find_options(layers);
    if (*options)
        *options++ = '\0';
    close_up(options);
    struct layers parsed;
    HYSGD_TRY(
        layers_parse(layers, &parsed)); /* for its messages: the network reads the text again when it has data */
    layers_fini(&parsed);
    struct plugin model;
    HYSGD_TRY(plugin_adopt(model_list.kind, &model_network.about, NULL, options, &model));
    enum hysgd_status status =
        options_set(model_network.about.options, model.self, "model network", "layers", layers);
    if (status == HYSGD_OK)
        *model_out = model;
    else
        plugin_close(&model);
    return status;
}

enum hysgd_status model_open(const char *text, struct plugin *model_out) {
    *model_out = (struct plugin){0};
    const char *start = skip_blanks(text);
    size_t length = strcspn(start, " \t\r\n\f\v,:[|]");
    if (*start == '\0')
        return hysgd_fail(HYSGD_USAGE,
                          "model: empty; expected a model's name or layers such as \"dense 128, relu, dense\"");
    if (is_listed(start, length))
        return plugin_open(&model_list, start, model_out);
    if (length > 0 && !layers_has_word(start, length))
        return fail_first_word(start, length);
    char *layers;
    HYSGD_TRY(memory_copy_text(start, &layers));
    enum hysgd_status status = open_layers(layers, model_out);
    memory_free(layers);
    return status;
}
