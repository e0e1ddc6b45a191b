/* SPDX-License-Identifier: Apache-2.0 */
/* Every correction that the command, the help and the conformance suite know: one line each, in the order of the
 * help. X(name) stands for the table correction_NAME at the end of NAME.c (its own name may have dashes). No
 * include guard: it is expanded wherever the list is needed. */
X(none)
X(delay_compensation)
X(distance)
X(dana)
