// The kernels of single values: a fold as a contraction, a scatter or rows of stages; scans; selections; and maps over
// everything else. What has memory, and where, is decided before (materialise.ts, layout.ts, lower.ts).
import type { DType, Extent, FoldNode, Node, ScanNode, TopNode } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import { isPointwise } from "../graph/quadratic.js";
import { Access, type Home, type Indices, type Memory } from "./access.js";
import { apply, type Buffer, type Expr, local, maxOf, real, variable } from "./expr.js";
import { sumForm } from "./form.js";
import type { Axis, Monoid, Nest, Stage, Store } from "./nest.js";
import type { Range } from "./ranges.js";
import type { Tables } from "./tables.js";
import type { TileKernel } from "./tile-kernel.js";
import { TileBuilder } from "./tiles.js";
import { toIndex, toReal, translate } from "./translate.js";
import { unviewed } from "./unview.js";

/** A name that every target takes. */
export const clean = (s: string): string => s.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "x";

/** What is known of the program around a kernel. */
export interface Context {
  readonly order: readonly Node[];
  readonly stored: ReadonlySet<Node>;
  /** Map node → the fold that is a local of its kernel. */
  readonly hosted: ReadonlyMap<Node, Node>;
  /** Nodes that a kernel of tiles computes. */
  readonly tiled: ReadonlyMap<Node, TileKernel>;
  /** Quadratic values that have memory all the same: kernels of tiles compute them, and never read them. */
  readonly quads: ReadonlySet<Node>;
  readonly homes: Map<Node, Home>;
  readonly memory: Memory;
  readonly tables: Tables;
  /** Of variables: intervals, and the extents of those that may index a table. */
  readonly bounds: Map<string, Range>;
  readonly extents: Map<string, number>;
  readonly unique: (name: string) => string;
}

export class Nests {
  #vars = 0;
  constructor(readonly c: Context) {}

