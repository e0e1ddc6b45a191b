/* SPDX-License-Identifier: Apache-2.0 */
/* The element types of safetensors and the size of a tensor; shared by the reader and the writer. */
#include "checkpoint/safetensors.h"

#include <string.h>

/* The format is little-endian and the elements are copied as they are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors needs a little-endian machine");

static const struct {
    const char *name;
    size_t size;
} types[SAFETENSORS_TYPES] = {
    [SAFETENSORS_F64] = {"F64", 8},   [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_I64] = {"I64", 8}, [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_I16] = {"I16", 2},   [SAFETENSORS_I8] = {"I8", 1},   [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_U32] = {"U32", 4},   [SAFETENSORS_U16] = {"U16", 2}, [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_BOOL] = {"BOOL", 1},
};

size_t safetensors_type_size(enum safetensors_type type) {
    return types[type].size;
}

const char *safetensors_type_name(enum safetensors_type type) {
    return types[type].name;
}

bool safetensors_type_find(const char *name, enum safetensors_type *type_out) {
    for (int i = 0; i < SAFETENSORS_TYPES; i++) {
        if (strcmp(types[i].name, name) == 0) {
            *type_out = (enum safetensors_type)i;
            return true;
        }
    }
    return false;
}

bool safetensors_tensor_bytes(const struct safetensors_tensor *tensor, uint64_t *bytes_out) {
    uint64_t elements = 1, bytes;
    for (int i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow(elements, tensor->dims[i], &elements))
            return false;
    }
    if (__builtin_mul_overflow(elements, types[tensor->type].size, &bytes) || bytes > INT64_MAX)
        return false;
    *bytes_out = bytes;
    return true;
}
