// The memory of a kernel as WGSL writes it: declarations of bindings and tiles, loads and stores of one element and of four.
// What lies two or four to a word (storage.ts) is written whole words at a time (vectors.ts), or by two atomic operations
// that touch its own bits alone, so that neighbours may be written by other invocations at the same time.
import { exprsOf, type Kernel, type Stmt, statements } from "../../loop/ir.js";
import { add, offset, termsOf } from "../../loop/terms.js";
import { type Buffer, type Expr, elements, int, type Type } from "../../lower/expr.js";
import type { Naming } from "../naming.js";
import type { Binding } from "./bindings.js";
import type { HelperName } from "./helpers.js";
import type { WgslLimits } from "./limits.js";
import { perWord, type Storage, storageOf } from "./storage.js";
import { type Kind, LANES, laneOf, type Vectors, vectorsOf } from "./vectors.js";

type Load = Expr & { kind: "load" };
/** How a binding's or a tile's array is declared. */
type Element = "f32" | "i32" | "bool" | "f16" | "u32" | "vec4<f32>" | "atomic<u32>";
interface Bound {
  readonly binding: number;
  readonly access: Binding["access"];
  readonly name: string;
  readonly element: Element;
  readonly shared: boolean;
}
type Space = "variables" | "private" | "workgroup";

/** What memory asks of the printer. */
export interface Text {
  readonly naming: Naming;
  /** An integer. */
  expr(e: Expr): string;
  helper(name: HelperName): string;
  /** A fresh name. */
  fresh(stem: string): string;
  /** Where a buffer begins in its binding. */
  place(b: Buffer, binding: number): string;
}
/** Elements of a tile that become variables, at most. */
const MOST_VARIABLES = 256;

export class Memory {
  readonly vectors: Vectors;
  readonly declarations: string[] = [];
  readonly features = new Set<"shader-f16">();
  /** Bytes of workgroup memory, and of an invocation's own. */
  shared = 0;
  own = 0;
  readonly #bound = new Map<Buffer, Bound>();
  readonly #tiles = new Map<Buffer, Space>();
  readonly #bindings: readonly Binding[];

