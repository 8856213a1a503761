// Prints one operation of the graph as plain JavaScript loops over Float64Arrays: the slow, obvious meaning that every
// other target is compared with. Where the author wrote an arrow, the loops call that very function; captured scalars
// are printed only where no function exists (derivatives, the language's own index arithmetic).
//
// A map whose only reader is a fold is printed inside that fold's loops, so that a contraction's products are never
// stored. Folds go in one left-to-right order.
import type { Arrow, AtNode, FoldNode, MapNode, MonoidBody, Node, ScanNode, ViewNode } from "../../../dsl/node.js";
import { primitives } from "../../../dsl/primitives.js";
import type { Scalar } from "../../../dsl/scalar.js";
import type { Sizes, Slot } from "./slot.js";
import { statements } from "./spell.js";

/** The function the author wrote for a node that has been read. */
export type Original =
  | {
      readonly kind: "map";
      readonly fn: Arrow;
      readonly captured: Readonly<Record<string, number | boolean | Arrow>>;
      readonly field: string | null;
      readonly bare: boolean;
    }
  | { readonly kind: "view"; readonly fn: Arrow; readonly constants: Readonly<Record<string, number>> }
  | { readonly kind: "monoid"; readonly fn: Arrow };

export interface Context {
  readonly sizes: (n: Node) => Sizes;
  readonly slot: (n: Node) => Slot;
  readonly original: (n: Node) => Original | undefined;
  /** Printed where it is read instead of stored. */
  readonly inlined: (n: Node) => boolean;
}

/** One function's text under construction. */
class Printer {
  readonly lines: string[] = [];
  readonly given: unknown[] = [];
  #names = 0;
  #known = new Map<unknown, string>();
  constructor(readonly context: Context) {}
  name = (): string => `t${this.#names++}`;
  /** A value that the generated text refers to. */
  give(value: unknown): string {
    let name = this.#known.get(value);
    if (name === undefined) {
      name = `g${this.given.length}`;
      this.given.push(value);
      this.#known.set(value, name);
    }
    return name;
  }
  open(axis: Axis, reverse = false): void {
    this.lines.push(
      reverse
        ? `for (let ${axis.v} = ${axis.size - 1}; ${axis.v} >= 0; ${axis.v}--) {`
        : `for (let ${axis.v} = 0; ${axis.v} < ${axis.size}; ${axis.v}++) {`,
    );
  }
  close(count: number): void {
    for (let i = 0; i < count; i++) this.lines.push("}");
  }
  element(slot: Slot, at: (axis: string) => string): string {
    const parts = Object.entries(slot.strides).flatMap(([a, s]) => (s === 0 ? [] : [s === 1 ? at(a) : `${at(a)} * ${s}`]));
    if (slot.offset !== 0 || parts.length === 0) parts.push(String(slot.offset));
    return `${this.give(slot.data)}[${parts.join(" + ")}]`;
  }
  /** The value of n at the indices held by these variables: a JavaScript number, or a boolean for masks. */
  value(n: Node, v: Vars): string {
    if (n.op === "map" && this.context.inlined(n)) return this.map(n, v);
    const read = this.element(this.context.slot(n), (a) => v.get(a) as string);
    return n.dtype === "bool" ? `(${read} !== 0)` : read;
  }
  map(n: MapNode, v: Vars): string {
    const original = this.context.original(n);
    const sizes = this.context.sizes(n);
    if (original?.kind === "map") {
      const { fn, captured, field, bare } = original;
      const values = n.args.map((a) => this.value(a, v));
      const f = this.give(fn);
      const out = this.name();
      const text = (name: string, value: string) => `${JSON.stringify(name)}: ${value}`;
      // Literals, not records kept and filled: the engine sees that they do not outlive the call, and makes none.
      const at = `{ ${Object.keys(n.axes).map((a) => text(a, v.get(a) as string))} }`;
      const own = Object.entries(captured).map(([name, value]) => text(name, this.give(value)));
      const places = `${at}, ${this.give(sizes)}`;
      let call: string;
      if (bare) call = `${f}(${values[0]}, ${places})`;
      else if (n.args.length + own.length === 0) call = `${f}(${places})`;
      else call = `${f}({ ${[...n.names.map((name, i) => text(name, values[i] as string)), ...own]} }, ${places})`;
      this.lines.push(`const ${out} = ${call}${field === null ? "" : `[${JSON.stringify(field)}]`};`);
      return out;
    }
    if (n.body.kind !== "scalar") throw new Error("js: an arrow without its function");
    const byName = new Map(n.names.map((name, i) => [name, n.args[i] as Node]));
    const read = new Map<string, string>();
    return this.scalars([n.body.body], v, sizes, (name) => {
      let value = read.get(name);
      if (value === undefined) {
        value = this.value(byName.get(name) as Node, v);
        read.set(name, value);
      }
      return value;
    })[0] as string;
  }
  scalars(roots: readonly Scalar[], v: Vars, sizes: Sizes, arg: (name: string) => string): readonly string[] {
    const { lines, results } = statements(
      roots,
      (t) => (t.kind === "arg" ? arg(t.name) : t.kind === "index" ? (v.get(t.axis) as string) : String(sizes[t.axis])),
      this.name,
    );
    this.lines.push(...lines);
    return results;
  }
  function(): () => void {
    const text = `"use strict"; return () => {\n${this.lines.join("\n")}\n}`;
    const names = this.given.map((_, i) => `g${i}`);
    const functions = this.given.map((g) => (typeof g === "function" ? String(g) : "")).join();
    return made(`${functions};${text}`, ["p", ...names], text)(primitives, ...this.given) as () => void; // the text above is such a function
  }
}
/** Code by its text and that of the functions it calls: the engine warms up equal code once, and learns nothing about it
 *  that another caller unlearns. Emptied when it has grown. */
