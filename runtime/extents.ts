// Run-time extents, read off the arrays that a run is given: an input with one unknown axis tells its extent.
import { type Leaf, UpTo } from "../dsl/node.js";
import { DeviceError } from "./errors.js";

/** By UpTo id. `given`: what the caller states, by axis name, for what arrays do not tell. */
export function extentsOf(
  inputs: Readonly<Record<string, Leaf>>,
  arrays: Readonly<Record<string, ArrayLike<number>>>,
  wanted: readonly UpTo[],
  given: Readonly<Record<string, number>> = {},
): ReadonlyMap<number, number> {
  const known = new Map<number, number>();
  for (const leaf of Object.values(inputs))
    for (const [axis, e] of Object.entries(leaf.axes)) if (e instanceof UpTo && given[axis] !== undefined) known.set(e.id, given[axis]);
  for (const e of wanted) if (!known.has(e.id) && given[e.name] !== undefined) known.set(e.id, given[e.name] as number);
  for (let changed = true; changed; ) {
    changed = false;
    for (const [name, leaf] of Object.entries(inputs)) {
      const length = arrays[name]?.length;
      const unknown = [...new Set(Object.values(leaf.axes).filter((e) => e instanceof UpTo && !known.has(e.id)))] as UpTo[];
      const [e] = unknown;
      if (length === undefined || unknown.length !== 1 || !e) continue;
      const times = Object.values(leaf.axes).filter((x) => x === e).length;
      const rest = Object.values(leaf.axes).reduce<number>((n, x) => n * (x === e ? 1 : x instanceof UpTo ? (known.get(x.id) as number) : x), 1);
      if (rest === 0) continue;
      const extent = Math.round((length / rest) ** (1 / times));
      if (rest * extent ** times !== length) continue; // the device reports the length against the axes
      known.set(e.id, extent);
      changed = true;
    }
  }
  for (const e of wanted) {
    const got = known.get(e.id);
    if (got === undefined || !Number.isInteger(got) || got < 0 || got > e.max)
      throw new DeviceError({ kind: "Extent", axis: e.name, max: e.max, got });
  }
  return known;
}
