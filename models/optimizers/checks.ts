// Settings of rules, checked where they are given: a rule with a wrong setting is refused before anything is built of it.
import { RuleError } from "../../dsl/index.js";

/** At least 0 and finite, or above 0 where `strictly`. */
export function positive(what: string, name: string, value: number, strictly = true): void {
  if (!(Number.isFinite(value) && (strictly ? value > 0 : value >= 0)))
    throw new RuleError(`${what}: ${name} is ${value}; a finite number ${strictly ? "above 0" : "of at least 0"} is wanted`);
}
/** The share of an average's past that stays: from 0 up to, not including, 1. */
export function share(what: string, name: string, value: number): void {
  if (!(value >= 0 && value < 1)) throw new RuleError(`${what}: ${name} is ${value}; a number from 0 up to, not including, 1 is wanted`);
}
/** A whole number of steps. */
export function count(what: string, name: string, value: number, least = 0): void {
  if (!(Number.isInteger(value) && value >= least))
    throw new RuleError(`${what}: ${name} is ${value}; a whole number of at least ${least} is wanted`);
}
