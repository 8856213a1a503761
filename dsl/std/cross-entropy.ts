// Cross-entropy from logits with z-loss; no probabilities are stored.
import * as build from "../build.js";
import { ArgumentError } from "../errors.js";
import { logSumExpOf } from "../fold.js";
import { lift } from "../map.js";
import { agree, handle, intOf, need, omit, realOf } from "../tensor.js";
import type { Axes, Drop, Real, Tensor } from "../types.js";

const loss = ({ lse, hit, z }: { lse: number; hit: number; z: number }) => lse - hit + z * lse * lse;
const plain = ({ lse, hit }: { lse: number; hit: number }) => lse - hit;

/** −log softmax(logits)[target], one value for each row; with `z`, plus z·lse² (PaLM's z-loss). */
export function crossEntropy<A extends Axes, N extends keyof A & string>(
  logits: Tensor<A, Real>,
  target: Tensor<Drop<A, N>, "i32">,
  over: N,
  o: { z?: number } = {},
): Tensor<Drop<A, N>, "f32"> {
  const x = realOf(logits, "crossEntropy: the logits");
  const t = intOf(target, "crossEntropy: the targets");
  need("crossEntropy", x, [over]);
  agree("crossEntropy", { logits: { ...x, axes: omit(x.axes, [over]) }, target: t });
  need(
    "crossEntropy: the targets",
    t,
    Object.keys(x.axes).filter((a) => a !== over),
  );
  const z = o.z ?? 0;
  if (!(z >= 0)) throw new ArgumentError(`crossEntropy: z is ${z}; a number of at least 0 is wanted`);
  const parts = { lse: logSumExpOf(x, [over]), hit: build.at(x, [over], [t]) };
  return handle(z === 0 ? lift(parts, plain) : lift(parts, loss, { z }));
}
