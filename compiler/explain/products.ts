// The matrix products of a plan, as a library would be asked for them: how many rows, columns and terms each has, and in
// which order the axes of its operands and of its result lie in memory, which says what is transposed. What is fused into
// a product (its prologue, its epilogue) is left out.
import { type Buffer, type Expr, maxOf, strides } from "../lower/expr.js";
import { loadsOf } from "../lower/memory.js";
import type { Axis, Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";
import { kernelsIn } from "./kernels.js";

export interface ProductAxis {
  /** Unique in the product. */
  readonly name: string;
  readonly size: number;
  readonly of: "batch" | "m" | "n" | "k";
}
/** One side of a product: its axes from the slowest to the fastest in memory. */
export interface ProductSide {
  readonly order: readonly string[];
  readonly buffer: Buffer;
  /** The names of the same axes in the buffer. */
  readonly axes: readonly string[];
}
export interface PlanProduct {
  readonly nest: string;
  /** In one run. */
  readonly calls: number;
  readonly axes: readonly ProductAxis[];
  readonly a: ProductSide;
  readonly b: ProductSide;
  readonly c: ProductSide;
}
type Contract = Extract<Nest, { form: "contract" }>;

/** In the order of the program. Sums without rows, columns or terms are none, nor is what reads a side by computed places. */
export function productsOf(plan: Plan): readonly PlanProduct[] {
  return kernelsIn(plan).flatMap(({ nests, times }) =>
    nests.flatMap((n) => {
      if (n.form !== "contract" || n.m.length === 0 || n.n.length === 0 || n.k.length === 0) return [];
      const groups = { batch: n.batch, m: n.m, n: n.n, k: n.k };
      const axes = (["batch", "m", "n", "k"] as const).flatMap((of) =>
        groups[of].map((a): ProductAxis => ({ name: a.v, size: maxOf(a.extent), of })),
      );
      const [a, b, c] = [side([...n.batch, ...n.m, ...n.k], loadsOf([n.a])), side([...n.batch, ...n.n, ...n.k], loadsOf([n.b])), result(n)];
      return a && b && c ? [{ nest: n.name, calls: times, axes, a, b, c }] : [];
    }),
  );
}
const result = (n: Contract) => side([...n.batch, ...n.m, ...n.n], n.stores);

interface Access {
  readonly buffer: Buffer;
  readonly index: readonly Expr[];
}
/** The first access that walks exactly these axes, each by an axis of the buffer. */
function side(axes: readonly Axis[], accesses: readonly Access[]): ProductSide | null {
  const wanted = new Set(axes.map((a) => a.v));
  for (const { buffer, index } of accesses) {
    const step = strides(buffer);
    const found = index.flatMap((e, i) =>
      e.kind === "var" && wanted.has(e.name) ? [{ v: e.name, step: step[i] as number, axis: buffer.axes[i]?.name ?? "" }] : [],
    );
    if (found.length !== wanted.size || new Set(found.map((f) => f.v)).size !== wanted.size) continue;
    const ordered = found.sort((x, y) => y.step - x.step);
    return { order: ordered.map((f) => f.v), buffer, axes: ordered.map((f) => f.axis) };
  }
  return null;
}
