// From an expanded graph to a plan: what has memory (materialise.ts), where it is computed (regions.ts), as which kind of
// kernel (form.ts), where its memory lies (memory.ts). State is updated in place, after everything that reads it.
import { type Either, left, right } from "fp-ts/lib/Either.js";
import type { DType, Extent, FoldNode, Leaf, Loop, Node, ScanNode, TopNode, UpTo } from "../../dsl/node.js";
import { type Scalar, terms } from "../../dsl/scalar.js";
import type { Plan } from "../plan.js";
import { Access, axesInMemory, type CarryHome, counterName, type Home, type Indices, type Memory, position, slot } from "./access.js";
import { apply, type Buffer, buffer, type Expr, extentVar, int, local, maxOf, real, variable } from "./expr.js";
import { sumForm } from "./form.js";
import { fuseMaps, fuseUpdates } from "./fuse.js";
import { iadd } from "./ints.js";
import { type Layouts, layouts } from "./layout.js";
import { materialise } from "./materialise.js";
import { placeTemporaries } from "./memory.js";
import type { Axis, Monoid, Nest, Stage, Step, Store } from "./nest.js";
import type { Range } from "./ranges.js";
import { type Regions, regions } from "./regions.js";
import { fuseRows } from "./rows.js";
import { Tables } from "./tables.js";
import { toIndex, toReal, translate } from "./translate.js";
import { orderUpdates } from "./updates.js";
import { verifyPlan } from "./verify.js";

export interface Program {
  readonly name: string;
  readonly inputs: Readonly<Record<string, Leaf>>;
  readonly outputs: Readonly<Record<string, Node>>;
  /** New values of state, all computed from the old ones. */
  readonly updates: readonly { readonly leaf: Leaf; readonly value: Node }[];
}
/** The program cannot run on a compiled target as it stands. */
export interface LowerError {
  readonly kind: "LowerError";
  readonly message: string;
  readonly hint: string;
  readonly node: Node;
}

const clean = (s: string) => s.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "x";

export function lower(p: Program): Either<LowerError, Plan> {
  const roots = [...Object.values(p.outputs), ...p.updates.map((u) => u.value)];
  const r = regions(roots);
  const bad = r.order.find((n) => n.dtype === "f64");
  if (bad)
    return left({
      kind: "LowerError",
      node: bad,
      message: "f64 tensors exist on the js device alone",
      hint: 'cast to "f32", or compile with device: "js"',
    });
  const plan = new Lowering(p, r).plan();
  verifyPlan(plan);
  return right(plan);
}

class Lowering {
  readonly #bounds = new Map<string, Range>();
  readonly #extents = new Map<string, number>();
  readonly #buffers: Buffer[] = [];
  readonly #names = new Map<string, number>();
  readonly #homes = new Map<Node, Home>();
  readonly #leaves = new Map<Leaf, Buffer>();
  readonly #carries = new Map<Leaf, CarryHome>();
  readonly #inputs: Record<string, Buffer> = {};
  readonly #outputs: Record<string, Buffer> = {};
  readonly #state: Record<string, Buffer> = {};
  readonly #ups = new Map<UpTo, true>();
  readonly #tables = new Tables();
  readonly #memory: Memory;
  readonly #stored: ReadonlySet<Node>;
  readonly #layouts: Layouts;
  /** Map node → the fold that is a local of its kernel. */
  readonly #hosted = new Map<Node, Node>();
  #computing: Home | undefined;
  #vars = 0;

  constructor(
    readonly p: Program,
    readonly r: Regions,
  ) {
    const direct = Object.values(p.outputs).filter((n) => ownsMemory(n));
    const choice = materialise(
      r,
      new Set(direct),
      p.updates.map((u) => u.value),
    );
    this.#stored = choice.stored;
    for (const [fold, host] of choice.epilogue) this.#hosted.set(host, fold);
    const next = [...r.loops].flatMap((l) => [...(r.carries.get(l) as ReadonlySet<number>)].map((i) => l.next[i] as Node));
    this.#layouts = layouts(r, choice.stored, choice.epilogue, new Set([...direct, ...next])); // these lie as others want them
    this.#memory = { layouts: this.#layouts, homes: this.#homes, leaves: this.#leaves, carries: this.#carries, owner: r.owner, bounds: this.#bounds };
  }

