// Matrices as plain rows of f64, and the update rules as their papers write them: what the expressions are held to. Weights
// are [out, in], as PyTorch stores them. Nothing here comes from the project.

/** rows × columns, row by row. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly at: readonly number[];
}
export const matrix = (rows: number, cols: number, f: (r: number, c: number) => number): Matrix => ({
  rows,
  cols,
  at: Array.from({ length: rows * cols }, (_, k) => f(Math.floor(k / cols), k % cols)),
});
const get = (m: Matrix, r: number, c: number) => m.at[r * m.cols + c] as number;
export const zip = (f: (...x: number[]) => number, ...ms: Matrix[]): Matrix => {
  const [first] = ms as [Matrix];
  return { ...first, at: first.at.map((_, k) => f(...ms.map((m) => m.at[k] as number))) };
};
export const transpose = (m: Matrix): Matrix => matrix(m.cols, m.rows, (r, c) => get(m, c, r));
export const product = (a: Matrix, b: Matrix): Matrix =>
  matrix(a.rows, b.cols, (r, c) => {
    let s = 0;
    for (let k = 0; k < a.cols; k++) s += get(a, r, k) * get(b, k, c);
    return s;
  });
/** Some rows. */
export const rowsOf = (m: Matrix, from: number, count: number): Matrix => matrix(count, m.cols, (r, c) => get(m, from + r, c));
export const below = (...ms: Matrix[]): Matrix => ({
  rows: ms.reduce((n, m) => n + m.rows, 0),
  cols: (ms[0] as Matrix).cols,
  at: ms.flatMap((m) => m.at),
});
export const frobenius = (m: Matrix): number => Math.hypot(...m.at);
/** Singular values, by one-sided Jacobi rotations. */
export function singularValues(of: Matrix): readonly number[] {
  const m = of.rows < of.cols ? transpose(of) : of;
  const columns = Array.from({ length: m.cols }, (_, c) => Array.from({ length: m.rows }, (_, r) => get(m, r, c)));
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((s, x, i) => s + x * (b[i] as number), 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let p = 0; p < columns.length; p++)
      for (let q = p + 1; q < columns.length; q++) {
        const [a, b] = [columns[p], columns[q]] as [number[], number[]];
        const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
        if (Math.abs(ab) <= 1e-15 * Math.sqrt(aa * bb)) continue;
        off = Math.max(off, Math.abs(ab) / Math.sqrt(aa * bb));
        const zeta = (bb - aa) / (2 * ab);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const [c, s] = [1 / Math.sqrt(1 + t * t), t / Math.sqrt(1 + t * t)];
        for (let i = 0; i < a.length; i++) {
          const [x, y] = [a[i] as number, b[i] as number];
          a[i] = c * x - s * y;
          b[i] = s * x + c * y;
        }
      }
    if (off < 1e-14) break;
  }
  return columns.map((c) => Math.sqrt(dot(c, c))).sort((a, b) => b - a);
}
export const spectral = (m: Matrix): number => singularValues(m)[0] ?? 0;

// ── rules ────────────────────────────────────────────────────────────────────────────────────────────
/** A rule on one matrix. `lr` by row, since heads are blocks of rows. */
export interface Reference {
  step(w: Matrix, g: Matrix, lr: readonly number[], t: number): Matrix;
}
const move = (w: Matrix, lr: readonly number[], u: Matrix, decay: number): Matrix =>
  matrix(w.rows, w.cols, (r, c) => get(w, r, c) - (lr[r] as number) * (get(u, r, c) + decay * get(w, r, c)));
const zeros = (m: Matrix) => zip(() => 0, m);

/** torch.optim.SGD, its decay decoupled. */
export const sgd = (momentum: number, nesterov: boolean, decay: number): Reference => {
  let buffer: Matrix | undefined;
  return {
    step: (w, g, lr) => {
      buffer = buffer ? zip((m, g) => momentum * m + g, buffer, g) : g;
      return move(w, lr, nesterov ? zip((g, m) => g + momentum * m, g, buffer) : buffer, decay);
    },
  };
};
/** torch.optim.AdamW. */
export const adamw = (b1: number, b2: number, eps: number, decay: number): Reference => {
  let m: Matrix, v: Matrix;
  return {
    step: (w, g, lr, t) => {
      m = zip((m, g) => b1 * m + (1 - b1) * g, m ?? zeros(w), g);
      v = zip((v, g) => b2 * v + (1 - b2) * g * g, v ?? zeros(w), g);
      const [c1, c2] = [1 - b1 ** t, 1 - b2 ** t];
      return move(
        w,
        lr,
        zip((m, v) => m / c1 / (Math.sqrt(v / c2) + eps), m, v),
        decay,
      );
    },
  };
};
/** Chen 2023, algorithm 2. */
export const lion = (b1: number, b2: number, decay: number): Reference => {
  let m: Matrix;
  return {
    step: (w, g, lr) => {
      m ??= zeros(w);
      const c = zip((m, g) => Math.sign(b1 * m + (1 - b1) * g), m, g);
      m = zip((m, g) => b2 * m + (1 - b2) * g, m, g);
      return move(w, lr, c, decay);
    },
  };
};
export function newtonSchulz(u: Matrix, steps = 5): Matrix {
  const flip = u.rows > u.cols;
  const norm = frobenius(u) + 1e-7;
  let x = zip((v) => v / norm, flip ? transpose(u) : u);
  for (let i = 0; i < steps; i++) {
    const a = product(x, transpose(x));
    const b = zip((a, aa) => -4.775 * a + 2.0315 * aa, a, product(a, a));
    x = zip((x, bx) => 3.4445 * x + bx, x, product(b, x));
  }
  return flip ? transpose(x) : x;
}
/** `heads`: as many blocks of rows, each made orthogonal by itself. */
export const muon = (o: {
  momentum: number;
  nesterov: boolean;
  scale: (out: number, into: number) => number;
  decay: number;
  heads?: number;
}): Reference => {
  let m: Matrix;
  return {
    step: (w, g, lr) => {
      m = zip((m, g) => o.momentum * m + (1 - o.momentum) * g, m ?? zeros(w), g);
      const u = o.nesterov ? zip((m, g) => (1 - o.momentum) * g + o.momentum * m, m, g) : m;
      const heads = o.heads ?? 1;
      const each = w.rows / heads;
      const blocks = Array.from({ length: heads }, (_, h) => newtonSchulz(rowsOf(u, h * each, each)));
      const s = o.scale(each, w.cols);
      return move(
        w,
        lr,
        zip((x) => s * x, below(...blocks)),
        o.decay,
      );
    },
  };
};
/** Another rule's step for rate 1, cut down to D in a norm. */
export const clipped = (of: Reference, d: number, norm: (m: Matrix) => number): Reference => ({
  step: (w, g, lr, t) => {
    const next = of.step(w, g, lr, t);
    const n = norm(matrix(w.rows, w.cols, (r, c) => (lr[r] === 0 ? 0 : (get(next, r, c) - get(w, r, c)) / (lr[r] as number))));
    return n > d ? zip((a, b) => a + ((b - a) * d) / n, w, next) : next;
  },
});
export const paced = (of: Reference, factor: (t: number) => number): Reference => ({
  step: (w, g, lr, t) =>
    of.step(
      w,
      g,
      lr.map((x) => x * factor(t)),
      t,
    ),
});
