/* SPDX-License-Identifier: Apache-2.0 */
/* The data plug-ins, one line each: X(name) stands for the table data_NAME. */
#ifndef HYSGD_DATA_LIST_H
#define HYSGD_DATA_LIST_H

#define DATA_LIST(X)                                                                                               \
    X(digits)                                                                                                      \
    X(random)                                                                                                      \
    X(none)                                                                                                        \
    X(mnist)                                                                                                       \
    X(fashion)                                                                                                     \
    X(cifar10)                                                                                                     \
    X(ratings_file)                                                                                                \
    X(planted)

#endif
