/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ratings: separators, headers, ids, pieces and threads, compressed files, and everything that is refused.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "data/folder.h"
#include "data/ratings.h"

static const struct ratings_format plain = {.threads = 1};

static struct ratings read_text(const char *text, const struct ratings_format *format) {
    struct ratings ratings = {0};
    if (ratings_read_text(text, strlen(text), "input", format, &ratings) != HYSGD_OK)
        fail_msg("'%s': %s", text, hysgd_error_message());
    return ratings;
}

static void expect_refused(const char *text, const struct ratings_format *format, const char *message) {
    struct ratings ratings = {0};
    size_t used = memory_used();
    assert_int_equal(ratings_read_text(text, strlen(text), "input", format, &ratings), HYSGD_INPUT);
    assert_message(message);
    ratings_fini(&ratings);
    assert_int_equal(memory_used(), used);
}

static void expect_id(const struct ids *ids, uint32_t index, const char *expected) {
    char buffer[IDS_NUMBER_BYTES];
    size_t length;
    const char *text = ids_text(ids, index, buffer, &length);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text, expected, length);
}

static void expect_rating(const struct ratings *ratings, uint64_t i, const char *user, const char *item,
                          double value) {
    assert_true(i < ratings->count);
    expect_id(&ratings->rows, ratings->entries[i].row, user);
    expect_id(&ratings->columns, ratings->entries[i].column, item);
    assert_float_equal(ratings->entries[i].value, value, 0);
}

/* The same three ratings in each form that files have. */
static void every_separator_is_found_by_itself(void **state) {
    (void)state;
    static const char *const texts[] = {
        "196::242::3\n186::302::-1.5\n196::302::4e-1\n",
        "196\t242\t3\n186\t302\t-1.5\n196\t302\t4e-1\n",
        "196,242,3\n186,302,-1.5\n196,302,4e-1\n",
        "196 242 3\n186 302 -1.5\n196 302 4e-1\n",
        "196::242::3::881250949\n186::302::-1.5::1\n196::302::4e-1::x\n",
        "196, 242, 3\r\n186 ,302,\t-1.5\r\n196,302,4e-1 \r\n",
        "  196   242  3  \n186 \t302 -1.5\n\n \n196 302 4e-1",
        "\xef\xbb\xbf"
        "196,242,3\n186,302,-1.50\n196,302,.4",
        "userId,movieId,rating,timestamp\n196,242,3,1\n186,302,-1.5,2\n196,302,+0.40,3\n",
        "% sym weighted\n# 3 ratings\n\n196 242 3\n186 302 -1.5\n196 302 0.4\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ratings ratings = read_text(texts[i], &plain);
        assert_int_equal(ratings.count, 3);
        assert_int_equal(ratings.rows.count, 2);
        assert_int_equal(ratings.columns.count, 2);
        assert_false(ratings.rows.are_texts || ratings.columns.are_texts);
        expect_rating(&ratings, 0, "196", "242", 3);
        expect_rating(&ratings, 1, "186", "302", -1.5);
        expect_rating(&ratings, 2, "196", "302", (float)0.4);
        ratings_fini(&ratings);
    }
}

static void ids_may_be_texts_with_spaces(void **state) {
    (void)state;
    struct ratings ratings = read_text("Ann Lee\tThe \"Wall\"\t5\n007\tThe Wall\t4\nAnn Lee \t 7\t3\n", &plain);
    expect_rating(&ratings, 0, "Ann Lee", "The \"Wall\"", 5);
    expect_rating(&ratings, 1, "007", "The Wall", 4);
    expect_rating(&ratings, 2, "Ann Lee", "7", 3);
    assert_int_equal(ratings.rows.count, 2);
    ratings_fini(&ratings);
}

static void ids_of_users_and_of_items_are_apart(void **state) {
    (void)state;
    struct ratings ratings = read_text("7 x 1\n8 7 1\n", &plain);
    assert_false(ratings.rows.are_texts);
    assert_true(ratings.columns.are_texts);
    ratings_fini(&ratings);
}

