// Random scalar expressions over arguments x, y, z (numbers), p, q (booleans), indices i, j and a size n, with the
// constants and patterns that rewrites look for.
import fc from "fast-check";
import { type Primitive, primitiveNames, primitives } from "../../dsl/primitives.js";
import { arg, call, constant, index, type Scalar, size } from "../../dsl/scalar.js";
import { anyNumber } from "./generate.js";

/** The type of each parameter: what the row's name says. */
export function parametersOf(prim: Primitive): readonly ("number" | "boolean")[] {
  if (prim === "and" || prim === "or") return ["boolean", "boolean"];
  if (prim === "not") return ["boolean"];
  if (prim === "select") return ["boolean", "number", "number"];
  return Array.from({ length: primitives[prim].arity }, () => "number" as const);
}
const yields = (prim: Primitive) => (prim !== "select" && primitives[prim].type(["real", "real", "real"]) === "bool" ? "boolean" : "number");
const numeric = primitiveNames.filter((p) => yields(p) === "number");
const logical = primitiveNames.filter((p) => yields(p) === "boolean");

export const { number, boolean } = fc.letrec<{ number: Scalar; boolean: Scalar }>((tie) => {
  const applied = (prims: readonly Primitive[]) =>
    fc.constantFrom(...prims).chain((prim) => fc.tuple(...parametersOf(prim).map((t) => tie(t))).map((args) => call(prim, ...(args as Scalar[])))); // tie(t) is a Scalar's
  const common: readonly Primitive[] = ["neg", "add", "sub", "mul", "div", "pow", "select", "abs", "min", "max", "floor", "trunc"];
  return {
    number: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      { weight: 4, arbitrary: fc.constantFrom("x", "y", "z").map(arg) },
      { weight: 2, arbitrary: fc.constantFrom(index("i"), index("j"), size("n")) },
      { weight: 3, arbitrary: fc.constantFrom(0, -0, 1, -1, 2, Infinity, Number.NaN).map(constant) },
      { weight: 6, arbitrary: applied(common) },
      { weight: 3, arbitrary: applied(numeric) },
      // Equal parts, which some rewrites need.
      { weight: 2, arbitrary: fc.tuple(fc.constantFrom<Primitive>("sub", "min", "max", "add"), tie("number")).map(([p, a]) => call(p, a, a)) },
    ),
    boolean: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      { weight: 3, arbitrary: fc.constantFrom("p", "q").map(arg) },
      { weight: 2, arbitrary: fc.boolean().map(constant) },
      { weight: 6, arbitrary: applied(logical) },
      { weight: 2, arbitrary: fc.tuple(tie("boolean"), tie("boolean"), tie("boolean")).map(([c, a, b]) => call("select", c, a, b)) },
      { weight: 2, arbitrary: fc.tuple(fc.constantFrom<Primitive>("lt", "le", "eq", "ne"), tie("number")).map(([p, a]) => call(p, a, a)) },
    ),
  };
});

export interface Point {
  readonly args: { readonly x: number; readonly y: number; readonly z: number; readonly p: boolean; readonly q: boolean };
  readonly indices: { readonly i: number; readonly j: number };
  readonly sizes: { readonly n: number };
}
export const point: fc.Arbitrary<Point> = fc.record({
  args: fc.record({ x: anyNumber, y: anyNumber, z: anyNumber, p: fc.boolean(), q: fc.boolean() }),
  indices: fc.record({ i: fc.nat(5), j: fc.nat(5) }),
  sizes: fc.record({ n: fc.integer({ min: 1, max: 9 }) }),
});
