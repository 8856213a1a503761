// How a plan's work divides among threads, counted and not measured. Each kernel's loops, as the C target schedules them,
// are followed for every thread without computing a value: what counts is every operation on reals and every access to
// memory that the thread would make. The division among threads is static, so the count is exact but for data: a condition on
// it (a mask by documents) counts as its costlier side, and where a loop's bounds depend on it null says that nothing is known.
//
// A loop whose variable bounds nothing below it is counted once and multiplied; others are followed turn by turn, and what
// a loop costs is remembered by the values that bound it.
import { evaluate, type Value } from "../../dsl/primitives.js";
import { exprsOf, type For, type Stmt, statements, THREADS } from "../loop/ir.js";
import { scheduled } from "../loop/recipes/index.js";
import { namesOf, termsOf } from "../loop/terms.js";
import { walkOf } from "../lower/barriers.js";
import { type Buffer, type Expr, extentVar } from "../lower/expr.js";
import { touched } from "../lower/memory.js";
import type { Nest } from "../lower/nest.js";
import type { Plan } from "../plan.js";
import { cLimits } from "../targets/c/limits.js";
import { kernelsIn } from "./kernels.js";

/** Operations and accesses of all threads together, and of the one that has most. */
export interface Share {
  readonly threads: number;
  readonly total: number;
  readonly most: number;
}
/** The nests between two barriers: a thread goes from one to the next without waiting. */
export interface KernelScaling {
  readonly nests: readonly string[];
  readonly forms: readonly Nest["form"][];
  /** How often a run passes it. */
  readonly times: number;
  /** How many threads have anything to do in the nest that divides finest, of the most that were asked for; 0: it depends on
   *  data. */
  readonly units: number;
  /** Barriers inside the nests, of one passing. */
  readonly inner: number;
  /** By the asked numbers of threads, of one passing; null: it depends on data. */
  readonly shares: readonly Share[] | null;
}
export interface Scaling {
  readonly threads: readonly number[];
  /** Barriers that every thread meets in a run, those inside kernels included. */
  readonly barriers: number;
  readonly kernels: readonly KernelScaling[];
  /** Of a run: kernels of which nothing is known are left out. `most`: of each kernel the thread that has most, added up. */
  readonly shares: readonly Share[];
}
export function scalingOf(plan: Plan, threads: readonly number[]): Scaling {
  const counters = new Map<Nest, Counter>();
  const kernels = kernelsIn(plan).map(({ nests, times }): KernelScaling => {
    const all = nests.map((n) => {
      const known = counters.get(n) ?? new Counter(n, plan);
      counters.set(n, known);
      return known;
    });
    let units = 0;
    const at = (t: number): Share | null => {
      const each = all.map((c) => c.byThread(t));
      if (!each.every((x) => x !== null)) return null;
      for (const x of each) units = Math.max(units, x.filter((n) => n > 0).length);
      const sums = Array.from({ length: t }, (_, i) => each.reduce((n, x) => n + (x[i] as number), 0));
      return { threads: t, total: sums.reduce((a, b) => a + b, 0), most: Math.max(...sums) };
    };
    const shares = threads.map(at);
    return {
      nests: nests.map((n) => n.name),
      forms: nests.map((n) => n.form),
      times,
      units,
      inner: all.reduce((n, c) => n + c.barriers, 0),
      shares: shares.every((s) => s !== null) ? shares : null,
    };
  });
  const known = kernels.flatMap((k) => (k.shares ? [{ times: k.times, shares: k.shares }] : []));
  return {
    threads,
    barriers: barriersIn(plan) + kernels.reduce((n, k) => n + k.times * k.inner, 0),
    kernels,
    shares: threads.map((t, i) => ({
      threads: t,
      total: known.reduce((n, k) => n + k.times * (k.shares[i] as Share).total, 0),
      most: known.reduce((n, k) => n + k.times * (k.shares[i] as Share).most, 0),
    })),
  };
}

function barriersIn(plan: Plan): number {
  let [count, times] = [0, 1];
  for (const e of walkOf(plan, touched)) {
    if (e.at === "barrier") count += times;
    else if (e.at === "enter") times *= e.loop.count;
    else if (e.at === "leave") times /= e.loop.count;
  }
  return count;
}

/** A bound that no number is known for. */
class Unknown extends Error {}
/** Values by name, and what memory of the kernel's own holds, by buffer and place. */
type Env = Map<string, Value>;
const cell = (b: Buffer, at: readonly (Value | undefined)[]): string | undefined =>
  at.every((i) => i !== undefined) ? `${b.id}[${at.join()}]` : undefined;

