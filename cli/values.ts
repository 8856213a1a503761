// Readers of option values. Each refuses what it cannot use and says what would be right; commander puts the option's
// name in front and ends the command with exit code 2.
import { InvalidArgumentError } from "commander";
import { isRight } from "fp-ts/lib/Either.js";
import { type Precision, readPrecision } from "../trainer.js";
import { didYouMean } from "./suggest.js";

export const integer =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (/^[+-]?\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Give a whole number ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}.`);
  };

const decimal = (text: string): number => (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN);
export const positive = (text: string): number => {
  const value = decimal(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("Give a number above 0, such as 0.1 or 3e-3.");
};
export const atLeastZero = (text: string): number => {
  const value = decimal(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError("Give a number of at least 0, such as 0.8.");
};

export const choice =
  <T extends string>(choices: readonly T[]) =>
  (text: string): T => {
    const found = choices.find((c) => c === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Choose one of ${choices.join(", ")}${didYouMean(text, choices)}.`);
  };

/** What is stored as what. */
export const precision = (text: string): Precision => {
  const read = readPrecision(text);
  if (isRight(read)) return read.right;
  throw new InvalidArgumentError(`${read.left}. Give one storage, or a list such as params=bf16,state=bf16,compute=bf16,update=stochastic.`);
};

/** A name that becomes part of a folder's name. */
export const folderName = (text: string): string => {
  if (/^[\p{L}\p{N}][\p{L}\p{N}._-]*$/u.test(text)) return text;
  throw new InvalidArgumentError("Use letters, digits, dots, dashes and underscores, starting with a letter or digit.");
};
/** A name that becomes part of a program's text. */
export const identifier = (text: string): string => {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) return text;
  throw new InvalidArgumentError("Use letters, digits and underscores, starting with a letter.");
};
