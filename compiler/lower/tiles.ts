// One kernel of tiles, from the nodes of its folds: what is read on which side becomes operands of contractions ("dots"),
// small folds of one side ("sides") and tile expressions; what a result is made of beside its fold (1/l) moves to
// the store.
import type { Extent, FoldNode, Node } from "../../dsl/node.js";
import { isPointwise } from "../graph/quadratic.js";
import { Access, type Indices, type Memory } from "./access.js";
import { apply, type Expr, int, local, maxOf, partsOf, real, variable } from "./expr.js";
import { conditions, isZero, product, variables } from "./form.js";
import { and, not, yes } from "./ints.js";
import type { Condition } from "./masks.js";
import type { Axis, Dot, Monoid, Side, TileFold } from "./nest.js";
import { rescaling } from "./rescale.js";
import { select, toIndex, toReal } from "./translate.js";

/** What a kernel is to be: its axes by name, in order, and what it may make itself. */
export interface TileShape {
  readonly batch: readonly string[];
  readonly rows: readonly string[];
  readonly over: readonly string[];
  readonly extents: Readonly<Record<string, Extent>>;
  /** Contractions that exist tile by tile. */
  readonly dots: ReadonlySet<Node>;
  /** Folds short enough to be made again where they are read. */
  readonly small: ReadonlySet<Node>;
}
/** What can be computed wherever it is read, from what is read there. */
export const isFormula = (n: Node): boolean => isPointwise(n) || n.op === "view" || n.op === "at" || n.op === "random";

/** The fold cannot join this kernel. */
export class NoTile extends Error {
  override readonly name = "NoTile";
}

/** What the surroundings give: names for axes and values, and the monoid of a fold. */
export interface Naming {
  readonly axis: (name: string, extent: Extent) => Axis;
  readonly local: (n: Node) => string;
  readonly monoid: (n: FoldNode, components: readonly string[]) => Monoid;
}
interface Member {
  readonly fold: TileFold;
  /** By component's name: the value, over `bind` and what left the fold. */
  readonly values: ReadonlyMap<string, Expr>;
}

/** Terms of a small fold that are written out, and that make it no more than a value of its side. */
export const UNROLLED = 8;

export class TileBuilder {
  readonly batch: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly over: readonly Axis[];
  readonly dots: Dot[] = [];
  readonly sides: Side[] = [];
  readonly access: Access;
  readonly at: Indices;
  readonly #n = new Map<string, Axis>();
  readonly #members = new Map<Node, Member>();
  readonly #made = new Map<string, Expr>();
  readonly #kinds = new Map<string, "tile" | "row" | "over" | "bind">();
  /** All variables of this kernel's loops. */
  readonly #vars = new Set<string>();
  readonly #rowVars: ReadonlySet<string>;
  readonly #overVars: ReadonlySet<string>;

