// What grows how, as a program's sequences grow: measured by lowering the same program at two sizes, the second twice the
// first, and comparing nest with nest and buffer with buffer by name. Nothing is run, and no axis needs a known name: what
// doubles with the sequences is linear, what grows threefold or more is quadratic.
import { type Buffer, maxOf } from "../lower/expr.js";
import { bytesOf } from "../lower/memory.js";
import type { Axis, Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";
import { kernelsIn } from "./kernels.js";

/** Between 2 (linear) and 4 (quadratic): windows and prefixes that do not grow with the sequences come out below 4. */
const QUADRATIC = 3;
const LINEAR = 1.5;

/** The index sets that a nest walks in full, one a pass. */
function walksOf(n: Nest): readonly (readonly Axis[])[] {
  switch (n.form) {
    case "map":
      return [n.axes];
    case "contract":
      return [[...n.batch, ...n.m, ...n.n, ...n.k]];
    case "row":
      return n.stages.map((s) => [...n.rows, ...(s.stage === "map" ? s.axes : s.stage === "fold" ? s.over : [s.over])]);
    case "tiles":
      return [[...n.batch, ...n.rows, ...n.over]];
    case "scatter":
      return [[...n.rows, ...n.over]];
    case "top":
      return [[...n.rows, n.over]];
  }
}
const trips = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * maxOf(a.extent), 1);

export interface Growth {
  /** How often the nest walks an index set that grows quadratically or faster. */
  passes(n: Nest): number;
  /** Whether its work grows at all. */
  grows(n: Nest): boolean;
  quadratic(b: Buffer): boolean;
  growing(b: Buffer): boolean;
}
/** Of a plan's nests and buffers; `twice`: the plan of the same program with its sequences twice as long. */
export function growthOf(plan: Plan, twice: Plan): Growth {
  const nests = new Map(kernelsIn(twice).flatMap((k) => k.nests.map((n) => [n.name, n] as const)));
  // A nest in a loop over blocks walks as much as all its turns.
  const times = new Map([plan, twice].flatMap(kernelsIn).flatMap((k) => k.nests.map((n) => [n, k.times] as const)));
  const walked = (n: Nest, axes: readonly Axis[]): number => (times.get(n) ?? 1) * trips(axes);
  const buffers = new Map(twice.buffers.map((b) => [b.name, b]));
  /** How many of a nest's walks grow by this factor or more. */
  const walks = (n: Nest, factor: number): number => {
    const twin = nests.get(n.name);
    const later = twin && twin.form === n.form ? walksOf(twin) : [];
    return walksOf(n).filter((axes, i) => {
      const other = later[i];
      return other !== undefined && walked(twin as Nest, other) >= factor * walked(n, axes);
    }).length;
  };
  const grown = (b: Buffer, factor: number): boolean => {
    const twin = buffers.get(b.name);
    return twin !== undefined && twin.axes.length === b.axes.length && bytesOf(b) > 0 && bytesOf(twin) >= factor * bytesOf(b);
  };
  return {
    passes: (n) => walks(n, QUADRATIC),
    grows: (n) => walks(n, LINEAR) > 0,
    quadratic: (b) => grown(b, QUADRATIC),
    growing: (b) => grown(b, LINEAR),
  };
}

/** Memory beside inputs, outputs and state: the arena and what was computed at compile time. */
export const temporaryBytes = (plan: Plan): number => plan.arenaBytes + plan.buffers.reduce((n, b) => n + (b.role === "table" ? bytesOf(b) : 0), 0);

/** p of the power law bytes ∝ size^p that fits best: least squares on logarithms. 0 where there
 *  are no bytes, or one point alone. */
export function exponentOf(points: readonly { readonly size: number; readonly bytes: number }[]): number {
  if (points.length < 2 || points.some((p) => p.bytes <= 0)) return 0;
  const xs = points.map((p) => Math.log(p.size));
  const ys = points.map((p) => Math.log(p.bytes));
  const mean = (v: readonly number[]) => v.reduce((a, b) => a + b, 0) / v.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const across = xs.reduce((s, x, i) => s + (x - mx) * ((ys[i] as number) - my), 0);
  return across / xs.reduce((s, x) => s + (x - mx) ** 2, 0);
}