static void ids_beyond_32_bits_are_kept(void **state) {
    (void)state;
    struct ratings ratings = read_text("2147483648,18446744073709551616,1\n9999999999999,1,2\n", &plain);
    expect_rating(&ratings, 0, "2147483648", "18446744073709551616", 1);
    expect_rating(&ratings, 1, "9999999999999", "1", 2);
    ratings_fini(&ratings);
}

static void time_stamps_are_read_where_they_are_wanted(void **state) {
    (void)state;
    const struct ratings_format format = {.wants_times = true, .threads = 1};
    struct ratings ratings = read_text("1,2,3,978300760,x\n1,3,4,-5\n1,4,4,9.5e2\n", &format);
    assert_int_equal(ratings.times[0], 978300760);
    assert_int_equal(ratings.times[1], -5);
    assert_int_equal(ratings.times[2], 950);
    ratings_fini(&ratings);
    expect_refused("1,2,3,5\n1,2,3\n", &format,
                   "input:2: 3 columns separated by commas; expected user, item, value, "
                   "time");
    expect_refused("1,2,3,5\n1,2,3,May\n", &format, "input:2: the time stamp 'May' is not a number");
    expect_refused("1,2,3,1e30\n", &format, "input:1: the time stamp '1e30' is not a number");
}

static void pairs_stand_for_the_value_one(void **state) {
    (void)state;
    const struct ratings_format format = {.are_pairs = true, .threads = 1};
    struct ratings ratings = read_text("# FromNodeId ToNodeId\n0 5\n1 0 77\n", &format);
    assert_int_equal(ratings.count, 2);
    expect_rating(&ratings, 0, "0", "5", 1);
    expect_rating(&ratings, 1, "1", "0", 1);
    ratings_fini(&ratings);
    ratings = read_text("from,to\n0,5\n", &format);
    assert_int_equal(ratings.count, 1);
    ratings_fini(&ratings);
    ratings = read_text("ann,bob\nann,eve\n", &format);
    assert_int_equal(ratings.count, 2);
    ratings_fini(&ratings);
    expect_refused("0 5\n1\n", &format, "input:2: 1 column separated by spaces; expected user, item");
}

/* RFC 4180, but for line ends. */
static void quotes_between_commas_are_taken_off(void **state) {
    (void)state;
    static const char text[] = "\"user\",\"item, or :: so\",\"rating\",\"time\"\n"
                               "\"17\",\"A, B 8\",\"4.5\",\"10\"\n"
                               "18, \"say \"\"b\"\"\" ,3,11\n"
                               "19,\" c \",2,\"12\"\r\n";
    struct ratings ratings = read_text(text, &(struct ratings_format){.wants_times = true});
    assert_int_equal(ratings.count, 3);
    expect_rating(&ratings, 0, "17", "A, B 8", 4.5f);
    expect_rating(&ratings, 1, "18", "say \"b\"", 3);
    expect_rating(&ratings, 2, "19", " c ", 2);
    assert_false(ratings.rows.are_texts);
    assert_int_equal(ratings.times[2], 12);
    ratings_fini(&ratings);
}

static void a_header_of_pairs_is_known_by_its_name(void **state) {
    (void)state;
    const struct ratings_format pairs = {.are_pairs = true};
    struct ratings ratings = read_text("User_ID,item,prediction\nanna,tea,3.5\n", &pairs);
    assert_int_equal(ratings.count, 1);
    expect_rating(&ratings, 0, "anna", "tea", 1);
    ratings_fini(&ratings);
    ratings = read_text("otto,item\nanna,tea\n", &pairs);
    assert_int_equal(ratings.count, 2);
    ratings_fini(&ratings);
}

static void quotes_elsewhere_belong_to_the_id(void **state) {
    (void)state;
    struct ratings ratings = read_text("a 5\" 3\n\"b,c\" d 4\n", &plain);
    expect_rating(&ratings, 0, "a", "5\"", 3);
    expect_rating(&ratings, 1, "\"b,c\"", "d", 4);
    ratings_fini(&ratings);
    ratings = read_text("a,5\",3\n", &plain);
    expect_rating(&ratings, 0, "a", "5\"", 3);
    ratings_fini(&ratings);
}

