// Prints a kernel's loop IR as a WGSL compute shader. `workgroup` loops become the workgroup's number (the innermost along
// x), `local` loops the invocation's number in it; all others are loops. Barriers must stand where every invocation
// comes by: the browser's own uniformity analysis is the check.

import { exprsOf, type For, type Kernel, type Stmt, statements } from "../../loop/ir.js";
import { ceilDiv, offset, sub, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements, maxOf, type Type } from "../../lower/expr.js";
import { guaranteed as limits, numerics } from "./limits.js";
import { type MathName, withCallees } from "./math.js";
import { spelling } from "./spelling.js";

export interface WgslKernel {
  readonly name: string;
  readonly source: string;
  /** Storage buffers by binding. */
  readonly buffers: readonly { readonly buffer: Buffer; readonly access: "read" | "read_write" }[];
  /** The members of the uniform buffer, i32 each, bound after the buffers; none: not bound. */
  readonly ints: readonly string[];
  readonly workgroupSize: readonly [number, number, number];
  /** Workgroups along x, y and z, over `ints`. */
  readonly dispatch: readonly Expr[];
}

/** What WGSL cannot say. */
export class Unprintable extends Error {}

const wgslType: Readonly<Record<Type, string>> = { real: "f32", int: "i32", bool: "bool" };
const DIMENSIONS = ["x", "y", "z"] as const;

/** Reserved words of WGSL hold no digit; its types that do are told apart by their beginning. */
function identifier(name: string): string {
  const text = name.replace(/[^A-Za-z0-9_]/g, "_").replace(/^(?=[0-9_])/, "x");
  return /\d/.test(text) && !/^(f16|f32|i32|u32|vec|mat)/.test(text) ? text : `${text}_`;
}
function real(value: number): string {
  if (Number.isNaN(value)) throw new Unprintable("a NaN constant: WGSL has none");
  const v = Math.max(-numerics.mask, Math.min(numerics.mask, Math.fround(value)));
  const text = Object.is(v, -0) ? "-0.0" : String(v);
  return /[.e]/.test(text) ? `${text}f` : `${text}.0`;
}

class Printer {
  readonly #lines: string[] = [];
  readonly #module: string[] = [];
  readonly #math = new Set<MathName>();
  readonly #ints = new Set<string>();
  readonly #size: [number, number, number] = [1, 1, 1];
  readonly #dispatch: Expr[] = [];
  #indent = 1;
  readonly #own = new Set<Buffer>();
  readonly #outside: Set<string>;

  constructor(readonly kernel: Kernel) {
    const defined = new Set<string>();
    const read = new Set<string>();
    for (const s of statements(kernel.body)) {
      if (s.s === "for") defined.add(s.v);
      if (s.s === "let" || s.s === "var") defined.add(s.name);
      for (const e of termsOf(exprsOf(s))) if (e.kind === "var") read.add(e.name);
    }
    this.#outside = new Set([...read].filter((n) => !defined.has(n)));
  }

