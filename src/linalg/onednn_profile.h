/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of a oneDNN plan goes, for benchmarks. */
#ifndef HYSGD_LINALG_ONEDNN_PROFILE_H
#define HYSGD_LINALG_ONEDNN_PROFILE_H

#include <stdio.h>

struct plan;

/* Measures every step from now on. */
void onednn_profile_start(struct plan *plan);

/* Prints the seconds of each kind of step since then and their share of all, largest first; then, if `with_steps`,
 * those of each step with the implementation that oneDNN chose. */
void onednn_profile_print(const struct plan *plan, int with_steps, FILE *out);

#endif