  plan(): Plan {
    for (const n of this.r.order) for (const e of Object.values(n.axes)) if (typeof e !== "number") this.#extent(e);
    this.#declareLeaves();
    for (const l of this.r.loops) this.#declareLoop(l);
    const outputs = new Map<Node, string>();
    for (const [name, n] of Object.entries(this.p.outputs)) if (ownsMemory(n) && !this.#homes.has(n) && !outputs.has(n)) outputs.set(n, name);
    for (const n of this.#stored) {
      if (this.#homes.has(n)) continue;
      const name = outputs.get(n);
      const b = this.#buffer(name === undefined ? describe(n) : `out_${name}`, n.dtype, this.#inMemory(n), name === undefined ? "temp" : "output");
      this.#homes.set(n, { buffer: b, lead: [] });
      if (name !== undefined) this.#outputs[name] = b;
    }
    const steps = this.#region(null);
    for (const [name, n] of Object.entries(this.p.outputs)) {
      if (this.#outputs[name]) continue;
      const b = this.#buffer(`out_${name}`, n.dtype, n.axes, "output");
      this.#outputs[name] = b;
      steps.push({ step: "nest", nest: this.#copy(n, { buffer: b, lead: [] }, `out_${name}`) });
    }
    const updates = this.p.updates.filter((u) => u.value !== u.leaf);
    const nests = updates.map((u) => this.#copy(u.value, { buffer: this.#leaves.get(u.leaf) as Buffer, lead: [] }, `update_${u.leaf.name}`));
    const temporary = (b: Buffer) => this.#buffer(`new_${b.name}`, b.dtype, Object.fromEntries(b.axes.map((a) => [a.name, a.extent])), "temp");
    for (const nest of orderUpdates(fuseUpdates(nests), temporary)) steps.push({ step: "nest", nest });
    const all = [...this.#buffers, ...this.#tables.buffers];
    const { offsets, arenaBytes } = placeTemporaries(steps);
    return {
      name: this.p.name,
      buffers: all,
      steps,
      extents: [...this.#ups.keys()],
      inputs: this.#inputs,
      outputs: this.#outputs,
      state: this.#state,
      offsets,
      arenaBytes,
    };
  }

  // ── memory ─────────────────────────────────────────────────────────────────────────────────────────
  #unique(name: string): string {
    const base = clean(name);
    const n = this.#names.get(base) ?? 0;
    this.#names.set(base, n + 1);
    return n === 0 ? base : `${base}_${n}`;
  }
  #buffer(name: string, dtype: DType, axes: Readonly<Record<string, Extent>>, role: Buffer["role"]): Buffer {
    const b = buffer(
      this.#unique(name),
      dtype,
      Object.entries(axes).map(([a, extent]) => ({ name: a, extent })),
      role,
    );
    this.#buffers.push(b);
    return b;
  }
  #inMemory(n: Node): Readonly<Record<string, Extent>> {
    return Object.fromEntries(axesInMemory(n, this.#layouts).map((a) => [a, n.axes[a] as Extent]));
  }
  #extent(e: UpTo): void {
    this.#ups.set(e, true);
    const v = extentVar(e);
    if (v.kind === "var") this.#bounds.set(v.name, [0, e.max]);
  }
  #declareLeaves(): void {
    const named = new Map(Object.entries(this.p.inputs).map(([name, leaf]) => [leaf, name]));
    const leaves = new Set<Leaf>([...Object.values(this.p.inputs), ...this.p.updates.map((u) => u.leaf)]);
    for (const n of this.r.order) if (n.op === "leaf" && n.role !== "bound") leaves.add(n);
    for (const n of leaves) {
      for (const e of Object.values(n.axes)) if (typeof e !== "number") this.#extent(e);
      const input = named.get(n);
      const b = this.#buffer(input ?? n.name, n.dtype, n.axes, input === undefined ? "state" : "input");
      this.#leaves.set(n, b);
      if (input === undefined) this.#state[n.name] = b;
      else this.#inputs[input] = b;
    }
  }
  #declareLoop(l: Loop): void {
    const v = counterName(l);
    this.#bounds.set(v, [0, Math.max(0, l.count - 1)]);
    this.#extents.set(v, l.count);
    const emitted = this.r.emitted.get(l) as ReadonlySet<Node>;
    const counter = variable(v);
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const leaf = l.carry[i] as Leaf;
      const slots = emitted.has(leaf) ? l.count + 1 : 2;
      const b = this.#buffer(`carry_${describe(l.next[i] as Node)}`, leaf.dtype, { [l.axis]: slots, ...leaf.axes }, "temp");
      this.#carries.set(leaf, { buffer: b, slots });
    }
    for (const of of emitted) {
      if (!this.#stored.has(of) || this.r.home.get(of) !== l || this.#homes.has(of)) continue;
      this.#homes.set(of, { buffer: this.#buffer(describe(of), of.dtype, { [l.axis]: l.count, ...this.#inMemory(of) }, "temp"), lead: [counter] });
    }
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const n = l.next[i] as Node;
      if (this.#stored.has(n) && this.r.home.get(n) === l && !this.#homes.has(n)) this.#homes.set(n, this.#nextSlot(l, i));
    }
  }
  #nextSlot(l: Loop, i: number): Home {
    const h = this.#carries.get(l.carry[i] as Leaf) as CarryHome;
    return { buffer: h.buffer, lead: [slot(h, iadd(position(l, variable(counterName(l))), int(1)), this.#memory)] };
  }

  // ── steps ──────────────────────────────────────────────────────────────────────────────────────────
  #region(l: Loop | null): Step[] {
    const out: (Nest | Step)[] = [];
    const done = new Set<Node | Loop>();
    for (const n of this.r.order) {
      if (this.r.home.get(n) !== l) continue;
      if ((n.op === "carry" || n.op === "emit") && !done.has(n.loop)) {
        done.add(n.loop);
        out.push(...this.#loop(n.loop));
      } else if (this.#stored.has(n) && !done.has(n)) {
        const { nest, nodes } = this.#nest(n);
        for (const x of nodes) done.add(x);
        out.push(nest);
      }
    }
    if (l) {
      for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
        const to = this.#nextSlot(l, i);
        const n = l.next[i] as Node;
        if (this.#homes.get(n)?.buffer !== to.buffer || this.r.home.get(n) !== l) out.push(this.#copy(n, to, `next_${to.buffer.name}`));
      }
    }
    return group(out);
  }
  #loop(l: Loop): Step[] {
    const out: Step[] = [];
    for (const i of this.r.carries.get(l) as ReadonlySet<number>) {
      const h = this.#carries.get(l.carry[i] as Leaf) as CarryHome;
      out.push({ step: "nest", nest: this.#copy(l.init[i] as Node, { buffer: h.buffer, lead: [int(0)] }, `start_${h.buffer.name}`) });
    }
    const body = this.#region(l);
    for (const of of this.r.emitted.get(l) as ReadonlySet<Node>) {
      // A loop inside, or a value of a loop inside, has memory without this loop's axis: keep a copy an iteration.
      if ((of.op === "carry" || of.op === "emit") && this.r.home.get(of) === l) {
        const b = this.#buffer(describe(of), of.dtype, { [l.axis]: l.count, ...of.axes }, "temp");
        body.push({ step: "nest", nest: this.#copy(of, { buffer: b, lead: [variable(counterName(l))] }, `keep_${b.name}`) });
        this.#homes.set(of, { buffer: b, lead: [variable(counterName(l))] });
      }
    }
    if (l.count > 0 && body.length > 0) out.push({ step: "loop", v: counterName(l), count: l.count, reverse: l.reverse, body });
    return out;
  }

  // ── nests ──────────────────────────────────────────────────────────────────────────────────────────
  #axis(name: string, extent: Extent): Axis {
    const v = `${clean(name)}${this.#vars++}`;
    this.#bounds.set(v, [0, Math.max(0, maxOf(extent) - 1)]);
    if (typeof extent === "number") this.#extents.set(v, extent);
    return { v, extent };
  }
  #axes(axes: Readonly<Record<string, Extent>>): { readonly list: readonly Axis[]; readonly at: Indices } {
    const pairs = Object.entries(axes).map(([a, e]) => [a, this.#axis(a, e)] as const);
    return { list: pairs.map(([, x]) => x), at: Object.fromEntries(pairs.map(([a, x]) => [a, variable(x.v)])) };
  }
  /** Only a node's own home has its layout: a copy elsewhere lies as the expression does. */
  #memoryOrder(home: Home, n: Node): Layouts {
    const own = this.#homes.get(n) ?? this.#computing;
    return own?.buffer === home.buffer ? this.#layouts : new Map();
  }
  #tabulated(e: Expr): Expr {
    return this.#tables.rewrite(e, this.#extents, this.#bounds);
  }
  #stored1(n: Node, home: Home, at: Indices, access: Access): Store {
    const v = this.#tabulated(access.value(n, at));
    return {
      buffer: home.buffer,
      index: [...home.lead, ...axesInMemory(n, this.#memoryOrder(home, n)).map((a) => at[a] as Expr)],
      value: as(n.dtype, v),
    };
  }
  #copy(n: Node, to: Home, name: string): Nest {
    const { list, at } = this.#axes(n.axes);
    return { form: "map", name: this.#unique(name), nodes: [n.id], axes: list, stores: [this.#stored1(n, to, at, new Access(this.#memory))] };
  }

  #nest(n: Node): { readonly nest: Nest; readonly nodes: readonly Node[] } {
    const hosted = this.#hosted.get(n);
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
        const fields = this.r.order.filter(
          (x): x is TopNode =>
            x.op === "top" && x.args[0] === n.args[0] && x.over === n.over && x.k === n.k && x.slot === n.slot && this.#stored.has(x),
        );
        return { nest: this.#top(n, fields), nodes: fields };
      }
      default: {
        const home = this.#homes.get(n) as Home;
        this.#homes.delete(n); // its own value, not the load of it
        this.#computing = home;
        const nest = this.#copy(n, home, describe(n));
        this.#computing = undefined;
        this.#homes.set(n, home);
        return { nest, nodes: [n] };
      }
    }
  }

  /** Stored components of the same fold or scan that have the same rows and need the same components. */
  #siblings(n: FoldNode | ScanNode): readonly Node[] {
    return this.r.order.filter(
      (x) =>
        x.op === n.op &&
        this.#stored.has(x) &&
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
  #fold(n: FoldNode, results: readonly Node[]): Nest {
    const names = closure(n);
    const rowExtents: Record<string, Extent> = {};
    const components = Object.keys(n.monoid.empty);
    const all: Record<string, Extent> = {};
    for (const c of names) for (const [a, e] of Object.entries((n.args[components.indexOf(c)] as Node).axes)) all[a] = e;
    for (const [a, e] of Object.entries(n.axes)) rowExtents[a] = e;
    for (const [a, e] of Object.entries(all)) if (!n.over.includes(a)) rowExtents[a] = e;
    const rows = this.#axes(rowExtents);
    const over = this.#axes(Object.fromEntries(n.over.map((o) => [o, all[o] ?? extentIn(n, o)])));
    const at = { ...rows.at, ...over.at };
    const access = new Access(this.#memory);
    const elements = names.map((c) => this.#tabulated(toReal(access.value(n.args[components.indexOf(c)] as Node, at))));
    const monoid = this.#monoid(n, names);
    const name = this.#unique(describe(results[0] as Node));
    const base = { name, nodes: results.map((x) => x.id) };
    const bind = names.map((c) => `${name}_${clean(c)}`);
    const stores = (locals: ReadonlyMap<Node, Expr>) => {
      const inner = new Access({ ...this.#memory, homes: new Map([...this.#homes].filter(([x]) => !results.includes(x))) }, locals);
      return results.map((x) => this.#stored1(x, this.#homes.get(x) as Home, rows.at, inner));
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
        const home = this.#homes.get(n) as Home;
        const index = [...home.lead, ...axesInMemory(n, this.#layouts).map((a) => rows.at[a] as Expr)];
        return {
          ...base,
          form: "scatter",
          rows: rows.list.filter((x) => x !== form.target),
          over: over.list,
          target: form.target,
          index: form.index,
          value: form.value,
          into: { buffer: home.buffer, index },
        };
      }
    }
    const stages: Stage[] = [
      { stage: "fold", over: over.list, monoid, elements, bind },
      { stage: "map", axes: [], stores: stores(new Map(foldNodes.map((f) => [f, resultOf(f)]))) },
    ];
    return { ...base, form: "row", rows: rows.list, stages };
  }

  #scan(n: ScanNode, fields: readonly ScanNode[]): Nest {
    const names = closure(n);
    const components = Object.keys(n.monoid.empty);
    const all: Record<string, Extent> = { ...n.axes };
    for (const c of names) Object.assign(all, (n.args[components.indexOf(c)] as Node).axes);
    const { [n.over]: extent, ...rowExtents } = all;
    const rows = this.#axes(rowExtents);
    const over = this.#axis(n.over, extent as Extent);
    const at = { ...rows.at, [n.over]: variable(over.v) };
    const access = new Access(this.#memory);
    const elements = names.map((c) => this.#tabulated(toReal(access.value(n.args[components.indexOf(c)] as Node, at))));
    const name = this.#unique(describe(fields[0] as Node));
    const bind = names.map((c) => `${name}_${clean(c)}`);
    const stores = fields.map((f): Store => {
      const home = this.#homes.get(f) as Home;
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
    const rows = this.#axes(rowExtents);
    const over = this.#axis(n.over, extent as Extent);
    const slotAxis = this.#axis(n.slot, n.k);
    const element = this.#tabulated(toReal(new Access(this.#memory).value(x, { ...rows.at, [n.over]: variable(over.v) })));
    const place = (f: TopNode) => ({
      buffer: (this.#homes.get(f) as Home).buffer,
      index: [
        ...(this.#homes.get(f) as Home).lead,
        // The slots may have the name of the axis that they are chosen from: `chosen` alone runs along that one.
        ...Object.keys(f.axes).map((a) =>
          f.field === "chosen" ? (a === n.over ? variable(over.v) : (rows.at[a] as Expr)) : a === n.slot ? variable(slotAxis.v) : (rows.at[a] as Expr),
        ),
      ],
    });
    const chosen = fields.find((f) => f.field === "chosen");
    const stores = fields
      .filter((f) => f.field !== "chosen")
      .map((f) => ({ ...place(f), value: local(f.field, f.field === "value" ? "real" : "int") }));
    return {
      form: "top",
      name: this.#unique(describe(n)),
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
    const env = { arg: (name: string) => local(name, "real"), index: missing("indices"), size: missing("sizes"), bounds: this.#bounds };
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
function extentIn(n: FoldNode, axis: string): Extent {
  for (const a of n.args) if (axis in a.axes) return a.axes[axis] as Extent;
  throw new Error(`fold ${n.id} has no axis ${axis}`);
}
const ownsMemory = (n: Node): boolean => n.op !== "leaf" && n.op !== "constant" && n.op !== "carry" && n.op !== "emit";

/** A store's value in the buffer's kind of number. */
function as(dtype: DType, e: Expr): Expr {
  if (dtype === "i32") return toIndex(e);
  if (dtype === "bool") return e.type === "bool" ? e : apply("ne", "bool", toReal(e), real(0));
  return toReal(e);
}

/** A name for people: the label or path of the value, or its operation and axes. */
function describe(n: Node): string {
  if (n.op === "label") return n.name;
  if (n.op === "leaf") return n.name || "value";
  const axes = Object.keys(n.axes).join("_");
  return `${n.op}${axes ? `_${axes}` : ""}`;
}

/** Neighbouring kernels become one where they share loops and memory. */
function group(items: readonly (Nest | Step)[]): Step[] {
  const out: Step[] = [];
  let run: Nest[] = [];
  const flush = () => {
    for (const nest of fuseRows(fuseMaps(run))) out.push({ step: "nest", nest });
    run = [];
  };
  for (const x of items) {
    if ("form" in x) run.push(x);
    else {
      flush();
      out.push(x);
    }
  }
  flush();
  return out;
}
