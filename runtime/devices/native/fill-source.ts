// A weight's first values in C, on all threads: std times the normal draws of a key, each computed in f64 by the very
// operations of dsl/random.ts and rounded once, so that they have the bits that JavaScript would write. A program's entry like
// any other, for the pool to run: buffers are the destination and what it is filled with.
import { COS_TERMS, LOG_SPLIT, LOG_TERMS, PARITY, ROTATIONS, ROUNDS, SIN_TERMS, TURN } from "../../../dsl/random.js";

const horner = (name: string, terms: readonly number[], x: string): string =>
  [`  d8 ${name} = all(${terms[0]});`, ...terms.slice(1).map((t) => `  ${name} = ${name} * ${x} + all(${t});`)].join("\n");

const rounds = Array.from({ length: ROUNDS }, (_, round) => {
  const r = ROTATIONS[round % ROTATIONS.length] as number;
  const mix = `x0 += x1, x1 = (x1 << ${r} | x1 >> ${32 - r}) ^ x0;`;
  const n = (round + 1) / 4;
  return round % 4 === 3 ? `${mix} x0 += k[${n % 3}], x1 += k[${(n + 1) % 3}] + ${n}u;` : mix;
}).join("\n  ");

/** Bytes of what a fill is told (`State.draw` in device.ts writes them). */
export const FILL_BYTES = 32;
export const FILL_SOURCE = String.raw`
#include <stdint.h>
#include <string.h>

typedef uint32_t u8 __attribute__((vector_size(32)));
typedef int32_t i8 __attribute__((vector_size(32)));
typedef float f8 __attribute__((vector_size(32)));
typedef double d8 __attribute__((vector_size(64)));
typedef int64_t l8 __attribute__((vector_size(64)));

static inline d8 all(double x) { return x - (d8){0}; }
static inline d8 choose(l8 mask, d8 a, d8 b) { return (d8)((mask & (l8)a) | (~mask & (l8)b)); }

/* Of counters high:(low + 0 … 7). */
static inline d8 normal(const uint32_t *k, uint32_t high, uint32_t low) {
  u8 x0 = (u8){0, 1, 2, 3, 4, 5, 6, 7} + low + k[0], x1 = (u8){0} + (high + k[1]);
  ${rounds}
  /* ln u */
  d8 d = __builtin_convertvector((i8)((x0 >> 8) + 1), d8);
  l8 bits = (l8)d;
  l8 exponent = bits >> 52;
  d8 m = (d8)((bits & 0xfffffffffffffll) | 0x3ff0000000000000ll);
  l8 upper = m >= all(${LOG_SPLIT});
  m = choose(upper, m * all(0.5), m);
  d8 e = (d8)((exponent - upper) | 0x4330000000000000ll) - all(4503599627370496.0 + 1023 + 24);
  d8 s = (m - all(1)) / (m + all(1));
  d8 s2 = s * s;
${horner("log", LOG_TERMS, "s2")}
  log = e * all(${Math.LN2}) + (s * all(2) + s * (s2 * log));
  /* cos 2πv */
  i8 j = (i8)(x1 >> 8);
  i8 over = j > (1 << 23);
  i8 half = (over & ((1 << 24) - j)) | (~over & j);
  i8 behind = half > (1 << 22);
  i8 quarter = (behind & ((1 << 23) - half)) | (~behind & half);
  i8 near = quarter <= (1 << 21);
  d8 x = __builtin_convertvector((near & quarter) | (~near & ((1 << 22) - quarter)), d8) * all(${TURN});
  d8 x2 = x * x;
${horner("cosine", COS_TERMS, "x2")}
${horner("sine", SIN_TERMS, "x2")}
  d8 turned = choose(__builtin_convertvector(near, l8), cosine, x * sine);
  turned = (d8)((l8)turned ^ (__builtin_convertvector(behind, l8) & INT64_MIN));
  d8 square = all(-2) * log;
  for (int i = 0; i < 8; i++) square[i] = __builtin_sqrt(square[i]);
  return square * turned;
}

struct fill {
  uint32_t key[2];
  double std;
  int64_t count;
  int32_t half; /* 1: bf16 */
};

static inline uint16_t to_bf16(float x) {
  uint32_t b;
  memcpy(&b, &x, 4);
  return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}

void mallard_fill(void *const *buffers, const int32_t *extents, int tid, int n_threads, void *scratch,
                  void (*barrier)(void *), void *barrier_argument) {
  (void)extents, (void)scratch, (void)barrier, (void)barrier_argument;
  const struct fill *f = buffers[1];
  const uint32_t k[3] = {f->key[0], f->key[1], ${PARITY}u ^ f->key[0] ^ f->key[1]};
  const int64_t blocks = (f->count + 7) / 8;
  const int64_t from = blocks * tid / n_threads, to = blocks * (tid + 1) / n_threads;
  for (int64_t b = from; b < to; b++) {
    const uint64_t counter = (uint64_t)b * 8;
    f8 x = __builtin_convertvector(all(f->std) * normal(k, (uint32_t)(counter >> 32), (uint32_t)counter), f8);
    const int n = f->count - b * 8 < 8 ? (int)(f->count - b * 8) : 8;
    if (f->half) {
      uint16_t *p = (uint16_t *)buffers[0] + b * 8;
      for (int i = 0; i < n; i++) p[i] = to_bf16(x[i]);
    } else
      memcpy((float *)buffers[0] + b * 8, &x, (unsigned)n * 4);
  }
}
`;
