// model: a formula with parameters. Its parts are weights, gains, other models, and repetitions of models; the
// parameters of all of them form one tree, whose paths name them everywhere: rules, rates, checkpoints, messages.
import * as build from "./build.js";
import { ArgumentError, AxisError, quote } from "./errors.js";
import { applied, type Fitting, type Formula, type Given, type Inputs, type Lift, type Opened, type Result, read, type Specs } from "./formula.js";
import { type Key, keys } from "./leaves.js";
import type { DType, Node, ParamInfo, Shape } from "./node.js";
import { iterate, Repetition } from "./repeat.js";
import { scope, within } from "./scope.js";
import { agree, describe, fresh, handle, isNode, names, need, nodeOf, shapeOf } from "./tensor.js";
import { flatten, Layers, rebuild, samePaths } from "./tree.js";
import type { Agreeing, Axes, Sum, Tensor } from "./types.js";
import { stacked } from "./view.js";

export interface Param<A extends Axes = Axes> {
  readonly param: A;
}
export type Init = { readonly std?: number; readonly fill?: number };
/** A parameter as declared; its leaf is made when a model's tree is. */
class Declared {
  constructor(
    readonly param: Shape,
    readonly from: readonly string[],
    readonly to: readonly string[],
    readonly init: ParamInfo["init"],
  ) {}
}
const initial = (what: string, o: Init | undefined, usual: ParamInfo["init"]): ParamInfo["init"] => {
  if (o?.std !== undefined && o.fill !== undefined)
    throw new ArgumentError(`${what}: both std and fill are given`, "normal numbers of a deviation, or one number for all");
  if (o?.std !== undefined) {
    if (!(o.std >= 0)) throw new ArgumentError(`${what}: std is ${o.std}; a number of at least 0 is wanted`);
    return { std: o.std };
  }
  return o?.fill === undefined ? usual : { fill: o.fill };
};
/** A linear map from the axes `from` to the axes `to`, which is what rules on matrices and their scales need to know.
 *  Normal, std 0.02 unless said. */
export function weight<const A extends Axes, const B extends Axes>(from: A, to: B, init?: Init): Param<Sum<A, B>> {
  const [a, b] = [shapeOf("weight", from), shapeOf("weight", to)];
  fresh("weight: to", a, names(b));
  return handle(new Declared({ ...a, ...b }, names(a), names(b), initial("weight", init, { std: 0.02 })));
}
/** A parameter that is no matrix: gains, biases, tables. 1 throughout unless said. */
export function gain<const A extends Axes>(axes: A, init?: Init): Param<A> {
  return handle(new Declared(shapeOf("gain", axes), [], [], initial("gain", init, { fill: 1 })));
}

export interface Run {
  readonly key: Key;
  readonly train: boolean;
}
export interface Model<P, I, O> {
  readonly parts: P;
  readonly params: Params<P>;
  readonly inputs: I;
  /** The model with its own parameters. */
  readonly bound: Formula<I, O>;
  /** The model with these parameters: any tree of the same structure. */
  readonly apply: Bind<P, I, O>;
}
type Bind<P, I, O> = <const X extends Given<I>>(w: Params<P>, x: X & Fitting<I, O, X> & Agreeing<X>) => Lift<O, I, X>;
type AnyModel = { readonly parts: unknown; readonly inputs: unknown; readonly params: unknown; readonly bound: unknown };
export type Parts = { readonly [name: string]: Param | AnyModel | readonly AnyModel[] };
export type Params<P> = { readonly [K in keyof P]: Part<P[K], "params"> };
type Inside<P> = { readonly [K in keyof P]: Part<P[K], "bound"> }; // submodels arrive as formulas
type Part<T, As> = "param" extends keyof T ? Tensor<T["param"]> : number extends keyof T ? readonly Pick1<T[number], As>[] : Pick1<T, As>;
type Pick1<T, As> = T[As & keyof T];

/** `run` has the key under which this model draws random numbers (its own by path and layer), and whether it trains. */
export function model<const P extends Parts, const I extends Inputs, O extends Result>(
  parts: P,
  inputs: I,
  body: (x: Inside<P> & { readonly [K in keyof I]: Opened<I[K]> }, run: Run) => O,
): Model<P, I, O> {
  const specs = read("model", inputs);
  const both = Object.keys(specs).filter((k) => Object.hasOwn(parts, k));
  if (both.length > 0) throw new ArgumentError(`model: ${quote(both)} is both a part and an input`, "give one of them another name");
  for (const [k, p] of Object.entries(parts)) checkPart(k, p);
  return handle(new Definition(parts, inputs, specs, handle(body), { key: keys("model"), train: false }));
}
/** The same model, with the same parameters, as it runs in training: `run.train` is true, and random numbers follow
 *  `key` (extended by a step's number, they differ from step to step). */
