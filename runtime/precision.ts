// Precision as a policy: what floats are stored as, by what they are for. Arithmetic is f32 in every case (f64 in the oracle);
// a value is rounded to nearest, ties to even, where it is stored, and read as it is.
//
//   params   the weights
//   state    the optimizer's running averages, which have the axes of a weight
//   compute  what the forward pass makes by contractions and keeps for the backward pass (compiler/graph/precision.ts)
//
// Rounding is part of the program's meaning and stands in the graph as casts: the oracle rounds at the same places, and neither
// fusion nor scheduling moves it. Gradients, statistics, masks, the residual stream and the loss are f32 throughout.
//
// Note [Small steps]. A weight of 8 bits of mantissa moves by 2⁻⁸ of itself or not at all: rounded to nearest, a step of less
// than half that vanishes, and near the end of training all steps are smaller. Two remedies are standard: an f32 master copy among
// the optimizer's state, which the step moves and the stored weight is rounded from (Micikevicius 2018), and stochastic
// rounding, up with the probability of the part that is cut off, so that the mean of the steps is right (Gupta 2015).
import { type Either, left, right } from "fp-ts/lib/Either.js";
import { cast, leaf as makeLeaf, map, random } from "../dsl/build.js";
import { ArgumentError, quote } from "../dsl/errors.js";
import type { Storage } from "../dsl/index.js";
import { storages } from "../dsl/model.js";
import type { Leaf, Node, Shape } from "../dsl/node.js";
import { arg, call, constant, type Scalar } from "../dsl/scalar.js";

export { type Storage, storages };
/** How a weight of half width takes a step that is smaller than its own spacing. */
export const UPDATES = {
  master: "the optimizer moves an f32 copy among its state, and the weight is that copy rounded",
  stochastic: "rounded up or down by chance, so that the mean is right; no copy",
  nearest: "rounded to nearest: steps below half a unit of the last place are lost",
} as const;
export type WeightUpdate = keyof typeof UPDATES;

export interface Precision {
  readonly compute: Storage;
  readonly params: Storage;
  readonly state: Storage;
  /** Counts for weights of half width alone. */
  readonly update: WeightUpdate;
}
export const FULL: Precision = { compute: "f32", params: "f32", state: "f32", update: "master" };

/** The whole policy; what is left out is f32, and half weights have a master copy. Throws ArgumentError for what is none. */
export function precisionOf(given: Partial<Precision> | Readonly<Record<string, string>> = {}): Precision {
  const known = Object.keys(FULL);
  for (const [key, value] of Object.entries(given)) {
    if (!known.includes(key)) throw new ArgumentError(`precision: there is no "${key}"`, `a policy has ${quote(known)}`);
    const choices: readonly string[] = key === "update" ? Object.keys(UPDATES) : storages;
    if (!choices.includes(value)) throw new ArgumentError(`precision: ${key} is ${JSON.stringify(value)}`, `it is one of ${quote(choices)}`);
  }
  return { ...FULL, ...given };
}
export const isFull = (p: Precision): boolean => p.compute === "f32" && p.params === "f32" && p.state === "f32";
export const hasMaster = (p: Precision): boolean => p.params !== "f32" && p.update === "master";
/** "f32", "bf16", or "params=bf16,state=f32,update=stochastic": a policy as a text. One storage alone is that of all three; f16's
 *  state stays f32, whose exponents a square of a gradient needs (f16 ends at 6e-8). Left says what is wrong with it. */
export function readPrecision(text: string): Either<string, Precision> {
  const whole = storages.find((s) => s === text);
  if (whole !== undefined) return right({ compute: whole, params: whole, state: whole === "f16" ? "f32" : whole, update: "master" });
  const given: Record<string, string> = {};
  for (const part of text.split(",")) {
    const [key, value, ...more] = part.split("=").map((x) => x.trim());
    if (!key || !value || more.length > 0) return left(`"${part.trim()}" is no part of a policy`);
    if (key in given) return left(`"${key}" is given twice`);
    given[key] = value;
  }
  try {
    return right(precisionOf(given)); // checked there
  } catch (e) {
    if (e instanceof ArgumentError) return left(e.what.replace(/^precision: /, ""));
    throw e;
  }
}
/** "params bf16 with an f32 master, state f32, compute bf16". */
export function precisionText(p: Precision): string {
  const how = { master: " with an f32 master", stochastic: ", rounded stochastically", nearest: ", rounded to nearest" }[p.update];
  return `params ${p.params}${p.params === "f32" ? "" : how}, state ${p.state}, compute ${p.compute}`;
}

const axesKey = (s: Shape): string =>
  Object.entries(s)
    .map(([a, e]) => `${a} ${typeof e === "number" ? e : e.id}`)
    .sort()
    .join();
/** What a leaf of the optimizer's state is stored as: running averages have the axes of a weight; what is smaller (factors,
 *  counters, norms) is worth no bytes, and stays f32. */
export function stateStorage(p: Precision, params: readonly Leaf[]): (value: Node) => Node["dtype"] {
  const weights = new Set(params.map((l) => axesKey(l.axes)));
  return (n) => (n.dtype === "f32" && Object.keys(n.axes).length > 0 && weights.has(axesKey(n.axes)) ? p.state : n.dtype);
}
export const masterName = (weight: string): string => `master.${weight}`;
/** The f32 copy of a weight, which has all that a rule asks of a weight. */
export const masterOf = (weight: Leaf): Leaf => makeLeaf("state", masterName(weight.name), weight.axes, "f32", weight.param);

/** The new value of a weight as it is stored; `step` counts the steps. */
export function storedWeight(x: Node, weight: Leaf, p: Precision, step: Node): Node {
  const { dtype } = weight;
  if ((dtype === "bf16" || dtype === "f16") && p.update === "stochastic") return stochastically(x, dtype, weight, step);
  return cast(x, dtype);
}

const FORMATS = {
  bf16: { round: "toBf16", bits: 8, least: 2 ** -133 },
  f16: { round: "toF16", bits: 11, least: 2 ** -24 },
} as const;
/** `x` rounded up with the probability of its distance from the neighbour below, from the neighbours' distance: unbiased. A
 *  draw is a function of the key, the step and the element alone, so that it is the same on every device and any number of
 *  threads. With r the nearest and n the other neighbour: n where u < (x − r)/(n − r), u uniform in [0, 1); both differences
 *  are exact. */
function stochastically(x: Node, dtype: "bf16" | "f16", weight: Leaf, step: Node): Node {
  const { round, bits, least } = FORMATS[dtype];
  const [v, r, u] = [arg("x"), call(round, arg("x")), arg("u")];
  // 5/8 to 5/4 of a unit away from r, on x's side: rounds to the neighbour there, also where units halve below a power of two.
  const apart = call("max", call("mul", call("abs", r), constant(1.25 * 2 ** -bits)), constant(0.75 * least));
  const other = call(round, call("add", r, call("mul", call("sign", call("sub", v, r)), apart)));
  const part = call("div", call("sub", v, r), call("sub", other, r));
  // Where x is r, or not finite, the quotient is no number, and the comparison false.
  const body: Scalar = call("select", call("lt", u, part), other, r);
  const draw = random("uniform", `rounding/${weight.name}`, [cast(step, "i32")], weight.axes);
  return cast(map({ x, u: draw }, { kind: "scalar", body }), dtype);
}
