// Where a plan's buffers lie: each in its segment, inputs, outputs and tables one after another, temporaries where the plan
// has them, at multiples of 256 bytes as bindings begin.
import type { Buffer } from "../../lower/expr.js";
import type { Plan } from "../../plan.js";
import type { Segment, WgslProgram } from "./program.js";
import { bytesIn } from "./storage.js";

export const ALIGN = 256;
const whole = (bytes: number) => Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);

export interface Places extends Pick<WgslProgram, "places" | "sizes"> {
  /** The state's buffers, and their paths. */
  readonly paths: ReadonlyMap<Buffer, string>;
}
export function placesOf(plan: Plan): Places {
  const places = new Map<Buffer, { readonly segment: Exclude<Segment, "state">; readonly offset: number; readonly bytes: number }>();
  const sizes = { arena: whole(plan.arenaBytes), input: 0, output: 0, table: 0 };
  const paths = new Map(Object.entries(plan.state).map(([path, b]) => [b, path]));
  for (const b of plan.buffers) {
    if (paths.has(b)) continue;
    if (b.role === "state") throw new Error(`state ${b.name} has no path`);
    const bytes = whole(bytesIn(b));
    if (b.role === "temp") {
      const offset = plan.offsets.get(b.id);
      if (offset === undefined) continue; // nothing is ever stored in it
      if (offset % ALIGN !== 0) throw new Error(`temporary ${b.name} lies at ${offset}: bindings begin at multiples of ${ALIGN}`);
      places.set(b, { segment: "arena", offset, bytes });
      sizes.arena = Math.max(sizes.arena, offset + bytes);
    } else {
      places.set(b, { segment: b.role, offset: sizes[b.role], bytes });
      sizes[b.role] += bytes;
    }
  }
  return { places, sizes, paths };
}
