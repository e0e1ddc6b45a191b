/* SPDX-License-Identifier: Apache-2.0 */
/* Doubts about a state that was read from a checkpoint. */
#ifndef HYSGD_RUNTIME_SNAPSHOT_CHECK_H
#define HYSGD_RUNTIME_SNAPSHOT_CHECK_H

#include "runtime/engine.h"

/* Whether it can be the state of a run: the account of the gradients is the strongest witness. */
bool snapshot_engine_is_valid(const struct engine *engine);

#endif
