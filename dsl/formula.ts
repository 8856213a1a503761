// formula: the function abstraction. It names the axes it needs and lifts over every other: the body runs on the actual
// tensors, whose further axes flow through by name. What would not be a lift, an axis that the body itself uses up under
// the same name, is refused.
import * as build from "./build.js";
import { showExtent } from "./build.js";
import { ArgumentError, AxisError, DTypeError, quote } from "./errors.js";
import { closest, didYouMean } from "./nearest.js";
import type { DType, Node, Shape } from "./node.js";
import { agree, describe, handle, isNode, names, nodeOf } from "./tensor.js";
import type { Agreeing, AnyTensor, Axes, AxesAt, Named, NamesIn, Real, SizeAt, Sizes, Spaced, Str, Tensor } from "./types.js";

export interface Typed<S extends string, D extends DType> {
  readonly spec: S;
  readonly dtype: D;
}
/** The spec of an input of integers, of masks. */
export function ints<const S extends string>(axes: S): Typed<S, "i32"> {
  return { spec: axes, dtype: "i32" };
}
export function bools<const S extends string>(axes: S): Typed<S, "bool"> {
  return { spec: axes, dtype: "bool" };
}
export type Spec = string | Typed<string, DType>;
export type Opened<S> = S extends string ? Tensor<Spaced<S>, "f32"> : S extends Typed<infer T, infer D> ? Tensor<Spaced<T>, D> : never;
export type NamesOf<S> = S extends string ? Named<S> : S extends Typed<infer T, DType> ? Named<T> : never;
type DTypeOf<S> = S extends Typed<string, infer D> ? D : Real;
export type Result = AnyTensor | { readonly [name: string]: AnyTensor };
export type Given<I> = { readonly [K in keyof I]: { readonly axes: Axes; readonly dtype: DTypeOf<I[K]> } | (I[K] extends "" ? number : never) };
/** An error in the place of each input that lacks an axis it must have, or has one that the body sums over. */
export type Fitting<I, O, X> = {
  readonly [K in keyof X]: K extends keyof I ? Fit<K, NamesOf<I[K]>, keyof AxesAt<X, K>, Inner<I, O>> : `no input "${Str<K>}"`;
};
type Inner<I, O> = Exclude<NamesOf<I[keyof I]>, NamesOut<O>>;
type Fit<K, Wants, Has, Inner> = string extends Has ? unknown : Short<K, Exclude<Wants, Has>, Exclude<Has, Wants> & Inner>;
export type Short<K, Lacks, Captive> = [Lacks] extends [never]
  ? [Captive] extends [never]
    ? unknown
    : `input "${Str<K>}": the formula uses up "${Str<Captive>}" itself`
  : `input "${Str<K>}" lacks axis "${Str<Lacks>}"`;
type NamesOut<O> = "axes" extends keyof O ? keyof O["axes"] : NamesIn<O>;
type Extra<I, X> = { [K in keyof X]: K extends keyof I ? Exclude<keyof AxesAt<X, K>, NamesOf<I[K]>> : never }[keyof X];
/** The result's axes: the body's, with the sizes the inputs give them, and every axis the inputs have beside. */
export type Lift<O, I, X> = "axes" extends keyof O ? Lift1<O, I, X> : { readonly [K in keyof O]: Lift1<O[K], I, X> };
type Lift1<O, I, X> = Tensor<
  Lift2<AxesAt<{ o: O }, "o">, X, keyof AxesAt<{ o: O }, "o"> | Extra<I, X>, NamesIn<X>> & {},
  "dtype" extends keyof O ? O["dtype"] : never
>;
type Lift2<A, X, NN, Given> = { [N in NN & string]: N extends Given ? Sizes<X, N> & number : SizeAt<A, N> } & {};

export interface Formula<I, O> {
  <const X extends Given<I>>(x: X & Fitting<I, O, X> & Agreeing<X>): Lift<O, I, X>;
  readonly inputs: I;
}
export type Inputs = { readonly [name: string]: Spec };
export function formula<const I extends Inputs, O extends Result>(
  inputs: I,
  body: (x: { readonly [K in keyof I]: Opened<I[K]> }) => O,
): Formula<I, O> {
  const specs = read("formula", inputs);
  return handle(Object.assign((x: unknown) => applied("formula", specs, x, handle(body)), { inputs }));
}

// ── at run time ──────────────────────────────────────────────────────────────────────────────────────
export interface Wanted {
  readonly axes: readonly string[];
  /** Absent: any numbers. */
  readonly dtype?: DType;
}
export type Specs = Readonly<Record<string, Wanted>>;
/** "query dim" → its axes. */
export function read(what: string, inputs: unknown): Specs {
  if (typeof inputs !== "object" || inputs === null)
    throw new ArgumentError(`${what}: its inputs are ${describe(inputs)}; a record such as { q: "query dim" } is wanted`);
  const one = (name: string, spec: unknown): Wanted => {
    const text: unknown = typeof spec === "object" && spec !== null ? Reflect.get(spec, "spec") : spec;
    if (typeof text !== "string")
      throw new ArgumentError(
        `${what}: the axes of input "${name}" are ${describe(spec)}; names in one string are wanted`,
        '"query dim", or ints("time")',
      );
    const axes = text.split(/\s+/).filter((a) => a !== "");
    const twice = axes.find((a, i) => axes.indexOf(a) !== i);
    if (twice !== undefined) throw new AxisError(`${what}: input "${name}" names axis "${twice}" twice`);
    return typeof spec === "object" && spec !== null ? { axes, dtype: Reflect.get(spec, "dtype") as DType } : { axes }; // Typed's own field
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, spec]) => [name, one(name, spec)]));
}
type Body = (x: Readonly<Record<string, Node>>) => Node | Readonly<Record<string, Node>>;

