// Prints a kernel's loop IR as a WGSL compute shader. The one workgroup loop (groups.ts) becomes the workgroup's number,
// `local` loops the invocation's number in it; all others are loops, short `unroll` loops written out. Barriers must stand
// where every invocation comes by: the browser's own uniformity analysis is the check.
//
// What lies two or four to a word (storage.ts) is written by two atomic operations that touch its own bits alone, so
// that neighbours may be written by other invocations at the same time.

import { evaluate } from "../../../dsl/primitives.js";
import { labelWords } from "../../../dsl/random.js";
import { exprsOf, type For, type Kernel, type Place, rebuild, type Stmt, statements } from "../../loop/ir.js";
import { add, namesOf, offset, rename, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements, int, type Type } from "../../lower/expr.js";
import { type Naming, readableBut } from "../naming.js";
import type { Binding } from "./bindings.js";
import { type HelperName, withCallees } from "./helpers.js";
import { numerics, type WgslLimits } from "./limits.js";
import type { WgslPipeline } from "./program.js";
import { spelling } from "./spelling.js";
import { perWord, type Storage, storageOf } from "./storage.js";
import { exchange } from "./subgroups.js";
import { taken } from "./words.js";

/** A shader, and what each member of its uniform buffer is. */
export interface Printed extends Omit<WgslPipeline, "name"> {
  readonly members: readonly Member[];
}
export type Member = { readonly of: "variable"; readonly name: string } | { readonly of: "place"; readonly buffer: Buffer; readonly binding: number };

/** What WGSL, or this adapter, cannot hold. */
export class Unprintable extends Error {}

export const readable = (): Naming => readableBut(taken);

const wgslType: Readonly<Record<Type, string>> = { real: "f32", int: "i32", bool: "bool" };
const DIMENSIONS = ["x", "y", "z"] as const;
/** Turns of a loop that are written out, in one loop and in all that stand in one another. */
const MOST_TURNS = 16;
const MOST_COPIES = 64;
/** What WGSL lets a function have in variables. */
const FUNCTION_BYTES = 8192;

/** Storage buffers that a kernel uses, in the order of their first use, and those it writes. */
export function usedBy(kernel: Kernel): { readonly used: readonly Buffer[]; readonly written: ReadonlySet<Buffer> } {
  const own = new Set<Buffer>();
  const [used, written] = [new Set<Buffer>(), new Set<Buffer>()];
  for (const s of statements(kernel.body)) {
    if (s.s === "alloc") own.add(s.buffer);
    for (const e of termsOf(exprsOf(s))) if (e.kind === "load") used.add(e.buffer);
    if (s.s === "store") {
      used.add(s.buffer);
      written.add(s.buffer);
    }
  }
  return { used: [...used].filter((b) => !own.has(b)), written: new Set([...written].filter((b) => !own.has(b))) };
}

/** How a binding's array is declared. */
type Element = "f32" | "i32" | "f16" | "u32" | "atomic<u32>";
interface Bound {
  readonly binding: number;
  readonly name: string;
  readonly element: Element;
  readonly shared: boolean;
}

export function printKernel(kernel: Kernel, bindings: readonly Binding[], limits: WgslLimits, naming: Naming = readable()): Printed {
  return new Printer(kernel, bindings, limits, naming).print();
}

class Printer {
  readonly #lines: string[] = [];
  readonly #module: string[] = [];
  readonly #math = new Set<HelperName>();
  readonly #members = new Map<string, Member>();
  readonly #size: [number, number, number] = [1, 1, 1];
  readonly #bound = new Map<Buffer, Bound>();
  readonly #tiles = new Map<Buffer, "private" | "workgroup">();
  readonly #features = new Set<"shader-f16" | "subgroups">();
  /** Names that decide which barriers are reached. */
  readonly #steering: ReadonlySet<string>;
  readonly #outside: ReadonlySet<string>;
  readonly #writesStorage: boolean;
  #indent = 1;
  #copies = 1;
  #fresh = 0;
  #shared = 0;
  #own = 0;

  constructor(
    readonly kernel: Kernel,
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
    this.#writesStorage = usedBy(kernel).written.size > 0;
  }

