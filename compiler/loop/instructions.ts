// The instructions that recipes may ask of a target, and what each means in loops: a target that lacks one prints the
// meaning, and the tests run it.
import { apply, type Expr, int, load, local, real, variable } from "../lower/expr.js";
import { allocS, type Instruction, ifS, letS, loop, type Place, type Stmt, setS, tile, varS } from "./ir.js";
import { freshName } from "./spans.js";
import { add, idiv, imod, mul } from "./terms.js";

/** Rows of a panel of a block's A and columns of one of its B: whole register blocks of every target (12 × 32 with AVX-512, 6 × 16
 *  with AVX). */
export const PANEL_ROWS = 12;
export const PANEL_COLUMNS = 16;

/** Of a workgroup, at most. */
const INVOCATIONS = 1024;

type Meaning = (places: readonly Place[], ints: readonly Expr[]) => readonly Stmt[];

/** The element `by` steps along the last axis from a place: rows of a tile and of an array alike are strides from it. */
const beside = (p: Place, by: Expr): Place => {
  const last = p.index.at(-1);
  return last ? { buffer: p.buffer, index: [...p.index.slice(0, -1), add(last, by)] } : p;
};
const at = (p: Place, by: Expr): Expr => load(p.buffer, beside(p, by).index);
const put = (p: Place, by: Expr, value: Expr): Stmt => ({ s: "store", ...beside(p, by), value });

const meanings: { readonly [I in Instruction]: Meaning } = {
  block: ([a, b, c], [rows, columns, depth, as, ap, ak, bk, bp, cs, more]) => {
    const [r, l, k, acc, old] = ["row", "lane", "k", "sum", "before"].map(freshName) as [string, string, string, string, string];
    const [A, B, C] = [a, b, c] as [Place, Place, Place];
    const sum = local(acc, "real");
    const term = (x: Expr, s: Expr | undefined) => mul(x, s as Expr);
    /** Index i in groups of n: strides inside a group, and from group to group. */
    const grouped = (i: Expr, n: number, inside: Expr, group: Expr | undefined) => add(mul(imod(i, int(n)), inside), term(idiv(i, int(n)), group));
    const rowOf = grouped(variable(r), PANEL_ROWS, as as Expr, ap);
    const columnOf = grouped(variable(l), PANEL_COLUMNS, int(1), bp);
    const step = apply("fma", "real", at(A, add(rowOf, term(variable(k), ak))), at(B, add(term(variable(k), bk), columnOf)), sum);
    const here = add(term(variable(r), cs), variable(l));
    const flag = more as Expr;
    const adds = flag.type === "bool" ? flag : apply("ne", "bool", flag, int(0));
    return [
      loop(r, int(0), rows as Expr, [
        loop(l, int(0), columns as Expr, [
          varS(acc, real(0)),
          loop(k, int(0), depth as Expr, [setS(acc, step)]),
          ifS(adds, [letS(old, at(C, here)), put(C, here, apply("add", "real", local(old, "real"), sum))], [put(C, here, sum)]),
        ]),
      ]),
    ];
  },
  transpose8: ([from, to], [stride]) => {
    const [row, column] = [freshName("row"), freshName("column")];
    const [F, T] = [from, to] as [Place, Place];
    return [
      loop(column, int(0), int(8), [
        loop(row, int(0), int(8), [
          put(T, add(mul(variable(column), stride as Expr), variable(row)), at(F, add(mul(variable(row), int(8)), variable(column)))),
        ]),
      ]),
    ];
  },
  // Through memory of the workgroup.
  exchange: ([value, other], [invocation, mask]) => {
    const [V, O] = [value, other] as [Place, Place];
    const all = tile(freshName("exchanged"), V.buffer.dtype, INVOCATIONS);
    const at = invocation as Expr;
    const bit = (mask as Expr & { kind: "num" }).value;
    const partner = apply("select", "int", apply("lt", "bool", imod(at, int(2 * bit)), int(bit)), add(at, int(bit)), add(at, int(-bit)));
    const barrier: Stmt = { s: "barrier", scope: "workgroup" };
    return [
      allocS(all, "workgroup"),
      { s: "store", buffer: all, index: [at], value: load(V.buffer, V.index) },
      barrier,
      { s: "store", buffer: O.buffer, index: O.index, value: load(all, [partner]) },
      barrier,
    ];
  },
};
/** The instruction as a statement, with its meaning. */
export const useS = (instruction: Instruction, places: readonly Place[], ints: readonly Expr[]): Stmt => ({
  s: "use",
  instruction,
  places,
  ints,
  meaning: meanings[instruction](places, ints),
});
