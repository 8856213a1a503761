// The architectures that bounds are held on, small: their models, shapes, and the paths of their logits as quack.md has
// them, for the referee.
import type * as fc from "fast-check";
import { dot, type LogitModel, type LogitWeight, model, rename, weight } from "../../index.js";
import { differential, gqa, mha, mla, multiQuery, tensorProduct } from "../../models/index.js";
import { even, type Shape, shapes } from "../../testing.js";
import type { Head, Path } from "./referee.js";

export interface Architecture {
  readonly shapes: fc.Arbitrary<Shape>;
  readonly model: (s: Shape) => LogitModel;
  readonly paths: (s: Shape) => readonly Path[];
  /** The axes that tell heads apart. */
  readonly heads: readonly string[];
}
const of = (s: Shape, axis: string): number => s[axis] as number;
const rest = { layer: 1, ff: 1, vocab: 1 };
const product = (scale: number, ...weights: string[]): Path => ({ scale, weights });
const stream = { x: "time model" } as const;

export const architectures: Readonly<Record<string, Architecture>> = {
  "multi-head": {
    shapes: shapes({ model: [1, 6], head: [1, 3], dim: even(2, 4) }),
    model: (s) => mha({ ...rest, model: of(s, "model"), head: of(s, "head"), dim: of(s, "dim") }),
    paths: (s) => [product(of(s, "dim") ** -0.5, "wq", "wk")],
    heads: ["head"],
  },
  grouped: {
    shapes: shapes({ model: [1, 6], group: [1, 3], member: [1, 3], dim: even(2, 4) }),
    model: (s) => gqa({ ...rest, model: of(s, "model"), head: of(s, "group") * of(s, "member"), group: of(s, "group"), dim: of(s, "dim") }),
    paths: (s) => [product(of(s, "dim") ** -0.5, "wq", "wk")],
    heads: ["group", "member"],
  },
  "multi-query": {
    shapes: shapes({ model: [1, 6], head: [1, 4], dim: [1, 5] }),
    model: (s) => {
      const [d, head, dim] = [of(s, "model"), of(s, "head"), of(s, "dim")];
      const parts = { wq: weight({ model: d }, { head, dim }), wk: weight({ model: d }, { dim }), wv: weight({ model: d }, { value: 1 }) };
      return model(parts, stream, ({ wq, wk, wv, x }) => {
        const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
        return multiQuery({ q: dot(xi, wq, "model"), k: dot(xj, wk, "model"), v: dot(xj, wv, "model") });
      });
    },
    paths: (s) => [product(of(s, "dim") ** -0.5, "wq", "wk")],
    heads: ["head"],
  },
  latent: {
    shapes: shapes({ model: [1, 5], head: [1, 3], cq: [1, 4], latent: [1, 4], nope: [1, 3], rope: even(2, 2) }),
    model: (s) => {
      const { model, head, cq, latent, nope, rope } = s as Readonly<Record<"model" | "head" | "cq" | "latent" | "nope" | "rope", number>>; // its shapes
      return mla({ ...rest, model, head, cq, latent, nope, rope, value: 1 });
    },
    paths: (s) => {
      const scale = (of(s, "nope") + of(s, "rope")) ** -0.5;
      return [product(scale, "uq", "dq", "uk", "dkv"), product(scale, "qr", "dq", "kr")];
    },
    heads: ["head"],
  },
  "tensor-product": {
    shapes: shapes({ model: [1, 5], head: [1, 3], rq: [1, 3], rk: [1, 2], dim: [1, 3] }),
    model: (s) => {
      const [d, head, rq, rk, dim] = ["model", "head", "rq", "rk", "dim"].map((a) => of(s, a)) as [number, number, number, number, number];
      const parts = {
        aq: weight({ model: d }, { head, rq }),
        bq: weight({ model: d }, { rq, dim }),
        ak: weight({ model: d }, { head, rk }),
        bk: weight({ model: d }, { rk, dim }),
        av: weight({ model: d }, { head, rv: 1 }),
        bv: weight({ model: d }, { rv: 1, value: 1 }),
      };
      return model(parts, stream, ({ aq, bq, ak, bk, av, bv, x }) => {
        const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
        const q = { aq: dot(xi, aq, "model"), bq: dot(xi, bq, "model") };
        const k = { ak: dot(xj, ak, "model"), bk: dot(xj, bk, "model") };
        return tensorProduct({ ...q, ...k, av: dot(xj, av, "model"), bv: dot(xj, bv, "model") });
      });
    },
    paths: (s) => [product(of(s, "dim") ** -0.5 / (of(s, "rq") * of(s, "rk")), "aq", "bq", "ak", "bk")],
    heads: ["head"],
  },
  differential: {
    shapes: shapes({ model: [1, 6], head: [1, 3], dim: [1, 4] }),
    model: (s) => {
      const [d, head, dim] = [of(s, "model"), of(s, "head"), of(s, "dim")];
      const lambda = () => weight({ one: 1 }, { head, dim });
      const parts = {
        wq: weight({ model: d }, { head, half: 2, dim }),
        wk: weight({ model: d }, { head, half: 2, dim }),
        wv: weight({ model: d }, { head, value: 1 }),
        a: lambda(),
        b: lambda(),
        c: lambda(),
        d: lambda(),
      };
      return model(parts, stream, ({ wq, wk, wv, a, b, c, d, x }) => {
        const [xi, xj] = [rename(x, { time: "query" }), rename(x, { time: "key" })];
        return differential(0.8)({ q: dot(xi, wq, "model"), k: dot(xj, wk, "model"), v: dot(xj, wv, "model"), a, b, c, d });
      });
    },
    paths: (s) => [product(of(s, "dim") ** -0.5, "wq", "wk")],
    heads: ["head", "half"],
  },
};

/** Every combination of the heads' indices. */
export function headsOf(a: Architecture, weights: readonly LogitWeight[]): readonly Head[] {
  const sizes: Shape = Object.assign({}, ...weights.map((w) => w.axes));
  return a.heads.reduce<readonly Head[]>(
    (all, axis) => all.flatMap((h) => Array.from({ length: sizes[axis] ?? 1 }, (_, i) => ({ ...h, [axis]: i }))),
    [{}],
  );
}
