/* Stands before GCC's header of the same name (CPATH in .cargo/config.toml) and corrects two of its intrinsics.
 *
 * GCC before 14 (and 12.4, 13.3) declares that `_tile_loadconfig` reads 8 of the 64 bytes of a tile configuration, and
 * `_tile_loadd` that it reads no memory (https://gcc.gnu.org/PR114098). From -O2 on the stores to the rest are then left
 * out as dead, and llama.cpp's AMX kernels end with a general protection fault. */
#include_next <amxtileintrin.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 14
#define _tile_loadconfig(config) \
    __asm__ volatile ("ldtilecfg\t%0" :: "m" (*(const char (*)[64]) (config)))
#undef _tile_loadd_internal
#define _tile_loadd_internal(tile, base, stride) \
    __asm__ volatile ("tileloadd\t(%0,%1,1), %%tmm" #tile \
        :: "r" ((const void *) (base)), "r" ((long) (stride)) : "memory")
#endif
