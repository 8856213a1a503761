// Cases as small recipes, and the arrays that a recipe stands for. fast-check draws and shrinks the recipe: a few integers;
// the numbers follow from it, so that ten thousand cases cost little to draw, and what is left after shrinking is the
// simplest: unit matrices of one entry, scale 1, the first logit.
//
// Directions. In a case of kind "aligned" every weight is a product of unit vectors, one for each axis that the logits
// contract, the same vector wherever the axis stands, and inputs lie along it too: each matrix passes on to the next all
// that its norm allows, and a step along the gradient moves the logit by what the certificate says. Axes that tell heads
// apart have a factor each. "deficient": a sum of two such products of unlike size, in directions of their own; "dense": all
// entries at random.
import * as fc from "fast-check";
import { type LogitCase, type LogitTrials, type LogitWeight, randomNumbers } from "../index.js";

export const kinds = ["aligned", "deficient", "dense"] as const;
/** Where the step that is measured goes: along the logit's gradient, back along it, or anywhere. */
export const directions = ["along", "back", "anywhere"] as const;
export interface Recipe {
  readonly kind: (typeof kinds)[number];
  /** Heads' norms differ by powers of two, up to this one; by which, follows from `heads`. */
  readonly spread: number;
  readonly heads: number;
  /** Of all directions; 0: the first unit vectors. */
  readonly seed: number;
  readonly inputs: "aligned" | "anywhere";
  readonly step: (typeof directions)[number];
  /** Powers of two, by weight: norms at the start, at the step before, and now. */
  readonly start: readonly number[];
  readonly before: readonly number[];
  readonly now: readonly number[];
  /** Which logit, in 2⁻¹⁶ of their number. */
  readonly pick: number;
}
/** Powers of two of weights' norms: ±20 are twelve orders of magnitude, from 10⁻⁶ to 10⁶. */
export const scales = (range = 20): fc.Arbitrary<number> => fc.integer({ min: -range, max: range });

/** Recipes for a model of this many weights below its logits. */
export function recipes(weights: number, range = 20): fc.Arbitrary<Recipe> {
  const powers = fc.array(scales(range), { minLength: weights, maxLength: weights });
  return fc.record({
    kind: fc.constantFrom(...kinds),
    spread: fc.nat({ max: 6 }),
    heads: fc.nat({ max: 255 }),
    seed: fc.nat({ max: 2 ** 20 }),
    inputs: fc.constantFrom("aligned" as const, "aligned" as const, "anywhere" as const),
    step: fc.constantFrom("along" as const, "along" as const, "back" as const, "anywhere" as const),
    start: powers,
    before: powers,
    now: powers,
    pick: fc.nat({ max: 2 ** 16 - 1 }),
  });
}

