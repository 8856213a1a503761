// Random nests of every form, for comparison of generated code with the interpreter.

import { apply, type Buffer, buffer, type Expr, extentVar, int, load, local, maxOf, num, random, real, variable } from "../../compiler/lower/expr.js";
import type { Axis, Monoid, Nest, Store } from "../../compiler/lower/nest.js";
import { type DType, UpTo } from "../../dsl/node.js";
import { randomTiles } from "./generate-tiles.js";

/** Numbers from a seed (mulberry32). */
export function source(seed: number) {
  let s = seed >>> 0;
  const next = () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number) => Math.floor(next() * n);
  return { next, below, pick: <T>(xs: readonly T[]): T => xs[below(xs.length)] as T, chance: (p: number) => next() < p };
}
export type Source = ReturnType<typeof source>;

const small = [0, 1, 2, 3, 5, 7, 8, 9];
const middle = [1, 5, 6, 7, 8, 13, 15, 16, 17, 24, 31, 32, 33];
const long = [1, 7, 16, 64, 255, 256, 257, 300, 513];

export interface Case {
  readonly nest: Nest;
  readonly buffers: readonly Buffer[];
  readonly extents: readonly UpTo[];
}

export class Generator {
  #fresh = 0;
  readonly buffers: Buffer[] = [];
  readonly extents: UpTo[] = [];
  constructor(readonly rng: Source) {}

  name(stem: string) {
    return `${stem}${this.#fresh++}`;
  }
  axis(sizes: readonly number[], runtime = 0): Axis {
    const n = this.rng.pick(sizes);
    if (!this.rng.chance(runtime)) return { v: this.name("i"), extent: n };
    const extent = new UpTo(n + this.rng.below(4), this.name("up"));
    this.extents.push(extent);
    return { v: this.name("i"), extent };
  }
  /** A buffer over these axes, in this order or turned. */
  over(axes: readonly Axis[], role: Buffer["role"], dtype: DType): { buffer: Buffer; index: readonly Expr[] } {
    const order = this.rng.chance(0.3) ? [...axes].reverse() : axes;
    const b = buffer(
      this.name("b"),
      dtype,
      order.map((a) => ({ name: a.v, extent: a.extent })),
      role,
    );
    this.buffers.push(b);
    return { buffer: b, index: order.map((a) => variable(a.v)) };
  }
  dtype(): DType {
    return this.rng.pick(["f32", "f32", "f32", "f32", "bf16", "f16", "f64"]);
  }
  /** A real value over (some of) the axes: loads, guarded shifts, arithmetic, conditions on indices. */
  value(axes: readonly Axis[], depth = 2): Expr {
    const { rng } = this;
    if (depth > 0 && rng.chance(0.6)) {
      const a = () => this.value(axes, depth - 1);
      switch (rng.below(9)) {
        case 0:
          return apply("add", "real", a(), a());
        case 1:
          return apply("mul", "real", a(), a());
        case 2:
          return apply("sub", "real", a(), real(0.25));
        case 3:
          return apply("select", "real", this.condition(axes), a(), a());
        case 4:
          return apply("exp", "real", apply("neg", "real", apply("abs", "real", a())));
        case 5:
          return apply("max", "real", a(), a());
        case 6:
          return apply("tanh", "real", a());
        case 7:
          return apply("recip0", "real", apply("floor", "real", a()));
        default: {
          const s = a();
          return apply("mul", "real", s, apply("div", "real", s, real(3)));
        }
      }
    }
    if (axes.length && rng.chance(0.15)) {
      const a = rng.pick(axes);
      const shift = rng.pick([-2, -1, 1]);
      const at = apply("add", "int", variable(a.v), int(shift));
      const b = this.over([a], "input", "f32");
      const inside = apply("and", "bool", apply("le", "bool", int(0), at), apply("lt", "bool", at, extentVar(a.extent)));
      return load(b.buffer, [at], inside);
    }
    if (axes.length && rng.chance(0.1)) return this.rotated(rng.pick(axes));
    if (axes.length && rng.chance(0.1)) return apply("toReal", "real", variable(rng.pick(axes).v));
    if (axes.length && rng.chance(0.07))
      return random(
        rng.pick(["uniform", "normal"]),
        "label",
        [int(rng.below(5))],
        apply("add", "int", apply("mul", "int", variable(rng.pick(axes).v), int(7)), variable(rng.pick(axes).v)),
      );
    const used = axes.filter(() => rng.chance(0.75));
    const b = this.over(used, "input", this.dtype());
    return load(b.buffer, b.index);
  }
  /** What is half an axis further on, negated where it wraps around. */
  rotated(a: Axis): Expr {
    const b = this.over([a], "input", "f32");
    const n = maxOf(a.extent);
    const half = Math.floor(n / 2);
    if (typeof a.extent !== "number" || half === 0) return load(b.buffer, b.index);
    const at = apply("imod", "int", apply("add", "int", variable(a.v), int(half)), int(n));
    const x = load(b.buffer, [at]);
    return apply("select", "real", apply("lt", "bool", this.rng.chance(0.5) ? at : variable(a.v), int(half)), apply("neg", "real", x), x);
  }
  condition(axes: readonly Axis[]): Expr {
    const { rng } = this;
    if (axes.length === 0) return num(1, "bool");
    const [a, b] = [variable(rng.pick(axes).v), variable(rng.pick(axes).v)];
    switch (rng.below(5)) {
      case 0:
        return apply("le", "bool", a, b);
      case 3:
        return apply("lt", "bool", apply("idiv", "int", apply("sub", "int", a, int(4)), int(3)), apply("idiv", "int", b, int(4)));
      case 1:
        return apply("eq", "bool", apply("imod", "int", a, int(3)), int(1));
      case 2:
        return apply("not", "bool", apply("lt", "bool", apply("sub", "int", a, b), int(2)));
      default: {
        const m = this.over(axes.slice(0, 1), "input", "bool");
        return load(m.buffer, m.index);
      }
    }
  }
  stores(axes: readonly Axis[], value: () => Expr): readonly Store[] {
    return Array.from({ length: this.rng.chance(0.2) ? 2 : 1 }, () => {
      const out = this.over(axes, "output", this.rng.chance(0.8) ? "f32" : this.dtype());
      return { buffer: out.buffer, index: out.index, value: value() };
    });
  }
  monoid(): Monoid {
    const [x, y] = [local("x.s", "real"), local("y.s", "real")];
    const one = (kind: Monoid["kind"], empty: number, e: Expr): Monoid => ({ names: ["s"], empty: [empty], combine: [e], kind });
    switch (this.rng.below(5)) {
      case 0:
      case 1:
        return one("sum", 0, apply("add", "real", x, y));
      case 2:
        return one("max", -Infinity, apply("max", "real", x, y));
      case 3:
        return one("min", Infinity, apply("min", "real", x, y));
      default: {
        // log-sum-exp as (m, l).
        const [xm, xl, ym, yl] = ["x.m", "x.l", "y.m", "y.l"].map((n) => local(n, "real")) as [Expr, Expr, Expr, Expr];
        const m = apply("max", "real", xm, ym);
        const part = (a: Expr, l: Expr) =>
          apply("select", "real", apply("eq", "bool", a, m), l, apply("mul", "real", l, apply("exp", "real", apply("sub", "real", a, m))));
        return { names: ["m", "l"], empty: [-Infinity, 0], combine: [m, apply("add", "real", part(xm, xl), part(ym, yl))], kind: "general" };
      }
    }
  }
  elements(monoid: Monoid, axes: readonly Axis[]): readonly Expr[] {
    return monoid.names.map((_, c) => (c === 0 ? this.value(axes) : real(1)));
  }

