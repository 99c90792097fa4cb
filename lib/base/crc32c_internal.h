/* base/crc32c_internal.h - the way without the CPU's instruction, for the tests
 * to compare with. */
#ifndef BASE_CRC32C_INTERNAL_H
#define BASE_CRC32C_INTERNAL_H
#include "base/crc32c.h"

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t n);
#endif
