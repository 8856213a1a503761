// The plug-in for Vite: reads functions over numbers when a bundle is built, so that browsers need no parser and a minifier
// cannot change what they mean.
//
//   map({ s, W }, ({ s, W }) => s * W)   becomes   map({ s, W }, ahead(({ s, W }) => s * W, { …what was read }))
//
// `ahead` (compiler/capture/ahead.ts) gives the function back and remembers what was read of it by the function itself. The
// author's file is what is read, before any other plug-in changes it. A function that cannot be read fails the build with
// its file, line, column and a caret. Of Mallard's own files the plug-in reads the functions too, and those that need Node
// get their twins for browsers.
import { relative } from "node:path";
import MagicString from "magic-string";
import type { Plugin } from "vite";
import type { Ahead } from "../compiler/capture/ahead.js";
import { refusalAhead } from "../compiler/capture/closed.js";
import { type CaptureError, frameAt, positionOf, showCaptureError } from "../compiler/capture/error.js";
import { withFile } from "../compiler/capture/parse.js";
import { findExported, type Resolve } from "./exported.js";
import { browserTwin, homeOf, isLanguageFile, kindOf, mayHaveTwin, PACKAGE } from "./package.js";
import { candidates, isMarked, type ReadFunction, type Use, usesIn } from "./uses.js";

const AHEAD = "virtual:mallard/ahead";
const sources = /^[^\0].*\.[cm]?[jt]sx?(?:$|\?(?!.*\b(?:raw|url)\b))/;

/** Our own files without functions of numbers, as they are installed. */
const machinery = /\/mallard\/dist\/compiler\//;

