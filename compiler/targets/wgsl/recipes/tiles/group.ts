// The workgroup of a row tile, while its statements are written: its memory and its invocations', which cells an invocation
// has, and what the names that terms read stand for at a row, a lane or a cell.
import type { DType } from "../../../../../dsl/node.js";
import { allocS, ifS, letS, loop, type Stmt, tile } from "../../../../loop/ir.js";
import { freshName } from "../../../../loop/spans.js";
import { add, imin, less, mul, namesOf, replace, sub, termsOf } from "../../../../loop/terms.js";
import { cost } from "../../../../loop/tiles/cost.js";
import { OVER, PAIR, ROW, Shape, type TilesNest } from "../../../../loop/tiles/shape.js";
import { apply, type Buffer, type Expr, int, load, local, variable } from "../../../../lower/expr.js";
import { type Demand, demandOf } from "./demand.js";
import type { Layout } from "./layout.js";

export const barrier: Stmt = { s: "barrier", scope: "workgroup" };
export const dtypeOf = (e: Expr): DType => (e.type === "real" ? "f32" : e.type === "int" ? "i32" : "bool");

/** Statements of one stretch between barriers, or a barrier; `when` guards what a tile without pairs leaves out. */
export type Phase = readonly Stmt[];

interface Held {
  readonly name: string;
  readonly value: Expr;
  readonly buffer: Buffer;
}

export class Group {
  readonly shape: Shape;
  readonly y = variable(freshName("y"));
  readonly x = variable(freshName("x"));
  readonly part: Expr;
  /** One invocation's own memory, and the workgroup's. */
  readonly own: Stmt[] = [];
  readonly common: Stmt[] = [];
  readonly #row = new Map<string, (r: Expr) => Expr>();
  readonly #lane = new Map<string, (c: Expr) => Expr>();
  readonly #sides = new Map<string, Buffer>();
  readonly #side = new Map<string, (at: Expr) => Expr>();
  readonly #pair = new Map<string, (r: Expr, c: Expr) => Expr>();
  /** Terms of one side that the elements read: computed once a row tile, or once a tile. */
  readonly #values = new Map<Expr, Held>();
  readonly rowValues: Held[] = [];
  readonly laneValues: Held[] = [];

  readonly demand: Demand;
  constructor(
    given: TilesNest,
    readonly layout: Layout,
  ) {
    this.shape = new Shape(given, layout.rows, layout.lanes);
    this.part = layout.parts === 1 ? int(0) : variable(freshName("part"));
    // Of the nest as its shape has it: the residues of a mask's congruence rename indices.
    this.demand = demandOf(this.shape.nest);
  }
  get nest(): TilesNest {
    return this.shape.nest;
  }
  get invocation(): Expr {
    return add(mul(this.y, int(this.layout.tx)), this.x);
  }
  get size(): number {
    return this.layout.tx * this.layout.ty;
  }

  // ── memory
  private(stem: string, dtype: DType, ...extents: readonly number[]): Buffer {
    const b = tile(freshName(stem), dtype, ...extents);
    this.own.push(allocS(b, "private"));
    return b;
  }
  shared(stem: string, dtype: DType, ...extents: readonly number[]): Buffer {
    const b = tile(freshName(stem), dtype, ...extents);
    this.common.push(allocS(b, "workgroup"));
    return b;
  }

  // ── cells
  /** For each of the invocation's rows (or lanes), written out: what is indexed by them lies in registers. */
  eachRow(body: (r: Expr) => readonly Stmt[]): Stmt {
    const r = freshName("r");
    return loop(r, int(0), int(this.layout.ey), body(variable(r)), "unroll");
  }
  /** The same as a loop: what is long is written once. A driver unrolls what is worth it. */
  rowByRow(body: (r: Expr) => readonly Stmt[]): Stmt {
    const r = freshName("r");
    return loop(r, int(0), int(this.layout.ey), body(variable(r)));
  }
  laneByLane(body: (c: Expr) => readonly Stmt[]): Stmt {
    const c = freshName("c");
    return loop(c, int(0), int(this.layout.ex), body(variable(c)));
  }
  eachLane(body: (c: Expr) => readonly Stmt[]): Stmt {
    const c = freshName("c");
    return loop(c, int(0), int(this.layout.ex), body(variable(c)), "unroll");
  }
  /** Row r of the invocation's in the tile, and lane c. */
  row(r: Expr): Expr {
    return add(mul(this.y, int(this.layout.ey)), r);
  }
  lane(c: Expr): Expr {
    return add(mul(c, int(this.layout.tx)), this.x);
  }
  rowExists(row: Expr): Expr | null {
    return this.shape.rows.kind === "num" ? null : less(row, this.shape.rows);
  }
  laneExists(lane: Expr): Expr | null {
    return this.shape.width.kind === "num" ? null : less(lane, this.shape.width);
  }
  /** One that exists: what is computed of those that do not is dropped, and must touch no other memory. */
  someRow(row: Expr): Expr {
    return this.shape.rows.kind === "num" ? row : imin(row, sub(this.shape.rows, int(1)));
  }
  someLane(lane: Expr): Expr {
    return this.shape.width.kind === "num" ? lane : imin(lane, sub(this.shape.width, int(1)));
  }
  /** `body(i)` for i in [0, n), divided among the workgroup's invocations: neighbours by neighbours. */
  divided(n: number, body: (i: Expr) => readonly Stmt[]): readonly Stmt[] {
    const [turn, i] = [freshName("turn"), freshName("at")];
    const { size } = this;
    if (n <= 0) return [];
    if (n === size) return body(this.invocation);
    if (n < size) return [ifS(less(this.invocation, int(n)), body(this.invocation))];
    const at = letS(i, add(mul(variable(turn), int(size)), this.invocation));
    const inner = body(variable(i));
    const turns = Math.ceil(n / size);
    const each = n % size === 0 ? inner : [ifS(less(variable(i), int(n)), inner)];
    return [loop(turn, int(0), int(turns), [at, ...each], turns > 2 ? "serial" : "unroll")];
  }

