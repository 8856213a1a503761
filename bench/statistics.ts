// Figures from paired runs. On a machine that does other work too, a time by itself says little: what holds is the ratio
// of two systems that ran right after each other. Each pair gives one ratio; their median and range are what is reported.

/** The middle of the sorted values, or the mean of the two in the middle; NaN of none. */
export function median(xs: readonly number[]): number {
  const s = [...xs].sort((a, b) => a - b);
  const half = s.length >> 1;
  return s.length % 2 === 1 ? (s[half] as number) : s.length === 0 ? Number.NaN : ((s[half - 1] as number) + (s[half] as number)) / 2;
}

export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly pairs: number;
  /** 95 % interval of the median. */
  readonly interval: ReturnType<typeof medianInterval>;
}
/** Pair by pair: the first's figure in units of the second's. */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): Ratio {
  if (ours.length !== theirs.length || ours.length === 0) throw new Error(`${ours.length} figures cannot be paired with ${theirs.length}`);
  const ratios = ours.map((x, i) => x / (theirs[i] as number));
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios), pairs: ratios.length, interval: medianInterval(ratios) };
}

/** The 95 % interval of the median that needs no assumption about the figures (the sign test's): of n sorted values the
 *  k-th from either end, where fewer than k of n fair coins fall on one side with probability 2.5 % at most. Null for
 *  fewer than six values, which give none. */
export function medianInterval(xs: readonly number[]): { readonly low: number; readonly high: number } | null {
  const s = [...xs].sort((a, b) => a - b);
  const n = s.length;
  let below = 0;
  let k = 0;
  for (let coins = 0.5 ** n; below + coins <= 0.025; coins *= (n - k + 1) / k) {
    below += coins;
    k++;
  }
  return k === 0 ? null : { low: s[k - 1] as number, high: s[n - k] as number };
}

/** The order in which `count` systems take their turns in a round: each goes first in turn, and neighbours change
 *  sides, so that nobody always runs after the same one. */
export function turns(count: number, round: number): readonly number[] {
  const order = Array.from({ length: count }, (_, i) => (i + (round >> 1)) % count);
  return round % 2 === 0 ? order : order.reverse();
}

/** The exponent e of y = c·x^e that fits best in logarithms (least squares); NaN of fewer than two points. */
export function exponentOf(points: readonly (readonly [x: number, y: number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (of: 0 | 1) => logs.reduce((n, l) => n + l[of], 0) / logs.length;
  const [x, y] = [mean(0), mean(1)];
  const spread = logs.reduce((n, l) => n + (l[0] - x) ** 2, 0);
  return spread === 0 ? Number.NaN : logs.reduce((n, l) => n + (l[0] - x) * (l[1] - y), 0) / spread;
}