static void quotes_that_do_not_fit_are_refused(void **state) {
    (void)state;
    expect_refused("1,2,3\n1,\"b,3\n", &plain, "input:2: the quote of the item \"b is not closed");
    expect_refused("1,2,3\n1,\"b\"c,3\n", &plain, "input:2: the item \"b\"c goes on behind its quotes");
    expect_refused("1,2,3\n1,\"\",3\n", &plain, "input:2: the id of the item is empty");
    expect_refused("1,2,3\n1,2,\"x\"\n", &plain, "input:2: the value 'x' is not a finite number");
}

static void an_id_with_a_nul_byte_is_refused(void **state) {
    (void)state;
    static const char text[] = "1,2,3\n1,a\0b,3\n";
    struct ratings ratings = {0};
    assert_int_equal(ratings_read_text(text, sizeof text - 1, "input", &plain, &ratings), HYSGD_INPUT);
    assert_message("input:2: the id of the item, 'a', has a NUL byte in it");
    ratings_fini(&ratings);
}

static void values_below_zero_are_refused_where_asked(void **state) {
    (void)state;
    const struct ratings_format format = {.refuses_negative = true};
    struct ratings ratings = read_text("1 2 0\n1 3 -0\n", &format);
    ratings_fini(&ratings);
    expect_refused("1 2 3\n1 3 -0.5\n", &format, "input:2: the value -0.5: expected none below 0");
}

static void faults_are_told_with_their_line(void **state) {
    (void)state;
    static const char *const faults[][2] = {
        {"", "input: no rating in its 0 bytes; expected lines of user, item, value"},
        {"\n\n# nothing\n", "input: no rating in its 12 bytes"},
        {"user,item,rating\n", "input: no rating in its 17 bytes"},
        {"1 2 3\n1 2\n", "input:2: 2 columns separated by spaces; expected user, item, value"},
        {"1\n", "input:1: 1 column separated by spaces; expected user, item, value"},
        {"1 2 3\n\n1\n", "input:3: 1 column separated by spaces"},
        {"1,2,3\n1,2,\n", "input:2: the value '' is not a finite number"},
        {"1,2,3\n1,,3\n", "input:2: the id of the item is empty"},
        {"1,2,3\n,2,3\n", "input:2: the id of the user is empty"},
        {"1\t2\t3\n\t2\t3\n", "input:2: the id of the user is empty"},
        {"1,2,3\n1,2,four\n", "input:2: the value 'four' is not a finite number"},
        {"1,2,3\n1,2,nan\n", "input:2: the value 'nan' is not a finite number"},
        {"a,b,NaN\nc,d,1\n", "input:1: the value 'NaN' is not a finite number"},
        {"a,b,-inf\nc,d,1\n", "input:1: the value '-inf' is not a finite number"},
        {"1,2,x\n1,3,4\n", "input:1: the value 'x' is not a finite number"},
        {"a,b,c\nd,e,f\n", "input:1: the value 'c' is not a finite number"},
        {"1,2,3\n1,2,1e39\n", "input:2: the value 1e39 is too large; expected at most 3.40282e+38"},
        {"1,2,3\n1,2,1e999\n", "input:2: the value '1e999' is not a finite number"},
        {"1,2,3\n1,2,3 4\n", "input:2: the value '3 4' is not a finite number"},
        {"1,2,3\n1,2,1.2.3\n", "input:2: the value '1.2.3' is not a finite number"},
        {"1,2,3\n1,2,.\n", "input:2: the value '.' is not a finite number"},
        {"1,2,3\n1,2,-\n", "input:2: the value '-' is not a finite number"},
        {"1,2,3\n1,2,0x10\n", "input:2: the value '0x10' is not a finite number"},
        {"1,2,3\n1,2,aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee\n",
         "input:2: the value 'aaaaaaaaaabbbbbbbbbbccccccccccdddddd...' is not a finite number"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        expect_refused(faults[i][0], &plain, faults[i][1]);
}

static void a_line_or_an_id_without_end_is_refused(void **state) {
    (void)state;
    size_t size = 200000;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'a', size);
    text[size] = '\0';
    memcpy(text, "1 2 3\n", 6);
    expect_refused(text, &(struct ratings_format){.threads = 1, .piece_bytes = 1000}, "a line of more than 65536");
    memcpy(text + 2000, " 1 2\n", 5);
    text[2005] = '\0';
    expect_refused(text, &plain,
                   "input:2: the id of the user, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...', has 1994 "
                   "bytes; expected at most 1024");
    free(text);
}

/* Lines of many lengths, with empty ones, of numbers and texts. */
static char *write_many(size_t count) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%zu,%s%zu,%zu.%zu\n", i * 7919 % 97, i > count / 2 ? "item " : "", i * i % 53, i % 5, i % 10);
        if (i % 13 == 0)
            fputs(i % 2 ? "\n" : " \r\n", out);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static void expect_same_ids(const struct ids *a, const struct ids *b) {
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        char buffer[IDS_NUMBER_BYTES];
        size_t length;
        const char *text = ids_text(a, i, buffer, &length);
        assert_int_equal(ids_find(b, text, length), i);
    }
}

