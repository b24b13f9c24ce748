import { defineConfig } from "vite";

// Comments in packages that the bundler cannot use; nothing here could act on them.
const OF_NO_USE = new Set(["MODULE_LEVEL_DIRECTIVE", "INVALID_ANNOTATION"]);

export default defineConfig({
  build: {
    target: "es2022",
    // The page is served under a policy that allows files of its own origin only: no data: addresses, no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
    rollupOptions: {
      onwarn: (warning, warn) => {
        if (!OF_NO_USE.has(warning.code ?? "")) warn(warning);
      },
    },
  },
});
