/* SPDX-License-Identifier: Apache-2.0 */
/* Plain loops for every operation of a graph, forward and backward. Sums run in double precision in index order. */
#include "linalg/reference_nodes.h"

#include <math.h>

#include "base/random.h"

/* A window's kernel offsets or positions that fall on real input: [first, end). */
struct span {
    int first, end;
};

/* The output positions p with 0 <= p * stride + offset < extent, of `positions`. */
static struct span span_of_outputs(int positions, int stride, int offset, int extent) {
    struct span span = {0, 0};
    while (span.first < positions && span.first * stride + offset < 0)
        span.first++;
    span.end = span.first;
    while (span.end < positions && span.end * stride + offset < extent)
        span.end++;
    return span;
}

/* The input positions that the window of output `position` covers. */
static struct span span_of_window(int position, int kernel, int stride, int pad, int extent) {
    int first = position * stride - pad, end = first + kernel;
    return (struct span){first < 0 ? 0 : first, end > extent ? extent : end};
}

static void dense_forward(const struct reference_node *self, const struct reference_node *input,
                          const struct reference_pass *pass) {
    const struct graph_node *node = self->node;
    for (size_t s = 0; s < pass->count; s++)
        for (size_t u = 0; u < self->size; u++) {
            const double *x = input->values + s * input->size;
            const double *w = pass->vector + node->weight + u * input->size;
            double sum = node->has_bias ? pass->vector[node->bias + u] : 0;
            for (size_t i = 0; i < input->size; i++)
                sum += w[i] * x[i];
            self->values[s * self->size + u] = sum;
        }
}

static void dense_backward(const struct reference_node *self, const struct reference_node *input,
                           const struct reference_pass *pass, double *gradient) {
    const struct graph_node *node = self->node;
    for (size_t s = 0; s < pass->count; s++)
        for (size_t u = 0; u < self->size; u++) {
            double slope = self->slopes[s * self->size + u];
            const double *x = input->values + s * input->size;
            double *dw = gradient + node->weight + u * input->size;
            for (size_t i = 0; i < input->size; i++)
                dw[i] += slope * x[i];
            if (node->has_bias)
                gradient[node->bias + u] += slope;
            if (!input->slopes)
                continue;
            const double *w = pass->vector + node->weight + u * input->size;
            double *dx = input->slopes + s * input->size;
            for (size_t i = 0; i < input->size; i++)
                dx[i] += slope * w[i];
        }
}

/* One weight of a convolution meets one plane of the input and one of the output: the positions at which it does.
 */
struct conv_tap {
    struct span rows, columns;     /* of the output */
    int row_offset, column_offset; /* input position = output position * stride + offset */
    size_t weight;                 /* index in the vector */
    const struct graph_node *node, *input;
};

static struct conv_tap conv_tap(const struct graph_node *node, const struct graph_node *input, int unit,
                                int channel, int kh, int kw) {
    struct conv_tap tap = {
        .row_offset = kh - node->pad, .column_offset = kw - node->pad, .node = node, .input = input};
    tap.rows = span_of_outputs(node->height, node->stride, tap.row_offset, input->height);
    tap.columns = span_of_outputs(node->width, node->stride, tap.column_offset, input->width);
    tap.weight =
        node->weight +
        (((size_t)unit * (size_t)input->channels + (size_t)channel) * (size_t)node->kernel_h + (size_t)kh) *
            (size_t)node->kernel_w +
        (size_t)kw;
    return tap;
}

/* y += w x over the positions of a tap. */
static void tap_forward(const struct conv_tap *tap, double weight, const double *x, double *y) {
    int stride = tap->node->stride;
    for (int oh = tap->rows.first; oh < tap->rows.end; oh++) {
        const double *x_row =
            x + (ptrdiff_t)(oh * stride + tap->row_offset) * tap->input->width + tap->column_offset;
        double *y_row = y + (ptrdiff_t)oh * tap->node->width;
        for (int ow = tap->columns.first; ow < tap->columns.end; ow++)
            y_row[ow] += weight * x_row[ow * stride];
    }
}

/* Returns the derivative by the tap's weight, sum of dy x, and adds w dy to dx where there is one. */
static double tap_backward(const struct conv_tap *tap, double weight, const double *x, const double *dy,
                           double *dx) {
    int stride = tap->node->stride;
    double sum = 0;
    for (int oh = tap->rows.first; oh < tap->rows.end; oh++) {
        ptrdiff_t row = (ptrdiff_t)(oh * stride + tap->row_offset) * tap->input->width + tap->column_offset;
        const double *dy_row = dy + (ptrdiff_t)oh * tap->node->width;
        for (int ow = tap->columns.first; ow < tap->columns.end; ow++)
            sum += dy_row[ow] * x[row + ow * stride];
        for (int ow = tap->columns.first; dx && ow < tap->columns.end; ow++)
            dx[row + ow * stride] += weight * dy_row[ow];
    }
    return sum;
}

