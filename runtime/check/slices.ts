// Norms of slices of a weight in f64: one for each index of the axes by which its rate differs (a head's matrix), rows the
// axes it maps from, columns those it maps to.

export interface Slices {
  readonly count: number;
  readonly rows: number;
  readonly columns: number;
  /** Of each element, in the array's order: its slice, and its place row · columns + column there. */
  readonly slice: Int32Array;
  readonly place: Int32Array;
}
/** `columns`: the axes that are columns, of those that are not `apart`. */
export function slicesOf(axes: Readonly<Record<string, number>>, apart: readonly string[], columns: readonly string[]): Slices {
  const names = Object.keys(axes);
  const size = (of: readonly string[]) => of.reduce((p, a) => p * (axes[a] as number), 1);
  const across = names.filter((a) => columns.includes(a) && !apart.includes(a));
  const down = names.filter((a) => !columns.includes(a) && !apart.includes(a));
  const total = size(names);
  const [slice, place] = [new Int32Array(total), new Int32Array(total)];
  const at = new Map<string, number>();
  const number = (of: readonly string[]) => of.reduce((p, a) => p * (axes[a] as number) + (at.get(a) as number), 0);
  for (let i = 0; i < total; i++) {
    let rest = i;
    for (const a of [...names].reverse()) {
      at.set(a, rest % (axes[a] as number));
      rest = Math.floor(rest / (axes[a] as number));
    }
    slice[i] = number(apart);
    place[i] = number(down) * size(across) + number(across);
  }
  return { count: size(apart), rows: size(down), columns: size(across), slice, place };
}
/** The norms of the slices of the weight at `data[offset…]`. */
export function sliceNorms(s: Slices, data: ArrayLike<number>, offset: number, norm: "frobenius" | "spectral"): Float64Array {
  const out = new Float64Array(s.count);
  if (norm === "frobenius" || s.rows === 1 || s.columns === 1) {
    // Scaled by the greatest entry: squares of very small and very large numbers leave the range of f64.
    const most = new Float64Array(s.count);
    for (let i = 0; i < s.slice.length; i++) {
      const k = s.slice[i] as number;
      most[k] = Math.max(most[k] as number, Math.abs(data[offset + i] as number));
    }
    for (let i = 0; i < s.slice.length; i++) {
      const k = s.slice[i] as number;
      if (most[k] !== 0) out[k] = (out[k] as number) + ((data[offset + i] as number) / (most[k] as number)) ** 2;
    }
    return out.map((sum, k) => Math.sqrt(sum) * (most[k] as number));
  }
  const matrices = Array.from({ length: s.count }, () => new Float64Array(s.rows * s.columns));
  for (let i = 0; i < s.slice.length; i++) (matrices[s.slice[i] as number] as Float64Array)[s.place[i] as number] = data[offset + i] as number;
  return out.map((_, k) => greatestSingularValue(matrices[k] as Float64Array, s.rows, s.columns));
}
/** One-sided Jacobi (Hestenes 1958): columns are rotated until all are orthogonal; the longest is the value. */
export function greatestSingularValue(matrix: Float64Array, rows: number, columns: number): number {
  const m = matrix.slice();
  const entry = (r: number, c: number) => m[r * columns + c] as number;
  const product = (p: number, q: number) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += entry(r, p) * entry(r, q);
    return sum;
  };
  for (let sweep = 0; sweep < 60; sweep++) {
    let turned = false;
    for (let p = 0; p < columns; p++)
      for (let q = p + 1; q < columns; q++) {
        const [a, b, c] = [product(p, p), product(q, q), product(p, q)];
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a * b)) continue;
        turned = true;
        const zeta = (b - a) / (2 * c);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cos = 1 / Math.hypot(1, t);
        for (let r = 0; r < rows; r++) {
          const [x, y] = [entry(r, p), entry(r, q)];
          m[r * columns + p] = cos * (x - t * y);
          m[r * columns + q] = cos * (t * x + y);
        }
      }
    if (!turned) break;
  }
  let most = 0;
  for (let c = 0; c < columns; c++) most = Math.max(most, product(c, c));
  return Math.sqrt(most);
}
