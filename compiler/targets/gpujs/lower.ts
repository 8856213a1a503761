// A nest as gpu.js kernels. A thread computes one cell of one array, so every store is a kernel of its own; values that
// several of them need (a row's folds, a contraction's sum, the indices a `top` selects) are kernels too, into scratch
// arrays, so that nothing is folded once for each element of the row it belongs to.

import { apply, type Buffer, buffer, type Expr, elements, extentVar, int, load, local, maxOf, partsOf, strides, variable } from "../../lower/expr.js";
import { iadd, imul, linearForm } from "../../lower/ints.js";
import type { Axis, Monoid, Nest, Stage, Store } from "../../lower/nest.js";
import type { Bounds, Range } from "../../lower/ranges.js";
import type { TargetError } from "../target.js";
import { chunkTotal, fold, loops, prefix, selected } from "./folds.js";
import { type GpujsMode, limits } from "./limits.js";
import { axesOf, type Parts, sizeOf } from "./parts.js";
import type { Address, GpujsAxis, HostStep } from "./program.js";
import { type Arg, type Packed, type Value, Writer } from "./writer.js";

const sum: Monoid = { names: ["v"], empty: [0], combine: [apply("add", "real", local("x.v", "real"), local("y.v", "real"))], kind: "sum" };

/** Thrown inside the target, returned by it. */
export class Refusal extends Error {
  constructor(readonly error: TargetError) {
    super(error.message);
  }
}

/** Names of locals that the expressions read. */
function localsOf(roots: readonly Expr[]): ReadonlySet<string> {
  const names = new Set<string>();
  const seen = new Set<Expr>();
  const stack = [...roots];
  for (let e = stack.pop(); e; e = stack.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "local") names.add(e.name);
    stack.push(...partsOf(e));
  }
  return names;
}

export class NestLowering {
  readonly steps: HostStep[] = [];
  readonly #bounds: Map<string, Range>;
  /** Locals of earlier stages: scratch arrays over the rows. */
  readonly #saved = new Map<string, Expr>();

  constructor(
    readonly nest: Nest,
    readonly mode: GpujsMode,
    readonly parts: Parts,
    outer: Bounds,
  ) {
    this.#bounds = new Map(outer);
  }

  run(): HostStep {
    const { nest } = this;
    switch (nest.form) {
      case "map":
        this.#stores(nest.axes, nest.stores);
        break;
      case "contract":
        this.#contract(nest);
        break;
      case "row":
        this.#row(nest);
        break;
      case "scatter":
        this.#scatter(nest);
        break;
      case "top":
        this.#top(nest);
        break;
      case "tiles":
        throw this.#refusal(`kernel ${nest.name} works tile by tile; gpu.js computes one cell a thread: lower the program with tiles: false`);
    }
    return { do: "nest", name: nest.name, nodes: nest.nodes, body: this.steps };
  }