export function withTraining<P, I, O>(m: Model<P, I, O>, key: Key = keys("train")): Model<P, I, O> {
  return handle(definition("withTraining", m).running({ key, train: true }));
}
/** What floats lie in memory as. Arithmetic is f32 whatever the storage. */
export const storages = ["f32", "bf16", "f16"] as const satisfies readonly DType[];
export type Storage = (typeof storages)[number];
/** The same model, its weights kept in memory as `dtype`: they are rounded (to nearest, ties to even) whenever they are
 *  written, and read as they are. Parameters of its own, of the same paths. */
export function withStorage<P, I, O>(m: Model<P, I, O>, dtype: Storage): Model<P, I, O> {
  if (!storages.includes(dtype))
    throw new ArgumentError(`withStorage: ${quote([String(dtype)])} is no storage of weights`, `there are ${quote(storages)}`);
  return handle(definition("withStorage", m).storing(dtype));
}

// ── at run time ──────────────────────────────────────────────────────────────────────────────────────
type Values = Readonly<Record<string, unknown>>;
type Body = (x: Values, run: Run) => Node | Readonly<Record<string, Node>>;
interface Context extends Run {
  readonly path: string;
}
class Definition {
  #params: unknown;
  constructor(
    readonly parts: Values,
    readonly inputs: unknown,
    readonly specs: Specs,
    readonly body: Body,
    readonly run: Run,
    readonly origin?: Definition,
    readonly storage: Storage = "f32",
  ) {}
  /** Made once: two readings are the same leaves. */
  get params(): unknown {
    if (this.origin) return this.origin.params;
    this.#params ??= leaves(this.parts, "", {}, this.storage);
    return this.#params;
  }
  get bound(): unknown {
    return bind(this, () => this.params, { ...this.run, path: "" });
  }
  get apply(): unknown {
    // Within another model's body, what it labels stands there.
    return (w: unknown, x: unknown) => apply(this, w, { ...this.run, path: scope().path }, x);
  }
  running(run: Run): Definition {
    return new Definition(this.parts, this.inputs, this.specs, this.body, run, this.origin ?? this, this.storage);
  }
  storing(storage: Storage): Definition {
    return storage === this.storage ? this : new Definition(this.parts, this.inputs, this.specs, this.body, this.run, undefined, storage);
  }
}
const definition = (what: string, m: unknown): Definition => {
  if (m instanceof Definition) return m;
  throw new ArgumentError(`${what}: ${describe(m)} is no model`);
};
function checkPart(key: string, part: unknown): void {
  const ok =
    part instanceof Declared ||
    part instanceof Definition ||
    (part instanceof Repetition ? part.part instanceof Definition : Array.isArray(part) && part.every((p) => p instanceof Definition));
  if (!ok) throw new ArgumentError(`model: part "${key}" is ${describe(part)}`, "parts are weight(…), gain(…), models, and repeat(n, model)");
  if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key))
    throw new ArgumentError(`model: "${key}" is no name for a part`, "an identifier is: it becomes a path element, and a repeated part's axis");
}

/** The tree of parameter leaves below these parts. */
function leaves(parts: Values, path: string, layers: Shape, storage: Storage): unknown {
  const below = (key: string) => (path === "" ? key : `${path}.${key}`);
  return Object.fromEntries(
    Object.entries(parts).map(([key, part]) => {
      if (part instanceof Declared) {
        fresh(`model: weight "${below(key)}"`, layers, names(part.param));
        const info: ParamInfo = { from: part.from, to: part.to, init: part.init, stacked: names(layers) };
        return [key, build.leaf("param", below(key), { ...layers, ...part.param }, storage, info)];
      }
      if (part instanceof Definition) return [key, leaves(part.parts, below(key), layers, storage)];
      if (part instanceof Repetition) {
        fresh(`model: the layers of "${below(key)}"`, layers, [key]);
        const one = leaves(definition("model", part.part).parts, `${below(key)}.*`, { ...layers, [key]: part.count }, storage);
        return [key, new Layers(key, part.count, one)];
      }
      return [key, (part as readonly Definition[]).map((p, i) => leaves(p.parts, `${below(key)}.${i}`, layers, storage))]; // checkPart
    }),
  );
}

/** A model's formula, given where its parameters come from. */
const bind = (m: Definition, w: () => unknown, c: Context): unknown => Object.assign((x: unknown) => apply(m, w(), c, x), { inputs: m.inputs });