static size_t plane_of(const struct graph_node *node) {
    return (size_t)node->height * (size_t)node->width;
}

static void conv_forward(const struct reference_node *self, const struct reference_node *input,
                         const struct reference_pass *pass) {
    const struct graph_node *node = self->node, *from = input->node;
    size_t plane = plane_of(node), from_plane = plane_of(from);
    for (size_t s = 0; s < pass->count; s++)
        for (int u = 0; u < node->channels; u++) {
            double *y = self->values + s * self->size + (size_t)u * plane;
            for (size_t i = 0; i < plane; i++)
                y[i] = node->has_bias ? pass->vector[node->bias + (size_t)u] : 0;
            for (int c = 0; c < from->channels; c++)
                for (int k = 0; k < node->kernel_h * node->kernel_w; k++) {
                    struct conv_tap tap = conv_tap(node, from, u, c, k / node->kernel_w, k % node->kernel_w);
                    const double *x = input->values + s * input->size + (size_t)c * from_plane;
                    tap_forward(&tap, pass->vector[tap.weight], x, y);
                }
        }
}

static void conv_backward(const struct reference_node *self, const struct reference_node *input,
                          const struct reference_pass *pass, double *gradient) {
    const struct graph_node *node = self->node, *from = input->node;
    size_t plane = plane_of(node), from_plane = plane_of(from);
    for (size_t s = 0; s < pass->count; s++)
        for (int u = 0; u < node->channels; u++) {
            const double *dy = self->slopes + s * self->size + (size_t)u * plane;
            for (size_t i = 0; node->has_bias && i < plane; i++)
                gradient[node->bias + (size_t)u] += dy[i];
            for (int c = 0; c < from->channels; c++)
                for (int k = 0; k < node->kernel_h * node->kernel_w; k++) {
                    struct conv_tap tap = conv_tap(node, from, u, c, k / node->kernel_w, k % node->kernel_w);
                    size_t at = s * input->size + (size_t)c * from_plane;
                    double *dx = input->slopes ? input->slopes + at : NULL;
                    gradient[tap.weight] +=
                        tap_backward(&tap, pass->vector[tap.weight], input->values + at, dy, dx);
                }
        }
}

/* What one output of a pool sees: the window on the plane of its channel and sample. */
struct window {
    struct span rows, columns;
    size_t plane; /* index of the plane's first element in the input */
};

static struct window window_of(const struct graph_node *node, const struct graph_node *input, size_t index) {
    int ow = (int)(index % (size_t)node->width), oh = (int)(index / (size_t)node->width % (size_t)node->height);
    struct window window = {.plane = index / plane_of(node) * plane_of(input)};
    window.rows = span_of_window(oh, node->kernel_h, node->stride, node->pad, input->height);
    window.columns = span_of_window(ow, node->kernel_w, node->stride, node->pad, input->width);
    return window;
}

/* The index of the largest input in the window: of equal ones the first, and a NaN is larger than everything. */
static size_t window_largest(const struct window *window, const double *x, int width) {
    size_t best = SIZE_MAX;
    for (int h = window->rows.first; h < window->rows.end; h++)
        for (int w = window->columns.first; w < window->columns.end; w++) {
            size_t i = window->plane + (size_t)h * (size_t)width + (size_t)w;
            if (best == SIZE_MAX || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best])))
                best = i;
        }
    return best;
}

static void max_pool_forward(const struct reference_node *self, const struct reference_node *input,
                             const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++) {
        struct window window = window_of(self->node, input->node, i);
        self->values[i] = input->values[window_largest(&window, input->values, input->node->width)];
    }
}

static void max_pool_backward(const struct reference_node *self, const struct reference_node *input,
                              const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++) {
        struct window window = window_of(self->node, input->node, i);
        input->slopes[window_largest(&window, input->values, input->node->width)] += self->slopes[i];
    }
}

static int window_area(const struct window *window) {
    return (window->rows.end - window->rows.first) * (window->columns.end - window->columns.first);
}

