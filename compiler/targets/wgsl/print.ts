import { labelWords } from "../../../dsl/random.js";
import { exprsOf, type For, type Kernel, type Place, type Stmt, statements } from "../../loop/ir.js";
import { type Interval, interval, offset, rename, termsOf } from "../../loop/terms.js";
import { type Expr, load, local, num, type Type } from "../../lower/expr.js";
import { type Naming, readableBut } from "../naming.js";
import { barred, constant, outside, passesStorage, steering } from "./analysis.js";
import type { Binding } from "./bindings.js";
import { type HelperName, withCallees } from "./helpers.js";
import { numerics, Unfit, type WgslLimits } from "./limits.js";
import { Memory } from "./memory.js";
import type { IntSource, WgslPipeline } from "./program.js";
import { spelling } from "./spelling.js";
import { exchange } from "./subgroups.js";
import { type FourTurns, LANES, laneOf } from "./vectors.js";
import { taken } from "./words.js";

/** A shader, and what each member of its uniform buffer is. */
export interface Printed extends Omit<WgslPipeline, "name"> {
  readonly members: readonly IntSource[];
}
export const readable = (): Naming => readableBut(taken);

const wgslType: Readonly<Record<Type, string>> = { real: "f32", int: "i32", bool: "bool" };
const DIMENSIONS = ["x", "y", "z"] as const;
/** Bytes that WGSL lets a function have in variables. */
const FUNCTION_BYTES = 8192;

/** `outer`: of run-time extents and counters. */
export function printKernel(
  kernel: Kernel,
  outer: ReadonlyMap<string, Interval>,
  bindings: readonly Binding[],
  limits: WgslLimits,
  naming: Naming = readable(),
): Printed {
  return new Printer(kernel, outer, bindings, limits, naming).print();
}

class Printer {
  readonly #lines: string[] = [];
  readonly #helpers = new Set<HelperName>();
  readonly #members = new Map<string, IntSource>();
  readonly #size: [number, number, number] = [1, 1, 1];
  readonly #memory: Memory;
  readonly #told: string[] = [];
  #toldBytes = 0;
  #subgroups = false;
  #halves = false;
  /** Names of numbers that 16 bits hold. */
  readonly #roundedNames = new Set<string>();
  /** Names that decide which barriers are reached. */
  readonly #steering: ReadonlySet<string>;
  readonly #outside: ReadonlySet<string>;
  /** Whether an invocation may read, or write again, what another has written to storage. */
  readonly #passesStorage: boolean;
  /** What is known of integers, so that division rounds by itself. */
  readonly #ranges: Map<string, Interval>;
  #intervals = new Map<Expr, Interval>();
  /** Terms that have been loaded four at a time. */
  #given: ReadonlyMap<Expr, string> = new Map();
  #indent = 1;
  #fresh = 0;

