// What capture needs of the machine that it runs on: a parser with its cache, and the author's files. This is Node's; a
// browser's bundle has source.browser.ts in its place (package.json, "browser"; the Vite plug-in does the same), which has
// the same exports and neither.
export { defaultCacheFolder, syntaxOf } from "./cache.js";
export { type Located, locate } from "./locate.js";
