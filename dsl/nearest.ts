// "Did you mean": the nearest of the names that there are to one that is not.

/** The word among others that was probably meant; undefined where none is near. */
export function closest(name: string, among: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = Math.floor(name.length / 3) + 1; // of one or two letters nothing can be guessed
  for (const other of among) {
    const d = distance(name, other);
    if (d < least) {
      least = d;
      best = other;
    }
  }
  return best;
}
/** Letters to insert, delete, replace, or swap with their neighbour. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number) => rows[i]?.[j] ?? 0;
  for (let i = 1; i <= a.length; i++) {
    rows.push([i]);
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Infinity;
      const d = Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1), swapped);
      rows[i]?.push(d);
    }
  }
  return at(a.length, b.length);
}
/** To stand before what a hint says; "" where no name is near. */
export function didYouMean(name: string, among: Iterable<string>): string {
  const near = closest(name, among);
  return near === undefined ? "" : `did you mean "${near}"? `;
}
