// How esbuild makes one file of the program.
import { dirname } from 'node:path'
import type { BuildOptions } from 'esbuild'

/**
 * CommonJS, because it starts faster and uses less memory than modules. `import()` becomes a call of `require`, so that what is
 * rarely used runs only when it is needed.
 */
export const BUNDLE_OPTIONS = {
  absWorkingDir: dirname(import.meta.dirname),
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  supported: { 'dynamic-import': false },
  // The output must not depend on where the project or its packages are.
  preserveSymlinks: true,
  define: {
    'import.meta.url': 'bundleUrl',
    // undici compares its own class with Node's, and Node would load its own copy of undici for that: 18 ms and 3 MB at each start.
    'globalThis.Headers': 'undefined',
  },
  banner: { js: "const bundleUrl=require('node:url').pathToFileURL(__filename).href;" },
  // Names are kept, so that the stack of an error can be read.
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
} satisfies BuildOptions