const printed = new Map<string, (...given: unknown[]) => unknown>();
const MANY = 10_000;
function made(key: string, names: readonly string[], text: string): (...given: unknown[]) => unknown {
  const known = printed.get(key);
  if (known) return known;
  if (printed.size >= MANY) printed.clear();
  const f = new Function(...names, text) as (...given: unknown[]) => unknown; // a function of these names
  printed.set(key, f);
  return f;
}
interface Axis {
  readonly name: string;
  readonly v: string;
  readonly size: number;
}
type Vars = ReadonlyMap<string, string>;
const axesOf = (sizes: Sizes): readonly Axis[] => Object.entries(sizes).map(([name, size], i) => ({ name, v: `i${i}`, size }));
const vars = (axes: readonly Axis[]): Vars => new Map(axes.map((a) => [a.name, a.v]));

export function mapKernel(n: MapNode, out: Slot, c: Context): () => void {
  const p = new Printer(c);
  const axes = axesOf(c.sizes(n));
  const v = vars(axes);
  for (const a of axes) p.open(a);
  const value = p.map(n, v);
  p.lines.push(`${p.element(out, (a) => v.get(a) as string)} = ${value};`);
  p.close(axes.length);
  return p.function();
}

/** Reads x at computed indices: 0 outside. */
function gather(p: Printer, x: Node, at: ReadonlyMap<string, string>, v: Vars, c: Context): string {
  const sizes = c.sizes(x);
  const inside = [...at].map(([a, i]) => `${i} >= 0 && ${i} < ${sizes[a]}`);
  const read = p.element(c.slot(x), (a) => at.get(a) ?? (v.get(a) as string));
  return inside.length === 0 ? read : `(${inside.join(" && ")} ? ${read} : 0)`;
}
export function viewKernel(n: ViewNode, out: Slot, c: Context): () => void {
  const p = new Printer(c);
  const [x] = n.args;
  const axes = axesOf(c.sizes(n));
  const v = vars(axes);
  const sizes = { ...c.sizes(n), ...c.sizes(x) };
  for (const a of axes) p.open(a);
  const original = c.original(n);
  const at = new Map<string, string>();
  if (original?.kind === "view") {
    const fresh = p.give(Object.fromEntries(Object.keys(n.fresh).map((a) => [a, 0])));
    for (const a of Object.keys(n.fresh)) p.lines.push(`${fresh}[${JSON.stringify(a)}] = ${v.get(a)};`);
    const known = p.give({ ...sizes, ...original.constants });
    p.lines.push(`const at = ${p.give(original.fn)}(${fresh}, ${known});`);
    for (const a of n.reads) {
      const i = p.name();
      p.lines.push(`const ${i} = at[${JSON.stringify(a)}];`);
      at.set(a, i);
    }
  } else {
    if (n.index.kind !== "scalar") throw new Error("js: an arrow without its function");
    const entries = Object.entries(n.index.at);
    const found = p.scalars(
      entries.map(([, s]) => s),
      v,
      sizes,
      () => "NaN",
    );
    for (const [k, [a]] of entries.entries()) at.set(a, found[k] as string);
  }
  p.lines.push(`${p.element(out, (a) => v.get(a) as string)} = ${gather(p, x, at, v, c)};`);
  p.close(axes.length);
  return p.function();
}
export function atKernel(n: AtNode, out: Slot, c: Context): () => void {
  const p = new Printer(c);
  const [x, ...indices] = n.args;
  const axes = axesOf(c.sizes(n));
  const v = vars(axes);
  for (const a of axes) p.open(a);
  const at = new Map<string, string>();
  n.along.forEach((a, k) => {
    const i = p.name();
    p.lines.push(`const ${i} = ${p.value(indices[k] as Node, v)};`);
    at.set(a, i);
  });
  p.lines.push(`${p.element(out, (a) => v.get(a) as string)} = ${gather(p, x, at, v, c)};`);
  p.close(axes.length);
  return p.function();
}