static void avg_pool_forward(const struct reference_node *self, const struct reference_node *input,
                             const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++) {
        struct window window = window_of(self->node, input->node, i);
        const double *x = input->values + window.plane;
        double sum = 0;
        for (int h = window.rows.first; h < window.rows.end; h++)
            for (int w = window.columns.first; w < window.columns.end; w++)
                sum += x[(ptrdiff_t)h * input->node->width + w];
        self->values[i] = sum / window_area(&window);
    }
}

static void avg_pool_backward(const struct reference_node *self, const struct reference_node *input,
                              const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++) {
        struct window window = window_of(self->node, input->node, i);
        double *dx = input->slopes + window.plane;
        for (int h = window.rows.first; h < window.rows.end; h++)
            for (int w = window.columns.first; w < window.columns.end; w++)
                dx[(ptrdiff_t)h * input->node->width + w] += self->slopes[i] / window_area(&window);
    }
}

/* The value of an activation at x. Comparisons are written so that a NaN stays one. */
static double activation(enum graph_kind kind, double x) {
    if (kind == GRAPH_RELU)
        return x < 0 ? 0 : x;
    return kind == GRAPH_TANH ? tanh(x) : 0.5 * x * (1 + erf(x * M_SQRT1_2));
}

/* Its derivative: 0 at 0 for relu. gelu: Phi(x) + x phi(x). */
static double activation_slope(enum graph_kind kind, double x, double y) {
    if (kind == GRAPH_RELU)
        return x > 0 ? 1 : 0;
    if (kind == GRAPH_TANH)
        return 1 - y * y;
    return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-0.5 * x * x) * (M_2_SQRTPI * M_SQRT1_2 / 2);
}

static void activation_forward(const struct reference_node *self, const struct reference_node *input,
                               const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++)
        self->values[i] = activation(self->node->kind, input->values[i]);
}

static void activation_backward(const struct reference_node *self, const struct reference_node *input,
                                const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++)
        input->slopes[i] += self->slopes[i] * activation_slope(self->node->kind, input->values[i], self->values[i]);
}

/* The batch's mean and biased variance of one channel. */
static void channel_moments(const struct reference_node *input, size_t channel, size_t count, double *mean_out,
                            double *variance_out) {
    size_t plane = plane_of(input->node);
    double sum = 0, squares = 0;
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < plane; i++)
            sum += input->values[s * input->size + channel * plane + i];
    double mean = sum / (double)(count * plane);
    for (size_t s = 0; s < count; s++)
        for (size_t i = 0; i < plane; i++) {
            double difference = input->values[s * input->size + channel * plane + i] - mean;
            squares += difference * difference;
        }
    *mean_out = mean;
    *variance_out = squares / (double)(count * plane);
}

static void norm_forward(const struct reference_node *self, const struct reference_node *input,
                         const struct reference_pass *pass) {
    const struct graph_node *node = self->node;
    size_t plane = plane_of(node), channels = (size_t)node->channels;
    for (size_t c = 0; c < channels; c++) {
        double mean = pass->vector[node->mean + c], variance = pass->vector[node->variance + c];
        if (pass->is_training)
            channel_moments(input, c, pass->count, &mean, &variance);
        double inverse = 1 / sqrt(variance + node->rate);
        if (pass->is_training) {
            self->saved[c] = mean;
            self->saved[channels + c] = inverse;
        }
        double scale = pass->vector[node->weight + c], shift = pass->vector[node->bias + c];
        for (size_t s = 0; s < pass->count; s++)
            for (size_t i = s * self->size + c * plane; i < s * self->size + (c + 1) * plane; i++)
                self->values[i] = scale * (input->values[i] - mean) * inverse + shift;
    }
}

/* With h = (x - mean) / deviation over the n values of a channel:
 * dx = scale / deviation (dy - mean(dy) - h mean(dy h)), dscale = sum(dy h), dshift = sum(dy). */
static void norm_backward(const struct reference_node *self, const struct reference_node *input,
                          const struct reference_pass *pass, double *gradient) {
    const struct graph_node *node = self->node;
    size_t plane = plane_of(node), channels = (size_t)node->channels;
    double n = (double)(pass->count * plane);
    for (size_t c = 0; c < channels; c++) {
        double mean = self->saved[c], inverse = self->saved[channels + c], sum = 0, sum_h = 0;
        for (size_t s = 0; s < pass->count; s++)
            for (size_t i = s * self->size + c * plane; i < s * self->size + (c + 1) * plane; i++) {
                sum += self->slopes[i];
                sum_h += self->slopes[i] * (input->values[i] - mean) * inverse;
            }
        gradient[node->weight + c] += sum_h;
        gradient[node->bias + c] += sum;
        double variance;
        channel_moments(input, c, pass->count, &gradient[node->mean + c], &variance);
        gradient[node->variance + c] = n > 1 ? variance * n / (n - 1) : 0; /* one value: nothing observed */
        double factor = pass->vector[node->weight + c] * inverse;
        for (size_t s = 0; input->slopes && s < pass->count; s++)
            for (size_t i = s * self->size + c * plane; i < s * self->size + (c + 1) * plane; i++) {
                double h = (input->values[i] - mean) * inverse;
                input->slopes[i] += factor * (self->slopes[i] - sum / n - h * sum_h / n);
            }
    }
}

