// The value of a node at given indices, as index notation: views become index arithmetic, maps are substituted, and
// what has memory becomes a load.
import type { Extent, Leaf, Loop, MapNode, Node } from "../../dsl/node.js";
import type { Scalar } from "../../dsl/scalar.js";
import { apply, type Buffer, type Expr, extentVar, int, load, random, real, variable } from "./expr.js";
import { and, iadd, imod, imul, isub, no, within, yes } from "./ints.js";
import type { Layouts } from "./layout.js";
import type { Range } from "./ranges.js";
import { type Environment, operate, select, toIndex, toReal, translate } from "./translate.js";

export type Indices = Readonly<Record<string, Expr>>;

/** Where a stored value lies: the buffer, and the leading indices that choose its layer or slot. */
export interface Home {
  readonly buffer: Buffer;
  readonly lead: readonly Expr[];
}
/** How a loop keeps a carried value: `slots` copies, by iteration. */
export interface CarryHome {
  readonly buffer: Buffer;
  readonly slots: number;
}

export interface Memory {
  readonly homes: ReadonlyMap<Node, Home>;
  readonly leaves: ReadonlyMap<Leaf, Buffer>;
  readonly carries: ReadonlyMap<Leaf, CarryHome>;
  readonly owner: ReadonlyMap<Leaf, Loop>;
  readonly bounds: Map<string, Range>;
}
/** A node's axes in the order in which its buffer has them. */
export const axesInMemory = (n: Node, layouts: Layouts): readonly string[] => layouts.get(n) ?? Object.keys(n.axes);

/** The unlowered node kinds are our bug here: earlier passes expand them. */
export class LoweringBug extends Error {
  override readonly name = "LoweringBug";
}

export const counterName = (l: Loop): string => `it${l.id}_`; // no axis variable ends so
const counter = (l: Loop): Expr => variable(counterName(l));

/** Position in time of iteration `c`: 0 is the first to run. */
export const position = (l: Loop, c: Expr): Expr => (l.reverse ? isub(int(l.count - 1), c) : c);
export const slot = (h: CarryHome, at: Expr, m: Pick<Memory, "bounds">): Expr => (h.slots === 2 ? imod(at, int(2), m.bounds) : at);

export class Access {
  readonly #memo = new Map<string, Expr>();
  /** What a load of a stored value stands for. */
  readonly #stored = new Map<Expr, Node>();
  /** Values that are computed again, though they have memory. */
  readonly #again = new Set<Node>();
  /** `locals`: folds whose value this kernel has at hand. `own`: values that it makes itself, by where they are wanted. */
  constructor(
    readonly memory: Memory,
    readonly locals: ReadonlyMap<Node, Expr> = new Map(),
    readonly own: (n: Node, at: Indices, inside: Expr) => Expr | undefined = () => undefined,
  ) {}

