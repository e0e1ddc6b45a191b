/* SPDX-License-Identifier: Apache-2.0 */
/* Codes single values: see log_format.h. */
#include "record/log_format.h"

#include <string.h>
#include <zlib.h>

enum log_coding log_coding(enum record_type type) {
    switch (type) {
    case RECORD_COUNT:
    case RECORD_LIMIT:
    case RECORD_INT:
    case RECORD_FLAG:
        return LOG_INTEGER;
    case RECORD_REAL:
    case RECORD_BOUND:
        return LOG_REAL;
    case RECORD_TEXT:
        return LOG_TEXT;
    case RECORD_STALENESS:
        break;
    }
    return (enum log_coding)0;
}

uint64_t log_load(const struct record_field *field, const void *self) {
    const char *at = (const char *)self + field->offset;
    uint64_t value = 0;
    switch (field->type) {
    case RECORD_COUNT:
    case RECORD_LIMIT:
    case RECORD_REAL:
    case RECORD_BOUND:
        memcpy(&value, at, sizeof value);
        break;
    case RECORD_INT:
        value = (uint64_t)(int64_t) * (const int32_t *)at;
        break;
    case RECORD_FLAG:
        value = *(const bool *)at;
        break;
    case RECORD_TEXT:
    case RECORD_STALENESS:
        break;
    }
    return value;
}

bool log_store(const struct record_field *field, void *self, uint64_t value) {
    char *at = (char *)self + field->offset;
    switch (field->type) {
    case RECORD_COUNT:
    case RECORD_LIMIT:
    case RECORD_REAL:
    case RECORD_BOUND:
        memcpy(at, &value, sizeof value);
        break;
    case RECORD_INT:
        if ((int64_t)value < INT32_MIN || (int64_t)value > INT32_MAX)
            return false;
        *(int32_t *)at = (int32_t)(int64_t)value;
        break;
    case RECORD_FLAG:
        if (value > 1)
            return false;
        *(bool *)at = value;
        break;
    case RECORD_TEXT:
    case RECORD_STALENESS:
        return false;
    }
    return true;
}

uint8_t *log_put_varint(uint8_t *to, uint64_t value) {
    for (; value > 127; value >>= 7)
        *to++ = (uint8_t)(value | 128);
    *to++ = (uint8_t)value;
    return to;
}

uint8_t *log_put_integer(uint8_t *to, uint64_t value, uint64_t *previous) {
    uint64_t difference = value - *previous;
    *previous = value;
    return log_put_varint(to, difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0));
}

uint8_t *log_put_real(uint8_t *to, uint64_t bits, uint64_t *previous) {
    uint64_t change = bits ^ *previous;
    *previous = bits;
    if (change == 0) {
        *to++ = 0;
        return to;
    }
    int low = __builtin_ctzll(change) / 8, count = 8 - __builtin_clzll(change) / 8 - low;
    *to++ = (uint8_t)(16 * count + low);
    change >>= 8 * low;
    for (int i = 0; i < count; i++, change >>= 8)
        *to++ = (uint8_t)change;
    return to;
}

bool log_get_varint(struct log_cursor *cursor, uint64_t *value_out) {
    uint64_t value = 0;
    for (int shift = 0; cursor->at < cursor->end && shift < 64; shift += 7) {
        uint8_t byte = *cursor->at++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

bool log_get_integer(struct log_cursor *cursor, uint64_t *previous) {
    uint64_t zigzag;
    if (!log_get_varint(cursor, &zigzag))
        return false;
    *previous += zigzag >> 1 ^ (zigzag & 1 ? UINT64_MAX : 0);
    return true;
}

bool log_get_real(struct log_cursor *cursor, uint64_t *previous) {
    if (cursor->at == cursor->end)
        return false;
    int count = *cursor->at / 16, low = *cursor->at % 16;
    cursor->at++;
    if (count + low > 8 || (count == 0 && low > 0) || cursor->end - cursor->at < count)
        return false;
    uint64_t change = 0;
    for (int i = 0; i < count; i++)
        change |= (uint64_t)cursor->at[i] << 8 * (low + i);
    cursor->at += count;
    *previous ^= change;
    return true;
}

void log_put_word(uint8_t to[4], uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

uint32_t log_get_word(const uint8_t from[4]) {
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

uint32_t log_checksum(const uint8_t length[4], const uint8_t *payload, size_t size) {
    return (uint32_t)crc32_z(crc32_z(0, length, 4), payload, size);
}
