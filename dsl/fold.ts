// fold and scan over tuple monoids, and the reductions that are instances of them.

import { product } from "./arith.js";
import { call } from "./arrows.js";
import * as build from "./build.js";
import { ArgumentError, ArrowError, AxisError, quote } from "./errors.js";
import { lift } from "./map.js";
import { everywhere, identityOf, noIdentity, notCommutative, type Operation, showCarrier, showNoIdentity } from "./monoid-laws.js";
import { didYouMean } from "./nearest.js";
import type { Arrow, MonoidBody, Node } from "./node.js";
import { UpTo } from "./node.js";
import * as scalar from "./scalar.js";
import { agree, describe, handle, need, needSome, pick, realOf } from "./tensor.js";
import type { Axes, AxesAt, Contract, Drop, Indices, Join, NamesIn, Real, Tensor } from "./types.js";

export type Carrier = { readonly [name: string]: number };
/** fp-ts's own shape. */
export interface Monoid<C extends Carrier> {
  readonly empty: C;
  readonly concat: (x: C, y: C) => C;
}
/** A tuple monoid: its identity, and a closed arrow that combines two. Associative; several axes at once need it
 *  commutative too. */
export function monoid<C extends { readonly [name: string]: number }>(
  empty: C,
  concat: (x: Indices<C>, y: Indices<C>) => Indices<C>,
): Monoid<Indices<C>> {
  const made = { empty, concat };
  lawful("monoid", made);
  return made;
}
const checked = new WeakSet<object>();
/** Numbers, an operation on all of them, and an identity: every fold begins with it, and one over nothing gives it. */
function lawful(what: string, m: Operation): void {
  if (checked.has(m)) return;
  const components = Object.keys(m.empty);
  for (const [c, v] of Object.entries<unknown>(m.empty))
    if (typeof v !== "number") throw new ArgumentError(`${what}: component "${c}" is ${describe(v)}; a number is wanted`);
  const one = Object.fromEntries(components.map((c) => [c, 1]));
  const out = call(what, m.concat, [one, one]);
  if (typeof out !== "object" || out === null)
    throw new ArrowError(`${what}: the operation gives ${describe(out)}; a record of ${quote(components)} is wanted`);
  for (const c of components)
    if (typeof Reflect.get(out, c) !== "number")
      throw new ArrowError(`${what}: the operation forgets component "${c}"`, `it gives ${quote(Object.keys(out))}`);
  const wrong = everywhere((of) => noIdentity(m, of));
  if (wrong) {
    const right = identityOf(m);
    throw new ArrowError(
      `${what}: ${showCarrier(m.empty)} is no identity of the operation: ${showNoIdentity(m, wrong)}`,
      right ? `it is ${showCarrier(right)}` : "the identity leaves every value as it is: 0 for a sum, 1 for a product, -Infinity for a maximum",
    );
  }
  checked.add(m);
}

// What a component is called does not matter to its meaning; one object a monoid, so that equal folds are one node.
const plus = monoid({ x: 0 }, (a, b) => ({ x: a.x + b.x }));
const times = monoid({ x: 1 }, (a, b) => ({ x: a.x * b.x }));
const greatest = monoid({ x: -Infinity }, (a, b) => ({ x: Math.max(a.x, b.x) }));
const least = monoid({ x: Infinity }, (a, b) => ({ x: Math.min(a.x, b.x) }));
/** The greatest value and its lowest index; 2²⁴ − 1 is beyond every index, and exact on every device. */
const firstGreatest = monoid({ v: -Infinity, i: 16777215 }, (a, b) => {
  const left = a.v > b.v || (a.v === b.v && a.i <= b.i);
  return { v: left ? a.v : b.v, i: left ? a.i : b.i };
});
/** Monoid<C> is invariant in C; here any monoid will do. */
const bodyOf = (m: { readonly empty: Carrier; readonly concat: Arrow }): MonoidBody => ({ empty: m.empty, combine: { kind: "arrow", fn: m.concat } });

/** Fold one node by a monoid of one component. */
const reduceBy = (x: Node, m: Monoid<{ x: number }>, over: readonly string[]): Node => build.fold({ x }, bodyOf(m), over).x as Node;
export const sumOf = (x: Node, over: readonly string[]): Node => reduceBy(x, plus, over);
export const maxOf = (x: Node, over: readonly string[]): Node => reduceBy(x, greatest, over);

