/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as processes: the program starts itself under mpirun, once for each case, and looks at the job's end.
 * Started so, with the name of a case, it is a rank. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/comm_cases.h"

static void die(struct comm *comm) {
    (void)comm;
    kill(getpid(), SIGKILL);
}

/* Cases of processes only. Exit statuses: 0 right, 1 wrong, 3 as asked for. */
static int end_with_three(struct comm *comm) {
    int rank = comm_rank(comm);
    comm_close(comm, true);
    return rank == 0 ? 3 : 0;
}

static int open_twice(struct comm *comm) {
    static char message[100000];
    int size = comm_size(comm), next = (comm_rank(comm) + 1) % size, before = (comm_rank(comm) + size - 1) % size;
    struct comm_rank_run run = {NULL, die, 0};
    /* What nobody waits for does not reach the next group. */
    if (comm_send(comm, next, 1, "old", 4, NULL, NULL) != HYSGD_OK)
        return 1;
    comm_close(comm, true);
    if (comm_open(false, &run.comm) != HYSGD_OK)
        return 1;
    struct comm_tally tally = {0};
    if (comm_receive(run.comm, before, 1, message, sizeof message, comm_count, &tally) != HYSGD_OK ||
        comm_send(run.comm, next, 1, "newer", 6, comm_count, &tally) != HYSGD_OK)
        return 1;
    comm_await(&run, &tally, 2);
    int wrongs = run.wrongs + (strcmp(message, "newer") != 0);
    comm_close(run.comm, true);
    return wrongs == 0 ? 0 : 1;
}

static int open_after_a_death(struct comm *comm) {
    int dead = comm_size(comm) - 1;
    if (comm_rank(comm) == dead)
        die(comm);
    while (!comm_peer_has_died(comm, dead))
        comm_rest(comm);
    comm_abandon(comm, dead);
    comm_close(comm, false);
    return comm_open(false, &comm) == HYSGD_USAGE && strstr(hysgd_error_message(), "have died") != NULL ? 0 : 1;
}

static int know_each_other(struct comm *comm) {
    int wrongs = 0, rank, size;
    for (int i = 0; i < comm_size(comm); i++)
        wrongs += !comm_is_same_host(comm, i) || strcmp(comm_host(comm, i), comm_host(comm, 0)) != 0 ||
                  comm_host(comm, i)[0] == '\0' || comm_peer_has_died(comm, i);
    wrongs += !comm_is_launched(&rank, &size) || rank != comm_rank(comm) || size != comm_size(comm);
    wrongs += signal(SIGPIPE, SIG_IGN) != SIG_IGN;
    comm_close(comm, true);
    return wrongs == 0 ? 0 : 1;
}

/* A message of more than 2^31 bytes, each of its pages looked at. */
static int send_two_gigabytes(struct comm *comm) {
    size_t bytes = ((size_t)1 << 31) + 12345, page = 4096;
    char *data = malloc(bytes);
    struct comm_rank_run run = {comm, die, 0};
    struct comm_tally tally = {0};
    bool sends = comm_rank(comm) == 0;
    for (size_t i = 0; i < bytes; i += page)
        data[i] = sends ? (char)(i / page % 251) : 0;
    data[bytes - 1] = sends ? 77 : 0;
    enum hysgd_status status = sends ? comm_send(comm, 1, 1, data, bytes, comm_count, &tally)
                                     : comm_receive(comm, 0, 1, data, bytes, comm_count, &tally);
    if (status == HYSGD_OK)
        comm_await(&run, &tally, 1);
    bool is_right = status == HYSGD_OK && run.wrongs == 0 && tally.bytes == bytes && data[bytes - 1] == 77;
    for (size_t i = 0; i < bytes; i += page)
        is_right = is_right && data[i] == (char)(i / page % 251);
    free(data);
    comm_close(comm, true);
    return is_right ? 0 : 1;
}

/* One after another in one group: nothing of a case is left for the next. */
static int run_common_cases(struct comm *comm) {
    struct comm_rank_run run = {comm, die, 0};
    for (size_t i = 0; i < COMM_CASES; i++)
        if (!comm_cases[i].has_death)
            comm_cases[i].run(&run);
    comm_close(comm, true);
    return run.wrongs == 0 ? 0 : 1;
}

static int be_alone(struct comm *comm) {
    struct comm_rank_run run = {comm, die, 0};
    COMM_EXPECT(&run, comm_size(comm) == 1 && comm_rank(comm) == 0 && !comm_is_launched(NULL, NULL));
    return run_common_cases(comm) + run.wrongs == 0 ? 0 : 1;
}

static int die_and_go_on(struct comm *comm) {
    struct comm_rank_run run = {comm, die, 0};
    comm_the_living_go_on_after_a_death(&run);
    comm_close(comm, false);
    return run.wrongs == 0 ? 0 : 1;
}

static int be_refused(void) {
    struct comm *comm;
    bool is_refused = comm_open(false, &comm) == HYSGD_USAGE && comm == NULL &&
                      strstr(hysgd_error_message(), "the launcher started 3 ranks, but ") != NULL;
    return is_refused ? 0 : 1;
}

static const struct {
    const char *name;
    int (*run)(struct comm *comm); /* closes the end */
} own_cases[] = {{"end-with-three", end_with_three},
                 {"open-twice", open_twice},
                 {"open-after-a-death", open_after_a_death},
                 {"know-each-other", know_each_other},
                 {"send-two-gigabytes", send_two_gigabytes},
                 {"alone", be_alone},
                 {"common", run_common_cases},
                 {"death", die_and_go_on}};

