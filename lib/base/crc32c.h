/* base/crc32c.h - CRC-32C (Castagnoli), RFC 3720 appendix B.4.
 * Uses the CPU's instruction where it has one. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H
#include "base/base.h"

/* Continues crc (0 to start) over n bytes:
 * crc32c(crc32c(0, a, n), b, m) is the checksum of a followed by b. */
uint32_t crc32c(uint32_t crc, const void *data, size_t n);
#endif
