// What every generated C file opens with: vectors of eight, the width of folds' chains whatever the instruction set (bits
// depend on it), and as wide as the machine's for what lanes compute alone (wide.ts); their selects, roundings and memory
// forms, random numbers, and the register block of the matrix product (block.ts). Only compiler built-ins are used: no header beyond <stdint.h>, so that a file compiles fast.
import { PARITY, ROTATIONS, ROUNDS } from "../../../dsl/random.js";
import { block, transpose } from "./block.js";
import { generic } from "./generic.js";
import { halves } from "./halves.js";
import { math } from "./math.js";
import { conditions, wide, wideExtremes, wideMemory } from "./wide.js";

const types = `#include <stdint.h>
typedef float f32x8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t i32x8 __attribute__((vector_size(32), aligned(4)));
typedef uint32_t u32x8 __attribute__((vector_size(32), aligned(4)));
typedef double f64x8 __attribute__((vector_size(64), aligned(8)));
typedef int64_t i64x8 __attribute__((vector_size(64), aligned(8)));
typedef uint8_t u8x8 __attribute__((vector_size(8), aligned(1)));
typedef uint16_t u16x8 __attribute__((vector_size(16), aligned(2)));
struct mallard_context { int32_t tid, n_threads; char *scratch; };
#define INF __builtin_inff()
#define NAN_ __builtin_nanf("")
#define SIGN64 ((int64_t)0x8000000000000000ull)
#define INLINE static inline __attribute__((always_inline))
#define K1(x) ((float)(x))
#define K8(x) ((float)(x) - (f32x8){})
#define KI1(x) ((int32_t)(x))
#define KI8(x) ((int32_t)(x) - (i32x8){})
#define KD1(x) ((double)(x))
#define KD8(x) ((double)(x) - (f64x8){})
#define LANE8(n, e) ({ enum { l_ = n }; e; })
#define LANES8(T, e) (T){LANE8(0, e), LANE8(1, e), LANE8(2, e), LANE8(3, e), LANE8(4, e), LANE8(5, e), LANE8(6, e), LANE8(7, e)}
#define EACH8(e) ((void)LANE8(0, e), (void)LANE8(1, e), (void)LANE8(2, e), (void)LANE8(3, e), (void)LANE8(4, e), (void)LANE8(5, e), (void)LANE8(6, e), (void)LANE8(7, e))
static const i32x8 lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7};
INLINE int32_t as_i1(float x) { int32_t r; __builtin_memcpy(&r, &x, 4); return r; }
INLINE float as_f1(int32_t x) { float r; __builtin_memcpy(&r, &x, 4); return r; }
INLINE int64_t as_l1(double x) { int64_t r; __builtin_memcpy(&r, &x, 8); return r; }
INLINE double as_d1(int64_t x) { double r; __builtin_memcpy(&r, &x, 8); return r; }
#define as_i8(x) ((i32x8)(x))
#define as_f8(x) ((f32x8)(x))
#define as_l8(x) ((i64x8)(x))
#define as_d8(x) ((f64x8)(x))
#define to_f1(x) ((float)(x))
#define to_f8(x) __builtin_convertvector(x, f32x8)
#define widen1(x) ((double)(x))
#define widen8(x) __builtin_convertvector(x, f64x8)
#define narrow1(x) ((float)(x))
#define narrow8(x) __builtin_convertvector(x, f32x8)
#define whole1(x) ((double)(x))
#define whole8(x) (as_d8((x) + as_l8(KD8(6755399441055744.0))) - 6755399441055744.0)
#define sel1(c, a, b) ((c) ? (a) : (b))
#define seli1(c, a, b) ((c) ? (a) : (b))
#define selb1(c, a, b) ((c) ? (a) : (b))
#define seld1(c, a, b) ((c) ? (a) : (b))
#if defined(__AVX__) && !defined(__clang__)
typedef float ia32_f __attribute__((vector_size(32)));
INLINE f32x8 sel8(i32x8 c, f32x8 a, f32x8 b) { return __builtin_ia32_blendvps256((ia32_f)b, (ia32_f)a, (ia32_f)c); }
INLINE int all8(i32x8 c) { return __builtin_ia32_movmskps256((ia32_f)c) == 255; }
#else
INLINE f32x8 sel8(i32x8 c, f32x8 a, f32x8 b) { return (f32x8)(((i32x8)a & c) | ((i32x8)b & ~c)); }
INLINE int all8(i32x8 c) { int r = 1; for (int l = 0; l < 8; l++) r &= c[l] != 0; return r; }
#endif
INLINE i32x8 seli8(i32x8 c, i32x8 a, i32x8 b) { return (a & c) | (b & ~c); }
#define selb8(c, a, b) seli8(c, a, b)
INLINE f64x8 seld8(i64x8 c, f64x8 a, f64x8 b) { return (f64x8)(((i64x8)a & c) | ((i64x8)b & ~c)); }
INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
INLINE double fmad1(double a, double b, double c) { return __builtin_fma(a, b, c); }
#if defined(__clang__) && defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_fma)
#define ELEMENTWISE_FMA
#endif
#endif
#if defined(ELEMENTWISE_FMA)
#define fma8(a, b, c) __builtin_elementwise_fma(a, b, c)
#elif defined(__FMA__) && !defined(__clang__)
INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) { return __builtin_ia32_vfmaddps256((ia32_f)a, (ia32_f)b, (ia32_f)c); }
#else
INLINE f32x8 fma8(f32x8 a, f32x8 b, f32x8 c) { f32x8 r; for (int l = 0; l < 8; l++) r[l] = __builtin_fmaf(a[l], b[l], c[l]); return r; }
#endif
#if defined(__FMA__) && !defined(__clang__)
typedef double ia32_d __attribute__((vector_size(32)));
union halves { f64x8 whole; struct { ia32_d lo, hi; } part; };
INLINE f64x8 fmad8(f64x8 a, f64x8 b, f64x8 c) {
  union halves x = {a}, y = {b}, z = {c}, r;
  r.part.lo = __builtin_ia32_vfmaddpd256(x.part.lo, y.part.lo, z.part.lo);
  r.part.hi = __builtin_ia32_vfmaddpd256(x.part.hi, y.part.hi, z.part.hi);
  return r.whole;
}
#else
INLINE f64x8 fmad8(f64x8 a, f64x8 b, f64x8 c) { f64x8 r; for (int l = 0; l < 8; l++) r[l] = __builtin_fma(a[l], b[l], c[l]); return r; }
#endif
#define ROUNDING(name, mode) \\
  INLINE float name##1(float x) { return __builtin_##name##f(x); } \\
  INLINE f32x8 name##8(f32x8 x) { return LANES_##mode(name, x); }
#if defined(__AVX__) && !defined(__clang__)
#define LANES_9(name, x) __builtin_ia32_roundps256((ia32_f)x, 9)
#define LANES_10(name, x) __builtin_ia32_roundps256((ia32_f)x, 10)
#define LANES_11(name, x) __builtin_ia32_roundps256((ia32_f)x, 11)
INLINE f32x8 sqrt8(f32x8 x) { return __builtin_ia32_sqrtps256((ia32_f)x); }
#else
#define EACH(name, x) ({ f32x8 r_; for (int l = 0; l < 8; l++) r_[l] = __builtin_##name##f(x[l]); r_; })
#define LANES_9(name, x) EACH(name, x)
#define LANES_10(name, x) EACH(name, x)
#define LANES_11(name, x) EACH(name, x)
INLINE f32x8 sqrt8(f32x8 x) { return EACH(sqrt, x); }
#endif
ROUNDING(floor, 9)
ROUNDING(ceil, 10)
ROUNDING(trunc, 11)
INLINE float sqrt1(float x) { return __builtin_sqrtf(x); }
INLINE double sqrtd1(double x) { return __builtin_sqrt(x); }
INLINE f64x8 sqrtd8(f64x8 x) { f64x8 r; for (int l = 0; l < 8; l++) r[l] = __builtin_sqrt(x[l]); return r; }
INLINE float fmod1(float a, float b) { return __builtin_fmodf(a, b); }
INLINE f32x8 fmod8(f32x8 a, f32x8 b) { f32x8 r; for (int l = 0; l < 8; l++) r[l] = __builtin_fmodf(a[l], b[l]); return r; }
INLINE int32_t idiv1(int32_t a, int32_t b) { return a >= 0 ? a / b : -1 - (-1 - a) / b; }
INLINE int64_t idivl(int64_t a, int64_t b) { return a >= 0 ? a / b : -1 - (-1 - a) / b; }
/* ~a = −1 − a: floors quotients of negative numbers by positive ones; a divisor known to the compiler costs no division. */
INLINE i32x8 idiv8(i32x8 a, i32x8 b) { i32x8 s = a >> 31; return ((a ^ s) / b) ^ s; }
INLINE int32_t rem1(int32_t a, int32_t b) { return b == 0 || b == -1 ? 0 : a % b; }
INLINE int64_t reml(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
INLINE i32x8 rem8(i32x8 a, i32x8 b) { i32x8 r; for (int l = 0; l < 8; l++) r[l] = rem1(a[l], b[l]); return r; }
INLINE int32_t imin1(int32_t a, int32_t b) { return a < b ? a : b; }
INLINE int32_t imax1(int32_t a, int32_t b) { return a > b ? a : b; }
INLINE int64_t iminl(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t imaxl(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE i32x8 imin8(i32x8 a, i32x8 b) { return seli8(a < b, a, b); }
INLINE i32x8 imax8(i32x8 a, i32x8 b) { return seli8(a > b, a, b); }
INLINE int32_t f_to_i1(float x) { return x >= 2147483648.0f ? 2147483647 : x >= -2147483648.0f ? (int32_t)x : x == x ? -2147483647 - 1 : 0; }
INLINE i32x8 f_to_i8(f32x8 x) { i32x8 r; for (int l = 0; l < 8; l++) r[l] = f_to_i1(x[l]); return r; }
INLINE double absd1(double x) { return as_d1(as_l1(x) & ~SIGN64); }
INLINE f64x8 absd8(f64x8 x) { return as_d8(as_l8(x) & ~SIGN64); }
`;

