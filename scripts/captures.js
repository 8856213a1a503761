// Reads the arrow functions that the library's own models, rules and operations are written in, and leaves their syntax beside
// the code, so that a first start needs no parser for them (compiler/capture/cache.ts). Called after a build with the
// folder that it wrote; does nothing where the code is as it was.
//
//   node scripts/captures.js dist
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const out = resolve(process.argv[2] ?? "dist");
const tools = fileURLToPath(new URL("../dist/compiler/capture/", import.meta.url));
const place = join(out, "captures.json");
const FOLDERS = ["compiler/capture", "dsl", "models", "runtime"];

const files = FOLDERS.filter((folder) => existsSync(join(out, folder))).flatMap((folder) =>
  readdirSync(join(out, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .sort()
    .map((name) => ({ folder, name, text: readFileSync(join(out, folder, name), "utf8") })),
);
const hash = createHash("sha256");
for (const { folder, name, text } of files) hash.update(`${folder}/${name} ${text.length}\n${text}`);
const sources = hash.digest("hex");

if (files.length > 0 && known() !== sources) {
  const tool = (name) => import(pathToFileURL(join(tools, name)).href);
  const { parseFunction, withFile } = await tool("parse.js");
  const { isClosed } = await tool("closed.js");
  const { syntaxKey } = await tool("cache.js");
  const functions = {};
  for (const { folder, name, text } of files) {
    if (folder === "compiler/capture") continue;
    // The text as the engine gives it is the text as it stands there.
    const texts = withFile(name, text, ({ file, m }) => file.getDescendantsOfKind(m.SyntaxKind.ArrowFunction).map((f) => f.getText()));
    for (const own of texts) {
      const syntax = parseFunction(own);
      // Most are no scalar functions at all.
      if (isClosed(syntax)) functions[syntaxKey(own)] = syntax;
    }
  }
  const beside = `${place}.${process.pid}`;
  writeFileSync(beside, JSON.stringify({ sources, functions }));
  renameSync(beside, place);
}

function known() {
  try {
    return JSON.parse(readFileSync(place, "utf8")).sources;
  } catch {
    return null;
  }
}
