// Lanes: the invocations that share a row. A workgroup holds one row or several, each with as many lanes; lanes divide what is
// in a row among them, and a fold's parts come together in a fixed order, the same at every run:
//
//   in a subgroup by exchange with the neighbour 1, 2, 4 … away, where the adapter has subgroups: as far as the least of their
//   sizes, so that the order does not depend on the size that a pipeline gets;
//   beyond that through workgroup memory, sixteen parts at a time, each level after a barrier.
//
// A lane holds elements l, l + lanes … of a commutative fold, and a run of neighbours of any other: parts are then combined in
// the order of lanes. Which direction neighbouring invocations take is the recipe's: along the row, or from row to row
// (`beside`, where neighbouring rows are what is contiguous). Rows beyond the last exist for barriers alone.
import type { DType } from "../../../../dsl/node.js";
import { bound, combined, emptyOf } from "../../../loop/fold.js";
import { useS } from "../../../loop/instructions.js";
import { allocS, ifS, letS, loop, type Stmt, setS, storeS, tile, varS } from "../../../loop/ir.js";
import { count, freshName, inOrder, type Span, unflatten } from "../../../loop/spans.js";
import { add, idiv, imod, less, mul } from "../../../loop/terms.js";
import { apply, type Buffer, type Expr, int, load, local, type Type, variable } from "../../../lower/expr.js";
import type { Monoid } from "../../../lower/nest.js";
import type { WgslLimits } from "../limits.js";

export interface Shape {
  /** Invocations of a row, a power of two. */
  readonly lanes: number;
  /** Rows of a workgroup. */
  readonly rows: number;
  /** Neighbouring invocations are at neighbouring rows. */
  readonly beside: boolean;
}
export const barrier: Stmt = { s: "barrier", scope: "workgroup" };
/** Parts that one invocation combines at a level of the tree. */
const RADIX = 16;
/** Parts that every lane combines for itself rather than wait for another level. */
const FLAT = 32;

const dtypes: Readonly<Record<Type, DType>> = { real: "f32", int: "i32", bool: "bool" };
export const powerUpTo = (n: number): number => 2 ** Math.floor(Math.log2(Math.max(1, n)));
export const powerFrom = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));
/** Invocations of a workgroup that has them in two directions of at most these sizes. */
export const invocationsOf = (limits: WgslLimits): number =>
  powerUpTo(Math.min(256, limits.invocations, limits.workgroupSize[0], limits.workgroupSize[1]));
/** Invocations whose parts of a fold of so many components fit into workgroup memory. */
export const fitting = (components: number, limits: WgslLimits): number =>
  powerUpTo(limits.workgroupMemory / (2 * 4 * Math.max(1, components) * (1 + 1 / RADIX)));
/** Invocations of a row of this length and its like, and rows of a workgroup. `most`: invocations of a workgroup. */
export function alongRows(n: number, length: number, most: number, limits: WgslLimits): Shape {
  // A processor has no use for more invocations than its few vectors hold, and pays for every barrier.
  const alone = length <= 2 * EACH || (limits.processor === true && n >= ENOUGH);
  const lanes = alone ? 1 : Math.min(most, powerFrom(length / EACH));
  return { lanes, rows: Math.max(1, Math.min(alone && length > 2 * EACH ? ENOUGH : LEAST / lanes, most, powerFrom(n))), beside: false };
}
/** Elements of a row that a lane is worth. */
const EACH = 4;
/** A workgroup of fewer invocations leaves lanes of its subgroups idle. */
const LEAST = 64;
/** Rows that keep a processor busy, each by one invocation. */
export const ENOUGH = 16;

export class Lanes {
  /** Workgroup memory that the fold's parts pass through. */
  readonly memory: Buffer[] = [];
  readonly #boards = new Map<string, Buffer>();
  /** Two sets of boards in turn: what a lane still reads of one fold is not what another writes for the next. */
  #turn = 0;
  /** Since the last barrier: memory was read, was written. */
  #read = false;
  #wrote = false;

  constructor(
    readonly shape: Shape,
    readonly limits: WgslLimits,
    readonly lane: Expr,
    readonly row: Expr,
    /** null: every row is one. */
    readonly exists: Expr | null,
  ) {}

