// Random values for a check: reproducible from a seed, exact in the input's storage, so that device and oracle start from
// the same numbers.
import { type Leaf, type Shape, UpTo } from "../../dsl/node.js";
import { evaluate } from "../../dsl/primitives.js";

/** A stream of numbers in [0, 1) (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Range = readonly [from: number, to: number];
export type ExtentsByName = Readonly<Record<string, number>>;
export const sizesAt = (axes: Shape, extents: ExtentsByName): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(axes).map(([a, e]) => [a, e instanceof UpTo ? (extents[e.name] ?? e.max) : e]));
export const countAt = (axes: Shape, extents: ExtentsByName): number => Object.values(sizesAt(axes, extents)).reduce((n, e) => n * e, 1);

const REALS: Range = [-1.5, 1.5];

/** `whole`: the greatest integer, where no range is given: they are positions, lengths or numbers of documents. */
export function drawn(leaf: Leaf, random: () => number, extents: ExtentsByName, whole: number, range?: Range): Float64Array {
  const make = (f: () => number) => Float64Array.from({ length: countAt(leaf.axes, extents) }, f);
  const [from, to] = range ?? (leaf.dtype === "i32" ? [0, whole] : REALS);
  switch (leaf.dtype) {
    case "bool":
      return make(() => (random() < 0.6 ? 1 : 0));
    case "i32":
      return make(() => Math.ceil(from) + Math.floor(random() * (Math.floor(to) - Math.ceil(from) + 1)));
    case "bf16":
      return make(() => Number(evaluate("toBf16", [from + (to - from) * random()])));
    case "f16":
      return make(() => Number(evaluate("toF16", [from + (to - from) * random()])));
    case "f32":
      return make(() => Math.fround(from + (to - from) * random()));
    case "f64":
      return make(() => from + (to - from) * random());
  }
}

/** `query 3, key 17`, of an element's number. */
export function coordinates(axes: Shape, extents: ExtentsByName, element: number): string {
  const sizes = Object.entries(sizesAt(axes, extents));
  const out: string[] = [];
  let rest = element;
  for (const [axis, size] of sizes.reverse()) {
    out.unshift(`${axis} ${rest % size}`);
    rest = Math.floor(rest / size);
  }
  return out.join(", ");
}