/** state ← combine(state, element): the names of the new state. */
function combined(p: Printer, n: FoldNode | ScanNode, state: readonly string[], element: readonly string[], c: Context): readonly string[] {
  const names = Object.keys(n.monoid.empty);
  const original = c.original(n);
  if (original?.kind === "monoid") {
    const record = (values: readonly string[]) => `{ ${names.map((f, i) => `${JSON.stringify(f)}: ${values[i]}`)} }`;
    const out = p.name();
    p.lines.push(`const ${out} = ${p.give(original.fn)}(${record(state)}, ${record(element)});`);
    return names.map((f) => `${out}[${JSON.stringify(f)}]`);
  }
  const { combine } = n.monoid;
  if (combine.kind !== "scalar") throw new Error("js: an arrow without its function");
  const value = (name: string) => (name.startsWith("x.") ? state : element)[names.indexOf(name.slice(2))] as string;
  return p.scalars(
    names.map((f) => combine.at[f] as Scalar),
    new Map(),
    {},
    value,
  );
}
const empties = (m: MonoidBody): readonly string[] => Object.values(m.empty).map((e) => (Object.is(e, -0) ? "-0" : String(e)));

/** A component is computed whether or not another has an axis of size 0 that it lacks itself: for such a component those
 *  axes count as 1 (it reads nothing that has them), and it has a pass of its own. */
function passes(
  all: Sizes,
  outs: readonly (Slot | null)[],
  over: readonly string[],
  kernel: (all: Sizes, outs: readonly (Slot | null)[]) => () => void,
): () => void {
  const empty = Object.keys(all).filter((a) => all[a] === 0 && !over.includes(a));
  const groups = new Map<string, (Slot | null)[]>();
  outs.forEach((out, i) => {
    const lacks = out ? empty.filter((a) => !(a in out.strides)).join() : "";
    const group = groups.get(lacks) ?? outs.map(() => null);
    group[i] = out;
    groups.set(lacks, group);
  });
  const kernels = [...groups].map(([lacks, group]) =>
    kernel(Object.fromEntries(Object.entries(all).map(([a, n]) => [a, lacks.split(",").includes(a) ? 1 : n])), group),
  );
  return kernels.length === 1 ? (kernels[0] as () => void) : () => kernels.forEach((k) => void k());
}
/** `all`: the sizes of all components' axes; `outs`: where each component goes, null where nobody reads it. */
export const foldKernel = (n: FoldNode, all: Sizes, outs: readonly (Slot | null)[], c: Context): (() => void) =>
  passes(all, outs, n.over, (sizes, some) => foldPass(n, sizes, some, c));
