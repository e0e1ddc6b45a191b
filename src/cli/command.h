/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of `hysgd`, one file each, and what main.c knows of them. */
#ifndef HYSGD_CLI_COMMAND_H
#define HYSGD_CLI_COMMAND_H

#include "base/options.h"
#include "train/config.h"
#include "train/export.h"

/* A table of options that a command understands. */
struct command_table {
    const char *title; /* above them in the help */
    const struct hysgd_option *options;
    const char *const *without; /* keys of the table that the command does not take, ends with NULL; or NULL */
};

/* Who takes the options of a table. */
struct command_taker {
    config_set *set;
    void *self;
};

#define COMMAND_MOST_TABLES 3

struct command {
    const char *name;
    const char *words; /* that follow the options, as in "CHECKPOINT"; "": none */
    int least_words, most_words;
    bool has_config;                                  /* takes --config and --dry-run */
    struct command_table tables[COMMAND_MOST_TABLES]; /* [table_count]; of two equal keys the first counts */
    size_t table_count;
    const char *summary;  /* one line */
    const char *details;  /* for --help: paragraphs, each one line */
    const char *examples; /* for --help: lines */
    /* Runs with the arguments after the command's name; returns the exit code. */
    int (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_train, command_compare, command_evaluate, command_predict, command_recommend,
    command_inspect, command_join, command_export, command_report_logs, command_replay, command_advise,
    command_list;

/* The first row at or after `option` that the table's command takes; the end of the table otherwise. */
const struct hysgd_option *command_option(const struct command_table *table, const struct hysgd_option *option);

/* [command_count] in the order of the help. */
extern const struct command *const commands[];
extern const size_t command_count;

/* The `run` of a command with one table and one word, a file: reads the table's options into `options`, a struct
 * that it initializes and finishes, then acts. Returns the exit code. */
typedef enum hysgd_status command_on_file(const char *path, const void *options);
int command_run_on_file(const struct command *command, int argc, char **argv, void *options, command_on_file *act);

/* The same with at least one word, each a file. */
typedef enum hysgd_status command_on_files(const char *const *paths, size_t count, const void *options);
int command_run_on_files(const struct command *command, int argc, char **argv, void *options,
                         command_on_files *act);

/* Tells on standard error what was amiss with a log that was read: that it was cut, or holds what is not known. */
void command_note_log(const char *path, const struct export_result *result);

/* Prints "hysgd: MESSAGE" of the latest failure to standard error unless all is well; returns the exit code. */
int command_report(enum hysgd_status status);

#endif