  #refusal(message: string): Refusal {
    return new Refusal({ kind: "target", target: "gpujs", kernel: this.nest.name, nodes: this.nest.nodes, message });
  }

  // ---- kernels

  /** One kernel over the cells of `axes`; its result's scratch array. */
  #launch(what: string, axes: readonly Axis[], reads: readonly Expr[], value: (w: Writer) => Value): Buffer {
    const out = buffer(
      what === "" ? this.nest.name : `${this.nest.name}_${what}`,
      "f32",
      axes.map((a) => ({ name: a.v, extent: a.extent })),
      "temp",
    );
    const number = this.parts.buffer(out, "scratch");
    const cells = elements(out);
    if (cells === 0) return out;
    if (cells >= limits.exactInt)
      throw this.#refusal(
        `kernel ${this.nest.name} has ${cells} cells (${axes.map((a) => `${a.v}: ${maxOf(a.extent)}`).join(", ")}); gpu.js numbers cells in f32, exact below ${limits.exactInt}`,
      );
    for (const a of axes) this.#bounds.set(a.v, [0, Math.max(0, maxOf(a.extent) - 1)]);
    const write = (packs: ReadonlyMap<Buffer, Packed>) => {
      const w = new Writer(this.mode, this.#bounds, packs);
      this.#cell(w, axes);
      for (const name of localsOf(reads)) {
        const saved = this.#saved.get(name);
        if (saved) w.define(`l:${name}`, w.write(saved));
      }
      const text = w.finish(value(w), cells);
      return { args: w.args, text };
    };
    const first = write(new Map());
    const packs = this.#packs(out.name, first.args);
    const { args, text } = packs.size > 0 ? write(packs) : first;
    const kernel = this.parts.kernel({
      name: out.name,
      ...text,
      params: args.map((a) => (a.kind === "buffer" ? Math.max(1, elements(a.buffer)) : null)),
      cells,
    });
    this.steps.push({ do: "launch", kernel, args: args.map((a) => (a.kind === "buffer" ? this.parts.buffer(a.buffer) : a.name)), out: number });
    return out;
  }
  /** webgl2 has few textures: where a kernel reads more arrays, another lays the smallest of them one behind the other. */
  #packs(name: string, args: readonly Arg[]): ReadonlyMap<Buffer, Packed> {
    const packs = new Map<Buffer, Packed>();
    if (this.mode !== "webgl2") return packs;
    const arrays = args.flatMap((a) => (a.kind === "buffer" ? [a.buffer] : [])).sort((a, b) => elements(a) - elements(b));
    let count = arrays.length;
    while (count > limits.textures) {
      const group = arrays.splice(0, Math.min(limits.textures, count - limits.textures + 1));
      count -= group.length - 1;
      const ends = group.map((_, k) => group.slice(0, k + 1).reduce((n, b) => n + elements(b), 0));
      const cell: Axis = { v: `${name}_packed`, extent: ends.at(-1) as number };
      const into = this.#launch("packed", [cell], [], (w) => {
        const at = w.write(variable(cell.v)).text;
        const read = (b: Buffer, k: number) => w.dialect.read(w.argument({ kind: "buffer", buffer: b }), `${at} - ${k === 0 ? 0 : ends[k - 1]}`);
        const reads = group.map(read);
        return { type: "real", text: w.real(reads.map((r, k) => (k === reads.length - 1 ? r : `${at} < ${ends[k]} ? ${r} : `)).join("")) };
      });
      for (const [k, b] of group.entries()) packs.set(b, { buffer: into, offset: k === 0 ? 0 : (ends[k - 1] as number) });
    }
    return packs;
  }
  /** The axes' variables from the cell's number. Beyond a run-time extent they repeat its last index: the result is void there. */
  #cell(w: Writer, axes: readonly Axis[]): void {
    let rest = "";
    let stride = axes.reduce((n, a) => n * maxOf(a.extent), 1);
    for (const a of axes) {
      const size = maxOf(a.extent);
      stride /= size;
      let at = "";
      if (size === 1) at = w.int("0");
      else {
        if (rest === "") rest = w.int(w.dialect.cell);
        at = stride === 1 ? rest : w.int(w.dialect.quotient(rest, String(stride)));
        if (stride > 1) rest = w.int(`${rest} - ${at} * ${stride}`);
      }
      if (typeof a.extent !== "number") {
        const n = w.write(extentVar(a.extent)).text;
        const end = w.int(`${n} - 1`);
        at = w.int(`${at} < ${n} ? ${at} : ${end}`);
      }
      w.define(`v:${a.v}`, { type: "int", text: at });
    }
  }

  /** All stores of one place in the program: every value is computed before the first is stored. */
  #stores(axes: readonly Axis[], stores: readonly Store[], before: (w: Writer) => void = () => {}, reads: readonly Expr[] = []): void {
    const values = stores.map((s, k) =>
      this.#launch(stores.length > 1 ? `${k}` : "", axes, [s.value, ...reads], (w) => {
        before(w);
        return w.write(s.value);
      }),
    );
    const steps = stores.map((s, k) => this.#storeStep(axes, s.buffer, s.index, values[k] as Buffer));
    this.steps.push(...steps.filter((s) => s !== null));
  }
  #storeStep(axes: readonly Axis[], into: Buffer, index: readonly Expr[], from: Buffer): HostStep | null {
    if (elements(from) === 0) return null;
    const address = this.#address(axes, into, index);
    return { do: "store", from: this.parts.buffer(from), axes: axesOf(axes), into: this.parts.buffer(into), address };
  }
  #address(axes: readonly Axis[], into: Buffer, index: readonly Expr[]): Address {
    const step = strides(into);
    let constant = 0;
    const terms = new Map<string, number>();
    for (const [k, e] of index.entries()) {
      const form = linearForm(e);
      constant += form.constant * (step[k] as number);
      for (const [atom, c] of form.terms) {
        if (atom.kind !== "var") return { kind: "array", buffer: this.parts.buffer(this.#addresses(axes, into, index)) };
        terms.set(atom.name, (terms.get(atom.name) ?? 0) + c * (step[k] as number));
      }
    }
    return { kind: "affine", constant, terms: [...terms] };
  }
  #addresses(axes: readonly Axis[], into: Buffer, index: readonly Expr[]): Buffer {
    if (elements(into) >= limits.exactInt)
      throw this.#refusal(
        `kernel ${this.nest.name} computes addresses in ${into.name}, which has ${elements(into)} elements; gpu.js holds integers exactly below ${limits.exactInt}`,
      );
    const step = strides(into);
    const at = index.reduce<Expr>((a, e, k) => iadd(a, imul(e, int(step[k] as number))), int(0));
    return this.#launch(`${into.name}_at`, axes, [at], (w) => w.write(at));
  }

  // ---- forms

  #contract(nest: Extract<Nest, { form: "contract" }>): void {
    const axes = [...nest.batch, ...nest.m, ...nest.n];
    this.#inside(nest.k);
    const product = apply("mul", "real", nest.a, nest.b);
    const total = (w: Writer) => fold(w, nest.k, sum, [product])[0] as Value;
    if (nest.stores.length === 1) {
      this.#stores(axes, nest.stores, (w) => w.define("l:sum", total(w)));
      return;
    }
    const saved = this.#launch("sum", axes, [product], total);
    this.#saved.set(
      "sum",
      load(
        saved,
        axes.map((a) => variable(a.v)),
      ),
    );
    this.#stores(axes, nest.stores);
  }
  /** Bounds of loops inside a kernel. */
  #inside(axes: readonly Axis[]): void {
    for (const a of axes) this.#bounds.set(a.v, [0, Math.max(0, maxOf(a.extent) - 1)]);
  }

  #row(nest: Extract<Nest, { form: "row" }>): void {
    const { rows, stages } = nest;
    for (const s of stages) this.#inside(s.stage === "fold" ? s.over : s.stage === "map" ? s.axes : [s.over]);
    // A row that ends in one number needs one kernel: its folds stand in the thread that stores it.
    const last = stages.at(-1);
    if (last?.stage === "map" && last.axes.length === 0 && last.stores.length === 1 && stages.every((s) => s === last || s.stage === "fold")) {
      this.#stores(rows, last.stores, (w) => {
        for (const s of stages)
          if (s.stage === "fold") for (const [c, v] of fold(w, s.over, s.monoid, s.elements).entries()) w.define(`l:${s.bind[c]}`, v);
      });
      return;
    }
    const index = rows.map((a) => variable(a.v));
    for (const [position, s] of stages.entries()) {
      if (s.stage === "map") this.#stores([...rows, ...s.axes], s.stores);
      if (s.stage === "scan") this.#scan(rows, s);
      if (s.stage !== "fold") continue;
      const wanted = localsOf(stages.slice(position + 1).flatMap(readsOf));
      const saved = s.bind.map((name, c) =>
        wanted.has(name)
          ? load(
              this.#launch(name, rows, s.elements, (w) => fold(w, s.over, s.monoid, s.elements)[c] as Value),
              index,
            )
          : null,
      );
      for (const [c, e] of saved.entries()) if (e) this.#saved.set(s.bind[c] as string, e);
    }
  }

  #scan(rows: readonly Axis[], s: Extract<Stage, { stage: "scan" }>): void {
    const chunks = Math.ceil(maxOf(s.over.extent) / limits.foldChunk);
    const chunk: Axis = { v: `${s.over.v}_chunk`, extent: chunks };
    const totals =
      chunks > 1
        ? s.bind.map((name, c) =>
            this.#launch(`${name}_chunks`, [...rows, chunk], s.elements, (w) => chunkTotal(w, s, w.write(variable(chunk.v)), c)),
          )
        : null;
    this.#stores(
      [...rows, s.over],
      s.stores,
      (w) => {
        const at = w.write(variable(s.over.v));
        let bound: readonly Value[] = [];
        const rowsAt = rows.map((a) => variable(a.v));
        const total =
          totals &&
          ((k: Value, c: number) => {
            w.define(`v:${chunk.v}`, k);
            return w.write(load(totals[c] as Buffer, [...rowsAt, variable(chunk.v)]));
          });
        w.block(() => {
          bound = prefix(w, s, at, s.exclusive, total);
        });
        for (const [c, name] of s.bind.entries()) w.define(`l:${name}`, bound[c] as Value);
      },
      s.elements,
    );
  }

  #scatter(nest: Extract<Nest, { form: "scatter" }>): void {
    if (nest.onto) throw new Error(`kernel ${nest.name} adds onto what is there: no kernel of this target reads what it writes`);
    const axes = [...nest.rows, ...nest.over];
    const index = this.#launch("index", axes, [nest.index], (w) => w.write(nest.index));
    const value = this.#launch("value", axes, [nest.value], (w) => w.write(nest.value));
    const result = [...nest.rows, nest.target];
    const out = buffer(
      `${nest.name}_sums`,
      "f32",
      result.map((a) => ({ name: a.v, extent: a.extent })),
      "temp",
    );
    const target: GpujsAxis = { v: nest.target.v, size: sizeOf(nest.target.extent) };
    const [at, of, into] = [this.parts.buffer(index), this.parts.buffer(value), this.parts.buffer(out, "scratch")];
    this.steps.push({ do: "scatter", index: at, value: of, rows: axesOf(nest.rows), over: axesOf(nest.over), target, out: into });
    const store = this.#storeStep(result, nest.into.buffer, nest.into.index, out);
    if (store) this.steps.push(store);
  }

  #top(nest: Extract<Nest, { form: "top" }>): void {
    const { rows, over, slot } = nest;
    this.#inside([over]);
    const axes = [...rows, slot];
    const at = this.#launch("selected", axes, [nest.element], (w) => selected(w, over, nest.element, w.write(variable(slot.v))));
    const rowsAt = rows.map((a) => variable(a.v));
    this.#stores(axes, nest.stores, (w) => {
      const found = w.convert(w.write(load(at, [...rowsAt, variable(slot.v)])), "int").text;
      const zero = w.int("0");
      const index = w.int(`${found} < 0 ? ${zero} : ${found}`);
      w.define("l:index", { type: "int", text: found });
      let value = "";
      w.block(() => {
        w.define(`v:${over.v}`, { type: "int", text: index });
        const none = w.constant(Number.NEGATIVE_INFINITY);
        value = w.real(`${found} < 0 ? ${none} : ${w.convert(w.write(nest.element), "real").text}`);
      });
      w.define("l:value", { type: "real", text: value });
    });
    if (!nest.chosen) return;
    const all = [...rows, over];
    const chosen = this.#launch("chosen", all, [], (w) => {
      const found = w.copy({ type: "bool", text: w.constant(0, "bool") }).text;
      const self = w.write(variable(over.v)).text;
      w.block(() =>
        loops(w, [slot], () => {
          const other = w.convert(w.write(load(at, [...rowsAt, variable(slot.v)])), "int").text;
          w.line(`${found} = ${other} === ${self} ? 1 : ${found};`);
        }),
      );
      return { type: "bool", text: found };
    });
    const store = this.#storeStep(all, nest.chosen.buffer, nest.chosen.index, chosen);
    if (store) this.steps.push(store);
  }
}

/** The expressions of a stage, for the locals they read. */
const readsOf = (s: Stage): readonly Expr[] =>
  s.stage === "fold" ? s.elements : s.stage === "map" ? s.stores.map((x) => x.value) : [...s.elements, ...s.stores.map((x) => x.value)];