function foldPass(n: FoldNode, all: Sizes, outs: readonly (Slot | null)[], c: Context): () => void {
  const p = new Printer(c);
  const axes = axesOf(all);
  const v = vars(axes);
  const outer = axes.filter((a) => !n.over.includes(a.name));
  const inner = n.over.map((o) => axes.find((a) => a.name === o) as Axis);
  for (const a of outer) p.open(a);
  const state = empties(n.monoid).map((e, i) => {
    p.lines.push(`let s${i} = ${e};`);
    return `s${i}`;
  });
  for (const a of inner) p.open(a);
  const element = n.args.map((x) => p.value(x, v));
  const next = combined(p, n, state, element, c);
  if (next.length === 1) p.lines.push(`s0 = ${next[0]};`);
  else p.lines.push(`${next.map((e, i) => `const n${i} = ${e};`).join(" ")} ${next.map((_, i) => `s${i} = n${i};`).join(" ")}`);
  p.close(inner.length);
  outs.forEach((out, i) => {
    if (out) p.lines.push(`${p.element(out, (a) => v.get(a) as string)} = s${i};`);
  });
  p.close(outer.length);
  return p.function();
}
export const scanKernel = (n: ScanNode, all: Sizes, outs: readonly (Slot | null)[], c: Context): (() => void) =>
  passes(all, outs, [n.over], (sizes, some) => scanPass(n, sizes, some, c));
function scanPass(n: ScanNode, all: Sizes, outs: readonly (Slot | null)[], c: Context): () => void {
  const p = new Printer(c);
  const axes = axesOf(all);
  const v = vars(axes);
  const outer = axes.filter((a) => a.name !== n.over);
  const along = axes.find((a) => a.name === n.over) as Axis;
  for (const a of outer) p.open(a);
  const state = empties(n.monoid).map((e, i) => {
    p.lines.push(`let s${i} = ${e};`);
    return `s${i}`;
  });
  p.open(along, n.reverse);
  const store = () =>
    outs.forEach((out, i) => {
      if (out) p.lines.push(`${p.element(out, (a) => v.get(a) as string)} = s${i};`);
    });
  if (n.exclusive) store();
  const element = n.args.map((x) => p.value(x, v));
  const next = combined(p, n, state, element, c);
  p.lines.push(`${next.map((e, i) => `const n${i} = ${e};`).join(" ")} ${next.map((_, i) => `s${i} = n${i};`).join(" ")}`);
  if (!n.exclusive) store();
  p.close(1 + outer.length);
  return p.function();
}
/** Copies a value of these sizes; offsets are added to both sides' own. */
export function copier(from: Slot, to: Slot, sizes: Sizes): (fromOffset: number, toOffset: number) => void {
  const axes = axesOf(sizes);
  const index = (s: Slot, extra: string) => [...axes.map((a) => `${a.v} * ${s.strides[a.name]}`), String(s.offset), extra].join(" + ");
  const loops = axes.map((a) => `for (let ${a.v} = 0; ${a.v} < ${a.size}; ${a.v}++)`).join(" ");
  const text = `return (f, t) => { ${loops} to[${index(to, "t")}] = from[${index(from, "f")}]; }`;
  return made(text, ["from", "to"], text)(from.data, to.data) as (f: number, t: number) => void; // the text above is such a function
}
