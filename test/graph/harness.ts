// What the graph tests share: random leaves, evaluation on the oracle, and Jacobians by central differences.
import { runGraphPasses } from "../../compiler/pipeline.js";
import { grad as gradNode, leaf, map as mapNode } from "../../dsl/build.js";
import { sumOver } from "../../dsl/derivative/terms.js";
import { type Leaf, type Node, type Shape, UpTo } from "../../dsl/node.js";
import { arg, call } from "../../dsl/scalar.js";
import { evaluate } from "../../runtime/devices/js/oracle.js";

export type Env = Map<Leaf, Float64Array>;
export type Extents = ReadonlyMap<UpTo, number>;

/** A reproducible stream of numbers in [0, 1). */
export function numbers(seed: number): () => number {
  let s = seed >>> 0 || 1;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}
export const input = (axes: Shape, dtype: Leaf["dtype"] = "f32"): Leaf => leaf("input", "", axes, dtype);
export const param = (name: string, axes: Shape): Leaf => leaf("param", name, axes, "f32", { from: [], to: [], init: { std: 1 }, stacked: [] });
export const count = (axes: Shape, extents: Extents = new Map()): number =>
  Object.values(axes).reduce<number>((p, e) => p * (e instanceof UpTo ? (extents.get(e) as number) : e), 1);
/** Values in ±1.5 that are all apart, so that maxima are no ties. */
export function fill(l: Leaf, random: () => number, extents: Extents = new Map()): Float64Array {
  return Float64Array.from({ length: count(l.axes, extents) }, () => 3 * random() - 1.5);
}
export const right = <T>(e: { readonly _tag: "Left"; readonly left: unknown } | { readonly _tag: "Right"; readonly right: T }): T => {
  if (e._tag === "Left") throw e.left instanceof Error ? e.left : new Error(JSON.stringify(e.left, null, 1));
  return e.right;
};

/** The oracle's pipeline: every pass up to the gradients, verified in between. */
export function compute(roots: readonly Node[], env: Env, extents: Extents = new Map()): readonly Float64Array[] {
  const g = right(runGraphPasses(roots, { last: "grad", capture: { folder: null } }));
  return evaluate(g.roots, env, extents, g.originals);
}
/** What the targets compute: captured scalars, simplified. */
export function computeRead(roots: readonly Node[], env: Env, extents: Extents = new Map()): readonly Float64Array[] {
  const g = right(runGraphPasses(roots, { capture: { folder: null } }));
  return evaluate(g.roots, env, extents);
}

/** The graph after a pass of the compiled targets. */
export function after(pass: string, roots: readonly Node[]): readonly Node[] {
  let out: readonly Node[] = [];
  right(
    runGraphPasses(roots, {
      capture: { folder: null },
      watch: (name, g) => {
        if (name === pass) out = g.roots;
      },
    }),
  );
  return out;
}

/** A scalar loss that weighs every element of y differently, so that its gradient sees the whole Jacobian. */
export function weigh(y: Node, random: () => number, env: Env, extents: Extents = new Map()): Node {
  const w = input(y.axes);
  env.set(w, fill(w, random, extents));
  return sumOver(mapNode({ y, w }, { kind: "scalar", body: call("mul", arg("y"), arg("w")) }), Object.keys(y.axes));
}
export interface Difference {
  readonly expected: readonly number[];
  readonly got: readonly number[];
}
/** d(w·y)/dx for every element of each x (or about `sample` of them): the compiler's against central differences. */
export function compare(
  y: Node,
  xs: readonly Leaf[],
  env: Env,
  o: { readonly seed?: number; readonly extents?: Extents; readonly step?: number; readonly sample?: number } = {},
): Difference {
  const { extents = new Map(), step = 1e-5, sample = Infinity } = o;
  const random = numbers(o.seed ?? 7);
  const loss = weigh(y, random, env, extents);
  const grads = compute(
    xs.map((x) => gradNode(loss, x)),
    env,
    extents,
  );
  const got: number[] = [];
  const expected: number[] = [];
  const g = right(runGraphPasses([loss], { last: "grad", capture: { folder: null } }));
  const valueAt = () => evaluate(g.roots, env, extents, g.originals)[0]?.[0] as number;
  for (const [k, x] of xs.entries()) {
    const data = env.get(x) as Float64Array;
    if (grads[k]?.length !== data.length) throw new Error(`gradient of ${grads[k]?.length} elements for ${data.length}`);
    for (let i = 0; i < data.length; i += Math.max(1, Math.floor(data.length / sample))) {
      got.push(grads[k]?.[i] as number);
      const was = data[i] as number;
      data[i] = was + step;
      const up = valueAt();
      data[i] = was - step;
      const down = valueAt();
      data[i] = was;
      expected.push((up - down) / (2 * step));
    }
  }
  return { expected, got };
}
export function worst({ expected, got }: Difference): number {
  if (expected.length !== got.length) return Infinity;
  const scale = Math.max(1, ...expected.map(Math.abs));
  return expected.reduce((m, e, i) => Math.max(m, Number.isNaN(got[i]) ? Infinity : Math.abs(e - (got[i] as number)) / scale), 0);
}
