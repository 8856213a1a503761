// Vectors of W lanes, for loops whose iterations are independent: sixteen where the machine has AVX-512, else the eight of
// prelude.ts. C's macros choose, so a kernel's text is the same for all machines, and a lane's value depends on no width.
// Sixteen-wide conditions are the bits of a mask register and no vector: comparisons and selections are by name. What
// GCC's vector extensions lower badly (comparisons, selections, roundings, fma) are its own built-ins; with another compiler
// W is eight. Memory is read and written at any address; values themselves are aligned, so that spills cross no line.
const compare = [
  ["eq", 0, 0],
  ["lt", 1, 1],
  ["le", 2, 2],
  ["ne", 4, 4],
  ["ge", 13, 5],
  ["gt", 14, 6],
] as const;
const operators = { eq: "==", lt: "<", le: "<=", ne: "!=", ge: ">=", gt: ">" } as const;
const lanes = (n: number, open: string) => Array.from({ length: n }, (_, l) => open.replaceAll("#", String(l))).join(", ");

/** Conditions of one number and of eight, in the words of the W forms. */
export const conditions = `
typedef i32x8 b8;
#define lane_numbers8 lane_numbers
${compare.flatMap(([name]) => ["", "i"].flatMap((of) => [1, 8].map((w) => `#define ${of}${name}${w}(a, b) ((a) ${operators[name]} (b))`))).join("\n")}
#define beq8(a, b) ((a) == (b))
#define bne8(a, b) ((a) != (b))
#define not1(c) (!(c))
#define not8(c) (~(c))
#define KB8(c) KI8(-(int32_t)(c))
#define bit8(c) (-(c)[l_])
#define put8(c, x) ((c)[l_] = -(int32_t)(x))
#define LANESB8(e) LANES8(i32x8, -(int32_t)(e))
#define ib8(c) (-(c))
`;

const aliases = `K KI KB LANES EACH lane_numbers all bit put LANESB ib ${compare.flatMap(([n]) => [n, `i${n}`]).join(" ")} beq bne not
  as_i as_f to_f sel seli selb fma floor ceil trunc sqrt fmod idiv rem imin imax f_to_i`.split(/\s+/);

export const wide = `
#if defined(__AVX512F__) && !defined(__clang__) && __GNUC__ >= 12
#define WIDE
#define WIDTH 16
typedef float f32xW __attribute__((vector_size(64)));
typedef int32_t i32xW __attribute__((vector_size(64)));
typedef uint32_t u32xW __attribute__((vector_size(64)));
typedef int64_t i64xW __attribute__((vector_size(128)));
typedef float f32xWu __attribute__((vector_size(64), aligned(4)));
typedef int32_t i32xWu __attribute__((vector_size(64), aligned(4)));
typedef uint16_t u16xWu __attribute__((vector_size(32), aligned(2)));
typedef uint8_t u8xWu __attribute__((vector_size(16), aligned(1)));
typedef uint16_t bW;
typedef double ia32_dW __attribute__((vector_size(64)));
#define KW(x) ((float)(x) - (f32xW){})
#define KIW(x) ((int32_t)(x) - (i32xW){})
#define KBW(c) ((bW)-(int32_t)(c))
#define LANESW(T, e) (T){${lanes(16, "LANE8(#, e)")}}
#define LANESBW(e) ((bW)(${lanes(16, "LANE8(#, (uint32_t)(e) << #)").replaceAll(", LANE8", " | LANE8")}))
#define EACHW(e) (${lanes(16, "(void)LANE8(#, e)")})
static const i32xW lane_numbersW = {${lanes(16, "#")}};
#define allW(c) ((bW)(c) == 0xffff)
#define bitW(c) (((c) >> l_) & 1)
#define putW(c, x) ((c) = (bW)(((c) & ~(1 << l_)) | (int32_t)((x) != 0) << l_))
#define as_iW(x) ((i32xW)(x))
#define as_fW(x) ((f32xW)(x))
#define to_fW(x) __builtin_convertvector(x, f32xW)
#define loW(x) __builtin_shufflevector(x, x, ${lanes(8, "#")})
#define hiW(x) __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15)
#define lower(x) loW(x)
#define upper(x) hiW(x)
#define UPPER(...) __VA_ARGS__
#define joinW(a, b) __builtin_shufflevector(a, b, ${lanes(16, "#")})
${compare
  .map(
    ([name, real, int]) => `INLINE bW ${name}W(f32xW a, f32xW b) { return __builtin_ia32_cmpps512_mask(a, b, ${real}, -1, 4); }
INLINE bW i${name}W(i32xW a, i32xW b) { return __builtin_ia32_cmpd512_mask(a, b, ${int}, -1); }`,
  )
  .join("\n")}
