// `npm test`: installs what is missing, builds, and runs lint, type check and the tests; then says what was skipped and
// why, and ends with one line, `N passed, N failed, N skipped` (lint and each type check count as one). Arguments after
// `--` go to vitest: `npm test -- trainer` runs the test files whose path contains "trainer", without lint and type
// check. With MALLARD_REQUIRE=all a skipped test is a failure.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json, node, prepare } from "./prepare.js";

const say = (line) => process.stdout.write(`${line}\n`);
const filters = process.argv.slice(2);
if (!prepare()) {
  say("0 passed, 1 failed, 0 skipped");
  process.exit(1);
}

const failures = [];
let passed = 0;
const check = (name, args) => {
  say(`\n── ${name} ──`);
  if (node(args) === 0) passed++;
  else failures.push(name);
};
if (filters.length === 0) {
  check("lint", ["node_modules/@biomejs/biome/bin/biome", "check", "."]);
  check("type check", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.json"]);
  check("type check of the page", ["node_modules/typescript/bin/tsc", "-p", "examples/browser"]);
}

say("\n── tests ──");
const folder = mkdtempSync(join(tmpdir(), "mallard-test-"));
const file = join(folder, "summary.json");
const vitest = ["node_modules/vitest/vitest.mjs", "run", "--reporter=default", "--reporter=./scripts/test-reporter.js", ...filters];
// Tests fail or pass alike wherever they run: a production environment would change what packages load.
const code = node(vitest, "inherit", { ...process.env, NODE_ENV: "test", MALLARD_TEST_SUMMARY: file });
const summary = json(file) ?? { passed: 0, failed: 0, skipped: [], missing: [] };
rmSync(folder, { recursive: true, force: true });
passed += summary.passed;
let failed = failures.length + summary.failed;
// Errors outside of tests, nothing found for a filter, a crash: vitest's own verdict counts.
if (code !== 0 && summary.failed === 0) failed++;

if (summary.skipped.length > 0) {
  say("\nSkipped:");
  for (const line of summary.missing) say(`  ${line}`);
  for (const { name, reason } of summary.skipped) say(`    ${name}${reason === null ? "" : `: ${reason}`}`);
  if (process.env.MALLARD_REQUIRE === "all") {
    failures.push(`${summary.skipped.length} skipped, and MALLARD_REQUIRE=all allows none`);
    failed++;
  }
}
if (failures.length > 0) say(`\nFailed: ${failures.join("; ")}`);
say(`\n${passed} passed, ${failed} failed, ${summary.skipped.length} skipped`);
process.exit(failed === 0 ? 0 : 1);