static void pieces_and_threads_change_nothing(void **state) {
    (void)state;
    char *text = write_many(500);
    struct ratings whole = read_text(text, &plain);
    assert_int_equal(whole.count, 500);
    for (size_t bytes = 1; bytes < 4000; bytes += 1 + bytes / 3) {
        for (int threads = 1; threads <= 3; threads++) {
            struct ratings ratings =
                read_text(text, &(struct ratings_format){.threads = threads, .piece_bytes = bytes});
            assert_int_equal(ratings.count, whole.count);
            assert_memory_equal(ratings.entries, whole.entries, whole.count * sizeof *whole.entries);
            expect_same_ids(&ratings.rows, &whole.rows);
            expect_same_ids(&ratings.columns, &whole.columns);
            ratings_fini(&ratings);
        }
    }
    ratings_fini(&whole);
    free(text);
}

static void the_first_fault_is_told_whatever_the_threads(void **state) {
    (void)state;
    static const char text[] = "1 1 1\n1 2 1\n\n1 3 x\n1 4 1\n1 5\n1 6 1\n1 7 y\n1 8 1\n1\n";
    for (size_t bytes = 1; bytes < 60; bytes++)
        for (int threads = 1; threads <= 4; threads++)
            expect_refused(text, &(struct ratings_format){.threads = threads, .piece_bytes = bytes},
                           "input:4: the value 'x' is not a finite number");
}

static void a_second_file_is_appended_with_the_same_ids(void **state) {
    (void)state;
    struct ratings ratings = read_text("1 a 1\n2 b 2\n", &plain);
    static const char more[] = "2 a 3\n3 c 4\n";
    for (int threads = 1; threads <= 2; threads++)
        assert_int_equal(ratings_read_text(more, strlen(more), "more",
                                           &(struct ratings_format){.threads = threads, .piece_bytes = 6},
                                           &ratings),
                         HYSGD_OK);
    assert_int_equal(ratings.count, 6);
    expect_rating(&ratings, 0, "1", "a", 1);
    expect_rating(&ratings, 2, "2", "a", 3);
    expect_rating(&ratings, 5, "3", "c", 4);
    assert_int_equal(ratings.rows.count, 3);
    ratings_fini(&ratings);
}

static void plain_and_gzip_files_give_the_same(void **state) {
    struct folder *folder = *state;
    char *text = write_many(300);
    struct ratings expected = read_text(text, &plain);
    folder_write(folder, "a", text, strlen(text));
    folder_write_gzip(folder, "a.gz", text, strlen(text));
    for (int i = 0; i < 2; i++) {
        struct ratings ratings = {0};
        const struct ratings_format format = {.threads = 2, .piece_bytes = 500};
        assert_int_equal(ratings_read(folder_path(folder, i ? "a.gz" : "a"), &format, &ratings), HYSGD_OK);
        assert_int_equal(ratings.count, expected.count);
        assert_memory_equal(ratings.entries, expected.entries, expected.count * sizeof *expected.entries);
        ratings_fini(&ratings);
    }
    ratings_fini(&expected);
    free(text);
}

