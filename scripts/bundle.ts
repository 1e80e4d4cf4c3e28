// The program in one file by esbuild, and which packages went into it: for the build, its licences and the release's SBOM.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type BuildResult, build, type Metafile, type Plugin } from 'esbuild'
import { SELDOM_USED } from './bundle/node-modules.ts'

export const ROOT = dirname(import.meta.dirname)
export const DIST = join(ROOT, 'dist')
export const BIN = join(DIST, 'bin')
export const PARTS = join(ROOT, 'scripts/bundle')

/** Packages that are there for features which are never used. */
const UNUSED = ['ws', 'light-my-request', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler']

const SELDOM = new RegExp(`^(?:node:)?(?:${Object.keys(SELDOM_USED).join('|')})$`)

const onlyWhatIsUsed: Plugin = {
  name: 'only what is used',
  setup({ onLoad, onResolve }) {
    const replace = (wanted: RegExp, part: string, importers = /^/) => {
      const path = join(PARTS, part)
      onResolve({ filter: wanted }, ({ importer }) => (importers.test(importer) ? { path } : undefined))
    }
    replace(/^undici$/, 'no-undici.cjs', /[/\\]reply-from[/\\]/)
    replace(/^undici$/, 'undici.cjs')
    replace(/^\.\/client-h2\.js$/, 'client-h2.cjs')
    replace(/^node:http2$/, 'http2.cjs', /[/\\](?:fastify|reply-from)[/\\]/)
    replace(/^semver$/, 'semver.cjs', /[/\\]fastify[/\\]/)
    onResolve({ filter: SELDOM }, ({ path, importer }) =>
      /[/\\]node_modules[/\\](?!undici|@opentelemetry|@clack|@bomb)/.test(importer)
        ? { path: path.replace('node:', ''), namespace: 'seldom used' }
        : undefined,
    )
    onLoad({ filter: /^/, namespace: 'seldom used' }, ({ path }) => ({ contents: SELDOM_USED[path] ?? '' }))
    for (const name of UNUSED) replace(new RegExp(`^${name}$`), 'unused.cjs')
  },
}

/** src/cli/main.ts and all it needs → dist/bin/program.cjs, which is left alone where `write` is false. */
export function bundle({ write }: { write: boolean }): Promise<BuildResult & { metafile: Metafile }> {
  return build({
    entryPoints: [join(ROOT, 'src/cli/main.ts')],
    outfile: join(BIN, 'program.cjs'),
    // The same bytes wherever it is built: paths of modules stand in it.
    absWorkingDir: ROOT,
    preserveSymlinks: true,
    bundle: true,
    write,
    platform: 'node',
    // Node starts CommonJS faster and smaller: an ESM import of node:http alone costs 13 MB.
    format: 'cjs',
    target: 'node22.19',
    // A script that is compiled apart from Node's loader has no import(): it becomes require().
    supported: { 'dynamic-import': false },
    // Names stay: an error's stack can be read, and so can the program.
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'bundleUrl' },
    // A function as it stands, so that whoever loads it need not put the text of one around two megabytes.
    banner: {
      js: "(function(require,__filename){const bundleUrl=require('node:url').pathToFileURL(__filename).href;",
    },
    footer: { js: '})' },
    plugins: [onlyWhatIsUsed],
    metafile: true,
    logLevel: 'warning',
  })
}

export interface BundledPackage {
  readonly folder: string
  readonly name: string
  readonly version: string
  readonly license: string
}

/** Every package that the bundle holds a part of. */
export function packagesIn({ inputs }: Metafile): readonly BundledPackage[] {
  const folders = new Set<string>()
  for (const input of Object.keys(inputs)) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
    if (folder !== undefined) folders.add(resolve(ROOT, folder))
  }
  return [...folders].sort().map((folder) => {
    const told = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as BundledPackage
    return { folder, name: told.name, version: told.version, license: told.license }
  })
}
