// "Did you mean": the nearest of some known names to one that is not known.

/** ` (did you mean "adamw"?)`, or "" where nothing is near. */
export function didYouMean(given: string, known: readonly string[]): string {
  const near = nearest(given, known);
  return near === null ? "" : ` (did you mean "${near}"?)`;
}

/** The known name with the fewest edits, where those are at most a third of its letters (one is always allowed). */
export function nearest(given: string, known: readonly string[]): string | null {
  const wanted = given.toLowerCase();
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const name of known) {
    const d = distance(wanted, name.toLowerCase());
    if (d < least && d <= Math.max(1, Math.ceil(name.length / 3))) {
      least = d;
      best = name;
    }
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours that lead from a to b. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) d = Math.min(d, rows[i - 2]![j - 2]! + 1);
      row.push(d);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
