/* SPDX-License-Identifier: Apache-2.0 */
/* The door of a run: a Unix-domain socket at which a command on the same host asks whether a worker may join. One
 * line comes in, one goes out: "hysgd 1 join HOST" (HOST may be missing), and "yes TEXT" or "no TEXT". */
#ifndef HYSGD_RUNTIME_CONTROL_H
#define HYSGD_RUNTIME_CONTROL_H

#include <stdbool.h>

#include "base/status.h"

/* Bytes of a line, with its end. */
#define CONTROL_LINE 600

struct control;

/* Listens at the path. A file that a run left there which is over is replaced. `takes_over`: also one that answers,
 * since it is of the same run, whose process may only be asleep. HYSGD_USAGE: a run that goes on is there, or
 * something that is no socket, or the path is too long; HYSGD_OUTPUT: it cannot be made. */
HYSGD_MUST_CHECK enum hysgd_status control_open(const char *path, bool takes_over, struct control **control_out);

/* Removes the file; who waits is told that the run is over. NULL is allowed. */
void control_close(struct control *control);

/* Never waits. True: somebody asks that a worker joins, at `host` ("": anywhere), and waits for control_answer.
 * Wrong requests are answered here. */
bool control_hear(struct control *control, char host[256]);

/* To whoever was heard; nothing happens where nobody was. */
void control_answer(struct control *control, bool is_yes, const char *text);

/* The other end: asks and waits. `answer` receives the text. HYSGD_FAILED: the answer is no; HYSGD_INPUT: there is
 * no run at the path; HYSGD_USAGE: no host can have that name. */
HYSGD_MUST_CHECK enum hysgd_status control_ask(const char *path, const char *host, char answer[CONTROL_LINE]);

#endif
