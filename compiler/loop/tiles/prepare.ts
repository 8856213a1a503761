// The over side, prepared: what reads only indices of the over axes (and of the batch) is the same for all rows, so it is
// computed once a batch and waits in the thread's scratch, tile after tile: operands of dots turned into panels
// [k][64], operands of folds as [64][n], folds over small axes, dear parts of the elements as lanes, and for each tile the
// least and greatest value of the data that the mask reads. Where that is too much memory (two over axes of
// thousands of indices), or a batch has no second row tile that it would serve (a single query), it is computed for each tile
// that is about to run instead, and stays in L1.
import type { DType } from "../../../dsl/node.js";
import { apply, type Buffer, type Expr, int, load, local, num, variable } from "../../lower/expr.js";
import type { Dot, Monoid, Side } from "../../lower/nest.js";
import { foldLoops } from "../fold.js";
import { allocS, loop, type Place, type Stmt, storeS, tile } from "../ir.js";
import { panelPacker } from "../packing.js";
import { count, freshName, fuse, inOrder, maxCount, type Span, spanOf } from "../spans.js";
import { add, coefficient, offset, rename, sub } from "../terms.js";
import { COLUMNS, OVER_TILE, packedIndex, packedSize, padded, type Shape } from "./shape.js";

/** Floats of one prepared operand that may wait for a whole batch. */
const WHOLE = 1 << 22;

export const dtypeOf = (e: Expr): DType => (e.type === "real" ? "f32" : e.type === "int" ? "i32" : "bool");

interface Item {
  readonly whole: boolean;
  /** The mask's test of a tile reads it. */
  readonly tested: boolean;
  readonly lead: readonly Span[];
  /** For the present tile. */
  readonly fill: readonly Stmt[];
}
/** The b operand of a fold, as the register block reads it. */
export interface Operand {
  readonly place: (row: Expr, column: Expr) => Place;
  readonly stride: number;
  /** Columns, padded. */
  readonly columns: number;
}
export interface Panel {
  readonly buffer: Buffer;
  readonly at: (k: Expr, lane: Expr) => readonly Expr[];
  readonly k: readonly Span[];
  readonly a: Expr;
}

export class OverSide {
  readonly allocs: Stmt[] = [];
  readonly #items: Item[] = [];
  /** Locals of the over side, as loads at over.v: sides and lanes. */
  readonly locals = new Map<string, Expr>();
  readonly #lanes = new Map<Expr, string>();
  readonly #rows = new Map<Expr, Operand>();
  readonly #ends = new Map<Expr, { readonly lo: Expr; readonly hi: Expr }>();
  #square: Buffer | undefined;

  constructor(readonly shape: Shape) {
    for (const s of shape.nest.sides) if (s.of === "over") this.#side(s);
  }