/** The inputs as nodes: all there, no other, of the wanted type, with the wanted axes, agreeing in size. */
export function fitted(what: string, specs: Specs, given: unknown): Readonly<Record<string, Node>> {
  if (typeof given !== "object" || given === null || isNode(given))
    throw new ArgumentError(
      `${what}: the inputs are ${isNode(given) ? "one tensor" : describe(given)}; a record of ${quote(Object.keys(specs))} is wanted`,
    );
  for (const name of Object.keys(given))
    if (!Object.hasOwn(specs, name))
      throw new ArgumentError(`${what}: no input "${name}"`, `${didYouMean(name, Object.keys(specs))}its inputs are ${quote(Object.keys(specs))}`);
  const nodes: Record<string, Node> = {};
  for (const [name, wanted] of Object.entries(specs)) {
    if (!Object.hasOwn(given, name)) throw new ArgumentError(`${what}: input "${name}" is missing`, `its inputs are ${quote(Object.keys(specs))}`);
    const x: unknown = Reflect.get(given, name);
    const n = typeof x === "number" && wanted.axes.length === 0 ? build.constant(x, wanted.dtype ?? "f32") : nodeOf(x, `${what}: input "${name}"`);
    const lacks = wanted.axes.filter((a) => !Object.hasOwn(n.axes, a));
    if (lacks.length > 0)
      throw new AxisError(`${what}: input "${name}" lacks axis ${quote(lacks)}`, `it has ${quote(names(n.axes))}${misspelt(lacks, n, wanted.axes)}`);
    if (wanted.dtype ? n.dtype !== wanted.dtype : n.dtype === "bool")
      throw new DTypeError(
        `${what}: input "${name}" is ${n.dtype}; ${wanted.dtype ?? "numbers"} ${wanted.dtype ? "is" : "are"} wanted`,
        wanted.dtype === "i32" ? 'declare it as input(axes, "i32"), or use cast(x, "i32")' : undefined,
      );
    nodes[name] = n;
  }
  agree(what, nodes);
  return nodes;
}

/** Which of the axes that it has beside may be one that it lacks. */
function misspelt(lacks: readonly string[], n: Node, wanted: readonly string[]): string {
  const other = names(n.axes).filter((a) => !wanted.includes(a));
  const found = lacks.flatMap((a) => {
    const near = closest(a, other);
    return near === undefined ? [] : `${quote([near])} is near to ${quote([a])}`;
  });
  return found.length === 0 ? "" : `: ${found.join(", ")}`;
}

/** Lifts a body over what the inputs have beside their specs. An extra axis with the name of one that the specs use and
 *  the result lacks would be caught by the body; which those are, a run on the bare axes tells. */
export function applied(what: string, specs: Specs, given: unknown, body: Body): Node | Readonly<Record<string, Node>> {
  const nodes = fitted(what, specs, given);
  const used = new Set(Object.values(specs).flatMap((s) => s.axes));
  const extra = (name: string) => names((nodes[name] as Node).axes).filter((a) => !specs[name]?.axes.includes(a));
  const suspects = Object.keys(specs).filter((name) => extra(name).some((a) => used.has(a)));
  if (suspects.length > 0) {
    const inner = innerAxes(what, specs, nodes, body);
    for (const name of suspects) {
      const captive = extra(name).filter((a) => inner.has(a));
      if (captive.length > 0)
        throw new AxisError(
          `${what}: input "${name}": the formula uses up ${quote(captive)} itself (here of size ${captive.map((a) => showExtent((nodes[name] as Node).axes[a] ?? 0)).join(", ")})`,
          `it lifts over any other axis: rename ${quote(captive)} in "${name}" first`,
        );
    }
  }
  return results(what, body(nodes));
}
const results = (what: string, out: unknown): Node | Readonly<Record<string, Node>> => {
  if (isNode(out)) return out;
  if (typeof out !== "object" || out === null)
    throw new ArgumentError(`${what}: its body gives ${describe(out)}; a tensor or a record of tensors is wanted`);
  return Object.fromEntries(Object.entries(out).map(([k, v]) => [k, nodeOf(v, `${what}: result "${k}"`)]));
};
/** The axes of the specs that the result does not have. */
function innerAxes(what: string, specs: Specs, nodes: Readonly<Record<string, Node>>, body: Body): ReadonlySet<string> {
  const bare = Object.fromEntries(
    Object.entries(specs).map(([name, s]) => {
      const n = nodes[name] as Node;
      const axes: Shape = Object.fromEntries(s.axes.map((a) => [a, n.axes[a] ?? 0]));
      return [name, build.leaf("bound", name, axes, n.dtype)];
    }),
  );
  const out = results(what, body(bare));
  const has = new Set((isNode(out) ? [out] : Object.values(out)).flatMap((n) => names(n.axes)));
  return new Set(Object.values(specs).flatMap((s) => s.axes.filter((a) => !has.has(a))));
}
