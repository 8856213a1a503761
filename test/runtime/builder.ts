// Compiles one unit into the cache folder of its first argument, for tests that need a second process.
import * as E from "fp-ts/lib/Either.js";
import { obtain } from "../../runtime/devices/native/cache.js";
import { load } from "../../runtime/devices/native/load.js";
import { findToolchain } from "../../runtime/devices/native/toolchain.js";

const [folder, source] = process.argv.slice(2);
const tool = await findToolchain();
if (E.isLeft(tool)) throw tool.left;
const opened = await obtain(folder!, tool.right, [{ name: "unit", source: source! }]);
if (E.isLeft(opened)) throw opened.left;
const library = load(opened.right.library);
if (E.isLeft(library)) throw library.left;
const f: () => number = library.right.handle.func("f", "int", []);
console.log(JSON.stringify({ built: opened.right.built, refused: opened.right.refused, value: f() }));