  /** Where a view puts what it reads at these indices (`places`: its axes by those). */
  moved(axes: Readonly<Record<string, Extent>>, places: Readonly<Record<string, Scalar>>, at: Indices): Indices {
    const env = this.#environment(axes, at, () => {
      throw new LoweringBug("an index arrow has no inputs");
    });
    return { ...at, ...Object.fromEntries(Object.entries(places).map(([a, s]) => [a, toIndex(translate(s, env))])) };
  }
  /** A scalar of a map's body (a mask's condition) at given indices. */
  scalar(n: MapNode, s: Scalar, at: Indices): Expr {
    return translate(
      s,
      this.#environment(n.axes, at, (name) => this.value(n.args[n.names.indexOf(name)] as Node, at)),
    );
  }

  /** From now on a value for which these loads stand is what it is computed from. False where none is such a value. */
  computeAgain(loads: readonly Expr[], which: (n: Node) => boolean): boolean {
    const found = loads.flatMap((e) => this.#stored.get(e) ?? []).filter((n) => which(n) && !this.#again.has(n));
    for (const n of found) this.#again.add(n);
    if (found.length > 0) this.#memo.clear();
    return found.length > 0;
  }

  value(n: Node, at: Indices, inside: Expr = yes): Expr {
    const key = `${n.id}|${Object.keys(n.axes)
      .map((a) => this.#index(n, at, a).id)
      .join(",")}|${inside.id}`;
    const known = this.#memo.get(key);
    if (known) return known;
    const made = this.#make(n, at, inside);
    this.#memo.set(key, made);
    return made;
  }

  #index(n: Node, at: Indices, axis: string): Expr {
    const e = at[axis];
    if (!e) throw new LoweringBug(`no index for axis "${axis}" of node ${n.id} (${n.op})`);
    return e;
  }
  #load(b: Buffer, lead: readonly Expr[], n: Node, at: Indices, inside: Expr): Expr {
    // The memory's own order, as for stores: a loop's result has the axes of its start, its memory those of the state.
    const index = b.axes.slice(lead.length).map((a) => this.#index(n, at, a.name));
    return load(b, [...lead, ...index], inside === yes ? null : inside);
  }

  #make(n: Node, at: Indices, inside: Expr): Expr {
    const m = this.memory;
    const local = this.locals.get(n) ?? this.own(n, at, inside);
    if (local) return local;
    const home = m.homes.get(n);
    if (home && !this.#again.has(n)) {
      const loaded = this.#load(home.buffer, home.lead, n, at, inside);
      this.#stored.set(loaded, n);
      return loaded;
    }
    switch (n.op) {
      case "leaf":
        return this.#leaf(n, at, inside);
      case "constant":
        return typeof n.value === "boolean" ? (n.value ? yes : no) : n.dtype === "i32" ? int(n.value) : real(n.value);
      case "map": {
        if (n.body.kind !== "scalar") throw new LoweringBug(`map ${n.id} still holds an arrow`);
        return translate(
          n.body.body,
          this.#environment(n.axes, at, (name) => this.value(n.args[n.names.indexOf(name)] as Node, at, inside)),
        );
      }
      case "view": {
        if (n.index.kind !== "scalar") throw new LoweringBug(`view ${n.id} still holds an arrow`);
        const [x] = n.args;
        const env = this.#environment({ ...x.axes, ...n.axes }, at, () => {
          throw new LoweringBug("an index arrow has no inputs");
        });
        const inner: Record<string, Expr> = { ...at };
        let cond = yes;
        for (const axis of n.reads) {
          const e = toIndex(translate(n.index.at[axis] as Scalar, env));
          inner[axis] = e;
          cond = and(cond, within(e, extentVar(x.axes[axis] as Extent), m.bounds));
        }
        return this.#guarded(x, inner, inside, cond);
      }
      case "at": {
        const [x, ...indices] = n.args;
        const inner: Record<string, Expr> = { ...at };
        let cond = yes;
        n.along.forEach((axis, k) => {
          const e = toIndex(this.value(indices[k] as Node, at, inside));
          inner[axis] = e;
          cond = and(cond, within(e, extentVar(x.axes[axis] as Extent), m.bounds));
        });
        return this.#guarded(x, inner, inside, cond);
      }
      case "cast": {
        const x = this.value(n.args[0], at, inside);
        switch (n.dtype) {
          case "bf16":
            return apply("toBf16", "real", toReal(x));
          case "f16":
            return apply("toF16", "real", toReal(x));
          case "i32":
            return operate("toI32", [x], m.bounds);
          case "bool":
            return operate("toBool", [x], m.bounds);
          case "f32":
            return toReal(x);
          case "f64":
            throw new LoweringBug("f64 reached a target that has none");
        }
        break;
      }
      case "stop":
      case "label":
        return this.value(n.args[0], at, inside);
      case "random": {
        let count: Expr = int(0);
        for (const [axis, extent] of Object.entries(n.axes)) count = iadd(imul(count, extentVar(extent)), this.#index(n, at, axis));
        return random(
          n.kind,
          n.key,
          n.args.map((a) => toIndex(this.value(a, at, inside))),
          count,
        );
      }
      case "carry": {
        const h = m.carries.get(n.loop.carry[n.index] as Leaf) as CarryHome;
        return this.#load(h.buffer, [int(h.slots === 2 ? n.loop.count % 2 : n.loop.count)], n, at, inside);
      }
      case "emit":
        return this.#emitted(n.loop, n.of, at, inside);
      case "fold":
      case "scan":
      case "top":
      case "grad":
      case "rate":
      case "bound":
        throw new LoweringBug(`${n.op} ${n.id} has no memory`);
    }
    throw new LoweringBug("a node that cannot be read");
  }

  #leaf(n: Leaf, at: Indices, inside: Expr): Expr {
    const m = this.memory;
    const l = m.owner.get(n);
    if (!l) return this.#load(m.leaves.get(n) as Buffer, [], n, at, inside);
    if (n === l.counter) return counter(l);
    const k = l.slices.indexOf(n);
    if (k >= 0) return this.value(l.xs[k] as Node, { ...at, [l.axis]: counter(l) }, inside);
    const h = m.carries.get(n) as CarryHome;
    return this.#load(h.buffer, [slot(h, position(l, counter(l)), m)], n, at, inside);
  }

  /** What body node `of` was in iteration at[axis]. */
  #emitted(l: Loop, of: Node, at: Indices, inside: Expr): Expr {
    const m = this.memory;
    const c = at[l.axis] as Expr;
    if (of.op === "leaf" && m.owner.get(of) === l) {
      if (of === l.counter) return c;
      const k = l.slices.indexOf(of);
      if (k >= 0) return this.value(l.xs[k] as Node, at, inside);
      const h = m.carries.get(of) as CarryHome;
      return this.#load(h.buffer, [position(l, c)], of, at, inside);
    }
    const home = m.homes.get(of);
    if (!home) return this.value(of, at, inside); // the same in every iteration
    const stacked = home.buffer.axes.length > Object.keys(of.axes).length;
    return this.#load(home.buffer, stacked ? [c] : [], of, at, inside);
  }

  /** x at `inner` where `cond`, else 0. */
  #guarded(x: Node, inner: Indices, inside: Expr, cond: Expr): Expr {
    const v = this.value(x, inner, and(inside, cond));
    if (cond === yes || v.kind === "load") return v; // a load is 0 outside by itself
    return select(cond, v, v.type === "real" ? real(0) : v.type === "int" ? int(0) : no);
  }

  #environment(axes: Readonly<Record<string, Extent>>, at: Indices, arg: (name: string) => Expr): Environment {
    return {
      arg,
      index: (axis) => at[axis] as Expr,
      size: (axis) => extentVar(axes[axis] as Extent),
      bounds: this.memory.bounds,
    };
  }
}
