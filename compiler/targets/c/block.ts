// The product of a block, by register blocks: 12 rows × 32 columns in 24 vectors of sixteen where the machine has
// AVX-512, else 6 × 16: in 12 vectors of eight, or 24 of four with NEON. One fma chain a sum, whatever the block it is in.
export const block = `
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__ARM_NEON)
#define LANES 4
#else
#define LANES 8
#endif
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
#if LANES == 8
#define FMA_LANES(a, b, c) fma8(a, b, c)
#elif defined(ELEMENTWISE_FMA)
#define FMA_LANES(a, b, c) __builtin_elementwise_fma(a, b, c)
#elif LANES == 4
INLINE lanes FMA_LANES(lanes a, lanes b, lanes c) { lanes r; for (int l = 0; l < 4; l++) r[l] = __builtin_fmaf(a[l], b[l], c[l]); return r; }
#else
typedef float ia32_lanes __attribute__((vector_size(64)));
#define FMA_LANES(a, b, c) (lanes)__builtin_ia32_vfmaddps512_mask((ia32_lanes)(a), (ia32_lanes)(b), (ia32_lanes)(c), (uint16_t)-1, 4)
#endif
#define AT(p, l) (*(lanes *)((p) + LANES * (l)))
/* Vector l of a row of b, of which 16 columns lie side by side. */
#define OF_PANELS(b, l) (*(const lanes *)((b) + LANES * (l) / 16 * bp + LANES * (l) % 16))
#define ROWS(MR) _Pragma("GCC unroll 12") for (int r = 0; r < MR; r++)
#define VECTORS(MV) _Pragma("GCC unroll 4") for (int l = 0; l < MV; l++)
#define BLOCK(MR, MV) \\
static void block##MR##_##MV(long depth, const float *restrict a, long as, long ak, const float *restrict b, long bk, long bp, float *restrict c, long cs, int add) { \\
  lanes s[MR][MV]; \\
  ROWS(MR) VECTORS(MV) s[r][l] = (lanes){}; \\
  const float *a4 = a + 4 * as, *a8 = a + 8 * as; \\
  const long as3 = 3 * as; \\
  for (long k = 0; k < depth; k++) { \\
    lanes y[MV]; \\
    VECTORS(MV) y[l] = OF_PANELS(b, l); \\
    ROWS(MR) { \\
      lanes x = (r < 4 ? a : r < 8 ? a4 : a8)[r % 4 == 3 ? as3 : r % 4 * as] - (lanes){}; \\
      VECTORS(MV) s[r][l] = FMA_LANES(x, y[l], s[r][l]); \\
    } \\
    a += ak; a4 += ak; a8 += ak; b += bk; \\
  } \\
  if (add) ROWS(MR) VECTORS(MV) AT(c + r * cs, l) += s[r][l]; \\
  else ROWS(MR) VECTORS(MV) AT(c + r * cs, l) = s[r][l]; \\
}
#define ADVANCE(MR) a += MR * as, c += MR * cs, rows -= MR
#define DONE(MR, MV) block##MR##_##MV(depth, a, as, ak, b, bk, bp, c, cs, add)
/* Rows are divided so that no block is left with few: 16 are two of 8, 8 are two of 4. */
#define ROWS_OF(MV) \\
static void rows_##MV(long rows, long depth, const float *a, long as, long ap, long ak, const float *b, long bk, long bp, float *c, long cs, int add) { \\
  for (; rows >= 12 && !(rows == 16 && ap == 12 * as); a += ap, c += 12 * cs, rows -= 12) TWELVE(MV) \\
  LARGE(MV) \\
  for (; rows >= 4; ADVANCE(4)) DONE(4, MV); \\
  if (rows >= 2) { DONE(2, MV); ADVANCE(2); } \\
  if (rows >= 1) DONE(1, MV); \\
}
#define BLOCKS(MV) BLOCK(4, MV) BLOCK(2, MV) BLOCK(1, MV) ROWS_OF(MV)
#if LANES == 16
#define TWELVE(MV) DONE(12, MV);
#define SIX_1
#define SIX_2 if (rows >= 6) { DONE(6, 2); ADVANCE(6); }
#define LARGE(MV) for (; rows >= 8; ADVANCE(8)) DONE(8, MV); SIX_##MV
BLOCK(12, 2) BLOCK(12, 1) BLOCK(8, 2) BLOCK(8, 1) BLOCK(6, 2)
BLOCKS(2) BLOCKS(1)
#else
#define TWELVE(MV) { DONE(6, MV); block6_##MV(depth, a + 6 * as, as, ak, b, bk, bp, c + 6 * cs, cs, add); }
#define LARGE(MV) for (; rows >= 6 && rows != 8; ADVANCE(6)) DONE(6, MV);
#if LANES == 8
BLOCK(6, 2) BLOCKS(2)
#else
BLOCK(6, 4) BLOCKS(4)
#endif
#endif
static void block(const float *a, const float *b, float *c, long rows, long columns, long depth, long as, long ap, long ak, long bk, long bp, long cs, int add) {
#if LANES == 16
  for (; columns >= 32; columns -= 32, b += 2 * bp, c += 32) rows_2(rows, depth, a, as, ap, ak, b, bk, bp, c, cs, add);
  if (columns > 0) rows_1(rows, depth, a, as, ap, ak, b, bk, bp, c, cs, add);
#else
  for (; columns > 0; columns -= 16, b += bp, c += 16)
#if LANES == 8
    rows_2(rows, depth, a, as, ap, ak, b, bk, bp, c, cs, add);
#else
    rows_4(rows, depth, a, as, ap, ak, b, bk, bp, c, cs, add);
#endif
#endif
}
`;
/** Eight rows of eight, turned. */
export const transpose = `
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (i32x8){__VA_ARGS__})
#endif
static inline void transpose8(const float *s, float *d, long stride) {
  f32x8 r[8], t[8];
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) r[i] = *(const f32x8 *)(s + 8 * i);
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; i += 2) {
    t[i] = SHUFFLE(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = SHUFFLE(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  _Pragma("GCC unroll 8") for (int i = 0; i < 8; i += 4) {
    r[i] = SHUFFLE(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 1] = SHUFFLE(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    r[i + 2] = SHUFFLE(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 3] = SHUFFLE(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  _Pragma("GCC unroll 8") for (int i = 0; i < 4; i++) *(f32x8 *)(d + i * stride) = SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
  _Pragma("GCC unroll 8") for (int i = 0; i < 4; i++) *(f32x8 *)(d + (i + 4) * stride) = SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
}
`;