const arithmetic = generic(`
INLINE F abs$(F x) { return as_f$(as_i$(x) & 0x7fffffff); }
INLINE F copysign$(F x, F s) { return as_f$((as_i$(x) & 0x7fffffff) | (as_i$(s) & (-2147483647 - 1))); }
INLINE F sign$(F x) { return sel$(gt$(x, K$(0.0f)), K$(1.0f), sel$(lt$(x, K$(0.0f)), K$(-1.0f), x)); }
INLINE F recip0$(F x) { return sel$(eq$(x, K$(0.0f)), K$(0.0f), 1.0f / x); }
INLINE F round$(F x) { F f = floor$(x); return copysign$(sel$(ge$(x - f, K$(0.5f)), f + 1.0f, f), x); }
INLINE I bf16_bits$(F x) {
  I b = as_i$(x);
  I r = (I)((U)(b + 0x7fff + ((b >> 16) & 1)) >> 16);
  return seli$(eq$(x, x), r, (I)((U)b >> 16) | 0x40);
}
INLINE F bf16_value$(I b) { return as_f$(b << 16); }
`);

// NaN where either is; of zeros the second. The processor's own minimum of two is the second where one is NaN.
const extremes = `
INLINE float min1(float a, float b) { return sel1((a < b) | (a != a), a, b); }
INLINE float max1(float a, float b) { return sel1((a > b) | (a != a), a, b); }
#if defined(__AVX__) && !defined(__clang__)
INLINE f32x8 min8(f32x8 a, f32x8 b) { return sel8(a != a, a, __builtin_ia32_minps256((ia32_f)a, (ia32_f)b)); }
INLINE f32x8 max8(f32x8 a, f32x8 b) { return sel8(a != a, a, __builtin_ia32_maxps256((ia32_f)a, (ia32_f)b)); }
#else
INLINE f32x8 min8(f32x8 a, f32x8 b) { return sel8((a < b) | (a != a), a, b); }
INLINE f32x8 max8(f32x8 a, f32x8 b) { return sel8((a > b) | (a != a), a, b); }
#endif
`;
const word = (i: number, key: readonly string[]) => key[i % 3] as string;
const threefry = generic(`
INLINE void threefry$(U k0, U k1, U c0, U c1, U *r0, U *r1) {
  U k2 = k0 ^ k1 ^ ${PARITY}u, x0 = c0 + k0, x1 = c1 + k1;
${Array.from({ length: ROUNDS }, (_, round) => {
  const r = ROTATIONS[round % 8] as number;
  const n = (round + 1) / 4;
  const inject = round % 4 === 3 ? ` x0 += ${word(n, ["k0", "k1", "k2"])}; x1 += ${word(n + 1, ["k0", "k1", "k2"])} + ${n}u;` : "";
  return `  x0 += x1; x1 = ((x1 << ${r}) | (x1 >> ${32 - r})) ^ x0;${inject}`;
}).join("\n")}
  *r0 = x0; *r1 = x1;
}
`);
/** Counters of the vector forms are int32, sign extended as in the scalar ones. */
const vectorDraws = (w: "8" | "W") => `\
INLINE f32x${w} rand_uniform${w}(uint64_t key, i32x${w} counter) {
  u32x${w} a, b;
  threefry${w}((uint32_t)key - (u32x${w}){}, (uint32_t)(key >> 32) - (u32x${w}){}, (u32x${w})counter, (u32x${w})(counter >> 31), &a, &b);
  return to_f${w}((i32x${w})(a >> 8)) * 0x1p-24f;
}
static inline f32x${w} rand_normal${w}(uint64_t key, i32x${w} counter) {
  u32x${w} a, b;
  threefry${w}((uint32_t)key - (u32x${w}){}, (uint32_t)(key >> 32) - (u32x${w}){}, (u32x${w})counter, (u32x${w})(counter >> 31), &a, &b);
  return sqrt${w}(-2.0f * m_log${w}(to_f${w}((i32x${w})((a >> 8) + 1)) * 0x1p-24f)) * m_cos${w}(to_f${w}((i32x${w})(b >> 8)) * 0x1p-24f * 6.2831853f);
}
`;
const draws = `
INLINE uint64_t rand_extend(uint64_t key, int32_t e, uint32_t position) {
  uint32_t a, b;
  threefry1((uint32_t)key, (uint32_t)(key >> 32), (uint32_t)e, position, &a, &b);
  return (uint64_t)b << 32 | a;
}
INLINE float rand_uniform1(uint64_t key, int64_t counter) {
  uint32_t a, b;
  threefry1((uint32_t)key, (uint32_t)(key >> 32), (uint32_t)counter, (uint32_t)(counter >> 32), &a, &b);
  return (float)(int32_t)(a >> 8) * 0x1p-24f;
}
static inline float rand_normal1(uint64_t key, int64_t counter) {
  uint32_t a, b;
  threefry1((uint32_t)key, (uint32_t)(key >> 32), (uint32_t)counter, (uint32_t)(counter >> 32), &a, &b);
  return sqrt1(-2.0f * m_log1((float)(int32_t)((a >> 8) + 1) * 0x1p-24f)) * m_cos1((float)(int32_t)(b >> 8) * 0x1p-24f * 6.2831853f);
}
${vectorDraws("8")}#ifdef WIDE
${vectorDraws("W")}#else
#define rand_uniformW rand_uniform8
#define rand_normalW rand_normal8
#endif
`;

