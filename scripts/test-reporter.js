// A vitest reporter that writes what test.js prints at the end, to the file named by MALLARD_TEST_SUMMARY:
// { passed, failed, skipped: [{ name, reason }], errors }. A test tells why it skips itself with `context.skip(reason)`.
import { writeFileSync } from "node:fs";

export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const summary = { passed: 0, failed: 0, skipped: [], errors: unhandledErrors.length };
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
