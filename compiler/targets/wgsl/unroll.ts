// Writes out short `unroll` loops, so that memory which constants alone index can be variables (memory.ts), gives each name one
// definition, and leaves out what never runs: loops of no turns and branches whose condition is known. WGSL refuses a
// constant index beyond its array even there.
import { type For, ifS, type Kernel, rebuild, type Stmt, statements } from "../../loop/ir.js";
import { freshName } from "../../loop/spans.js";
import { add, rename, termsOf, withParts } from "../../loop/terms.js";
import { type Expr, int, local, num, partsOf } from "../../lower/expr.js";
import { decidedBy, isComparison } from "../../lower/ints.js";

/** Turns of a loop that are written out, and of all loops in one another. */
const MOST_TURNS = 16;
const MOST_COPIES = 256;

export const unrolled = (kernel: Kernel): Kernel => ({ ...kernel, body: walk(kernel.body, new Map(), 1, new Set()) });

/** `to`: what names stand for; `seen`: those that have a definition. */
function walk(body: readonly Stmt[], outer: ReadonlyMap<string, Expr>, copies: number, seen: Set<string>): readonly Stmt[] {
  const to = new Map(outer);
  return body.flatMap((s): readonly Stmt[] => {
    const e = (x: Expr): Expr => known(rename([x], to)[0] as Expr);
    switch (s.s) {
      case "let":
      case "var": {
        const value = e(s.value);
        if (!seen.has(s.name)) {
          seen.add(s.name);
          to.delete(s.name);
          return [{ ...s, value }];
        }
        const name = freshName(s.name);
        to.set(s.name, local(name, s.value.type));
        return [{ ...s, name, value }];
      }
      case "set": {
        const now = to.get(s.name);
        return [{ ...s, name: now?.kind === "local" ? now.name : s.name, value: e(s.value) }];
      }
      case "if": {
        const cond = e(s.cond);
        if (cond.kind === "num" && cond.value === 0)
          return s.otherwise.length === 0 ? [] : [ifS(num(1, "bool"), walk(s.otherwise, to, copies, seen))];
        return [ifS(cond, walk(s.then, to, copies, seen), walk(s.otherwise, to, copies, seen))];
      }
      case "for": {
        const [from, end] = [e(s.from), e(s.to)];
        const turns = turnsOf({ ...s, from, to: end });
        if (turns === 0 && s.bind !== "workgroup") return [];
        if (s.bind === "unroll" && turns !== undefined && turns <= MOST_TURNS && turns * copies <= MOST_COPIES && unrollable(s))
          return Array.from({ length: turns }, (_, i) => walk(s.body, new Map(to).set(s.v, add(from, int(i * s.step))), copies * turns, seen)).flat();
        const inner = new Map(to);
        inner.delete(s.v);
        return [{ ...s, from, to: end, body: walk(s.body, inner, copies, seen) }];
      }
      default:
        return [rebuild(s, e, (b) => walk(b, to, copies, seen))];
    }
  });
}
export function turnsOf(s: Pick<For, "from" | "to" | "step">): number | undefined {
  return s.from.kind === "num" && s.to.kind === "num" ? Math.max(0, Math.ceil((s.to.value - s.from.value) / s.step)) : undefined;
}
/** Memory is allocated once, and invocations come by an instruction together. */
const unrollable = (s: For): boolean => !statements(s.body).some((t) => t.s === "alloc" || t.s === "use" || (t.s === "for" && t.bind === "local"));

/** The term with what numbers decide of it decided. */
function known(root: Expr): Expr {
  const done = new Map<Expr, Expr>();
  for (const e of termsOf([root])) {
    const parts = partsOf(e);
    const next = parts.map((p) => done.get(p) as Expr);
    done.set(e, decided(next.every((p, i) => p === parts[i]) ? e : withParts(e, next)));
  }
  return done.get(root) as Expr;
}
function decided(e: Expr): Expr {
  if (e.kind !== "call") return e;
  const [a, b, c] = e.args as readonly [Expr, Expr, Expr];
  const truth = (x: Expr | undefined) => (x?.kind === "num" && x.type === "bool" ? x.value !== 0 : undefined);
  if (isComparison(e.prim) && a.kind === "num" && b.kind === "num" && a.type === "int" && b.type === "int")
    return decidedBy(e.prim, a.value - b.value, a.value - b.value) ?? e;
  switch (e.prim) {
    case "select":
      return truth(a) === undefined || b.type !== c.type ? e : truth(a) ? b : c;
    case "and":
      return truth(a) === true ? b : truth(b) === true ? a : truth(a) === false || truth(b) === false ? num(0, "bool") : e;
    case "or":
      return truth(a) === false ? b : truth(b) === false ? a : truth(a) || truth(b) ? num(1, "bool") : e;
    case "not":
      return truth(a) === undefined ? e : num(truth(a) ? 0 : 1, "bool");
    default:
      return e;
  }
}
