// Subexpressions of indices and constants alone are tables, computed once in f64: rotary angles, decays, bucket numbers.
// Only what is dearer than a load is worth one. Equal tables are one buffer, whatever the loops are called.
import { evaluate } from "../../dsl/primitives.js";
import { apply, type Buffer, type BufferAxis, buffer, type Expr, int, load, partsOf, variable } from "./expr.js";
import { variables } from "./form.js";

const dear = new Set([
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "log10",
  "pow",
  "sin",
  "cos",
  "tan",
  "tanh",
  "sinh",
  "cosh",
  "asin",
  "acos",
  "atan",
  "atan2",
  "sqrt",
  "cbrt",
  "hypot",
  "div",
  "recip0",
]);
const LARGEST = 1 << 20;

export class Tables {
  readonly #known = new Map<string, Buffer>();
  get buffers(): readonly Buffer[] {
    return [...this.#known.values()];
  }

  /** Replaces the maximal tabulated subexpressions. `extents`: of the variables that may index a table. `fits`: whether
   *  a table over these variables is small enough; over the difference of two it always is. */
  rewrite(root: Expr, extents: ReadonlyMap<string, number>, fits: (vars: readonly string[]) => boolean = () => true): Expr {
    const pure = new Map<Expr, boolean>();
    const worth = new Map<Expr, boolean>();
    const scan = (e: Expr): void => {
      if (pure.has(e)) return;
      const parts = partsOf(e);
      parts.forEach(scan);
      const known = e.kind === "var" ? extents.has(e.name) : e.kind === "num" || e.kind === "call";
      pure.set(e, known && parts.every((p) => pure.get(p)));
      worth.set(e, (e.kind === "call" && e.type === "real" && dear.has(e.prim)) || parts.some((p) => worth.get(p)));
    };
    scan(root);
    const done = new Map<Expr, Expr>();
    const go = (e: Expr): Expr => {
      const known = done.get(e);
      if (known) return known;
      const out = (e.type === "real" && pure.get(e) && worth.get(e) && this.#table(e, extents, fits)) || rebuild(e, go);
      done.set(e, out);
      return out;
    };
    return go(root);
  }

  #table(e: Expr, extents: ReadonlyMap<string, number>, fits: (vars: readonly string[]) => boolean): Expr | undefined {
    const vars = [...variables(e)];
    const d = vars.length === 2 ? difference(e) : undefined;
    if (d) {
      // A function of i − j: a table over the differences, from the least.
      const [i, j] = d.args.map((x) => extents.get((x as { name: string }).name) as number) as [number, number];
      const apart = variable("difference");
      const shifted = apply("sub", "int", apart, int(j - 1));
      const made = this.#table(replaced(e, d, shifted), new Map([["difference", i + j - 1]]), () => true);
      return made?.kind === "load" ? load(made.buffer, [apply("add", "int", d, int(j - 1))]) : undefined;
    }
    if (!fits(vars)) return undefined;
    const sizes = vars.map((v) => extents.get(v) as number);
    const total = sizes.reduce((n, s) => n * s, 1);
    if (vars.length === 0 || total > LARGEST || total === 0) return undefined;
    const key = `${canonical(e, new Map(vars.map((v, i) => [v, i])))}|${sizes.join(",")}`;
    let table = this.#known.get(key);
    if (!table) {
      const axes: BufferAxis[] = vars.map((v, i) => ({ name: v.replace(/\d+$/, ""), extent: sizes[i] as number }));
      table = buffer(`table${this.#known.size}`, "f32", axes, "table", values(e, vars, sizes));
      this.#known.set(key, table);
    }
    return load(table, vars.map(variable));
  }
}

/** The one difference of two variables that all of an expression depends on them through. */
function difference(root: Expr): Extract<Expr, { kind: "call" }> | undefined {
  let found: Extract<Expr, { kind: "call" }> | undefined;
  const seen = new Set<Expr>();
  const todo = [root];
  for (let e = todo.pop(); e; e = todo.pop()) {
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.kind === "var") return undefined;
    if (e.kind !== "call" || e.prim !== "sub" || e.type !== "int" || !e.args.every((a) => a.kind === "var")) todo.push(...partsOf(e));
    else if (found && found !== e) return undefined;
    else found = e;
  }
  return found;
}
function replaced(root: Expr, what: Expr, by: Expr): Expr {
  const done = new Map<Expr, Expr>([[what, by]]);
  const go = (e: Expr): Expr => {
    const known = done.get(e);
    if (known) return known;
    const made = rebuild(e, go);
    done.set(e, made);
    return made;
  };
  return go(root);
}

/** The same expression over other parts. */
export function rebuild(e: Expr, go: (part: Expr) => Expr): Expr {
  switch (e.kind) {
    case "num":
    case "var":
    case "local":
      return e;
    case "load":
      return load(e.buffer, e.index.map(go), e.inside && go(e.inside));
    case "call":
      return apply(e.prim, e.type, ...e.args.map(go));
    case "random":
      return e;
  }
}

/** Text that is equal for expressions equal up to the names of variables. */
function canonical(e: Expr, position: ReadonlyMap<string, number>): string {
  switch (e.kind) {
    case "num":
      return `${e.type}${Object.is(e.value, -0) ? "-0" : e.value}`;
    case "var":
      return `$${position.get(e.name)}`;
    case "call":
      return `${e.prim}:${e.type}(${e.args.map((a) => canonical(a, position)).join(",")})`;
    default:
      throw new Error("a table holds indices and constants only");
  }
}

function values(e: Expr, vars: readonly string[], sizes: readonly number[]): Float64Array {
  const out = new Float64Array(sizes.reduce((n, s) => n * s, 1));
  const at = new Float64Array(vars.length);
  const value = evaluator(e, new Map(vars.map((v, k) => [v, k])));
  for (let i = 0; i < out.length; i++) {
    let rest = i;
    for (let k = vars.length - 1; k >= 0; k--) {
      at[k] = rest % (sizes[k] as number);
      rest = Math.floor(rest / (sizes[k] as number));
    }
    out[i] = Number(value(at));
  }
  return out;
}
type Evaluated = (at: Float64Array) => number | boolean;
/** Closures, made once and called for every element; `places` are the variables' among its indices. */
function evaluator(e: Expr, places: ReadonlyMap<string, number>): Evaluated {
  switch (e.kind) {
    case "num": {
      const constant = e.type === "bool" ? e.value !== 0 : e.value;
      return () => constant;
    }
    case "var": {
      const k = places.get(e.name) as number;
      return (at) => at[k] as number;
    }
    case "call": {
      const args = e.args.map((a) => evaluator(a, places));
      const [a, b] = args as [Evaluated, Evaluated];
      const { prim } = e;
      if (prim === "idiv") return (at) => Math.floor((a(at) as number) / (b(at) as number));
      if (prim === "imod")
        return (at) => {
          const [x, y] = [a(at) as number, b(at) as number];
          return x - Math.floor(x / y) * y;
        };
      return (at) =>
        evaluate(
          prim,
          args.map((f) => f(at)),
        );
    }
    default:
      throw new Error("a table holds indices and constants only");
  }
}
