// Which kept values of a session (compiler/graph/kept.ts) still are those of their weights. A weight has a version, which
// changes whenever anything writes it; a kept value remembers the version that it was computed from. A program that moves
// a weight brings along the values that it keeps itself; all other ways to write one (a checkpoint, a user's array,
// another program) leave the value behind, and it is computed anew before it is read.
import type { Kept } from "../compiler/graph/kept.js";

type Value = Pick<Kept, "leaf" | "weight">;

export class Freshness {
  readonly #versions = new Map<string, number>();
  /** By the kept value's path: the version of its weight. */
  readonly #made = new Map<string, number>();

  /** Something wrote this state from outside. */
  wrote(path: string): void {
    this.#versions.set(path, this.#version(path) + 1);
    this.#made.delete(path);
  }
  fresh(values: readonly Value[]): boolean {
    return values.every((k) => this.#made.get(k.leaf.name) === this.#version(k.weight.name));
  }
  /** A program that writes `moved` has these values right before its run, and after it. */
  ran(moved: readonly string[], values: readonly Value[]): void {
    for (const path of moved) this.wrote(path);
    for (const k of values) this.#made.set(k.leaf.name, this.#version(k.weight.name));
  }
  /** A run failed: what it left is unknown. */
  lost(values: readonly Value[]): void {
    for (const k of values) this.#made.delete(k.leaf.name);
  }
  #version(path: string): number {
    return this.#versions.get(path) ?? 0;
  }
}
