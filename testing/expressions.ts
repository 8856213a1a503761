// What a matcher is given, as an expression of named inputs: a record { inputs, out }, a formula, a model (its weights
// are inputs too, so that their gradients are seen), or a function of sizes that gives one of these.
import {
  type AnyTensor,
  ArgumentError,
  type Axes,
  type DType,
  type Expression,
  type ExtentsByName,
  input,
  type LogitModel,
  leavesOf,
  mapTree,
  type Spec,
  type Tensor,
  type Tree,
} from "../index.js";

export type AnyFormula = ((x: never) => unknown) & { readonly inputs: Readonly<Record<string, Spec>> };
export type Subject = Expression | AnyFormula | LogitModel;
export type Variant<S> = Subject | ((sizes: S) => Subject);

/** The extent of an axis that is not given. */
const USUAL = 4;

const isFormula = (x: unknown): x is AnyFormula => typeof x === "function" && "inputs" in x;
const isModel = (x: object): x is LogitModel => "params" in x && "apply" in x;

export const needsSizes = <S>(v: Variant<S>): v is (sizes: S) => Subject => typeof v === "function" && !isFormula(v);

export function expressionOf<S extends ExtentsByName>(variant: Variant<S>, sizes: S): Expression {
  const s = needsSizes(variant) ? variant(sizes) : variant;
  if (isFormula(s)) {
    const inputs = inputsOf(s.inputs, sizes);
    return { inputs, out: s(inputs as never) as Tree }; // what the formula's own inputs say, and what a formula gives
  }
  if (typeof s !== "object" || s === null) throw new ArgumentError("this is no expression", "a formula, a model, or { inputs, out }");
  if (!isModel(s)) return s;
  const params = s.params as Tree;
  const named: Record<string, AnyTensor> = {};
  const known: Record<string, number> = { ...sizes };
  const weights = mapTree(params, (w, path) => {
    const x = input(w.axes) as Tensor<Axes, "f32">;
    named[path.replaceAll("*", "all")] = x;
    Object.assign(known, w.axes);
    return x;
  });
  const inputs = inputsOf(s.inputs as Readonly<Record<string, Spec>>, known); // a model's inputs are specs
  for (const name of Object.keys(inputs))
    if (name in named) throw new ArgumentError(`the model has a weight and an input called "${name}"`, "call one of them otherwise");
  return { inputs: { ...named, ...inputs }, out: s.apply(weights as never, inputs as never) as Tree };
}
function inputsOf(specs: Readonly<Record<string, Spec>>, sizes: ExtentsByName): Readonly<Record<string, AnyTensor>> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => {
      const [text, dtype]: readonly [string, DType] = typeof spec === "string" ? [spec, "f32"] : [spec.spec, spec.dtype];
      const axes = text.split(/\s+/).filter((a) => a !== "");
      return [name, input(Object.fromEntries(axes.map((a) => [a, sizes[a] ?? USUAL])), dtype)];
    }),
  );
}
export const outputsOf = (e: Expression): readonly string[] => leavesOf(e.out).map((l) => l.path || "out");
