/* SPDX-License-Identifier: Apache-2.0 */
/* The compact event log, and how its values are coded.
 *
 * A file begins with the 8 bytes LOG_MAGIC and the version of the format (4 bytes; all numbers outside of blocks
 * are little-endian). Blocks follow: the payload's length (4 bytes), a CRC-32 of these 4 bytes and the payload (4
 * bytes), and the payload: whole records one after the other. Whatever is after the last whole block was being
 * written when the run was killed; everything before it counts.
 *
 * A record is a varint, the number of its kind, and the values of the kind's fields. The first records, of kind 0,
 * tell which kinds and fields the log has: number, name, count of the fields, and per field a coding (enum
 * log_coding) and a name. Then come the run, its options, and the events; the accounts, the classes and the end
 * come last. An event begins with the fields of the kind "event", then come those of its own kind. Kinds and fields
 * are known by name, so that one can be added without making another format.
 *
 * Values: a varint has 7 bits a byte, the lowest first, the high bit set in all but the last. An integer (also a
 * flag, 0 or 1) is the difference, modulo 2^64, to the same field of the record of this kind before, zigzag coded
 * as a varint. A real is the exclusive or of its 64 bits with those of the same field before, without the zero
 * bytes at both ends: a byte 16 * (bytes that follow) + (low zero bytes left out), then those bytes, the lowest
 * first. A text is a varint, its length, and its bytes. In each block the fields "before" begin at 0. */
#ifndef HYSGD_RECORD_LOG_FORMAT_H
#define HYSGD_RECORD_LOG_FORMAT_H

#include "base/status.h"
#include "record/kinds.h"

#define LOG_MAGIC   "HYSGDLOG"
#define LOG_VERSION 1

/* Of the file's head, and of the head of a block; bytes. */
#define LOG_HEAD_BYTES  12
#define LOG_BLOCK_BYTES 8

/* Larger blocks are taken for damage; a text is a block at most. */
#define LOG_MOST_BLOCK (1 << 24)

enum log_coding { LOG_INTEGER = 1, LOG_REAL, LOG_TEXT };

/* The numbers of the kinds in the logs that are written here. */
enum log_kind { LOG_KIND, LOG_RUN, LOG_OPTION, LOG_ACCOUNT, LOG_CLASS, LOG_END, LOG_EVENT, LOG_FIRST_EVENT };

/* Bytes that an integer or a real takes at most. */
#define LOG_MOST_VALUE 10

/* The coding of a field; 0 for one that is not stored. */
enum log_coding log_coding(enum record_type type);

/* The value of a field as 64 bits, for all types but texts; and back. False when the member cannot hold it. */
uint64_t log_load(const struct record_field *field, const void *self);
bool log_store(const struct record_field *field, void *self, uint64_t value);

/* Write a value and return the byte after it; there is room for LOG_MOST_VALUE. `previous` becomes the value. */
uint8_t *log_put_varint(uint8_t *to, uint64_t value);
uint8_t *log_put_integer(uint8_t *to, uint64_t value, uint64_t *previous);
uint8_t *log_put_real(uint8_t *to, uint64_t bits, uint64_t *previous);

/* What is left of a payload that is being read. */
struct log_cursor {
    const uint8_t *at, *end;
};

/* Read a value. False when the payload ends before, or no writer codes a value so. */
bool log_get_varint(struct log_cursor *cursor, uint64_t *value_out);
bool log_get_integer(struct log_cursor *cursor, uint64_t *previous);
bool log_get_real(struct log_cursor *cursor, uint64_t *previous);

/* Four bytes, little-endian. */
void log_put_word(uint8_t to[4], uint32_t value);
uint32_t log_get_word(const uint8_t from[4]);

/* The checksum of a block. */
uint32_t log_checksum(const uint8_t length[4], const uint8_t *payload, size_t size);

#endif
