// Random tiles nests: several dots, masks of every kind, folds that read earlier ones with the rescaling that this takes,
// sums with axes of their own, sums at an index, chained folds, columns, stores at every pair.
import { apply, type Buffer, type Expr, int, load, local, num, real, variable } from "../../compiler/lower/expr.js";
import type { Axis, Dot, Monoid, Nest, Side, Store, TileColumn, TileFold } from "../../compiler/lower/nest.js";
import type { Generator } from "./generate.js";

const rowSizes = [0, 1, 2, 5, 6, 7, 16, 47, 48, 49, 50, 97];
const overSizes = [0, 1, 7, 8, 9, 16, 63, 64, 65, 72, 129, 130];
const v = (a: Axis) => variable(a.v);
const f = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "real", ...args);
const bool = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "bool", ...args);
const i = (prim: Parameters<typeof apply>[0], ...args: readonly Expr[]) => apply(prim, "int", ...args);
const one = (kind: Monoid["kind"], empty: number, prim: "add" | "max" | "min" | "mul"): Monoid => ({
  names: ["s"],
  empty: [empty],
  combine: [f(prim, local("x.s", "real"), local("y.s", "real"))],
  kind,
});
export const sumOf = one("sum", 0, "add");
export const maxOf = one("max", -Infinity, "max");
const minOf = one("min", Infinity, "min");
const floor = real(-1e30);

/** A condition on a row's and an over index, as users' masks are. */
export function mask(g: Generator, batch: readonly Axis[], rows: readonly Axis[], over: readonly Axis[], depth = 1): Expr {
  const { rng } = g;
  const [r, o] = [rng.pick(rows), rng.pick(over)];
  const [x, y] = [v(r), v(o)];
  const distance = i("sub", x, y);
  if (depth > 0 && rng.chance(0.4)) {
    const [a, b] = [mask(g, batch, rows, over, depth - 1), mask(g, batch, rows, over, depth - 1)];
    return rng.chance(0.7) ? bool("and", a, b) : rng.chance(0.5) ? bool("or", a, b) : bool("and", a, bool("not", b));
  }
  switch (rng.below(9)) {
    case 0:
    case 1:
      return bool("le", y, x);
    case 2:
      return bool("and", bool("le", int(0), distance), bool("lt", distance, int(rng.pick([1, 4, 20, 70]))));
    case 3:
      return bool("or", bool("le", y, x), bool("lt", y, int(rng.pick([0, 3, 70]))));
    case 4:
      return bool("eq", i(rng.pick(["imod", "mod"]), distance, int(rng.pick([2, 3, 7]))), int(0));
    case 5:
      return bool("le", i("abs", i("sub", i("min", i("max", x, int(3)), int(40)), y)), int(rng.pick([0, 3, 9])));
    case 6: {
      const [a, b] = [g.over([r], "input", "i32"), g.over([o], "input", "i32")];
      return bool(rng.pick(["eq", "lt", "ne"]), load(a.buffer, a.index), load(b.buffer, b.index));
    }
    case 7: {
      const b = g.over(rng.chance(0.5) ? [o] : rng.chance(0.5) ? [r] : [r, o], "input", "bool");
      return load(b.buffer, b.index);
    }
    default:
      return bool("ge", i("select", bool("lt", x, int(20)), i("idiv", x, int(4)), i("mul", x, int(-1))), i("sub", y, int(9)));
  }
}

