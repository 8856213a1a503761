// Rotary positions, rotate-half (Su 2021), written in the language: a view that swaps the halves, and one map. The
// formula's own axis names begin with $, so that they meet no axis of a caller.
import { AxisError, SizeError } from "../errors.js";
import { bounded } from "../label.js";
import { sizes } from "../leaves.js";
import { lift } from "../map.js";
import type { Node } from "../node.js";
import { agree, handle, intOf, need, realOf } from "../tensor.js";
import type { Axes, Int, Real, Tensor } from "../types.js";
import { renamed, view } from "../view.js";

type Of = { readonly $pair: number };
type Turn = { readonly x: number; readonly partner: number; readonly base: number; readonly sign: number };
const other = ({ $pair }: Of, { $pair: D }: Of) => ({ $pair: ($pair + D / 2) % D });
const turn = ({ x, partner, base, sign }: Turn, { $position, $pair }: Of & { readonly $position: number }, { $pair: D }: Of) => {
  const angle = $position * base ** ((-2 * ($pair % (D / 2))) / D);
  return x * Math.cos(angle) + ($pair < D / 2 ? -partner : partner) * (sign * Math.sin(angle));
};
const turnFrom = (
  { x, partner, base, sign, from }: Turn & { readonly from: number },
  { $position, $pair }: Of & { readonly $position: number },
  { $pair: D }: Of,
) => {
  const angle = (from + $position) * base ** ((-2 * ($pair % (D / 2))) / D);
  return x * Math.cos(angle) + ($pair < D / 2 ? -partner : partner) * (sign * Math.sin(angle));
};

/** Turns each pair (i, i + D/2) of axis `over` by position · base^(−2i/D): a map of norm 1, and marked so. Positions
 *  are the indices along `position`, plus the integer scalar `from` (decoding). `inverse` turns back. */
export function rope<A extends Axes, P extends keyof A & string, N extends keyof A & string>(
  x: Tensor<A, Real>,
  position: P,
  over: N,
  o: { base?: number; inverse?: boolean; from?: Int } = {},
): Tensor<A, "f32"> {
  const n = realOf(x, "rope: its first argument");
  need("rope", n, [position, over]);
  if ((position as string) === (over as string)) throw new AxisError(`rope: axis "${over}" is both position and pairs`);
  const d = n.axes[over];
  if (typeof d !== "number" || d % 2 !== 0)
    throw new SizeError(`rope: axis "${over}" has ${typeof d === "number" ? d : "an upTo number of"} elements; pairs need an even number`);
  const own: Node = renamed(n, { [position]: "$position", [over]: "$pair" });
  const mine: Tensor<{ $position: number; $pair: number }, Real> = handle(own);
  const partner: Node = handle(view(mine, sizes(mine, "$pair"), other));
  const captured = { base: o.base ?? 10000, sign: o.inverse ? -1 : 1 };
  const inputs = { x: own, partner };
  if (o.from) agree("rope", { x: own, from: intOf(o.from, "rope: from") });
  const turned = o.from ? lift({ ...inputs, from: intOf(o.from, "rope: from") }, turnFrom, captured) : lift(inputs, turn, captured);
  return bounded(handle(renamed(turned, { $position: position, $pair: over })), { linearIn: x, norm: 1 });
}
