/* SPDX-License-Identifier: Apache-2.0 */
/* The command `hysgd`: finds the command that is meant, and sees to it that a lost result is not taken for success.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/signals.h"

const struct command *const commands[] = {
    &command_train,       &command_join,      &command_compare, &command_evaluate,
    &command_predict,     &command_recommend, &command_inspect, &command_export,
    &command_report_logs, &command_replay,    &command_advise,  &command_list,
};
const size_t command_count = sizeof commands / sizeof commands[0];

int command_report(enum hysgd_status status) {
    if (status != HYSGD_OK) {
        const char *message = hysgd_error_message();
        fflush(stdout);
        fprintf(stderr, "hysgd: %s\n", message[0] != '\0' ? message : hysgd_status_text(status));
    }
    return hysgd_status_exit_code(status);
}

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int fail_unknown(const char *name) {
    const char *names[16];
    for (size_t i = 0; i < command_count; i++)
        names[i] = commands[i]->name;
    const char *near = options_nearest(name, names, command_count);
    if (near != NULL)
        return command_report(hysgd_fail(HYSGD_USAGE, "unknown command '%s': did you mean '%s'?", name, near));
    return command_report(hysgd_fail(HYSGD_USAGE, "unknown command '%s': see `hysgd --help`", name));
}

static int run_help(int argc, char **argv) {
    static char full[] = "--help";
    char *arguments[] = {full, NULL};
    if (argc == 0) {
        help_print_top(stdout);
        return 0;
    }
    const struct command *command = find_command(argv[0]);
    return command != NULL ? command->run(command, 1, arguments) : fail_unknown(argv[0]);
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        help_print_top(stderr);
        return hysgd_status_exit_code(HYSGD_USAGE);
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return run_help(argc - 2, argv + 2);
    if (strcmp(word, "--version") == 0) {
        puts("hysgd " HYSGD_VERSION);
        return 0;
    }
    const struct command *command = find_command(word);
    return command != NULL ? command->run(command, argc - 2, argv + 2) : fail_unknown(word);
}

/* A standard stream that the caller closed must not become the number of the next file opened, which messages would
 * then be written into. Opened the wrong way round, so that using it still fails. */
static void occupy_standard_streams(void) {
    for (int number = 0; number <= 2; number++)
        if (fcntl(number, F_GETFD) == -1 && errno == EBADF &&
            open("/dev/null", number == 0 ? O_WRONLY : O_RDONLY) == -1)
            return;
}

int main(int argc, char **argv) {
    occupy_standard_streams();
    setlocale(LC_CTYPE, "");
    signals_ignore_write_faults();
    errno = 0;
    int code = dispatch(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        int fault = errno;
        fprintf(stderr, "hysgd: standard output could not be written%s%s\n", fault != 0 ? ": " : "",
                fault != 0 ? strerror(fault) : "");
        if (code == 0)
            code = hysgd_status_exit_code(HYSGD_OUTPUT);
    }
    return code;
}
