/* SPDX-License-Identifier: Apache-2.0 */
/* Advice as one HTML page: the recommendation and the table as text, and two charts in SVG, a row for each policy
 * with its 90 % interval. Nothing is loaded from anywhere, and no script runs. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "record/output.h"
#include "train/advice.h"

#define WIDTH      720
#define NAME_WIDTH 230
#define ROW        24
#define TEXT_WIDTH 100

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>hysgd advise</title>\n<style>\n"
    ":root{color-scheme:light dark;--ink:#1c2330;--paper:#fff;--soft:#8a93a3;--line:#d5dae2;--mark:#1f6fb2;--best:#c2501a}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e8ef;--paper:#14181f;--soft:#8f99aa;--line:#343c49;--mark:#6fb4ee;"
    "--best:#f0935c}}\n"
    "body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;"
    "padding:0 1rem}\n"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}svg{width:100%;height:auto}"
    "svg text{fill:var(--ink);font:13px system-ui,sans-serif}\n"
    "svg .tick{fill:var(--soft)}.grid{stroke:var(--line)}.bar{fill:var(--mark);opacity:.35}.dot{fill:var(--mark)}"
    ".whisker{stroke:var(--mark);stroke-width:2}\n"
    ".best .bar,.best .dot{fill:var(--best)}.best .whisker{stroke:var(--best)}.best text{font-weight:600}\n"
    "pre{overflow-x:auto;font-size:.8rem;line-height:1.4}\n@media print{body{max-width:none;margin:0}}\n"
    "</style></head><body>\n<h1>hysgd advise</h1>\n";

static void put_text(const char *text, FILE *out) {
    for (; *text != '\0'; text++)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc((unsigned char)*text < ' ' && *text != '\n' ? '?' : *text, out);
        }
}

/* A round distance of ticks, of which there are about five up to `most`. */
static double tick_distance(double most) {
    double power = pow(10, floor(log10(most / 5))), part = most / 5 / power;
    return power * (part > 5 ? 10 : part > 2 ? 5 : part > 1 ? 2 : 1);
}

static double largest(const struct advice *advice, const size_t *order, size_t count,
                      enum advice_quantity quantity) {
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        struct advice_estimate estimate = advice_estimate(advice, order[i], quantity);
        if (isfinite(estimate.value))
            most = fmax(most, estimate.value);
        if (isfinite(estimate.high))
            most = fmax(most, estimate.high);
    }
    return most;
}

static void put_row(const struct advice *advice, size_t policy, enum advice_quantity quantity, double scale,
                    int top, bool is_best, FILE *out) {
    struct advice_estimate estimate = advice_estimate(advice, policy, quantity);
    double middle = top + ROW / 2.0, end = NAME_WIDTH + scale * estimate.value;
    fprintf(out, "<g%s><text x=\"%d\" y=\"%g\" text-anchor=\"end\">", is_best ? " class=\"best\"" : "",
            NAME_WIDTH - 8, middle + 4);
    char name[32];
    snprintf(name, sizeof name, "%s", advice->policies[policy].name);
    put_text(name, out);
    fputs("</text>", out);
    if (!isfinite(estimate.value)) {
        fprintf(out, "<text class=\"tick\" x=\"%d\" y=\"%g\">not reached</text></g>\n", NAME_WIDTH + 4, middle + 4);
        return;
    }
    fprintf(out, "<rect class=\"bar\" x=\"%d\" y=\"%d\" width=\"%.2f\" height=\"%d\"/>", NAME_WIDTH, top + 5,
            end - NAME_WIDTH, ROW - 10);
    if (isfinite(estimate.low) && isfinite(estimate.high))
        fprintf(out, "<line class=\"whisker\" x1=\"%.2f\" x2=\"%.2f\" y1=\"%g\" y2=\"%g\"/>",
                NAME_WIDTH + scale * estimate.low, NAME_WIDTH + scale * estimate.high, middle, middle);
    fprintf(out, "<circle class=\"dot\" cx=\"%.2f\" cy=\"%g\" r=\"4\"><title>", end, middle);
    put_text(advice->policies[policy].name, out);
    fprintf(out, ": %.5g</title></circle></g>\n", estimate.value);
}

static void put_chart(const struct advice *advice, const size_t *order, size_t count, enum advice_quantity quantity,
                      const char *title, FILE *out) {
    double most = largest(advice, order, count, quantity);
    int height = (int)count * ROW;
    if (!(most > 0))
        return;
    double scale = (WIDTH - NAME_WIDTH - 30) / most, distance = tick_distance(most);
    fprintf(out, "<h2>%s</h2>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", title, WIDTH,
            height + 24, title);
    for (double tick = 0; tick <= most; tick += distance) {
        double x = NAME_WIDTH + scale * tick;
        fprintf(out, "<line class=\"grid\" x1=\"%.2f\" x2=\"%.2f\" y1=\"0\" y2=\"%d\"/>", x, x, height);
        fprintf(out, "<text class=\"tick\" x=\"%.2f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", x,
                height + 17, tick);
    }
    for (size_t i = 0; i < count; i++)
        put_row(advice, order[i], quantity, scale, (int)i * ROW, i == 0 && advice_merit(advice, order[0]) > 0, out);
    fputs("</svg>\n", out);
}

static enum hysgd_status put_page(const struct advice *advice, const size_t *order, size_t count, FILE *out) {
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return hysgd_fail(HYSGD_MEMORY, "no memory for the text of a report");
    enum hysgd_status status = advice_print_text(advice, TEXT_WIDTH, stream);
    if (fclose(stream) != 0 && status == HYSGD_OK)
        status = hysgd_fail(HYSGD_MEMORY, "no memory for the text of a report");
    fputs(head, out);
    if (advice->has_gradients)
        put_chart(advice, order, count, ADVICE_TARGET, "Seconds to the target: less is better", out);
    else
        put_chart(advice, order, count, ADVICE_USEFUL, "Useful gradients per second: more is better", out);
    put_chart(advice, order, count, ADVICE_UPDATES, "Updates per second", out);
    put_chart(advice, order, count, ADVICE_WAITING, "Share of the workers' time spent waiting", out);
    put_chart(advice, order, count, ADVICE_STALENESS, "Mean staleness, in updates", out);
    fputs("<h2>In numbers</h2>\n<pre>", out);
    if (status == HYSGD_OK)
        put_text(text, out);
    fputs("</pre>\n</body></html>\n", out);
    free(text);
    return status;
}

enum hysgd_status advice_write_picture(const struct advice *advice, const char *path) {
    struct output *output;
    size_t *order;
    HYSGD_TRY(memory_alloc(1, sizeof *output, &output));
    enum hysgd_status status = memory_alloc(advice->count, sizeof *order, &order);
    if (status == HYSGD_OK) {
        size_t count = advice_rank(advice, order);
        status = output_open_whole(output, path);
        errno = 0;
        if (status == HYSGD_OK)
            status = put_page(advice, order, count, output->stream);
        if (status == HYSGD_OK)
            status = output_close(output);
        output_fini(output);
        memory_free(order);
    }
    memory_free(output);
    return status;
}