function apply(m: Definition, w: unknown, c: Context, given: unknown): unknown {
  const what = c.path === "" ? "model" : `model ${c.path}`;
  const parts = bindAll(what, m, w, c);
  return applied(what, m.specs, given, (x) =>
    within({ path: c.path, inputs: Object.values(x) }, () => m.body({ ...parts, ...x }, { key: c.key, train: c.train })),
  );
}
function bindAll(what: string, m: Definition, w: unknown, c: Context): Values {
  if (typeof w !== "object" || w === null || isNode(w))
    throw new ArgumentError(
      `${what}: the parameters are ${isNode(w) ? "one tensor" : describe(w)}; a tree of ${quote(Object.keys(m.parts))} is wanted`,
    );
  return Object.fromEntries(
    Object.entries(m.parts).map(([key, part]) => {
      const own: unknown = Reflect.get(w, key);
      if (own === undefined) throw new ArgumentError(`${what}: the parameters lack "${key}"`, `they are ${quote(Object.keys(m.parts))}`);
      const inner = { path: c.path === "" ? key : `${c.path}.${key}`, key: c.key(key), train: c.train };
      if (part instanceof Declared) return [key, weightOf(what, key, part, own)];
      if (part instanceof Definition) return [key, bind(part, () => own, inner)];
      if (part instanceof Repetition)
        return [key, new Stack(key, part.count, definition(what, part.part), layersOf(what, key, part.count, own), inner)];
      return [
        key,
        (part as readonly Definition[]).map((p, i) =>
          bind(p, () => (own as readonly unknown[])[i], { ...inner, path: `${inner.path}.${i}`, key: inner.key(String(i)) }),
        ),
      ]; // checkPart
    }),
  );
}
function weightOf(what: string, key: string, part: Declared, own: unknown): Node {
  const n = nodeOf(own, `${what}: weight "${key}"`);
  need(`${what}: weight "${key}"`, n, names(part.param));
  agree(`${what}: weight "${key}"`, { given: n, declared: { ...n, axes: part.param } });
  return n;
}
/** Layers as they are, or an array of trees, one a layer, stacked. */
function layersOf(what: string, axis: string, count: number, own: unknown): Layers {
  if (own instanceof Layers) {
    if (own.count !== count) throw new ArgumentError(`${what}: "${axis}" has ${own.count} layers; ${count} are wanted`);
    return own;
  }
  if (!Array.isArray(own) || own.length !== count)
    throw new ArgumentError(`${what}: "${axis}" is ${Array.isArray(own) ? `an array of ${own.length}` : describe(own)}; ${count} layers are wanted`);
  const trees = own.map((t) => flatten(t));
  const first = trees[0];
  if (!first) throw new AxisError(`${what}: "${axis}" has no layer to take shapes from`);
  for (const t of trees) samePaths(`${what}: the layers of "${axis}"`, first, t);
  return new Layers(
    axis,
    count,
    rebuild(
      own[0],
      first.map(({ node }, i) =>
        stacked(
          axis,
          trees.map((t) => (t[i] as { readonly node: Node }).node),
          node.dtype,
        ),
      ),
    ),
  );
}

/** The layers of a repeated part inside a body: an array of formulas. `reduce` with a start is one loop; the other
 *  array methods see each layer's own formula. */
class Stack extends Array<unknown> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
  readonly #axis: string;
  readonly #part: Definition;
  readonly #layers: Layers;
  readonly #context: Context;
  constructor(axis: string, count: number, part: Definition, layers: Layers, context: Context) {
    super(count);
    this.#axis = axis;
    this.#part = part;
    this.#layers = layers;
    this.#context = context;
    for (let i = 0; i < count; i++) {
      const own = { path: `${context.path}.${i}`, key: context.key(handle(build.constant(i, "i32"))), train: context.train };
      Object.defineProperty(this, i, { enumerable: true, get: () => bind(part, () => layers[i], own) });
    }
  }
  override reduce(f: (...x: never[]) => unknown, ...init: readonly unknown[]): unknown {
    if (init.length === 0) throw new ArgumentError(`model: reduce over "${this.#axis}" has no start`, "blocks.reduce((x, block) => block({ x }), x)");
    if (f.length > 2)
      throw new ArgumentError(
        `model: reduce over "${this.#axis}" runs its function once for all layers, so there is no layer's number`,
        "[...blocks].reduce(…) writes every layer out, each with its number",
      );
    const { path, key, train } = this.#context;
    return iterate(this.#axis, this.length, init[0], this.#layers.stacked, (state, slice, counter) => {
      const layer = bind(this.#part, () => slice, { path: `${path}.*`, key: key(handle(counter)), train });
      return Reflect.apply(f, undefined, [state, layer]);
    });
  }
}
