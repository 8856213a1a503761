// The bar that every target is held to (design.md, Numerics), tensor by tensor: the max-norm of the error is at most
// twice (three times for gradients) that of the plain f32 evaluation, plus 4ε·max|reference|. Infinities, NaN, integers
// and truth values are the same.
import type { DType } from "../../dsl/node.js";

const EPSILON = 2 ** -23;
export const TIMES = { output: 2, gradient: 3 } as const;

export interface Judged {
  /** Max-norms over the tensor: of the error, of what is allowed. */
  readonly error: number;
  readonly allowed: number;
  /** The element with the greatest error, or the first that differs where nothing may; −1: none. */
  readonly at: number;
  /** null: within the bar. */
  readonly fault: string | null;
}

/** `plainly`: the plain f32 evaluation, in one or several roundings (graph/plain.ts). `usual`: what max|reference| is at
 *  other sizes, where that is more: at some a gradient is exactly 0, as of attention to one key. */
export function judged(
  dtype: DType,
  got: ArrayLike<number>,
  exact: Float64Array,
  plainly: readonly Float64Array[],
  times: number,
  usual = 0,
): Judged {
  if (got.length !== exact.length) return { error: Number.NaN, allowed: 0, at: -1, fault: `${got.length} elements for ${exact.length}` };
  let [error, plainError, scale, worst] = [0, 0, usual, -1];
  for (const [i, e] of exact.entries()) {
    const g = got[i] as number;
    if (!Number.isFinite(e) || !Number.isFinite(g) || dtype === "i32" || dtype === "bool") {
      if (!Object.is(g + 0, e + 0)) return { error: Math.abs(g - e), allowed: 0, at: i, fault: `element ${i} is ${g}, the reference ${e}` };
      continue;
    }
    if (Math.abs(g - e) > error) {
      error = Math.abs(g - e);
      worst = i;
    }
    for (const p of plainly) plainError = Math.max(plainError, Math.abs((p[i] as number) - e));
    scale = Math.max(scale, Math.abs(e));
  }
  const allowed = times * plainError + 4 * EPSILON * scale;
  if (error <= allowed) return { error, allowed, at: worst, fault: null };
  const values = `element ${worst} is ${got[worst]}, the reference ${exact[worst]}, plain f32 ${plainly[0]?.[worst]}`;
  return { error, allowed, at: worst, fault: `${values}: error ${error.toExponential(2)} > ${allowed.toExponential(2)}` };
}
