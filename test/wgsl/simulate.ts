// Runs loop IR with workgroups, invocations and barriers, as a GPU would: all invocations of a workgroup go from barrier to
// barrier, in an order that changes from one stretch to the next. An invocation that misses a barrier, a read of memory
// that nobody wrote, an address out of bounds, and a race are errors: within a stretch nobody touches what another writes,
// and no workgroup touches what another one writes. Buffers that share an array share its words.
//
// The kernel becomes a JavaScript program: a generator for each invocation, which yields at barriers.
import type { Kernel, Stmt } from "../../compiler/loop/ir.js";
import { statements } from "../../compiler/loop/ir.js";
import type { Buffer, Expr } from "../../compiler/lower/expr.js";
import { elements, strides } from "../../compiler/lower/expr.js";
import { primitives } from "../../dsl/primitives.js";
import { draw } from "../../dsl/random.js";

export type Memory = Map<Buffer, Float64Array>;

/** Who runs, and which stretch between barriers it is; numbers from 1, never used again. */
const now = { me: 0, group: 0, stretch: 0 };
const MANY = -1;
/** The words of an array, and who touched each last. */
class Words {
  readonly writer: Int32Array;
  readonly written: Int32Array;
  readonly reader: Int32Array;
  readonly read: Int32Array;
  /** The workgroup that wrote or read a word: 0 for nobody. */
  readonly writers: Int32Array;
  readonly readers: Int32Array;
  constructor(readonly data: Float64Array) {
    const made = () => new Int32Array(data.length);
    [this.writer, this.written, this.reader, this.read, this.writers, this.readers] = [made(), made(), made(), made(), made(), made()];
  }
}
class Cells {
  constructor(
    readonly name: string,
    readonly words: Words,
  ) {}
  #at(i: number): number {
    if (!(i >= 0 && i < this.words.data.length)) throw new Error(`${this.name}[${i}] is out of bounds`);
    return i;
  }
  get(at: number): number {
    const [i, w] = [this.#at(at), this.words];
    if (w.written[i] === now.stretch && w.writer[i] !== now.me) throw new Error(`${this.name}[${i}] is read while another invocation writes it`);
    if (w.writers[i] !== 0 && w.writers[i] !== now.group) throw new Error(`${this.name}[${i}] is read while another workgroup writes it`);
    w.reader[i] = w.read[i] === now.stretch && w.reader[i] !== now.me ? MANY : now.me;
    w.read[i] = now.stretch;
    w.readers[i] = w.readers[i] === 0 || w.readers[i] === now.group ? now.group : MANY;
    const v = w.data[i] as number;
    if (Number.isNaN(v)) throw new Error(`${this.name}[${i}] is read before it is written`);
    return v;
  }
  set(at: number, v: number): void {
    const [i, w] = [this.#at(at), this.words];
    const touched = (when: Int32Array, who: Int32Array) => when[i] === now.stretch && who[i] !== now.me;
    if (touched(w.written, w.writer) || touched(w.read, w.reader))
      throw new Error(`${this.name}[${i}] is written while another invocation reads or writes it`);
    for (const g of [w.writers[i], w.readers[i]])
      if (g !== 0 && g !== now.group) throw new Error(`${this.name}[${i}] is written while another workgroup reads or writes it`);
    [w.writer[i], w.written[i], w.writers[i]] = [now.me, now.stretch, now.group];
    w.data[i] = v;
  }
}
/** An invocation's own. */
class Own {
  readonly data: Float64Array;
  constructor(
    readonly name: string,
    n: number,
  ) {
    this.data = new Float64Array(n).fill(Number.NaN);
  }
  get(i: number): number {
    const v = this.data[i];
    if (v === undefined || Number.isNaN(v))
      throw new Error(`${this.name}[${i}] is ${v === undefined ? "out of bounds" : "read before it is written"}`);
    return v;
  }
  set(i: number, v: number): void {
    if (!(i >= 0 && i < this.data.length)) throw new Error(`${this.name}[${i}] is out of bounds`);
    this.data[i] = v;
  }
}
const own = (name: string, n: number) => new Own(name, n);
const fresh = (name: string, n: number) => new Cells(name, new Words(new Float64Array(n).fill(Number.NaN)));

let invocations = 0;
let stretches = 0;
/** The invocations of one workgroup, from barrier to barrier. */
function drive(members: readonly Generator<number, void>[]): void {
  const first = invocations + 1;
  invocations += members.length;
  for (let stretch = 0; ; stretch++) {
    now.stretch = ++stretches;
    const order = members.map((m, i) => ({ m, me: first + i }));
    const stops = (stretch % 2 ? order.reverse() : order).map(({ m, me }) => {
      now.me = me;
      return m.next();
    });
    if (stops.every((x) => x.done)) return;
    if (!stops.every((x) => !x.done && x.value === stops[0]?.value)) throw new Error("invocations disagree about a barrier");
  }
}

class Printer {
  readonly lines: string[] = [];
  readonly outside: Buffer[] = [];
  readonly shared: Buffer[];
  readonly #own: ReadonlySet<Buffer>;
  #barriers = 0;
  constructor(
    readonly kernel: Kernel,
    readonly ints: ReadonlyMap<string, number>,
  ) {
    const allocs = statements(kernel.body).flatMap((s) => (s.s === "alloc" ? [s] : []));
    this.#own = new Set(allocs.map((a) => a.buffer));
    this.shared = allocs.filter((a) => a.space === "workgroup").map((a) => a.buffer);
    this.#group(kernel.body);
  }
  #line = (text: string) => this.lines.push(text);
  #name = (name: string): string => `v_${name.replace(/[^A-Za-z0-9_]/g, (c) => `$${c.charCodeAt(0)}`)}`;
  #buffer(b: Buffer): string {
    if (!this.#own.has(b) && !this.outside.includes(b)) this.outside.push(b);
    return `b_${b.id}`;
  }
  #at(b: Buffer, index: readonly Expr[]): string {
    const s = strides(b);
    return index.map((e, k) => `${this.#expr(e)} * ${s[k]}`).join(" + ") || "0";
  }
  #expr(e: Expr): string {
    switch (e.kind) {
      case "num":
        return e.type === "bool" ? String(e.value !== 0) : Object.is(e.value, -0) ? "(-0)" : `(${e.value})`;
      case "var":
      case "local":
        return this.ints.has(e.name) ? `(${this.ints.get(e.name)})` : this.#name(e.name);
      case "load": {
        const value = `${this.#buffer(e.buffer)}.get(${this.#at(e.buffer, e.index)})${e.type === "bool" ? " !== 0" : ""}`;
        return e.inside ? `(${this.#expr(e.inside)} ? ${value} : ${e.type === "bool" ? "false" : "0"})` : `(${value})`;
      }
      case "random":
        return `draw(${JSON.stringify(e.draw)}, ${JSON.stringify(e.key)}, [${e.extend.map((x) => this.#expr(x)).join(", ")}], ${this.#expr(e.counter)})`;
      case "call":
        return `${e.prim}(${e.args.map((a) => this.#expr(a)).join(", ")})`;
    }
  }

  /** Workgroup loops, what all of a workgroup compute alike, and its invocations. */
  #group(body: readonly Stmt[]): void {
    const at = body.findIndex((s) => s.s === "for" && (s.bind === "workgroup" || s.bind === "local"));
    const s = body[at];
    if (s?.s !== "for") {
      this.#workgroup(() => this.#member(body));
      return;
    }
    if (at !== body.length - 1) throw new Error(`statements after a ${s.bind} loop`);
    this.#alike(body.slice(0, at));
    if (s.bind === "workgroup") this.#for(s, () => this.#group(s.body));
    else this.#workgroup(() => this.#for(s, () => this.#local(s.body)));
  }
  #local(body: readonly Stmt[]): void {
    const s = body.at(-1);
    if (s?.s !== "for" || s.bind !== "local") {
      this.#member(body);
      return;
    }
    this.#alike(body.slice(0, -1));
    this.#for(s, () => this.#local(s.body));
  }
  #alike(body: readonly Stmt[]): void {
    for (const s of body) {
      if (s.s !== "let" && s.s !== "alloc") throw new Error(`a ${s.s} outside the local loops`);
      if (s.s === "let") this.#stmt(s);
    }
  }
  #workgroup(members: () => void): void {
    this.#line("{ const members = []; now.group++; now.me = 0;");
    for (const b of this.shared) this.#line(`const b_${b.id} = fresh(${JSON.stringify(b.name)}, ${elements(b)});`);
    members();
    this.#line("drive(members); }");
  }
  #member(body: readonly Stmt[]): void {
    this.#line("members.push((function* () {");
    for (const s of body) this.#stmt(s);
    this.#line("})());");
  }
  #for(s: Stmt & { s: "for" }, body: () => void): void {
    const v = this.#name(s.v);
    this.#line(`for (let ${v} = ${this.#expr(s.from)}, to = ${this.#expr(s.to)}; ${v} < to; ${v} += ${s.step}) {`);
    body();
    this.#line("}");
  }
  #stmt(s: Stmt): void {
    const all = (body: readonly Stmt[]) => body.forEach((x) => void this.#stmt(x));
    switch (s.s) {
      case "let":
      case "var":
        this.#line(`${s.s === "let" ? "const" : "let"} ${this.#name(s.name)} = ${this.#expr(s.value)};`);
        return;
      case "set":
        this.#line(`${this.#name(s.name)} = ${this.#expr(s.value)};`);
        return;
      case "alloc":
        if (s.space !== "workgroup") this.#line(`const b_${s.buffer.id} = own(${JSON.stringify(s.buffer.name)}, ${elements(s.buffer)});`);
        return;
      case "store":
        this.#line(`${this.#buffer(s.buffer)}.set(${this.#at(s.buffer, s.index)}, Number(${this.#expr(s.value)}));`);
        return;
      case "if":
        this.#line(`if (${this.#expr(s.cond)}) {`);
        all(s.then);
        this.#line("} else {");
        all(s.otherwise);
        this.#line("}");
        return;
      case "for":
        if (s.bind === "workgroup" || s.bind === "local" || s.bind === "thread") throw new Error(`a ${s.bind} loop inside an invocation`);
        this.#for(s, () => all(s.body));
        return;
      case "barrier":
        if (s.scope !== "workgroup") throw new Error("a barrier of all workgroups");
        this.#line(`yield ${++this.#barriers};`);
        return;
      case "use":
        this.#line("{");
        all(s.meaning);
        this.#line("}");
        return;
      case "fetch":
        return;
    }
  }
}
const library = {
  ...Object.fromEntries(Object.entries(primitives).map(([name, p]) => [name, p.value])),
  idiv: (x: number, y: number) => Math.floor(x / y),
  imod: (x: number, y: number) => x - y * Math.floor(x / y),
  draw,
  now,
  fresh,
  own,
  drive,
};

export function simulate(kernel: Kernel, memory: Memory, ints: ReadonlyMap<string, number> = new Map()): void {
  const { lines, outside } = new Printer(kernel, ints);
  const words = new Map<Float64Array, Words>();
  const cells = outside.map((b) => {
    const data = memory.get(b) ?? b.data;
    if (!data) throw new Error(`buffer ${b.name} has no memory`);
    const known = words.get(data) ?? new Words(data);
    words.set(data, known);
    return new Cells(b.name, known);
  });
  const names = [...Object.keys(library), ...outside.map((b) => `b_${b.id}`)];
  new Function(...names, lines.join("\n"))(...Object.values(library), ...cells);
}
