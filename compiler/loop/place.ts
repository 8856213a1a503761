// Gives every shared or loop-invariant term a name, at the outermost place where all that it depends on is known: the
// step from hash-consed terms (where sharing is free) to statements (where it must be written down).
//
// A term's depth is that of the innermost scope which defines a name in it. It becomes a `let` there when a term of a
// deeper scope, a statement deeper down or several terms use it. Terms that read memory the kernel writes, or mutable
// locals, hold for one statement only and stay in place. An `if` is a floor: what it guards must not move out of it.
import { type Buffer, type Expr, local, partsOf } from "../lower/expr.js";
import { exprsOf, type Kernel, rebuild, type Stmt, statements } from "./ir.js";
import { termsOf, withParts } from "./terms.js";

/** `shared`: a term that several statements hold is one as well: for targets whose compilers are slow to find such terms. */
export interface PlaceOptions {
  readonly shared?: boolean;
}

/** Terms higher than this are cut, so that no target's expressions nest without bound. */
const MAX_HEIGHT = 24;

interface Scope {
  readonly names: Set<string>;
  readonly out: Stmt[];
  readonly known: Map<Expr, Expr>;
  readonly isIf: boolean;
}

export function place(kernel: Kernel, o: PlaceOptions = {}): Kernel {
  const changing = new Set<Buffer>();
  const mutable = new Set<string>();
  for (const s of statements(kernel.body)) {
    if (s.s === "store" || s.s === "alloc") changing.add(s.buffer);
    if (s.s === "use") for (const p of s.places) changing.add(p.buffer);
    if (s.s === "var") mutable.add(s.name);
  }
  const statementsOf = new Map<Expr, number>();
  if (o.shared) for (const s of statements(kernel.body)) for (const e of termsOf(exprsOf(s))) statementsOf.set(e, (statementsOf.get(e) ?? 0) + 1);
  return { ...kernel, body: new Placer(changing, mutable, statementsOf).run(kernel.body) };
}

class Placer {
  readonly #scopes: Scope[] = [];
  readonly #depthOf = new Map<string, number>();
  #fresh = 0;
  constructor(
    readonly changing: ReadonlySet<Buffer>,
    readonly mutable: ReadonlySet<string>,
    /** How many statements hold a term. */
    readonly statementsOf: ReadonlyMap<Expr, number>,
  ) {}

  run(body: readonly Stmt[]): readonly Stmt[] {
    return this.#scope(body, [], false);
  }
  #define(name: string) {
    this.#scopes.at(-1)?.names.add(name);
    this.#depthOf.set(name, this.#scopes.length - 1);
  }
  #scope(body: readonly Stmt[], names: readonly string[], isIf: boolean): readonly Stmt[] {
    const scope: Scope = { names: new Set(), out: [], known: new Map(), isIf };
    this.#scopes.push(scope);
    for (const n of names) this.#define(n);
    for (const s of body) {
      const named = this.#terms(exprsOf(s));
      const now = rebuild(
        s,
        (e) => named.get(e) as Expr,
        (b) => (s.s === "use" ? b : this.#scope(b, s.s === "for" ? [s.v] : [], s.s === "if")),
      );
      if (s.s === "let" || s.s === "var") this.#define(s.name);
      scope.out.push(now);
    }
    this.#scopes.pop();
    for (const n of scope.names) this.#depthOf.delete(n);
    return scope.out;
  }

  /** What to write for each of a statement's terms; pushes the lets that this takes. */
  #terms(roots: readonly Expr[]): ReadonlyMap<Expr, Expr> {
    const here = this.#scopes.length - 1;
    const floor = this.#scopes.findLastIndex((s) => s.isIf);
    const all = termsOf(roots);
    const depth = new Map<Expr, number>();
    const pinned = new Set<Expr>();
    const uses = new Map<Expr, number>();
    const deeper = new Set<Expr>();
    for (const e of all) {
      let d = Math.max(0, floor);
      if (e.kind === "var" || e.kind === "local") d = Math.max(d, this.#depthOf.get(e.name) ?? 0);
      for (const p of partsOf(e)) {
        d = Math.max(d, depth.get(p) as number);
        if (pinned.has(p)) pinned.add(e);
      }
      if ((e.kind === "load" && this.changing.has(e.buffer)) || (e.kind === "local" && this.mutable.has(e.name))) pinned.add(e);
      depth.set(e, pinned.has(e) ? here : d);
    }
    for (const e of all) {
      for (const p of partsOf(e)) {
        uses.set(p, (uses.get(p) ?? 0) + 1);
        if ((depth.get(e) as number) > (depth.get(p) as number)) deeper.add(p);
      }
    }
    for (const r of roots) {
      uses.set(r, (uses.get(r) ?? 0) + 1);
      if ((depth.get(r) as number) < here) deeper.add(r);
    }
    const now = new Map<Expr, Expr>();
    const height = new Map<Expr, number>();
    for (const e of all) {
      const at = depth.get(e) as number;
      const known = this.#scopes[at]?.known.get(e);
      if (known) {
        now.set(e, known);
        height.set(e, 0);
        continue;
      }
      const parts = partsOf(e);
      const next = parts.map((p) => now.get(p) as Expr);
      const term = next.every((p, i) => p === parts[i]) ? e : withParts(e, next);
      const h = Math.max(0, ...parts.map((p) => height.get(p) as number)) + 1;
      const again = deeper.has(e) || (uses.get(e) as number) > 1 || (!pinned.has(e) && (this.statementsOf.get(e) ?? 0) > 1);
      if (!trivial(e) && (again || h > MAX_HEIGHT)) {
        const name = `t${this.#fresh++}_`; // no loop variable ends so: an axis may be called "t"
        const scope = this.#scopes[at] as Scope;
        scope.out.push({ s: "let", name, value: term });
        scope.names.add(name);
        this.#depthOf.set(name, at);
        const own = local(name, e.type);
        if (!pinned.has(e)) scope.known.set(e, own);
        now.set(e, own);
        height.set(e, 0);
      } else {
        now.set(e, term);
        height.set(e, h);
      }
    }
    return now;
  }
}

/** Address arithmetic stays visible: targets read an access's stride from it. */
function trivial(e: Expr): boolean {
  if (e.kind === "num" || e.kind === "var" || e.kind === "local") return true;
  if (e.kind !== "call") return false;
  if (e.type === "int" && (e.prim === "add" || e.prim === "sub" || e.prim === "neg")) return true;
  if (e.type === "int" && e.prim === "mul") return e.args.some((a) => a.kind === "num");
  return e.prim === "toReal" && (e.args[0] as Expr).kind === "num";
}
