/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a table of times: see times.h. */
#include <inttypes.h>
#include <string.h>

#include "base/options.h"
#include "train/times.h"

#define LINE_BYTES   4096
#define MOST_COLUMNS 64

enum column { WORKER, COMPUTE, TRANSIT, COLUMN_COUNT };

static const char *const names[COLUMN_COUNT] = {"worker", "compute", "transit"};

struct table {
    const char *name;
    unsigned long line;
    int columns;             /* of a line */
    int place[COLUMN_COUNT]; /* of each column, from 0; -1: there is none */
};

/* Cuts a line at its commas, in place, and blanks off the ends of the cells. Returns how many there are. */
static int cut(char *line, char *cells[MOST_COLUMNS]) {
    int count = 0;
    for (char *cell = line; cell != NULL; count++) {
        char *comma = strchr(cell, ',');
        if (comma != NULL)
            *comma = '\0';
        cell += strspn(cell, " \t");
        for (size_t length = strlen(cell); length > 0 && strchr(" \t", cell[length - 1]) != NULL; length--)
            cell[length - 1] = '\0';
        if (count < MOST_COLUMNS)
            cells[count] = cell;
        cell = comma != NULL ? comma + 1 : NULL;
    }
    return count;
}

static bool is_plain(const char *text) {
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' && *text != '\t')
            return false;
    return true;
}

static enum hysgd_status read_head(struct table *table, char *line) {
    char *cells[MOST_COLUMNS];
    if (!is_plain(line))
        return hysgd_fail(HYSGD_INPUT, "%s:%lu: is neither an event log nor a table of times", table->name,
                          table->line);
    table->columns = cut(line, cells);
    for (int i = 0; i < table->columns && i < MOST_COLUMNS; i++) {
        int column = 0;
        while (column < COLUMN_COUNT && strcmp(cells[i], names[column]) != 0)
            column++;
        if (column == COLUMN_COUNT || table->place[column] >= 0)
            return hysgd_fail(HYSGD_INPUT,
                              "%s:%lu: column %d: \"%.40s\" %s: expected the columns worker, compute and, where "
                              "wanted, transit, or an event log",
                              table->name, table->line, i + 1, cells[i],
                              column == COLUMN_COUNT ? "is not a column of a table of times" : "is there twice");
        table->place[column] = i;
    }
    for (int column = WORKER; column <= COMPUTE; column++)
        if (table->place[column] < 0)
            return hysgd_fail(HYSGD_INPUT,
                              "%s:%lu: the column %s is missing: expected a line such as worker,compute,transit",
                              table->name, table->line, names[column]);
    return HYSGD_OK;
}

static enum hysgd_status read_time(const struct table *table, char *const *cells, enum column column,
                                   double *seconds_out) {
    const char *text = cells[table->place[column]];
    const char *expected = "expected seconds from 0 to 1e9";
    if (text[0] == '\0')
        return hysgd_fail(HYSGD_INPUT, "%s:%lu: column %s: the time is missing: %s", table->name, table->line,
                          names[column], expected);
    if (!options_read_real(text, seconds_out) || !(*seconds_out >= 0 && *seconds_out <= MEASURED_MOST_SECONDS))
        return hysgd_fail(HYSGD_INPUT, "%s:%lu: column %s: \"%.40s\" is not a time: %s", table->name, table->line,
                          names[column], text, expected);
    return HYSGD_OK;
}

static enum hysgd_status read_line(const struct table *table, char *line, struct measured *measured) {
    char *cells[MOST_COLUMNS];
    struct measured_gradient gradient = {0};
    int64_t worker;
    int count = cut(line, cells);
    for (int column = 0; column < COLUMN_COUNT; column++)
        if (table->place[column] >= count)
            return hysgd_fail(HYSGD_INPUT,
                              "%s:%lu: column %s is missing: expected %d columns, as the first line has",
                              table->name, table->line, names[column], table->columns);
    if (count > table->columns)
        return hysgd_fail(HYSGD_INPUT, "%s:%lu: column %d is one too many: expected %d, as the first line has",
                          table->name, table->line, table->columns + 1, table->columns);
    const char *text = cells[table->place[WORKER]];
    if (!options_read_int(text, &worker) || worker < 0 || worker >= MEASURED_MOST_WORKERS)
        return hysgd_fail(HYSGD_INPUT, "%s:%lu: column worker: \"%.40s\" is not a worker: expected 0 to %d",
                          table->name, table->line, text, MEASURED_MOST_WORKERS - 1);
    HYSGD_TRY(read_time(table, cells, COMPUTE, &gradient.compute_seconds));
    if (table->place[TRANSIT] >= 0)
        HYSGD_TRY(read_time(table, cells, TRANSIT, &gradient.transit_seconds));
    return measured_add(measured, (int)worker, &gradient);
}

enum hysgd_status times_read_table(struct measured *measured, FILE *file, const char *name) {
    struct table table = {.name = name, .place = {-1, -1, -1}};
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file) != NULL) {
        size_t length = strcspn(line, "\r\n");
        table.line++;
        if (length == sizeof line - 1)
            return hysgd_fail(HYSGD_INPUT,
                              "%s:%lu: is longer than %zu characters: expected a line of a table of times", name,
                              table.line, sizeof line - 2);
        line[length] = '\0';
        if (line[0] == '#' || line[strspn(line, " \t")] == '\0')
            continue;
        HYSGD_TRY(table.columns == 0 ? read_head(&table, line) : read_line(&table, line, measured));
    }
    if (ferror(file))
        return hysgd_fail(HYSGD_INPUT, "%s: cannot be read", name);
    if (table.columns == 0)
        return hysgd_fail(HYSGD_INPUT,
                          "%s: is empty: expected an event log, or a table with the columns worker and compute",
                          name);
    return HYSGD_OK;
}
