/* SPDX-License-Identifier: Apache-2.0 */
/* Every policy that the command, the help and the conformance suite know: one line each, in the order of the
 * help. X(name) stands for the table policy_NAME at the end of NAME.c (its own name may have dashes). No include
 * guard: it is expanded wherever the list is needed. */
X(sync)
X(async)
X(threshold)
X(cyclic)
X(switch)
X(bounded)
X(backup)
X(batch_sync)
X(batch_async)
X(cutoff)
X(timeout)
X(table)
X(adaptive)
X(elastic)