  /** A nest small enough to interpret. */
  nest(form: Nest["form"]): Nest {
    for (;;) {
      const [buffers, extents] = [this.buffers.length, this.extents.length];
      const nest = this.#any(form);
      if (size(nest) <= 60_000) return nest;
      this.buffers.length = buffers;
      this.extents.length = extents;
    }
  }
  #any(form: Nest["form"]): Nest {
    const { rng } = this;
    const base = { name: this.name(form), nodes: [] };
    const some = (n: number, sizes: readonly number[], runtime = 0.2) => Array.from({ length: n }, () => this.axis(sizes, runtime));
    switch (form) {
      case "map": {
        const axes = [...some(rng.below(3), small), ...some(rng.below(2), middle)];
        return { ...base, form, axes, stores: this.stores(axes, () => this.value(axes, 3)) };
      }
      case "row": {
        const rows = some(rng.below(3), rng.chance(0.5) ? small : middle);
        const stages: (Nest & { form: "row" })["stages"][number][] = [];
        const binds: Expr[] = [];
        for (let s = 1 + rng.below(2); s > 0; s--) {
          const monoid = this.monoid();
          const bind = monoid.names.map(() => this.name("fold"));
          const over = rng.chance(0.5) ? [this.axis(long, 0.3)] : [this.axis(small), this.axis(middle)];
          const elements = this.elements(monoid, [...rows, ...over]).map((e, i) =>
            i === 0 && binds.length && rng.chance(0.7)
              ? apply("sub", "real", e, apply("min", "real", apply("max", "real", rng.pick(binds), real(-9)), real(9)))
              : e,
          );
          stages.push({ stage: "fold", over, monoid, elements, bind });
          binds.push(...bind.map((b) => local(b, "real")));
        }
        const axes = rng.chance(0.6) ? some(1 + rng.below(2), middle) : [];
        const all = [...rows, ...axes];
        stages.push({ stage: "map", axes, stores: this.stores(all, () => apply("add", "real", rng.pick(binds), this.value(all))) });
        if (rng.chance(0.5)) {
          const span = this.axis(middle, 0.3);
          const monoid = this.monoid();
          const bind = monoid.names.map(() => this.name("prefix"));
          const here = [...rows, span];
          stages.push({
            stage: "scan",
            over: span,
            monoid,
            elements: this.elements(monoid, here),
            bind,
            exclusive: rng.chance(0.5),
            reverse: rng.chance(0.5),
            stores: this.stores(here, () => apply("mul", "real", local(bind[0] as string, "real"), this.value(here, 1))),
          });
        }
        return { ...base, form, rows, stages };
      }
      case "contract": {
        const batch = some(rng.below(2), [1, 2, 3, 5]);
        const m = some(rng.below(3), rng.chance(0.3) ? [97, 128] : middle).slice(0, 2);
        const n = some(rng.below(3), middle).slice(0, 2);
        const k = rng.chance(0.6) ? some(1, long, 0.2) : some(2, [0, 1, 3, 8, 16, 17]);
        const operand = (axes: readonly Axis[]): Expr => {
          if (rng.chance(0.7)) {
            const b = this.over(axes, "input", rng.chance(0.8) ? "f32" : "bf16");
            return load(b.buffer, b.index);
          }
          return this.value(axes, 1);
        };
        const all = [...batch, ...m, ...n];
        const sum = local("sum", "real");
        return {
          ...base,
          form,
          batch,
          m,
          n,
          k,
          a: operand([...batch, ...m, ...k]),
          b: operand([...batch, ...k, ...n]),
          stores: rng.chance(0.6)
            ? this.stores(all, () => sum).slice(0, 1)
            : this.stores(all, () => apply("fma", "real", sum, real(0.5), this.value(all, 1))),
        };
      }
      case "tiles":
        return randomTiles(this, base);
      case "scatter": {
        const rows = some(rng.below(3), middle).slice(0, 2);
        const over = some(1 + rng.below(2), middle);
        const target = this.axis([0, 1, 5, 17], 0);
        const at = this.over(rng.chance(0.3) ? [...rows, ...over] : over, "input", "i32");
        const into = this.over([...rows, target], "output", "f32");
        return {
          ...base,
          form,
          rows,
          over,
          target,
          index: load(at.buffer, at.index),
          value: this.value([...rows, ...over], 1),
          into,
          onto: rng.chance(0.3),
        };
      }
      case "top": {
        const rows = some(rng.below(2), middle);
        const over = this.axis([8, 9, 31, 64], 0);
        const slot: Axis = { v: this.name("i"), extent: rng.below(9) };
        const here = [...rows, slot];
        const value = this.over(here, "output", "f32");
        const index = this.over(here, "output", "i32");
        return {
          ...base,
          form,
          rows,
          over,
          slot,
          element: this.value([...rows, over], 0),
          stores: [
            { ...value, value: local("value", "real") },
            { ...index, value: local("index", "int") },
          ],
          chosen: rng.chance(0.5) ? this.over([...rows, over], "output", "bool") : null,
        };
      }
    }
  }
}

function size(n: Nest): number {
  const count = (axes: readonly Axis[]) => axes.reduce((x, a) => x * (typeof a.extent === "number" ? a.extent : a.extent.max), 1);
  switch (n.form) {
    case "map":
      return count(n.axes);
    case "row":
      return count(n.rows) * n.stages.reduce((x, s) => x + (s.stage === "scan" ? count([s.over]) : count(s.stage === "fold" ? s.over : s.axes)), 0);
    case "contract":
      return count([...n.batch, ...n.m, ...n.n]) * Math.max(1, count(n.k)) * 0.7;
    case "tiles": {
      const each =
        n.dots.reduce((x, d) => x + count(d.k), 2) + n.folds.reduce((x, f) => x + count(f.n), 0) + n.columns.reduce((x, c) => x + count(c.n), 0);
      return (count([...n.batch, ...n.rows, ...n.over]) * each) / 20;
    }
    case "scatter":
      return count([...n.rows, ...n.over]) * 4;
    case "top":
      return count([...n.rows, n.over]);
  }
}
