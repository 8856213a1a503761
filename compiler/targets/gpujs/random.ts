// Random draws (dsl/random.ts) in a kernel, on i32: threefry needs only sums, rotations and exclusive ors. Written out where
// it is used, for a helper function of gpu.js would pass its words through f32. Sums wrap by `| 0`: i32 addition in
// `webasm`, ToInt32 of an exact sum in `cpu`.
import { labelWords, PARITY, ROTATIONS, ROUNDS } from "../../../dsl/random.js";
import type { Parts } from "./spelling.js";

type Words = readonly [string, string];

function threefry(p: Parts, [k0, k1]: Words, [c0, c1]: Words): Words {
  const keys = [k0, k1, p.int(`${PARITY} ^ ${k0} ^ ${k1}`)];
  const x0 = p.int(`(${c0} + ${k0}) | 0`);
  const x1 = p.int(`(${c1} + ${k1}) | 0`);
  for (let round = 0; round < ROUNDS; round++) {
    const r = ROTATIONS[round % 8] as number;
    p.line(`${x0} = (${x0} + ${x1}) | 0; ${x1} = ((${x1} << ${r}) | (${x1} >>> ${32 - r})) ^ ${x0};`);
    if (round % 4 !== 3) continue;
    const n = (round + 1) / 4;
    p.line(`${x0} = (${x0} + ${keys[n % 3]}) | 0; ${x1} = (${x1} + ${keys[(n + 1) % 3]} + ${n}) | 0;`);
  }
  return [x0, x1];
}

/** The name of a draw's value. `extend` and `counter` are names of ints. */
export function drawn(p: Parts, kind: "uniform" | "normal", key: string, extend: readonly string[], counter: string): string {
  const label = labelWords(key);
  let words: Words = [p.int(String(label[0] | 0)), p.int(String(label[1] | 0))];
  extend.forEach((e, position) => {
    words = threefry(p, words, [e, p.int(String(position))]);
  });
  const [x0, x1] = threefry(p, words, [counter, p.int(`${counter} >> 31`)]);
  const top = (x: string) => p.int(`${x} >>> 8`);
  const scale = p.real(String(2 ** -24));
  if (kind === "uniform") return p.real(`${top(x0)} * ${scale}`);
  const u = p.real(`${p.int(`${top(x0)} + 1`)} * ${scale}`);
  const v = p.real(`${top(x1)} * ${scale}`);
  const log = p.real(`Math.log(${u})`);
  const radius = p.real(`Math.sqrt(${p.real(`-2.0 * ${log}`)})`);
  const cos = p.real(`Math.cos(${p.real(`${v} * ${Math.fround(2 * Math.PI)}`)})`);
  return p.real(`${radius} * ${cos}`);
}
