// The loops of one tile: dots, then pass after pass the lanes of each row, what their folds make of the rows' states, and
// the sums and columns that take in what the lanes have stored.
import type { Stmt } from "../ir.js";
import { columnSums, dots, sums } from "./blocks.js";
import { chains, lanes } from "./lanes.js";
import { laneRanges } from "./mask.js";
import { rowValues, update } from "./states.js";
import { type Surroundings, Tile } from "./tile.js";
import type { TileWork } from "./work.js";

/** `full`: all of the tile's 64 lanes are there and inside the mask. */
export function tileLoops(s: Surroundings, work: TileWork, full: boolean): readonly Stmt[] {
  const ranges = full ? undefined : laneRanges(s.shape, s.over, s.rows);
  const t = new Tile(s, work, full, ranges);
  const steps = [lanes, update, chains, rowValues, sums, columnSums] as const;
  return [...(ranges?.loops ?? []), ...dots(t), ...work.passes.flatMap((p) => steps.flatMap((step) => step(t, p)))];
}
