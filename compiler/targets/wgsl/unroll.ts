// Writes out short loops, so that memory which constants alone index can be variables (memory.ts), gives each name one
// definition, and leaves out what never runs: loops of no turns and branches whose condition is known. WGSL refuses a
// constant index beyond its array even there.
import { exprsOf, type For, ifS, type Kernel, rebuild, type Stmt, statements } from "../../loop/ir.js";
import { freshName } from "../../loop/spans.js";
import { add, namesOf, rename, termsOf, withParts } from "../../loop/terms.js";
import { type Buffer, type Expr, int, local, num, partsOf } from "../../lower/expr.js";
import { decidedBy, isComparison } from "../../lower/ints.js";

/** Turns of a loop that are written out, and of all loops in one another. */
const MOST_TURNS = 16;
const MOST_COPIES = 256;

export function unrolled(kernel: Kernel): Kernel {
  const own = new Set(statements(kernel.body).flatMap((s) => (s.s === "alloc" && s.space === "private" ? [s.buffer] : [])));
  return { ...kernel, body: walk(kernel.body, new Map(), 1, new Set(), own) };
}

/** `to`: what names stand for; `seen`: those that have a definition. */
function walk(body: readonly Stmt[], outer: ReadonlyMap<string, Expr>, copies: number, seen: Set<string>, own: ReadonlySet<Buffer>): readonly Stmt[] {
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
          return s.otherwise.length === 0 ? [] : [ifS(num(1, "bool"), walk(s.otherwise, to, copies, seen, own))];
        return [ifS(cond, walk(s.then, to, copies, seen, own), walk(s.otherwise, to, copies, seen, own))];
      }
      case "for": {
        const [from, end] = [e(s.from), e(s.to)];
        const turns = turnsOf({ ...s, from, to: end });
        if (turns === 0 && s.bind !== "workgroup") return [];
        if (turns !== undefined && s.bind !== "workgroup" && s.bind !== "local" && worthwhile(s, turns, copies, own) && unrollable(s))
          return Array.from({ length: turns }, (_, i) =>
            walk(s.body, new Map(to).set(s.v, add(from, int(i * s.step))), copies * turns, seen, own),
          ).flat();
        const inner = new Map(to);
        inner.delete(s.v);
        return [{ ...s, from, to: end, body: walk(s.body, inner, copies, seen, own) }];
      }
      default:
        return [rebuild(s, e, (b) => walk(b, to, copies, seen, own))];
    }
  });
}
export function turnsOf(s: Pick<For, "from" | "to" | "step">): number | undefined {
  return s.from.kind === "num" && s.to.kind === "num" ? Math.max(0, Math.ceil((s.to.value - s.from.value) / s.step)) : undefined;
}
/** Marked so, or of one turn, or a short one that an invocation's own memory is indexed by: that memory then lies in registers. */
function worthwhile(s: For, turns: number, copies: number, own: ReadonlySet<Buffer>): boolean {
  if (turns === 1) return true;
  if (turns > MOST_TURNS || turns * copies > MOST_COPIES || s.bind === "vector") return false;
  return s.bind === "unroll" || (turns * copies <= MOST_COPIES / 4 && indexes(s, own));
}
function indexes(s: For, own: ReadonlySet<Buffer>): boolean {
  const by = (b: Buffer, index: readonly Expr[]) => own.has(b) && namesOf(...index).has(s.v);
  return statements(s.body).some(
    (t) => (t.s === "store" && by(t.buffer, t.index)) || termsOf(exprsOf(t)).some((e) => e.kind === "load" && by(e.buffer, e.index)),
  );
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
