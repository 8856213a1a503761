// The matrix products of a training step, read off its plan: what it is a product of (a weight's forward pass, the gradient
// of its input, its own gradient), rows, columns and terms, and in which order the axes of both operands and of the result
// lie in memory. Products that are alike in all of these are measured once.
import { type PlanProduct, type ProductAxis, type ProductSide, productsOf } from "../index.js";
import type { MeasuredStep } from "../trainer.js";
import type { BlasTask } from "./peers.js";

export interface Shape {
  /** `wq, wk forward`, `gate, up dW`. */
  readonly label: string;
  /** In one step, layers included. */
  readonly calls: number;
  readonly axes: readonly ProductAxis[];
  /** From the slowest to the fastest axis in memory. */
  readonly a: readonly string[];
  readonly b: readonly string[];
  readonly c: readonly string[];
  readonly blas: BlasTask;
  /** Whether rows, columns and terms lie in memory as a library's matrices do: else OpenBLAS's operands are easier. */
  readonly plain: boolean;
}

type Plan = Parameters<typeof productsOf>[0];
export function shapesOf(own: Pick<MeasuredStep, "weights"> & { readonly program: { readonly plan: Plan | undefined } }): readonly Shape[] {
  const { plan } = own.program;
  if (!plan) return [];
  const weights = new Map(own.weights.flatMap((path) => (plan.state[path] ? [[plan.state[path], path] as const] : [])));
  const found = new Map<string, { readonly shape: Omit<Shape, "label" | "calls">; readonly names: Set<string>; calls: number }>();
  for (const p of productsOf(plan)) {
    const shape = shapeOf(p);
    const key = [...shape.axes.map((a) => `${a.of}${a.size}`), shape.a, shape.b, shape.c].join(";");
    const known = found.get(key) ?? { shape, names: new Set(), calls: 0 };
    known.names.add(roleOf(p, weights));
    known.calls += p.calls;
    found.set(key, known);
  }
  return [...found.values()].map(({ shape, names, calls }) => ({ ...shape, calls, label: labelOf([...names]) }));
}

/** `blocks.*.attention.wq` → `wq`. */
const last = (path: string) => path.split(".").at(-1) ?? path;
/** `wq forward`, `wq dX`, or `wq dW`. */
function roleOf(p: PlanProduct, weights: ReadonlyMap<ProductSide["buffer"], string>): string {
  const weight = [p.a, p.b].find((s) => weights.has(s.buffer));
  if (!weight) {
    const size = p.axes.filter((a) => p.c.order.includes(a.name)).reduce((n, a) => n * a.size, 1);
    // A gradient lies as its weight does: down's [ff, model] is not gate's [model, ff].
    const alike = [...weights].flatMap(([buffer, path]) => {
      const { axes } = buffer;
      const elements = axes.reduce((n, a) => n * Number(a.extent), 1);
      const own = axes.map((a) => a.name).filter((a) => p.c.axes.includes(a));
      return own.join() === p.c.axes.join() && elements % size === 0 ? [last(path)] : [];
    });
    return alike.length > 0 ? `${alike.join("/")} dW` : `${p.nest} dW`;
  }
  const { axes } = weight.buffer;
  const summed = new Set(p.axes.filter((a) => a.of === "k").map((a) => a.name));
  const side = weight.order.flatMap((name, i) => (summed.has(name) ? [weight.axes[i] ?? ""] : []));
  const path = weights.get(weight.buffer) as string;
  // A weight is declared from its input's axes to its output's. An embedding stands the other way round: it is looked up by its
  // first axis, and multiplied as the output layer along its last.
  const inner = weight.axes[0];
  const forward = path === "embed" ? side.includes(axes.at(-1)?.name ?? "") : inner !== undefined && side.includes(inner);
  return `${last(path)} ${forward ? "forward" : "dX"}`;
}
/** `wq forward`, `wk forward` → `wq, wk forward`. */
function labelOf(names: readonly string[]): string {
  const by = new Map<string, string[]>();
  for (const n of names) {
    const at = n.lastIndexOf(" ");
    by.set(n.slice(at + 1), [...(by.get(n.slice(at + 1)) ?? []), n.slice(0, at)]);
  }
  return [...by].map(([role, of]) => `${[...new Set(of.flatMap((x) => x.split("/")))].join(", ")} ${role}`).join("; ");
}

/** Rows are those of the result as it lies in memory: where its columns are the slower axes, the product is read transposed. */
export function shapeOf(
  p: Pick<PlanProduct, "axes"> & { readonly [S in "a" | "b" | "c"]: Pick<ProductSide, "order"> },
): Omit<Shape, "label" | "calls"> {
  const index = new Map(p.axes.map((a, i) => [a.name, i]));
  const given = new Map(p.axes.map((a) => [a.name, a]));
  const turned = given.get(p.c.order.at(-1) ?? "")?.of === "m";
  const role = (a: ProductAxis): ProductAxis["of"] => (!turned || a.of === "k" || a.of === "batch" ? a.of : a.of === "m" ? "n" : "m");
  // Names that say no more than the place, so that equal shapes are equal.
  const named = (name: string) => `x${index.get(name)}`;
  const axes = p.axes.map((a) => ({ name: named(a.name), size: a.size, of: role(a) }));
  const [a, b] = turned ? [p.b.order.map(named), p.a.order.map(named)] : [p.a.order.map(named), p.b.order.map(named)];
  const c = p.c.order.map(named);
  const of = (name: string) => axes.find((x) => x.name === name)?.of;
  const size = (what: ProductAxis["of"]) => axes.reduce((n, x) => (x.of === what ? n * x.size : n), 1);
  /** Whether a matrix's two groups of axes lie one behind the other. */
  const whole = (order: readonly string[]) => order.filter((x, i) => of(x) !== "batch" && i > 0 && of(x) !== of(order[i - 1] as string)).length <= 1;
  return {
    ...{ axes, a, b, c },
    blas: { batch: size("batch"), m: size("m"), n: size("n"), k: size("k"), ta: of(a.at(-1) ?? "") === "m", tb: of(b.at(-1) ?? "") === "k" },
    plain: [a, b, c].every(whole),
  };
}