  constructor(
    readonly shape: TileShape,
    memory: Memory,
    readonly naming: Naming,
  ) {
    const make = (names: readonly string[]) => names.map((a) => this.#axis(a, shape.extents[a] as Extent));
    [this.batch, this.rows, this.over] = [make(shape.batch), make(shape.rows), make(shape.over)];
    const pairs = [
      [shape.batch, this.batch],
      [shape.rows, this.rows],
      [shape.over, this.over],
    ] as const;
    this.at = Object.fromEntries(pairs.flatMap(([names, axes]) => names.map((a, i) => [a, variable((axes[i] as Axis).v)])));
    this.#rowVars = new Set(this.rows.map((a) => a.v));
    this.#overVars = new Set(this.over.map((a) => a.v));
    this.access = new Access(memory, new Map(), (n, at, inside) => this.#own(n, at, inside));
  }

  #axis(name: string, extent: Extent): Axis {
    const a = this.naming.axis(name, extent);
    this.#vars.add(a.v);
    return a;
  }
  /** The axis of results that have it beside batch and rows; one a name, so that folds share loops. */
  nAxis(name: string, extent: Extent): Axis {
    let a = this.#n.get(name);
    if (!a) {
      a = this.#axis(name, extent);
      this.#n.set(name, a);
    }
    return a;
  }
  /** Indices of a result: those of the kernel, and of its own axes. */
  resultAt(axes: Readonly<Record<string, Extent>>): { readonly at: Indices; readonly n: readonly Axis[] } {
    const n: Axis[] = [];
    const at: Record<string, Expr> = {};
    for (const [a, e] of Object.entries(axes)) {
      const known = this.shape.batch.includes(a) || this.shape.rows.includes(a) ? this.at[a] : undefined;
      if (known) at[a] = known;
      else {
        const axis = this.nAxis(a, e);
        n.push(axis);
        at[a] = variable(axis.v);
      }
    }
    return { at, n };
  }

  /** `fields`: results of one fold, that need these components. */
  add(fields: readonly FoldNode[], components: readonly string[]): TileFold {
    const [f] = fields as readonly [FoldNode, ...FoldNode[]];
    const { at: rowAt, n } = this.resultAt(f.axes);
    const at = { ...rowAt, ...Object.fromEntries(this.shape.over.map((a) => [a, this.at[a] as Expr])) };
    const names = Object.keys(f.monoid.empty);
    const monoid = this.naming.monoid(f, components);
    const element = (c: string) => toReal(this.access.value(f.args[names.indexOf(c)] as Node, at));
    const elements = components.map(element);
    const name = this.naming.local(f);
    const bind = components.map((c) => (components.length === 1 ? name : `${name}_${c}`));
    const binds = new Set([...this.#kinds].flatMap(([b, kind]) => (kind === "bind" ? [b] : [])));
    const own = components.map((_, i) => local(bind[i] as string, "real"));
    let outer: Expr = real(1);
    let parts: Pick<TileFold, "elements" | "n" | "b" | "at">;
    if (monoid.kind === "sum" && components.length === 1) {
      const taken = this.#sum(() => element(components[0] as string), n);
      outer = taken.outer;
      parts = taken;
    } else {
      if (n.length > 0) throw new NoTile("a fold that is no sum has axes of its own");
      parts = { elements, n: [], b: null, at: null };
    }
    const ratios = parts.elements.map((e) => rescaling(e, monoid.kind, binds, (x) => this.#perRow(x)));
    if (ratios.includes("impossible"))
      throw new NoTile("its elements read the result of an earlier fold of the row, and not through the exponential of a difference");
    const fold: TileFold = { bind, monoid, ...parts, rescale: ratios.find((r): r is Expr => r !== null && r !== "impossible") ?? null };
    const value = (e: Expr) => (outer.kind === "num" && outer.value === 1 ? e : apply("mul", "real", outer, e));
    const member: Member = { fold, values: new Map(components.map((c, i) => [c, value(own[i] as Expr)])) };
    for (const x of fields) this.#members.set(x, member);
    for (const b of bind) this.#kinds.set(b, "bind");
    return fold;
  }
  has(n: Node): boolean {
    return this.#members.has(n);
  }

  mask(all: readonly Condition[]): Expr {
    return all.reduce<Expr>((m, c) => {
      const e = this.#truth(this.access.scalar(c.node, c.scalar, this.at));
      return and(m, c.negated ? not(e) : e);
    }, yes);
  }
  #truth(e: Expr): Expr {
    return e.type === "bool" ? e : apply("ne", "bool", toReal(e), real(0));
  }

  // ── what expressions read ────────────────────────────────────────────────────────────────────────────
  #reads(root: Expr): { readonly row: boolean; readonly over: boolean; readonly tile: boolean; readonly bind: boolean } {
    const out = { row: false, over: false, tile: false, bind: false };
    const seen = new Set<Expr>();
    const todo = [root];
    for (let e = todo.pop(); e; e = todo.pop()) {
      if (seen.has(e)) continue;
      seen.add(e);
      if (e.kind === "var") {
        if (this.#rowVars.has(e.name)) out.row = true;
        if (this.#overVars.has(e.name)) out.over = true;
      }
      if (e.kind === "local") {
        const kind = this.#kinds.get(e.name);
        if (kind === "tile") out.tile = true;
        if (kind === "row") out.row = true;
        if (kind === "over") out.over = true;
        if (kind === "bind") out.bind = true;
      }
      todo.push(...partsOf(e));
    }
    return out;
  }
  #perRow(e: Expr): boolean {
    const r = this.#reads(e);
    return !r.over && !r.tile;
  }

  /** The factors of what `element` gives. A stored value that would make a factor refused is computed again there: its own factors may
   *  each belong to one side. */
  #factors(element: () => Expr, whole: (e: Expr) => boolean, refused: (factor: Expr) => boolean): ReturnType<typeof guardedFactors> {
    for (;;) {
      const found = guardedFactors(element(), whole);
      const loads = found.factors.filter(refused).flatMap((f) => loadsIn(f).filter((e) => refused(e)));
      if (!this.access.computeAgain(loads, isFormula)) return found;
    }
  }
  #sum(element: () => Expr, n: readonly Axis[]): { outer: Expr } & Pick<TileFold, "elements" | "n" | "b" | "at"> {
    const own = new Set(n.map((a) => a.v));
    const hasN = (e: Expr) => [...variables(e)].some((v) => own.has(v));
    if (n.length === 1) {
      const hot = this.#oneHot(element(), n[0] as Axis);
      if (hot) return { outer: real(1), elements: [hot.value], n, b: null, at: hot.index };
    }
    if (n.length === 0) return { outer: real(1), elements: [element()], n: [], b: null, at: null };
    const outer: Expr[] = [];
    const tile: Expr[] = [];
    const b: Expr[] = [];
    /** A guarded factor of the result's own axes and the over side alone: an operand as it stands. */
    const oneSided = (e: Expr): boolean => {
      if (e.kind !== "call" || e.prim !== "select" || !hasN(e.args[0] as Expr)) return false;
      const r = this.#reads(e);
      return !r.row && !r.tile && !r.bind;
    };
    const mixed = (e: Expr) => {
      const r = this.#reads(e);
      return hasN(e) && (r.over || r.tile || r.bind) && (r.row || r.tile || r.bind);
    };
    const { guard, factors: all } = this.#factors(element, oneSided, mixed);
    if (hasN(guard)) throw new NoTile("a condition differs for each pair and for each of the result's own axes");
    for (const f of all) {
      const r = this.#reads(f);
      if (!hasN(f)) tile.push(f);
      else if (!r.over && !r.tile && !r.bind) outer.push(f);
      else if (mixed(f)) throw new NoTile("a factor differs for each pair and for each of the result's own axes");
      else b.push(f);
    }
    return { outer: product(outer), elements: [select(guard, product(tile), real(0))], n, b: product(b), at: null };
  }
  #oneHot(element: Expr, n: Axis): { readonly value: Expr; readonly index: Expr } | undefined {
    if (element.kind !== "call" || element.prim !== "select" || !isZero(element.args[2])) return undefined;
    const [c, value] = element.args as readonly [Expr, Expr, Expr];
    const all = conditions(c);
    for (const one of all) {
      if (one.kind !== "call" || one.prim !== "eq") continue;
      const [p, q] = one.args as readonly [Expr, Expr];
      const isN = (e: Expr): boolean => (e.kind === "var" ? e.name === n.v : e.kind === "call" && e.prim === "toReal" && isN(e.args[0] as Expr));
      const index = isN(p) ? q : isN(q) ? p : undefined;
      if (!index || variables(index).has(n.v) || variables(value).has(n.v)) continue;
      const rest = all.filter((x) => x !== one).reduce(and, yes);
      if (variables(rest).has(n.v)) continue;
      return { index: toIndex(index), value: select(rest, value, real(0)) };
    }
    return undefined;
  }

  // ── values that the kernel makes itself ──────────────────────────────────────────────────────────────
  #own(n: Node, at: Indices, inside: Expr): Expr | undefined {
    const member = this.#members.get(n);
    if (member) {
      for (const a of [...this.shape.batch, ...this.shape.rows])
        if (a in n.axes && at[a] !== this.at[a]) throw new NoTile("a result of this kernel is read at another place than its own");
      return member.values.get((n as FoldNode).field);
    }
    if (n.op !== "fold" || !(this.shape.dots.has(n) || this.shape.small.has(n))) return undefined;
    const key = `${n.id}|${Object.keys(n.axes)
      .map((a) => (at[a] as Expr).id)
      .join(",")}|${inside.id}`;
    const known = this.#made.get(key);
    if (known) return known;
    const made = this.shape.dots.has(n) ? this.#dot(n, at, inside) : this.#small(n, at, inside);
    this.#made.set(key, made);
    return made;
  }
  #inner(n: FoldNode): { readonly axes: readonly Axis[]; readonly at: Indices } {
    const axes = n.over.map((o) => this.#axis(o, extentOf(n, o)));
    return { axes, at: Object.fromEntries(n.over.map((o, i) => [o, variable((axes[i] as Axis).v)])) };
  }
  #dot(n: FoldNode, at: Indices, inside: Expr): Expr {
    const k = this.#inner(n);
    const own = new Set(k.axes.map((x) => x.v));
    const summed = (e: Expr) => [...variables(e)].some((v) => own.has(v));
    const a: Expr[] = [];
    const b: Expr[] = [];
    // What does not vary along the sum leaves it: it may differ for each pair.
    const outer: Expr[] = [];
    /** A guarded factor of one side: an operand as it stands. */
    const oneSided = (e: Expr): boolean => {
      if (e.kind !== "call" || e.prim !== "select" || !summed(e.args[0] as Expr)) return false;
      const r = this.#reads(e);
      return !r.tile && !r.bind && !(r.row && r.over);
    };
    const mixed = (e: Expr) => {
      const r = this.#reads(e);
      return summed(e) && (r.tile || r.bind || (r.row && r.over));
    };
    const element = () => toReal(this.access.value(n.args[0] as Node, { ...at, ...k.at }, inside));
    const { guard, factors: all } = this.#factors(element, oneSided, mixed);
    const guards = conditions(guard);
    const inner = guards.filter(summed).reduce(and, yes);
    // A factor of neither side (a number, a gain) stays with the one that it is written behind: whichever side is rows, the
    // operands are the same, and a kernel that makes the scores again has the bits of the one that kept their maximum.
    const neither: Expr[] = [];
    let last: Expr[] | undefined;
    for (const f of inner === yes ? all : [...all, select(inner, real(1), real(0))]) {
      const r = this.#reads(f);
      if (f.kind !== "num" && !summed(f)) outer.push(f);
      else if (mixed(f)) throw new NoTile("an operand differs for each pair");
      else if (r.over || r.row) {
        last = r.over ? b : a;
        last.push(...neither.splice(0), f);
      } else (last ?? neither).push(f);
    }
    a.push(...neither);
    const name = this.naming.local(n);
    this.dots.push({ name, k: k.axes, a: product(a), b: product(b) });
    this.#kinds.set(name, "tile");
    const rest = guards.filter((c) => c !== yes && !summed(c)).reduce(and, yes);
    return select(rest, product([local(name, "real"), ...outer]), real(0));
  }
  #small(n: FoldNode, at: Indices, inside: Expr): Expr {
    const [x] = n.args as readonly [Node];
    const length = n.over.reduce((p, o) => p * maxOf(extentOf(n, o)), 1);
    const monoid = this.naming.monoid(n, [n.field]);
    if (length <= UNROLLED && monoid.kind === "sum" && n.over.every((o) => typeof extentOf(n, o) === "number")) {
      let sum: Expr | undefined;
      for (let i = 0; i < length; i++) {
        const here: Record<string, Expr> = { ...at };
        let rest = i;
        for (const o of [...n.over].reverse()) {
          const e = extentOf(n, o) as number;
          here[o] = int(rest % e);
          rest = Math.floor(rest / e);
        }
        const term = toReal(this.access.value(x, here, inside));
        sum = sum ? apply("add", "real", sum, term) : term;
      }
      return sum ?? real(0);
    }
    const k = this.#inner(n);
    const element = toReal(this.access.value(x, { ...at, ...k.at }, inside));
    const r = this.#reads(element);
    if (r.tile || r.bind || (r.row && r.over)) throw new NoTile("a fold inside an operand differs for each pair");
    const known = new Set([...this.batch, ...this.rows, ...this.over, ...k.axes].map((a) => a.v));
    if ([...variables(element)].some((v) => this.#vars.has(v) && !known.has(v)))
      throw new NoTile("a fold inside is different at each of the result's own axes");
    const name = this.naming.local(n);
    this.sides.push({ name, of: r.over ? "over" : "rows", fold: k.axes, monoid, element });
    this.#kinds.set(name, r.over ? "over" : "row");
    return local(name, "real");
  }
}

