/* SPDX-License-Identifier: Apache-2.0 */
/* A moment of a run in the text form that Prometheus reads. */
#ifndef HYSGD_RECORD_METRICS_H
#define HYSGD_RECORD_METRICS_H

#include <stdio.h>

#include "record/report.h"

/* Writes every metric; what cannot be written shows in the stream. */
void metrics_print(FILE *stream, const struct report_moment *moment);

#endif
