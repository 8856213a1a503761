// The bounds of quack.md once more, in plain f64 over paths that are typed in as the tables have them: what the derived
// expressions are judged by. Nothing here comes from the compiler.
import type { LogitWeight } from "../../index.js";

export interface Path {
  readonly scale: number;
  readonly weights: readonly string[];
}
export type Arrays = Readonly<Record<string, Float64Array>>;
/** Indices of a logit along the axes that tell heads apart. */
export type Head = Readonly<Record<string, number>>;

/** The Frobenius norm of the part of a weight that has these indices. */
export function normAt(w: LogitWeight, data: Float64Array, head: Head): number {
  const names = Object.keys(w.axes);
  let sum = 0;
  for (const [flat, x] of data.entries()) {
    let rest = flat;
    let inside = true;
    for (const a of [...names].reverse()) {
      const i = rest % (w.axes[a] as number);
      rest = Math.floor(rest / (w.axes[a] as number));
      inside &&= head[a] === undefined || head[a] === i;
    }
    if (inside) sum += x * x;
  }
  return Math.sqrt(sum);
}

export class Referee {
  constructor(
    readonly weights: readonly LogitWeight[],
    readonly paths: readonly Path[],
    /** Every head's indices. */
    readonly heads: readonly Head[],
  ) {}
  #weight = (path: string) => this.weights.find((w) => w.path === path) as LogitWeight;
  #apart = (path: string, head: Head): Head => Object.fromEntries(Object.entries(head).filter(([a]) => a in this.#weight(path).axes));
  #norm = (data: Arrays, path: string, head: Head) => normAt(this.#weight(path), data[path] as Float64Array, head);

  /** 1/max over paths and over the heads that share the weight's slice. */
  factor(data: Arrays, path: string, head: Head): number {
    const own = this.#apart(path, head);
    let most = 0;
    for (const h of this.heads.filter((h) => Object.entries(own).every(([a, i]) => h[a] === i)))
      for (const p of this.paths.filter((p) => p.weights.includes(path))) {
        const others = p.weights.filter((w) => w !== path);
        most = Math.max(
          most,
          others.reduce((b, w) => b * this.#norm(data, w, h), p.scale),
        );
      }
    return 1 / most;
  }
  /** Σ over subsets of at least `least` moved weights. */
  #expansion(data: Arrays, head: Head, move: (path: string) => number, least: number): number {
    let sum = 0;
    for (const p of this.paths)
      for (let subset = 1; subset < 2 ** p.weights.length; subset++) {
        const moved = p.weights.filter((_, i) => (subset >> i) & 1);
        if (moved.length < least) continue;
        sum += p.weights.reduce((b, w, i) => b * ((subset >> i) & 1 ? move(w) : this.#norm(data, w, head)), p.scale);
      }
    return sum;
  }
  /** For inputs of norm 1. */
  certificate(now: Arrays, steps: Arrays, head: Head): number {
    return this.#expansion(now, head, (w) => this.#norm(steps, w, head), 1);
  }
  /** `d`: D of a slice; `rate`: τη. */
  budget(start: Arrays, now: Arrays, d: number, rate: number, head: Head): number {
    const move = (w: string) => (rate * d * this.factor(now, w, head)) / this.factor(start, w, head);
    const first = this.paths.flatMap((p) => p.weights).reduce((sum, w) => sum + (rate * d) / this.factor(start, w, head), 0);
    return first + this.#expansion(now, head, move, 2);
  }
}
