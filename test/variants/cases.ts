// A variant as a case: its inputs and their values at given extents, its output, and the gradient of Σ output · cotangent with
// respect to every real input. `caseOf` takes any formula applied to inputs, `registered` a row of the registry, whose axes of
// length are all run-time extents: compiled once, it serves every shape.
import { type Extent, type Leaf, UpTo } from "../../dsl/node.js";
import { isNode } from "../../dsl/tensor.js";
import { type AnyTensor, type Axes, compileIn, grad, input, mul, type Scalar, type Session, sum, type Tensor, upTo } from "../../index.js";
import { type Example, type Variant, variants } from "../../models/attention/index.js";
import type { HostArray } from "../../runtime/device.js";
import { numbers } from "../graph/harness.js";
import { anything, DIM, type Extents, type Fill, type Setting, SPAN, settings, VALUE } from "./settings.js";

/** Values by input; `cotangent` weighs the output. */
export interface Data {
  readonly extents: Extents;
  readonly inputs: Readonly<Record<string, Float64Array>>;
  readonly cotangent: Float64Array;
}
/** The output under "out", the gradients under the inputs' names. */
export type Results = Readonly<Record<string, HostArray>>;
export interface Case {
  readonly inputs: Readonly<Record<string, Leaf>>;
  /** The output's axes, in the order of its array, and those of its cotangent. */
  readonly out: Leaf["axes"];
  /** The inputs that have a gradient. */
  readonly real: readonly string[];
  draw(e: Extents, seed: number): Data;
  compile(session: Session): Promise<Compiled>;
}
export interface Compiled extends Case {
  run(d: Data): Promise<Results>;
  [Symbol.dispose](): void;
}

/** The extents of the named axes; run-time extents bear the names of `Extents`' fields (`extentsOf`). */
export function shapeAt(axes: Leaf["axes"], e: Extents): Readonly<Record<string, number>> {
  const size = (x: Extent): number => (x instanceof UpTo ? e[x.name as keyof Extents] : x);
  return Object.fromEntries(Object.entries(axes).map(([a, x]) => [a, size(x)]));
}
const extentsOf = (s: Setting) => ({
  batch: upTo(s.batch, "batch"),
  rows: upTo(s.rows, "rows"),
  cols: s.extents === "keys" ? s.cols : upTo(s.cols, "cols"),
});
const count = (axes: Leaf["axes"], e: Extents): number => Object.values(shapeAt(axes, e)).reduce((n, x) => n * x, 1);
/** The registry knows inputs as tensors of some axes; a handle is a node. */
function leafOf(x: AnyTensor): Leaf {
  if (isNode(x) && x.op === "leaf") return x;
  throw new Error("an example's input is no input");
}

export function caseOf(made: Example, fills: Readonly<Record<string, Fill>> = {}): Case {
  const inputs = Object.fromEntries(Object.entries(made.inputs).map(([name, x]) => [name, leafOf(x)]));
  const real = Object.keys(inputs).filter((name) => inputs[name]?.dtype === "f32");
  // The checker knows no axis names of an example: its tensors are taken as of any axes, and their sum as a scalar.
  const out = made.out as Tensor<Axes>;
  const cotangent = input(out.axes);
  const axes = leafOf(cotangent).axes;
  const loss = sum(mul(out, cotangent), ...(Object.keys(axes) as [string])) as Tensor<Axes> as Scalar;
  const gradients = grad(loss, Object.fromEntries(real.map((name) => [name, made.inputs[name] as Tensor<Axes>])));
  const draw = (e: Extents, seed: number): Data => {
    const next = numbers(seed * 2654435761);
    for (let i = 0; i < 8; i++) next();
    const values = (name: string, l: Leaf) => Float64Array.from((fills[name] ?? anything)(next, count(l.axes, e), e));
    return {
      extents: e,
      inputs: Object.fromEntries(Object.entries(inputs).map(([name, l]) => [name, values(name, l)])),
      cotangent: Float64Array.from(anything(next, count(axes, e), e)),
    };
  };
  const one: Omit<Case, "compile"> = { inputs, out: axes, real, draw };
  const compile = async (session: Session): Promise<Compiled> => {
    const program = await compileIn(session, { ...made.inputs, cotangent }, { ...gradients, out });
    return {
      ...one,
      compile,
      run: async (d) => program.run({ ...d.inputs, cotangent: d.cotangent }, { ...d.extents }) as Promise<Results>, // every leaf has axes
      [Symbol.dispose]: () => program[Symbol.dispose](),
    };
  };
  return { ...one, compile };
}

export function variant(name: string): Variant {
  const found = variants.find((v) => v.name === name);
  if (!found) throw new Error(`no variant ${name}`);
  return found;
}
export function settingOf(name: string): Setting {
  const s = settings[name];
  if (!s) throw new Error(`variant ${name} has no setting: say in settings.ts how it is tested`);
  return s;
}
export function registered(name: string, s = settingOf(name)): Case {
  const { batch, rows, cols } = extentsOf(s);
  return caseOf(variant(name).example({ batch, head: s.head, time: rows, key: cols, dim: DIM, value: VALUE, span: SPAN, y: rows, x: cols }), s.fill);
}
