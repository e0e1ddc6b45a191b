/* SPDX-License-Identifier: Apache-2.0 */
/* One bfloat16, the upper half of a float: to be inlined into loops that the compiler vectorizes. */
#ifndef HYSGD_LINALG_BFLOAT16_H
#define HYSGD_LINALG_BFLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float widen(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* To nearest, ties to even; a NaN stays a NaN. */
static inline uint16_t narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(value == value ? rounded : (bits >> 16 | 0x40));
}

#endif