/** Components by the monoid's names, each a tensor of numbers. */
function components(what: string, xs: unknown, m: Monoid<Carrier>): Record<string, Node> {
  if (typeof xs !== "object" || xs === null) throw new ArgumentError(`${what}: the components are ${describe(xs)}; a record is wanted`);
  if (typeof m !== "object" || m === null || typeof m.concat !== "function" || typeof m.empty !== "object" || m.empty === null)
    throw new ArgumentError(`${what}: its second argument is ${describe(m)}, no monoid`, "monoid(empty, (x, y) => …)");
  lawful(what, m);
  const wanted = Object.keys(m.empty);
  for (const c of Object.keys(xs))
    if (!wanted.includes(c)) throw new ArgumentError(`${what}: the monoid has no component "${c}"`, `its components are ${quote(wanted)}`);
  const nodes = Object.fromEntries(
    wanted.map((c) => {
      if (!Object.hasOwn(xs, c)) throw new ArgumentError(`${what}: component "${c}" is missing`, `the monoid's components are ${quote(wanted)}`);
      return [c, realOf(Reflect.get(xs, c), `${what}: component "${c}"`)];
    }),
  );
  agree(what, nodes);
  return nodes;
}
const someHas = (what: string, nodes: Readonly<Record<string, Node>>, over: readonly string[]) => {
  const all = build.unite(Object.values(nodes).map((n) => n.axes));
  if (over.length === 0) throw new AxisError(`${what}: name at least one axis`, `the components have ${quote(Object.keys(all))}`);
  for (const o of over)
    if (!Object.hasOwn(all, o))
      throw new AxisError(
        `${what}: no axis "${o}" in ${build.showShape(all)}`,
        `${didYouMean(o, Object.keys(all))}the components have ${quote(Object.keys(all))}`,
      );
};

const commutes = new WeakSet<object>();
/** Several axes have no order among them, so the monoid must commute. */
function commutative(what: string, m: Operation, over: readonly string[]): void {
  if (commutes.has(m)) return;
  const wrong = everywhere((of) => notCommutative(m, of));
  if (wrong) {
    const [x, y] = wrong.of.map(showCarrier);
    const [xy, yx] = wrong.results.map(showCarrier);
    throw new ArrowError(
      `${what}: over several axes (${quote(over)}) the monoid must commute, and this one does not: ${x} and ${y} give ${xy}, the other way round ${yx}`,
      "fold the axes one after another, innermost first",
    );
  }
  commutes.add(m);
}

/** Each component keeps its own axes: the (m, l, o) of online softmax has `value` in o alone. */
// biome-ignore lint/suspicious/noExplicitAny: a bound to infer from; the axes are checked by name
export function fold<C extends Carrier, const I extends { readonly [K in keyof C]: Tensor<any, Real> }, N extends NamesIn<I> & string>(
  xs: I,
  m: Monoid<C>,
  ...over: [N, ...N[]]
): { readonly [K in keyof I]: Tensor<Drop<AxesAt<I, K>, N>> } {
  const carrier: Monoid<Carrier> = handle(m); // Monoid<C> is invariant in C; here it is only called with all components
  const nodes = components("fold", xs, carrier);
  someHas("fold", nodes, over);
  if (over.length > 1) commutative("fold", carrier, over);
  return handle(build.fold(nodes, bodyOf(carrier), over));
}
export type Prefix = { readonly exclusive?: boolean; readonly reverse?: boolean };
/** The running fold along one axis: inclusive, or exclusive (begins with the identity); `reverse` runs from the end. */
// biome-ignore lint/suspicious/noExplicitAny: a bound to infer from; the axes are checked by name
export function scan<C extends Carrier, const I extends { readonly [K in keyof C]: Tensor<any, Real> }, N extends NamesIn<I> & string>(
  xs: I,
  m: Monoid<C>,
  over: N,
  o?: Prefix,
): { readonly [K in keyof I]: Tensor<AxesAt<I, K>> } {
  const carrier: Monoid<Carrier> = handle(m); // as in fold
  const nodes = components("scan", xs, carrier);
  someHas("scan", nodes, [over]);
  for (const [c, n] of Object.entries(nodes))
    if (!Object.hasOwn(n.axes, over))
      throw new AxisError(
        `scan: component "${c}" lacks axis "${over}"`,
        "every component runs along it: give it the axis, for example by map with another input",
      );
  return handle(build.scan(nodes, bodyOf(carrier), over, o));
}

/** Σ a·b over the named axes, which both must have. */
export function dot<A extends Axes, B extends Axes, N extends keyof A & keyof B & string>(
  a: Tensor<A, Real>,
  b: Join<A, B, Tensor<B, Real>>,
  ...over: [N, ...N[]]
): Tensor<Contract<A, B, N>, "f32"> {
  const left = realOf(a, "dot: the left side");
  const right = realOf(b, "dot: the right side");
  needSome("dot: the left side", left, over);
  needSome("dot: the right side", right, over);
  agree("dot", { left, right });
  return handle(sumOf(product(left, right), over));
}

