import { defineConfig } from "vitest/config";

export default defineConfig({
  // Processes, not threads: tests load shared objects and handle signals. Long limits: a test may compile C.
  test: { include: ["test/**/*.test.ts"], pool: "forks", testTimeout: 120_000, hookTimeout: 120_000 },
});
