/* SPDX-License-Identifier: Apache-2.0 */
/* Every scheduler that the command, the help and the conformance suite know: one line each, in the order of the
 * help. X(name) stands for the table scheduler_NAME at the end of NAME.c. No include guard: it is expanded wherever
 * the list is needed. */
X(a2psgd)
X(fpsgd)
X(dsgd)
X(asgd)
X(hogwild)