/** Reads Mallard's functions when Vite builds or serves: `plugins: [mallard()]`. */
export function mallard(): Plugin {
  let root = process.cwd();
  /** By a file that imports AHEAD, the package it belongs to. */
  const homes = new Map<string, Home>();
  return {
    name: "mallard",
    enforce: "pre",
    config: () => ({
      // Packages that Vite bundles beforehand do not pass through plug-ins.
      optimizeDeps: { exclude: [PACKAGE], include: [`${PACKAGE} > fp-ts/es6/Either.js`] },
    }),
    configResolved(config) {
      root = config.root;
    },
    resolveId: {
      // Asked of the few that may be meant: a call into JavaScript for every import would be felt.
      filter: { id: [new RegExp(`^${AHEAD}$`), /^fp-ts\/lib\//, mayHaveTwin] },
      async handler(source, importer, options) {
        if (source === AHEAD && importer) {
          const home = homes.get(pathOf(importer));
          return home === "installed"
            ? { id: `${PACKAGE}/ahead`, external: true }
            : home
              ? `${home.folder}compiler/capture/ahead${home.extension}`
              : null;
        }
        if (!importer || this.environment.config.consumer === "server") return null;
        // fp-ts as CommonJS comes whole; as modules only what is used comes.
        const fpTs = /^fp-ts\/lib\/(.+)$/.exec(source);
        if (fpTs && homeOf(pathOf(importer)) !== null) return this.resolve(`fp-ts/es6/${fpTs[1]}`, importer, { ...options, skipSelf: true });
        if (!mayHaveTwin.test(source)) return null;
        const found = await this.resolve(source, importer, { ...options, skipSelf: true });
        return (found && browserTwin(pathOf(found.id))) ?? found;
      },
    },
    transform: {
      filter: { id: { include: sources, exclude: machinery } },
      async handler(code, id) {
        if (!sources.test(id)) return null;
        const file = pathOf(id);
        const kind = kindOf(file);
        // A package that has nothing of ours names us nowhere.
        if (kind === "machinery" || (kind === "author's" && file.includes("/node_modules/") && homeOf(file) === null && !code.includes(PACKAGE)))
          return null;

        const resolved = new Map<string, Home | null>();
        for (const specifier of kind === "language" ? [] : candidates(code)) {
          const found = await this.resolve(specifier, id, { skipSelf: true });
          const home = found?.external ? (specifier === PACKAGE ? "installed" : null) : found && homeIfLanguage(pathOf(found.id));
          if (home) resolved.set(specifier, home);
        }
        if (kind === "author's" && resolved.size === 0 && !isMarked(code)) return null;
        const uses = withFile(file, code, (parsed) => usesIn(parsed, (specifier) => resolved.has(specifier), kind === "language"));
        if (uses.length === 0) return null;

        const resolve: Resolve = async (specifier, importer) => {
          const found = await this.resolve(specifier, importer, { skipSelf: true });
          return found === null || found.external || found.id.startsWith("\0") ? null : pathOf(found.id);
        };
        const found: { readonly use: Use; readonly ahead: Ahead }[] = [];
        const errors: CaptureError[] = [];
        for (const use of uses) {
          const written = "kind" in use.of ? await findExported(use.of, id, use.what, resolve) : { file, read: use.of };
          if (!written) continue;
          if (written.file !== file) this.addWatchFile(written.file);
          const ahead: Ahead = { ...written.read, file: shown(root, written.file) };
          const error = use.outside && refused(ahead, use.outside);
          if (error) errors.push(error);
          else found.push({ use, ahead: kind === "language" ? withoutText(ahead) : ahead });
        }
        const [first] = errors;
        if (first) {
          const message = [...new Set(errors.map(showCaptureError))].join("\n\n");
          // The message has its own frames, and where this plug-in stands is no news to the author.
          this.error({ message, id, loc: { file, line: first.line, column: first.column - 1 }, frame: " ", stack: "" });
        }
        if (found.length === 0) return null;

        const [known] = resolved.values();
        const language = known ?? (kind === "language" ? homeFrom(file) : await this.resolve(PACKAGE, id).then(homeOfResolved));
        if (!language) return null;
        homes.set(file, language);
        return rewritten(code, id, found);
      },
    },
  };
}
export default mallard;

/** The package's folder and its files' extension; "installed" where the bundle leaves the package to Node. */
type Home = "installed" | { readonly folder: string; readonly extension: string };
function homeFrom(file: string): Home | null {
  const folder = homeOf(file);
  return folder === null ? null : { folder, extension: file.endsWith(".ts") ? ".ts" : ".js" };
}
const homeIfLanguage = (file: string): Home | null => (isLanguageFile(file) ? homeFrom(file) : null);
const homeOfResolved = (found: { readonly id: string; readonly external: boolean | string } | null): Home | null =>
  found === null ? null : found.external ? "installed" : homeFrom(pathOf(found.id));

const pathOf = (id: string): string => id.replace(/\?.*$/, "").replaceAll("\\", "/");
/** Where nobody sees how the machine that built it is laid out. */
const shown = (root: string, file: string): string => {
  const inside = relative(root, file).replaceAll("\\", "/");
  const installed = inside.lastIndexOf("node_modules/");
  return installed >= 0 ? inside.slice(installed + "node_modules/".length) : inside;
};

function refused(a: ReadFunction & { readonly file: string }, todo: (name: string) => string): CaptureError | undefined {
  const finding = refusalAhead(a.syntax, todo);
  if (!finding) return undefined;
  const { at, message, hint } = finding;
  return { kind: "capture", message, hint, file: a.file, ...positionOf(a.text, at, a.line), frame: frameAt(a.text, at, a.line) };
}

/** The language's own functions are right: of them a bundle has file and line, and not their text and where in it each name stands,
 *  which are a good part of what a page would load. */
const withoutText = (a: Ahead): Ahead => ({
  ...a,
  text: "",
  syntax: JSON.parse(JSON.stringify(a.syntax), (key, value: unknown) => (key === "at" || key === "nameAt" ? 0 : value)),
});

function rewritten(code: string, id: string, found: readonly { readonly use: Use; readonly ahead: Ahead }[]) {
  let name = "__mallard_ahead";
  while (code.includes(name)) name += "_";
  const text = new MagicString(code);
  for (const { use, ahead } of found) {
    const data = JSON.stringify(ahead);
    const before = use.shorthand === null ? "" : `${use.shorthand}: `;
    const of = code.slice(use.start, use.end);
    if (use.what === "monoid") {
      text.appendLeft(use.start, `(${name}((${of}).concat, ${data}), `);
      text.appendRight(use.end, ")");
    } else {
      text.appendLeft(use.start, `${before}/* @__PURE__ */ ${name}(`);
      text.appendRight(use.end, `, ${data})`);
    }
  }
  // At the end, where it moves no line: imports come first wherever they stand.
  text.append(`\nimport { ahead as ${name} } from "${AHEAD}";\n`);
  return { code: text.toString(), map: text.generateMap({ source: id, includeContent: true, hires: "boundary" }) };
}
