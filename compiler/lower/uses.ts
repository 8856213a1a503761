// Where a program touches its memory, nest by nest in their order, and what one turn of a loop leaves behind for nobody.
import { type Buffer, type Expr, maxOf } from "./expr.js";
import { bytesOf, type Touched, touched } from "./memory.js";
import type { Nest, Step } from "./nest.js";
import { Slices, valueAt } from "./slices.js";

export type LoopStep = Extract<Step, { step: "loop" }>;
export interface Use {
  readonly at: number;
  readonly nest: Nest;
  readonly reads: boolean;
  readonly writes: boolean;
}
/** A list of steps: the program's, or a loop's body. */
export interface List {
  readonly steps: readonly Step[];
  readonly loop: LoopStep | null;
  /** Loops around it, its own counted. */
  readonly depth: number;
  /** The positions of its nests, and of those in loops inside. */
  readonly first: number;
  readonly last: number;
}

export class Uses {
  readonly #io = new Map<Nest, Touched>();
  readonly #at = new Map<Nest, number>();
  readonly #of = new Map<Buffer, Use[]>();
  readonly #slices = new Slices();
  /** Outer before inner. */
  readonly lists: readonly List[];

  constructor(steps: readonly Step[]) {
    const lists: List[] = [];
    let at = 0;
    const walk = (list: readonly Step[], loop: LoopStep | null, depth: number): void => {
      const own = lists.push({ steps: list, loop, depth, first: at, last: at }) - 1;
      for (const s of list) {
        if (s.step === "loop") walk(s.body, s, depth + 1);
        else {
          const io = touched(s.nest);
          this.#io.set(s.nest, io);
          this.#at.set(s.nest, at);
          for (const b of new Set([...io.reads, ...io.writes])) {
            const use = { at, nest: s.nest, reads: io.reads.has(b), writes: io.writes.has(b) };
            const known = this.#of.get(b);
            if (known) known.push(use);
            else this.#of.set(b, [use]);
          }
          at++;
        }
      }
      lists[own] = { ...(lists[own] as List), last: at - 1 };
    };
    walk(steps, null, 0);
    this.lists = lists;
  }
  io(n: Nest): Touched {
    return this.#io.get(n) as Touched;
  }
  /** Undefined: it is no nest of the program. */
  at(n: Nest): number | undefined {
    return this.#at.get(n);
  }
  of(b: Buffer): readonly Use[] {
    return this.#of.get(b) ?? [];
  }
  /** In this list and the loops inside. */
  within(b: Buffer, l: List): readonly Use[] {
    return this.of(b).filter((u) => u.at >= l.first && u.at <= l.last);
  }

  /** Does nothing need what a turn of the list has in this buffer, once the turn's last use of it is over? */
  endsIn(b: Buffer, l: List): boolean {
    if (b.role !== "temp") return false;
    const inside = this.within(b, l);
    const [head] = inside;
    if (!head) return false;
    if (l.loop === null) return true;
    if (inside.length === this.of(b).length) return head.writes && !head.reads;
    // What an outer loop's turn begins with may be needed again in its next.
    return l.depth === 1 && (this.of(b).at(-1) as Use).at <= l.last && this.slice(b, l) !== undefined;
  }
  /** The first index of all uses in the loop, where it is another in each turn. */
  slice(b: Buffer, l: List): Expr | undefined {
    const { loop } = l;
    const leads = new Set(this.within(b, l).flatMap((u) => [...(this.#slices.leadsOf(u.nest).get(b) ?? [])]));
    const [lead] = leads;
    if (!loop || loop.blocks || !lead || leads.size > 1) return undefined;
    const values = new Set<number>();
    for (let turn = 0; turn < loop.count; turn++) {
      const at = valueAt(lead, new Map([[loop.v, turn]]));
      if (at === undefined) return undefined;
      values.add(at);
    }
    return values.size === loop.count ? lead : undefined;
  }
  /** Do two nests of the list's loop touch different slices of a buffer, in every turn? */
  apart(b: Buffer, x: Nest, y: Nest, { loop }: List): boolean {
    if (!loop || loop.blocks) return false;
    for (let turn = 0; turn < loop.count; turn++) {
      const counters = new Map([[loop.v, turn]]);
      const [own, others] = [this.#slices.of(x, b, counters), this.#slices.of(y, b, counters)];
      if (!own || !others || own.some((s) => others.includes(s))) return false;
    }
    return true;
  }
  /** Bytes of a buffer that a turn of the list has to do with. */
  bytes(b: Buffer, l: List): number {
    const [axis] = b.axes;
    return axis && this.slice(b, l) ? bytesOf(b) / Math.max(1, maxOf(axis.extent)) : bytesOf(b);
  }
}
