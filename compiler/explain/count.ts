// Counting a plan: kernels, passes over the quadratic index set, arithmetic and memory. Counting starts, and for gradients
// ends, at the projected tensors: a matrix product of inputs alone is no kernel of the attention, nor is one that carries
// gradients from a projected tensor on to what it was made of. A prefix scan and a reduction of captured tensors' gradients
// over the sequences are counted apart.
import type { Buffer } from "../lower/expr.js";
import { storesOf, touched } from "../lower/memory.js";
import type { Nest } from "../lower/nest.js";
import { workOf } from "../lower/work.js";
import type { Plan } from "../plan.js";
import type { Growth } from "./growth.js";
import { type Kernel, kernelsIn, neededFor } from "./kernels.js";

/** kernel: it counts. scan and reduction: counted apart, where nothing else stands between the same barriers. */
export type Role = "kernel" | "scan" | "reduction" | "projection";
export interface CountedKernel {
  readonly kernel: Kernel;
  readonly role: Role;
  readonly backward: boolean;
  readonly passes: number;
  /** Nominal, of all calls of a run (lower/work.ts). */
  readonly operations: number;
  readonly bytes: number;
}
export interface Count {
  readonly kernels: number;
  readonly scans: number;
  readonly reductions: number;
  readonly passes: number;
  readonly operations: number;
  readonly bytes: number;
}

/** `growth` null: sizes are fixed, so nothing is known to be a projection, and passes count tiles alone. `forward`: names
 *  of the outputs that the forward half computes; all, where absent. */
export function countedKernels(plan: Plan, growth: Growth | null, forward: readonly string[] = Object.keys(plan.outputs)): readonly CountedKernel[] {
  const isForward = neededFor(
    plan,
    forward.flatMap((name) => plan.outputs[name] ?? []),
  );
  const ends = new Set(Object.entries(plan.outputs).flatMap(([name, b]) => (forward.includes(name) ? [] : [b])));
  const passes = (n: Nest) => (growth ? growth.passes(n) : n.form === "tiles" ? 1 : 0);
  const roles = growth ? rolesOf(plan, growth, isForward) : new Map<Nest, Role>();
  return kernelsIn(plan).flatMap((kernel) => {
    // A kernel may hold nests of both halves, and a nest gradients beside the output that it computes: it counts in each.
    const halves = [
      kernel.nests.filter((n) => isForward.has(n)),
      kernel.nests.filter((n) => !isForward.has(n) || storesOf(n).some((s) => ends.has(s.buffer))),
    ];
    return halves.flatMap((nests, half) => {
      if (nests.length === 0) return [];
      const work = nests.map(workOf);
      return {
        kernel: { ...kernel, nests },
        role: (["kernel", "scan", "reduction", "projection"] as const).find((r) => nests.some((n) => (roles.get(n) ?? "kernel") === r)) ?? "kernel",
        backward: half === 1,
        passes: nests.reduce((s, n) => s + passes(n), 0),
        operations: kernel.times * work.reduce((s, w) => s + w.operations, 0),
        bytes: kernel.times * work.reduce((s, w) => s + w.bytes, 0),
      };
    });
  });
}

export function countOf(kernels: readonly CountedKernel[]): Count {
  const of = (role: Role) => kernels.filter((k) => k.role === role).length;
  const sum = (f: (k: CountedKernel) => number) => kernels.reduce((s, k) => s + f(k), 0);
  return {
    kernels: of("kernel"),
    scans: of("scan"),
    reductions: of("reduction"),
    passes: sum((k) => k.passes),
    operations: sum((k) => k.operations),
    bytes: sum((k) => k.bytes),
  };
}

function rolesOf(plan: Plan, growth: Growth, isForward: ReadonlySet<Nest>): ReadonlyMap<Nest, Role> {
  const all = kernelsIn(plan).flatMap((k) => k.nests);
  const nests = all.filter((n) => growth.passes(n) === 0);
  const roles = new Map<Nest, Role>();
  const given = (b: Buffer) => b.role === "input" || b.role === "state" || b.role === "table";
  const readers = new Map<Buffer, Nest[]>();
  for (const n of all) for (const b of touched(n).reads) readers.set(b, [...(readers.get(b) ?? []), n]);
  for (const n of nests) {
    if (n.form === "row" && n.stages.some((s) => s.stage === "scan")) roles.set(n, "scan");
    else if (n.form === "contract" && [...touched(n).reads].every(given)) roles.set(n, "projection");
  }
  // Gradients, from their ends: matrix products on to a projection's factors, with point-wise work on their results, and
  // sums over the sequences. All that could be one is taken for one until something it leads to, or a point-wise value is
  // made of, is not.
  const writers = new Map<Buffer, Nest[]>();
  for (const n of all) for (const b of touched(n).writes) writers.set(b, [...(writers.get(b) ?? []), n]);
  const possible = new Map<Nest, Role>();
  for (const n of nests) {
    if (isForward.has(n) || roles.has(n)) continue;
    const product = n.form === "contract" && n.m.length > 0 && n.n.length > 0;
    if (product || n.form === "map") possible.set(n, "projection");
    else if (n.form !== "top" && growth.grows(n) && !storesOf(n).some((s) => growth.growing(s.buffer))) possible.set(n, "reduction");
  }
  for (let before = -1; before !== possible.size; ) {
    before = possible.size;
    for (const n of possible.keys()) {
      const t = touched(n);
      const onward = [...t.writes].flatMap((b) => readers.get(b) ?? []);
      const made = n.form === "map" ? [...t.reads].filter((b) => !given(b)).flatMap((b) => writers.get(b) ?? []) : [];
      if ([...onward, ...made].some((m) => m !== n && !possible.has(m))) possible.delete(n);
    }
  }
  for (const [n, role] of possible) roles.set(n, role);
  return roles;
}