function loadsIn(root: Expr): readonly Expr[] {
  const seen = new Set([root]);
  for (const e of seen) for (const x of partsOf(e)) seen.add(x);
  return [...seen].filter((e) => e.kind === "load");
}
const isOne = (e: Expr): boolean => e.kind === "num" && e.value === 1;
/** A product's factors (those that are `whole` not taken apart), and under which condition it is not 0: what stands under a guard may be infinite where it fails. */
function guardedFactors(root: Expr, whole: (e: Expr) => boolean): { readonly guard: Expr; readonly factors: readonly Expr[] } {
  let guard = yes;
  const out: Expr[] = [];
  const todo = [root];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (whole(e)) out.push(e);
    else if (e.kind === "call" && e.type === "real" && e.prim === "mul") todo.push(...e.args);
    else if (e.kind === "call" && e.type === "real" && e.prim === "div") {
      const [x, y] = e.args as readonly [Expr, Expr];
      if (!isOne(x)) todo.push(x);
      out.push(y.kind === "num" ? real(1 / y.value) : apply("div", "real", real(1), y));
    } else if (e.kind === "call" && e.type === "real" && e.prim === "neg") {
      out.push(real(-1));
      todo.push(e.args[0] as Expr);
    } else if (e.kind === "call" && e.type === "real" && e.prim === "select" && isZero(e.args[2])) {
      guard = and(guard, e.args[0] as Expr);
      todo.push(e.args[1] as Expr);
    } else if (e.kind === "call" && e.type === "real" && e.prim === "select" && isZero(e.args[1])) {
      guard = and(guard, not(e.args[0] as Expr));
      todo.push(e.args[2] as Expr);
    } else out.push(e);
  }
  return { guard, factors: out };
}

export const extentOf = (n: FoldNode, axis: string): Extent => {
  for (const a of n.args) if (axis in a.axes) return a.axes[axis] as Extent;
  throw new Error(`fold ${n.id} has no axis ${axis}`);
};
