// The program and its parts by esbuild, and which packages went into them: for the build, its licences and the release's SBOM.
import { readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild'
import { SELDOM_USED } from './bundle/node-modules.ts'

export const ROOT = dirname(import.meta.dirname)
export const DIST = join(ROOT, 'dist')
export const BIN = join(DIST, 'bin')
export const PARTS = join(ROOT, 'scripts/bundle')

/**
 * Packages that have files of their own, which are loaded when one of them is wanted: most runs never want them, and
 * text that lies about in memory is most of what code costs.
 */
const PACKAGES_OF: Readonly<Record<string, readonly string[]>> = {
  pages: ['fastify', '@fastify/http-proxy'],
  undici: ['undici'],
  metrics: ['prom-client'],
  traces: [
    '@opentelemetry/api',
    '@opentelemetry/core',
    '@opentelemetry/exporter-trace-otlp-http',
    '@opentelemetry/exporter-trace-otlp-proto',
    '@opentelemetry/resources',
    '@opentelemetry/sdk-trace',
  ],
  prompts: ['@clack/prompts', '@bomb.sh/tab'],
}

/** The part that reads configurations, with zod and yaml; it is let go once it has read one. */
const CONFIG = 'config'
/** What the rest of the program takes from it. */
const OF_CONFIG = ['load', 'overrides', 'schema', 'schema-values', 'search'].map((name) => `${name}.ts`)
/** What it takes from the rest, because each of these may be there only once: bundle/share.cjs gives them. */
const SHARED: Readonly<Record<string, RegExp>> = {
  pino: /^pino$/,
  problems: /[/\\]problems\.ts$/,
  secret: /[/\\]secret\.ts$/,
}

/** Names of the files beside the program itself, without their ending. */
export const PART_NAMES: readonly string[] = [CONFIG, ...Object.keys(PACKAGES_OF)]

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

/** In `part` (the program itself where it is undefined), what is another's is asked of the loader (bundle/loader.cjs). */
function fromElsewhere(part: string | undefined): Plugin {
  const ask = (path: string) => ({ path, namespace: 'elsewhere' })
  return {
    name: 'from elsewhere',
    setup({ onLoad, onResolve }) {
      if (part === undefined) {
        for (const [other, packages] of Object.entries(PACKAGES_OF))
          for (const name of packages)
            onResolve({ filter: new RegExp(`^${name}$`) }, () => ask(`part:${other}/${name}`))
        onResolve({ filter: /\.ts$/ }, ({ path, resolveDir }) => {
          const [folder, name = ''] = relative(join(ROOT, 'src'), resolve(resolveDir, path)).split(/[/\\]/)
          const isWithin = /[/\\]src[/\\]config$/.test(resolveDir)
          return folder === 'config' && OF_CONFIG.includes(name) && !isWithin
            ? ask(`part:${CONFIG}/${name}`)
            : undefined
        })
      } else {
        for (const [name, wanted] of Object.entries(SHARED))
          onResolve({ filter: wanted }, () => ask(`shared:${name}`))
      }
      onLoad({ filter: /^/, namespace: 'elsewhere' }, ({ path }) => ({ contents: asking(path) }))
    },
  }
}

/** A module that asks for the whole; of the reader of configurations nothing is held on to. */
function asking(path: string): string {
  const [, part, name] = /^(part:[^/]+)\/(.*)$/.exec(path) ?? []
  if (part === undefined) return `module.exports=require('${path}')`
  return name === 'load.ts'
    ? `module.exports={loadConfig:(...a)=>require('${part}')['${name}'].loadConfig(...a)}`
    : `module.exports=require('${part}')['${name}']`
}

/** What a part gives, by the names that it is asked for. */
function entryOf(part: string): string {
  const given =
    part === CONFIG
      ? OF_CONFIG.map((name) => [name, `./src/config/${name}`])
      : (PACKAGES_OF[part] ?? []).map((name) => [
          name,
          name === 'undici' ? './scripts/bundle/undici.cjs' : name,
        ])
  const lines = given.map(([name, from]) => `exports['${name}']=require('${from}')`)
  // zod hangs these on the world, and with them everything that was loaded beside it.
  const rest =
    part === CONFIG ? ['delete globalThis.__zod_globalConfig', 'delete globalThis.__zod_globalRegistry'] : []
  return [...lines, ...rest].join('\n')
}

const COMMON = {
  // The same bytes wherever it is built: paths of modules stand in it.
  absWorkingDir: ROOT,
  preserveSymlinks: true,
  bundle: true,
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
  logLevel: 'warning',
} satisfies BuildOptions

async function bundlePart(part: string | undefined, write: boolean): Promise<Metafile> {
  const { metafile } = await build({
    ...COMMON,
    ...(part === undefined
      ? { entryPoints: [join(PARTS, 'main.cjs')] }
      : { stdin: { contents: entryOf(part), resolveDir: ROOT, sourcefile: `${part}.cjs` } }),
    outfile: join(BIN, `${part ?? 'program'}.cjs`),
    write,
    define: { 'import.meta.url': 'bundleUrl' },
    // A function as it stands, so that whoever loads it need not put the text of one around it.
    banner: {
      js: "(function(require,__filename,module,share){let{exports}=module;const bundleUrl=require('node:url').pathToFileURL(__filename).href;",
    },
    footer: { js: '})' },
    external: ['part:*', 'shared:*'],
    plugins: [onlyWhatIsUsed, fromElsewhere(part)],
    metafile: true,
  })
  return metafile
}

/** src/cli/main.ts and all it needs → dist/bin/program.cjs and its parts, which are left alone where `write` is false. */
export function bundle({ write }: { write: boolean }): Promise<readonly Metafile[]> {
  return Promise.all([undefined, ...PART_NAMES].map((part) => bundlePart(part, write)))
}

/** A file of scripts/bundle that starts the program → `outfile`, with the loader in it. */
export async function bundleStart(name: string, outfile: string): Promise<void> {
  await build({
    ...COMMON,
    entryPoints: [join(PARTS, name)],
    outfile,
    define: { PART_NAMES: JSON.stringify(PART_NAMES) },
  })
}

export interface BundledPackage {
  readonly folder: string
  readonly name: string
  readonly version: string
  readonly license: string
}

/** Every package that the bundle holds a part of. */
export function packagesIn(metafiles: readonly Metafile[]): readonly BundledPackage[] {
  const folders = new Set<string>()
  for (const input of metafiles.flatMap(({ inputs }) => Object.keys(inputs))) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0]
    if (folder !== undefined) folders.add(resolve(ROOT, folder))
  }
  return [...folders].sort().map((folder) => {
    const told = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as BundledPackage
    return { folder, name: told.name, version: told.version, license: told.license }
  })
}
