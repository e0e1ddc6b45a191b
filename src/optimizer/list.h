/* SPDX-License-Identifier: Apache-2.0 */
/* Every optimizer that the command, the help and the conformance suite know: one line each, in the order of the
 * help. X(name) stands for the table optimizer_NAME at the end of NAME.c (its own name may have dashes). No include
 * guard: it is expanded wherever the list is needed. */
X(sgd)
X(momentum)
X(nesterov)
X(adam)
X(adamw)
X(delayed_nesterov)
