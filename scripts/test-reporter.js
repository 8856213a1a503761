// A vitest reporter that writes what test.js prints at the end, to the file named by MALLARD_TEST_SUMMARY:
// { passed, failed, skipped: [{ name, reason }], missing }. A test tells why it skips itself with
// `context.skip(reason)`; `missing` are the lines "skipped: …" in which test/require.ts says what this machine lacks.
import { writeFileSync } from "node:fs";

export default class SummaryReporter {
  missing = new Set();
  onUserConsoleLog({ content }) {
    for (const line of content.split("\n")) if (line.startsWith("skipped: ")) this.missing.add(line.slice("skipped: ".length));
  }
  onTestRunEnd(modules) {
    const summary = { passed: 0, failed: 0, skipped: [], missing: [...this.missing] };
    for (const module of modules) {
      const before = summary.failed;
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state === "passed") summary.passed++;
        else if (state === "failed") summary.failed++;
        else summary.skipped.push({ name: `${module.relativeModuleId} > ${test.fullName}`, reason: note ?? null });
      }
      // A file that cannot be loaded has no tests, and a hook's failure is no test's.
      if (module.state() === "failed" && summary.failed === before) summary.failed++;
    }
    writeFileSync(process.env.MALLARD_TEST_SUMMARY, JSON.stringify(summary));
  }
}