export function randomTiles(g: Generator, base: { readonly name: string; readonly nodes: readonly number[] }): Nest & { form: "tiles" } {
  const { rng } = g;
  const lead = () => Array.from({ length: rng.chance(0.3) ? 1 : 0 }, () => g.axis([1, 2, 3]));
  const batch = Array.from({ length: rng.below(3) }, () => g.axis([1, 2, 3]));
  const rows = [...lead(), g.axis(rowSizes, 0.4)];
  const over = [...lead(), g.axis(overSizes, 0.4)];
  const all = [...batch, ...rows, ...over];
  const sides: Side[] = [];
  const side = (of: "rows" | "over"): Expr => {
    const axes = of === "rows" ? rows : over;
    const fold = [g.axis([1, 3, 9])];
    const name = g.name("side");
    sides.push({ name, of, fold, monoid: rng.chance(0.7) ? sumOf : maxOf, element: g.value([...batch, ...axes, ...fold], 1) });
    return f("tanh", local(name, "real"));
  };
  const operand = (axes: readonly Axis[], of: "rows" | "over", simple: boolean): Expr => {
    if (simple || rng.chance(0.6)) {
      const b = g.over(axes, "input", "f32");
      return load(b.buffer, b.index);
    }
    const value = g.value(axes, 1);
    return rng.chance(0.4) ? f("mul", value, side(of)) : value;
  };
  const dots: Dot[] = Array.from({ length: 1 + rng.below(2) }, (_, n) => {
    const k = rng.chance(0.7) ? [g.axis([0, 1, 3, 8, 16, 17, 33])] : [g.axis([1, 2, 3]), g.axis([1, 3, 8])];
    return {
      name: g.name("dot"),
      k,
      a: operand([...batch, ...rows, ...k], "rows", n === 0),
      b: operand([...batch, ...over, ...k], "over", n === 0),
    };
  });
  const inside = rng.chance(0.25) ? num(1, "bool") : mask(g, batch, rows, over);
  const always = inside.kind === "num";
  const masked = (e: Expr, otherwise: number) => (always ? e : apply("select", "real", inside, e, real(otherwise)));
  const dot = (n: number) => local((dots[n % dots.length] as Dot).name, "real");
  const exact = f("mul", dot(0), real(0.25));
  /** A score of moderate size. */
  const score = (): Expr => {
    const s = f("mul", dot(rng.below(2)), real(0.125));
    switch (rng.below(5)) {
      case 0:
        return f("mul", f("tanh", f("div", s, real(3))), real(3));
      case 1:
        return f("add", s, f("mul", real(-0.0625), f("toReal", i("sub", v(rows.at(-1) as Axis), v(over.at(-1) as Axis)))));
      case 2:
        return f("add", s, f("tanh", g.value(all, 1)));
      case 3:
        return f("mul", s, f("add", side("over"), side("rows")));
      default:
        return s;
    }
  };
  const folds: TileFold[] = [];
  const stores: { n: readonly Axis[]; stores: readonly Store[] }[] = [];
  const result = (n: readonly Axis[], value: Expr) => {
    const out = g.over([...batch, ...rows, ...n], "output", rng.chance(0.85) ? "f32" : g.dtype());
    stores.push({ n, stores: [{ buffer: out.buffer, index: out.index, value }] });
  };
  const scalar = (monoid: Monoid, element: Expr, rescale: Expr | null): Expr => {
    const name = g.name("fold");
    folds.push({ bind: [name], monoid, elements: [element], rescale, n: [], b: null, at: null });
    return local(name, "real");
  };
  const sums = (element: Expr, rescale: Expr | null, scale: Expr) => {
    const name = g.name("acc");
    if (rng.chance(0.25)) {
      const n = [g.axis([1, 5, 20])];
      const a = rng.chance(0.5) ? g.over([over.at(-1) as Axis], "input", "i32") : undefined;
      const index = a ? load(a.buffer, a.index) : i("sub", v(rows.at(-1) as Axis), v(over.at(-1) as Axis));
      folds.push({ bind: [name], monoid: sumOf, elements: [element], rescale, n, b: null, at: index });
      result(n, f("mul", local(name, "real"), scale));
      return;
    }
    const n = rng.chance(0.8) ? [g.axis([1, 3, 16, 17, 32, 40])] : [g.axis([1, 2]), g.axis([3, 8])];
    const b = operand([...batch, ...over, ...n], "over", false);
    folds.push({ bind: [name], monoid: sumOf, elements: [element], rescale, n, b, at: null });
    result(n, f("mul", local(name, "real"), scale));
  };
  const kind = rng.below(4);
  if (kind <= 1) {
    // Softmax: a maximum, and what is taken relative to it.
    const s = masked(score(), -Infinity);
    const m = scalar(maxOf, s, null);
    const above = f("max", m, floor);
    const was = f("max", local(`was.${(m as { name: string }).name}`, "real"), floor);
    const rescale = f("exp", f("sub", was, above));
    const weight = rng.chance(0.5) ? f("exp", f("sub", s, above)) : masked(f("exp", f("sub", s, above)), 0);
    const l = scalar(sumOf, weight, rescale);
    sums(rng.chance(0.6) ? weight : f("mul", weight, f("tanh", g.value(all, 1))), rescale, f("recip0", l));
    if (rng.chance(0.3)) sums(weight, rescale, f("recip0", l));
    result([], rng.chance(0.5) ? f("add", m, l) : l);
  } else if (kind === 2) {
    sums(masked(f("tanh", score()), 0), null, real(1));
    if (rng.chance(0.5)) result([], scalar(sumOf, masked(f("mul", f("tanh", score()), f("tanh", score())), 0), null));
    if (rng.chance(0.3)) result([], scalar(minOf, masked(exact, Infinity), null));
  } else {
    // The greatest with its place: chained in order.
    const [xv, xi, yv, yi] = ["x.v", "x.i", "y.v", "y.i"].map((n) => local(n, "real")) as [Expr, Expr, Expr, Expr];
    const beats = bool("gt", yv, xv);
    const monoid: Monoid = { names: ["v", "i"], empty: [-Infinity, -1], combine: [f("max", xv, yv), f("select", beats, yi, xi)], kind: "general" };
    const bind = [g.name("best"), g.name("place")] as const;
    folds.push({ bind, monoid, elements: [masked(exact, -Infinity), f("toReal", v(over.at(-1) as Axis))], rescale: null, n: [], b: null, at: null });
    result([], local(bind[0], "real"));
    result([], local(bind[1], "real"));
  }
  const columns: TileColumn[] = Array.from({ length: rng.chance(0.3) ? 1 + rng.below(2) : 0 }, () => {
    const n = rng.chance(0.8) ? [g.axis([1, 5, 16, 32])] : [];
    const out = g.over([...batch, ...over, ...n], "output", "f32");
    const sum = local("sum", "real");
    return {
      n,
      element: masked(f("tanh", score()), 0),
      a: operand([...batch, ...rows, ...n], "rows", rng.chance(0.5)),
      store: { ...out, value: rng.chance(0.5) ? sum : f("add", sum, g.value([...batch, ...over, ...n], 1)) },
    };
  });
  const quads: Store[] = always && rng.chance(0.3) ? [{ ...g.over(all, "output", "f32"), value: score() }] : [];
  return { ...base, form: "tiles", batch, rows, over, sides, dots, mask: inside, folds, columns, quads, stores };
}
export const buffersOf = (n: Nest & { form: "tiles" }): readonly Buffer[] =>
  [...n.stores.flatMap((s) => s.stores), ...n.columns.map((c) => c.store), ...n.quads].map((s) => s.buffer);