// Storage formats: ld_ and st_ convert between memory and the float, int or condition that code computes with.
// A condition is 0 or 1 alone and 0 or −1 in a lane.
const memory = `
#define ld_f32_1(p) (*(const float *)(p))
#define ld_f32_8(p) (*(const f32x8 *)(p))
#define st_f32_1(p, x) (*(float *)(p) = (x))
#define st_f32_8(p, x) (*(f32x8 *)(p) = (x))
#define ld_f64_1(p) ((float)*(const double *)(p))
#define ld_f64_8(p) narrow8(*(const f64x8 *)(p))
#define st_f64_1(p, x) (*(double *)(p) = (double)(x))
#define st_f64_8(p, x) (*(f64x8 *)(p) = widen8(x))
#define ld_i32_1(p) (*(const int32_t *)(p))
#define ld_i32_8(p) (*(const i32x8 *)(p))
#define st_i32_1(p, x) (*(int32_t *)(p) = (x))
#define st_i32_8(p, x) (*(i32x8 *)(p) = (x))
#define ld_bool_1(p) (*(const uint8_t *)(p) != 0)
#define ld_bool_8(p) (__builtin_convertvector(*(const u8x8 *)(p), i32x8) != 0)
#define st_bool_1(p, x) (*(uint8_t *)(p) = (x) != 0)
#define st_bool_8(p, x) (*(u8x8 *)(p) = __builtin_convertvector(-(x), u8x8))
#define ld_bf16_1(p) bf16_value1(*(const uint16_t *)(p))
#define ld_bf16_8(p) bf16_value8(__builtin_convertvector(*(const u16x8 *)(p), i32x8))
#define st_bf16_1(p, x) (*(uint16_t *)(p) = (uint16_t)bf16_bits1(x))
#define st_bf16_8(p, x) (*(u16x8 *)(p) = __builtin_convertvector(bf16_bits8(x), u16x8))
#define ld_f16_1(p) f16_value1(*(const uint16_t *)(p))
#define ld_f16_8(p) f16_value8(__builtin_convertvector(*(const u16x8 *)(p), i32x8))
#define st_f16_1(p, x) (*(uint16_t *)(p) = (uint16_t)f16_bits1(x))
#define st_f16_8(p, x) (*(u16x8 *)(p) = __builtin_convertvector(f16_bits8(x), u16x8))
`;

export const prelude =
  types + conditions + wide + extremes + wideExtremes + arithmetic + halves + memory + wideMemory + threefry + math + draws + block + transpose;