  constructor(
    kernel: Kernel,
    bindings: readonly Binding[],
    readonly limits: WgslLimits,
    readonly text: Text,
  ) {
    this.#bindings = bindings;
    for (const s of statements(kernel.body)) if (s.s === "alloc") this.#tiles.set(s.buffer, s.space === "workgroup" ? "workgroup" : "private");
    this.vectors = vectorsOf(kernel, (b) => this.#kind(b));
    for (const b of variables(kernel, this.vectors)) if (this.#tiles.get(b) === "private") this.#tiles.set(b, "variables");
    const written = new Set(statements(kernel.body).flatMap((s) => (s.s === "store" ? [s.buffer] : [])));
    for (const [i, b] of bindings.entries()) this.#bind(b, i, written);
  }

  #kind(b: Buffer): Kind {
    const space = this.#tiles.get(b);
    if (space) return space !== "workgroup" ? "own" : this.#tileElement(b) === "f32" ? "f32" : "other";
    const held = this.#held(b);
    return held === "f32" ? "f32" : typeof held === "string" ? "other" : "packed";
  }
  /** An element by itself; or several to a word. Halves share a binding with others as words. */
  #held(b: Buffer): "f32" | "i32" | "f16" | { readonly packed: Storage } {
    const s = storageOf(b);
    if (s === "f32" || s === "i32") return s;
    if (s === "f16" && this.limits.f16 && !this.#bindings.some((x) => x.shared && x.buffers.includes(b))) return s;
    return { packed: s };
  }
  #bind(b: Binding, i: number, written: ReadonlySet<Buffer>): void {
    const { apart, wide } = this.vectors;
    const held = b.buffers.map((x) => this.#held(x));
    const [only] = held;
    const alike = typeof only === "string" && held.every((h) => h === only) ? only : "u32";
    // Words that several invocations may write to at the same time.
    const mixed = b.buffers.some((x) => written.has(x) && typeof this.#held(x) !== "string" && apart.has(x));
    const fours = b.buffers.some((x) => wide.has(x)) && b.buffers.every((x) => !apart.has(x) && elements(x) % LANES === 0);
    const element: Element = mixed ? "atomic<u32>" : alike === "f32" && fours ? "vec4<f32>" : alike;
    if (element === "f16") this.features.add("shader-f16");
    const name = this.text.naming(b.shared ? `binding_${i}` : (b.buffers[0] as Buffer).name);
    this.declarations.push(`@group(0) @binding(${i}) var<storage, ${b.access}> ${name}: array<${element}>;`);
    for (const x of b.buffers) this.#bound.set(x, { binding: i, access: b.access, name, element, shared: b.shared });
  }
  #tileElement = (b: Buffer): "f32" | "i32" | "bool" => (b.dtype === "i32" || b.dtype === "bool" ? b.dtype : "f32");

  // ---- tiles

  /** Lines that declare it where it is allocated; workgroup memory stands outside. */
  alloc(s: Stmt & { s: "alloc" }): readonly string[] {
    const b = s.buffer;
    const n = Math.max(1, elements(b));
    const [name, type] = [this.#tile(b), this.#tileElement(b)];
    if (s.space === "workgroup") {
      const four = this.#fourIn(b);
      this.shared += Math.ceil((4 * n) / 16) * 16;
      this.declarations.push(`var<workgroup> ${name}: array<${four ? `vec4<f32>, ${n / LANES}` : `${type}, ${n}`}>;`);
      return [];
    }
    this.own += 4 * n;
    if (this.#tiles.get(b) === "variables") return Array.from({ length: n }, (_, i) => `var ${this.#variable(b, i)}: ${type};`);
    return [`var ${name}: array<${type}, ${n}>;`];
  }
  #tile = (b: Buffer): string => this.text.naming(`${b.name}_${b.id}`);
  #variable = (b: Buffer, i: number): string => this.text.naming(`${b.name}_at${i}_${b.id}`);
  /** Workgroup memory that is declared as vec4. */
  #fourIn = (b: Buffer): boolean => this.vectors.wide.has(b) && !this.vectors.apart.has(b);

  // ---- elements

  /** Is the value of memory that this kernel may write the same for all only by what invocations know of one another? */
  changing(b: Buffer): boolean {
    return this.#tiles.get(b) === "workgroup" || this.#bound.get(b)?.access === "read_write";
  }
  /** A pointer to an element of workgroup memory; undefined for other memory. */
  pointer(e: Load): string | undefined {
    return this.#tiles.get(e.buffer) === "workgroup" && !e.inside && !this.#fourIn(e.buffer) ? `&${this.load(e)}` : undefined;
  }
  load(e: Load): string {
    const { buffer } = e;
    const at = offset(buffer, e.index);
    if (this.#tiles.has(buffer)) return this.#inTile(buffer, at);
    const bound = this.#bound.get(buffer) as Bound; // all that is used is bound
    const held = this.#held(buffer);
    if (typeof held === "string") {
      if (bound.element === "vec4<f32>") return component(bound.name, this.#index(buffer, bound, at), at);
      const value = `${bound.name}[${this.#index(buffer, bound, at)}]`;
      if (held === bound.element) return held === "f16" ? `f32(${value})` : value;
      return `bitcast<${held}>(${word(bound, value)})`;
    }
    const value = word(bound, `${bound.name}[${this.#wordIndex(buffer, bound, at, held.packed)}]`);
    const read = held.packed === "bf16" ? "m_bf16_at" : held.packed === "f16" ? "m_f16_at" : "m_bool_at";
    return `${this.text.helper(read)}(${value}, ${this.text.expr(at)})`;
  }
  /** An element of memory that holds 16-bit floats by themselves, as one. */
  half(e: Load): string | undefined {
    const bound = this.#bound.get(e.buffer);
    return bound?.element === "f16" && !e.inside ? `${bound.name}[${this.#index(e.buffer, bound, offset(e.buffer, e.index))}]` : undefined;
  }
  /** The type in which a store takes its value. */
  takes(b: Buffer): Type {
    return b.dtype === "i32" ? "int" : b.dtype === "bool" ? "bool" : "real";
  }
  store(buffer: Buffer, at: Expr, value: string): readonly string[] {
    if (this.#tiles.has(buffer)) return [`${this.#inTile(buffer, at)} = ${value};`];
    const bound = this.#bound.get(buffer) as Bound; // all that is used is bound
    const held = this.#held(buffer);
    if (typeof held === "string") {
      const place = `${bound.name}[${this.#index(buffer, bound, at)}]`;
      if (held === bound.element) return [`${place} = ${held === "f16" ? `f16(${value})` : value};`];
      if (bound.element === "u32") return [`${place} = bitcast<u32>(${value});`];
      return [`atomicStore(&${place}, bitcast<u32>(${value}));`];
    }
    const per = perWord[held.packed];
    const [w, shift] = [this.text.fresh("word"), this.text.fresh("shift")];
    const mask = per === 2 ? "0xffffu" : "0xffu";
    return [
      `let ${w}: i32 = ${this.#wordIndex(buffer, bound, at, held.packed)};`,
      `let ${shift}: u32 = (u32(${this.text.expr(at)}) & ${per - 1}u) * ${32 / per}u;`,
      `atomicAnd(&${bound.name}[${w}], ~(${mask} << ${shift}));`,
      `atomicOr(&${bound.name}[${w}], ${this.#bits(held.packed, value)} << ${shift});`,
    ];
  }

  // ---- four elements, from a multiple of four

  loadFour(buffer: Buffer, at: Expr): string | undefined {
    const name = this.#tiles.get(buffer) === "workgroup" ? this.#tile(buffer) : this.#bound.get(buffer)?.name;
    const four = this.#tiles.has(buffer) ? this.#fourIn(buffer) : this.#bound.get(buffer)?.element === "vec4<f32>";
    return four ? `${name}[${this.#fourth(buffer, at)}]` : undefined;
  }
  storeFour(buffer: Buffer, at: Expr, values: readonly string[]): readonly string[] {
    const place = this.loadFour(buffer, at);
    if (place) return [`${place} = ${whole(values) ?? `vec4<f32>(${values.join(", ")})`};`];
    const held = this.#tiles.has(buffer) ? "f32" : this.#held(buffer);
    const bound = this.#bound.get(buffer);
    if (typeof held === "string" || !bound || bound.element === "atomic<u32>")
      return values.flatMap((v, i) => this.store(buffer, add(at, int(i)), v));
    const per = perWord[held.packed];
    const w = this.text.fresh("word");
    return [
      `let ${w}: i32 = ${this.#wordIndex(buffer, bound, at, held.packed)};`,
      ...Array.from({ length: LANES / per }, (_, i) => {
        const bits = values.slice(i * per, (i + 1) * per).map((v, k) => `${this.#bits(held.packed, v)}${k > 0 ? ` << ${(k * 32) / per}u` : ""}`);
        return `${bound.name}[${w}${i > 0 ? ` + ${i}` : ""}] = ${bits.map((b) => `(${b})`).join(" | ")};`;
      }),
    ];
  }
  #fourth(b: Buffer, at: Expr): string {
    const bound = this.#bound.get(b);
    return `(${bound ? this.#index(b, bound, at) : this.text.expr(at)}) >> 2u`;
  }

  // ---- addresses

  #inTile(b: Buffer, at: Expr): string {
    if (this.#tiles.get(b) === "variables" && at.kind === "num") return this.#variable(b, at.value);
    const index = this.text.expr(at);
    return this.#fourIn(b) && this.#tiles.get(b) === "workgroup" ? component(this.#tile(b), index, at) : `${this.#tile(b)}[${index}]`;
  }
  /** Index in the binding's array of the element at this offset. */
  #index(b: Buffer, at: Bound, index: Expr): string {
    const within = this.text.expr(index);
    if (!at.shared) return within;
    const place = this.text.place(b, at.binding);
    return within === "0" ? place : `${place} + ${within}`;
  }
  #wordIndex(b: Buffer, at: Bound, index: Expr, packed: Storage): string {
    const within = `(${this.text.expr(index)} >> ${perWord[packed] === 2 ? 1 : 2}u)`;
    return at.shared ? `${this.text.place(b, at.binding)} + ${within}` : within;
  }
  #bits(packed: Storage, value: string): string {
    return packed === "bool" ? `select(0u, 1u, ${value})` : `${this.text.helper(packed === "bf16" ? "m_bf16_bits" : "m_f16_bits")}(${value})`;
  }
}
/** The vec4 whose components these are, in order. */
function whole(values: readonly string[]): string | undefined {
  const name = values[0]?.replace(/\.x$/, "");
  return values.every((v, i) => v === `${name}.${"xyzw"[i]}`) ? name : undefined;
}
const word = (at: Bound, place: string): string => (at.element === "atomic<u32>" ? `atomicLoad(&${place})` : place);
/** An element of an array of vec4. */
const component = (name: string, index: string, at: Expr): string =>
  at.kind === "num" && index === String(at.value)
    ? `${name}[${Math.floor(at.value / 4)}].${"xyzw"[at.value % 4]}`
    : `${name}[(${index}) >> 2u][(${index}) & 3]`;

/** Tiles that constants alone index. */
function variables(kernel: Kernel, vectors: Vectors): ReadonlySet<Buffer> {
  const [found, other] = [new Set<Buffer>(), new Set<Buffer>()];
  const access = (b: Buffer, index: readonly Expr[], turn: (e: Expr) => readonly Expr[]) => {
    const whole = elements(b) <= MOST_VARIABLES && turn(offset(b, index)).every((at) => at.kind === "num" && at.value >= 0 && at.value < elements(b));
    (whole ? found : other).add(b);
  };
  const walk = (body: readonly Stmt[], turn: (e: Expr) => readonly Expr[]) => {
    for (const s of body) {
      for (const e of termsOf(exprsOf(s))) if (e.kind === "load") access(e.buffer, e.index, turn);
      if (s.s === "store" || s.s === "fetch") access(s.buffer, s.index, turn);
      if (s.s === "use") for (const p of s.places) access(p.buffer, p.index, turn);
      if (s.s === "for") walk(s.body, vectors.loops.has(s) ? (e) => Array.from({ length: LANES }, (_, i) => laneOf(e, s, i)) : turn);
      if (s.s === "if") {
        walk(s.then, turn);
        walk(s.otherwise, turn);
      }
      if (s.s === "use") walk(s.meaning, turn);
    }
  };
  walk(kernel.body, (e) => [e]);
  return new Set([...found].filter((b) => !other.has(b)));
}