static void dropout_forward(const struct reference_node *self, const struct reference_node *input, int index,
                            const struct reference_pass *pass) {
    double rate = self->node->rate;
    struct random random;
    if (pass->is_training)
        random_init(&random, pass->stream->seed, pass->stream->worker, RANDOM_DROPOUT,
                    pass->stream->draw * PLAN_MOST_NODES + (uint64_t)index);
    for (size_t s = 0; s < pass->count; s++)
        for (size_t i = s * self->size; i < (s + 1) * self->size; i++) {
            double factor = 1;
            if (pass->is_training) {
                float uniform;
                random_fill_uniform(&random, &uniform, 1);
                factor = self->saved[i] = uniform >= rate ? 1 / (1 - rate) : 0;
            }
            self->values[i] = input->values[i] * factor;
        }
}

static void dropout_backward(const struct reference_node *self, const struct reference_node *input,
                             const struct reference_pass *pass) {
    for (size_t i = 0; i < pass->count * self->size; i++)
        input->slopes[i] += self->slopes[i] * self->saved[i];
}

static void copy_slopes(const struct reference_node *self, const struct reference_node *input, size_t count) {
    for (size_t i = 0; input->slopes && i < count * self->size; i++)
        input->slopes[i] += self->slopes[i];
}

void reference_forward(struct reference_node *nodes, int index, const struct reference_pass *pass) {
    struct reference_node *self = &nodes[index];
    const struct reference_node *input = &nodes[self->node->inputs[0]], *other = &nodes[self->node->inputs[1]];
    switch (self->node->kind) {
    case GRAPH_DENSE:
        dense_forward(self, input, pass);
        break;
    case GRAPH_CONV:
        conv_forward(self, input, pass);
        break;
    case GRAPH_MAX_POOL:
        max_pool_forward(self, input, pass);
        break;
    case GRAPH_AVG_POOL:
        avg_pool_forward(self, input, pass);
        break;
    case GRAPH_RELU:
    case GRAPH_TANH:
    case GRAPH_GELU:
        activation_forward(self, input, pass);
        break;
    case GRAPH_NORM:
        norm_forward(self, input, pass);
        break;
    case GRAPH_DROPOUT:
        dropout_forward(self, input, index, pass);
        break;
    case GRAPH_ADD:
        for (size_t i = 0; i < pass->count * self->size; i++)
            self->values[i] = input->values[i] + other->values[i];
        break;
    case GRAPH_INPUT:
    case GRAPH_SOFTMAX_LOSS:
    case GRAPH_SQUARED_LOSS:
        break;
    }
}

void reference_backward(struct reference_node *nodes, int index, const struct reference_pass *pass,
                        double *gradient) {
    const struct reference_node *self = &nodes[index];
    const struct reference_node *input = &nodes[self->node->inputs[0]], *other = &nodes[self->node->inputs[1]];
    switch (self->node->kind) {
    case GRAPH_DENSE:
        dense_backward(self, input, pass, gradient);
        return;
    case GRAPH_CONV:
        conv_backward(self, input, pass, gradient);
        return;
    case GRAPH_NORM:
        norm_backward(self, input, pass, gradient);
        return;
    case GRAPH_ADD:
        copy_slopes(self, input, pass->count);
        copy_slopes(self, other, pass->count);
        return;
    default:
        break;
    }
    if (!input->slopes)
        return; /* nothing that can be trained lies before */
    switch (self->node->kind) {
    case GRAPH_MAX_POOL:
        max_pool_backward(self, input, pass);
        break;
    case GRAPH_AVG_POOL:
        avg_pool_backward(self, input, pass);
        break;
    case GRAPH_DROPOUT:
        dropout_backward(self, input, pass);
        break;
    case GRAPH_RELU:
    case GRAPH_TANH:
    case GRAPH_GELU:
        activation_backward(self, input, pass);
        break;
    default:
        break;
    }
}