static int run_as_rank(const char *name) {
    struct comm *comm;
    if (strcmp(name, "be-refused") == 0)
        return be_refused();
    if (comm_open(false, &comm) != HYSGD_OK) {
        fprintf(stderr, "%s\n", hysgd_error_message());
        return 2;
    }
    for (size_t i = 0; i < sizeof own_cases / sizeof *own_cases; i++)
        if (strcmp(own_cases[i].name, name) == 0)
            return own_cases[i].run(comm);
    return 2;
}

#ifndef HYSGD_MPIRUN
#define HYSGD_MPIRUN "false"
#endif

static bool has_launcher(void) {
    return system("command -v " HYSGD_MPIRUN " | grep -q mpirun") == 0;
}

static bool is_open_mpi(void) {
    return system(HYSGD_MPIRUN " --version 2>&1 | grep -q 'OpenRTE\\|Open MPI'") == 0;
}

/* The exit status of this program as a rank, started by the words before it; 124 where it had to be stopped. MPI is
 * never entered in the process that starts others: they would take themselves for its children. */
static int run_self(const char *before, const char *name) {
    char self[4096] = "", line[8192];
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(line, sizeof line, "%s '%s' %s", before, self, name);
    int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* As a job of so many ranks. */
static int run_job(int ranks, const char *recovery, const char *name) {
    static const char *const open_mpi =
        "--oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca btl_tcp_if_include lo --mca oob_tcp_if_include lo";
    char before[1000];
    snprintf(before, sizeof before, "timeout -k 5 100 %s %s %s -n %d", HYSGD_MPIRUN, is_open_mpi() ? open_mpi : "",
             recovery, ranks);
    return run_self(before, name);
}

static void skip_without_launcher(void) {
    if (has_launcher())
        return;
    print_message("test_comm_mpi skipped because there is no MPI, or no launcher of it\n");
    skip();
}

static void ranks_agree_on_every_common_case(void **state) {
    (void)state;
    skip_without_launcher();
    for (int ranks = 2; ranks <= COMM_MOST_RANKS; ranks++)
        assert_int_equal(run_job(ranks, "", "common"), 0);
}

static void ranks_of_a_host_know_each_other(void **state) {
    (void)state;
    skip_without_launcher();
    assert_int_equal(run_job(3, "", "know-each-other"), 0);
}

static void a_group_can_follow_another(void **state) {
    (void)state;
    skip_without_launcher();
    assert_int_equal(run_job(3, "", "open-twice"), 0);
}

static void the_status_of_a_rank_is_the_status_of_the_job(void **state) {
    (void)state;
    skip_without_launcher();
    assert_int_equal(run_job(2, "", "end-with-three"), 3);
}

static void skip_where_a_death_ends_the_job(void) {
    skip_without_launcher();
    if (is_open_mpi())
        return;
    print_message("deaths skipped because mpirun of MPICH ends the job\n");
    skip();
}

static void the_living_go_on_after_a_death(void **state) {
    (void)state;
    skip_where_a_death_ends_the_job();
    for (int ranks = 2; ranks <= COMM_MOST_RANKS; ranks++)
        assert_int_equal(run_job(ranks, "--enable-recovery", "death"), 0);
}

static void a_job_with_dead_ranks_is_not_opened_again(void **state) {
    (void)state;
    skip_where_a_death_ends_the_job();
    assert_int_equal(run_job(3, "--enable-recovery", "open-after-a-death"), 0);
}

static void messages_of_two_gigabytes_arrive(void **state) {
    (void)state;
    skip_without_launcher();
    if (getenv("HYSGD_LONG") == NULL || sysconf(_SC_AVPHYS_PAGES) < 6 << 18) {
        print_message(
            "messages_of_two_gigabytes_arrive skipped because it is for --long and takes 5 GB of memory\n");
        skip();
    }
    assert_int_equal(run_job(2, "", "send-two-gigabytes"), 0);
}

static void a_process_alone_is_a_group_of_one(void **state) {
    (void)state;
    skip_without_launcher();
    assert_int_equal(run_self("", "alone"), 0);
}

static void another_launcher_is_named(void **state) {
    (void)state;
    skip_without_launcher();
    const char *foreign = is_open_mpi() ? "PMI_RANK=0 PMI_SIZE=3" : "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=3";
    assert_int_equal(run_self(foreign, "be-refused"), 0);
}

int main(int count, char **words) {
    if (count == 2)
        return run_as_rank(words[1]);
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", true);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_alone_is_a_group_of_one),
        cmocka_unit_test(another_launcher_is_named),
        cmocka_unit_test(ranks_of_a_host_know_each_other),
        cmocka_unit_test(ranks_agree_on_every_common_case),
        cmocka_unit_test(a_group_can_follow_another),
        cmocka_unit_test(the_status_of_a_rank_is_the_status_of_the_job),
        cmocka_unit_test(the_living_go_on_after_a_death),
        cmocka_unit_test(a_job_with_dead_ranks_is_not_opened_again),
        cmocka_unit_test(messages_of_two_gigabytes_arrive),
    };
    return cmocka_run_group_tests_name("comm_mpi", tests, NULL, NULL);
}