/** A number for each text: FNV-1a. */
function hash(text: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}
/** Numbers in ±1. */
function anywhere(length: number, random: () => number): Float64Array {
  const out = new Float64Array(length);
  for (let i = 0; i < length; i++) out[i] = 2 * random() - 1;
  return out;
}
export function unitVector(length: number, random: () => number): Float64Array {
  const v = Float64Array.from({ length }, () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
  const norm = Math.hypot(...v);
  return v.map((x) => x / norm);
}

interface Layout {
  /** Of each element: its index along every axis. */
  readonly indices: readonly Int32Array[];
  readonly names: readonly string[];
}
const layouts = new WeakMap<object, Layout>();
function layoutOf(axes: Readonly<Record<string, number>>): Layout {
  const known = layouts.get(axes);
  if (known) return known;
  const names = Object.keys(axes);
  const total = names.reduce((p, a) => p * (axes[a] as number), 1);
  const indices = names.map(() => new Int32Array(total));
  for (let i = 0; i < total; i++) {
    let rest = i;
    for (let k = names.length - 1; k >= 0; k--) {
      (indices[k] as Int32Array)[i] = rest % (axes[names[k] as string] as number);
      rest = Math.floor(rest / (axes[names[k] as string] as number));
    }
  }
  const made = { indices, names };
  layouts.set(axes, made);
  return made;
}

/** The arrays of a recipe. */
export function caseOf(trials: Pick<LogitTrials, "weights" | "inputs">, r: Recipe): LogitCase {
  const vectors = new Map<string, Float64Array>();
  const vector = (axis: string, length: number, other = 0): Float64Array => {
    const key = `${axis} ${other}`;
    let v = vectors.get(key);
    if (!v) {
      v =
        r.seed === 0 ? Float64Array.from({ length }, (_, i) => (i === other % length ? 1 : 0)) : unitVector(length, randomNumbers(hash(key, r.seed)));
      vectors.set(key, v);
    }
    return v;
  };
  /** Products of the axes' vectors, those apart left out. */
  const product = (axes: Readonly<Record<string, number>>, apart: readonly string[], other = 0): Float64Array => {
    const { names, indices } = layoutOf(axes);
    const out = new Float64Array(indices[0]?.length ?? 1).fill(1);
    for (const [k, a] of names.entries()) {
      if (apart.includes(a)) continue;
      const v = vector(a, axes[a] as number, other);
      const at = indices[k] as Int32Array;
      for (let i = 0; i < out.length; i++) out[i] = (out[i] as number) * (v[at[i] as number] as number);
    }
    return out;
  };
  const shaped = (w: LogitWeight, time: string): Float64Array => {
    if (r.kind === "aligned") return product(w.axes, w.apart);
    if (r.kind === "deficient") {
      // The second product in a direction of the weight's own.
      const [first, second] = [product(w.axes, w.apart), product(w.axes, w.apart, 1 + (hash(w.path, 0) % 1000))];
      return first.map((x, i) => x + (second[i] as number) / 2);
    }
    return anywhere(w.slices.slice.length, randomNumbers(hash(`${w.path} ${time}`, r.seed)));
  };
  const at = (time: "start" | "before" | "now") =>
    Object.fromEntries(
      trials.weights.map((w, k) => {
        const random = randomNumbers(hash(`${w.path} ${time}`, r.heads));
        const scale = 2 ** (r[time][k] ?? 0);
        const heads = new Float64Array(w.slices.count);
        for (let h = 0; h < heads.length; h++) heads[h] = r.spread === 0 ? scale : scale * 2 ** -Math.floor((r.spread + 1) * random());
        const data = shaped(w, time);
        for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) * (heads[w.slices.slice[i] as number] as number);
        return [w.path, data];
      }),
    );
  const inputs = Object.fromEntries(
    trials.inputs.map((x) => {
      const positions = Object.keys(x.axes).filter((a) => !x.features.includes(a));
      if (r.inputs === "aligned") return [x.name, product(x.axes, positions)];
      return [x.name, unitPositions(x.axes, positions, randomNumbers(hash(`${x.name} inputs`, r.seed)))];
    }),
  );
  const random = randomNumbers(hash("steps", r.seed));
  const gradients = () => Object.fromEntries(trials.weights.map((w) => [w.path, anywhere(w.slices.slice.length, random)]));
  const made = {
    start: at("start"),
    before: at("before"),
    now: at("now"),
    inputs,
    pick: r.pick / 2 ** 16,
    sign: r.step === "back" ? (-1 as const) : (1 as const),
  };
  return r.step === "anywhere" ? { ...made, gradients: gradients() } : made;
}

/** A vector of norm 1 over the other axes at each position. */
export function unitPositions(axes: Readonly<Record<string, number>>, positions: readonly string[], random: () => number): Float64Array {
  const { names, indices } = layoutOf(axes);
  const out = anywhere(indices[0]?.length ?? 1, random);
  const place = out.map((_, i) =>
    names.reduce((p, a, k) => (positions.includes(a) ? p * (axes[a] as number) + ((indices[k] as Int32Array)[i] as number) : p), 0),
  );
  const squares = new Map<number, number>();
  for (const [i, x] of out.entries()) squares.set(place[i] as number, (squares.get(place[i] as number) ?? 0) + x * x);
  return out.map((x, i) => x / Math.sqrt(squares.get(place[i] as number) as number));
}
