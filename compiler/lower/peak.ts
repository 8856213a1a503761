// What a plan's arena holds where most of it is needed at once.
import type { Plan } from "../plan.js";
import type { Buffer } from "./expr.js";
import { livesOf, needed } from "./lives.js";
import type { Nest } from "./nest.js";

export interface Peak {
  /** Needed at once: no arena can be smaller. */
  readonly bytes: number;
  /** The first nest of the kernel in which they are; null where there are no temporaries. */
  readonly at: Nest | null;
  /** What is needed of each buffer there, the most first. */
  readonly held: readonly { readonly buffer: Buffer; readonly bytes: number }[];
}

export function peakOf(plan: Pick<Plan, "steps">): Peak {
  const lives = livesOf(plan.steps);
  const all = needed(lives);
  const bytes = Math.max(0, ...all);
  const time = all.indexOf(bytes);
  const held = lives.lives
    .map(({ buffer, pieces }) => ({
      buffer,
      bytes: pieces.reduce((n, p) => n + (p.spans.some((s) => s.first <= time && time <= s.last) ? p.to - p.from : 0), 0),
    }))
    .filter((h) => h.bytes > 0)
    .sort((a, b) => b.bytes - a.bytes);
  return { bytes, at: lives.nestAt.get(time) ?? null, held };
}
