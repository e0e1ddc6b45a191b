/* SPDX-License-Identifier: Apache-2.0 */
/* Width and wrapping. */
#include "cli/terminal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LEAST_COLUMNS 40
#define USUAL_COLUMNS 80
#define MOST_COLUMNS  400

int terminal_columns(FILE *out) {
    struct winsize size;
    long columns = 0;
    const char *text = getenv("COLUMNS");
    if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns <= 0 && text != NULL)
        columns = strtol(text, NULL, 10);
    if (columns <= 0)
        return USUAL_COLUMNS;
    return columns < LEAST_COLUMNS ? LEAST_COLUMNS : columns > MOST_COLUMNS ? MOST_COLUMNS : (int)columns;
}

/* Columns that the bytes take on the terminal, if they are UTF-8. */
static int width_of(const char *text, size_t length) {
    int width = 0;
    for (size_t i = 0; i < length; i++)
        width += ((unsigned char)text[i] & 0xC0) != 0x80;
    return width;
}

int terminal_wrap(const char *text, int column, int left, int columns, FILE *out) {
    bool is_first = true;
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        int width = width_of(text, length);
        if (!is_first && column + 1 + width > columns) {
            fprintf(out, "\n%*s", left, "");
            column = left;
        } else if (!is_first) {
            fputc(' ', out);
            column++;
        }
        fwrite(text, 1, length, out);
        column += width;
        is_first = false;
        text += length;
        text += strspn(text, " ");
    }
    return column;
}