/** At least one axis: "all axes" would mean other axes once a formula is lifted. */
export type Reduce = <A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, ...over: [N, ...N[]]) => Tensor<Drop<A, N>, "f32">;
/** A reduction of one tensor, with the checks that all have. */
export const reduction =
  (what: string, f: (x: Node, over: readonly string[]) => Node): Reduce =>
  (x, ...over) => {
    const n = realOf(x, `${what}: its first argument`);
    needSome(what, n, over);
    return handle(f(n, over));
  };
export const sum: Reduce = reduction("sum", sumOf);
export const max: Reduce = reduction("max", maxOf);
export const min: Reduce = reduction("min", (x, over) => reduceBy(x, least, over));
export const prod: Reduce = reduction("prod", (x, over) => reduceBy(x, times, over));

const shareOf = ({ x, n }: { x: number; n: number }) => x / n;
/** The sum over the count: a number or, where an extent is known only at run time, the sum of as many ones, so that the
 *  bits are those of the same program at that size. */
export function meanOf(x: Node, over: readonly string[]): Node {
  const running = pick(
    x.axes,
    over.filter((a) => x.axes[a] instanceof UpTo),
  );
  const n = over.reduce((p, a) => (a in running ? p : p * (x.axes[a] as number)), 1);
  const axes = Object.keys(running);
  if (axes.length === 0) return lift({ x: sumOf(x, over) }, shareOf, { n });
  const ones = build.map({}, { kind: "scalar", body: scalar.constant(n) }, "f32", running);
  return lift({ x: sumOf(x, over), n: sumOf(ones, axes) }, shareOf);
}
export const mean: Reduce = reduction("mean", meanOf);

const square = ({ x }: { x: number }) => x * x;
/** √, whose derivative at 0 is taken as 0: the least of the subgradients of a norm there. */
const root = ({ x }: { x: number }) => (x === 0 ? 0 : Math.sqrt(x));
export const norm: Reduce = reduction("norm", (x, over) => lift({ x: sumOf(lift({ x }, square), over) }, root));
export const meanSquare = (x: Node, over: readonly string[]): Node => meanOf(lift({ x }, square), over);

// exp(x − max(m, floor)): a row that is −∞ throughout gives 0, not NaN.
const shifted = ({ x, m }: { x: number; m: number }) => Math.exp(x - Math.max(m, -1e38));
const recip0 = ({ l }: { l: number }) => (l === 0 ? 0 : 1 / l);
const logOf = ({ l, m }: { l: number; m: number }) => (l === 0 ? -Infinity : Math.max(m, -1e38) + Math.log(l));
const rescaled = ({ e, r }: { e: number; r: number }) => e * r;
/** Softmax does not change when a row shifts, so its maximum may count as a constant: the gradient is exact. */
const exponentials = (x: Node, over: readonly string[]) => {
  const m = build.stop(maxOf(x, over));
  const e = lift({ x, m }, shifted);
  return { m, e, l: sumOf(e, over) };
};
export const softmaxOf = (x: Node, over: readonly string[]): Node => {
  const { e, l } = exponentials(x, over);
  return lift({ e, r: lift({ l }, recip0) }, rescaled);
};
export const logSumExpOf = (x: Node, over: readonly string[]): Node => {
  const { m, l } = exponentials(x, over);
  return lift({ l, m }, logOf);
};
/** −∞ for a row that is empty or masked throughout. */
export const logSumExp: Reduce = reduction("logSumExp", logSumExpOf);

/** The index of the greatest, the lowest where several are. */
export function argMax<A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, over: N): Tensor<Drop<A, N>, "i32"> {
  const v = realOf(x, "argMax: its first argument");
  need("argMax", v, [over]);
  const i = build.map({ v }, { kind: "scalar", body: scalar.index(over) });
  return handle(build.cast(build.fold({ v, i }, bodyOf(firstGreatest), [over]).i as Node, "i32"));
}
const running =
  (what: string, m: Monoid<{ x: number }>) =>
  <A extends Axes, N extends keyof A & string>(x: Tensor<A, Real>, over: N, o?: Prefix): Tensor<A, "f32"> => {
    const n = realOf(x, `${what}: its first argument`);
    need(what, n, [over]);
    return handle(build.scan({ x: n }, bodyOf(m), over, o).x);
  };
export const cumsum = running("cumsum", plus);
export const cumprod = running("cumprod", times);
