// Sizes and values for a sample. Sizes come in rounds: extents 0 (one axis a run, by the seed), 1, primes, and the tiles of the
// recipes less one, as they are, and plus one. Inputs are stored as the round says, so that every operation reads every
// element type; values are exact in that type.
import { leaf } from "../../dsl/build.js";
import type { DType, Leaf, Shape } from "../../dsl/node.js";
import { evaluate } from "../../dsl/primitives.js";
import { type Env, input, numbers } from "../graph/harness.js";

export type Storage = "f32" | "bf16" | "f16" | "i32";
export type Round = { readonly storage: Storage; readonly seed: number } & (
  | { readonly kind: "zero"; readonly which: number }
  | { readonly kind: "one" }
  | { readonly kind: "prime" }
  | { readonly kind: "tile"; readonly delta: -1 | 0 | 1 }
);
/** What every sample runs at. */
export const rounds = (seed: number): readonly Round[] => [
  { kind: "zero", which: seed % 3, storage: "f32", seed },
  { kind: "one", storage: seed % 2 ? "f16" : "bf16", seed: seed + 1 },
  { kind: "prime", storage: "i32", seed: seed + 2 },
  { kind: "tile", delta: -1, storage: "bf16", seed: seed + 3 },
  { kind: "tile", delta: 0, storage: "f32", seed: seed + 4 },
  { kind: "tile", delta: 1, storage: "f16", seed: seed + 5 },
];
export const showRound = (r: Round): string =>
  `${r.kind === "zero" ? `zero ${r.which}` : r.kind === "tile" ? `tile${r.delta < 0 ? "-1" : r.delta > 0 ? "+1" : ""}` : r.kind}, ${r.storage}, seed ${r.seed}`;

const precision: { readonly [S in Storage]: (x: number) => number } = {
  f32: Math.fround,
  bf16: (x) => Number(evaluate("toBf16", [x])),
  f16: (x) => Number(evaluate("toF16", [x])),
  i32: Math.round,
};
const count = (axes: Shape) => Object.values(axes).reduce<number>((p, e) => p * (e as number), 1);

let weights = 0;
export class Draw {
  readonly env: Env = new Map();
  readonly #random: () => number;
  #sizes = 0;
  constructor(readonly round: Round) {
    this.#random = numbers(round.seed * 7919 + 17);
    for (let i = 0; i < 8; i++) this.#random();
  }
  next = (): number => this.#random();
  pick<T>(xs: readonly T[]): T {
    return xs[Math.floor(this.next() * xs.length)] as T;
  }
  /** An extent; `tiles` are those that a recipe has along such an axis. `least`: where a smaller one has no meaning. */
  size(tiles: readonly number[] = [6, 8], least = 0): number {
    const k = this.#sizes++;
    const r = this.round;
    const n =
      r.kind === "tile" ? this.pick(tiles) + r.delta : r.kind === "one" ? 1 : r.kind === "zero" && r.which === k ? 0 : this.pick([2, 3, 5, 7]);
    return Math.max(least, n);
  }
  #leaf(axes: Shape, dtype: DType, value: () => number): Leaf {
    const x = input(axes, dtype);
    this.env.set(x, Float64Array.from({ length: count(axes) }, value));
    return x;
  }
  /** Continuous values, stored as the round says (f32, if whole numbers have none in the range). */
  real(axes: Shape, [from, to]: readonly [number, number] = [-2, 2], storage: Storage = this.round.storage): Leaf {
    if (storage === "i32") {
      const [low, high] = [Math.ceil(from), Math.floor(to)];
      if (high > low) return this.#leaf(axes, "i32", () => low + Math.floor(this.next() * (high - low + 1)));
    }
    const round = precision[storage === "i32" ? "f32" : storage];
    return this.#leaf(axes, storage === "i32" ? "f32" : storage, () => {
      for (;;) {
        const x = round(from + (to - from) * this.next());
        if (x >= from && x <= to) return x;
      }
    });
  }
  /** Multiples of 1/4 in ±2: sums, products and comparisons of a few are exact, and ties occur. */
  exact(axes: Shape, storage: Storage = this.round.storage): Leaf {
    return this.#leaf(axes, storage, () => (storage === "i32" ? Math.floor(this.next() * 5) - 2 : (Math.floor(this.next() * 17) - 8) / 4));
  }
  /** A weight; its path is its own. */
  param(axes: Shape, from: readonly string[], to: readonly string[]): Leaf {
    const x = leaf("param", `w${weights++}`, axes, "f32", { from, to, init: { std: 1 }, stacked: [] });
    this.env.set(
      x,
      Float64Array.from({ length: count(axes) }, () => Math.fround(this.next() * 2 - 1)),
    );
    return x;
  }
  whole(axes: Shape, from: number, to: number): Leaf {
    return this.#leaf(axes, "i32", () => from + Math.floor(this.next() * (to - from + 1)));
  }
  mask(axes: Shape, share = 0.6): Leaf {
    return this.#leaf(axes, "bool", () => (this.next() < share ? 1 : 0));
  }
  /** No two equal: maxima have no ties. */
  distinct(axes: Shape): Leaf {
    const n = count(axes);
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    let k = 0;
    return this.#leaf(axes, "f32", () => ((order[k++] as number) - n / 2) / 8);
  }
}