  axis(name: string, extent: Extent): Axis {
    const v = `${clean(name)}${this.#vars++}`;
    this.c.bounds.set(v, [0, Math.max(0, maxOf(extent) - 1)]);
    if (typeof extent === "number") this.c.extents.set(v, extent);
    return { v, extent };
  }
  axes(axes: Readonly<Record<string, Extent>>): { readonly list: readonly Axis[]; readonly at: Indices } {
    const pairs = Object.entries(axes).map(([a, e]) => [a, this.axis(a, e)] as const);
    return { list: pairs.map(([, x]) => x), at: Object.fromEntries(pairs.map(([a, x]) => [a, variable(x.v)])) };
  }
  tabulated(e: Expr): Expr {
    return this.c.tables.rewrite(e, this.c.extents);
  }
  #stored1(n: Node, home: Home, at: Indices, access: Access, places: Indices = at): Store {
    const v = this.tabulated(access.value(n, at));
    return {
      buffer: home.buffer,
      // The memory's own order: a value may lie in memory that another with the same axes laid out (a state, a loop's carry).
      index: [...home.lead, ...home.buffer.axes.slice(home.lead.length).map((a) => places[a.name] as Expr)],
      value: as(n.dtype, v),
    };
  }
  copy(n: Node, to: Home, name: string): Nest {
    const { list, at } = this.axes(n.axes);
    return { form: "map", name: this.c.unique(name), nodes: [n.id], axes: list, stores: [this.#stored1(n, to, at, new Access(this.c.memory))] };
  }

  nest(n: Node): { readonly nest: Nest; readonly nodes: readonly Node[] } {
    const kernel = this.c.tiled.get(n);
    if (kernel) return this.#tiles(kernel);
    const hosted = this.c.hosted.get(n);
    if (hosted?.op === "fold") return { nest: this.#fold(hosted, [n]), nodes: [n] };
    switch (n.op) {
      case "fold": {
        const fields = this.#siblings(n).filter((x): x is FoldNode => x.op === "fold");
        return { nest: this.#fold(n, fields), nodes: fields };
      }
      case "scan": {
        const fields = this.#siblings(n).filter((x): x is ScanNode => x.op === "scan");
        return { nest: this.#scan(n, fields), nodes: fields };
      }
      case "top": {
        const fields = this.c.order.filter(
          (x): x is TopNode =>
            x.op === "top" && x.args[0] === n.args[0] && x.over === n.over && x.k === n.k && x.slot === n.slot && this.c.stored.has(x),
        );
        return { nest: this.#top(n, fields), nodes: fields };
      }
      default: {
        const home = this.c.homes.get(n) as Home;
        this.c.homes.delete(n); // its own value, not the load of it
        const nest = this.copy(n, home, describe(n));
        this.c.homes.set(n, home);
        return { nest, nodes: [n] };
      }
    }
  }

  /** A fold over point-wise values and views of leaves alone, as their memory is then, into a leaf's. */
  folded(n: FoldNode, to: Buffer): Nest {
    const homes = new Map<Node, Home>([[n, { buffer: to, lead: [] }]]);
    return this.#fold(n, [n], { ...this.c.memory, homes });
  }

  /** Stored components of the same fold or scan that have the same rows and need the same components. */
  #siblings(n: FoldNode | ScanNode): readonly Node[] {
    return this.c.order.filter(
      (x) =>
        x.op === n.op &&
        this.c.stored.has(x) &&
        x.args.length === n.args.length &&
        x.args.every((a, i) => a === n.args[i]) &&
        x.monoid === n.monoid &&
        String(x.over) === String(n.over) &&
        (x.op !== "scan" || n.op !== "scan" || (x.exclusive === n.exclusive && x.reverse === n.reverse)) &&
        Object.keys(x.axes).length === Object.keys(n.axes).length &&
        closure(x).join() === closure(n).join(),
    );
  }

  /** `results`: the nodes to store, fields of the fold or the map that hosts it. */
  #fold(n: FoldNode, results: readonly Node[], memory: Memory = this.c.memory): Nest {
    const names = closure(n);
    const rowExtents: Record<string, Extent> = {};
    const components = Object.keys(n.monoid.empty);
    const all: Record<string, Extent> = {};
    for (const c of names) for (const [a, e] of Object.entries((n.args[components.indexOf(c)] as Node).axes)) all[a] = e;
    for (const [a, e] of Object.entries(n.axes)) rowExtents[a] = e;
    for (const [a, e] of Object.entries(all)) if (!n.over.includes(a)) rowExtents[a] = e;
    const rows = this.axes(rowExtents);
    const over = this.axes(Object.fromEntries(n.over.map((o) => [o, all[o] ?? extentIn(n, o)])));
    const at = { ...rows.at, ...over.at };
    const access = new Access(memory);
    const elements = names.map((c) => this.tabulated(toReal(access.value(n.args[components.indexOf(c)] as Node, at))));
    const monoid = this.#monoid(n, names);
    const name = this.c.unique(describe(results[0] as Node));
    const base = { name, nodes: results.map((x) => x.id) };
    const bind = names.map((c) => `${name}_${clean(c)}`);
    const stores = (locals: ReadonlyMap<Node, Expr>) => {
      const inner = new Access({ ...memory, homes: new Map([...memory.homes].filter(([x]) => !results.includes(x))) }, locals);
      return results.map((x) => this.#stored1(x, memory.homes.get(x) as Home, rows.at, inner));
    };
    const resultOf = (f: FoldNode) => local(bind[names.indexOf(f.field)] as string, "real");
    const foldNodes = results.some((x) => x.op === "fold") ? results.filter((x): x is FoldNode => x.op === "fold") : [n];
    if (monoid.kind === "sum" && names.length === 1) {
      const form = sumForm(elements[0] as Expr, rows.list, over.list);
      if (form.form === "contract") {
        const sum = local("sum", "real");
        const value = form.outer.kind === "num" && form.outer.value === 1 ? sum : apply("mul", "real", form.outer, sum);
        return {
          ...base,
          form: "contract",
          batch: form.batch,
          m: form.m,
          n: form.n,
          k: over.list,
          a: form.a,
          b: form.b,
          stores: stores(new Map([[n, value]])),
        };
      }
      const plain = results.length === 1 && results[0] === n;
      if (form.form === "scatter" && plain) {
        const home = memory.homes.get(n) as Home;
        const index = [...home.lead, ...home.buffer.axes.slice(home.lead.length).map((a) => rows.at[a.name] as Expr)];
        return {
          ...base,
          form: "scatter",
          rows: rows.list.filter((x) => x !== form.target),
          over: over.list,
          target: form.target,
          index: form.index,
          value: form.value,
          into: { buffer: home.buffer, index },
          onto: false,
        };
      }
    }
    const stages: Stage[] = [
      { stage: "fold", over: over.list, monoid, elements, bind },
      { stage: "map", axes: [], stores: stores(new Map(foldNodes.map((f) => [f, resultOf(f)]))) },
    ];
    return { ...base, form: "row", rows: rows.list, stages };
  }

  #tiles(k: TileKernel): { readonly nest: Nest; readonly nodes: readonly Node[] } {
    const results = [...k.folds.flat(), ...k.hosts].filter((n) => this.c.stored.has(n));
    const nodes = [...results, ...k.quads];
    const name = this.c.unique(describe(nodes.at(-1) as Node));
    // Values of this kernel's results are made again from them, not read back.
    const homes = new Map([...this.c.homes].filter(([n]) => !(k.after.has(n) && isPointwise(n)) && !this.c.quads.has(n)));
    const b = new TileBuilder(
      k.shape,
      { ...this.c.memory, homes },
      {
        axis: (a, extent) => this.axis(a, extent),
        local: (n) => this.c.unique(`${describe(n)}_`),
        monoid: (n, components) => this.#monoid(n, components),
      },
    );
    const folds = k.folds.map((fields) => b.add(fields, needed(fields)));
    const mask = b.mask(k.mask);
    const stores = new Map<string, { readonly n: readonly Axis[]; readonly stores: Store[] }>();
    for (const x of results) {
      const own = x.op === "view" ? x.args[0] : x;
      const { at, n } = b.resultAt(own.axes);
      const places = x.op === "view" ? b.access.moved(own.axes, unviewed(x) ?? {}, at) : at;
      const key = n.map((a) => a.v).join();
      const group = stores.get(key) ?? { n, stores: [] };
      group.stores.push(this.#stored1(own, this.c.homes.get(x) as Home, at, b.access, places));
      stores.set(key, group);
    }
    const quads = k.quads.map((n) => this.#stored1(n, this.c.homes.get(n) as Home, b.at, b.access));
    // A table over both sides would be as large as what is not stored.
    const extents = new Map([...this.c.extents, ...[...b.rows, ...b.over].map((a) => [a.v, maxOf(a.extent)] as const)]);
    const inTile = (e: Expr) => this.c.tables.rewrite(e, extents, (vars) => !b.over.some((a) => vars.includes(a.v)));
    const nest: Nest = {
      form: "tiles",
      name,
      nodes: [...k.folds.flat(), ...k.hosts].map((n) => n.id),
      batch: b.batch,
      rows: b.rows,
      over: b.over,
      sides: b.sides.map((s) => ({ ...s, element: this.tabulated(s.element) })),
      dots: b.dots.map((d) => ({ ...d, a: this.tabulated(d.a), b: this.tabulated(d.b) })),
      mask,
      folds: folds.map((f) => ({ ...f, elements: f.elements.map(inTile), b: f.b && this.tabulated(f.b) })),
      columns: [],
      quads: quads.map((store) => ({ ...store, value: inTile(store.value) })),
      stores: [...stores.values()],
    };
    return { nest, nodes };
  }

  #scan(n: ScanNode, fields: readonly ScanNode[]): Nest {
    const names = closure(n);
    const components = Object.keys(n.monoid.empty);
    const all: Record<string, Extent> = { ...n.axes };
    for (const c of names) Object.assign(all, (n.args[components.indexOf(c)] as Node).axes);
    const { [n.over]: extent, ...rowExtents } = all;
    const rows = this.axes(rowExtents);
    const over = this.axis(n.over, extent as Extent);
    const at = { ...rows.at, [n.over]: variable(over.v) };
    const access = new Access(this.c.memory);
    const elements = names.map((c) => this.tabulated(toReal(access.value(n.args[components.indexOf(c)] as Node, at))));
    const name = this.c.unique(describe(fields[0] as Node));
    const bind = names.map((c) => `${name}_${clean(c)}`);
    const stores = fields.map((f): Store => {
      const home = this.c.homes.get(f) as Home;
      return {
        buffer: home.buffer,
        index: [...home.lead, ...Object.keys(f.axes).map((a) => at[a] as Expr)],
        value: local(bind[names.indexOf(f.field)] as string, "real"),
      };
    });
    const stage: Stage = { stage: "scan", over, monoid: this.#monoid(n, names), elements, bind, exclusive: n.exclusive, reverse: n.reverse, stores };
    return { form: "row", name, nodes: fields.map((f) => f.id), rows: rows.list, stages: [stage] };
  }

  #top(n: TopNode, fields: readonly TopNode[]): Nest {
    const [x] = n.args;
    const { [n.over]: extent, ...rowExtents } = x.axes;
    const rows = this.axes(rowExtents);
    const over = this.axis(n.over, extent as Extent);
    const slotAxis = this.axis(n.slot, n.k);
    const element = this.tabulated(toReal(new Access(this.c.memory).value(x, { ...rows.at, [n.over]: variable(over.v) })));
    const place = (f: TopNode) => ({
      buffer: (this.c.homes.get(f) as Home).buffer,
      index: [
        ...(this.c.homes.get(f) as Home).lead,
        // The slots may have the name of the axis that they are chosen from: `chosen` alone runs along that one.
        ...Object.keys(f.axes).map((a) =>
          f.field === "chosen"
            ? a === n.over
              ? variable(over.v)
              : (rows.at[a] as Expr)
            : a === n.slot
              ? variable(slotAxis.v)
              : (rows.at[a] as Expr),
        ),
      ],
    });
    const chosen = fields.find((f) => f.field === "chosen");
    const stores = fields
      .filter((f) => f.field !== "chosen")
      .map((f) => ({ ...place(f), value: local(f.field, f.field === "value" ? "real" : "int") }));
    return {
      form: "top",
      name: this.c.unique(describe(n)),
      nodes: fields.map((f) => f.id),
      rows: rows.list,
      over,
      slot: slotAxis,
      element,
      stores,
      chosen: chosen ? place(chosen) : null,
    };
  }

  #monoid(n: FoldNode | ScanNode, names: readonly string[]): Monoid {
    const { combine, empty } = n.monoid;
    if (combine.kind !== "scalar") throw new Error(`fold ${n.id} still holds an arrow`);
    const missing = (what: string) => () => {
      throw new Error(`a monoid has no ${what}`);
    };
    const env = { arg: (name: string) => local(name, "real"), index: missing("indices"), size: missing("sizes"), bounds: this.c.bounds };
    const exprs = names.map((c) => toReal(translate(combine.at[c] as Scalar, env)));
    const start = names.map((c) => empty[c] as number);
    return { names, empty: start, combine: exprs, kind: names.length === 1 ? kindOf(exprs[0] as Expr, start[0] as number) : "general" };
  }
}

function kindOf(e: Expr, empty: number): Monoid["kind"] {
  if (e.kind !== "call" || e.args.length !== 2 || !e.args.every((a) => a.kind === "local") || e.args[0] === e.args[1]) return "general";
  if (e.prim === "add" && empty === 0) return "sum";
  if (e.prim === "mul" && empty === 1) return "prod";
  if (e.prim === "max" && empty === Number.NEGATIVE_INFINITY) return "max";
  if (e.prim === "min" && empty === Number.POSITIVE_INFINITY) return "min";
  return "general";
}

/** The components that a component's combine reads, itself included, in the monoid's order. */
function closure(n: FoldNode | ScanNode): readonly string[] {
  const { combine, empty } = n.monoid;
  const need = new Set([n.field]);
  if (combine.kind === "scalar")
    for (const f of need) for (const t of terms([combine.at[f] as Scalar])) if (t.kind === "arg") need.add(t.name.slice(2));
  return Object.keys(empty).filter((c) => need.has(c));
}
const needed = (fields: readonly FoldNode[]): readonly string[] => {
  const all = new Set(fields.flatMap(closure));
  return Object.keys((fields[0] as FoldNode).monoid.empty).filter((c) => all.has(c));
};
function extentIn(n: FoldNode, axis: string): Extent {
  for (const a of n.args) if (axis in a.axes) return a.axes[axis] as Extent;
  throw new Error(`fold ${n.id} has no axis ${axis}`);
}

/** A store's value in the buffer's kind of number. */
function as(dtype: DType, e: Expr): Expr {
  if (dtype === "i32") return toIndex(e);
  if (dtype === "bool") return e.type === "bool" ? e : apply("ne", "bool", toReal(e), real(0));
  return toReal(e);
}

/** A name for people: the label or path of the value, or its operation and axes. */
export function describe(n: Node): string {
  if (n.op === "label") return n.name;
  if (n.op === "leaf") return n.name || "value";
  const axes = Object.keys(n.axes).join("_");
  return `${n.op}${axes ? `_${axes}` : ""}`;
}
