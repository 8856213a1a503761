// Checks a kernel's loop IR: every name defined before it is used and of one type, conditions bool and bounds int,
// places with one index an axis and not provably outside their buffer, tiles used inside the scope that allocates
// them, and no barrier where threads may part ways. A failure is the compiler's defect, so it throws.
import { type Buffer, type Expr, elements, type Type } from "../lower/expr.js";
import { exprsOf, type Kernel, type Place, type Stmt, statements, THREADS } from "./ir.js";
import { type Interval, interval, namesOf, offset, termsOf } from "./terms.js";

interface Known {
  readonly type: Type;
  readonly mutable: boolean;
  /** Differs between the invocations that a barrier waits for. */
  readonly divergent: boolean;
}

/** `outer`: the run-time extents and loop counters of the plan; left out, any undefined variable counts as one. */
export function verifyKernel(kernel: Kernel, outer?: ReadonlyMap<string, Interval>): void {
  new Verifier(kernel, outer).run();
}

class Verifier {
  readonly #scope = new Map<string, Known>();
  readonly #ranges: Map<string, Interval>;
  readonly #tiles: ReadonlySet<Buffer>;
  readonly #live = new Set<Buffer>();
  #checked = new Set<Expr>();
  #divergence = 0;
  /** Conditions, and loops that may have no iteration, around the statement at hand: it may never run. */
  #doubt = 0;

  constructor(
    readonly kernel: Kernel,
    readonly outer: ReadonlyMap<string, Interval> | undefined,
  ) {
    this.#ranges = new Map(outer);
    this.#ranges.set(THREADS, { lo: 1, hi: 1024 });
    this.#tiles = new Set(statements(kernel.body).flatMap((s) => (s.s === "alloc" ? [s.buffer] : [])));
  }
  run() {
    this.#body(this.kernel.body);
  }
  #fail(what: string): never {
    throw new Error(`kernel ${this.kernel.name}: ${what}`);
  }
  #body(body: readonly Stmt[]) {
    const names: [string, Known | undefined][] = [];
    const tiles: Buffer[] = [];
    const define = (name: string, known: Known) => {
      names.push([name, this.#scope.get(name)]);
      this.#scope.set(name, known);
      // A name that is defined anew may stand for other values in terms already seen.
      this.#checked = new Set();
    };
    for (const s of body) {
      for (const e of exprsOf(s)) this.#term(e);
      switch (s.s) {
        case "let":
        case "var":
          define(s.name, { type: s.value.type, mutable: s.s === "var", divergent: this.#diverges(s.value) });
          if (s.value.type === "int" && s.s === "let") this.#ranges.set(s.name, interval(s.value, this.#ranges));
          else this.#ranges.delete(s.name);
          break;
        case "set": {
          const known = this.#scope.get(s.name);
          if (!known?.mutable) this.#fail(`${s.name} is set but is no variable`);
          if (known?.type !== s.value.type) this.#fail(`${s.name} is ${known?.type} and is set to a ${s.value.type}`);
          break;
        }
        case "alloc":
          this.#live.add(s.buffer);
          tiles.push(s.buffer);
          break;
        case "store":
        case "fetch":
          this.#place(s);
          break;
        case "use":
          for (const p of s.places) this.#place(p);
          for (const e of s.ints) if (e.type === "real") this.#fail(`${s.instruction} takes integers`);
          this.#body(s.meaning);
          break;
        case "barrier":
          if (this.#divergence > 0) this.#fail("a barrier that not all threads may reach");
          break;
        case "if": {
          if (s.cond.type !== "bool") this.#fail("a condition that is no condition");
          const parts = this.#diverges(s.cond) ? 1 : 0;
          this.#divergence += parts;
          this.#doubt++;
          this.#body(s.then);
          this.#body(s.otherwise);
          this.#doubt--;
          this.#divergence -= parts;
          break;
        }
        case "for": {
          if (s.from.type !== "int" || s.to.type !== "int" || !(s.step > 0)) this.#fail(`loop ${s.v} has no integer bounds`);
          const own = s.bind === "vector" || s.bind === "thread" || s.bind === "local";
          // Threads and invocations share workgroup loops; a loop that they walk differently keeps some of them away.
          const parts = s.bind === "vector" || this.#diverges(s.from) || this.#diverges(s.to) ? 1 : 0;
          const before = this.#scope.get(s.v);
          this.#scope.set(s.v, { type: "int", mutable: false, divergent: own || parts > 0 });
          this.#checked = new Set();
          const [from, to] = [interval(s.from, this.#ranges), interval(s.to, this.#ranges)];
          this.#ranges.set(s.v, { lo: from.lo, hi: Math.max(from.lo, to.hi - 1) });
          const empty = from.hi < to.lo ? 0 : 1;
          this.#divergence += parts;
          this.#doubt += empty;
          this.#body(s.body);
          this.#doubt -= empty;
          this.#divergence -= parts;
          if (before) this.#scope.set(s.v, before);
          else this.#scope.delete(s.v);
          this.#checked = new Set();
          break;
        }
      }
    }
    for (const [name, before] of names.reverse()) {
      if (before) this.#scope.set(name, before);
      else this.#scope.delete(name);
    }
    this.#checked = new Set();
    for (const b of tiles) this.#live.delete(b);
  }
  #diverges(e: Expr): boolean {
    return [...namesOf(e)].some((n) => this.#scope.get(n)?.divergent) || termsOf([e]).some((t) => t.kind === "load" && this.#tiles.has(t.buffer));
  }
  #term(root: Expr) {
    for (const e of termsOf([root])) {
      if (this.#checked.has(e)) continue;
      this.#checked.add(e);
      switch (e.kind) {
        case "var":
        case "local": {
          const known = this.#scope.get(e.name);
          if (known && known.type !== e.type) this.#fail(`${e.name} is ${known.type} and is read as ${e.type}`);
          const external = e.kind === "var" && (this.outer === undefined || this.outer.has(e.name) || e.name === THREADS);
          if (!known && !external) this.#fail(`${e.name} is not defined where it is used`);
          break;
        }
        case "load":
          if (e.inside && e.inside.type !== "bool") this.#fail(`the guard of a load of ${e.buffer.name} is no condition`);
          // A guarded address, or one a loop of no iterations would form, may be anywhere.
          this.#place(e, false);
          break;
        case "call": {
          const first = e.args[0] as Expr;
          if ((e.prim === "select" || e.prim === "not" || e.prim === "and" || e.prim === "or") && first.type !== "bool")
            this.#fail(`${e.prim} of a ${first.type}`);
          if ((e.prim === "idiv" || e.prim === "imod") && e.args.some((a) => a.type !== "int")) this.#fail(`${e.prim} of a real`);
          break;
        }
        case "num":
        case "random":
          break;
      }
    }
  }
  #place(p: Place, inBounds = true) {
    const { buffer, index } = p;
    if (index.length !== buffer.axes.length) this.#fail(`${buffer.name} has ${buffer.axes.length} axes and is addressed by ${index.length}`);
    if (this.#tiles.has(buffer) && !this.#live.has(buffer)) this.#fail(`tile ${buffer.name} is used outside the scope that allocates it`);
    for (const e of index) if (e.type !== "int") this.#fail(`${buffer.name} is addressed by a ${e.type}`);
    const at = interval(offset(buffer, index), this.#ranges);
    const n = elements(buffer);
    if (inBounds && this.#doubt === 0 && (at.lo >= n || at.hi < 0)) this.#fail(`a store into ${buffer.name} at ${at.lo} … ${at.hi} of ${n}`);
  }
}