  /** Computes what waits for the batch; inside a tile, `each`. */
  get once(): readonly Stmt[] {
    const { shape } = this;
    return this.#items
      .filter((i) => i.whole)
      .flatMap((i) => inOrder(i.lead, [loop(shape.names.tile, int(0), shape.overTiles, [...shape.overRange, ...i.fill])]));
  }
  get each(): readonly Stmt[] {
    return this.#items.filter((i) => !i.whole && !i.tested).flatMap((i) => i.fill);
  }
  get tested(): readonly Stmt[] {
    return this.#items.filter((i) => !i.whole && i.tested).flatMap((i) => i.fill);
  }
  /** A term of the over side with its locals replaced, over over.v. */
  resolve(e: Expr): Expr {
    return rename([e], this.locals)[0] as Expr;
  }
  #memory(stem: string, dtype: DType, lead: readonly Span[], ...inner: readonly number[]) {
    const each = inner.reduce((n, x) => n * x, 1);
    const total = lead.reduce((n, s) => n * s.max, this.shape.maxOverTiles * each);
    const whole = total <= WHOLE && this.shape.maxRowTiles > 1;
    const b = whole
      ? tile(freshName(stem), dtype, ...lead.map((s) => Math.max(1, s.max)), this.shape.maxOverTiles, ...inner)
      : tile(freshName(stem), dtype, ...inner);
    this.allocs.push(allocS(b, "scratch"));
    const at = (...index: readonly Expr[]) => (whole ? [...lead.map((s) => variable(s.v)), this.shape.tile, ...index] : index);
    return { buffer: b, at, whole };
  }
  /** Lanes of the present tile: 64 values of a term. */
  #values(stem: string, value: Expr, fill: (store: (lane: Expr, v: Expr) => Stmt) => readonly Stmt[]): Expr {
    const { shape } = this;
    const lead = shape.leadOf(value);
    const { buffer: b, at, whole } = this.#memory(stem, dtypeOf(value), lead, OVER_TILE);
    this.#items.push({ whole, tested: false, lead, fill: fill((lane, v) => storeS(b, at(lane), v)) });
    return load(b, at(sub(variable(shape.over.v), shape.j0)));
  }
  #side(s: Side) {
    const { shape } = this;
    const like = s.monoid.combine[0] as Expr;
    const at = this.#values(s.name, s.element, (store) => {
      const [lane, bind] = [freshName("lane"), freshName(s.name)];
      const element = shape.one(this.resolve(s.element), undefined, variable(lane));
      return [
        loop(lane, int(0), shape.width, [
          ...foldLoops({ over: s.fold.map(spanOf), monoid: s.monoid, elements: [element], bind: [bind] }, "lanes"),
          store(variable(lane), local(bind, like.type)),
        ]),
      ];
    });
    this.locals.set(s.name, at);
  }
  /** The name of a local that holds a term of the over side. */
  lane(value: Expr): string {
    const known = this.#lanes.get(value);
    if (known) return known;
    const name = freshName("lanes");
    this.#lanes.set(value, name);
    const at = this.#values(name, value, (store) => {
      const lane = freshName("lane");
      return [
        loop(lane, int(0), this.shape.width, [store(variable(lane), this.shape.one(this.resolve(value), undefined, variable(lane)))], "vector"),
      ];
    });
    this.locals.set(name, at);
    return name;
  }

  panel(d: Dot): Panel {
    const { shape } = this;
    const fused = fuse([d.k.map(spanOf)], [true], { terms: [d.a, d.b], stores: [] });
    const k = fused.groups[0] as readonly Span[];
    const [a, b] = fused.work.terms as readonly [Expr, Expr];
    const lead = shape.leadOf(b);
    const { buffer: panel, at, whole } = this.#memory(`${d.name}_panel`, "f32", lead, Math.max(1, maxCount(k)), OVER_TILE);
    if (!this.#square) {
      this.#square = tile("square", "f32", 8, 8);
      this.allocs.push(allocS(this.#square, "private"));
    }
    const fill = panelPacker({
      value: this.resolve(b),
      across: [shape.over],
      k,
      base: shape.j0,
      width: OVER_TILE,
      full: shape.width.kind === "num" ? undefined : apply("eq", "bool", shape.width, int(OVER_TILE)),
      have: shape.width,
      target: (kk, lane) => ({ buffer: panel, index: at(kk, lane) }),
      stride: OVER_TILE,
      k0: int(0),
      depth: count(k),
      square: this.#square,
      pad: true,
    });
    this.#items.push({ whole, tested: false, lead, fill });
    return { buffer: panel, at, k, a };
  }

  /** A fold's b as rows of the tile, in place where it is an array whose rows lie close together. */
  operand(b: Expr, n: readonly Span[]): Operand {
    const known = this.#rows.get(b);
    if (known) return known;
    const { shape } = this;
    const made = inPlace(b, n, shape.over, shape.j0) ?? this.#packed(b, n);
    this.#rows.set(b, made);
    return made;
  }
  #packed(b: Expr, n: readonly Span[]): Operand {
    const { shape } = this;
    const lead = shape.leadOf(b);
    const columns = padded(packedSize(n), COLUMNS);
    const { buffer: rows, at, whole } = this.#memory("operand", "f32", lead, OVER_TILE, columns);
    const lane = freshName("lane");
    const value = shape.one(this.resolve(b), undefined, variable(lane));
    this.#items.push({
      whole,
      tested: false,
      lead,
      fill: [
        loop(
          lane,
          int(0),
          shape.width,
          packRow(n, columns, value, (column) => ({ buffer: rows, index: at(variable(lane), column) })),
        ),
      ],
    });
    return { place: (row, column) => ({ buffer: rows, index: at(row, column) }), stride: columns, columns };
  }

  /** Least and greatest value of a load over the present tile (of 0 and 1, if it is a condition). */
  ends(e: Expr & { kind: "load" }): { readonly lo: Expr; readonly hi: Expr } {
    const known = this.#ends.get(e);
    if (known) return known;
    const { shape } = this;
    const lead = shape.leadOf(e);
    const { buffer: b, at, whole } = this.#memory(`${e.buffer.name}_ends`, "i32", lead, 2);
    const lane = freshName("lane");
    const value = shape.one(e, undefined, variable(lane));
    const names = [freshName("least"), freshName("most")] as const;
    const fill = endsOf(value, { v: lane, extent: shape.width, max: OVER_TILE }, names);
    this.#items.push({ whole, tested: true, lead, fill: [...fill, ...names.map((n, i) => storeS(b, at(int(i)), local(n, "int")))] });
    const out = { lo: load(b, at(int(0))), hi: load(b, at(int(1))) };
    this.#ends.set(e, out);
    return out;
  }
}

