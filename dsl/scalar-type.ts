// Types of scalar expressions: `int` where a value is provably whole (indices, sizes, i32 inputs and + − * of those),
// `bool` for conditions, `real` otherwise. The rule of each primitive is in its row.
import { primitives, type ScalarType } from "./primitives.js";
import { type Scalar, terms } from "./scalar.js";

/** The types of every term below the roots. An argument has the type that `argType` says. A constant that is whole and
 *  in i32's range is an int, but for −0, which only a real can hold. */
export function typesOf(roots: readonly Scalar[], argType: (name: string) => ScalarType): ReadonlyMap<Scalar, ScalarType> {
  const types = new Map<Scalar, ScalarType>();
  for (const t of terms(roots)) types.set(t, typeAt(t, types, argType));
  return types;
}
export const typeOf = (root: Scalar, argType: (name: string) => ScalarType): ScalarType => typesOf([root], argType).get(root) as ScalarType;

function typeAt(t: Scalar, types: ReadonlyMap<Scalar, ScalarType>, argType: (name: string) => ScalarType): ScalarType {
  switch (t.kind) {
    case "const":
      return typeof t.value === "boolean" ? "bool" : Object.is(t.value, t.value | 0) ? "int" : "real";
    case "arg":
      return argType(t.name);
    case "index":
    case "size":
      return "int";
    case "call":
      return primitives[t.prim].type(t.args.map((a) => types.get(a) as ScalarType));
  }
}
