// Bundles made by Vite with the plug-in, in folders of their own: what is in them, and what they do when they run.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type Plugin, type Rolldown } from "vite";
import { mallard } from "../../vite/index.js";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const fixture = (name: string) => join(root, "test/vite/fixtures", name);

export interface Bundle {
  /** By file's name. */
  readonly files: Readonly<Record<string, string>>;
  /** What its files import from outside the bundle, and each other. */
  readonly imports: readonly string[];
  /** The entry, run. */
  run(): Promise<Readonly<Record<string, unknown>>>;
  readonly folder: string;
  [Symbol.dispose](): void;
}
export interface BundleOptions {
  readonly plugins?: readonly Plugin[];
  readonly minify?: boolean;
  readonly sourcemap?: boolean;
  /** For Node, with the package left outside. */
  readonly ssr?: boolean;
  readonly define?: Readonly<Record<string, string>>;
}

/** The package's name leads to this checkout's sources. */
export const alias = [
  { find: /^@mallard-lang\/mallard$/, replacement: join(root, "index.ts") },
  { find: /^@mallard-lang\/mallard\/models$/, replacement: join(root, "models/index.ts") },
];

/** Files by name, "main.ts" the entry; or the path of an entry that is there. */
export async function bundle(sources: Readonly<Record<string, string>> | string, o: BundleOptions = {}): Promise<Bundle> {
  const folder = mkdtempSync(join(tmpdir(), "mallard-vite-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  if (typeof sources !== "string")
    for (const [name, text] of Object.entries(sources)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const out = join(folder, "out");
  let built: Awaited<ReturnType<typeof build>>;
  try {
    built = await build({
      root: typeof sources === "string" ? root : folder,
      configFile: false,
      logLevel: "silent",
      plugins: [...(o.plugins ?? [mallard()])],
      resolve: { alias: o.ssr ? [] : alias },
      define: o.define ?? {},
      build: {
        outDir: out,
        emptyOutDir: true,
        minify: o.minify ?? true,
        sourcemap: o.sourcemap ?? false,
        target: "es2022",
        ssr: o.ssr ?? false,
        rolldownOptions: {
          input: typeof sources === "string" ? sources : join(folder, "main.ts"),
          preserveEntrySignatures: "strict",
          external: o.ssr ? [/^@mallard-lang\/mallard/] : [],
          output: { entryFileNames: "main.mjs", chunkFileNames: "[name].mjs" },
        },
      },
    });
  } catch (e) {
    remove();
    throw e;
  }
  const chunks = [built]
    .flat()
    .flatMap((b) => ("output" in b ? b.output : []))
    .filter((f): f is Rolldown.OutputChunk => f.type === "chunk");
  return {
    folder: out,
    imports: [...new Set(chunks.flatMap((c) => [...c.imports, ...c.dynamicImports]))].toSorted(),
    files: Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(join(out, name), "utf8")])),
    run: async () => (await import(pathToFileURL(join(out, "main.mjs")).href)) as Readonly<Record<string, unknown>>, // a module is a record of what it exports
    [Symbol.dispose]: remove,
  };
}

/** What a build that fails says: the plug-in's own errors. */
export async function failure(sources: Readonly<Record<string, string>>): Promise<Rolldown.RolldownError> {
  try {
    using _ = await bundle(sources);
  } catch (e) {
    const errors = e instanceof Error && "errors" in e && Array.isArray(e.errors) ? (e.errors as Rolldown.RolldownError[]) : []; // as rolldown throws them
    if (errors.length === 1) return errors[0] as Rolldown.RolldownError;
    throw e;
  }
  throw new Error("the build did not fail");
}
