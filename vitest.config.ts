import { defineConfig } from "vitest/config";

export default defineConfig({
  // Processes, not threads: tests load shared objects and handle signals. One a core: most wait for nobody, and by default
  // one core would stay idle. Long limits: a test may compile C.
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: "100%",
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: ["test/chromium/setup.ts"],
  },
});