/** What bounds, conditions, and definitions of these depend on: names, and memory that the kernel allocates itself. */
interface Bounding {
  readonly names: ReadonlySet<string>;
  readonly buffers: ReadonlySet<Buffer>;
}
/** What one turn of a loop depends on; null: it must be followed each time, since what it leaves behind is read elsewhere. */
interface Remembered {
  readonly names: readonly string[];
  readonly costs: Map<string, number>;
}

class Counter {
  readonly #body: readonly Stmt[];
  readonly #bounding: Bounding;
  readonly #extents: readonly (readonly [string, number])[];
  readonly #costs = new Map<Stmt, number>();
  readonly #known = new Map<For, Remembered | null>();
  readonly barriers: number;

  constructor(nest: Nest, plan: Plan) {
    this.#body = scheduled(nest, cLimits).body;
    this.#bounding = boundingIn(this.#body);
    this.#extents = plan.extents.flatMap((e) => {
      const v = extentVar(e);
      return v.kind === "var" ? [[v.name, e.max] as const] : [];
    });
    this.barriers = statements(this.#body).filter((s) => s.s === "barrier").length;
  }

  /** Null: bounds depend on data, or on a turn of an enclosing loop. */
  byThread(threads: number): readonly number[] | null {
    try {
      return Array.from({ length: threads }, (_, t) => this.#count(this.#body, this.#start(threads), t));
    } catch (e) {
      if (e instanceof Unknown) return null;
      throw e;
    }
  }
  #start(threads: number): Env {
    return new Map<string, Value>([...this.#extents, [THREADS, threads]]);
  }

  #count(body: readonly Stmt[], env: Env, t: number): number {
    let n = 0;
    for (const s of body) n += this.#one(s, env, t);
    return n;
  }
  #one(s: Stmt, env: Env, t: number): number {
    switch (s.s) {
      case "for":
        return this.#loop(s, env, t);
      case "let":
      case "var":
      case "set":
        if (this.#bounding.names.has(s.name)) keep(env, s.name, value(s.value, env));
        return this.#cost(s);
      case "store":
        if (this.#bounding.buffers.has(s.buffer))
          keep(
            env,
            cell(
              s.buffer,
              s.index.map((e) => value(e, env)),
            ),
            value(s.value, env),
          );
        return this.#cost(s);
      case "if": {
        const c = value(s.cond, env);
        if (c === undefined) return Math.max(this.#count(s.then, env, t), this.#count(s.otherwise, env, t));
        return this.#count(c ? s.then : s.otherwise, env, t);
      }
      case "use":
        return this.#count(s.meaning, env, t);
      case "alloc":
      case "fetch":
      case "barrier":
        return 0;
    }
  }
  #loop(l: For, env: Env, t: number): number {
    const [from, to] = [whole(l.from, env), whole(l.to, env)];
    const trips = Math.max(0, Math.ceil((to - from) / l.step));
    // A thread's share as the C target divides it: the turns [⌊trips·t/T⌋, ⌊trips·(t+1)/T⌋).
    const threads = Number(env.get(THREADS));
    const [first, end] = l.bind === "thread" ? [Math.floor((trips * t) / threads), Math.floor((trips * (t + 1)) / threads)] : [0, trips];
    if (end <= first) return 0;
    if (!this.#bounding.names.has(l.v)) return (end - first) * this.#remembered(l, env, t);
    let n = 0;
    for (let i = first; i < end; i++) {
      env.set(l.v, from + i * l.step);
      n += this.#remembered(l, env, t);
    }
    return n;
  }
  /** One turn. */
  #remembered(l: For, env: Env, t: number): number {
    let known = this.#known.get(l);
    if (known === undefined) {
      known = this.#dependence(l);
      this.#known.set(l, known);
    }
    if (known === null) return this.#count(l.body, env, t);
    const key = known.names.map((n) => (n === "" ? t : env.get(n))).join();
    let cost = known.costs.get(key);
    if (cost === undefined) {
      cost = this.#count(l.body, env, t);
      known.costs.set(key, cost);
    }
    return cost;
  }
  #dependence(l: For): Remembered | null {
    const inside = statements(l.body);
    const own = new Set(inside.flatMap((s) => (s.s === "let" || s.s === "var" ? [s.name] : s.s === "for" ? [s.v] : [])));
    const stored = new Set(inside.flatMap((s) => (s.s === "store" && this.#bounding.buffers.has(s.buffer) ? [s.buffer] : [])));
    const within = new Set(inside);
    const elsewhere = statements(this.#body).filter((s) => !within.has(s));
    const leaves = inside.some((s) => s.s === "set" && this.#bounding.names.has(s.name) && !own.has(s.name));
    const reads = (s: Stmt) => exprsOf(s).flatMap((e) => [...loadedIn(e)]);
    const takes = inside.some((s) => reads(s).some((b) => this.#bounding.buffers.has(b) && !stored.has(b)));
    if (leaves || takes || elsewhere.some((s) => reads(s).some((b) => stored.has(b)))) return null;
    const names = new Set(inside.flatMap((s) => [...namesOf(...this.#followed(s))]));
    const threads = inside.some((s) => s.s === "for" && s.bind === "thread") ? [""] : [];
    return { names: [...threads, ...[...names].filter((n) => this.#bounding.names.has(n) && !own.has(n))], costs: new Map() };
  }
  /** The expressions of a statement that decide what is counted. */
  #followed(s: Stmt): readonly Expr[] {
    switch (s.s) {
      case "for":
        return [s.from, s.to];
      case "if":
        return [s.cond];
      case "let":
      case "var":
      case "set":
        return this.#bounding.names.has(s.name) ? [s.value] : [];
      case "store":
        return this.#bounding.buffers.has(s.buffer) ? [...s.index, s.value] : [];
      default:
        return [];
    }
  }
  /** Of the statement's own expressions: an fma is two operations. */
  #cost(s: Stmt): number {
    let n = this.#costs.get(s);
    if (n === undefined) {
      n = s.s === "store" ? 1 : 0;
      const real = s.s === "store" ? [s.value] : exprsOf(s);
      for (const e of termsOf(real)) {
        if (e.kind === "load" || e.kind === "random") n++;
        else if (e.kind === "call" && e.type === "real" && e.prim !== "toReal") n += e.prim === "fma" ? 2 : 1;
      }
      this.#costs.set(s, n);
    }
    return n;
  }
}

/** Only what is followed as numbers: sums of reals bound nothing, and a condition on them is decided either way. */
function boundingIn(body: readonly Stmt[]): Bounding {
  const all = statements(body);
  const own = new Set(all.flatMap((s) => (s.s === "alloc" ? [s.buffer] : [])));
  const names = new Set<string>();
  const buffers = new Set<Buffer>();
  const take = (...es: readonly Expr[]) => {
    for (const n of namesOf(...es)) names.add(n);
    for (const e of es) for (const b of loadedIn(e)) if (own.has(b)) buffers.add(b);
  };
  for (const s of all) {
    if (s.s === "for") take(s.from, s.to);
    if (s.s === "if" && !termsOf([s.cond]).some((e) => e.type === "real")) take(s.cond);
  }
  for (let before = -1; before !== names.size + buffers.size; ) {
    before = names.size + buffers.size;
    for (const s of all) {
      if ((s.s === "let" || s.s === "var" || s.s === "set") && names.has(s.name)) take(s.value);
      if (s.s === "store" && buffers.has(s.buffer)) take(s.value, ...s.index);
    }
  }
  return { names, buffers };
}
function loadedIn(e: Expr): ReadonlySet<Buffer> {
  return new Set(termsOf([e]).flatMap((x) => (x.kind === "load" ? [x.buffer] : [])));
}
function keep(env: Env, at: string | undefined, v: Value | undefined): void {
  if (at === undefined) throw new Unknown(); // memory that bounds are read from, at a place that nobody knows
  if (v === undefined) env.delete(at);
  else env.set(at, v);
}

/** Of integers and conditions; undefined where data or a value nobody bound is asked for. */
function value(root: Expr, env: Env): Value | undefined {
  const known = new Map<Expr, Value | undefined>();
  for (const e of termsOf([root])) {
    if (e.kind === "num") known.set(e, e.type === "bool" ? e.value !== 0 : e.value);
    else if (e.kind === "var" || e.kind === "local") known.set(e, env.get(e.name));
    else if (e.kind === "load")
      known.set(
        e,
        env.get(
          cell(
            e.buffer,
            e.index.map((i) => known.get(i)),
          ) ?? "",
        ),
      );
    else if (e.kind !== "call") known.set(e, undefined);
    else {
      const args = e.args.map((a) => known.get(a));
      known.set(e, e.prim === "select" && args[0] !== undefined ? (args[0] ? args[1] : args[2]) : applied(e, args));
    }
  }
  return known.get(root);
}
function applied(e: Extract<Expr, { kind: "call" }>, args: readonly (Value | undefined)[]): Value | undefined {
  if (e.prim === "and" && args.includes(false)) return false;
  if (e.prim === "or" && args.includes(true)) return true;
  if (!args.every((a) => a !== undefined)) return undefined;
  const [x, y] = args as readonly [number, number];
  if (e.prim === "idiv") return Math.floor(x / y);
  if (e.prim === "imod") return x - Math.floor(x / y) * y;
  return evaluate(e.prim, args);
}
function whole(e: Expr, env: Env): number {
  const v = value(e, env);
  if (typeof v !== "number") throw new Unknown();
  return v;
}
