// What a kernel's text follows from: the buffers it uses, the names that barriers depend on, terms that WGSL computes while it compiles.
import { evaluate } from "../../../dsl/primitives.js";
import { exprsOf, type Kernel, type Stmt, statements } from "../../loop/ir.js";
import { namesOf, offset, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements } from "../../lower/expr.js";

/** Storage buffers that a kernel uses, in the order of their first use, and those it writes. */
export function usedBy(kernel: Kernel): { readonly used: readonly Buffer[]; readonly written: ReadonlySet<Buffer> } {
  const own = new Set<Buffer>();
  const [used, written] = [new Set<Buffer>(), new Set<Buffer>()];
  for (const s of statements(kernel.body)) {
    if (s.s === "alloc") own.add(s.buffer);
    for (const e of termsOf(exprsOf(s))) if (e.kind === "load") used.add(e.buffer);
    if (s.s === "store") {
      used.add(s.buffer);
      written.add(s.buffer);
    }
  }
  return { used: [...used].filter((b) => !own.has(b)), written: new Set([...written].filter((b) => !own.has(b))) };
}

/** Does it read storage that it has written, or write a place twice? */
export function passesStorage(kernel: Kernel): boolean {
  const { written } = usedBy(kernel);
  const all = statements(kernel.body);
  const stored = all.flatMap((s) => (s.s === "store" && written.has(s.buffer) ? [s.buffer] : []));
  if (new Set(stored).size < stored.length) return true;
  return all.some((s) => termsOf(exprsOf(s)).some((e) => e.kind === "load" && written.has(e.buffer)));
}
export const barred = (s: Stmt): boolean => statements([s]).some((t) => t.s === "barrier");

/** The names that conditions and bounds around barriers depend on. */
export function steering(kernel: Kernel): ReadonlySet<string> {
  const out = new Set<string>();
  const values = new Map<string, Expr>();
  const todo: Expr[] = [];
  for (const s of statements(kernel.body)) {
    if (s.s === "let") values.set(s.name, s.value);
    if (s.s === "if" && barred(s)) todo.push(s.cond);
    if (s.s === "for" && s.bind !== "workgroup" && s.bind !== "local" && barred(s)) todo.push(s.from, s.to);
  }
  for (let e = todo.pop(); e; e = todo.pop())
    for (const n of namesOf(e)) {
      if (out.has(n)) continue;
      out.add(n);
      const value = values.get(n);
      if (value) todo.push(value);
    }
  return out;
}

/** A guarded load of a constant place outside its memory, which WGSL refuses, or whose guard is known to be false. */
export function outside(e: Expr & { kind: "load" }): boolean {
  if (!e.inside) return false;
  const at = constant(offset(e.buffer, e.index));
  return constant(e.inside) === false || (typeof at === "number" && (at < 0 || at >= elements(e.buffer)));
}
/** The value of a term of numbers alone: WGSL computes such terms while it compiles, and refuses what overflows. Terms are no
 *  higher than loop/place.ts leaves them. */
export function constant(e: Expr): number | boolean | undefined {
  if (e.kind === "num") return e.type === "bool" ? e.value !== 0 : e.type === "real" ? Math.fround(e.value) : e.value;
  if (e.kind === "load" && outside(e)) return e.type === "bool" ? false : 0;
  if (e.kind !== "call") return undefined;
  const args = e.args.map(constant);
  if (args.some((a) => a === undefined)) return undefined;
  const [x, y] = args as [number, number];
  const value =
    e.prim === "idiv" ? Math.floor(x / y) : e.prim === "imod" ? x - y * Math.floor(x / y) : evaluate(e.prim, args as readonly (number | boolean)[]);
  if (e.type === "bool") return value === true || (typeof value === "number" && value !== 0);
  const number = Number(value);
  return e.type === "real" ? Math.fround(number) : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(number)));
}
