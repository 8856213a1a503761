// What a recipe may choose without changing a bit: how much is blocked together, what is divided among threads, what is
// packed. A recipe offers each such setting with the values worth having, its own choice by rule of thumb first, and makes
// loops of any assignment. Measurement (runtime/tune.ts) finds assignments that are faster on one machine; they come back as
// `Choices`, and one that a recipe no longer offers counts as none, so that a stale result is slow at worst.
import type { Stmt } from "./ir.js";

export type Setting = string | number | boolean;
/** A value for each setting, or for some: the others are as the recipe has them. */
export type Choice = Readonly<Record<string, Setting>>;
/** By a kernel's text as its recipe alone has it, with numbers for names (targets/c/program.ts): that says form, extents,
 *  layouts and types of a nest, and no names. */
export type Choices = ReadonlyMap<string, Choice>;

type Offered = Readonly<Record<string, readonly [Setting, ...Setting[]]>>;
/** A nest's loops as a function of what may be chosen. */
export interface Choosable {
  /** The recipe's own choice is the first. None: there is one way only. */
  readonly settings: Offered;
  readonly loops: (choice: Choice) => readonly Stmt[];
}
export const fixed = (loops: () => readonly Stmt[]): Choosable => ({ settings: {}, loops });
/** Settings of one type each; loops get a value for every one of them. A setting of one value is none. */
export function choosable<S extends Choice>(
  settings: { readonly [K in keyof S]: readonly [S[K], ...S[K][]] },
  loops: (s: S) => readonly Stmt[],
): Choosable {
  const offered: Offered = settings;
  const own = Object.fromEntries(Object.entries(offered).map(([name, values]) => [name, values[0]]));
  const distinct = Object.entries(offered).map(
    ([name, [first, ...others]]) => [name, [first, ...new Set(others.filter((v) => v !== first))]] as const,
  );
  return {
    settings: Object.fromEntries(distinct.filter(([, values]) => values.length > 1)) as Offered, // of [first, ...others] each
    loops: (choice) => loops({ ...own, ...choice } as S), // `own` has every key of S
  };
}

/** The choice, where it is among what is offered; else that of the recipe. */
export const admitted = (settings: Offered, choice: Choice | undefined): Choice =>
  choice && Object.entries(choice).every(([name, value]) => settings[name]?.includes(value)) ? choice : {};
