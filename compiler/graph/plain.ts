// The plain f32 evaluation: what an implementation without any art computes. The graph as the author wrote it runs on the
// oracle with every intermediate rounded to f32: each operation of a scalar body, each step of a fold or scan, each
// random draw. Its distance from f64 is what a target's own distance is measured by (design.md, Numerics).
//
// On a tensor of a few elements that distance may vanish by luck, and another order of the same sum be unlucky. So it can
// be sampled in other roundings too (random rounding: Vignes' CESTAC): with `salt` each inexact term is off by one more unit, up or
// down by the term's own bits. Multiples of 2^-12 stay what they are: they are exact in every order.

import * as build from "../../dsl/build.js";
import type { MonoidBody, Node } from "../../dsl/node.js";
import type { ScalarType } from "../../dsl/primitives.js";
import * as scalar from "../../dsl/scalar.js";
import { typesOf } from "../../dsl/scalar-type.js";
import { rebuild } from "./walk.js";

const real = (): ScalarType => "real";

const { arg, call, constant } = scalar;
/** t, a unit up or down. */
function nudged(t: scalar.Scalar, salt: number): scalar.Scalar {
  const scaled = call("mul", t, constant(4096));
  const parity = call("mod", call("floor", call("mul", call("abs", t), constant(2 ** 22 * (1 + salt / Math.E)))), constant(2));
  const off = call("mul", t, call("add", constant(1 - 2 ** -23), call("mul", parity, constant(2 ** -22))));
  return call("select", call("eq", scaled, call("floor", scaled)), t, off);
}
/** Every real term rounded; integers and truth values are exact as they are. */
export function rounded(body: scalar.Scalar, argType: (name: string) => ScalarType, salt = 0): scalar.Scalar {
  const types = typesOf([body], argType);
  const done = new Map<scalar.Scalar, scalar.Scalar>();
  for (const t of scalar.terms([body])) {
    const whole = types.get(t) !== "real";
    if (t.kind === "call") {
      const again = call(t.prim, ...t.args.map((a) => done.get(a) as scalar.Scalar));
      done.set(t, whole ? again : call("toF32", salt === 0 ? again : nudged(again, salt)));
    } else done.set(t, t.kind === "const" && typeof t.value === "number" && !whole ? constant(Math.fround(t.value)) : t);
  }
  return done.get(body) as scalar.Scalar;
}
const typeOfNode = (n: Node): ScalarType => (n.dtype === "bool" ? "bool" : n.dtype === "i32" ? "int" : "real");

function monoid(m: MonoidBody, salt: number): MonoidBody {
  if (m.combine.kind !== "scalar") throw new Error("the plain evaluation is of graphs that have been read");
  const at = Object.fromEntries(Object.entries(m.combine.at).map(([c, body]) => [c, rounded(body, real, salt)]));
  return { empty: m.empty, combine: { kind: "scalar", at } };
}

/** `roots` after the passes up to the gradients. */
export function plain(roots: readonly Node[], given = 0): readonly Node[] {
  let node = 0;
  return rebuild(roots, (n) => {
    // Another rounding at each node: equal values that were computed in two ways are not off by the same.
    const salt = given === 0 ? 0 : given + (++node % 97) / 97;
    switch (n.op) {
      case "map": {
        if (n.body.kind !== "scalar") throw new Error("the plain evaluation is of graphs that have been read");
        const types = new Map(n.names.map((name, i) => [name, typeOfNode(n.args[i] as Node)]));
        const body = rounded(n.body.body, (name) => types.get(name) ?? "real", salt);
        return build.map(Object.fromEntries(n.names.map((name, i) => [name, n.args[i] as Node])), { kind: "scalar", body }, n.dtype, n.axes);
      }
      case "fold":
      case "scan": {
        const xs = Object.fromEntries(Object.keys(n.monoid.empty).map((c, i) => [c, n.args[i] as Node]));
        return (n.op === "fold" ? build.fold(xs, monoid(n.monoid, salt), n.over) : build.scan(xs, monoid(n.monoid, salt), n.over, n))[
          n.field
        ] as Node;
      }
      case "random": {
        if (n.kind === "uniform") return n;
        // Box–Muller in f32: its angle, up to 2π, is off by half a unit of 2⁻²¹, and so is the cosine. (The graph has no
        // words of the generator to compute with: the error of that step stands for all of them.)
        const off = call("toF32", call("add", arg("x"), constant(2 ** -22)));
        return build.map({ x: n }, { kind: "scalar", body: off });
      }
      default:
        return n;
    }
  }).roots;
}
