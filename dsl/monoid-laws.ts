// The laws of a monoid, tried on fixed numbers: a proof of the contrary, never of the fact. A monoid may be meant for some
// numbers only (a maximum from 0 on, a count that is whole), so that there are several sets to try: what fails on every one
// is no monoid, what fails on the first is none for all numbers.
import type { Arrow } from "./node.js";

type Carrier = Readonly<Record<string, number>>;
export interface Operation {
  readonly empty: Carrier;
  readonly concat: Arrow;
}
export type Domain = "all numbers" | "positive numbers" | "whole numbers from 1" | "numbers from 0 to 1" | "0 and 1";
/** From a number in [0, 1). */
const domains: { readonly [D in Domain]: (u: number) => number } = {
  "all numbers": (u) => Math.floor(u * 12) / 2 - 2.75,
  "positive numbers": (u) => Math.floor(u * 12) / 4 + 0.25,
  "whole numbers from 1": (u) => Math.floor(u * 12) + 1,
  "numbers from 0 to 1": (u) => Math.floor(u * 11) / 10,
  "0 and 1": (u) => Math.floor(u * 2),
};
export const allDomains = Object.keys(domains) as readonly Domain[]; // the record is total
/** The numbers to try: the same for every component, or by component. */
export type Numbers = Domain | Readonly<Record<string, Domain>>;
function samples(m: Operation, of: Numbers): readonly Carrier[] {
  let state = 1;
  const next = (): number => {
    state = (state * 48271) % 2147483647; // Lehmer's generator: the same numbers in every run
    return state / 2147483647;
  };
  for (let n = 0; n < 8; n++) next(); // the first ones are small
  const domain = (c: string): Domain => (typeof of === "string" ? of : (of[c] ?? "all numbers"));
  return Array.from({ length: 8 }, () => Object.fromEntries(Object.keys(m.empty).map((c) => [c, domains[domain(c)](next())])));
}

const same = (a: number | undefined, b: number | undefined): boolean =>
  Object.is(a, b) ||
  (Number.isFinite(a) &&
    Number.isFinite(b) &&
    Math.abs((a as number) - (b as number)) <= 1e-9 * Math.max(Math.abs(a as number), Math.abs(b as number), 1));
const equal = (m: Operation, a: Carrier, b: Carrier): boolean => Object.keys(m.empty).every((c) => same(a[c], b[c]));

/** x, where combining it with the identity does not give x back. */
export interface NoIdentity {
  readonly x: Carrier;
  readonly side: "left" | "right";
  readonly gives: Carrier;
}
export function noIdentity(m: Operation, of: Numbers): NoIdentity | undefined {
  for (const x of samples(m, of)) {
    const [left, right]: readonly Carrier[] = [m.concat(m.empty, x), m.concat(x, m.empty)];
    if (left && !equal(m, left, x)) return { x, side: "left", gives: left };
    if (right && !equal(m, right, x)) return { x, side: "right", gives: right };
  }
  return undefined;
}
export interface NotAssociative {
  readonly of: readonly [Carrier, Carrier, Carrier];
  readonly left: Carrier;
  readonly right: Carrier;
}
export function notAssociative(m: Operation, of: Numbers): NotAssociative | undefined {
  const all = samples(m, of);
  for (let i = 0; i + 2 < all.length; i++) {
    const [x, y, z] = all.slice(i) as [Carrier, Carrier, Carrier];
    const left: Carrier = m.concat(m.concat(x, y), z);
    const right: Carrier = m.concat(x, m.concat(y, z));
    if (!equal(m, left, right)) return { of: [x, y, z], left, right };
  }
  return undefined;
}
export function notCommutative(
  m: Operation,
  of: Numbers,
): { readonly of: readonly [Carrier, Carrier]; readonly results: readonly [Carrier, Carrier] } | undefined {
  const all = samples(m, of);
  for (let i = 0; i + 1 < all.length; i++) {
    const [x, y] = all.slice(i) as [Carrier, Carrier];
    const results: [Carrier, Carrier] = [m.concat(x, y), m.concat(y, x)];
    if (!equal(m, ...results)) return { of: [x, y], results };
  }
  return undefined;
}
/** The law fails wherever it is tried: the counterexample on the most general numbers. */
export function everywhere<T>(law: (of: Domain) => T | undefined): T | undefined {
  const found = allDomains.map(law);
  return found.every((f) => f !== undefined) ? found[0] : undefined;
}

/** An identity that the operation does have, among the usual ones. */
export function identityOf(m: Operation): Carrier | undefined {
  const components = Object.keys(m.empty);
  if (components.length > 3) return undefined;
  const usual = [0, 1, -Infinity, Infinity];
  for (let n = 0; n < usual.length ** components.length; n++) {
    const empty = Object.fromEntries(components.map((c, i) => [c, usual[Math.floor(n / usual.length ** i) % usual.length] as number]));
    const tried = { empty, concat: m.concat };
    if (!noIdentity(tried, "all numbers")) return empty;
  }
  return undefined;
}

const rounded = (v: number) => (Number.isInteger(v) || !Number.isFinite(v) ? String(v) : String(Number(v.toPrecision(4))));
/** As an author would write it. */
export const showCarrier = (c: Carrier): string =>
  `{ ${Object.entries(c)
    .map(([k, v]) => `${k}: ${rounded(v)}`)
    .join(", ")} }`;
export const showNoIdentity = (m: Operation, { x, side, gives }: NoIdentity): string =>
  `${side === "left" ? `${showCarrier(m.empty)} and ${showCarrier(x)}` : `${showCarrier(x)} and ${showCarrier(m.empty)}`} give ${showCarrier(gives)}`;
