// Differential attention (Ye 2024): two maps on the axis `half`
import { at, dot, formula, map, rms, scale } from "../../dsl/index.js";
import { causal } from "./05-causal.js";

export const differential = (l0: number) =>
  formula({ q: "half query dim", k: "half key dim", v: "key value", a: "dim", b: "dim", c: "dim", d: "dim" }, ({ q, k, v, a, b, c, d }) => {
    const o = causal({ q, k, v });
    const diff = map(
      { o1: at(o, { half: 0 }), o2: at(o, { half: 1 }), ab: dot(a, b, "dim"), cd: dot(c, d, "dim"), l0 },
      ({ o1, o2, ab, cd, l0 }) => o1 - (Math.exp(ab) - Math.exp(cd) + l0) * o2,
    );
    return scale(rms(diff, "value"), 1 - l0);
  });