  // ── names
  holdRow(name: string, at: (r: Expr) => Expr) {
    this.#row.set(name, at);
  }
  holdLane(name: string, at: (c: Expr) => Expr) {
    this.#lane.set(name, at);
  }
  /** A value of each row (or lane) of the tile, in the workgroup's memory. */
  holdSide(name: string, side: "rows" | "over", buffer: Buffer) {
    this.#side.set(name, (at) => load(buffer, [at]));
    this.#sides.set(name, buffer);
    if (side === "rows") this.holdRow(name, (r) => load(buffer, [this.someRow(this.row(r))]));
    else this.holdLane(name, (c) => load(buffer, [this.someLane(this.lane(c))]));
  }
  side(name: string): Buffer {
    return this.#sides.get(name) as Buffer; // held from the start
  }
  /** Brings into scope what terms of one side read at its index in the tile. */
  sideLets(roots: readonly Expr[], at: Expr): readonly Stmt[] {
    return this.#lets(roots, this.#side, (of) => of(at));
  }
  holdPair(name: string, at: (r: Expr, c: Expr) => Expr) {
    this.#pair.set(name, at);
  }
  /** Brings into scope what terms read of row r. */
  rowLets(roots: readonly Expr[], r: Expr): readonly Stmt[] {
    return this.#lets(roots, this.#row, (at) => at(r));
  }
  laneLets(roots: readonly Expr[], c: Expr): readonly Stmt[] {
    return this.#lets(roots, this.#lane, (at) => at(c));
  }
  pairLets(roots: readonly Expr[], r: Expr, c: Expr): readonly Stmt[] {
    return this.#lets(roots, this.#pair, (at) => at(r, c));
  }
  #lets<F>(roots: readonly Expr[], of: ReadonlyMap<string, F>, value: (at: F) => Expr): readonly Stmt[] {
    return [...namesOf(...roots)].flatMap((n) => {
      const at = of.get(n);
      return at ? [letS(n, value(at))] : [];
    });
  }

  /** The same terms with those of one side, where they are worth a register, as locals. */
  sided(roots: readonly Expr[]): readonly Expr[] {
    const { shape } = this;
    const stands = new Map<string, { readonly e: Expr; readonly side: number }>();
    const next = replace(roots, (e) => {
      const side = shape.reads(e);
      if ((side !== ROW && side !== OVER) || !worth(e)) return undefined;
      const key = `side:${e.id}`;
      stands.set(key, { e, side });
      return local(key, e.type);
    });
    const to = new Map<string, Expr>();
    for (const e of termsOf(next)) {
      const stand = e.kind === "local" ? stands.get(e.name) : undefined;
      if (stand && e.kind === "local") to.set(e.name, this.#value(stand.e, stand.side));
    }
    return to.size === 0 ? next : replace(next, (e) => (e.kind === "local" ? to.get(e.name) : undefined));
  }
  #value(e: Expr, side: number): Expr {
    let held = this.#values.get(e);
    if (!held) {
      const name = freshName(side === ROW ? "row_value" : "lane_value");
      const buffer = this.private(name, dtypeOf(e), side === ROW ? this.layout.ey : this.layout.ex);
      held = { name, value: e, buffer };
      this.#values.set(e, held);
      this.shape.define(name, side);
      (side === ROW ? this.rowValues : this.laneValues).push(held);
      if (side === ROW) this.holdRow(name, (r) => load(buffer, [r]));
      else this.holdLane(name, (c) => load(buffer, [c]));
    }
    return local(held.name, e.type);
  }
}
/** A value that is read from memory, or dear. Integers that are computed may need more than 32 bits (counters of random
 *  numbers), and stay where they are. */
function worth(e: Expr): boolean {
  if (e.kind === "load") return e.type !== "bool";
  return e.type === "real" && e.kind !== "num" && e.kind !== "local" && (cost(e) > 1.5 || termsOf([e]).some((t) => t.kind === "load"));
}

export const isPair = (shape: Shape, e: Expr): boolean => (shape.reads(e) & PAIR) === PAIR;
export const and = (...all: readonly (Expr | null)[]): Expr | null => {
  const some = all.filter((e): e is Expr => e !== null);
  return some.length === 0 ? null : some.reduce((a, b) => apply("and", "bool", a, b));
};
export const when = (cond: Expr | null, body: readonly Stmt[], otherwise: readonly Stmt[] = []): readonly Stmt[] =>
  cond === null ? body : [ifS(cond, body, otherwise)];