  /** For rows that exist. */
  when(body: readonly Stmt[]): readonly Stmt[] {
    return this.exists === null ? body : [ifS(this.exists, body)];
  }
  /** By one lane of each row. */
  once(body: readonly Stmt[]): readonly Stmt[] {
    return this.shape.lanes === 1 ? body : [ifS(apply("eq", "bool", this.lane, int(0)), body)];
  }
  /** All indices of the spans, divided among the lanes: neighbours by neighbours. */
  divided(spans: readonly Span[], body: readonly Stmt[]): readonly Stmt[] {
    const { lanes } = this.shape;
    const last = spans.at(-1);
    if (!last) return this.once(body);
    if (lanes === 1) return inOrder(spans, body);
    if (last.max >= lanes || spans.length === 1) return inOrder(spans.slice(0, -1), [loop(last.v, this.lane, last.extent, body, "serial", lanes)]);
    const flat = freshName("flat");
    return [loop(flat, this.lane, count(spans), [...unflatten(spans, variable(flat)), ...body], "serial", lanes)];
  }
  /** The lane's run of neighbours among n: its first and its end, as statements and names. */
  run(n: Expr): { readonly lets: readonly Stmt[]; readonly from: Expr; readonly to: Expr } {
    const { lanes } = this.shape;
    if (lanes === 1) return { lets: [], from: int(0), to: n };
    const [each, from, to] = ["each", "from", "to"].map(freshName) as [string, string, string];
    return {
      lets: [
        letS(each, idiv(add(n, int(lanes - 1)), int(lanes))),
        letS(from, mul(this.lane, variable(each))),
        letS(to, apply("min", "int", n, add(variable(from), variable(each)))),
      ],
      from: variable(from),
      to: variable(to),
    };
  }

