// Exponentials of pairs that fall below the least normal number are 0. Far from the diagonal of a score that decays (ALiBi,
// forget gates) most weights are denormal or nothing, and processors multiply denormal numbers many times slower than
// others. What is lost of a sum is less than 2^-126 a pair.
import { apply, type Expr, partsOf, real } from "../../lower/expr.js";
import { termsOf, withParts } from "../terms.js";
import { PAIR, type Shape } from "./shape.js";

/** exp of less is below 2^-126. */
const LEAST = -87.3365;

export function withoutDenormals(shape: Shape, roots: readonly Expr[]): readonly Expr[] {
  const done = new Map<Expr, Expr>();
  for (const e of termsOf(roots)) {
    const parts = partsOf(e);
    const now = parts.map((p) => done.get(p) as Expr);
    const same = now.every((p, i) => p === parts[i]) ? e : withParts(e, now);
    const weight = e.kind === "call" && e.prim === "exp" && (shape.reads(e) & PAIR) === PAIR;
    done.set(e, weight ? apply("select", "real", apply("lt", "bool", now[0] as Expr, real(LEAST)), real(0), same) : same);
  }
  return roots.map((r) => done.get(r) as Expr);
}