#define beqW(a, b) ((bW)~((a) ^ (b)))
#define bneW(a, b) ((bW)((a) ^ (b)))
#define notW(c) ((bW)~(c))
INLINE f32xW selW(bW c, f32xW a, f32xW b) { return __builtin_ia32_blendmps_512_mask(b, a, c); }
INLINE i32xW seliW(bW c, i32xW a, i32xW b) { return __builtin_ia32_blendmd_512_mask(b, a, c); }
#define selbW(c, a, b) ((bW)(((a) & (c)) | ((b) & ~(c))))
#define ibW(c) seliW(c, KIW(1), KIW(0))
INLINE f32xW fmaW(f32xW a, f32xW b, f32xW c) { return __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4); }
INLINE f32xW floorW(f32xW x) { return __builtin_ia32_rndscaleps_mask(x, 9, x, -1, 4); }
INLINE f32xW ceilW(f32xW x) { return __builtin_ia32_rndscaleps_mask(x, 10, x, -1, 4); }
INLINE f32xW truncW(f32xW x) { return __builtin_ia32_rndscaleps_mask(x, 11, x, -1, 4); }
INLINE f32xW sqrtW(f32xW x) { return __builtin_ia32_sqrtps512_mask(x, x, -1, 4); }
INLINE f32xW fmodW(f32xW a, f32xW b) { return joinW(fmod8(loW(a), loW(b)), fmod8(hiW(a), hiW(b))); }
INLINE i32xW idivW(i32xW a, i32xW b) { i32xW s = a >> 31; return ((a ^ s) / b) ^ s; }
INLINE i32xW remW(i32xW a, i32xW b) { return joinW(rem8(loW(a), loW(b)), rem8(hiW(a), hiW(b))); }
INLINE i32xW iminW(i32xW a, i32xW b) { return seliW(iltW(a, b), a, b); }
INLINE i32xW imaxW(i32xW a, i32xW b) { return seliW(igtW(a, b), a, b); }
INLINE i32xW f_to_iW(f32xW x) {
  i32xW r = __builtin_ia32_cvttps2dq512_mask(x, (i32xW){}, -1, 4);
  return seliW(geW(x, KW(2147483648.0f)), KIW(2147483647), seliW(eqW(x, x), r, KIW(0)));
}
#else
#define WIDTH 8
typedef f32x8 f32xW;
typedef i32x8 i32xW;
typedef u32x8 u32xW;
typedef i64x8 i64xW;
typedef b8 bW;
#define lower(x) (x)
#define UPPER(...)
${aliases
  .filter((n) => n)
  .map((n) => `#define ${n}W ${n}8`)
  .join("\n")}
#endif
`;

/** NaN where either is; of zeros the second. */
export const wideExtremes = `
#ifdef WIDE
INLINE f32xW minW(f32xW a, f32xW b) { return selW(neW(a, a), a, (f32xW)__builtin_ia32_minps512_mask(a, b, a, -1, 4)); }
INLINE f32xW maxW(f32xW a, f32xW b) { return selW(neW(a, a), a, (f32xW)__builtin_ia32_maxps512_mask(a, b, a, -1, 4)); }
#else
#define minW min8
#define maxW max8
#endif
`;

export const wideMemory = `
#ifdef WIDE
#define ld_f32_W(p) ((f32xW)*(const f32xWu *)(p))
#define st_f32_W(p, x) (*(f32xWu *)(p) = (x))
#define ld_f64_W(p) joinW(ld_f64_8(p), ld_f64_8((p) + 8))
INLINE void st_f64_W(double *p, f32xW x) { st_f64_8(p, loW(x)); st_f64_8(p + 8, hiW(x)); }
#define ld_i32_W(p) ((i32xW)*(const i32xWu *)(p))
#define st_i32_W(p, x) (*(i32xWu *)(p) = (x))
#define ld_bool_W(p) ineW(__builtin_convertvector(*(const u8xWu *)(p), i32xW), KIW(0))
#define st_bool_W(p, x) (*(u8xWu *)(p) = __builtin_convertvector(ibW(x), u8xWu))
#define ld_bf16_W(p) bf16_valueW(__builtin_convertvector(*(const u16xWu *)(p), i32xW))
#define st_bf16_W(p, x) (*(u16xWu *)(p) = __builtin_convertvector(bf16_bitsW(x), u16xWu))
#define ld_f16_W(p) f16_valueW(__builtin_convertvector(*(const u16xWu *)(p), i32xW))
#define st_f16_W(p, x) (*(u16xWu *)(p) = __builtin_convertvector(f16_bitsW(x), u16xWu))
#else
${["f32", "f64", "i32", "bool", "bf16", "f16"].map((s) => `#define ld_${s}_W ld_${s}_8\n#define st_${s}_W st_${s}_8`).join("\n")}
#endif
`;