  print(): WgslKernel {
    const all = statements(this.kernel.body);
    for (const s of all) if (s.s === "alloc") this.#own.add(s.buffer);
    const written = new Set<Buffer>();
    const used = new Set<Buffer>();
    for (const s of all) {
      if (s.s === "store") written.add(s.buffer);
      for (const e of termsOf(exprsOf(s))) if (e.kind === "load") used.add(e.buffer);
    }
    const buffers = [...new Set([...used, ...written])]
      .filter((b) => !this.#own.has(b))
      .map((buffer) => ({ buffer, access: written.has(buffer) ? ("read_write" as const) : ("read" as const) }));
    if (buffers.length > limits.storageBuffers) throw new Unprintable(`${buffers.length} buffers: a shader may bind ${limits.storageBuffers}`);
    for (const [i, { buffer, access }] of buffers.entries())
      this.#module.push(`@group(0) @binding(${i}) var<storage, ${access}> ${this.#buffer(buffer)}: array<${this.#element(buffer)}>;`);
    this.#body(this.kernel.body);
    const ints = [...this.#ints];
    if (ints.length > 0)
      this.#module.push(
        `struct Ints {\n${ints.map((n) => `  ${identifier(n)}: i32,`).join("\n")}\n}`,
        `@group(0) @binding(${buffers.length}) var<uniform> ints: Ints;`,
      );
    const [x, y, z] = this.#size;
    if (x * y * z > limits.invocations) throw new Unprintable(`${x * y * z} invocations: a workgroup may have ${limits.invocations}`);
    const source = [
      `// ${this.kernel.name}`,
      ...this.#module,
      ...withCallees(this.#math),
      `@compute @workgroup_size(${x}, ${y}, ${z})`,
      "fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) invocation: vec3<u32>) {",
      ...this.#lines,
      "}",
    ].join("\n");
    return { name: this.kernel.name, source, buffers, ints, workgroupSize: this.#size, dispatch: this.#dispatch };
  }

  #line(text: string): void {
    this.#lines.push("  ".repeat(this.#indent) + text);
  }
  #block(head: string, body: readonly Stmt[], tail = "}"): void {
    this.#line(head);
    this.#indent++;
    this.#body(body);
    this.#indent--;
    this.#line(tail);
  }
  #buffer = (b: Buffer): string => identifier(`${b.name}_${b.id}`);
  #element(b: Buffer): string {
    if (b.dtype === "f32") return "f32";
    if (b.dtype === "i32" || b.dtype === "bool") return "i32";
    throw new Unprintable(`buffer ${b.name} of type ${b.dtype}: WGSL kernels hold f32, i32 and bool`);
  }

  // ---- expressions

