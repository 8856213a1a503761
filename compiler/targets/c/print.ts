// Prints a kernel's loop IR as a C function. A vector loop is printed from one body as often as its length asks for: W
// iterations at a time (sixteen or eight, as the machine has: wide.ts), eight at a time and one at a time for what is left.
// Inside the vector forms every term is either uniform (C scalars) or varying (vectors); loads are a vector where the
// address advances by one with the loop, a broadcast where it stands still, and one per lane otherwise. Guarded
// loads never touch an address that their guard excludes.
import { labelWords } from "../../../dsl/random.js";
import { exprsOf, type Instruction, type Kernel, type Place, type Stmt, statements, THREADS } from "../../loop/ir.js";
import { ceilDiv, type Interval, interval, linear, namesOf, offset, sub, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements, partsOf, type Type } from "../../lower/expr.js";
import { type Naming, readableBut } from "../naming.js";
import { freeOf, type Paired, pairedLoop } from "./paired.js";
import { prelude } from "./prelude.js";
import { type Form, spelling } from "./spelling.js";
import { bytesOf, cType, type Storage, storageOf } from "./storage.js";

export interface PrintedKernel {
  readonly name: string;
  /** The C function `k_NAME`. */
  readonly source: string;
  /** What a call passes, in order. */
  readonly buffers: readonly Buffer[];
  readonly ints: readonly string[];
  readonly scratchBytes: number;
  readonly writes: ReadonlySet<Buffer>;
}
/** Names as they are, where C allows. */
export const readable = (): Naming => readableBut(taken);
/** A kernel's own parameters, what the prelude defines, and C's keywords. */
const taken = new Set([
  ...`b v c l_ b8 bW f32xW i32xW u32xW i64xW bW floor1 floor8 ceil1 ceil8 trunc1 trunc8 auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return
  short signed sizeof static struct switch typedef union unsigned void volatile while`.split(/\s+/),
  ...[...prelude.matchAll(/^#define (\w+)|^(?:INLINE|static)[^;{=(]*?\b(\w+)[[(]|^typedef [^;]*?\b(\w+) __attribute__/gm)].map(
    (m) => m[1] ?? m[2] ?? m[3] ?? "",
  ),
]);
interface Held {
  readonly type: Type;
  readonly wide: boolean;
  readonly varying: boolean;
}
interface Mode {
  /** One number; a vector; or lane `l_` of a vector, as a number. */
  readonly kind: "one" | "vector" | "lane";
}
const one: Mode = { kind: "one" };
const vector: Mode = { kind: "vector" };
const lane: Mode = { kind: "lane" };

const isWide = (i: Interval) => i.lo < -(2 ** 31) || i.hi > 2 ** 31 - 1;
/** Suffix of the vector forms: eight lanes, or as many as the machine has. */
type Width = "8" | "W";
const vectorType = { real: "f32x", int: "i32x", bool: "b" } as const;

export function printKernel(kernel: Kernel, outer: ReadonlyMap<string, Interval>, naming: Naming = readable()): PrintedKernel {
  return new Printer(kernel, outer, naming).print();
}

class Printer {
  readonly #lines: string[] = [];
  #indent = 1;
  readonly #held = new Map<string, Held>();
  readonly #ranges: Map<string, Interval>;
  readonly #intervals = new Map<Expr, Interval>();
  /** The variable of the vector loop being printed as vectors, and how wide they are. */
  #vector: string | undefined;
  #width: Width = "W";
  #varying = new Map<Expr, boolean>();
  /** Memory allocated inside that loop: a vector for each element. */
  readonly #vectors = new Set<Buffer>();
  readonly #allocated = new Set<Buffer>();
  #scratch = 0;
  #fresh = 0;

  constructor(
    readonly kernel: Kernel,
    outer: ReadonlyMap<string, Interval>,
    readonly naming: Naming,
  ) {
    this.#ranges = new Map(outer);
    this.#ranges.set(THREADS, { lo: 1, hi: 1024 });
  }

  print(): PrintedKernel {
    const { kernel } = this;
    const all = statements(kernel.body);
    const own = new Set(all.flatMap((s) => (s.s === "alloc" ? [s.buffer] : [])));
    const writes = new Set<Buffer>();
    const used = new Set<Buffer>();
    const names = new Set<string>();
    const defined = new Set<string>();
    for (const s of all) {
      if (s.s === "store") {
        used.add(s.buffer);
        writes.add(s.buffer);
      }
      if (s.s === "fetch") used.add(s.buffer);
      if (s.s === "use") {
        for (const p of s.places) used.add(p.buffer);
        writes.add((s.places.at(-1) as Place).buffer);
      }
      if (s.s === "for") defined.add(s.v);
      if (s.s === "let" || s.s === "var") defined.add(s.name);
      for (const e of termsOf(exprsOf(s))) {
        if (e.kind === "load") used.add(e.buffer);
        if (e.kind === "var" || e.kind === "local") names.add(e.name);
      }
    }
    const buffers = [...used].filter((b) => !own.has(b));
    const outWrites = new Set([...writes].filter((b) => !own.has(b)));
    const ints = [...names].filter((n) => !defined.has(n) && n !== THREADS);
    buffers.forEach((b, i) => {
      const type = cType(storageOf(b));
      this.#line(
        outWrites.has(b)
          ? `${type} *restrict ${this.#buffer(b)} = (${type} *)b[${i}];`
          : `const ${type} *restrict ${this.#buffer(b)} = (const ${type} *)b[${i}];`,
      );
    });
    ints.forEach((n, i) => {
      this.#hold(n, "int", false, false);
      this.#line(`const int32_t ${this.naming(n)} = v[${i}];`);
    });
    if (names.has(THREADS)) this.#line(`const int32_t ${this.naming(THREADS)} = c->n_threads;`);
    this.#hold(THREADS, "int", false, false);
    this.#body(kernel.body);
    const head = `void k_${kernel.name.replace(/[^A-Za-z0-9_]/g, "_")}(void *const *b, const int32_t *v, const struct mallard_context *c) {`;
    return {
      name: kernel.name,
      source: [head, ...this.#lines, "}"].join("\n"),
      buffers,
      ints,
      scratchBytes: this.#scratch,
      writes: outWrites,
    };
  }

  #line(text: string) {
    this.#lines.push("  ".repeat(this.#indent) + text);
  }
  #inBlock(open: string, f: () => void, close = "}") {
    this.#line(open);
    this.#indent++;
    f();
    this.#indent--;
    this.#line(close);
  }
  #buffer(b: Buffer) {
    return this.naming(this.#allocated.has(b) ? `${b.name}_${b.id}` : `p_${b.name}`);
  }
  #hold(name: string, type: Type, wide: boolean, varying: boolean) {
    this.#held.set(name, { type, wide, varying });
  }
  #interval(e: Expr): Interval {
    return interval(e, this.#ranges, this.#intervals);
  }
  #wide(e: Expr): boolean {
    return e.type === "int" && isWide(this.#interval(e));
  }

  /** Whether a term differs between the lanes of the vector loop. */
  #varies(root: Expr): boolean {
    if (this.#vector === undefined) return false;
    for (const e of termsOf([root])) {
      if (this.#varying.has(e)) continue;
      const own =
        (e.kind === "var" && e.name === this.#vector) ||
        ((e.kind === "var" || e.kind === "local") && (this.#held.get(e.name)?.varying ?? false)) ||
        (e.kind === "load" && this.#vectors.has(e.buffer));
      this.#varying.set(e, own || partsOf(e).some((p) => this.#varying.get(p)));
    }
    return this.#varying.get(root) as boolean;
  }

  // Terms ------------------------------------------------------------------------------------------------------------

  /** A term as the mode asks for: a vector (uniform terms are broadcast) or a number. */
  #expr(e: Expr, mode: Mode): string {
    if (mode.kind === "vector") {
      if (!this.#varies(e)) return this.#broadcast(this.#expr(e, one), e.type);
      return this.#lanewise(e);
    }
    switch (e.kind) {
      case "num":
        return literal(e.value, e.type);
      case "var":
      case "local": {
        const name = this.naming(e.name);
        if (mode.kind === "lane" && e.name === this.#vector) return `(${name} + l_)`;
        if (mode.kind === "lane" && this.#held.get(e.name)?.varying) return this.#laneOf(name, e.type);
        return name;
      }
      case "load": {
        if (this.#vectors.has(e.buffer)) {
          const at = `${this.#buffer(e.buffer)}[${this.#expr(offset(e.buffer, e.index), mode)}]`;
          return mode.kind === "lane" ? this.#laneOf(at, e.type) : at;
        }
        const value = `ld_${storageOf(e.buffer)}_1(${this.#address(e, mode)})`;
        return e.inside ? `(${this.#expr(e.inside, mode)} ? ${value} : 0)` : value;
      }
      case "call":
        return this.#call(e, mode);
      case "random":
        return `rand_${e.draw}1(${this.#key(e, mode)}, ${this.#expr(e.counter, mode)})`;
    }
  }
  #broadcast(code: string, type: Type): string {
    return `${type === "real" ? "K" : type === "int" ? "KI" : "KB"}${this.#width}(${code})`;
  }
  #type(type: Type): string {
    return `${vectorType[type]}${this.#width}`;
  }
  /** Lane `l_` of a vector. */
  #laneOf(code: string, type: Type): string {
    return type === "bool" ? `bit${this.#width}(${code})` : `${code}[l_]`;
  }
  #lanes(type: Type, wide: boolean, each: string): string {
    if (type === "bool") return `LANESB${this.#width}(${each})`;
    return `LANES${this.#width}(${wide ? `i64x${this.#width}` : this.#type(type)}, ${each})`;
  }
  #address(p: Place, mode: Mode): string {
    const at = offset(p.buffer, p.index);
    const code = this.#expr(at, mode);
    return code === "0" ? this.#buffer(p.buffer) : `${this.#buffer(p.buffer)} + ${code}`;
  }
  #key(e: Expr & { kind: "random" }, mode: Mode): string {
    const [k0, k1] = labelWords(e.key);
    const words = `0x${((BigInt(k1) << 32n) | BigInt(k0)).toString(16)}ull`;
    return e.extend.reduce((key, x, i) => `rand_extend(${key}, ${this.#expr(x, mode)}, ${i})`, words);
  }
  #operandType(e: Expr & { kind: "call" }): Type {
    const types = (e.prim === "select" ? e.args.slice(1) : e.args).map((a) => a.type);
    if (e.type === "real" && e.prim !== "toReal") return "real";
    // Conditions are ordered as 0 and 1, whatever stands for them in a vector.
    const ordered = e.prim === "lt" || e.prim === "le" || e.prim === "gt" || e.prim === "ge";
    if (types.every((t) => t === "bool")) return ordered ? "int" : "bool";
    if (types.includes("real")) return "real";
    return "int";
  }
  #call(e: Expr & { kind: "call" }, mode: Mode): string {
    const of = this.#operandType(e);
    const wide = of === "int" && (this.#wide(e) || e.args.some((a) => this.#wide(a)));
    const form: Form = { suffix: mode.kind === "vector" ? this.#width : wide ? "l" : "1", of };
    const args = e.args.map((a, i) => {
      const code = this.#expr(a, mode);
      if (e.prim === "select" && i === 0) return code;
      return this.#convert(code, a.type, of, mode, wide);
    });
    if (e.prim === "idiv" || e.prim === "imod") {
      const [a, d] = e.args as readonly [Expr, Expr];
      if (mode.kind !== "vector" && this.#interval(a).lo >= 0) {
        if (!(d.kind === "num" && power(d.value))) return `(${args[0]} ${e.prim === "idiv" ? "/" : "%"} ${args[1]})`;
      }
      // Shifts and masks by a number are the same for all lanes.
      if (mode.kind === "vector" && d.kind === "num" && power(d.value)) args[1] = String(d.value);
    }
    if (e.prim === "select" && form.suffix === "l") return `(${args[0]} ? ${args[1]} : ${args[2]})`;
    return spelling[e.prim](form, ...args);
  }
  #convert(code: string, from: Type, to: Type, mode: Mode, wide: boolean): string {
    if (from === to) return wide ? `(int64_t)${code}` : code;
    if (to === "real") return spelling.toReal({ suffix: mode.kind === "vector" ? this.#width : "1", of: from }, code);
    if (to === "int" && from === "bool" && mode.kind === "vector") return `ib${this.#width}(${code})`;
    return code;
  }

  /** A varying term as a vector. */
  #lanewise(e: Expr): string {
    const w = this.#width;
    const perLane = () => this.#lanes(e.type, this.#wide(e), this.#expr(e, lane));
    switch (e.kind) {
      case "num":
        throw new Error("a number is uniform");
      case "var":
        return e.name === this.#vector ? `(KI${w}(${this.naming(e.name)}) + lane_numbers${w})` : this.naming(e.name);
      case "local":
        return this.naming(e.name);
      case "load": {
        if (this.#vectors.has(e.buffer)) {
          const at = offset(e.buffer, e.index);
          return this.#varies(at) ? perLane() : `${this.#buffer(e.buffer)}[${this.#expr(at, one)}]`;
        }
        const storage = storageOf(e.buffer);
        if (!this.#contiguous(e)) return perLane();
        const whole = `ld_${storage}_${w}(${this.#address(e, one)})`;
        if (!e.inside) return whole;
        // Conditions may be a mask's bits, a scalar to C, which takes no empty initializer.
        const zero = `(${this.#type(e.type)})${e.type === "bool" ? "{0}" : "{}"}`;
        if (!this.#varies(e.inside)) return `(${this.#expr(e.inside, one)} ? ${whole} : ${zero})`;
        const guard = this.naming(`g${this.#fresh++}_`);
        const each = `ld_${storage}_1(${this.#address(e, lane)})`;
        const lanes = this.#lanes(e.type, false, `${this.#laneOf(guard, "bool")} ? ${each} : 0`);
        return `({ const b${w} ${guard} = ${this.#expr(e.inside, vector)}; all${w}(${guard}) ? ${whole} : ${lanes}; })`;
      }
      case "call": {
        if (this.#wide(e) || e.args.some((a) => this.#wide(a))) return perLane();
        return this.#call(e, vector);
      }
      case "random":
        if (e.extend.some((x) => this.#varies(x)) || this.#wide(e.counter)) return perLane();
        return `rand_${e.draw}${w}(${this.#key(e, one)}, ${this.#expr(e.counter, vector)})`;
    }
  }
  /** The address advances by one element with the vector loop. */
  #contiguous(p: Place): boolean {
    let step = 0;
    for (const [atom, c] of linear(offset(p.buffer, p.index)).of) {
      if (atom.kind === "var" && atom.name === this.#vector) step += c;
      else if (this.#varies(atom)) return false;
    }
    return step === 1;
  }

  // Statements -------------------------------------------------------------------------------------------------------

  #body(body: readonly Stmt[]) {
    for (const s of body) this.#stmt(s);
  }
  #declare(name: string, value: Expr, mutable: boolean) {
    const varies = this.#vector !== undefined && (mutable || this.#varies(value));
    const wide = this.#wide(value);
    if (value.type === "int") this.#ranges.set(name, mutable ? { lo: -(2 ** 31), hi: 2 ** 31 - 1 } : this.#interval(value));
    const type = varies ? (wide ? `i64x${this.#width}` : this.#type(value.type)) : value.type === "real" ? "float" : wide ? "int64_t" : "int32_t";
    this.#line(`${mutable ? "" : "const "}${type} ${this.naming(name)} = ${this.#expr(value, varies ? vector : one)};`);
    this.#hold(name, value.type, wide, varies);
  }
  #stmt(s: Stmt) {
    switch (s.s) {
      case "let":
        return this.#declare(s.name, s.value, false);
      case "var":
        return this.#declare(s.name, s.value, true);
      case "set":
        return this.#line(`${this.naming(s.name)} = ${this.#expr(s.value, this.#held.get(s.name)?.varying ? vector : one)};`);
      case "alloc":
        return this.#alloc(s.buffer, s.space);
      case "store":
        return this.#store(s, s.value);
      case "fetch":
        return this.#line(`__builtin_prefetch(${this.#address(s, one)});`);
      case "if":
        this.#inBlock(`if (${this.#expr(s.cond, one)}) {`, () => this.#body(s.then), s.otherwise.length ? "} else {" : "}");
        if (s.otherwise.length) {
          this.#indent++;
          this.#body(s.otherwise);
          this.#indent--;
          this.#line("}");
        }
        return;
      case "barrier":
        throw new Error(`kernel ${this.kernel.name}: the C target has barriers between kernels only`);
      case "use":
        return this.#line(`${this.#instruction(s.instruction, s.places, s.ints)};`);
      case "for":
        return this.#for(s);
    }
  }
  #alloc(b: Buffer, space: string) {
    this.#allocated.add(b);
    const name = this.#buffer(b);
    const n = Math.max(1, elements(b));
    const storage: Storage = storageOf(b);
    if (space === "scratch") {
      this.#line(`${cType(storage)} *restrict ${name} = (${cType(storage)} *)(c->scratch + ${this.#scratch});`);
      this.#scratch += Math.ceil((n * bytesOf(storage)) / 64) * 64;
    } else if (this.#vector !== undefined) {
      this.#vectors.add(b);
      this.#line(`${this.#type(b.dtype === "i32" ? "int" : b.dtype === "bool" ? "bool" : "real")} ${name}[${n}];`);
    } else this.#line(`${cType(storage)} ${name}[${n}] __attribute__((aligned(64)));`);
  }
  #store(p: Place, value: Expr) {
    const storage = storageOf(p.buffer);
    const at = offset(p.buffer, p.index);
    const as = (mode: Mode) => this.#stored(value, storage, mode);
    if (this.#vector === undefined) return this.#line(`st_${storage}_1(${this.#address(p, one)}, ${as(one)});`);
    if (this.#vectors.has(p.buffer)) {
      if (!this.#varies(at)) return this.#line(`${this.#buffer(p.buffer)}[${this.#expr(at, one)}] = ${as(vector)};`);
      const to = `${this.#buffer(p.buffer)}[${this.#expr(at, lane)}]`;
      return this.#line(`EACH${this.#width}(${storage === "bool" ? `put${this.#width}(${to}, ${as(lane)})` : `${to}[l_] = ${as(lane)}`});`);
    }
    if (this.#contiguous(p)) return this.#line(`st_${storage}_${this.#width}(${this.#address(p, one)}, ${as(vector)});`);
    const name = this.naming(`s${this.#fresh++}_`);
    const type: Type = storage === "i32" ? "int" : storage === "bool" ? "bool" : "real";
    const each = `st_${storage}_1(${this.#address(p, lane)}, ${this.#laneOf(name, type)})`;
    this.#line(`{ const ${this.#type(type)} ${name} = ${as(vector)}; EACH${this.#width}(${each}); }`);
  }
  /** A value converted to what its memory holds: ints for i32, conditions for bool, reals otherwise. */
  #stored(value: Expr, storage: Storage, mode: Mode): string {
    const to: Type = storage === "i32" ? "int" : storage === "bool" ? "bool" : "real";
    const code = this.#expr(value, mode);
    if (value.type === to) return code;
    const form: Form = { suffix: mode.kind === "vector" ? this.#width : "1", of: value.type };
    return spelling[to === "int" ? "toI32" : to === "bool" ? "toBool" : "toReal"](form, code);
  }
  #instruction(instruction: Instruction, places: readonly Place[], ints: readonly Expr[]): string {
    return instructions[instruction](
      places.map((p) => this.#address(p, one)),
      ints.map((e) => this.#expr(e, one)),
    );
  }

  #for(s: Stmt & { s: "for" }) {
    const v = this.naming(s.v);
    const [from, to] = [this.#interval(s.from), this.#interval(s.to)];
    this.#ranges.set(s.v, { lo: from.lo, hi: Math.max(from.lo, to.hi - 1) });
    this.#hold(s.v, "int", false, false);
    const start = this.#expr(s.from, one);
    const end = this.#expr(s.to, one);
    const plain = (head: string) =>
      this.#inBlock(`${head}for (int32_t ${v} = ${start}; ${v} < ${end}; ${v} += ${s.step}) {`, () => this.#body(s.body));
    switch (s.bind) {
      case "serial": {
        const paired = this.#vector === undefined ? pairedLoop(s) : undefined;
        return paired ? this.#pairedLoop(s, paired, v, start, end) : plain("");
      }
      case "unroll":
        return plain('_Pragma("GCC unroll 8") ');
      case "workgroup":
      case "local":
        return plain("");
      case "thread": {
        if (s.to.kind === "var" && s.to.name === THREADS)
          return this.#inBlock("{", () => {
            this.#line(`const int32_t ${v} = c->tid;`);
            this.#body(s.body);
          });
        // Thread t runs iterations ⌊n·t / threads⌋ … ⌊n·(t+1) / threads⌋.
        const trips = this.#expr(s.step === 1 ? sub(s.to, s.from) : ceilDiv(sub(s.to, s.from), s.step), one);
        const share = (t: string) => `(int32_t)((int64_t)${trips} * ${t} / c->n_threads)`;
        const at = (t: string) => {
          const steps = s.step === 1 ? share(t) : `${share(t)} * ${s.step}`;
          return start === "0" ? steps : `${start} + ${steps}`;
        };
        const last = this.naming(`${v}#end`);
        return this.#inBlock("{", () => {
          this.#line(`const int32_t ${last} = ${at("(c->tid + 1)")};`);
          this.#inBlock(`for (int32_t ${v} = ${at("c->tid")}; ${v} < ${last}; ${v} += ${s.step}) {`, () => this.#body(s.body));
        });
      }
      case "vector":
        return this.#vectorLoop(s, v, start, end);
    }
  }
  #vectorLoop(s: Stmt & { s: "for" }, v: string, start: string, end: string) {
    if (s.step !== 1 || this.#vector !== undefined || !this.#vectorisable(s)) {
      return this.#inBlock(`for (int32_t ${v} = ${start}; ${v} < ${end}; ${v} += ${s.step}) {`, () => this.#body(s.body));
    }
    const bound = this.naming(`${v}#end`);
    const trip = sub(s.to, s.from);
    const length = linear(trip);
    const count = length.of.size === 0 ? length.constant : undefined;
    const body = (width?: Width) => () => (width ? this.#as(width, s.v, () => this.#body(s.body)) : this.#body(s.body));
    if (count !== undefined && count < 8) return this.#inBlock(`for (int32_t ${v} = ${start}; ${v} < ${end}; ${v}++) {`, body());
    this.#inBlock("{", () => {
      this.#line(`int32_t ${v} = ${start};`);
      if (count === 8) return body("8")();
      if (count === undefined) this.#line(`const int32_t ${bound} = ${end};`);
      const last = count === undefined ? bound : end;
      const loop = (n: string, width?: Width) => this.#inBlock(`for (; ${v} + ${n} <= ${last}; ${v} += ${n}) {`, body(width));
      if (count === undefined || count >= 16) loop("WIDTH", "W");
      if (count !== undefined && count % 16 >= 8) loop("8", "8");
      if (count === undefined || count % 8 !== 0) this.#inBlock(`for (; ${v} < ${last}; ${v}++) {`, body());
    });
  }
  /** The elements W at a time, the chains eight at a time (paired.ts); then what is left in blocks of eight. */
  #pairedLoop(s: Stmt & { s: "for" }, { lanes, chains }: Paired, v: string, start: string, end: string) {
    const lane = this.naming(lanes.v);
    this.#ranges.set(lanes.v, { lo: 0, hi: 15 });
    this.#hold(lanes.v, "int", false, false);
    this.#inBlock("{", () => {
      this.#line(`int32_t ${v} = ${start};`);
      this.#inBlock(`for (; ${v} + WIDTH <= ${end}; ${v} += WIDTH) {`, () => {
        this.#line(`const int32_t ${lane} = 0;`);
        this.#as("W", lanes.v, () => {
          for (const x of lanes.body) {
            if (x.s === "store" && chains.has(x)) this.#takeIn(x);
            else this.#stmt(x);
          }
        });
      });
      const trip = linear(sub(s.to, s.from));
      if (trip.of.size > 0 || trip.constant % 16 !== 0) this.#inBlock(`for (; ${v} < ${end}; ${v} += ${s.step}) {`, () => this.#body(s.body));
    });
  }
  /** chain = call(…): its other arguments are vectors of W, of which it takes one half after the other. */
  #takeIn(x: Extract<Stmt, { s: "store" }>) {
    const call = x.value as Extract<Expr, { kind: "call" }>; // pairedLoop has seen to it
    const free = freeOf(x);
    const names = free.map(() => this.naming(`h${this.#fresh++}_`));
    free.forEach((e, i) => {
      this.#line(`const f32xW ${names[i]} = ${this.#expr(e, vector)};`);
    });
    const chain = this.#buffer(x.buffer);
    const half = (part: string) => {
      const args = call.args.map((a) => {
        const i = free.indexOf(a);
        return i < 0 ? `ld_f32_8(${chain})` : `${part}(${names[i]})`;
      });
      return `st_f32_8(${chain}, ${spelling[call.prim]({ suffix: "8", of: "real" }, ...args)});`;
    };
    this.#line(half("lower"));
    this.#line(`UPPER(${half("upper")})`);
  }
  /** Prints as the body of a vector loop of this width. */
  #as(width: Width, variable: string, print: () => void) {
    this.#vector = variable;
    this.#width = width;
    this.#varying = new Map();
    print();
    this.#vector = undefined;
    this.#varying = new Map();
    this.#vectors.clear();
  }
  /** Control flow must be the same in all lanes, and nothing inside may be divided again. */
  #vectorisable(s: Stmt & { s: "for" }): boolean {
    const varying = new Set([s.v]);
    for (const inner of statements(s.body)) {
      const depends = (e: Expr) => [...namesOf(e)].some((n) => varying.has(n)) || termsOf([e]).some((t) => t.kind === "load" && own.has(t.buffer));
      const own = new Set(statements(s.body).flatMap((x) => (x.s === "alloc" ? [x.buffer] : [])));
      if ((inner.s === "let" && depends(inner.value)) || inner.s === "var") varying.add(inner.name);
      if (inner.s === "for" && (inner.bind === "thread" || depends(inner.from) || depends(inner.to))) return false;
      if (inner.s === "if" && depends(inner.cond)) return false;
      if (inner.s === "use" || inner.s === "fetch" || inner.s === "barrier" || (inner.s === "alloc" && inner.space !== "private")) return false;
    }
    return true;
  }
}

const instructions: { readonly [I in Instruction]: (places: readonly string[], ints: readonly string[]) => string } = {
  block: ([a, b, c], ints) => `block(${a}, ${b}, ${c}, ${ints.join(", ")})`,
  transpose8: ([from, to], [stride]) => `transpose8(${from}, ${to}, ${stride})`,
  exchange: () => {
    throw new Error("threads have no subgroups: a recipe for threads exchanges nothing");
  },
};

const power = (n: number) => n > 0 && (n & (n - 1)) === 0;

export function literal(value: number, type: Type): string {
  if (type !== "real") return value < 0 ? `(${value})` : String(value);
  const x = Math.fround(value);
  if (Number.isNaN(x)) return "NAN_";
  if (!Number.isFinite(x)) return x > 0 ? "INF" : "(-INF)";
  const text = Object.is(x, -0) ? "-0.0" : String(x);
  const c = /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
  return x < 0 || Object.is(x, -0) ? `(${c})` : c;
}
