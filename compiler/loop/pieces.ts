// Loops cut where what they compute changes its form. A rotation reads element (i + D/2) mod D and negates where i < D/2: each
// half is a plain walk of memory, while the whole needs a gather and a selection for each lane. A vector loop of known
// length is cut at the indices where a division, a remainder or a comparison of its variable turns, if the pieces are
// few and each is a vector long; in each piece those terms are linear, or decided.
import { type Expr, int, num, partsOf } from "../lower/expr.js";
import { decidedBy, isComparison } from "../lower/ints.js";
import { bodiesOf, exprsOf, type For, type Kernel, rebuild, type Stmt, statements } from "./ir.js";
import { add, interval, linear, mul, sub, termsOf, withParts } from "./terms.js";

const MOST = 4;
const SHORTEST = 8;
const LONGEST = 1 << 16;

export function inPieces(kernel: Kernel): Kernel {
  const walk = (body: readonly Stmt[]): readonly Stmt[] =>
    body.flatMap((s) => {
      if (s.s === "for" && s.bind === "vector") return pieces(s);
      return bodiesOf(s).length > 0 && s.s !== "use" ? [rebuild(s, (e) => e, walk)] : [s];
    });
  return { ...kernel, body: walk(kernel.body) };
}

/** coefficient·v + constant. */
interface Line {
  readonly slope: number;
  readonly constant: number;
}
function lineIn(e: Expr, v: string): Line | undefined {
  let slope = 0;
  const { of, constant } = linear(e);
  for (const [atom, c] of of) {
    if (atom.kind !== "var" || atom.name !== v) return undefined;
    slope += c;
  }
  return slope === 0 ? undefined : { slope, constant };
}

/** The first indices of [from, to) at which a term of the variable changes its form. */
function turns(e: Expr, v: string, from: number, to: number): readonly number[] {
  if (e.kind !== "call") return [];
  const [a, b] = e.args as [Expr, Expr];
  const out: number[] = [];
  if ((e.prim === "idiv" || e.prim === "imod") && b.kind === "num" && b.value > 0) {
    const line = lineIn(a, v);
    if (!line) return [];
    const at = (i: number) => Math.floor((line.slope * i + line.constant) / b.value);
    for (let i = from + 1; i < to && out.length <= MOST; i++) if (at(i) !== at(i - 1)) out.push(i);
  } else if (isComparison(e.prim) && a.type === "int" && b.type === "int") {
    const line = lineIn(sub(a, b), v);
    if (!line) return [];
    const at = (i: number) => Math.sign(line.slope * i + line.constant);
    for (let i = from + 1; i < to && out.length <= MOST; i++) if (at(i) !== at(i - 1)) out.push(i);
  }
  return out;
}

function pieces(l: For): readonly Stmt[] {
  if (l.step !== 1 || l.from.kind !== "num" || l.to.kind !== "num") return [l];
  const [from, to] = [l.from.value, l.to.value];
  if (to - from < 2 * SHORTEST || to - from > LONGEST) return [l];
  if (statements(l.body).some((s) => s.s === "use" || s.s === "var" || s.s === "alloc")) return [l];
  const turnsOf = (body: readonly Stmt[], lo: number, hi: number) => termsOf(statements(body).flatMap(exprsOf)).flatMap((e) => turns(e, l.v, lo, hi));
  const cut = (at: readonly number[]) => {
    const ends = [...new Set(at), to].sort((x, y) => x - y);
    return ends.map((end, i) => {
      const start = i === 0 ? from : (ends[i - 1] as number);
      return { start, end, body: within(l.body, l.v, start, end) };
    });
  };
  const first = turnsOf(l.body, from, to);
  if (first.length === 0) return [l];
  // A comparison of a remainder turns where it does once the remainder is a line.
  const all = [...first, ...cut(first.slice(0, MOST)).flatMap((p) => turnsOf(p.body, p.start, p.end))];
  const made = new Set(all).size < MOST ? cut(all) : [];
  if (made.length === 0 || made.some((p) => p.end - p.start < SHORTEST)) return [l];
  return made.map((p) => ({ ...l, from: int(p.start), to: int(p.end), body: p.body }));
}

/** The body where start ≤ v < end: divisions, remainders and comparisons of v that are decided there. */
function within(body: readonly Stmt[], v: string, start: number, end: number): readonly Stmt[] {
  const ranges = new Map([[v, { lo: start, hi: end - 1 }]]);
  const done = new Map<Expr, Expr>();
  const go = (root: Expr): Expr => {
    for (const e of termsOf([root])) {
      if (done.has(e)) continue;
      const parts = partsOf(e);
      const next = parts.map((p) => done.get(p) as Expr);
      const made = next.every((p, i) => p === parts[i]) ? e : withParts(e, next);
      done.set(e, decided(made, v, ranges));
    }
    return done.get(root) as Expr;
  };
  const walk = (list: readonly Stmt[]): readonly Stmt[] => list.map((s) => rebuild(s, go, walk));
  return walk(body);
}
function decided(e: Expr, v: string, ranges: ReadonlyMap<string, { readonly lo: number; readonly hi: number }>): Expr {
  if (e.kind !== "call") return e;
  const [a, b, c] = e.args as [Expr, Expr, Expr];
  if ((e.prim === "idiv" || e.prim === "imod") && b.kind === "num" && b.value > 0 && lineIn(a, v)) {
    const { lo, hi } = interval(a, ranges);
    const [p, q] = [Math.floor(lo / b.value), Math.floor(hi / b.value)];
    if (p === q) return e.prim === "idiv" ? int(p) : sub(a, mul(int(p), b));
    return e;
  }
  if (isComparison(e.prim) && a.type === "int" && b.type === "int" && lineIn(sub(a, b), v)) {
    const { lo, hi } = interval(add(a, mul(b, int(-1))), ranges);
    return decidedBy(e.prim, lo, hi) ?? e;
  }
  const bool = (x: Expr) => (x.kind === "num" && x.type === "bool" ? x.value !== 0 : undefined);
  if (e.prim === "select" && bool(a) !== undefined && b.type === c.type) return bool(a) ? b : c;
  if (e.prim === "and") return bool(a) === true ? b : bool(b) === true ? a : bool(a) === false || bool(b) === false ? num(0, "bool") : e;
  if (e.prim === "or") return bool(a) === false ? b : bool(b) === false ? a : bool(a) || bool(b) ? num(1, "bool") : e;
  if (e.prim === "not" && bool(a) !== undefined) return num(bool(a) ? 0 : 1, "bool");
  return e;
}