  constructor(
    readonly kernel: Kernel,
    outer: ReadonlyMap<string, Interval>,
    readonly bindings: readonly Binding[],
    readonly limits: WgslLimits,
    readonly naming: Naming,
  ) {
    const defined = new Set<string>();
    const read = new Set<string>();
    for (const s of statements(kernel.body)) {
      if (s.s === "for") defined.add(s.v);
      if (s.s === "let" || s.s === "var") defined.add(s.name);
      for (const e of termsOf(exprsOf(s))) if (e.kind === "var") read.add(e.name);
    }
    this.#outside = new Set([...read].filter((n) => !defined.has(n)));
    this.#steering = steering(kernel);
    this.#passesStorage = passesStorage(kernel);
    this.#ranges = new Map(outer);
    this.#memory = new Memory(kernel, bindings, limits, {
      naming,
      expr: (e) => this.#expr(e),
      helper: this.#helper,
      fresh: (stem) => this.#name(stem),
      place: (b, binding) => this.#member(`place_${b.name}_${b.id}`, { of: "place", buffer: b, binding }),
    });
  }

  print(): Printed {
    this.#body(this.kernel.body);
    const { limits } = this;
    const memory = this.#memory;
    const [x, y, z] = this.#size;
    if (x * y * z > limits.invocations) throw new Unfit(`${x * y * z} invocations: a workgroup may have ${limits.invocations}`);
    for (const [i, n] of this.#size.entries())
      if (n > (limits.workgroupSize[i] as number))
        throw new Unfit(`${n} invocations along ${DIMENSIONS[i]}: a workgroup may have ${limits.workgroupSize[i]}`);
    const shared = memory.shared + this.#toldBytes;
    if (shared > limits.workgroupMemory) throw new Unfit(`${shared} bytes of workgroup memory: ${limits.workgroupMemory} may be used`);
    if (memory.own > FUNCTION_BYTES) throw new Unfit(`${memory.own} bytes of an invocation's own: a function may have ${FUNCTION_BYTES}`);
    const members = [...this.#members];
    const ints =
      members.length > 0
        ? [
            `struct Ints {\n${members.map(([n]) => `  ${n}: i32,`).join("\n")}\n}`,
            `@group(0) @binding(${this.bindings.length}) var<uniform> ints: Ints;`,
          ]
        : [];
    const halves = this.#halves || memory.features.has("shader-f16");
    const features = [...(halves ? (["shader-f16"] as const) : []), ...(this.#subgroups ? (["subgroups"] as const) : [])];
    const source = [
      ...features.map((f) => `enable ${f === "shader-f16" ? "f16" : "subgroups"};`),
      ...memory.declarations,
      ...this.#told,
      ...ints,
      ...withCallees(this.#helpers),
      `@compute @workgroup_size(${x}, ${y}, ${z})`,
      "fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) invocation: vec3<u32>) {",
      ...this.#lines,
      "}",
    ].join("\n");
    return {
      source,
      access: this.bindings.map((b) => b.access),
      ints: members.length,
      members: members.map(([, m]) => m),
      workgroupSize: this.#size,
      features,
    };
  }

  #line(text: string): void {
    this.#lines.push("  ".repeat(this.#indent) + text);
  }
  #inside(head: string, print: () => void, tail = "}"): void {
    this.#line(head);
    this.#indent++;
    print();
    this.#indent--;
    this.#line(tail);
  }
  #block(head: string, body: readonly Stmt[], tail = "}"): void {
    this.#inside(head, () => this.#body(body), tail);
  }
  /** Lines that define names stand in a block. */
  #all(lines: readonly string[]): void {
    if (lines.length > 1 && lines[0]?.startsWith("let")) this.#inside("{", () => this.#all(["", ...lines]));
    else for (const l of lines) if (l !== "") this.#line(l);
  }
  #name(stem: string): string {
    return this.naming(`${stem}_${this.#fresh++}_`);
  }
  readonly #helper = (name: HelperName): string => {
    this.#helpers.add(name);
    return name;
  };
  #member(name: string, m: IntSource): string {
    const written = this.naming(name);
    this.#members.set(written, m);
    return `ints.${written}`;
  }

  // ---- expressions

  #convert(text: string, from: Type, to: Type): string {
    if (from === to) return text;
    if (from === "bool") return to === "real" ? `select(0.0, 1.0, ${text})` : `select(0, 1, ${text})`;
    if (to === "bool") return `(${text} != ${from === "real" ? "0.0" : "0"})`;
    return `${wgslType[to]}(${text})`;
  }
  #converted(e: Expr, to: Type): string {
    return this.#convert(this.#expr(e), e.type, to);
  }
  #expr(e: Expr): string {
    switch (e.kind) {
      case "num":
        return e.type === "real" ? this.#real(e.value) : e.type === "int" ? (e.value < 0 ? `(${e.value})` : String(e.value)) : String(e.value !== 0);
      case "var":
        return this.#outside.has(e.name) ? this.#member(e.name, { of: "variable", name: e.name }) : this.naming(e.name);
      case "local":
        return this.naming(e.name);
      case "load": {
        const given = this.#given.get(e);
        if (given) return given;
        const none = e.type === "real" ? "0.0f" : e.type === "int" ? "0" : "false";
        if (outside(e)) return none;
        // Out of range reads are harmless in WGSL (clamped or 0), so a guard may choose after reading.
        const value = this.#memory.load(e);
        return e.inside ? `select(${none}, ${value}, ${this.#expr(e.inside)})` : value;
      }
      case "call":
        return this.#call(e);
      case "random": {
        const [k0, k1] = labelWords(e.key);
        const key = e.extend.reduce(
          (k, x, i) => `${this.#helper("m_threefry")}(${k}, vec2<u32>(u32(${this.#converted(x, "int")}), ${i}u))`,
          `vec2<u32>(${k0}u, ${k1}u)`,
        );
        return `${this.#helper(e.draw === "uniform" ? "m_uniform" : "m_normal")}(${key}, ${this.#converted(e.counter, "int")})`;
      }
    }
  }
  #call(e: Expr & { kind: "call" }): string {
    const known = constant(e);
    if (known !== undefined) return this.#expr(num(Number(known), e.type));
    if (e.prim === "toF16" && this.limits.f16) return `f32(${this.#half(e)})`;
    const operands = e.prim === "select" ? e.args.slice(1) : e.args;
    // Conditions are ordered as 0 and 1.
    const ordered = e.prim === "lt" || e.prim === "le" || e.prim === "gt" || e.prim === "ge";
    const of: Type =
      (e.type === "real" && e.prim !== "toReal") || operands.some((a) => a.type === "real")
        ? "real"
        : operands.every((a) => a.type === "bool") && !ordered
          ? "bool"
          : "int";
    const args = e.args.map((a, i) => (e.prim === "select" && i === 0 ? this.#expr(a) : this.#converted(a, of)));
    if (e.prim === "idiv" || e.prim === "imod") {
      const [a, d] = e.args as readonly [Expr, Expr];
      const power = d.kind === "num" && d.value > 0 ? Math.log2(d.value) : 0.5;
      // A shift rounds down, whatever the sign.
      if (Number.isInteger(power)) return e.prim === "idiv" ? `(${args[0]} >> ${power}u)` : `(${args[0]} & ${2 ** power - 1})`;
      if (interval(a, this.#ranges, this.#intervals).lo >= 0) return `(${args[0]} ${e.prim === "idiv" ? "/" : "%"} ${args[1]})`;
    }
    return spelling[e.prim]({ of, math: this.#helper }, ...args);
  }
  /** A term rounded to 16 bits, by the adapter's own arithmetic: what is rounded after one operation on such numbers has the
   *  same bits computed in 16 bits as in 32, since 24 ≥ 2·11 + 2. */
  #half(e: Expr & { kind: "call" }): string {
    this.#halves = true;
    const [x] = e.args as readonly [Expr];
    const operator = x.kind === "call" ? ({ add: "+", sub: "-", mul: "*" } as Readonly<Record<string, string>>)[x.prim] : undefined;
    if (x.kind === "call" && operator) {
      const operands = x.args.map((a) => this.#rounded(a));
      if (operands.every((o) => o !== undefined)) return `(${operands.join(` ${operator} `)})`;
    }
    return this.#rounded(x) ?? `f16(${this.#converted(x, "real")})`;
  }
  /** A term that 16 bits hold, in them. */
  #rounded(e: Expr): string | undefined {
    if (e.kind === "call" && e.prim === "toF16") return this.#half(e);
    if (e.kind === "local") return this.#roundedNames.has(e.name) ? `f16(${this.naming(e.name)})` : undefined;
    return e.kind === "load" ? this.#memory.half(e) : undefined;
  }
  #remember(name: string, value: Expr): void {
    if (this.limits.f16 && value.type === "real" && this.#rounded(value) !== undefined) this.#roundedNames.add(name);
  }
  #real(value: number): string {
    if (Number.isNaN(value)) return `${this.#helper("m_nan")}()`;
    const x = Math.fround(value);
    if (!Number.isFinite(x)) return x > 0 ? `${numerics.mask}f` : `(-${numerics.mask}f)`;
    const text = Object.is(x, -0) ? "-0.0" : String(x);
    const written = /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
    return x < 0 || Object.is(x, -0) ? `(${written})` : written;
  }

  // ---- statements

  #body(body: readonly Stmt[]): void {
    for (const s of body) this.#stmt(s);
  }
  #define(s: Stmt & { s: "let" | "var" }): void {
    if (s.value.type !== "int") return;
    if (this.#ranges.has(s.name)) this.#intervals = new Map();
    if (s.s === "var") this.#ranges.delete(s.name);
    else this.#ranges.set(s.name, interval(s.value, this.#ranges, this.#intervals));
  }
  #stmt(s: Stmt): void {
    switch (s.s) {
      case "let":
      case "var": {
        const value = s.s === "let" && this.#steering.has(s.name) ? this.#alike(s.value) : this.#expr(s.value);
        this.#line(`${s.s} ${this.naming(s.name)}: ${wgslType[s.value.type]} = ${value};`);
        this.#define(s);
        if (s.s === "let") this.#remember(s.name, s.value);
        break;
      }
      case "set":
        this.#line(`${this.naming(s.name)} = ${this.#expr(s.value)};`);
        break;
      case "alloc":
        for (const l of this.#memory.alloc(s)) this.#line(l);
        break;
      case "store":
        this.#all(this.#memory.store(s.buffer, offset(s.buffer, s.index), this.#converted(s.value, this.#memory.takes(s.buffer))));
        break;
      case "if": {
        const cond = barred(s) ? this.#alike(s.cond) : this.#expr(s.cond);
        this.#block(`if (${cond}) {`, s.then, s.otherwise.length > 0 ? "} else {" : "}");
        if (s.otherwise.length === 0) break;
        this.#indent++;
        this.#body(s.otherwise);
        this.#indent--;
        this.#line("}");
        break;
      }
      case "barrier":
        if (s.scope !== "workgroup") throw new Unfit("a barrier of all workgroups: WGSL has none");
        this.#line("workgroupBarrier();");
        if (this.#passesStorage) this.#line("storageBarrier();");
        break;
      case "fetch":
        break;
      case "use":
        if (s.instruction === "exchange" && this.limits.subgroups) this.#exchange(s);
        else this.#block("{", s.meaning);
        break;
      case "for":
        this.#for(s);
    }
  }
  /** A value that is the same for all invocations, in words by which WGSL knows it: one of them tells the others, where it comes
   *  from memory that is written. */
  #alike(e: Expr): string {
    if (!termsOf([e]).some((t) => t.kind === "load" && this.#memory.changing(t.buffer))) return this.#expr(e);
    const pointer = e.kind === "load" ? this.#memory.pointer(e) : undefined;
    if (pointer) return `workgroupUniformLoad(${pointer})`;
    const told = this.#name("told");
    this.#toldBytes += 16;
    this.#told.push(`var<workgroup> ${told}: ${wgslType[e.type]};`);
    this.#line("workgroupBarrier();");
    this.#inside("if (all(invocation == vec3<u32>(0u))) {", () => this.#line(`${told} = ${this.#expr(e)};`));
    return `workgroupUniformLoad(&${told})`;
  }
  #exchange(s: Stmt & { s: "use" }): void {
    const [value, other] = s.places as readonly [Place, Place];
    const mask = s.ints[1] as Expr;
    if (mask.kind !== "num") throw new Unfit("an exchange with a neighbour that is known only at run time");
    this.#subgroups = true;
    const given = this.#expr(load(value.buffer, value.index));
    this.#all(this.#memory.store(other.buffer, offset(other.buffer, other.index), exchange(value.buffer.dtype, given, mask.value)));
  }
  #for(s: For): void {
    const four = this.#memory.vectors.loops.get(s);
    if (four) {
      this.#fourTurns(s, four);
      return;
    }
    const [first, end] = [interval(s.from, this.#ranges, this.#intervals), interval(s.to, this.#ranges, this.#intervals)];
    const outside = this.#intervals;
    const bars = s.bind !== "workgroup" && s.bind !== "local" && barred(s);
    const [from, to] = [bars ? this.#alike(s.from) : this.#expr(s.from), bars ? this.#alike(s.to) : this.#expr(s.to)];
    this.#ranges.set(s.v, { lo: first.lo, hi: Math.max(first.lo, end.hi - 1) });
    this.#intervals = new Map();
    const name = this.naming(s.v);
    switch (s.bind) {
      case "workgroup":
        if (s.to.kind === "num" && s.to.value <= this.limits.dispatch) this.#line(`let ${name}: i32 = i32(group.x);`);
        else {
          this.#line(`let ${name}: i32 = i32(group.x + group.y * groups.x);`);
          // Those beyond the last, where workgroups are laid out in two dimensions.
          this.#line(`if (${name} >= ${to}) { return; }`);
        }
        this.#body(s.body);
        break;
      case "local":
        this.#local(s, name);
        this.#body(s.body);
        break;
      case "thread":
        throw new Unfit("a loop over threads: WGSL has workgroups and invocations");
      default:
        this.#block(`for (var ${name}: i32 = ${from}; ${name} < ${to}; ${name} += ${s.step}) {`, s.body);
    }
    this.#intervals = outside;
  }
  #local(s: For, name: string): void {
    const inner = statements(s.body).filter((t) => t.s === "for" && t.bind === "local").length;
    const d = DIMENSIONS[inner];
    if (d === undefined) throw new Unfit("more than three local loops in one another");
    if (s.to.kind !== "num" || s.from.kind !== "num") throw new Unfit("a workgroup whose size is known only at run time");
    const size = Math.ceil((s.to.value - s.from.value) / s.step);
    if (this.#size[inner] !== 1 && this.#size[inner] !== size) throw new Unfit("local loops of different sizes");
    this.#size[inner] = size;
    const number = s.step === 1 ? `i32(invocation.${d})` : `i32(invocation.${d}) * ${s.step}`;
    this.#line(`let ${name}: i32 = ${s.from.value === 0 ? number : `${s.from.value} + ${number}`};`);
  }
  /** Statement after statement, each in all four turns: what is loaded four at a time before them, what is stored so after. */
  #fourTurns(s: For, { loads, stores }: FourTurns): void {
    const before = this.#given;
    this.#inside("{", () => {
      const given = new Map(before);
      for (const l of loads) {
        const value = this.#memory.loadFour(l.buffer, laneOf(offset(l.buffer, l.index), s, 0));
        if (value === undefined) continue;
        const name = this.#name("four");
        this.#line(`let ${name}: vec4<f32> = ${value};`);
        for (let i = 0; i < LANES; i++) given.set(laneOf(l, s, i), `${name}.${"xyzw"[i]}`);
      }
      this.#given = given;
      const names = Array.from({ length: LANES }, () => new Map<string, Expr>());
      const turn = (e: Expr, i: number): Expr => rename([laneOf(e, s, i)], names[i] as Map<string, Expr>)[0] as Expr;
      for (const t of s.body) {
        if (t.s === "let")
          for (const [i, known] of names.entries()) {
            const value = turn(t.value, i);
            const name = `${t.name}_turn${i}`;
            this.#line(`let ${this.naming(name)}: ${wgslType[value.type]} = ${this.#expr(value)};`);
            this.#remember(name, value);
            known.set(t.name, local(name, value.type));
          }
        if (t.s !== "store") continue;
        const values = names.map((_, i) => this.#converted(turn(t.value, i), this.#memory.takes(t.buffer)));
        const at = (i: number) => turn(offset(t.buffer, t.index), i);
        if (stores.has(t)) this.#all(this.#memory.storeFour(t.buffer, at(0), values));
        else for (const [i, value] of values.entries()) this.#all(this.#memory.store(t.buffer, at(i), value));
      }
    });
    this.#given = before;
  }
}
