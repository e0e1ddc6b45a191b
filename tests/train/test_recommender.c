/* SPDX-License-Identifier: Apache-2.0 */
/* Models of factors that answer: new users and items from their ratings, and memory that runs out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/memory.h"
#include "data/data.h"
#include "data/folder.h"
#include "data/ratings.h"
#include "train/job_words.h"
#include "train/recommender.h"

#define DATA "planted,users=80,items=40,ratings=2000,signal=1.5,noise=0.1,rank=2,split=none"
#define ITEM 17

static const char *const words[] = {
    "data", DATA, "model", "factors,rank=2,l2=0.01,rate=0.1", "epochs", "60", "runtime", "virtual", NULL};

struct trained {
    struct folder folder;
    char model[768], ratings[768], first[32]; /* of the model; of one item, and one of them as "USER,", */
};

/* The ratings of one item by those whom the model knows, under another name. */
static void write_ratings(struct trained *trained) {
    struct plugin data;
    char text[4096];
    int length = 0;
    assert_int_equal(plugin_open(&data_list, DATA, &data), HYSGD_OK);
    assert_int_equal(data_ops(&data)->init(data.self, 1), HYSGD_OK);
    const struct ratings *all = &data_ratings(&data)->all;
    for (uint64_t i = 0; i < all->count; i++) {
        char buffer[IDS_NUMBER_BYTES];
        size_t size;
        const char *user = ids_text(&all->rows, all->entries[i].row, buffer, &size);
        if (all->entries[i].column != ITEM)
            continue;
        snprintf(trained->first, sizeof trained->first, "%.*s", (int)size, user);
        length += snprintf(text + length, sizeof text - (size_t)length, "%.*s,new,%.9g\n", (int)size, user,
                           (double)all->entries[i].value);
    }
    folder_write(&trained->folder, "ratings", text, (size_t)length);
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
}

static int train(void **state) {
    static struct trained trained;
    struct hysgd_result result;
    *state = &trained;
    folder_open(&trained.folder);
    snprintf(trained.model, sizeof trained.model, "%s", folder_path(&trained.folder, "model"));
    struct hysgd_job *job = job_of_words(words, (const char *const[]){"save", trained.model, NULL});
    assert_int_equal(hysgd_job_run(job, &result), HYSGD_OK);
    hysgd_job_free(job);
    write_ratings(&trained);
    snprintf(trained.ratings, sizeof trained.ratings, "%s", folder_path(&trained.folder, "ratings"));
    return 0;
}

static int forget(void **state) {
    folder_close(*state);
    return 0;
}

static double predict(struct recommender *recommender, const char *user, const char *item) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_int_equal(recommender_predict(recommender, "", user, item, RECOMMENDER_CSV, out), HYSGD_OK);
    fclose(out);
    double prediction = strtod(strrchr(text, ',') + 1, NULL);
    free(text);
    return prediction;
}

/* Called by a new name, the item is predicted as it was by the name that training knew. */
static void an_item_is_folded_in_where_training_has_put_it(void **state) {
    const struct trained *trained = *state;
    struct recommender *recommender;
    struct plugin data;
    char buffer[IDS_NUMBER_BYTES], item[IDS_NUMBER_BYTES];
    size_t length;
    assert_int_equal(plugin_open(&data_list, DATA, &data), HYSGD_OK);
    assert_int_equal(data_ops(&data)->init(data.self, 1), HYSGD_OK);
    const char *name = ids_text(&data_ratings(&data)->all.columns, ITEM, buffer, &length);
    snprintf(item, sizeof item, "%.*s", (int)length, name);
    assert_int_equal(recommender_open(trained->model, "", &recommender), HYSGD_OK);
    double mean = predict(recommender, trained->first, "new"), known = predict(recommender, trained->first, item);
    assert_int_equal(recommender_extend(recommender, RECOMMENDER_ITEMS, trained->ratings), HYSGD_OK);
    double folded = predict(recommender, trained->first, "new");
    assert_true(predict(recommender, trained->first, item) == known);
    assert_true(fabs(folded - known) < 0.2);
    assert_true(fabs(folded - known) < fabs(mean - known));
    recommender_close(recommender);
    data_ops(&data)->fini(data.self);
    plugin_close(&data);
}

static void memory_failures_leave_nothing_behind(void **state) {
    const struct trained *trained = *state;
    size_t before = memory_used();
    enum hysgd_status status = HYSGD_MEMORY;
    uint64_t n = 0;
    while (status == HYSGD_MEMORY && n < 2000) {
        struct recommender *recommender;
        memory_fail_at(++n);
        status = recommender_open(trained->model, "", &recommender);
        if (status == HYSGD_OK)
            status = recommender_extend(recommender, RECOMMENDER_ITEMS, trained->ratings);
        memory_fail_at(0);
        recommender_close(recommender);
        assert_int_equal(memory_used(), before);
    }
    assert_int_equal(status, HYSGD_OK);
    assert_true(n > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_is_folded_in_where_training_has_put_it),
        cmocka_unit_test(memory_failures_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, train, forget);
}
