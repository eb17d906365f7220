/* xxHash, compiled into its callers: libpg_query exports functions of the same names, which must
 * not be bound instead (XXH_INLINE_ALL makes all of them static). */
#ifndef CXXHASH_H
#define CXXHASH_H
#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t pgcache_xxh3(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}
#endif
