// Compiles scalar expressions to JavaScript functions, in f64: the meaning that every other evaluation is compared
// with. One function for several roots, with one local variable a term, so that what they share is computed once; each
// primitive is its table row's own function, which the engine inlines.
import { evaluate, primitives, type Value } from "./primitives.js";
import { type Scalar, terms } from "./scalar.js";

/** Where a compiled function finds its leaves: position in each of its three arguments. */
export interface Layout {
  readonly args: readonly string[];
  readonly indices: readonly string[];
  readonly sizes: readonly string[];
}
/** `out` is filled and returned; without it a new array is made. */
export type CompiledScalars = (args: ArrayLike<Value>, indices: ArrayLike<number>, sizes: ArrayLike<number>, out?: Value[]) => Value[];

const literal = (v: Value) => (Object.is(v, -0) ? "-0" : String(v));

function position(names: readonly string[], name: string, what: string): number {
  const i = names.indexOf(name);
  if (i < 0) throw new Error(`scalar evaluation: no ${what} "${name}" among ${JSON.stringify(names)}`);
  return i;
}

export function compileScalars(roots: readonly Scalar[], layout: Layout): CompiledScalars {
  const order = terms(roots);
  const spelled = new Map<Scalar, string>();
  const used = new Set<string>();
  const lines: string[] = [];
  for (const t of order) {
    switch (t.kind) {
      case "const":
        spelled.set(t, literal(t.value));
        break;
      case "arg":
        spelled.set(t, `args[${position(layout.args, t.name, "argument")}]`);
        break;
      case "index":
        spelled.set(t, `indices[${position(layout.indices, t.axis, "index")}]`);
        break;
      case "size":
        spelled.set(t, `sizes[${position(layout.sizes, t.axis, "size")}]`);
        break;
      case "call": {
        used.add(t.prim);
        const name = `t${lines.length}`;
        lines.push(`const ${name} = f_${t.prim}(${t.args.map((a) => spelled.get(a)).join(", ")});`);
        spelled.set(t, name);
      }
    }
  }
  const source = [
    ...[...used].map((p) => `const f_${p} = primitives.${p}.value;`),
    "return (args, indices, sizes, out = []) => {",
    ...lines,
    ...roots.map((r, i) => `out[${i}] = ${spelled.get(r)};`),
    "return out; }",
  ].join("\n");
  return new Function("primitives", source)(primitives) as CompiledScalars; // the text above is such a function
}

/** One expression, positional. */
export function compileScalar(root: Scalar, layout: Layout): (args: ArrayLike<Value>, indices: ArrayLike<number>, sizes: ArrayLike<number>) => Value {
  const all = compileScalars([root], layout);
  const out: Value[] = [];
  return (args, indices, sizes) => all(args, indices, sizes, out)[0] as Value;
}

/** Leaves by name. */
export interface Env {
  readonly args?: Readonly<Record<string, Value>>;
  readonly indices?: Readonly<Record<string, number>>;
  readonly sizes?: Readonly<Record<string, number>>;
}
/** One value, without compiling: for constants, tests and messages. */
export function evalScalar(root: Scalar, env: Env = {}): Value {
  const values = new Map<Scalar, Value>();
  for (const t of terms([root]))
    values.set(
      t,
      t.kind === "call"
        ? evaluate(
            t.prim,
            t.args.map((a) => values.get(a) as Value),
          )
        : leaf(t, env),
    );
  return values.get(root) as Value;
}
function leaf(t: Exclude<Scalar, { kind: "call" }>, env: Env): Value {
  if (t.kind === "const") return t.value;
  const [from, name] = t.kind === "arg" ? [env.args, t.name] : t.kind === "index" ? [env.indices, t.axis] : [env.sizes, t.axis];
  const v = from?.[name];
  if (v === undefined) throw new Error(`scalar evaluation: no ${t.kind} "${name}"`);
  return v;
}
