// What the functions of Math, Number and the global object are in primitives.
import { call, constant, type Scalar } from "../../dsl/scalar.js";
import { type Builtin, logical, numeric, type ScalarValue, type Value } from "./values.js";

/** `scalar` and `number` take an argument as such, or refuse it. */
export function applyBuiltin(
  b: Builtin,
  args: readonly Value[],
  scalar: (v: Value, i: number) => ScalarValue,
  number: (v: Value, i: number) => Scalar,
): Value {
  switch (b.form) {
    case "primitive":
      return numeric(call(b.prim, ...args.map(number)));
    case "variadic": {
      // min and max do not depend on the order or the grouping, to the bit.
      const [first, ...rest] = args.map(number);
      return numeric(first === undefined ? constant(b.empty) : rest.reduce((x, y) => call(b.prim, x, y), first));
    }
    case "isNaN": {
      const x = number(args[0] as Value, 0);
      return logical(call("ne", x, x));
    }
    case "isFinite":
      return logical(call("lt", call("abs", number(args[0] as Value, 0)), constant(Infinity)));
    case "Number":
    case "Boolean": {
      const v = scalar(args[0] as Value, 0);
      if (b.form === "Number") return v.type === "number" ? v : numeric(call("toReal", v.term));
      return v.type === "boolean" ? v : logical(call("toBool", v.term));
    }
  }
}