  #convert(text: string, from: Type, to: Type): string {
    if (from === to) return text;
    if (from === "bool") return to === "real" ? `select(0.0, 1.0, ${text})` : `select(0, 1, ${text})`;
    if (to === "bool") return `(${text} != ${from === "real" ? "0.0" : "0"})`;
    return `${wgslType[to]}(${text})`;
  }
  #address = (b: Buffer, index: readonly Expr[]): string => `${this.#buffer(b)}[${this.#expr(offset(b, index))}]`;
  #expr(e: Expr): string {
    switch (e.kind) {
      case "num":
        return e.type === "real" ? real(e.value) : e.type === "int" ? (e.value < 0 ? `(${e.value})` : String(e.value)) : String(e.value !== 0);
      case "var":
        if (!this.#outside.has(e.name)) return identifier(e.name);
        this.#ints.add(e.name);
        return `ints.${identifier(e.name)}`;
      case "local":
        return identifier(e.name);
      case "load": {
        const held: Type = e.buffer.dtype === "i32" || e.buffer.dtype === "bool" ? "int" : "real";
        // Out of range reads are harmless in WGSL (clamped or 0), so a guard may choose after reading.
        const value = this.#convert(this.#address(e.buffer, e.index), held, e.type);
        return e.inside ? `select(${this.#convert("0", "int", e.type)}, ${value}, ${this.#expr(e.inside)})` : value;
      }
      case "call": {
        const operands = e.prim === "select" ? e.args.slice(1) : e.args;
        const of: Type =
          (e.type === "real" && e.prim !== "toReal") || operands.some((a) => a.type === "real")
            ? "real"
            : operands.every((a) => a.type === "bool")
              ? "bool"
              : "int";
        const form = {
          of,
          math: (name: MathName) => {
            this.#math.add(name);
            return name;
          },
        };
        const args = e.args.map((a, i) => (e.prim === "select" && i === 0 ? this.#expr(a) : this.#convert(this.#expr(a), a.type, of)));
        return spelling[e.prim](form, ...args);
      }
      case "random":
        throw new Unprintable("a random draw: not written for WGSL");
    }
  }

  // ---- statements

  #body(body: readonly Stmt[]): void {
    for (const s of body) this.#stmt(s);
  }
  #stmt(s: Stmt): void {
    switch (s.s) {
      case "let":
      case "var":
        this.#line(`${s.s} ${identifier(s.name)}: ${wgslType[s.value.type]} = ${this.#expr(s.value)};`);
        break;
      case "set":
        this.#line(`${identifier(s.name)} = ${this.#expr(s.value)};`);
        break;
      case "alloc": {
        const array = `${this.#buffer(s.buffer)}: array<${this.#element(s.buffer)}, ${elements(s.buffer)}>;`;
        if (s.space === "scratch") throw new Unprintable("memory of a thread's own: WGSL has private and workgroup memory");
        if (s.space === "private") this.#line(`var ${array}`);
        else this.#module.push(`var<workgroup> ${array}`);
        break;
      }
      case "store": {
        const to: Type = s.buffer.dtype === "i32" || s.buffer.dtype === "bool" ? "int" : "real";
        const value = s.buffer.dtype === "bool" ? this.#convert(this.#expr(s.value), s.value.type, "bool") : this.#expr(s.value);
        this.#line(`${this.#address(s.buffer, s.index)} = ${this.#convert(value, s.buffer.dtype === "bool" ? "bool" : s.value.type, to)};`);
        break;
      }
      case "if":
        this.#block(`if (${this.#expr(s.cond)}) {`, s.then, s.otherwise.length > 0 ? "} else {" : "}");
        if (s.otherwise.length === 0) break;
        this.#indent++;
        this.#body(s.otherwise);
        this.#indent--;
        this.#line("}");
        break;
      case "barrier":
        if (s.scope !== "workgroup") throw new Unprintable("a barrier of all workgroups: WGSL has none");
        this.#line("workgroupBarrier();");
        break;
      case "fetch":
        break;
      case "use":
        this.#block("{", s.meaning);
        break;
      case "for":
        this.#for(s);
    }
  }
  #for(s: For): void {
    const name = identifier(s.v);
    if (s.bind === "workgroup" || s.bind === "local") {
      const inner = statements(s.body).filter((t) => t.s === "for" && t.bind === s.bind).length;
      const d = DIMENSIONS[inner];
      if (d === undefined) throw new Unprintable(`more than three ${s.bind} loops in one another`);
      const source = s.bind === "workgroup" ? "group" : "invocation";
      const number = s.step === 1 ? `i32(${source}.${d})` : `i32(${source}.${d}) * ${s.step}`;
      if (s.bind === "workgroup") this.#dispatch[inner] = ceilDiv(sub(s.to, s.from), s.step);
      else {
        if (s.to.kind !== "num" || s.from.kind !== "num") throw new Unprintable("a workgroup whose size is known only at run time");
        this.#size[inner] = Math.ceil((s.to.value - s.from.value) / s.step);
      }
      this.#line(`let ${name}: i32 = ${s.from.kind === "num" && s.from.value === 0 ? number : `${this.#expr(s.from)} + ${number}`};`);
      this.#body(s.body);
      return;
    }
    this.#block(`for (var ${name}: i32 = ${this.#expr(s.from)}; ${name} < ${this.#expr(s.to)}; ${name} += ${s.step}) {`, s.body);
  }
}

/** Bytes of workgroup memory that a kernel allocates. */
const workgroupBytes = (k: Kernel): number =>
  statements(k.body).reduce(
    (n, s) => (s.s === "alloc" && s.space === "workgroup" ? n + 4 * s.buffer.axes.reduce((m, a) => m * maxOf(a.extent), 1) : n),
    0,
  );

export function printKernel(kernel: Kernel): WgslKernel {
  const bytes = workgroupBytes(kernel);
  if (bytes > limits.workgroupMemory) throw new Unprintable(`${bytes} bytes of workgroup memory: ${limits.workgroupMemory} are guaranteed`);
  return new Printer(kernel).print();
}