  print(): Printed {
    for (const [i, b] of this.bindings.entries()) this.#bind(b, i);
    this.#body(this.kernel.body);
    const { limits } = this;
    const [x, y, z] = this.#size;
    if (x * y * z > limits.invocations) throw new Unprintable(`${x * y * z} invocations: a workgroup may have ${limits.invocations}`);
    for (const [i, n] of this.#size.entries())
      if (n > (limits.workgroupSize[i] as number))
        throw new Unprintable(`${n} invocations along ${DIMENSIONS[i]}: a workgroup may have ${limits.workgroupSize[i]}`);
    if (this.#shared > limits.workgroupMemory)
      throw new Unprintable(`${this.#shared} bytes of workgroup memory: ${limits.workgroupMemory} may be used`);
    if (this.#own > FUNCTION_BYTES) throw new Unprintable(`${this.#own} bytes of an invocation's own: a function may have ${FUNCTION_BYTES}`);
    const members = [...this.#members];
    const ints =
      members.length > 0
        ? [
            `struct Ints {\n${members.map(([n]) => `  ${n}: i32,`).join("\n")}\n}`,
            `@group(0) @binding(${this.bindings.length}) var<uniform> ints: Ints;`,
          ]
        : [];
    const features = [...this.#features].sort();
    const source = [
      ...features.map((f) => `enable ${f === "shader-f16" ? "f16" : "subgroups"};`),
      ...this.#module,
      ...ints,
      ...withCallees(this.#math),
      `@compute @workgroup_size(${x}, ${y}, ${z})`,
      "fn main(@builtin(workgroup_id) group_id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_id) invocation: vec3<u32>) {",
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
  readonly #form = (name: HelperName): string => {
    this.#math.add(name);
    return name;
  };

  // ---- memory

  #bind(b: Binding, i: number): void {
    const held = new Set(b.buffers.map((x) => this.#held(x)));
    const packed = [...held].some((s) => typeof s !== "string");
    const written = usedBy(this.kernel).written;
    const only = held.size === 1 ? [...held][0] : undefined;
    const element: Element =
      packed && b.buffers.some((x) => written.has(x) && typeof this.#held(x) !== "string") ? "atomic<u32>" : typeof only === "string" ? only : "u32";
    if (element === "f16") this.#features.add("shader-f16");
    const name = this.naming(b.shared ? `binding_${i}` : (b.buffers[0] as Buffer).name);
    this.#module.push(`@group(0) @binding(${i}) var<storage, ${b.access}> ${name}: array<${element}>;`);
    for (const x of b.buffers) this.#bound.set(x, { binding: i, name, element, shared: b.shared });
  }
  /** An element by itself; or several to a word. Halves share a binding with others as words. */
  #held(b: Buffer): "f32" | "i32" | "f16" | { readonly packed: Storage } {
    const s = storageOf(b);
    if (s === "f32" || s === "i32") return s;
    if (s === "f16" && this.limits.f16 && !this.bindings.some((x) => x.shared && x.buffers.includes(b))) return s;
    return { packed: s };
  }
  #variable(b: Buffer): string {
    return this.naming(`${b.name}_${b.id}`);
  }
  /** Index in the binding's array of the word (or element) at this offset, an int. */
  #index(b: Buffer, at: Bound, index: Expr): string {
    const within = this.#expr(index);
    if (!at.shared) return within;
    const place = this.#member(`place_${b.name}_${b.id}`, { of: "place", buffer: b, binding: at.binding });
    return within === "0" ? place : `${place} + ${within}`;
  }
  #member(name: string, m: Member): string {
    const written = this.naming(name);
    this.#members.set(written, m);
    return `ints.${written}`;
  }

  #load(e: Expr & { kind: "load" }): string {
    const { buffer } = e;
    const at = offset(buffer, e.index);
    const space = this.#tiles.get(buffer);
    if (space) return `${this.#variable(buffer)}[${this.#expr(at)}]`;
    const bound = this.#bound.get(buffer) as Bound; // all that is used is bound
    const held = this.#held(buffer);
    if (typeof held === "string") {
      const value = `${bound.name}[${this.#index(buffer, bound, at)}]`;
      if (held === bound.element) return held === "f16" ? `f32(${value})` : value;
      return `bitcast<${held}>(${this.#word(bound, value)})`;
    }
    const element = this.#expr(at);
    const value = this.#word(bound, `${bound.name}[${this.#wordIndex(buffer, bound, at, held.packed)}]`);
    switch (held.packed) {
      case "bf16":
        return `${this.#form("m_bf16_at")}(${value}, ${element})`;
      case "f16":
        return `${this.#form("m_f16_at")}(${value}, ${element})`;
      default:
        return `${this.#form("m_bool_at")}(${value}, ${element})`;
    }
  }
  #word(at: Bound, place: string): string {
    return at.element === "atomic<u32>" ? `atomicLoad(&${place})` : place;
  }
  #wordIndex(b: Buffer, at: Bound, index: Expr, packed: Storage): string {
    const shift = perWord[packed] === 2 ? 1 : 2;
    const word = `(${this.#expr(index)} >> ${shift}u)`;
    if (!at.shared) return word;
    return `${this.#member(`place_${b.name}_${b.id}`, { of: "place", buffer: b, binding: at.binding })} + ${word}`;
  }
  #store(s: Stmt & { s: "store" }): void {
    const { buffer } = s;
    const at = offset(buffer, s.index);
    if (this.#tiles.has(buffer)) {
      const to: Type = buffer.dtype === "i32" ? "int" : buffer.dtype === "bool" ? "bool" : "real";
      this.#line(`${this.#variable(buffer)}[${this.#expr(at)}] = ${this.#converted(s.value, to)};`);
      return;
    }
    const bound = this.#bound.get(buffer) as Bound; // all that is used is bound
    const held = this.#held(buffer);
    if (typeof held === "string") {
      const value = this.#converted(s.value, held === "i32" ? "int" : "real");
      const place = `${bound.name}[${this.#index(buffer, bound, at)}]`;
      if (held === bound.element) this.#line(`${place} = ${held === "f16" ? `f16(${value})` : value};`);
      else if (bound.element === "u32") this.#line(`${place} = bitcast<u32>(${value});`);
      else this.#line(`atomicStore(&${place}, bitcast<u32>(${value}));`);
      return;
    }
    const value = this.#converted(s.value, held.packed === "bool" ? "bool" : "real");
    const bits =
      held.packed === "bool" ? `select(0u, 1u, ${value})` : `${this.#form(held.packed === "bf16" ? "m_bf16_bits" : "m_f16_bits")}(${value})`;
    const [mask, shift] =
      perWord[held.packed] === 2 ? ["0xffffu", `(u32(${this.#expr(at)}) & 1u) * 16u`] : ["0xffu", `(u32(${this.#expr(at)}) & 3u) * 8u`];
    this.#inside("{", () => {
      const [w, b] = [this.naming(`word_${this.#fresh++}`), this.naming(`shift_${this.#fresh++}`)];
      this.#line(`let ${w}: i32 = ${this.#wordIndex(buffer, bound, at, held.packed)};`);
      this.#line(`let ${b}: u32 = ${shift};`);
      this.#line(`atomicAnd(&${bound.name}[${w}], ~(${mask} << ${b}));`);
      this.#line(`atomicOr(&${bound.name}[${w}], ${bits} << ${b});`);
    });
  }
  #alloc(s: Stmt & { s: "alloc" }): void {
    const b = s.buffer;
    const type = b.dtype === "i32" ? "i32" : b.dtype === "bool" ? "bool" : "f32";
    const n = Math.max(1, elements(b));
    const space = s.space === "workgroup" ? "workgroup" : "private";
    this.#tiles.set(b, space);
    const declared = `${this.#variable(b)}: array<${type}, ${n}>;`;
    if (space === "workgroup") {
      this.#shared += Math.ceil((4 * n) / 16) * 16;
      this.#module.push(`var<workgroup> ${declared}`);
    } else {
      this.#own += 4 * n;
      this.#line(`var ${declared}`);
    }
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
        // Out of range reads are harmless in WGSL (clamped or 0), so a guard may choose after reading.
        const value = this.#load(e);
        return e.inside ? `select(${this.#convert("0", "int", e.type)}, ${value}, ${this.#expr(e.inside)})` : value;
      }
      case "call": {
        const known = constant(e);
        if (known !== undefined) return typeof known === "number" ? this.#real(known) : String(known);
        const operands = e.prim === "select" ? e.args.slice(1) : e.args;
        // Conditions are ordered as 0 and 1.
        const ordered = e.prim === "lt" || e.prim === "le" || e.prim === "gt" || e.prim === "ge";
        const of: Type =
          (e.type === "real" && e.prim !== "toReal") || operands.some((a) => a.type === "real")
            ? "real"
            : operands.every((a) => a.type === "bool")
              ? ordered
                ? "int"
                : "bool"
              : "int";
        const args = e.args.map((a, i) => (e.prim === "select" && i === 0 ? this.#expr(a) : this.#converted(a, of)));
        return spelling[e.prim]({ of, math: this.#form }, ...args);
      }
      case "random": {
        const [k0, k1] = labelWords(e.key);
        const label = `vec2<u32>(${k0}u, ${k1}u)`;
        const key = e.extend.reduce((k, x, i) => `${this.#form("m_threefry")}(${k}, vec2<u32>(u32(${this.#converted(x, "int")}), ${i}u))`, label);
        return `${this.#form(e.draw === "uniform" ? "m_uniform" : "m_normal")}(${key}, ${this.#converted(e.counter, "int")})`;
      }
    }
  }
  #real(value: number): string {
    if (Number.isNaN(value)) return `${this.#form("m_nan")}()`;
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
  #stmt(s: Stmt): void {
    switch (s.s) {
      case "let":
        this.#line(
          `let ${this.naming(s.name)}: ${wgslType[s.value.type]} = ${this.#steering.has(s.name) ? this.#alike(s.value) : this.#expr(s.value)};`,
        );
        break;
      case "var":
        this.#line(`var ${this.naming(s.name)}: ${wgslType[s.value.type]} = ${this.#expr(s.value)};`);
        break;
      case "set":
        this.#line(`${this.naming(s.name)} = ${this.#expr(s.value)};`);
        break;
      case "alloc":
        this.#alloc(s);
        break;
      case "store":
        this.#store(s);
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
        if (s.scope !== "workgroup") throw new Unprintable("a barrier of all workgroups: WGSL has none");
        this.#line("workgroupBarrier();");
        if (this.#writesStorage) this.#line("storageBarrier();");
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
    const fromMemory = termsOf([e]).some(
      (t) =>
        t.kind === "load" &&
        (this.#tiles.get(t.buffer) === "workgroup" || this.bindings[this.#bound.get(t.buffer)?.binding ?? -1]?.access === "read_write"),
    );
    if (!fromMemory) return this.#expr(e);
    if (e.kind === "load" && !e.inside && this.#tiles.get(e.buffer) === "workgroup") return `workgroupUniformLoad(&${this.#load(e)})`;
    const told = this.naming(`told_${this.#fresh++}`);
    this.#shared += 16;
    this.#module.push(`var<workgroup> ${told}: ${wgslType[e.type]};`);
    this.#line("workgroupBarrier();");
    this.#inside("if (all(invocation == vec3<u32>(0u))) {", () => this.#line(`${told} = ${this.#expr(e)};`));
    return `workgroupUniformLoad(&${told})`;
  }
  #exchange(s: Stmt & { s: "use" }): void {
    const [value, other] = s.places as readonly [Place, Place];
    const mask = s.ints[1] as Expr;
    if (mask.kind !== "num") throw new Unprintable("an exchange with a neighbour that is known only at run time");
    this.#features.add("subgroups");
    const at = (p: Place) => `${this.#variable(p.buffer)}[${this.#expr(offset(p.buffer, p.index))}]`;
    this.#line(`${at(other)} = ${exchange(value.buffer.dtype, at(value), mask.value)};`);
  }
  #for(s: For): void {
    switch (s.bind) {
      case "workgroup": {
        const name = this.naming(s.v);
        const { dispatch } = this.limits;
        if (s.to.kind === "num" && s.to.value <= dispatch) this.#line(`let ${name}: i32 = i32(group_id.x);`);
        else {
          this.#line(`let ${name}: i32 = i32(group_id.x + group_id.y * groups.x);`);
          // Those beyond the last, where workgroups are laid out in two dimensions.
          this.#line(`if (${name} >= ${this.#expr(s.to)}) { return; }`);
        }
        this.#body(s.body);
        return;
      }
      case "local": {
        const inner = statements(s.body).filter((t) => t.s === "for" && t.bind === "local").length;
        const d = DIMENSIONS[inner];
        if (d === undefined) throw new Unprintable("more than three local loops in one another");
        if (s.to.kind !== "num" || s.from.kind !== "num") throw new Unprintable("a workgroup whose size is known only at run time");
        const size = Math.ceil((s.to.value - s.from.value) / s.step);
        if (this.#size[inner] !== 1 && this.#size[inner] !== size) throw new Unprintable("local loops of different sizes");
        this.#size[inner] = size;
        const number = s.step === 1 ? `i32(invocation.${d})` : `i32(invocation.${d}) * ${s.step}`;
        this.#line(`let ${this.naming(s.v)}: i32 = ${s.from.value === 0 ? number : `${s.from.value} + ${number}`};`);
        this.#body(s.body);
        return;
      }
      case "thread":
        throw new Unprintable("a loop over threads: WGSL has workgroups and invocations");
      default:
        break;
    }
    const turns = turnsOf(s);
    if (s.bind === "unroll" && turns !== undefined && turns <= MOST_TURNS && turns * this.#copies <= MOST_COPIES) {
      this.#copies *= turns;
      for (let i = 0; i < turns; i++) {
        const at = new Map([[s.v, add(s.from, int(i * s.step))]]);
        const walk = (list: readonly Stmt[]): readonly Stmt[] => list.map((t) => rebuild(t, (e) => rename([e], at)[0] as Expr, walk));
        const body = walk(s.body);
        if (body.some((t) => t.s === "let" || t.s === "var" || t.s === "alloc")) this.#block("{", body);
        else this.#body(body);
      }
      this.#copies /= Math.max(1, turns);
      return;
    }
    const bars = barred(s);
    const [from, to] = [bars ? this.#alike(s.from) : this.#expr(s.from), bars ? this.#alike(s.to) : this.#expr(s.to)];
    const name = this.naming(s.v);
    this.#block(`for (var ${name}: i32 = ${from}; ${name} < ${to}; ${name} += ${s.step}) {`, s.body);
  }
}

function turnsOf(s: For): number | undefined {
  return s.from.kind === "num" && s.to.kind === "num" ? Math.max(0, Math.ceil((s.to.value - s.from.value) / s.step)) : undefined;
}
const barred = (s: Stmt): boolean => statements([s]).some((t) => t.s === "barrier");

/** The names that conditions and bounds around barriers depend on. */
function steering(kernel: Kernel): ReadonlySet<string> {
  const out = new Set<string>();
  const values = new Map<string, Expr>();
  const todo: Expr[] = [];
  for (const s of statements(kernel.body)) {
    if (s.s === "let") values.set(s.name, s.value);
    if (s.s === "if" && barred(s)) todo.push(s.cond);
    if (s.s === "for" && s.bind !== "workgroup" && s.bind !== "local" && barred(s)) todo.push(s.from, s.to);
  }
  for (let e = todo.pop(); e; e = todo.pop())
    for (const n of namesOf(e)) {
      if (out.has(n)) continue;
      out.add(n);
      const value = values.get(n);
      if (value) todo.push(value);
    }
  return out;
}

/** The value of a call on numbers alone: WGSL computes such terms while it compiles, and refuses what overflows. */
function constant(e: Expr & { kind: "call" }): number | boolean | undefined {
  if (e.type === "int" || e.prim === "idiv" || e.prim === "imod" || !e.args.every((a) => a.kind === "num")) return undefined;
  const args = e.args.map((a) => (a.kind !== "num" ? 0 : a.type === "bool" ? a.value !== 0 : a.type === "real" ? Math.fround(a.value) : a.value));
  const value = evaluate(e.prim, args);
  return typeof value === "number" && e.type === "bool" ? value !== 0 : value;
}