/** Binds two names to the least and the greatest value of an int term (or a condition, as 0 and 1) along a span. */
export function endsOf(value: Expr, span: Span, names: readonly [string, string]): readonly Stmt[] {
  const element = value.type === "bool" ? apply("select", "int", value, int(1), int(0)) : value;
  const [x, y] = [local("x.e", "int"), local("y.e", "int")];
  const far = 2 ** 31 - 1;
  return (["min", "max"] as const).flatMap((kind, i) => {
    const monoid: Monoid = { names: ["e"], empty: [i === 0 ? far : -far], combine: [apply(kind, "int", x, y)], kind };
    return foldLoops({ over: [span], monoid, elements: [element], bind: [names[i] as string] }, "lanes");
  });
}

/** The rows of an f32 array that lie close together and hold whole panels of columns. */
export function inPlace(b: Expr, n: readonly Span[], row: Span, first: Expr): Operand | undefined {
  if (b.kind !== "load" || b.inside || b.buffer.dtype !== "f32") return undefined;
  const size = packedSize(n);
  const at = offset(b.buffer, b.index);
  const stride = coefficient(at, row.v);
  if (stride === undefined || stride < size || stride > 2 * size || size % COLUMNS !== 0 || n.some((s) => s.extent.kind !== "num")) return undefined;
  let step = 1;
  for (const s of [...n].reverse()) {
    if (s.max > 1 && coefficient(at, s.v) !== step) return undefined;
    step *= s.max;
  }
  const zeros = new Map(n.map((s) => [s.v, int(0)]));
  const place = (r: Expr, column: Expr): Place => {
    const index = rename(b.index, new Map([...zeros, [row.v, add(first, r)]]));
    const end = index.at(-1);
    return { buffer: b.buffer, index: end ? [...index.slice(0, -1), add(end, column)] : index };
  };
  return { place, stride, columns: size };
}
/** One row of an operand at each index of n, and zeros in the columns that pad it. */
export function packRow(n: readonly Span[], columns: number, value: Expr, target: (column: Expr) => Place): readonly Stmt[] {
  const rest = freshName("column");
  const put = (column: Expr, v: Expr): Stmt => {
    const p = target(column);
    return storeS(p.buffer, p.index, v);
  };
  const last = n.at(-1);
  const inner = put(packedIndex(n), value);
  const loops = last ? inOrder(n.slice(0, -1), [loop(last.v, int(0), last.extent, [inner], "vector")]) : [inner];
  const size = packedSize(n);
  return [...loops, ...(size < columns ? [loop(rest, int(size), int(columns), [put(variable(rest), num(0, "real"))])] : [])];
}