  /** A barrier where what follows reads or writes memory that lanes have written or read since the last one. */
  before(reads: boolean, writes: boolean): readonly Stmt[] {
    const wait = this.shape.lanes > 1 && ((reads && this.#wrote) || (writes && (this.#read || this.#wrote)));
    if (wait) this.#passed();
    this.#read ||= reads;
    this.#wrote ||= writes;
    return wait ? [barrier] : [];
  }
  #passed(): void {
    this.#read = false;
    this.#wrote = false;
  }

  /** Lanes' parts, in variables of these names, become the total in every lane. */
  total(monoid: Monoid, names: readonly string[]): readonly Stmt[] {
    const { lanes } = this.shape;
    const near = this.#subgroup();
    const out = near > 1 ? [...this.#exchanged(monoid, names, near)] : [];
    const parts = lanes / near;
    if (parts === 1) return out;
    const turn = this.#nextTurn();
    const first = this.#board(monoid, `${turn} parts`, parts);
    const own = this.#put(first, idiv(this.lane, int(near)), names, monoid);
    out.push(...(near === 1 ? own : [ifS(apply("eq", "bool", imod(this.lane, int(near)), int(0)), own)]), barrier);
    this.#passed();
    if (parts <= FLAT) return [...out, ...this.#gathered(monoid, names, first, int(0), int(parts))];
    const groups = parts / RADIX;
    const second = this.#board(monoid, `${turn} groups`, groups);
    const start = mul(this.lane, int(RADIX));
    return [
      ...out,
      ifS(less(this.lane, int(groups)), [...this.#gathered(monoid, names, first, start, int(RADIX)), ...this.#put(second, this.lane, names, monoid)]),
      barrier,
      ...this.#gathered(monoid, names, second, int(0), int(groups)),
    ];
  }
  /** Lanes' parts become, in each lane, what the lanes before it have; the identity in the first. */
  prefix(monoid: Monoid, names: readonly string[]): readonly Stmt[] {
    const { lanes } = this.shape;
    if (lanes === 1) return emptyOf(monoid).map((e, i) => setS(names[i] as string, e));
    const board = this.#board(monoid, `${this.#nextTurn()} parts`, lanes);
    const put = this.#put(board, this.lane, names, monoid);
    this.#passed();
    const e = freshName("before");
    return [
      ...put,
      barrier,
      ...emptyOf(monoid).map((x, i) => setS(names[i] as string, x)),
      loop(e, int(0), this.lane, this.#takenIn(monoid, names, board, variable(e))),
    ];
  }

  /** How many lanes a subgroup is sure to hold of a row. */
  #subgroup(): number {
    const { lanes, beside, rows } = this.shape;
    return this.limits.subgroups === null || (beside && rows > 1) ? 1 : Math.min(lanes, powerUpTo(this.limits.subgroups.min));
  }
  #exchanged(monoid: Monoid, names: readonly string[], near: number): readonly Stmt[] {
    const like = bound(monoid, names);
    const tiles = like.map((e) => [tile(freshName("mine"), dtypes[e.type], 1), tile(freshName("other"), dtypes[e.type], 1)] as const);
    const invocation = add(mul(this.row, int(this.shape.lanes)), this.lane);
    const others = tiles.map(([, other]) => load(other, [int(0)]));
    const out: Stmt[] = tiles.flatMap(([mine, other]) => [allocS(mine, "private"), allocS(other, "private")]);
    for (let mask = 1; mask < near; mask *= 2) {
      tiles.forEach(([mine, other], i) => {
        const [value, into] = [at0(mine), at0(other)];
        out.push(storeS(mine, [int(0)], like[i] as Expr), useS("exchange", [value, into], [invocation, int(mask)]));
      });
      // The lower lane's part stands before the upper's.
      const lower = less(imod(this.lane, int(2 * mask)), int(mask));
      const swapped = (a: readonly Expr[], b: readonly Expr[]) => a.map((e, i) => apply("select", e.type, lower, e, b[i] as Expr));
      const inOrder = monoid.kind === "general" ? [swapped(like, others), swapped(others, like)] : [like, others];
      out.push(...assigned(names, combined(asGeneral(monoid), inOrder[0] as readonly Expr[], inOrder[1] as readonly Expr[])));
    }
    return out;
  }
  #nextTurn(): number {
    this.#turn = 1 - this.#turn;
    return this.#turn;
  }
  #board(monoid: Monoid, key: string, parts: number): readonly Buffer[] {
    const { rows, beside } = this.shape;
    return monoid.combine.map((e, c) => {
      const name = `${key} ${c} ${e.type} ${parts}`;
      const known = this.#boards.get(name) ?? tile(freshName("parts"), dtypes[e.type], ...(beside ? [parts, rows] : [rows, parts]));
      if (!this.#boards.has(name)) this.memory.push(known);
      this.#boards.set(name, known);
      return known;
    });
  }
  #at = (part: Expr): readonly Expr[] => (this.shape.beside ? [part, this.row] : [this.row, part]);
  #put(board: readonly Buffer[], part: Expr, names: readonly string[], monoid: Monoid): readonly Stmt[] {
    return bound(monoid, names).map((e, i) => storeS(board[i] as Buffer, this.#at(part), e));
  }
  #takenIn(monoid: Monoid, names: readonly string[], board: readonly Buffer[], part: Expr): readonly Stmt[] {
    const other = board.map((b) => load(b, this.#at(part)));
    return assigned(names, combined(asGeneral(monoid), bound(monoid, names), other));
  }
  /** The names become parts [from, from + n) of a board, combined in order. */
  #gathered(monoid: Monoid, names: readonly string[], board: readonly Buffer[], from: Expr, n: Expr): readonly Stmt[] {
    const e = freshName("part");
    return [
      ...names.map((name, i) => setS(name, load(board[i] as Buffer, this.#at(from)))),
      loop(e, int(1), n, this.#takenIn(monoid, names, board, add(from, variable(e)))),
    ];
  }
}
const at0 = (buffer: Buffer) => ({ buffer, index: [int(0)] });
/** No part is a product that an fma could take in. */
const asGeneral = (monoid: Monoid): Monoid => ({ ...monoid, kind: "general" });

/** All at once: a value may read what another name held. */
export function assigned(names: readonly string[], values: readonly Expr[]): readonly Stmt[] {
  if (names.length === 1) return [setS(names[0] as string, values[0] as Expr)];
  const next = names.map((n) => freshName(`${n}_next`));
  return [...values.map((v, i) => letS(next[i] as string, v)), ...names.map((n, i) => setS(n, local(next[i] as string, (values[i] as Expr).type)))];
}
export const started = (monoid: Monoid, names: readonly string[]): readonly Stmt[] => emptyOf(monoid).map((e, i) => varS(names[i] as string, e));

/** The kernel: for each of the rows `body`, by its lanes. */
export function byLanes(rows: readonly Span[], shape: Shape, limits: WgslLimits, body: (lanes: Lanes) => readonly Stmt[]): readonly Stmt[] {
  const n = count(rows);
  const [group, own, lane, row] = ["rows", "own", "lane", "row"].map(freshName) as [string, string, string, string];
  const [many, shared] = [shape.rows > 1, shape.lanes > 1];
  const whole = n.kind === "num" && n.value % shape.rows === 0;
  const lanes = new Lanes(
    shape,
    limits,
    shared ? variable(lane) : int(0),
    many ? variable(own) : int(0),
    whole || !many ? null : less(variable(row), n),
  );
  const each = [letS(row, add(variable(group), many ? variable(own) : int(0))), ...unflatten(rows, variable(row)), ...body(lanes)];
  const alongRows = (b: readonly Stmt[]) => (many ? [loop(own, int(0), int(shape.rows), b, "local")] : b);
  const alongLanes = (b: readonly Stmt[]) => (shared || !many ? [loop(lane, int(0), int(shape.lanes), b, "local")] : b);
  const members = shape.beside ? alongLanes(alongRows(each)) : alongRows(alongLanes(each));
  return [loop(group, int(0), n, [...lanes.memory.map((b) => allocS(b, "workgroup")), ...members], "workgroup", shape.rows)];
}
