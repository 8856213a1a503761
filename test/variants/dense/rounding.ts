// Roundings: what happens to a number after every operation of a dense form. `exact` is the reference, `single` the plain
// f32 evaluation. `either(seed)` is f32 too, but rounds each inexact result up or down by chance (random rounding: Vignes'
// CESTAC): another evaluation as good as the plain one, for tensors so small that the plain one may have no error by luck.
export type Rounding = (x: number) => number;

export const exact: Rounding = (x) => x;
export const single: Rounding = Math.fround;

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);
/** The f32 number on the other side of x. */
function beyond(nearest: number, x: number): number {
  float[0] = nearest;
  const away = x > nearest === nearest > 0; // from zero
  bits[0] = nearest === 0 ? (x > 0 ? 1 : -0x7fffffff) : (bits[0] as number) + (away ? 1 : -1);
  return float[0];
}
export function either(seed: number): Rounding {
  let state = seed | 0 || 1;
  return (x) => {
    const nearest = Math.fround(x);
    if (nearest === x || !Number.isFinite(nearest)) return nearest;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 64 ? nearest : beyond(nearest, x);
  };
}