static void files_that_cannot_be_read_are_refused(void **state) {
    struct folder *folder = *state;
    struct ratings ratings = {0};
    assert_int_equal(ratings_read(folder_path(folder, "absent"), &plain, &ratings), HYSGD_INPUT);
    assert_message("absent: cannot be opened");
    assert_int_equal(ratings_read(folder->path, &plain, &ratings), HYSGD_INPUT);
    assert_message("is not a regular file");
    folder_write(folder, "empty", "", 0);
    assert_int_equal(ratings_read(folder_path(folder, "empty"), &plain, &ratings), HYSGD_INPUT);
    assert_message("empty: no rating in its 0 bytes");
    char *text = write_many(300), bytes[1000];
    folder_write_gzip(folder, "a.gz", text, strlen(text));
    FILE *file = fopen(folder_path(folder, "a.gz"), "rb");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    folder_write(folder, "cut.gz", bytes, size / 2);
    assert_int_equal(ratings_read(folder_path(folder, "cut.gz"), &plain, &ratings), HYSGD_INPUT);
    assert_message("cut.gz: the gzip data are truncated");
    ratings_fini(&ratings);
    free(text);
}

static void exhausted_memory_is_a_status_and_leaks_nothing(void **state) {
    (void)state;
    char *text = write_many(100);
    size_t used = memory_used();
    for (int threads = 1; threads <= 2; threads++) {
        enum hysgd_status status = HYSGD_MEMORY;
        for (uint64_t n = 1; status != HYSGD_OK; n++) {
            struct ratings ratings = {0};
            const struct ratings_format format = {.threads = threads, .piece_bytes = 300};
            memory_fail_at(n);
            status = ratings_read_text(text, strlen(text), "input", &format, &ratings);
            memory_fail_at(0);
            assert_true(status == HYSGD_OK || status == HYSGD_MEMORY);
            assert_true(ratings.count == (status == HYSGD_OK ? 100u : 0u));
            ratings_fini(&ratings);
            assert_int_equal(memory_used(), used);
        }
    }
    free(text);
}

static void movielens_is_read_whole(void **state) {
    struct ratings ratings = {0};
    const char *path = dataset_path(*state, "ml-1m/ratings.dat");
    if (access(path, R_OK) != 0) {
        print_message("movielens_is_read_whole skipped because %s is not there\n", path);
        skip();
    }
    assert_int_equal(ratings_read(path, &(struct ratings_format){0}, &ratings), HYSGD_OK);
    struct ratings_part all = ratings_part(&ratings, 0, ratings.count);
    assert_int_equal(ratings.count, 1000209);
    assert_int_equal(ratings.rows.count, 6040);
    assert_int_equal(ratings.columns.count, 3706);
    assert_float_equal(all.mean, 3.581564, 1e-6);
    assert_true(all.least == 1 && all.most == 5);
    ratings_fini(&ratings);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_separator_is_found_by_itself),
        cmocka_unit_test(ids_may_be_texts_with_spaces),
        cmocka_unit_test(ids_of_users_and_of_items_are_apart),
        cmocka_unit_test(ids_beyond_32_bits_are_kept),
        cmocka_unit_test(time_stamps_are_read_where_they_are_wanted),
        cmocka_unit_test(pairs_stand_for_the_value_one),
        cmocka_unit_test(quotes_between_commas_are_taken_off),
        cmocka_unit_test(a_header_of_pairs_is_known_by_its_name),
        cmocka_unit_test(quotes_elsewhere_belong_to_the_id),
        cmocka_unit_test(quotes_that_do_not_fit_are_refused),
        cmocka_unit_test(an_id_with_a_nul_byte_is_refused),
        cmocka_unit_test(values_below_zero_are_refused_where_asked),
        cmocka_unit_test(faults_are_told_with_their_line),
        cmocka_unit_test(a_line_or_an_id_without_end_is_refused),
        cmocka_unit_test(pieces_and_threads_change_nothing),
        cmocka_unit_test(the_first_fault_is_told_whatever_the_threads),
        cmocka_unit_test(a_second_file_is_appended_with_the_same_ids),
        CASE(plain_and_gzip_files_give_the_same),
        CASE(files_that_cannot_be_read_are_refused),
        cmocka_unit_test(exhausted_memory_is_a_status_and_leaks_nothing),
        CASE(movielens_is_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
