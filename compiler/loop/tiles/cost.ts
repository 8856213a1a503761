// What a term costs where it stands, in rough vector operations: whether a value is worth a place in memory, or is made
// again where it is read. Address arithmetic and comparisons of indices cost next to nothing.
import { type Expr, partsOf } from "../../lower/expr.js";
import { coefficient, offset, termsOf } from "../terms.js";

const dear = new Set(["div", "sqrt", "recip0", "fma", "floor", "ceil", "round", "trunc", "mod"]);
const cheap = new Set(["add", "sub", "mul", "neg", "abs", "min", "max", "select", "toReal", "toF32", "sign", "toI32", "toBool"]);

/** Of a term, each part once. `along`: the variable that vectors run along, so that loads which do not advance with it by
 *  one are dear. */
export function cost(root: Expr, along?: string): number {
  return termsOf([root]).reduce((n, e) => n + own(e, along), 0);
}
function own(e: Expr, along: string | undefined): number {
  switch (e.kind) {
    case "num":
    case "var":
    case "local":
      return 0;
    case "random":
      return 60;
    case "load": {
      const step = along === undefined ? 1 : coefficient(offset(e.buffer, e.index), along);
      const converted = e.buffer.dtype === "bf16" || e.buffer.dtype === "f16" || e.buffer.dtype === "f64";
      return (e.inside ? 4 : 0) + (converted ? 3 : 0) + (step === 0 || step === 1 ? 1 : 8);
    }
    case "call": {
      if (e.type === "bool") return partsOf(e).some((p) => p.type === "real") ? 1 : 0.5;
      if (e.type === "int") return e.prim === "idiv" || e.prim === "imod" || e.prim === "mod" ? 8 : e.prim === "mul" ? 0.5 : 0.25;
      return cheap.has(e.prim) ? 1 : dear.has(e.prim) ? 6 : 20;
    }
  }
}
