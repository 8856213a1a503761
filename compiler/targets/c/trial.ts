// A program that times kernels beside each other: choices for one nest, each compiled alone. Every thread calls them one after
// another between barriers, as a program's `mallard_main` does, and thread 0 writes down how long each took. Before a call
// every thread walks memory of its own, so that what the kernel reads is where a step would find it: not in L1 and L2.
import type { Buffer } from "../../lower/expr.js";
import { prelude } from "./prelude.js";
import type { PrintedKernel } from "./print.js";

export interface Trial {
  readonly units: readonly { readonly name: string; readonly source: string }[];
  /** Like a program's. `extents`: rounds, how many kernels are asked for, and which. */
  readonly entry: "mallard_main";
  /** What `buffers` begins with; then follow one for times (f64 seconds, [rounds][as many as are asked for]) and one of `SWEEP`
   *  bytes a thread. */
  readonly buffers: readonly Buffer[];
  readonly scratchBytesPerThread: number;
}
/** More than a core's L2. */
export const SWEEP = 4 << 20;
const LINE = 64;

/** The kernels have numbers for names; `value`: what is passed for each int of theirs. */
export function trial(kernels: readonly PrintedKernel[], value: (int: string) => number): Trial {
  const buffers = [...new Set(kernels.flatMap((k) => k.buffers))];
  const units = kernels.map((k, i) => ({ name: `trial${i}`, source: `${prelude}\n${k.source.replace("k_kernel(", `k_${i}(`)}` }));
  const lists = kernels.map((k, i) => {
    const b = k.buffers.map((x) => `buffers[${buffers.indexOf(x)}]`);
    return `  void *const b${i}[] = {${b.join(", ") || "0"}}; const int32_t v${i}[] = {${k.ints.map(value).join(", ") || "0"}};`;
  });
  const all = (stem: string) => kernels.map((_, i) => `${stem}${i}`).join(", ");
  const main = `#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>
struct mallard_context { int32_t tid, n_threads; char *scratch; };
typedef void Kernel(void *const *b, const int32_t *v, const struct mallard_context *c);
Kernel ${all("k_")};
static double seconds(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
void mallard_main(void *const *buffers, const int32_t *extents, int tid, int n_threads, void *scratch, void (*barrier)(void *), void *barrier_argument) {
  const struct mallard_context context = {tid, n_threads, scratch};
${lists.join("\n")}
  Kernel *const kernels[] = {${all("k_")}};
  void *const *const b[] = {${all("b")}};
  const int32_t *const v[] = {${all("v")}};
  double *const times = buffers[${buffers.length}];
  volatile char *const swept = (char *)buffers[${buffers.length + 1}] + (long)tid * ${SWEEP};
  const int rounds = extents[0], asked = extents[1];
  for (int r = 0; r < rounds; r++)
    for (int t = 0; t < asked; t++) {
      const int at = (t + r) % asked, k = extents[2 + at];
      for (long i = 0; i < ${SWEEP}; i += ${LINE}) swept[i]++;
      barrier(barrier_argument);
      const double start = seconds();
      kernels[k](b[k], v[k], &context);
      barrier(barrier_argument);
      if (tid == 0) times[r * asked + at] = seconds() - start;
    }
}`;
  return {
    units: [...units, { name: "main", source: main }],
    entry: "mallard_main",
    buffers,
    scratchBytesPerThread: Math.max(64, ...kernels.map((k) => k.scratchBytes)),
  };
}
